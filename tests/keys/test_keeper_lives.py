"""Whatever is done in whatever order: the store holds what the rules say, event for event."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core import families as family_rules
from gateway.core import lifecycle, people
from gateway.core.families import NextToken, TokenRules, Unseen
from gateway.core.ledger import Act, ActRefused, Asked, Changes, Decide, Done, ItemKind, Snapshot
from gateway.core.lifecycle import NewKey, places
from gateway.core.people import NewUserToken
from gateway.core.records import (
    MAX_ACTIVE_KEYS,
    App,
    RevokedWhy,
    Role,
    UserTokenRecord,
    key_fault,
    user_token_fault,
    works,
)
from gateway.core.takings import Taken, Taking, taken_by
from gateway.store.open import open_store
from tests.support.examples import IN_CI
from tests.support.ledgers import WHO, Ledger
from tests.support.loopback import GuardedLoop

T = TypeVar("T")

APPS = (App("5a0000000000000000000a01", "demo", "eu"), App("5a0000000000000000000a02", "other", "us"))
MISSING = "5a00000000000fff"
PEOPLE = ("ada@example.com", "bob@example.com")
RULES = TokenRules(lifetime=50, family=200, at_most=2, overlap=20, late=20)
NUMBERS = st.integers(0, 255)
LENGTHS = st.integers(1, 60)
EITHER = st.sampled_from(APPS)


@dataclass(slots=True)
class Clock:
    """The store's clock."""

    now: int = 1000

    def __call__(self) -> int:
        return self.now


