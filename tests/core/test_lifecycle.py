"""The rules of a key's life, whatever happens in whatever order."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core import lifecycle
from gateway.core.audit import AuditAction
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Snapshot
from gateway.core.lifecycle import NewKey, places
from gateway.core.records import (
    MAX_ACTIVE_KEYS,
    App,
    KeyRecord,
    KeyState,
    RevokedWhy,
    UserTokenRecord,
    key_state,
    works,
)
from gateway.core.wishes import DAY, KEY_LIFETIME, LONGEST_LIFETIME, SHUTDOWN
from tests.support.examples import IN_CI
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
OTHER = App("5a0000000000000000000a02", "other", "us")
SCOPES = frozenset({"USER_READ", "USER_LINK"})
MISSING = "5affffffffffffff"


def wish_for(number: int, *, lifetime: int = KEY_LIFETIME) -> NewKey:
    """A wish for a key, another for each number."""
    return NewKey(f"5a{number:014x}", number.to_bytes(32), f"key {number}", SCOPES, lifetime)


def create(ledger: Ledger, wish: NewKey, app_id: str = APP.id) -> Changes:
    """A new key."""
    return ledger.do(Asked(app_id, keys=(wish.id,)), lambda seen: lifecycle.create_key(seen, wish, WHO))


def rotate(ledger: Ledger, key_id: str, wish: NewKey, *, shutdown: int = SHUTDOWN) -> Changes:
    """A successor."""
    asked = Asked(APP.id, keys=(key_id, wish.id))
    return ledger.do(asked, lambda seen: lifecycle.rotate_key(seen, key_id, wish, shutdown, WHO))


def revoke(ledger: Ledger, key_id: str, why: RevokedWhy = RevokedWhy.REQUESTED) -> Changes:
    """The end of a key."""
    return ledger.do(Asked(APP.id, keys=(key_id,)), lambda seen: lifecycle.revoke_key(seen, key_id, why, WHO))


def rename(ledger: Ledger, key_id: str, name: str) -> Changes:
    """Another name."""
    return ledger.do(Asked(APP.id, keys=(key_id,)), lambda seen: lifecycle.rename_key(seen, key_id, name, WHO))


def switch(ledger: Ledger, *, disabled: bool, app_id: str = APP.id) -> Changes:
    """An app disabled or enabled."""
    return ledger.do(Asked(app_id), lambda seen: lifecycle.switch_app(seen, WHO, disabled=disabled))


def refused(reason: ActReason, does: Callable[[], Changes]) -> str:
    """What is said of an act that is refused for this reason."""
    with pytest.raises(ActRefused) as refusal:
        does()
    assert refusal.value.reason is reason
    return refusal.value.message


@pytest.fixture
def ledger() -> Ledger:
    """Two apps without keys."""
    ledger = Ledger()
    for app in (APP, OTHER):
        ledger.do(Asked(app.id), lambda seen, app=app: lifecycle.create_app(seen, app, WHO))
    return ledger


# Apps -----------------------------------------------------------------------------------------------------------------


def test_an_app_is_made_once(ledger: Ledger) -> None:
    """A command that was repeated, as its answer was lost, would fail, or lay one app over another."""
    assert ledger.apps == {APP.id: APP, OTHER.id: OTHER}
    assert [event.action for event in ledger.events] == [AuditAction.APP_CREATED] * 2
    again = ledger.do(Asked(APP.id), lambda seen: lifecycle.create_app(seen, APP, WHO))
    assert again == Changes(app=APP)
    another = replace(APP, name="another")
    asked = Asked(APP.id)
    refused(ActReason.ID_TAKEN, lambda: ledger.do(asked, lambda seen: lifecycle.create_app(seen, another, WHO)))
    assert len(ledger.events) == 2


def test_an_app_is_disabled_and_enabled(ledger: Ledger) -> None:
    """An app would stay open, or two commands at once disable it twice, which enables it."""
    states = []
    for disabled in (False, True, True, False, False, True):
        changed = switch(ledger, disabled=disabled)
        states.append((bool(changed), ledger.apps[APP.id].disabled))
    assert states == [(False, False), (True, True), (False, True), (True, False), (False, False), (True, True)]
    assert [event.action for event in ledger.events[2:]] == [
        AuditAction.APP_DISABLED,
        AuditAction.APP_ENABLED,
        AuditAction.APP_DISABLED,
    ]
    assert ledger.apps[OTHER.id] == OTHER


def test_nothing_is_done_for_an_app_that_is_not_there(ledger: Ledger) -> None:
    """A mistyped id would make keys that belong to nobody."""
    missing, wish = "5a0000000000000000000fff", wish_for(1)
    refused(ActReason.UNKNOWN_APP, lambda: create(ledger, wish, missing))
    refused(ActReason.UNKNOWN_APP, lambda: switch(ledger, disabled=True, app_id=missing))
    asked = Asked(missing)
    refused(ActReason.UNKNOWN_APP, lambda: ledger.do(asked, lambda seen: lifecycle.revoke_keys(seen, WHO)))
    refused(ActReason.UNKNOWN_APP, lambda: ledger.do(asked, lambda seen: lifecycle.revoke_key(seen, "5a", WHY, WHO)))
    assert not ledger.keys


WHY = RevokedWhy.LEAKED


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_key_is_made_with_its_event(ledger: Ledger) -> None:
    """A key would hold something else than was asked for, or nobody could tell who made it."""
    wish = wish_for(1, lifetime=90 * DAY)
    changes = create(ledger, wish)
    end = ledger.now + 90 * DAY
    record = KeyRecord(wish.id, APP.id, "key 1", SCOPES, wish.verifier, ledger.now, end, created_by="tester")
    assert changes.keys == (record,)
    (event,) = changes.events
    assert (event.action, event.subject_id, event.app_id, event.actor) == (
        AuditAction.KEY_CREATED,
        wish.id,
        APP.id,
        "tester",
    )


@pytest.mark.parametrize(
    ("away", "good"), [(-1, False), (0, False), (1, True), (LONGEST_LIFETIME, True), (1 << 62, False)]
)
def test_a_key_until_a_certain_moment(ledger: Ledger, away: int, good: bool) -> None:
    """A key would end at another moment than its creator chose, be dead when it is handed out, or live for ever."""
    wish = replace(wish_for(1, lifetime=DAY), expires_at=ledger.now + away)
    if good:
        (made,) = create(ledger, wish).keys
        assert made.expires_at == wish.expires_at
    else:
        assert "at most 366 days away" in refused(ActReason.WISH_INVALID, lambda: create(ledger, wish))


def test_a_creation_that_is_asked_for_again(ledger: Ledger) -> None:
    """A key whose creation was not answered would be made twice, or fill a place, or be refused at the cap."""
    wishes = [wish_for(number) for number in range(1, 11)]
    first = [create(ledger, wish) for wish in wishes]
    again = [create(ledger, wish) for wish in wishes]
    assert [changes.keys for changes in again] == [changes.keys for changes in first]
    assert not any(changes.events for changes in again)
    assert len(ledger.keys) == 10


def test_no_id_is_used_again(ledger: Ledger) -> None:
    """A token would be shown that belongs to somebody else's record, or a dead id come back to life."""
    token = UserTokenRecord("5a000000000000aa", APP.id, "user", b"", 0, 1)
    ledger.tokens[token.id] = token
    wish = wish_for(1)
    create(ledger, wish)
    old = wish_for(2)
    create(ledger, old)
    for taken in (replace(wish, verifier=b"other"), replace(wish, id=token.id)):
        refused(ActReason.ID_TAKEN, lambda taken=taken: create(ledger, taken))
        refused(ActReason.ID_TAKEN, lambda taken=taken: rotate(ledger, old.id, taken))
    refused(ActReason.ID_TAKEN, lambda: create(ledger, wish, OTHER.id))
    refused(ActReason.ID_TAKEN, lambda: rotate(ledger, old.id, wish))
    revoke(ledger, wish.id)
    refused(ActReason.ID_TAKEN, lambda: create(ledger, replace(wish, verifier=b"other")))
    assert ledger.keys[old.id].successor is None


