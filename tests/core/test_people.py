"""The rules for users, their tokens and developers; and what is told anew to a store that forgot it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import lifecycle, people
from gateway.core.audit import AuditAction
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Decide, Snapshot
from gateway.core.lifecycle import NewKey
from gateway.core.people import CLOCKS_APART, NewUserToken, developer_id
from gateway.core.records import (
    DELETED,
    App,
    Fault,
    KeyRecord,
    RevokedWhy,
    Role,
    User,
    UserTokenRecord,
    key_fault,
    user_token_fault,
)
from gateway.core.takings import Taken, Taking, app_taking, key_taking, token_taking, user_taking
from gateway.core.wishes import DAY
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
OTHER = App("5a0000000000000000000a02", "other", "us")
MISSING = "5a0000000000000000000fff"
EMAIL = "ada@example.com"


@pytest.fixture
def ledger() -> Ledger:
    """Two apps without users."""
    return Ledger(apps={APP.id: APP, OTHER.id: OTHER})


def wish_for(
    number: int, user_id: str | None = None, external_id: str | None = None, *, lifetime: int = DAY
) -> NewUserToken:
    """A wish for a token, another for each number."""
    new = f"5a{number:022x}"
    return NewUserToken(f"5a{number:014x}", number.to_bytes(32), user_id, external_id, new, lifetime)


def create(ledger: Ledger, wish: NewUserToken, app_id: str = APP.id) -> Changes:
    """A new token."""
    asked = Asked(app_id, user_id=wish.user_id or wish.new_user_id, external_id=wish.external_id, tokens=(wish.id,))
    return ledger.do(asked, lambda seen: people.create_user_token(seen, wish, WHO))


def of_user(ledger: Ledger, user_id: str, decide: Decide) -> Changes:
    """An act about one user."""
    return ledger.do(Asked(APP.id, user_id=user_id), decide)


def fault(ledger: Ledger, wish: NewUserToken) -> Fault | None:
    """What is wrong with the token now."""
    token = ledger.tokens[wish.id]
    return user_token_fault(token, ledger.users[APP.id, token.user_id], ledger.apps[APP.id], ledger.now)


def refused(reason: ActReason, does: Callable[[], Changes]) -> str:
    """What is said of an act that is refused for this reason."""
    with pytest.raises(ActRefused) as refusal:
        does()
    assert refusal.value.reason is reason
    return refusal.value.message


# Tokens ---------------------------------------------------------------------------------------------------------------


def test_a_token_and_its_user(ledger: Ledger) -> None:
    """A user's first token would belong to nobody, or the user have no event."""
    wish = wish_for(1, external_id="customer-17")
    changes = create(ledger, wish)
    user = User(wish.new_user_id, APP.id, "customer-17")
    token = UserTokenRecord(wish.id, APP.id, user.id, wish.verifier, ledger.now, ledger.now + DAY)
    assert (changes.users, changes.tokens) == ((user,), (token,))
    assert [(event.action, event.subject_id, event.about) for event in changes.events] == [
        (AuditAction.USER_CREATED, user.id, ""),
        (AuditAction.USER_TOKEN_CREATED, token.id, f"user {user.id}"),
    ]
    assert "customer-17" not in repr(changes.events)


def test_a_user_is_made_once(ledger: Ledger) -> None:
    """A user with two devices would become two users."""
    users = []
    for number, (user_id, external_id) in enumerate(
        [(None, "a"), (None, "a"), (wish_for(1).new_user_id, None), (wish_for(1).new_user_id, "a"), (None, None)]
    ):
        create(ledger, wish_for(number + 1, user_id, external_id))
        users.append(ledger.tokens[wish_for(number + 1).id].user_id)
    assert users == [wish_for(1).new_user_id] * 4 + [wish_for(5).new_user_id]
    assert len(ledger.users) == 2


def test_a_user_that_exists_upstream_keeps_its_id(ledger: Ledger) -> None:
    """A user of the API could not be given a token."""
    create(ledger, wish_for(1, "583e08a1cd99250700000002", "b"))
    assert list(ledger.users.values()) == [User("583e08a1cd99250700000002", APP.id, "b")]


