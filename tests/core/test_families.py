"""Families of user tokens: begun, refreshed, bounded, ended by a token that comes back."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core import deletion, lifecycle, people
from gateway.core import families as family_rules
from gateway.core.audit import AuditAction
from gateway.core.codes import CODE_BYTES, CODE_LIFETIME, NewCode, code_from, create_code, minted_code
from gateway.core.families import (
    SIDE_BY_SIDE,
    NextToken,
    TokenRules,
    Unseen,
    families_from,
    families_key,
    refresh_fault,
)
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Item, ItemKey, ItemKind, Snapshot
from gateway.core.people import CLOCKS_APART, NewUserToken
from gateway.core.records import App, Fault, KeyRecord, RevokedWhy, User, UserTokenRecord, user_token_fault
from gateway.core.wishes import DAY
from tests.support.examples import IN_CI
from tests.support.families import of_user
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
KEY = KeyRecord("5affffffffffffff", APP.id, "backend", frozenset({"USER_LINK"}), bytes(32), 0, 2_000_000_000_000)
RULES = TokenRules()
SHORT = TokenRules(lifetime=1_000_000, family=5_000_000, at_most=3, late=100_000)
MINUTE = 60_000


@pytest.fixture
def ledger() -> Ledger:
    """An app without users."""
    return Ledger(apps={APP.id: APP}, keys={KEY.id: KEY})


def token_id(number: int) -> str:
    """The id of a token."""
    return f"5a{number:014x}"


def issue(
    ledger: Ledger, number: int, user: str | None = "u", external: str | None = None, rules: TokenRules = RULES
) -> UserTokenRecord:
    """A first token."""
    wish = NewUserToken(token_id(number), number.to_bytes(32), user, external, f"5a{number:022x}", rules.lifetime)
    asked = Asked(APP.id, user_id=user or wish.new_user_id, external_id=external, tokens=(wish.id,))
    of_user(ledger, asked, lambda seen, asked: family_rules.issue(seen, asked, wish, rules, WHO))
    return ledger.tokens[wish.id]


def refresh(ledger: Ledger, old: int, new: int, rules: TokenRules = RULES, verifier: bytes = b"") -> Changes:
    """The next token."""
    wish = NextToken(token_id(new), verifier or new.to_bytes(32))
    user_id = ledger.tokens[token_id(old)].user_id if token_id(old) in ledger.tokens else None
    asked = Asked(APP.id, user_id=user_id, tokens=(token_id(old), wish.id))
    return of_user(
        ledger, asked, lambda seen, asked: family_rules.refresh(seen, asked, token_id(old), wish, rules, WHO)
    )


def come_back(ledger: Ledger, number: int) -> Changes:
    """A token that is presented after it was refreshed."""
    user_id = ledger.tokens[token_id(number)].user_id
    asked = Asked(APP.id, user_id=user_id, tokens=(token_id(number),))
    return of_user(ledger, asked, lambda seen, asked: family_rules.reused(seen, asked, token_id(number), WHO))


def fault(ledger: Ledger, number: int) -> Fault | None:
    """What is wrong with a token now."""
    token = ledger.tokens[token_id(number)]
    return user_token_fault(token, ledger.users[APP.id, token.user_id], ledger.apps[APP.id], ledger.now)


def refused(ledger: Ledger, old: int, new: int = 99, rules: TokenRules = RULES) -> None:
    """A refresh that is refused, and changes nothing."""
    before = (dict(ledger.tokens), dict(ledger.items), len(ledger.events))
    with pytest.raises(ActRefused) as refusal:
        refresh(ledger, old, new, rules)
    assert refusal.value.reason is ActReason.TOKEN_INVALID
    assert (ledger.tokens, ledger.items, len(ledger.events)) == before


def test_a_first_token_begins_a_family(ledger: Ledger) -> None:
    """A user's token could be refreshed for ever, or not at all."""
    token = issue(ledger, 1)
    assert (token.family, token.expires_at) == (token.id, ledger.now + RULES.lifetime)
    (family,) = families_from(ledger.items[families_key(APP.id, "u")])
    assert (family.id, family.tokens, family.ends_at) == (token.id, (token.id,), ledger.now + RULES.family)
    short = TokenRules(family=DAY)
    assert issue(ledger, 2, rules=short).expires_at == ledger.now + DAY


