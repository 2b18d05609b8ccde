"""Advice about keys: what they hold and do not use, said only where enough is known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.least_privilege import EVIDENCE_DAYS, LEAST_DAYS, advice_for, knows_idle
from gateway.core.records import KeyRecord
from gateway.core.wishes import DAY

TODAY = 20_000
NOW = TODAY * DAY + 5
LONG_AGO = NOW - 200 * DAY
KEY = KeyRecord("5a01", "5a", "a key", frozenset({"A", "B", "C"}), b"", NOW - 100 * DAY, NOW + 100 * DAY)


def uses(**days_ago: int) -> dict[tuple[int, str], int]:
    """One use of each scope, so many days ago."""
    return {(TODAY - ago, scope): 1 for scope, ago in days_ago.items()}


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (uses(A=89, B=0), (90, ("A", "B"), ("C",), "gateway keys rotate 5a01 --scopes A,B")),
        (uses(A=6), (7, ("A",), ("B", "C"), "gateway keys rotate 5a01 --scopes A")),
        (uses(A=5), None),
        (uses(A=20, B=20, C=3), None),
        (uses(A=99, B=1), (90, ("B",), ("A", "C"), "gateway keys rotate 5a01 --scopes B")),
        ({(TODAY - 10, "*"): 5}, (11, (), ("A", "B", "C"), None)),
        ({}, None),
    ],
    ids=["unused", "a week", "not yet a week", "all used", "used too long ago", "needs no scope", "nothing counted"],
)
def test_scopes(
    counted: dict[tuple[int, str], int], expected: tuple[int, tuple[str, ...], tuple[str, ...], str | None] | None
) -> None:
    """A scope that is needed would be taken away, or one that is not would stay unseen."""
    advice = advice_for(KEY, counted, NOW - DAY, LONG_AGO, NOW)
    got = None if advice is None else (advice.days, advice.used, advice.unused, advice.command)
    assert got == expected
    assert advice is None or not advice.idle


@pytest.mark.parametrize(
    ("age", "last_used", "counted", "idle"),
    [
        (100, None, {}, True),
        (100, 30, {}, True),
        (100, 29, {}, False),
        (100, None, uses(A=30), True),
        (100, None, uses(A=3), False),
        (30, None, {}, True),
        (29, None, {}, False),
    ],
)
def test_idle_keys(age: int, last_used: int | None, counted: dict[tuple[int, str], int], idle: bool) -> None:
    """A key that nobody uses would stay, or one in use would be revoked on our advice."""
    key = replace(KEY, created_at=NOW - age * DAY)
    advice = advice_for(key, counted, None if last_used is None else NOW - last_used * DAY, LONG_AGO, NOW)
    assert (advice is not None and advice.idle) is idle
    if advice is not None and idle:
        assert (advice.command, advice.unused) == ("gateway keys revoke 5a01", ("A", "B", "C"))


@pytest.mark.parametrize("since", [None, NOW, NOW - 30 * DAY + 1, NOW - 30 * DAY, LONG_AGO])
@pytest.mark.parametrize("last_used", [None, NOW - 40 * DAY])
def test_without_evidence_no_key_is_idle(since: int | None, last_used: int | None) -> None:
    """A key in use would be revoked on our advice, as the notes of its use were lost."""
    advice = advice_for(KEY, {}, last_used, since, NOW)
    assert (advice is not None) is knows_idle(since, NOW) is (since in {NOW - 30 * DAY, LONG_AGO})


@pytest.mark.parametrize(
    "key",
    [replace(KEY, revoked_at=NOW - 1), replace(KEY, expires_at=NOW), replace(KEY, successor="5a02")],
    ids=["revoked", "expired", "rotated"],
)
def test_keys_on_their_way_out(key: KeyRecord) -> None:
    """People would be asked to do what needs no doing, or is refused."""
    assert advice_for(key, {}, None, LONG_AGO, NOW) is None


@given(
    st.dictionaries(
        st.tuples(st.integers(TODAY - 200, TODAY), st.sampled_from(["*", "A", "B", "C"])), st.integers(1, 9)
    ),
    st.integers(0, 200),
)
def test_never_more_than_what_is_unused(counted: dict[tuple[int, str], int], last_used: int) -> None:
    """The narrower key would lack what was used in the last 90 days."""
    advice = advice_for(KEY, counted, NOW - last_used * DAY, LONG_AGO, NOW)
    if advice is not None and not advice.idle:
        lately = {scope for day, scope in counted if day > TODAY - EVIDENCE_DAYS}
        assert lately & KEY.scopes == set(advice.used)
        assert LEAST_DAYS <= advice.days <= EVIDENCE_DAYS
        assert {*advice.used, *advice.unused} == KEY.scopes