def test_two_ids_of_two_users(ledger: Ledger) -> None:
    """A token would be made for another user than the one that was meant."""
    for number, (user_id, external_id) in enumerate([("u1", "a"), ("u2", "b"), ("u3", None)]):
        create(ledger, wish_for(number, user_id, external_id))
    for user_id, external_id, told in [
        ("u2", "a", "belongs to another user of the app, u1"),
        ("u9", "a", "belongs to another user of the app, u1"),
        ("u2", "z", "u2 has another external id, or none"),
        ("u3", "z", "u3 has another external id, or none"),
    ]:
        wish = wish_for(9, user_id, external_id)
        assert told in refused(ActReason.EXTERNAL_ID_TAKEN, lambda wish=wish: create(ledger, wish))
    assert len(ledger.users) == len(ledger.tokens) == 3


def test_users_of_two_apps_are_apart(ledger: Ledger) -> None:
    """A token of one app would be made for the user of another."""
    create(ledger, wish_for(1, external_id="c"))
    create(ledger, wish_for(2, external_id="c"), OTHER.id)
    assert [(user.app_id, user.id) for user in ledger.users.values()] == [
        (APP.id, wish_for(1).new_user_id),
        (OTHER.id, wish_for(2).new_user_id),
    ]


@pytest.mark.parametrize(("user_id", "external_id"), [(None, None), ("u1", None), (None, "a"), ("u1", "a")])
def test_a_token_that_is_asked_for_again(ledger: Ledger, user_id: str | None, external_id: str | None) -> None:
    """A token whose creation was not answered would be made for a second user, or be refused."""
    wish = wish_for(1, user_id, external_id)
    first = create(ledger, wish)
    ledger.now += 1000
    assert create(ledger, wish) == replace(first, events=())


def test_no_id_is_used_again(ledger: Ledger) -> None:
    """A token would be shown that belongs to somebody else's record."""
    key = KeyRecord("5a000000000000aa", APP.id, "key", frozenset(), b"", 0, 1)
    ledger.keys[key.id] = key
    wish = wish_for(1)
    create(ledger, wish)
    for taken in (replace(wish, verifier=b"other"), replace(wish, id=key.id)):
        refused(ActReason.ID_TAKEN, lambda taken=taken: create(ledger, taken))
    refused(ActReason.ID_TAKEN, lambda: create(ledger, wish, OTHER.id))


def test_one_token_is_revoked(ledger: Ledger) -> None:
    """A token that could not be confirmed would live on unseen."""
    wish, other = wish_for(1, "u"), wish_for(2, "u")
    create(ledger, wish)
    create(ledger, other)
    why = RevokedWhy.UNCONFIRMED
    asked = Asked(APP.id, tokens=(wish.id, "missing"))
    changes = ledger.do(asked, lambda seen: people.revoke_user_token(seen, wish.id, why, WHO))
    assert [(event.action, event.about) for event in changes.events] == [
        (AuditAction.USER_TOKEN_REVOKED, "unconfirmed")
    ]
    assert (fault(ledger, wish), fault(ledger, other)) == (Fault.REVOKED, None)
    for token_id in (wish.id, "missing"):
        assert not ledger.do(asked, lambda seen, at=token_id: people.revoke_user_token(seen, at, why, WHO))