def test_a_refresh(ledger: Ledger) -> None:
    """Whoever refreshed would have no minute to take the new token into use, or the old one would live on."""
    issue(ledger, 1)
    ledger.now += DAY
    refresh(ledger, 1, 2)
    assert (fault(ledger, 1), fault(ledger, 2)) == (None, None)
    assert [(event.action, event.subject_id, event.about) for event in ledger.events[2:]] == [
        (AuditAction.USER_TOKEN_REFRESHED, token_id(1), f"successor {token_id(2)}, user u")
    ]
    ledger.now += MINUTE - 1
    assert fault(ledger, 1) is None
    ledger.now += 1
    assert (fault(ledger, 1), fault(ledger, 2)) == (Fault.SUPERSEDED, None)
    assert ledger.tokens[token_id(2)].family == token_id(1)


def test_a_lost_answer_is_asked_for_again(ledger: Ledger) -> None:
    """A device whose connection broke would have to be registered anew, or two tokens would live on."""
    issue(ledger, 1)
    refresh(ledger, 1, 2)
    ledger.now += MINUTE - 1
    refresh(ledger, 1, 3)
    ledger.now += MINUTE
    assert [fault(ledger, number) for number in (1, 2, 3)] == [Fault.SUPERSEDED, Fault.SUPERSEDED, None]


def test_the_same_act_again(ledger: Ledger) -> None:
    """A refresh or registration whose outcome was unknown would be done twice."""
    issue(ledger, 1)
    refresh(ledger, 1, 2)
    ledger.now += 5
    before = (dict(ledger.tokens), dict(ledger.items), len(ledger.events))
    assert [token.id for token in refresh(ledger, 1, 2).tokens] == [token_id(2)]
    issue(ledger, 1)
    assert (ledger.tokens, ledger.items, len(ledger.events)) == before
    ledger.tokens[token_id(7)] = replace(ledger.tokens[token_id(2)], id=token_id(7), app_id="5a" + "0" * 22)
    for taken in (7, 1):
        with pytest.raises(ActRefused, match="The id is taken"):
            refresh(ledger, 2, taken, verifier=b"another")


@pytest.mark.parametrize(
    ("after", "good"),
    [(RULES.lifetime, True), (RULES.lifetime + RULES.late - 1, True), (RULES.lifetime + RULES.late, False)],
)
def test_a_token_that_expired_lately(ledger: Ledger, after: int, good: bool) -> None:
    """A phone that was off for a night would lose its user, or one that was found in a drawer keep it."""
    issue(ledger, 1)
    ledger.now += after
    assert fault(ledger, 1) is Fault.EXPIRED
    if good:
        refresh(ledger, 1, 2)
        assert fault(ledger, 2) is None
    else:
        refused(ledger, 1)


def test_a_family_ends_by_its_age(ledger: Ledger) -> None:
    """A stolen device would be the user's for ever."""
    issue(ledger, 1)
    end = ledger.now + RULES.family
    number = 1
    while ledger.now + RULES.lifetime - DAY < end:
        ledger.now += RULES.lifetime - DAY
        refresh(ledger, number, number + 1)
        number += 1
    assert all(token.expires_at <= end for token in ledger.tokens.values())
    ledger.now = end - 1
    refresh(ledger, number, number + 1)
    assert ledger.tokens[token_id(number + 1)].expires_at == end
    ledger.now = end
    refused(ledger, number + 1)