class Lives(RuleBasedStateMachine):
    """Two apps in a real store, and beside it a ledger in memory on which the same is done."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=GuardedLoop)
        self.clock = Clock()
        self.store = self.run(self.opened())
        self.ledger = Ledger()
        self.made = 0
        self.takings: list[Taking] = []
        self.latest = 0
        self.refusal: ActRefused | None = None
        self.revision = self.store.revision()
        for app in APPS:
            self.act(Asked(app.id), lambda seen, app=app: lifecycle.create_app(seen, app, WHO))

    async def opened(self) -> Any:
        """A new store."""
        return open_store("memory:", clock=self.clock)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """Close everything."""
        self.run(self.store.close())
        self.runner.close()

    def act(self, asked: Asked, decide: Decide) -> None:
        """Do the same in both, see the same, and have the same come of it."""
        (seen,) = self.run(self.store.look([asked]))
        self.ledger.now = seen.now
        self.latest = max(self.latest, seen.now)
        expected = self.ledger.seen(asked)
        assert seen == expected
        outcome: Changes | tuple[Any, str]
        self.refusal = None
        try:
            outcome = self.ledger.do(asked, decide)
        except ActRefused as refusal:
            self.refusal = refusal
            outcome = (refusal.reason, refusal.message)
        (done,) = self.run(self.store.act([Act(asked, decide)]))
        if isinstance(done, Done):
            assert done.changes == outcome
            taken = list(taken_by(seen, done.changes))
            self.takings += taken
            before, self.revision = self.revision, self.store.revision()
            assert not taken or self.revision != before, "what is remembered would not be forgotten"
        else:
            assert (done.reason, done.message) == outcome

    def number(self) -> int:
        """Another one at each call."""
        self.made += 1
        return self.made

    def key_of(self, number: int) -> str:
        """The id of some key, old ones and new ones alike; before there is any, one that is not there."""
        ids = [*self.ledger.keys, MISSING]
        return ids[number % len(ids)]

    def wish(self, lifetime: int = 0) -> NewKey:
        """A key that is not there yet."""
        number = self.number()
        return NewKey(f"5a{number:014x}", number.to_bytes(32), "key", frozenset({"USER_READ"}), lifetime)

    @rule(app=EITHER, lifetime=LENGTHS, count=st.sampled_from([1, 1, 11]))
    def create_keys(self, app: App, lifetime: int, count: int) -> None:
        for _ in range(count):
            wish = self.wish(lifetime)
            self.act(Asked(app.id, keys=(wish.id,)), lambda seen, wish=wish: lifecycle.create_key(seen, wish, WHO))

    @rule(app=EITHER, number=NUMBERS, shutdown=st.integers(0, 60), again=st.booleans())
    def rotate(self, app: App, number: int, shutdown: int, again: bool) -> None:
        wish, key_id = self.wish(), self.key_of(number)
        asked = Asked(app.id, keys=(key_id, wish.id))
        for _ in range(1 + again):
            self.act(asked, lambda seen: lifecycle.rotate_key(seen, key_id, wish, shutdown, WHO))

    @rule(app=EITHER, number=NUMBERS)
    def revoke(self, app: App, number: int) -> None:
        key_id = self.key_of(number)
        why = RevokedWhy.REQUESTED
        self.act(Asked(app.id, keys=(key_id,)), lambda seen: lifecycle.revoke_key(seen, key_id, why, WHO))

    @rule(app=EITHER)
    def revoke_all(self, app: App) -> None:
        self.act(Asked(app.id), lambda seen: lifecycle.revoke_keys(seen, WHO))

    @rule(app=EITHER, number=NUMBERS, name=st.sampled_from(["key", "nightly"]))
    def rename(self, app: App, number: int, name: str) -> None:
        key_id = self.key_of(number)
        self.act(Asked(app.id, keys=(key_id,)), lambda seen: lifecycle.rename_key(seen, key_id, name, WHO))

    @rule(app=EITHER, disabled=st.booleans())
    def switch_app(self, app: App, disabled: bool) -> None:
        self.act(Asked(app.id), lambda seen: lifecycle.switch_app(seen, WHO, disabled=disabled))

    @rule(
        app=EITHER,
        user_id=st.sampled_from([None, "u", "v"]),
        external_id=st.sampled_from([None, "a", "b"]),
        again=st.booleans(),
    )
    def create_user_token(self, app: App, user_id: str | None, external_id: str | None, again: bool) -> None:
        number = self.number()
        new = f"5a{number:022x}"
        wish = NewUserToken(f"5a{number:014x}", number.to_bytes(32), user_id, external_id, new, 50)
        asked = Asked(app.id, user_id=user_id or new, external_id=external_id, tokens=(wish.id,))
        for _ in range(1 + again):
            self.act_of_user(asked, lambda seen, asked: family_rules.issue(seen, asked, wish, RULES, WHO))

    def act_of_user(self, asked: Asked, decide: Callable[[Snapshot, Asked], Changes]) -> None:
        """The same in both, with as much of the user's tokens seen as it turns out to need."""
        self.act(asked, lambda seen: decide(seen, asked))
        if isinstance(self.refusal, Unseen):
            self.act_of_user(self.refusal.widened(asked), decide)

    @rule(number=NUMBERS, again=st.booleans())
    def refresh_user_token(self, number: int, again: bool) -> None:
        old = self.a_token(number)
        new = self.number()
        wish = NextToken(f"5a{new:014x}", new.to_bytes(32))
        asked = Asked(old.app_id, user_id=old.user_id, tokens=(old.id, wish.id))
        for _ in range(1 + again):
            self.act_of_user(asked, lambda seen, asked: family_rules.refresh(seen, asked, old.id, wish, RULES, WHO))

    @rule(number=NUMBERS)
    def a_token_comes_back(self, number: int) -> None:
        token = self.a_token(number)
        asked = Asked(token.app_id, user_id=token.user_id, tokens=(token.id,))
        self.act_of_user(asked, lambda seen, asked: family_rules.reused(seen, asked, token.id, WHO))

    def a_token(self, number: int) -> UserTokenRecord:
        """Some token; before there is any, one that is not there."""
        tokens = [*self.ledger.tokens.values(), UserTokenRecord(MISSING, APPS[0].id, "u", b"", 0, 0)]
        return tokens[number % len(tokens)]

    @rule(app=EITHER, number=NUMBERS)
    def revoke_user_token(self, app: App, number: int) -> None:
        ids = [*self.ledger.tokens, MISSING]
        token_id, why = ids[number % len(ids)], RevokedWhy.UNCONFIRMED
        self.act(Asked(app.id, tokens=(token_id,)), lambda seen: people.revoke_user_token(seen, token_id, why, WHO))

    @rule(app=EITHER, user_id=st.sampled_from(["u", "v"]), disabled=st.booleans())
    def switch_user(self, app: App, user_id: str, disabled: bool) -> None:
        asked = Asked(app.id, user_id=user_id)
        self.act(asked, lambda seen: people.switch_user(seen, user_id, WHO, disabled=disabled))

    @rule(app=EITHER, user_id=st.sampled_from(["u", "v", None]))
    def end_tokens(self, app: App, user_id: str | None) -> None:
        if user_id is None:
            self.act(Asked(app.id), lambda seen: people.end_app_tokens(seen, WHO))
        else:
            self.act(Asked(app.id, user_id=user_id), lambda seen: people.end_user_tokens(seen, user_id, WHO))
        of_app = self.ledger.apps[app.id]
        for token in self.ledger.tokens.values():
            if token.app_id == app.id and user_id in {None, token.user_id}:
                assert user_token_fault(token, self.ledger.users[app.id, token.user_id], of_app, 0) is not None

    @rule(app=EITHER, email=st.sampled_from(PEOPLE), role=st.sampled_from([*Role, None]))
    def roles(self, app: App, email: str, role: Role | None) -> None:
        asked = Asked(app.id, roles=True)
        if role is None:
            self.act(asked, lambda seen: people.remove(seen, email, WHO))
        else:
            self.act(asked, lambda seen: people.grant(seen, email, role, WHO))

    @rule(number=NUMBERS)
    def tell_anew(self, number: int) -> None:
        """What was taken away once is known: there is nothing to restore, but for a switch that was turned since."""
        if self.takings:
            taking = self.takings[number % len(self.takings)]
            keys, tokens = ((taking.id,), ()) if taking.kind is Taken.KEY else ((), (taking.id,))
            asked = Asked(taking.app_id, keys=keys, user_id=taking.id, tokens=tokens)
            events = len(self.ledger.events)
            self.act(asked, lambda seen: people.restore(seen, taking, WHO))
            assert len(self.ledger.events) == events

    @rule(step=st.integers(-80, 80))
    def step(self, step: int) -> None:
        self.clock.now = max(1, self.clock.now + step)

    @invariant()
    def the_store_holds_what_the_rules_say(self) -> None:
        async def all_of_it() -> tuple[Any, ...]:
            store = self.store
            return (
                {app.id: app async for app in store.apps()},
                {key.id: key async for key in store.keys(None)},
                {(user.app_id, user.id): user async for user in store.users()},
                {token.id: token async for token in store.user_tokens()},
                {(each.app_id, each.email): each.role async for each in store.developers()},
                {item.key: item for kind in ItemKind async for item in store.items(kind)},
                [each.event for chain in await store.chains() async for each in store.events(chain)],
            )

        ledger = self.ledger
        assert self.run(all_of_it()) == (
            ledger.apps,
            ledger.keys,
            ledger.users,
            ledger.tokens,
            ledger.roles,
            ledger.items,
            ledger.events,
        )

    @invariant()
    def never_more_than_may_be(self) -> None:
        for app in APPS:
            keys = [key for key in self.ledger.keys.values() if key.app_id == app.id]
            working = [key for key in keys if works(key, self.latest)]
            assert places(keys, self.latest) <= MAX_ACTIVE_KEYS
            assert len(working) <= 2 * MAX_ACTIVE_KEYS
            assert len([key for key in working if key.successor is None]) <= MAX_ACTIVE_KEYS

    @invariant()
    def a_look_up_finds_the_same(self) -> None:
        for key_id in list(self.ledger.keys)[-3:]:
            found = self.run(self.store.find_key(key_id))
            assert found is not None
            assert found.app == self.ledger.apps[found.record.app_id]
            assert key_fault(found.record, self.latest) is key_fault(self.ledger.keys[key_id], self.latest)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40 if IN_CI else 15, stateful_step_count=25)