def test_ten_keys_and_no_more(ledger: Ledger) -> None:
    """An app would have more active keys than ten, or could not have ten; and a dead one would hold its place."""
    for number in range(1, 11):
        create(ledger, wish_for(number, lifetime=number * DAY))
    assert "10 active keys" in refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(11)))
    create(ledger, wish_for(11), OTHER.id)
    revoke(ledger, wish_for(10).id)
    create(ledger, wish_for(12))
    refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(13)))
    ledger.now += DAY  # the first one expires
    create(ledger, wish_for(13))
    refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(14)))


def test_a_disabled_app_prepares_its_keys(ledger: Ledger) -> None:
    """An operator could not put new keys in place before an app is opened again."""
    switch(ledger, disabled=True)
    create(ledger, wish_for(1))
    rotate(ledger, wish_for(1).id, wish_for(2))
    assert revoke(ledger, wish_for(2).id)


def test_another_name_and_nothing_else(ledger: Ledger) -> None:
    """A name could be used to change what a key may do, or be lost with the key's end."""
    wish = wish_for(1)
    create(ledger, wish)
    before = ledger.keys[wish.id]
    assert rename(ledger, wish.id, "nightly").keys == (replace(before, name="nightly"),)
    assert rename(ledger, wish.id, "nightly") == Changes()
    revoke(ledger, wish.id)
    assert rename(ledger, wish.id, "old nightly")
    assert not works(ledger.keys[wish.id], 0)
    refused(ActReason.UNKNOWN_KEY, lambda: rename(ledger, MISSING, "x"))