def test_nothing_is_done_for_what_is_not_there(ledger: Ledger) -> None:
    """A mistyped id would make tokens and roles that belong to nobody, or look as if it had been done."""
    refused(ActReason.UNKNOWN_APP, lambda: create(ledger, wish_for(1), MISSING))
    for app_id, reason in ((MISSING, ActReason.UNKNOWN_APP), (APP.id, ActReason.UNKNOWN_USER)):
        asked = Asked(app_id, user_id="nobody")
        decisions: list[Decide] = [
            lambda seen: people.switch_user(seen, "nobody", WHO, disabled=True),
            lambda seen: people.end_user_tokens(seen, "nobody", WHO),
        ]
        for decide in decisions:
            refused(reason, lambda asked=asked, decide=decide: ledger.do(asked, decide))
    asked = Asked(MISSING, roles=True, tokens=("t",))
    decisions = [
        lambda seen: people.end_app_tokens(seen, WHO),
        lambda seen: people.grant(seen, EMAIL, Role.DEVELOPER, WHO),
        lambda seen: people.remove(seen, EMAIL, WHO),
        lambda seen: people.revoke_user_token(seen, "t", RevokedWhy.REQUESTED, WHO),
    ]
    for decide in decisions:
        refused(ActReason.UNKNOWN_APP, lambda decide=decide: ledger.do(asked, decide))
    assert not ledger.events


# Ends of many tokens --------------------------------------------------------------------------------------------------


def test_a_user_is_disabled_and_enabled(ledger: Ledger) -> None:
    """A user would stay open, or two commands at once disable it twice, which enables it."""
    create(ledger, wish_for(1, "u"))
    states = []
    for disabled in (False, True, True, False):
        changed = of_user(ledger, "u", lambda seen, to=disabled: people.switch_user(seen, "u", WHO, disabled=to))
        states.append((bool(changed), ledger.users[APP.id, "u"].disabled))
    assert states == [(False, False), (True, True), (False, True), (True, False)]
    assert [event.action for event in ledger.events[2:]] == [AuditAction.USER_DISABLED, AuditAction.USER_ENABLED]


def test_a_user_of_another_issuer_is_disabled(ledger: Ledger) -> None:
    """A user who is known from tokens of another issuer alone could not be locked out, or a slip make a user."""
    refused(
        ActReason.UNKNOWN_USER,
        lambda: of_user(ledger, "u", lambda seen: people.switch_user(seen, "u", WHO, disabled=True)),
    )
    for disabled, changes in ((False, False), (True, True), (True, False), (False, True)):
        done = of_user(
            ledger,
            "u",
            lambda seen, to=disabled: people.switch_user(seen, "u", WHO, disabled=to, unknown_too=True),
        )
        assert bool(done) is changes
        assert ((APP.id, "u") in ledger.users) is (disabled or changes)
    assert [event.action for event in ledger.events] == [
        AuditAction.USER_CREATED,
        AuditAction.USER_DISABLED,
        AuditAction.USER_ENABLED,
    ]


def test_nothing_is_issued_to_a_tombstone(ledger: Ledger) -> None:
    """Somebody who was deleted would be there again, under the id that the API keeps as gone."""
    ledger.users[APP.id, "u"] = User("u", APP.id, cut_at=DELETED)
    refused(ActReason.USER_DELETED, lambda: create(ledger, wish_for(1, "u")))
    for unknown_too in (False, True):
        refused(
            ActReason.UNKNOWN_USER,
            lambda too=unknown_too: of_user(
                ledger, "u", lambda seen: people.switch_user(seen, "u", WHO, disabled=True, unknown_too=too)
            ),
        )


@pytest.mark.parametrize("whose", ["user", "app"])
@pytest.mark.parametrize("step", [-CLOCKS_APART, -1, 0, 1, DAY - 1])
def test_tokens_end_and_new_ones_work(ledger: Ledger, whose: str, step: int) -> None:
    """A stolen token would outlive the end of all tokens, by a clock that is behind; or a new one be dead at once."""
    before, after, last = wish_for(1, "u"), wish_for(2, "u"), wish_for(3, "u")
    create(ledger, before)
    ledger.now += step
    for new in (after, last):
        end_tokens(ledger, whose)
        assert fault(ledger, before) is Fault.REVOKED
        create(ledger, new)
        assert fault(ledger, new) is None
    assert fault(ledger, after) is Fault.REVOKED
    ledger.now = ledger.tokens[last.id].expires_at
    assert fault(ledger, last) is Fault.EXPIRED
    action = AuditAction.USER_TOKENS_ENDED if whose == "user" else AuditAction.APP_TOKENS_ENDED
    assert [event.action for event in ledger.events].count(action) == 2