@pytest.mark.parametrize("what", ["app", "user", "cut", "deleted", "revoked", "unknown"])
def test_what_cannot_be_refreshed(ledger: Ledger, what: str) -> None:
    """A user who was locked out would stay in by refreshing."""
    issue(ledger, 1)
    user = ledger.users[APP.id, "u"]
    asked = Asked(APP.id, user_id="u")
    if what == "app":
        ledger.do(asked, lambda seen: lifecycle.switch_app(seen, WHO, disabled=True))
    elif what == "user":
        ledger.do(asked, lambda seen: people.switch_user(seen, "u", WHO, disabled=True))
    elif what == "cut":
        ledger.do(asked, lambda seen: people.end_user_tokens(seen, "u", WHO))
    elif what == "deleted":
        ledger.users[APP.id, "u"] = replace(user, cut_at=1 << 50)
    elif what == "revoked":
        ledger.tokens[token_id(1)] = replace(ledger.tokens[token_id(1)], revoked_at=ledger.now)
    refused(ledger, 5 if what == "unknown" else 1)


def test_a_family_that_the_store_lost(ledger: Ledger) -> None:
    """A token of a family whose age nobody knows would go on for ever."""
    issue(ledger, 1)
    ledger.items.clear()
    refused(ledger, 1)


def test_an_imported_token(ledger: Ledger) -> None:
    """A user from elsewhere could not go on without being registered anew, or a copy of the old token would pass."""
    ledger.users[APP.id, "u"] = User("u", APP.id)
    ledger.tokens[token_id(1)] = UserTokenRecord(token_id(1), APP.id, "u", b"v", 1, ledger.now + DAY)
    for number in range(2, 8):
        issue(ledger, number)
    assert fault(ledger, 1) is None
    refresh(ledger, 1, 20)
    ledger.now += 1
    refresh(ledger, 1, 21)
    assert {ledger.tokens[token_id(number)].family for number in (1, 20, 21)} == {token_id(1)}
    ledger.now += MINUTE
    assert come_back(ledger, 1)
    assert fault(ledger, 21) is Fault.REVOKED


def test_the_oldest_ends(ledger: Ledger) -> None:
    """A user would have more devices than it may, or the one in use would be cut off for one in a drawer."""
    for number in range(1, 6):
        issue(ledger, number)
        ledger.now += 1
    refresh(ledger, 1, 11)
    ledger.events.clear()
    issue(ledger, 6)
    assert [number for number in range(1, 7) if fault(ledger, number) is not None] == [2]
    assert [(event.action, event.subject_id, event.about) for event in ledger.events] == [
        (AuditAction.USER_TOKEN_CREATED, token_id(6), "user u"),
        (AuditAction.USER_TOKEN_REVOKED, token_id(2), "newer_family"),
    ]
    issue(ledger, 7, rules=TokenRules(at_most=1))
    ledger.now += CLOCKS_APART
    assert [number for number in (1, 3, 4, 5, 6, 7, 11) if fault(ledger, number) is None] == [7]


def test_one_that_is_dead_takes_no_place(ledger: Ledger) -> None:
    """A user's tokens would be ended, and those that are made then be ended for them."""
    for number in range(1, 6):
        issue(ledger, number)
    ledger.do(Asked(APP.id, user_id="u"), lambda seen: people.end_user_tokens(seen, "u", WHO))
    ledger.events.clear()
    for number in range(6, 11):
        issue(ledger, number)
    assert {event.action for event in ledger.events} == {AuditAction.USER_TOKEN_CREATED}
    assert [fault(ledger, number) for number in range(6, 11)] == [None] * 5


def test_many_refreshes_within_a_minute(ledger: Ledger) -> None:
    """One device could fill the store's memory of its user, or be taken for a thief for being hasty."""
    issue(ledger, 1)
    for number in range(2, SIDE_BY_SIDE + 1):
        refresh(ledger, 1, number)
    before = (dict(ledger.tokens), dict(ledger.items), len(ledger.events))
    for old in range(1, SIDE_BY_SIDE + 1):
        with pytest.raises(ActRefused) as caught:
            refresh(ledger, old, 99)
        assert caught.value.reason is ActReason.TOO_MANY_REFRESHES
    assert (ledger.tokens, ledger.items, len(ledger.events)) == before
    assert [fault(ledger, number) for number in range(1, SIDE_BY_SIDE + 1)] == [None] * SIDE_BY_SIDE
    ledger.now += RULES.overlap + CLOCKS_APART
    refresh(ledger, SIDE_BY_SIDE, 99)
    assert fault(ledger, 99) is None