# The end of a key -----------------------------------------------------------------------------------------------------


def test_a_key_is_revoked_once(ledger: Ledger) -> None:
    """A second revocation would overwrite when and why a key ended."""
    wish = wish_for(1)
    create(ledger, wish)
    (revoked,) = revoke(ledger, wish.id, RevokedWhy.LEAKED).keys
    assert (revoked.revoked_at, revoked.revoked_why) == (ledger.now, RevokedWhy.LEAKED)
    assert (ledger.events[-1].action, ledger.events[-1].about) == (AuditAction.KEY_REVOKED, "leaked")
    ledger.now += 5
    assert revoke(ledger, wish.id) == Changes()
    refused(ActReason.UNKNOWN_KEY, lambda: revoke(ledger, MISSING))


@pytest.mark.parametrize("step", [-KEY_LIFETIME, -1, 0, DAY])
def test_what_is_revoked_never_works_again(ledger: Ledger, step: int) -> None:
    """A clock that is set back, or a gateway's that is behind, would bring a revoked key back to life."""
    create(ledger, wish_for(1))
    ledger.now += step
    revoke(ledger, wish_for(1).id)
    assert all(not works(ledger.keys[wish_for(1).id], ledger.now + later) for later in (-KEY_LIFETIME, -1, 0, DAY))


def test_an_expired_key_can_be_revoked(ledger: Ledger) -> None:
    """A leaked key whose revocation was acknowledged would work again once a clock that was ahead is put right."""
    create(ledger, wish_for(1, lifetime=10))
    create(ledger, wish_for(2, lifetime=10))
    ledger.now += 10
    assert revoke(ledger, wish_for(1).id)
    ledger.now -= 5
    states = [key_state(ledger.keys[wish_for(number).id], ledger.now) for number in (1, 2)]
    assert states == [KeyState.REVOKED, KeyState.ACTIVE]


def test_all_keys_of_an_app_end(ledger: Ledger) -> None:
    """One key would go on working after somebody ended all of them, or those of another app end too."""
    for number in range(1, 5):
        create(ledger, wish_for(number, lifetime=DAY if number == 4 else KEY_LIFETIME))
    create(ledger, wish_for(9), OTHER.id)
    rotate(ledger, wish_for(2).id, wish_for(5))
    revoke(ledger, wish_for(3).id)
    ledger.now += DAY
    changes = ledger.do(Asked(APP.id), lambda seen: lifecycle.revoke_keys(seen, WHO))
    assert {key.id for key in changes.keys} == {wish_for(number).id for number in (1, 2, 5)}
    assert [event.subject_id for event in changes.events] == [key.id for key in changes.keys]
    assert {key.revoked_why for key in changes.keys} == {RevokedWhy.ALL_OF_APP}
    working = [key.id for key in ledger.keys.values() if works(key, ledger.now)]
    assert working == [wish_for(9).id]
    assert ledger.do(Asked(APP.id), lambda seen: lifecycle.revoke_keys(seen, WHO)) == Changes()


# Rotation -------------------------------------------------------------------------------------------------------------