def end_tokens(ledger: Ledger, whose: str) -> None:
    """The end of every token of the user or of the app."""
    if whose == "user":
        of_user(ledger, "u", lambda seen: people.end_user_tokens(seen, "u", WHO))
    else:
        ledger.do(Asked(APP.id), lambda seen: people.end_app_tokens(seen, WHO))


@given(st.lists(st.tuples(st.sampled_from(["create", "user", "app"]), st.integers(0, CLOCKS_APART))))
def test_whatever_the_clock_does_a_cut_cuts(steps: list[tuple[str, int]]) -> None:
    """A token would live on after somebody ended all of them, or one that was made afterwards be dead."""
    ledger = Ledger(apps={APP.id: APP})
    create(ledger, wish_for(0, "u"))
    start, alive, dead = ledger.now, {0}, set[int]()
    for number, (act, off) in enumerate(steps):
        # One server after another, with clocks up to half a minute apart, and none of the acts takes time.
        ledger.now = start + off
        if act == "create":
            create(ledger, wish_for(number + 1, "u"))
            alive.add(number + 1)
        else:
            end_tokens(ledger, act)
            alive, dead = set(), alive | dead
    assert [fault(ledger, wish_for(number)) for number in alive] == [None] * len(alive)
    assert [fault(ledger, wish_for(number)) for number in dead] == [Fault.REVOKED] * len(dead)


# Developers -----------------------------------------------------------------------------------------------------------


def test_roles(ledger: Ledger) -> None:
    """Somebody would keep a role that was taken, or have none though it was granted."""
    asked = Asked(APP.id, roles=True)
    done = [
        bool(ledger.do(asked, lambda seen, role=role: people.grant(seen, EMAIL, role, WHO)))
        for role in (Role.DEVELOPER, Role.DEVELOPER, Role.SPECTATOR)
    ]
    assert done == [True, False, True]
    assert ledger.roles == {(APP.id, EMAIL): Role.SPECTATOR}
    ledger.do(asked, lambda seen: people.remove(seen, EMAIL, WHO))
    assert not ledger.roles
    refused(ActReason.UNKNOWN_DEVELOPER, lambda: ledger.do(asked, lambda seen: people.remove(seen, EMAIL, WHO)))
    assert [(event.action, event.about) for event in ledger.events] == [
        (AuditAction.DEVELOPER_GRANTED, "developer"),
        (AuditAction.DEVELOPER_GRANTED, "spectator"),
        (AuditAction.DEVELOPER_REMOVED, ""),
    ]


def test_no_address_in_the_audit(ledger: Ledger) -> None:
    """The audit, which is kept for years and handed on, would hold people's addresses; or not tell two people apart."""
    asked = Asked(APP.id, roles=True)
    for email in (EMAIL, "bob@example.com"):
        ledger.do(asked, lambda seen, email=email: people.grant(seen, email, Role.DEVELOPER, WHO))
    subjects = [event.subject_id for event in ledger.events]
    assert subjects == [developer_id(EMAIL), developer_id("bob@example.com")]
    assert len(set(subjects)) == 2
    assert "example" not in repr(ledger.events)


# What a store forgot --------------------------------------------------------------------------------------------------

KEY = KeyRecord("5a00000000000001", APP.id, "key", frozenset({"USER_READ"}), b"v", 0, 1 << 62)
USER = User("u", APP.id)
TOKEN = UserTokenRecord("5a00000000000002", APP.id, USER.id, b"v", 0, 1 << 62)


def tell(ledger: Ledger, taking: Taking) -> Changes:
    """What was taken, told anew."""
    asked = Asked(taking.app_id, keys=(taking.id,), user_id=taking.id, tokens=(taking.id,))
    return ledger.do(asked, lambda seen: people.restore(seen, taking, WHO))


