"""What was taken away stays taken for a day, whatever a store says."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.records import DELETED, App, Fault, KeyRecord, User, UserTokenRecord, key_fault, user_token_fault
from gateway.core.takings import Taken, Taking
from gateway.store.contract import FoundKey, FoundUser, FoundUserToken
from gateway.store.redis.register import DAY, Register

APP = App("5a00000000000a01", "Shop", "eu")
KEY = KeyRecord("5a00000000000001", APP.id, "server", frozenset({"USER_READ"}), b"v" * 32, 10, 1_000)
USER = User("5a00000000000b01", APP.id, "customer-17")
TOKEN = UserTokenRecord("5a00000000000c01", APP.id, USER.id, b"w" * 32, 10, 1_000)

REVOKED = Taking(Taken.KEY, APP.id, KEY.id, end=100)


@dataclass
class Clock:
    """Seconds, set by the test."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def register(clock: Clock | None = None, *, entries: int = 100, recent: int = 100) -> Register:
    """One that takes the first two digits of an app's id for its slot tag."""
    return Register(clock or Clock(), lambda app_id: app_id[:2], entries=entries, refreshed=entries, recent=recent)


takings = st.builds(
    Taking,
    kind=st.sampled_from(Taken),
    app_id=st.sampled_from(["5a01", "5a02", "7701"]),
    id=st.sampled_from(["1", "2", "3"]),
    end=st.none() | st.integers(1, 5),
    cut=st.integers(0, 3),
    switches=st.integers(0, 3),
    shutdown=st.none() | st.integers(1, 5),
)


@pytest.mark.parametrize(
    "taking",
    [
        REVOKED,
        Taking(Taken.APP, APP.id, APP.id, switches=1),
    ],
)
def test_a_key_that_the_store_forgot_was_ended_is_refused(taking: Taking) -> None:
    """A key revoked before a failover would work again on the gateway that had heard of its end."""
    known = register()
    known.note(taking)

    found = known.less_key(FoundKey(KEY, APP))

    assert found.app.disabled or key_fault(found.record, 100) is Fault.REVOKED


@pytest.mark.parametrize(
    "taking",
    [
        Taking(Taken.USER_TOKEN, APP.id, TOKEN.id, end=100),
        Taking(Taken.USER_TOKEN, APP.id, TOKEN.id, shutdown=100),
        Taking(Taken.USER, APP.id, USER.id, cut=10),
        Taking(Taken.USER, APP.id, USER.id, cut=DELETED),
        Taking(Taken.USER, APP.id, USER.id, switches=1),
        Taking(Taken.APP, APP.id, APP.id, cut=10),
        Taking(Taken.APP, APP.id, APP.id, switches=1),
    ],
)
def test_a_user_token_that_the_store_forgot_was_ended_is_refused(taking: Taking) -> None:
    """A user token ended before a failover would work again on the gateway that had heard of its end."""
    known = register()
    known.note(taking)

    found = known.less_user_token(FoundUserToken(TOKEN, USER, APP))

    fault = user_token_fault(found.record, found.user, found.app, 100)
    assert found.app.disabled or found.user.disabled or fault in {Fault.REVOKED, Fault.SUPERSEDED}
    assert (found.user.external_id is None) == found.user.deleted


@pytest.mark.parametrize("known_to_the_store", [USER, None])
@pytest.mark.parametrize(
    ("taking", "user", "app"),
    [
        (Taking(Taken.USER, APP.id, USER.id, cut=DELETED), User(USER.id, APP.id, None, 0, DELETED), APP),
        (Taking(Taken.USER, APP.id, USER.id, switches=1), replace(USER, switches=1), APP),
        (Taking(Taken.APP, APP.id, APP.id, switches=1), USER, replace(APP, switches=1)),
        (Taking(Taken.USER, "5a00000000000a02", USER.id, switches=1), USER, APP),
    ],
)
def test_a_user_whose_end_the_store_forgot_is_not_let_in(
    taking: Taking, user: User, app: App, known_to_the_store: User | None
) -> None:
    """The user of another issuer would get in again after a failover, deleted or disabled."""
    known = register()
    known.note(taking)
    stored = FoundUser(known_to_the_store, APP)

    found = known.less_user(stored, USER.id)

    if known_to_the_store is None:
        user = replace(user, external_id=None)
        if taking.subject != (Taken.USER, APP.id, USER.id):
            assert found == FoundUser(None, app)
            return
    assert found == FoundUser(user, app)
    assert (found is stored) == (found == stored)