def test_a_rotation(ledger: Ledger) -> None:
    """A successor would not be able to do what its predecessor did, or the predecessor end at once, or never."""
    old, new = wish_for(1, lifetime=90 * DAY), wish_for(2)
    create(ledger, old)
    before = ledger.keys[old.id]
    ledger.now += DAY
    changes = rotate(ledger, old.id, new)
    ended, made = changes.keys
    assert ended == replace(before, successor=new.id, shutdown_at=ledger.now + SHUTDOWN)
    end = ledger.now + 90 * DAY
    assert made == KeyRecord(new.id, APP.id, "key 1", SCOPES, new.verifier, ledger.now, end, created_by="tester")
    assert [(event.action, event.subject_id, event.about) for event in changes.events] == [
        (AuditAction.KEY_CREATED, new.id, f"successor of {old.id}"),
        (AuditAction.KEY_ROTATED, old.id, f"successor {new.id}"),
    ]
    assert [key_state(key, ledger.now) for key in (ended, made)] == [KeyState.ROTATING, KeyState.ACTIVE]


def test_a_predecessor_never_outlives_its_expiry(ledger: Ledger) -> None:
    """A rotation would prolong a key beyond what its creator allowed."""
    create(ledger, wish_for(1, lifetime=DAY))
    ended, _ = rotate(ledger, wish_for(1).id, wish_for(2)).keys
    assert ended.shutdown_at == ended.expires_at


def test_a_predecessor_that_ends_at_once(ledger: Ledger) -> None:
    """A key that was replaced as it had leaked would go on working on a gateway whose clock is behind."""
    create(ledger, wish_for(1))
    ended, made = rotate(ledger, wish_for(1).id, wish_for(2), shutdown=0).keys
    assert not works(ended, 0)
    assert (ended.revoked_why, ended.shutdown_at) == (RevokedWhy.ROTATED, ledger.now)
    assert works(made, ledger.now)


def test_an_imported_key_that_lives_too_long_is_not_handed_on(ledger: Ledger) -> None:
    """A key of more than a year would be renewed for more than a year."""
    create(ledger, wish_for(1, lifetime=10 * KEY_LIFETIME))
    _, made = rotate(ledger, wish_for(1).id, wish_for(2)).keys
    assert made.expires_at == ledger.now + LONGEST_LIFETIME


def test_rotation_works_at_the_cap(ledger: Ledger) -> None:
    """An app with ten keys could not renew any, or would have an eleventh key from it."""
    for number in range(1, 11):
        create(ledger, wish_for(number))
        rotate(ledger, wish_for(number).id, wish_for(number + 20))
    assert sum(works(key, ledger.now) for key in ledger.keys.values()) == 20
    refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(50)))
    revoke(ledger, wish_for(1).id)  # one of a pair: the other keeps the place
    refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(50)))
    revoke(ledger, wish_for(22).id)
    refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(50)))
    revoke(ledger, wish_for(21).id)  # the other half
    create(ledger, wish_for(50))


def test_a_narrower_successor(ledger: Ledger) -> None:
    """A key could be given more by rotating it, which nobody has to be asked for, or not less."""
    create(ledger, wish_for(1))
    old = ledger.keys[wish_for(1).id]
    narrow = replace(wish_for(2), scopes=frozenset(sorted(old.scopes)[1:]))
    asked = Asked(APP.id, keys=(old.id, narrow.id))
    wide = replace(narrow, scopes=old.scopes | {"FAKE"})
    told = refused(
        ActReason.WISH_INVALID,
        lambda: ledger.do(asked, lambda seen: lifecycle.rotate_key(seen, old.id, wide, DAY, WHO)),
    )
    assert "does not hold FAKE" in told
    assert ledger.keys[old.id] == old
    ledger.do(asked, lambda seen: lifecycle.rotate_key(seen, old.id, narrow, DAY, WHO))
    assert ledger.keys[narrow.id].scopes == narrow.scopes
    assert ledger.keys[old.id].scopes == old.scopes