@pytest.mark.parametrize(
    ("taking", "about"),
    [
        (Taking(Taken.KEY, APP.id, KEY.id, end=5), "key"),
        (Taking(Taken.KEY, APP.id, KEY.id, shutdown=5), "key"),
        (Taking(Taken.USER_TOKEN, APP.id, TOKEN.id, end=5), "user_token"),
        (Taking(Taken.USER, APP.id, USER.id, cut=5), "user"),
        (Taking(Taken.USER, APP.id, USER.id, switches=1), "user"),
        (Taking(Taken.APP, APP.id, APP.id, cut=5), "app"),
        (Taking(Taken.APP, APP.id, APP.id, switches=3), "app"),
    ],
)
def test_what_was_forgotten_is_told_anew(ledger: Ledger, taking: Taking, about: str) -> None:
    """A store that fell back to an older state would let a revoked credential through for good."""
    assert tell(ledger, replace(taking, app_id=MISSING)) == Changes()
    assert bool(tell(ledger, taking)) == (taking.kind in {Taken.APP, Taken.USER})
    # A user of another issuer gets through without a record, so what was taken from one makes it.
    assert [*map(user_taking, ledger.users.values())] == ([taking] if taking.kind is Taken.USER else [])
    assert (ledger.keys, ledger.tokens) == ({}, {})
    ledger.keep(APP.id, Changes(app=APP, keys=(KEY,), users=(USER,), tokens=(TOKEN,)))
    ledger.events.clear()
    assert tell(ledger, taking)
    (event,) = ledger.events
    assert (event.action, event.app_id, event.subject_id, event.about) == (
        AuditAction.REVOCATION_RESTORED,
        APP.id,
        taking.id,
        about,
    )
    known = {
        Taken.KEY: key_taking(ledger.keys[KEY.id]),
        Taken.USER_TOKEN: token_taking(ledger.tokens[TOKEN.id]),
        Taken.USER: user_taking(ledger.users[APP.id, USER.id]),
        Taken.APP: app_taking(ledger.apps[APP.id]),
    }
    assert known[taking.kind] == taking
    assert tell(ledger, taking) == Changes()
    assert len(ledger.events) == 1


@given(st.lists(st.sampled_from(["rotate", "now", "revoke", "expire"]), max_size=4), st.integers(0, 30))
def test_restoring_gives_back_every_end(acts: list[str], lost_after: int) -> None:
    """A key that was rotated or revoked before the store lost it would live longer than was promised."""
    ledger = Ledger(now=1000, apps={APP.id: APP})
    wish = NewKey(KEY.id, b"v", "key", frozenset({"USER_READ"}), 100)
    ledger.do(Asked(APP.id, keys=(KEY.id,)), lambda seen: lifecycle.create_key(seen, wish, WHO))
    forgotten = dict(ledger.keys)
    for number, act in enumerate(acts):
        ledger.now += 10
        change(ledger, act, NewKey(f"5a{number:014x}", b"n", "", frozenset(), 0))
    taken = key_taking(ledger.keys[KEY.id])
    before = ledger.keys[KEY.id]
    ledger.keys, ledger.now = forgotten, ledger.now + lost_after - 15
    if taken is not None:
        tell(ledger, taken)
    after = ledger.keys[KEY.id]
    assert (after.shutdown_at, after.revoked_at, after.expires_at) == (
        before.shutdown_at,
        before.revoked_at,
        before.expires_at,
    )
    assert all(key_fault(after, now) is key_fault(before, now) for now in range(990, 1200))


def change(ledger: Ledger, act: str, wish: NewKey) -> None:
    """One step of a key's life, if the rules allow it."""
    asked = Asked(APP.id, keys=(KEY.id, wish.id))

    def decide(seen: Snapshot) -> Changes:
        if act == "revoke":
            return lifecycle.revoke_key(seen, KEY.id, RevokedWhy.LEAKED, WHO)
        return lifecycle.rotate_key(seen, KEY.id, wish, 0 if act == "now" else 20, WHO)

    if act == "expire":
        ledger.now += 100
        return
    try:
        ledger.do(asked, decide)
    except ActRefused:
        assert key_taking(ledger.keys[KEY.id]) is not None or ledger.now >= ledger.keys[KEY.id].expires_at
