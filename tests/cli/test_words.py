"""Times and texts for people's eyes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.words import day, distance, printable


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [
        (0, "now"),
        (999, "now"),
        (-999, "now"),
        (1000, "in 1 second"),
        (-61_000, "1 minute ago"),
        (7_200_000, "in 2 hours"),
        (86_400_000, "in 1 day"),
        (12 * 86_400_000 + 5, "in 12 days"),
        (365 * 86_400_000 - 1, "in 365 days"),
        (7 * 86_400_000 - 3_599_999, "in 7 days"),
        (7 * 86_400_000 - 3_600_000, "in 6 days"),
        (12 * 3_600_000 - 59_999, "in 12 hours"),
        (30 * 60_000 - 999, "in 30 minutes"),
        (30 * 60_000 - 1_000, "in 29 minutes"),
        (1 - 86_400_000, "23 hours ago"),
        (-400 * 86_400_000, "400 days ago"),
    ],
)
def test_distances(milliseconds: int, told: str) -> None:
    """An operator would renew a key too late."""
    assert distance(milliseconds) == told


def test_a_day() -> None:
    """Times would be read in another zone than they are meant in."""
    assert day(1_795_503_000_123) == "2026-11-24 06:50:00 UTC"
    assert day((1 << 63) - 1) == "9999-12-31 23:59:59 UTC"


@given(st.text())
def test_what_is_printed_can_be_printed(text: str) -> None:
    """A name or a message could move the cursor, colour the screen or turn the direction of writing."""
    assert printable(text).isprintable()
    assert "\x1b" not in printable(text)


@pytest.mark.parametrize("text", ["søn 株式会社 🦜", "[red]x[/red]", ""])
def test_what_is_left_alone(text: str) -> None:
    """Names of other scripts would not be readable."""
    assert printable(text) == text