def test_what_cannot_be_rotated(ledger: Ledger) -> None:
    """A pair would grow to three keys, or a dead key be renewed."""
    first, second, third = wish_for(1), wish_for(2), wish_for(3)
    create(ledger, first)
    rotate(ledger, first.id, second)
    assert first.id in refused(ActReason.ROTATION_IN_PROGRESS, lambda: rotate(ledger, second.id, third))
    assert second.id in refused(ActReason.ALREADY_ROTATED, lambda: rotate(ledger, first.id, third))
    ledger.now += SHUTDOWN
    assert second.id in refused(ActReason.ALREADY_ROTATED, lambda: rotate(ledger, first.id, third))
    rotate(ledger, second.id, third)
    revoke(ledger, third.id)
    # The predecessor of a key that was revoked has its successor still, and its shutdown time.
    refused(ActReason.ALREADY_ROTATED, lambda: rotate(ledger, second.id, wish_for(4)))
    refused(ActReason.KEY_ENDED, lambda: rotate(ledger, third.id, wish_for(4)))
    create(ledger, wish_for(5, lifetime=10))
    ledger.now += 10
    refused(ActReason.KEY_ENDED, lambda: rotate(ledger, wish_for(5).id, wish_for(6)))
    refused(ActReason.UNKNOWN_KEY, lambda: rotate(ledger, MISSING, wish_for(6)))


def test_a_successor_whose_predecessor_was_revoked(ledger: Ledger) -> None:
    """Somebody whose new key leaked as well would have to wait a week before it can be renewed."""
    create(ledger, wish_for(1))
    rotate(ledger, wish_for(1).id, wish_for(2))
    revoke(ledger, wish_for(1).id)
    assert rotate(ledger, wish_for(2).id, wish_for(3))


def test_two_rotations_give_one_successor(ledger: Ledger) -> None:
    """Two developers who rotate one key at once would each hold a new one, beyond the cap."""
    create(ledger, wish_for(1))
    rotate(ledger, wish_for(1).id, wish_for(2))
    refused(ActReason.ALREADY_ROTATED, lambda: rotate(ledger, wish_for(1).id, wish_for(3)))
    assert len(ledger.keys) == 2


def test_a_rotation_that_is_asked_for_again(ledger: Ledger) -> None:
    """A rotation whose answer was lost would be refused, and its token be lost though it is the successor's."""
    create(ledger, wish_for(1))
    first = rotate(ledger, wish_for(1).id, wish_for(2), shutdown=DAY)
    ledger.now += 1000
    again = rotate(ledger, wish_for(1).id, wish_for(2), shutdown=DAY)
    assert again == Changes(keys=first.keys)


def test_an_end_that_was_restored_is_not_put_off(ledger: Ledger) -> None:
    """A key whose rotation a store had forgotten would get a later shutdown time from another one."""
    create(ledger, wish_for(1))
    key_id = wish_for(1).id
    ledger.keys[key_id] = replace(ledger.keys[key_id], shutdown_at=ledger.now + DAY)
    ended, _ = rotate(ledger, key_id, wish_for(2)).keys
    assert ended.shutdown_at == ledger.now + DAY


def test_what_gave_up_its_place_does_not_come_back(ledger: Ledger) -> None:
    """After a clock was set back, or another server took over whose clock is behind, an app would have twenty keys."""
    for number in range(1, 11):
        create(ledger, wish_for(number, lifetime=10))
    ledger.now += 10
    create(ledger, wish_for(11))
    ledger.now -= 1
    for number in range(1, 11):
        refused(ActReason.KEY_ENDED, lambda number=number: rotate(ledger, wish_for(number).id, wish_for(number + 20)))
    rotate(ledger, wish_for(11).id, wish_for(31), shutdown=0)
    refused(ActReason.KEY_ENDED, lambda: rotate(ledger, wish_for(1).id, wish_for(21)))


def test_what_a_clock_that_was_set_back_brings_back_counts(ledger: Ledger) -> None:
    """A gateway that is started now, and knows no later time, would let more keys through than an app may have."""
    for number in range(1, 10):
        create(ledger, wish_for(number, lifetime=10))
    create(ledger, wish_for(10))
    rotate(ledger, wish_for(10).id, wish_for(11), shutdown=10)
    ledger.now += 10
    create(ledger, wish_for(12))
    ledger.now -= 1
    refused(ActReason.TOO_MANY_KEYS, lambda: create(ledger, wish_for(13)))
    refused(ActReason.ROTATION_IN_PROGRESS, lambda: rotate(ledger, wish_for(11).id, wish_for(14)))
    ledger.now += 1
    create(ledger, wish_for(13))
    rotate(ledger, wish_for(11).id, wish_for(14))