def test_haste_hides_no_thief(ledger: Ledger) -> None:
    """A thief who refreshes again and again would push the user's token out, and nobody find that it came back."""
    issue(ledger, 1)
    for number in range(2, 20):
        with suppress(ActRefused):
            refresh(ledger, number - 1, number)
    ledger.now += RULES.overlap
    assert fault(ledger, 1) is Fault.SUPERSEDED
    assert come_back(ledger, 1)
    assert all(fault(ledger, number) is not None for number in range(1, 20) if token_id(number) in ledger.tokens)


def test_a_token_that_comes_back_ends_its_family(ledger: Ledger) -> None:
    """A thief who copied a token would go on beside the user, unseen."""
    issue(ledger, 1)
    issue(ledger, 5)
    for number in (1, 2):
        refresh(ledger, number, number + 1)
        ledger.now += 2 * MINUTE
    refresh(ledger, 3, 4)
    assert [fault(ledger, number) for number in (1, 3, 4)] == [Fault.SUPERSEDED, None, None]
    ledger.events.clear()
    assert come_back(ledger, 1)
    assert [fault(ledger, number) for number in (1, 3, 4, 5)] == [Fault.REVOKED] * 3 + [None]
    assert [(event.action, event.subject_id, event.about) for event in ledger.events] == [
        (AuditAction.USER_TOKEN_REUSE, token_id(1), f"family {token_id(1)}, user u")
    ]
    assert not come_back(ledger, 1)
    assert come_back(ledger, 2), "of a family that is gone it is still told"
    assert not come_back(ledger, 5)
    assert [family.id for family in families_from(ledger.items[families_key(APP.id, "u")])] == [token_id(5)]


def test_the_last_family_leaves_nothing(ledger: Ledger) -> None:
    """An item would be kept of a user who has no token, and be taken for damage."""
    issue(ledger, 1)
    refresh(ledger, 1, 2)
    ledger.now += MINUTE
    assert come_back(ledger, 1)
    assert not ledger.items
    assert not ledger.do(Asked(APP.id), lambda seen: family_rules.reused(seen, Asked(APP.id), "5a", WHO))


# Codes ----------------------------------------------------------------------------------------------------------------


def a_code(ledger: Ledger, number: int = 1) -> ItemKey:
    """A new code."""
    code = code_from(minted_code(APP.id, number.to_bytes(CODE_BYTES)).reveal().encode())
    assert code is not None
    asked = Asked(APP.id, external_id="a", items=(code.key,))
    ledger.do(asked, lambda seen: create_code(seen, NewCode(code.key, KEY.id, "a", bytes(20)), WHO))
    return code.key


def register(ledger: Ledger, number: int, code: ItemKey, external: str = "a") -> Changes:
    """A first token for a code."""
    new = f"5a{number:022x}"
    wish = NewUserToken(token_id(number), number.to_bytes(32), None, external, new, RULES.lifetime)
    items = (code, families_key(APP.id, new))
    asked = Asked(APP.id, (KEY.id,), user_id=new, external_id=external, tokens=(wish.id,), items=items)
    return of_user(ledger, asked, lambda seen, asked: family_rules.register(seen, asked, wish, code, RULES, WHO))


def test_a_code_is_spent_in_the_act_that_issues(ledger: Ledger) -> None:
    """A code would give two tokens, or none."""
    code = a_code(ledger)
    made = register(ledger, 1, code)
    assert code not in ledger.items
    (about,) = (event.about for event in made.events if event.action is AuditAction.USER_TOKEN_CREATED)
    assert about.endswith(f", code {code[1]}"), "what was registered with a stolen key could not be found"
    assert register(ledger, 1, code).events == (), "asked again, as the answer was lost"
    with pytest.raises(ActRefused) as refusal:
        register(ledger, 2, code)
    assert refusal.value.reason is ActReason.CODE_INVALID
    register(ledger, 3, a_code(ledger, 2))
    assert len(ledger.users) == 1
    assert len(ledger.tokens) == 2


