"""Stores that lived apart are merged in any order: what either took away stays taken."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core import deletion, lifecycle, people
from gateway.core.ledger import Act, ActRefused, Asked
from gateway.core.lifecycle import NewKey, places
from gateway.core.people import NewUserToken
from gateway.core.records import (
    MAX_ACTIVE_KEYS,
    RevokedWhy,
    User,
    key_fault,
    user_token_fault,
)
from gateway.core.takings import Taken, Taking, app_taking, key_taking, token_taking, user_taking
from gateway.core.wishes import DAY
from tests.support.examples import many
from tests.support.ledgers import WHO, Ledger
from tests.support.merging import APP, merge_app_into, merge_keys_into, merge_tokens_into, merge_users_into

SCOPES = frozenset({"USER_READ"})


KEYS = [f"5a{number:014x}" for number in range(4)]
TOKENS = [f"5a{number:014x}" for number in range(4, 8)]


def an_act(ledger: Ledger, what: int, which: int) -> Act:
    """Something that is done to one of a few keys, user tokens, users, or to the app."""
    key_id, token_id, user_id = KEYS[which], TOKENS[which], f"user-{which % 2}"
    wish = NewKey(f"5a{ledger.now % 997:06x}{len(ledger.keys):08x}", bytes(32), "", SCOPES, DAY)
    acts = (
        Act(Asked(APP.id, keys=(key_id,)), lambda seen: lifecycle.revoke_key(seen, key_id, RevokedWhy.REQUESTED, WHO)),
        Act(Asked(APP.id, keys=(key_id, wish.id)), lambda seen: lifecycle.rotate_key(seen, key_id, wish, which, WHO)),
        Act(Asked(APP.id), lambda seen: lifecycle.switch_app(seen, WHO, disabled=not (seen.app or APP).disabled)),
        Act(Asked(APP.id), lambda seen: people.end_app_tokens(seen, WHO)),
        Act(Asked(APP.id, user_id=user_id), lambda seen: people.end_user_tokens(seen, user_id, WHO)),
        Act(Asked(APP.id, user_id=user_id), lambda seen: people.switch_user(seen, user_id, WHO, disabled=which > 1)),
        Act(
            Asked(APP.id, tokens=(token_id,)),
            lambda seen: people.revoke_user_token(seen, token_id, RevokedWhy.LEAKED, WHO),
        ),
        Act(deletion.asked_of(APP.id, user_id), lambda seen: deletion.delete_user(seen, user_id, WHO)),
    )
    return acts[what]


def a_base() -> Ledger:
    """An app with a few keys, users and tokens."""
    ledger = Ledger(apps={APP.id: APP})
    for number, key_id in enumerate(KEYS):
        wish = NewKey(key_id, number.to_bytes(32), "k", SCOPES, DAY)
        ledger.do(Asked(APP.id, keys=(key_id,)), lambda seen, wish=wish: lifecycle.create_key(seen, wish, WHO))
    for number, token_id in enumerate(TOKENS):
        token = NewUserToken(token_id, number.to_bytes(32), f"user-{number % 2}", f"name-{number % 2}", "", DAY)
        asked = Asked(APP.id, user_id=token.user_id, external_id=token.external_id, tokens=(token_id,))
        ledger.do(asked, lambda seen, token=token: people.create_user_token(seen, token, WHO))
    return ledger


def fork(ledger: Ledger) -> Ledger:
    """Another store with the same records."""
    records = ledger.apps, ledger.keys, ledger.users, ledger.tokens, ledger.roles
    return Ledger(ledger.now, *map(dict, records), events=[*ledger.events])  # type: ignore[arg-type]


def lived(base: Ledger, happenings: Sequence[tuple[int, int]], start: int) -> Ledger:
    """What becomes of a store by itself."""
    ledger = fork(base)
    ledger.now += start
    for what, which in happenings:
        ledger.now += 1
        try:
            ledger.act(an_act(ledger, what, which))
        except ActRefused:
            continue
    return ledger


def merged_into(ledger: Ledger, other: Ledger) -> None:
    """All of another store merged."""
    ledger.now = max(ledger.now, other.now)
    merge_app_into(ledger, other.apps[APP.id])
    merge_users_into(ledger, *other.users.values())
    merge_keys_into(ledger, *other.keys.values())
    merge_tokens_into(ledger, *other.tokens.values())


def takings(ledger: Ledger) -> dict[tuple[Taken, str, str], Taking]:
    """What was taken away, of the records that all stores had."""
    found = [
        app_taking(ledger.apps[APP.id]),
        *(key_taking(ledger.keys[key_id]) for key_id in KEYS),
        *(token_taking(ledger.tokens[token_id]) for token_id in TOKENS),
        *map(user_taking, ledger.users.values()),
    ]
    return {taking.subject: taking for taking in found if taking is not None}


lives = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), max_size=8)


@many
@given(st.tuples(lives, lives, lives))
def test_merges_in_any_order_take_the_same(stories: tuple[list[tuple[int, int]], ...]) -> None:
    """What is revoked after two backups are brought back would depend on which came first.

    What is disabled does depend on it: whatever was so in the store stays so."""
    base = a_base()
    stores = [lived(base, story, start) for start, story in enumerate(stories)]
    outcomes = []
    for order in permutations(stores):
        first, *others = map(fork, order)
        for other in others:
            merged_into(first, other)
        outcomes.append(takings(first))
        told = len(first.events)
        for other in stores:
            merged_into(first, other)
        assert (takings(first), len(first.events)) == (outcomes[-1], told)
    ends = [{subject: replace(taking, switches=0) for subject, taking in each.items()} for each in outcomes]
    assert all(each == ends[0] for each in ends)


marks = st.tuples(st.integers(0, 5), st.integers(0, 3))  # switches, and a cut


@given(marks, st.lists(marks))
def test_no_merge_enables(start: tuple[int, int], others: list[tuple[int, int]]) -> None:
    """An app or user that was disabled would get through again, as somewhere else it was enabled once more; or the
    audit tell of a loss where there was none."""
    ledger = Ledger(apps={APP.id: APP})
    ledger.apps[APP.id] = replace(APP, switches=start[0], cut_at=start[1])
    ledger.users[APP.id, "u"] = User("u", APP.id, None, *start)
    for switches, cut_at in [*others, *others]:
        app, user, told = ledger.apps[APP.id], ledger.users[APP.id, "u"], len(ledger.events)
        merge_app_into(ledger, replace(APP, switches=switches, cut_at=cut_at))
        merge_users_into(ledger, User("u", APP.id, None, switches, cut_at))
        for before, after in ((app, ledger.apps[APP.id]), (user, ledger.users[APP.id, "u"])):
            assert after.disabled or not before.disabled
            assert after.disabled == (before.disabled or (switches > before.switches and switches % 2 == 1))
            assert (after.switches >= max(before.switches, switches), after.cut_at) == (
                True,
                max(before.cut_at, cut_at),
            )
            loses = after.cut_at > before.cut_at or after.disabled > before.disabled
            assert len(ledger.events) == told + 2 * loses


@many
@given(lives, lives)
def test_nothing_that_ended_works_after_a_merge(story: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """Some key or token that either store had ended would open something again."""
    base = a_base()
    here, there = lived(base, story, 0), lived(base, other, 3)
    ended = {
        subject
        for ledger in (here, there)
        for subject in takings(ledger)
        if subject[0] in {Taken.KEY, Taken.USER_TOKEN}
    }
    dead = {token.id for token in base.tokens.values() for ledger in (here, there) if _dead(ledger, token.id)}
    merged_into(here, there)
    here.now += DAY // 2
    for kind, _, subject_id in ended:
        if kind is Taken.KEY:
            assert key_fault(here.keys[subject_id], here.now) is not None
    assert all(_dead(here, token_id) for token_id in dead)
    assert places(here.keys.values(), here.now) <= MAX_ACTIVE_KEYS


def _dead(ledger: Ledger, token_id: str) -> bool:
    token = ledger.tokens[token_id]
    return user_token_fault(token, ledger.users[APP.id, token.user_id], ledger.apps[APP.id], ledger.now) is not None