# Any order ------------------------------------------------------------------------------------------------------------


class Lives(RuleBasedStateMachine):
    """Keys of one app: made, rotated, revoked and left to expire, while the store's clock steps forward and back.

    What counts is what a gateway says that has run all the time: its own clock never goes back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(now=1000)
        self.ledger.do(Asked(APP.id), lambda seen: lifecycle.create_app(seen, APP, WHO))
        self.latest = self.ledger.now
        self.made = 0
        self.before: dict[str, KeyRecord] = {}
        self.dead: set[str] = set()

    def _do(self, *keys: str, decide: Callable[[Snapshot], Changes]) -> None:
        events = len(self.ledger.events)
        try:
            changes = self.ledger.do(Asked(APP.id, keys=keys), decide)
        except ActRefused:
            return
        assert {event.subject_id for event in self.ledger.events[events:]} == {key.id for key in changes.keys}

    def _wish(self, lifetime: int = 0) -> NewKey:
        self.made += 1
        return wish_for(self.made, lifetime=lifetime)

    def _some(self, number: int) -> str:
        # Old ones and new ones alike; before there is any, one that is not there.
        ids = list(self.ledger.keys) or [MISSING]
        return ids[number % len(ids)]

    @rule(lifetime=st.integers(1, 60))
    def create(self, lifetime: int) -> None:
        wish = self._wish(lifetime)
        self._do(wish.id, decide=lambda seen: lifecycle.create_key(seen, wish, WHO))

    @rule(lifetime=st.integers(1, 60))
    def create_all_there_may_be(self, lifetime: int) -> None:
        for _ in range(MAX_ACTIVE_KEYS + 1):
            self.create(lifetime)

    @rule(number=st.integers(0, 255), shutdown=st.integers(0, 60))
    def rotate(self, number: int, shutdown: int) -> None:
        wish, key_id = self._wish(), self._some(number)
        self._do(key_id, wish.id, decide=lambda seen: lifecycle.rotate_key(seen, key_id, wish, shutdown, WHO))

    @rule(shutdown=st.integers(0, 60))
    def rotate_each(self, shutdown: int) -> None:
        for number in range(len(self.ledger.keys)):
            self.rotate(number, shutdown)

    @rule(number=st.integers(0, 255))
    def revoke(self, number: int) -> None:
        key_id = self._some(number)
        self._do(key_id, decide=lambda seen: lifecycle.revoke_key(seen, key_id, RevokedWhy.REQUESTED, WHO))

    @rule()
    def revoke_all(self) -> None:
        self._do(decide=lambda seen: lifecycle.revoke_keys(seen, WHO))

    @rule(step=st.integers(-80, 80))
    def step(self, step: int) -> None:
        self.ledger.now += step
        self.latest = max(self.latest, self.ledger.now)

    @invariant()
    def never_more_than_may_be(self) -> None:
        """At most ten places, and twenty keys on them."""
        working = {key.id: key for key in self.ledger.keys.values() if works(key, self.latest)}
        assert places(working.values(), self.latest) <= MAX_ACTIVE_KEYS
        assert len([key for key in working.values() if key.successor is None]) <= MAX_ACTIVE_KEYS
        assert len(working) <= 2 * MAX_ACTIVE_KEYS
        succeeded = [key.successor for key in working.values() if key.successor in working]
        assert not any(working[new].successor in working for new in succeeded), "three keys on one place"
        assert len(succeeded) == len(set(succeeded)), "two keys with one successor"

    @invariant()
    def what_ended_stays_so(self) -> None:
        """No key comes back, no end moves later, no key is lost."""
        dead = {key.id for key in self.ledger.keys.values() if not works(key, self.latest)}
        assert self.dead <= dead
        for before in self.before.values():
            now = self.ledger.keys[before.id]
            assert (now.name, now.scopes, now.verifier) == (before.name, before.scopes, before.verifier)
            assert (now.created_at, now.expires_at) == (before.created_at, before.expires_at)
            assert before.successor in {None, now.successor}
            assert before.revoked_at in {None, now.revoked_at}
            assert before.shutdown_at is None or before.shutdown_at == now.shutdown_at
        self.dead, self.before = dead, dict(self.ledger.keys)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=200 if IN_CI else 100, stateful_step_count=40)