TAKEN_BACK: dict[str, Callable[[Snapshot, str], Changes]] = {
    "the app is disabled": lambda seen, _: lifecycle.switch_app(seen, WHO, disabled=True),
    "the user is disabled": lambda seen, user: people.switch_user(seen, user, WHO, disabled=True),
    "the user's tokens were ended": lambda seen, user: people.end_user_tokens(seen, user, WHO),
    "all tokens of the app were ended": lambda seen, _: people.end_app_tokens(seen, WHO),
    "the user was deleted": lambda seen, user: deletion.delete_user(seen, user, WHO),
    "the key that asked for it was revoked": lambda seen, _: lifecycle.revoke_key(seen, KEY.id, RevokedWhy.LEAKED, WHO),
}


@pytest.mark.parametrize("what", TAKEN_BACK)
def test_what_no_code_opens(ledger: Ledger, what: str) -> None:
    """Whoever was locked out would come back in with an old code; a leaked key would go on by a stock of them."""
    register(ledger, 1, a_code(ledger))
    code = a_code(ledger, 2)
    (user,) = ledger.users.values()
    ledger.do(Asked(APP.id, (KEY.id,), user_id=user.id), lambda seen: TAKEN_BACK[what](seen, user.id))
    no_token_comes_of(ledger, code)
    if what == "the user was deleted":
        register(ledger, 3, a_code(ledger, 3))
        no_token_comes_of(ledger, code)  # the same external id is another user now
    elif "ended" in what:
        register(ledger, 3, a_code(ledger, 3))  # at once, though a cut lies ahead


def test_an_old_code_opens_nothing(ledger: Ledger) -> None:
    """A code that was seen in a log would open an account for ever."""
    code = a_code(ledger)
    ledger.now += CODE_LIFETIME
    no_token_comes_of(ledger, code)


def no_token_comes_of(ledger: Ledger, code: ItemKey) -> None:
    """No token comes of the code."""
    with pytest.raises(ActRefused) as refusal:
        register(ledger, 9, code)
    assert refusal.value.reason is ActReason.CODE_INVALID


# Values ---------------------------------------------------------------------------------------------------------------


def test_who_may_refresh() -> None:
    """The route would let somebody in whom the act then refuses, or the other way round."""
    user, token = User("u", APP.id), UserTokenRecord("5a", APP.id, "u", b"", 1, 10)
    switched = replace(user, switches=1)
    for record, of, app, now, expected in [
        (token, user, APP, 9, None),
        (token, user, APP, 14, None),
        (token, user, APP, 15, Fault.EXPIRED),
        (token, user, replace(APP, switches=1), 9, Fault.APP_DISABLED),
        (token, switched, APP, 12, Fault.USER_DISABLED),
        (replace(token, revoked_at=3), user, APP, 9, Fault.REVOKED),
        (replace(token, shutdown_at=5), user, APP, 9, Fault.SUPERSEDED),
    ]:
        assert refresh_fault(record, of, app, now, 5) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[1]",
        "[{}]",
        '[{"id": "a", "ends_at": 1, "tokens": []}]',
        '[{"id": 1, "ends_at": 1, "tokens": ["a"]}]',
        '[{"id": "a", "ends_at": "1", "tokens": ["a"]}]',
        '[{"id": "a", "ends_at": 1, "tokens": "a"}]',
        '[{"id": "a", "ends_at": 1, "tokens": [1]}]',
        '[{"id": "a", "ends_at": 1, "tokens": ["a"], "more": 1}]',
    ],
)
def test_damage(text: str) -> None:
    """Damage in the store would be taken for a user without tokens, whom no limit holds."""
    with pytest.raises(ValueError, match=r".+"):
        families_from(Item(ItemKind.FAMILIES, "5a", APP.id, text))


def test_more_is_asked_for() -> None:
    """What was asked for before would be asked for twice, or not any more."""
    key = families_key(APP.id, "u")
    asked = Asked(APP.id, tokens=("a",), items=(key,))
    assert Unseen((key,), ("a", "b")).widened(asked) == replace(asked, tokens=("a", "b"))