@pytest.mark.parametrize(
    "taking",
    [
        Taking(Taken.KEY, APP.id, "5a00000000000002", end=100),
        Taking(Taken.KEY, "5a00000000000a02", KEY.id, end=100),
        Taking(Taken.USER_TOKEN, APP.id, KEY.id, end=100),
        Taking(Taken.USER, "5a00000000000a02", USER.id, switches=1),
    ],
)
def test_what_was_taken_from_another_ends_nothing(taking: Taking) -> None:
    """Ending one credential would end others."""
    known = register()
    known.note(taking)
    key, token = FoundKey(KEY, APP), FoundUserToken(TOKEN, USER, APP)

    assert known.less_key(key) is key
    assert known.less_user_token(token) is token


def test_what_the_store_knows_too_is_left_as_it_says() -> None:
    """Every look-up of a key that was ended would make its record anew."""
    known = register()
    known.note(REVOKED)
    found = FoundKey(replace(KEY, revoked_at=100), APP)

    assert known.less_key(found) is found


def test_it_is_known_for_a_day_since_it_was_last_heard() -> None:
    """A failover some hours after a revocation would bring the key back; or the memory would grow for ever."""
    clock = Clock()
    known = register(clock)
    known.note(REVOKED)
    clock.now += DAY - 1
    assert known.of({"5a"}) == [REVOKED]

    known.note(REVOKED)
    clock.now += DAY - 1
    assert known.of({"5a"}) == [REVOKED]

    clock.now += 1
    assert known.of({"5a"}) == []
    assert known.overflowed == 0


def test_the_oldest_of_too_many_go_and_are_counted() -> None:
    """The memory of a gateway would grow with every revocation, or nobody would know that some are no longer kept."""
    known = register(entries=3)
    ended = [Taking(Taken.KEY, APP.id, str(number), end=100) for number in range(5)]
    for taking in ended:
        known.note(taking)

    assert known.of({"5a"}) == ended[2:]
    assert known.overflowed == 2


def test_refreshed_tokens_push_out_no_revocation() -> None:
    """On a busy day the refreshed tokens of all users would make every gateway forget the keys that were revoked."""
    clock = Clock()
    known = register(clock, entries=3)
    known.note(REVOKED)
    refreshed = [Taking(Taken.USER_TOKEN, APP.id, str(number), shutdown=100) for number in range(10)]
    for taking in refreshed:
        known.note(taking)

    assert known.of({"5a"}) == [REVOKED, *refreshed[-3:]]
    assert (known.overflowed, len(known)) == (0, 4)
    ended = replace(refreshed[-1], end=50)
    known.note(ended)
    known.note(refreshed[-1])
    assert known.of({"5a"}) == [REVOKED, ended, *refreshed[-3:-1]]
    clock.now += DAY
    known.note(REVOKED)
    assert known.of({"5a"}) == [REVOKED]


def test_what_is_heard_again_is_not_among_the_oldest() -> None:
    """What was just heard would be forgotten first."""
    known = register(entries=2)
    first, second, third = (Taking(Taken.KEY, APP.id, str(number), end=100) for number in range(3))
    for taking in (first, second, first, third):
        known.note(taking)

    assert known.of({"5a"}) == [first, third]


@given(st.lists(takings))
def test_the_order_in_which_it_is_heard_does_not_matter(heard: list[Taking]) -> None:
    """Two gateways that heard the same would tell the store different things."""
    one, other = register(), register()
    for taking in heard:
        one.note(taking)
    for taking in reversed(heard):
        other.note(taking)

    assert {taking.subject: taking for taking in one.of({"5a", "77"})} == {
        taking.subject: taking for taking in other.of({"5a", "77"})
    }


@given(st.lists(takings), st.sets(st.sampled_from(["5a", "77", "00"])))
def test_a_node_is_told_of_its_own_tags_only(heard: list[Taking], tags: set[str]) -> None:
    """A node of a Cluster would be told of keys that it does not hold, and refuse."""
    known = register()
    for taking in heard:
        known.note(taking)

    told = {taking.subject for taking in known.of(tags)}
    assert told == {taking.subject for taking in heard if taking.app_id[:2] in tags}


@given(st.lists(takings | st.none(), max_size=40), st.integers(1, 10))
def test_everything_that_ended_since_a_revision_is_named_or_nothing_is(heard: list[Taking | None], recent: int) -> None:
    """A gateway would go on with a remembered credential of whose end it had heard. None stands for an interruption."""
    known = register(recent=recent)
    told: list[str | None] = []  # what each revision after the first was about
    for taking in heard:
        if taking is None:
            known.jump()
            told.append(None)
        elif known.note(taking):
            told.append(taking.id)

    assert known.revision == len(told)
    for revision in range(len(told) + 1):
        since = told[revision:]
        named = None if None in since or len(since) > recent else set(since)
        assert known.ended_since(revision) == named


@given(st.integers())
def test_a_revision_that_never_was_tells_nothing(revision: int) -> None:
    """A revision from before a restart would be taken for one of now."""
    known = register()
    for number in range(5):
        known.note(Taking(Taken.KEY, APP.id, str(number), end=100))

    assert (known.ended_since(revision) is None) == (revision not in range(6))
