"""What was taken away only grows: told in any order, any number of times, it comes to the same, and stays away."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from itertools import permutations
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ledger import Changes, Snapshot
from gateway.core.records import App, Fault, KeyRecord, RevokedWhy, User, UserTokenRecord, key_fault, user_token_fault
from gateway.core.takings import (
    Taken,
    Taking,
    app_taking,
    key_taking,
    less_app,
    less_key,
    less_token,
    less_user,
    taken_by,
    token_taking,
    user_taking,
)

Record = TypeVar("Record", KeyRecord, UserTokenRecord, User, App)

APP = App("5a0000000000000000000a01", "demo", "eu")
KEY = KeyRecord("5a00000000000001", APP.id, "key", frozenset({"USER_READ"}), b"v", 0, 1 << 62)
TOKEN = UserTokenRecord("5a00000000000002", APP.id, "u", b"v", 5, 1 << 62)
USER = User("u", APP.id)

TIMES = st.integers(0, 9)
ENDS = st.none() | TIMES
DISABLING = st.sampled_from([0, 1, 3, 5])


def takings(kind: Taken, subject: str) -> st.SearchStrategy[Taking]:
    """What may be taken from one subject."""
    if kind in {Taken.USER, Taken.APP}:
        return st.builds(Taking, st.just(kind), st.just(APP.id), st.just(subject), cut=TIMES, switches=DISABLING)
    shutdown = ENDS if kind is Taken.KEY else st.none()
    return st.builds(Taking, st.just(kind), st.just(APP.id), st.just(subject), end=ENDS, shutdown=shutdown)


def told(less: Callable[[Record, Taking | None], Record], record: Record, all_of_it: Iterable[Taking]) -> Record:
    """The record after everything was told."""
    return reduce(less, all_of_it, record)


KINDS = pytest.mark.parametrize(
    ("kind", "record", "less", "taking_of"),
    [
        (Taken.KEY, KEY, less_key, key_taking),
        (Taken.USER_TOKEN, TOKEN, less_token, token_taking),
        (Taken.USER, USER, less_user, user_taking),
        (Taken.APP, APP, less_app, app_taking),
    ],
    ids=lambda value: value.value if isinstance(value, Taken) else "",
)


@given(st.sampled_from(Taken).flatmap(lambda kind: st.lists(takings(kind, "id"), min_size=1, max_size=4)))
def test_merging_has_no_order(all_of_it: list[Taking]) -> None:
    """Two gateways that heard the same things in another order would disagree for ever."""
    merged = {reduce(Taking.merged, order) for order in permutations([*all_of_it, all_of_it[0]])}
    assert len(merged) == 1
    (one,) = merged
    assert one.merged(one) == one
    assert all(one.merged(taking) == taking.merged(one) == one for taking in all_of_it)
    assert len({taking.subject for taking in [*all_of_it, one]}) == 1


@given(*[takings(Taken.KEY, "id")] * 3)
def test_merging_in_pairs(first: Taking, second: Taking, third: Taking) -> None:
    """What is gathered from several gateways would depend on which of them talked to which."""
    assert first.merged(second).merged(third) == first.merged(second.merged(third))


@KINDS
@given(data=st.data())
def test_telling_has_no_order(
    data: st.DataObject,
    kind: Taken,
    record: Record,
    less: Callable[[Record, Taking | None], Record],
    taking_of: Callable[[Record | None], Taking | None],
) -> None:
    """A store to which everything is told anew would depend on who tells it first, or how often."""
    all_of_it = data.draw(st.lists(takings(kind, record.id), max_size=3))
    after = {told(less, record, order) for order in permutations(all_of_it * 2)} if all_of_it else {record}
    assert len(after) == 1
    (result,) = after
    assert all(less(result, taking) is result for taking in all_of_it)
    assert less(result, None) is result
    merged = reduce(Taking.merged, all_of_it) if all_of_it else None
    assert less(record, merged) == result
    # What the record says of itself is all that was taken, so that it can be handed on from there.
    known = taking_of(result)
    assert known is None or known.subject == (kind, APP.id, record.id)
    assert less(record, known) == result


@given(st.lists(takings(Taken.KEY, KEY.id), max_size=3), takings(Taken.KEY, KEY.id), TIMES)
def test_a_key_never_comes_back(all_of_it: list[Taking], last: Taking, now: int) -> None:
    """A key that was ended would work again after a failover, a restored dump or an import."""
    before = told(less_key, KEY, all_of_it)
    after = less_key(before, last)
    assert key_fault(before, now) is None or key_fault(after, now) is not None
    if last.end is not None:
        assert key_fault(after, 0) is Fault.REVOKED
    if last.shutdown is not None:
        assert key_fault(after, last.shutdown) is not None


@given(st.lists(takings(Taken.USER, "u"), max_size=3), st.lists(takings(Taken.APP, APP.id), max_size=3), ENDS)
def test_a_user_token_never_comes_back(of_user: list[Taking], of_app: list[Taking], end: int | None) -> None:
    """A user token that was ended, by itself or with all others, would work again."""
    user, app = told(less_user, USER, of_user), told(less_app, APP, of_app)
    token = less_token(TOKEN, Taking(Taken.USER_TOKEN, APP.id, TOKEN.id, end=end))
    cut = max([0, *(taking.cut for taking in [*of_user, *of_app])])
    ended = end is not None or cut >= TOKEN.created_at
    assert (user_token_fault(token, user, app, 0) is Fault.REVOKED) is ended
    assert user.switches == max([0, *(taking.switches for taking in of_user)])
    assert app.disabled is (max([0, *(taking.switches for taking in of_app)]) % 2 == 1)


def test_why_a_key_ended_is_kept() -> None:
    """The history of a key would say that it was restored, where it was known why it ended."""
    taking = Taking(Taken.KEY, APP.id, KEY.id, end=5)
    assert less_key(KEY, taking).revoked_why is RevokedWhy.RESTORED
    known = replace(KEY, revoked_at=9, revoked_why=RevokedWhy.LEAKED)
    assert less_key(known, taking) == replace(known, revoked_at=5)
    rotated = less_key(KEY, replace(taking, end=None, shutdown=5))
    assert (rotated.revoked_at, rotated.revoked_why, rotated.shutdown_at) == (None, None, 5)


def test_what_changes_take_away() -> None:
    """Other gateways would not hear of an end, or be told of what did not happen."""
    before = Snapshot(1, APP, keys={KEY.id: KEY}, users={USER.id: USER}, tokens={TOKEN.id: TOKEN})
    assert not list(taken_by(before, Changes()))
    new_key, new_token = replace(KEY, id="5a00000000000003"), replace(TOKEN, id="5a00000000000004")
    harmless = Changes(
        app=replace(APP, name="another"),
        keys=(replace(KEY, name="another"), new_key),
        users=(USER, User("v", APP.id)),
        tokens=(TOKEN, new_token),
    )
    assert not list(taken_by(before, harmless))
    changes = Changes(
        app=replace(APP, switches=1),
        keys=(replace(KEY, shutdown_at=7, successor=new_key.id), new_key),
        users=(replace(USER, cut_at=6),),
        tokens=(replace(TOKEN, revoked_at=5), new_token),
    )
    taken = [
        Taking(Taken.KEY, APP.id, KEY.id, shutdown=7),
        Taking(Taken.USER_TOKEN, APP.id, TOKEN.id, end=5),
        Taking(Taken.USER, APP.id, USER.id, cut=6),
        Taking(Taken.APP, APP.id, APP.id, switches=1),
    ]
    assert list(taken_by(before, changes)) == taken
    # Written as it is, after its answer was lost: there is nothing to tell.
    after = Snapshot(
        2,
        changes.app,
        keys={key.id: key for key in changes.keys},
        users={user.id: user for user in changes.users},
        tokens={token.id: token for token in changes.tokens},
    )
    assert not list(taken_by(after, changes))
    # Records that arrive ended, as out of an import.
    assert list(taken_by(Snapshot(3), changes)) == taken


def test_an_app_that_is_opened_again_is_told_too() -> None:
    """Gateways that heard of a disabled app would keep it closed for ever."""
    disabled, enabled = replace(APP, switches=1), replace(APP, switches=2)
    (closing,) = taken_by(Snapshot(1, APP), Changes(app=disabled))
    (opening,) = taken_by(Snapshot(1, disabled), Changes(app=enabled))
    assert less_app(enabled, closing.merged(opening)) is enabled
    assert less_app(APP, closing).disabled


@given(st.integers(0, 9), st.integers(0, 9))
def test_nothing_that_is_told_opens(own: int, told: int) -> None:
    """Whoever can send a message, or a gateway that slept meanwhile, would open an app that was disabled since."""
    app, user = replace(APP, switches=own), replace(USER, switches=own)
    assert not app.disabled or less_app(app, Taking(Taken.APP, APP.id, APP.id, switches=told)).disabled
    assert not user.disabled or less_user(user, Taking(Taken.USER, APP.id, USER.id, switches=told)).disabled


def test_a_key_that_ends_twice() -> None:
    """The end of a key in rotation, which is now, would not be told, as its shutdown time was."""
    rotating = replace(KEY, shutdown_at=7, successor="next")
    revoked = replace(rotating, revoked_at=3, revoked_why=RevokedWhy.REQUESTED)
    (taking,) = taken_by(Snapshot(1, APP, keys={KEY.id: rotating}), Changes(keys=(revoked,)))
    assert taking == Taking(Taken.KEY, APP.id, KEY.id, end=3, shutdown=7)