# Whatever is done in whatever order -----------------------------------------------------------------------------------


class Families(RuleBasedStateMachine):
    """One user's families on a ledger, and beside it the plainest model of them: lists of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(apps={APP.id: APP})
        self.made = 0
        self.families: list[list[int]] = []  # what may still work or be refreshed; the one refreshed last at the end
        self.ends: dict[int, int] = {}  # of each token's family
        self.expires: dict[int, int] = {}
        self.superseded: dict[int, int] = {}  # when the last minute is over
        self.ended: set[int] = set()

    def over(self, number: int, late: int = 0) -> bool:
        """Whether a token's time is over."""
        return self.ledger.now >= min(self.superseded.get(number, 1 << 60), self.expires[number] + late)

    def add(self, family: list[int], end: int) -> None:
        """A new token of a family, and what that ends."""
        self.made += 1
        self.ends[self.made] = end
        self.expires[self.made] = min(self.ledger.now + SHORT.lifetime, end)
        self.ledger.now -= CLOCKS_APART  # what may live by another clock is not forgotten
        kept = [each for each in self.families if each != family]
        kept = [[n for n in each if n not in self.ended and not self.over(n, SHORT.late)] for each in kept]
        self.ledger.now += CLOCKS_APART
        self.families = [*filter(None, kept), [*family, self.made]]
        for each in self.families[: -SHORT.at_most]:
            self.ended.update(each)
        del self.families[: -SHORT.at_most]

    @rule()
    def issue(self) -> None:
        issue(self.ledger, self.made + 1, rules=SHORT)
        self.add([], self.ledger.now + SHORT.family)

    @rule(time=st.sampled_from([1, 30_000, 59_999, 60_000, 700_000, 1_050_000]))
    def wait(self, time: int) -> None:
        self.ledger.now += time

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def present_to_be_refreshed(self, data: Any) -> None:
        old = data.draw(st.integers(1, self.made))
        now = self.ledger.now
        if old in self.ended or self.over(old, SHORT.late) or now >= self.ends[old]:
            refused(self.ledger, old, 9999, SHORT)
            return
        family = next(family for family in self.families if old in family)
        others = [n for n in family if n != old and not self.over_by_far(n)]
        if len(others) > SIDE_BY_SIDE - 2:
            with pytest.raises(ActRefused, match="too often"):
                refresh(self.ledger, old, 9999, SHORT)
            return
        refresh(self.ledger, old, self.made + 1, SHORT)
        for number in (old, *others):
            self.superseded.setdefault(number, now + SHORT.overlap)
        self.families.remove(family)
        self.add([old, *others], self.ends[old])

    def over_by_far(self, number: int) -> bool:
        """Whether a token is over by any clock."""
        end = min(self.superseded.get(number, 1 << 60), self.expires[number] + SHORT.late)
        return self.ledger.now - CLOCKS_APART >= end

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def present_to_a_route(self, data: Any) -> None:
        number = data.draw(st.integers(1, self.made))
        reuse = self.superseded.get(number, 1 << 60) <= self.ledger.now and number not in self.ended
        assert bool(come_back(self.ledger, number)) is reuse
        if reuse:
            self.ended.add(number)
            first = self.ledger.tokens[token_id(number)].family
            for family in [each for each in self.families if self.ledger.tokens[token_id(each[0])].family == first]:
                self.ended.update(family)
                self.families.remove(family)

    @invariant()
    def as_the_model_says(self) -> None:
        alive = {n for n in range(1, self.made + 1) if n not in self.ended and not self.over(n)}
        assert alive == {n for n in range(1, self.made + 1) if fault(self.ledger, n) is None}
        assert len({self.ledger.tokens[token_id(n)].family for n in alive}) <= SHORT.at_most
        assert all(self.ledger.tokens[token_id(n)].expires_at <= self.ends[n] for n in alive)


Families.TestCase.settings = settings(max_examples=200 if IN_CI else 40, stateful_step_count=30, deadline=None)
TestFamilies = Families.TestCase
