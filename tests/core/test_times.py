"""Moments in words."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.times import LAST_MOMENT, iso_time

MOMENTS = [
    (0, "1970-01-01T00:00:00.000Z"),
    (1, "1970-01-01T00:00:00.001Z"),
    (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
    (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
    (4_102_444_800_050, "2100-01-01T00:00:00.050Z"),
    (LAST_MOMENT, "9999-12-31T23:59:59.999Z"),
    (LAST_MOMENT + 1, "9999-12-31T23:59:59.999Z"),
    ((1 << 63) - 1, "9999-12-31T23:59:59.999Z"),
    (-1, "1970-01-01T00:00:00.000Z"),
    (-(1 << 63), "1970-01-01T00:00:00.000Z"),
]


@pytest.mark.parametrize(("milliseconds", "expected"), MOMENTS)
def test_a_moment_as_people_and_programs_read_it(milliseconds: int, expected: str) -> None:
    """A client would read another moment than the one at which its key ends."""
    assert iso_time(milliseconds) == expected


@given(st.integers(0, LAST_MOMENT))
def test_no_moment_is_rounded(milliseconds: int) -> None:
    """A key would seem to end a moment before or after it does."""
    read = datetime.fromisoformat(iso_time(milliseconds))

    assert round(read.timestamp() * 1000) == milliseconds
