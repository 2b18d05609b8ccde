"""A record works until its end, whatever a clock says of a revocation, and shows nothing that would help a thief."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.records import (
    App,
    Developer,
    Fault,
    KeyRecord,
    KeyState,
    RevokedWhy,
    Role,
    User,
    UserTokenRecord,
    ends_at,
    key_fault,
    key_state,
    switched,
    user_token_fault,
    works,
)

END = 2000
VERIFIER = bytes(range(32))
APP = App("a" * 24, "demo", "eu")
USER = User("b" * 24, APP.id, "mail@example.com")
KEY = KeyRecord("0123456789abcdef", APP.id, "key", frozenset({"USER_READ"}), VERIFIER, 0, END)
TOKEN = UserTokenRecord("fedcba9876543210", APP.id, USER.id, VERIFIER, 0, END)
TIMES = st.integers(0, 5000)
ENDS = st.none() | TIMES


@pytest.mark.parametrize(
    ("expires_at", "shutdown_at", "revoked_at", "now", "fault"),
    [
        (2000, None, None, 1999, None),
        (2000, None, None, 2000, Fault.EXPIRED),
        (2000, None, None, 2001, Fault.EXPIRED),
        (2000, 1500, None, 1499, None),
        (2000, 1500, None, 1500, Fault.EXPIRED),
        (2000, 2500, None, 2000, Fault.EXPIRED),
        (2000, None, 1000, 1000, Fault.REVOKED),
        (2000, None, 1000, 999, Fault.REVOKED),
        (2000, None, 1000, 0, Fault.REVOKED),
        (2000, 1500, 1000, 1600, Fault.REVOKED),
        (2000, None, 3000, 2500, Fault.REVOKED),
        (2000, None, 0, 0, Fault.REVOKED),
        (0, None, None, 0, Fault.EXPIRED),
    ],
)
def test_a_key_works_until_its_end(
    expires_at: int, shutdown_at: int | None, revoked_at: int | None, now: int, fault: Fault | None
) -> None:
    """A key would work for a moment longer, end a moment early, or revive where a clock is behind or set back."""
    record = replace(KEY, expires_at=expires_at, shutdown_at=shutdown_at, revoked_at=revoked_at)
    assert key_fault(record, now) is fault
    assert works(record, now) is (fault is None)


@pytest.mark.parametrize(
    ("created_at", "revoked_at", "user_cut", "app_cut", "now", "fault"),
    [
        (100, None, 0, 0, 1999, None),
        (100, None, 0, 0, 2000, Fault.EXPIRED),
        (100, None, 99, 99, 200, None),
        (100, None, 100, 0, 200, Fault.REVOKED),
        (100, None, 0, 100, 200, Fault.REVOKED),
        (100, None, 101, 0, 50, Fault.REVOKED),
        (100, None, 99, 3000, 50, Fault.REVOKED),
        (100, 150, 0, 0, 149, Fault.REVOKED),
        (100, 150, 0, 0, 2500, Fault.REVOKED),
    ],
)
def test_a_user_token_works_until_its_end(
    created_at: int, revoked_at: int | None, user_cut: int, app_cut: int, now: int, fault: Fault | None
) -> None:
    """A token of a user, all of whose tokens were ended, would go on working, or one made afterwards would not."""
    token = replace(TOKEN, created_at=created_at, revoked_at=revoked_at)
    user, app = replace(USER, cut_at=user_cut), replace(APP, cut_at=app_cut)
    assert user_token_fault(token, user, app, now) is fault


@given(ENDS, ENDS, TIMES)
def test_what_is_remembered_ends_in_time(shutdown_at: int | None, revoked_at: int | None, now: int) -> None:
    """A remembered key would outlive its end."""
    record = replace(KEY, shutdown_at=shutdown_at, revoked_at=revoked_at)
    assert ends_at(record) == min(end for end in (END, shutdown_at, revoked_at) if end is not None)
    assert not works(record, max(ends_at(record), now))


@given(ENDS, ENDS, TIMES, TIMES)
def test_what_has_ended_stays_so(shutdown_at: int | None, revoked_at: int | None, now: int, later: int) -> None:
    """A key would come back to life by itself."""
    record = replace(KEY, shutdown_at=shutdown_at, revoked_at=revoked_at)
    assert works(record, now) or not works(record, now + later)


def test_the_end_of_a_user_token() -> None:
    """A remembered token would outlive its revocation."""
    assert ends_at(TOKEN) == END
    assert ends_at(replace(TOKEN, revoked_at=7)) == 7


@pytest.mark.parametrize(
    ("changed", "now", "state"),
    [
        ({}, 0, KeyState.ACTIVE),
        ({"shutdown_at": 1500}, 0, KeyState.ACTIVE),
        ({"shutdown_at": 1500, "successor": "next"}, 1499, KeyState.ROTATING),
        ({"shutdown_at": 1500, "successor": "next"}, 1500, KeyState.EXPIRED),
        ({}, 2000, KeyState.EXPIRED),
        ({"revoked_at": 1000, "revoked_why": RevokedWhy.REQUESTED}, 0, KeyState.REVOKED),
        ({"revoked_at": 1000, "successor": "next"}, 1000, KeyState.REVOKED),
        ({"revoked_at": 3000}, 2500, KeyState.REVOKED),
    ],
)
def test_states(changed: dict[str, int | str], now: int, state: KeyState) -> None:
    """A list would call a key active that has ended, or not show that one is being replaced."""
    assert key_state(replace(KEY, **changed), now) is state  # type: ignore[arg-type]


@pytest.mark.parametrize(("switches", "disabled"), [(0, False), (1, True), (2, False), (3, True), (10, False)])
def test_odd_is_disabled(switches: int, disabled: bool) -> None:
    """A disabled app or user would get through, or an enabled one not."""
    assert replace(APP, switches=switches).disabled is disabled
    assert replace(USER, switches=switches).disabled is disabled


@pytest.mark.parametrize("record", [KEY, TOKEN])
def test_a_record_does_not_show_its_verifier(record: KeyRecord | UserTokenRecord) -> None:
    """A log line would hold what a stolen token list is compared with."""
    assert repr(VERIFIER) not in repr(record)
    assert record.id in repr(record)


@pytest.mark.parametrize("record", [USER, Developer(APP.id, "mail@example.com", Role.DEVELOPER)])
def test_a_record_does_not_show_who_it_is_about(record: User | Developer) -> None:
    """A log line would hold somebody's address, or the name that an app has for its user."""
    assert "mail@example.com" not in repr(record)


@given(st.integers(0, 50), st.booleans(), st.integers(1, 50), st.booleans(), st.integers(0, 50))
def test_a_switch_is_later_than_any_before(own: int, first: bool, at: int, second: bool, later: int) -> None:
    """A store that forgot some would count another switch alike, and the one that was forgotten win."""
    once = switched(own, disabled=first, now=at)
    assert once > own
    assert once % 2 == first
    assert switched(0, disabled=second, now=at + later + 1) > switched(0, disabled=first, now=at)
    assert switched(once, disabled=second, now=at) > once
