"""Proving tokens: what is remembered, for how long, and what ends it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.core.decision import Reason, Unavailable
from gateway.core.records import App, Fault, KeyRecord, User, UserTokenRecord
from gateway.core.token import Prefixes, verifier
from gateway.proxy.authenticate import Authenticator, CredentialRefused, Proven
from gateway.store.contract import FoundKey, Store, StoreUnavailable
from gateway.store.open import open_store
from tests.support.minting import DAY, a_key, a_user_token, an_app, id_of, keep, keeper, now, revoke, stray

LEGACY = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty store."""
    made = open_store("memory:")
    yield made
    await made.close()


@pytest.fixture
async def app(store: Store) -> App:
    """An app in it."""
    return await an_app(store)


@dataclass
class Desk:
    """An authenticator at a time that the test sets, asked as the handler asks it."""

    authenticator: Authenticator
    time: int

    async def prove(self, token: str) -> Proven:
        text = token.encode()
        digest = verifier(text)
        return self.authenticator.recall(digest, self.time) or await self.authenticator.prove(
            text, digest, lambda: self.time
        )

    async def fault(self, token: str) -> Fault:
        with pytest.raises(CredentialRefused) as refused:
            await self.prove(token)
        return refused.value.fault

    def known(self, token: str) -> bool:
        """Whether it would be taken from memory."""
        return self.authenticator.recall(verifier(token.encode()), self.time) is not None


def desk(store: Store, *, entries: int = 100, seconds: float = 30.0) -> Desk:
    """An authenticator on a store."""
    return Desk(Authenticator(store, Prefixes(), entries=entries, seconds=seconds), now())


async def test_what_is_proven(store: Store, app: App) -> None:
    """Who calls would be taken for somebody else, or for more than it is."""
    proven = await desk(store).prove(await a_key(store, app, "USER_READ"))
    assert (proven.principal.app_id, proven.principal.region) == (app.id, "eu")
    user = await desk(store).prove(await a_user_token(store, app, "someone"))
    assert b"X-Gateway-User: someone\r\n" in user.identity
    assert b"Scopes" not in user.identity


async def test_a_proven_token_is_remembered(store: Store, app: App) -> None:
    """Every request would be a look-up, and the numbers on them be wrong."""
    here, token = desk(store), await a_key(store, app)
    first = await here.prove(token)
    assert await here.prove(token) is first
    assert (here.authenticator.hits, here.authenticator.misses) == (1, 1)
    assert here.authenticator.used == {id_of(token): here.time}


async def test_false_tokens_are_not_remembered(store: Store, app: App) -> None:
    """Whoever tries tokens would fill the memory, or be remembered as somebody."""
    here = desk(store)
    for token in (stray(), stray("gwu"), "abc", LEGACY, stray(token_id=id_of(await a_key(store, app)))):
        await here.fault(token)
        assert not here.known(token)
    assert here.authenticator.used == {}


async def test_the_memory_is_bounded(store: Store, app: App) -> None:
    """Callers with many tokens would fill the gateway's memory."""
    here = desk(store, entries=3)
    tokens = [await a_key(store, app) for _ in range(5)]
    for token in tokens:
        await here.prove(token)
    assert [here.known(token) for token in tokens] == [False, False, True, True, True]


async def test_what_was_proven_last_stays_longest(store: Store, app: App) -> None:
    """A token that was proven anew would make room before one that was not."""
    here = desk(store, entries=3, seconds=1.0)
    first, second, third, fourth = [await a_key(store, app) for _ in range(4)]
    await here.prove(first)
    here.time += 600
    await here.prove(second)
    here.time += 600  # the first is too old now, the second is not
    for token in (first, third, fourth):
        await here.prove(token)
    assert [here.known(token) for token in (first, second, third, fourth)] == [True, False, True, True]


@pytest.mark.parametrize(
    ("ends", "seconds", "last"), [(60_000, 30.0, 30_000), (5_000, 30.0, 5_000), (60_000, 0.5, 500)]
)
async def test_how_long_a_token_is_remembered(store: Store, app: App, ends: int, seconds: float, last: int) -> None:
    """A token would be taken from memory after its end, or after a change that nobody announced."""
    here = desk(store, seconds=seconds)
    token = await a_user_token(store, app, ends=ends)
    start = here.time
    fresh_until = (await here.prove(token)).fresh_until
    assert start + last - 100 <= fresh_until <= start + last + 100  # made a moment before or after
    here.time = fresh_until - 1
    assert here.known(token)
    here.time = fresh_until
    assert not here.known(token)


async def test_the_end_of_a_token(store: Store, app: App) -> None:
    """A token would work after its end because it did so before."""
    here = desk(store)
    for token in (await a_key(store, app, ends=5_000), await a_user_token(store, app, ends=5_000)):
        await here.prove(token)
        here.time += 6_000
        assert await here.fault(token) is Fault.EXPIRED
        here.time -= 6_000


async def test_any_revocation_empties_the_memory(store: Store, app: App) -> None:
    """A token whose key, app or user has ended would be remembered still."""
    here = desk(store)
    other, token = await a_key(store, app), await a_key(store, app)
    await here.prove(token)
    await revoke(store, other)
    assert not here.known(token)
    await here.prove(token)
    await keeper(store).switch_app(app.id, disabled=True)
    assert await here.fault(token) is Fault.APP_DISABLED


class Slow:
    """A store that finds a key, which is revoked before it says so; `meanwhile` is what others do then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.meanwhile: Callable[[], object] = int

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def find_key(self, key_id: str) -> FoundKey | None:
        found = await self._store.find_key(key_id)
        assert found is not None
        await keeper(self._store).revoke_key(key_id)
        self.meanwhile()
        return found


@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside-others"])
async def test_a_revocation_during_the_look_up(store: Store, app: App, others: bool) -> None:
    """A key that was read just before it was revoked would be remembered, and work for half a minute."""
    slow = Slow(store)
    here, token, other = desk(slow), await a_key(store, app), await a_user_token(store, app)
    if others:
        await here.prove(other)
        slow.meanwhile = lambda: here.known(other)
    await here.prove(token)
    assert not here.known(token)


class Away:
    """A store that was there and is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.methods: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name in self.methods:
            raise StoreUnavailable("The store is locked.")
        return getattr(self._store, name)


@pytest.mark.parametrize("method", ["revision", "find_key"])
async def test_nobody_can_tell(store: Store, app: App, method: str) -> None:
    """A good key would be called false because the store is away."""
    away = Away(store)
    here, token = desk(away), await a_key(store, app)
    away.methods = (method,)
    with pytest.raises(Unavailable, match="locked") as unavailable:
        await here.prove(token)
    assert (unavailable.value.reason, unavailable.value.retry_after) == (Reason.STORE_UNAVAILABLE, 1)


@pytest.mark.parametrize("kind", ["key", "user_token"])
@pytest.mark.parametrize("right", [True, False])
async def test_tokens_of_the_older_shape(store: Store, app: App, kind: str, right: bool) -> None:
    """Tokens that exist already, and do not say of which kind they are, would not be found, or taken unproven."""
    token_id, _, _ = LEGACY.partition(".")
    digest = verifier(LEGACY.encode()) if right else verifier(b"another")
    if kind == "key":
        key = KeyRecord(token_id, app.id, "a", frozenset({"USER_READ"}), digest, now(), now() + DAY)
        await keep(store, app, key)
    else:
        record = UserTokenRecord(token_id, app.id, "someone", digest, now(), now() + DAY)
        await keep(store, app, User("someone", app.id), record)
    if right:
        proven = await desk(store).prove(LEGACY)
        assert (b"X-Gateway-Principal: key" in proven.identity) is (kind == "key")
    else:
        assert await desk(store).fault(LEGACY) is Fault.WRONG


async def test_a_key_is_not_looked_up_as_a_user_token(store: Store, app: App) -> None:
    """A token of one kind would prove a caller of the other."""
    user = await a_user_token(store, app, "someone")
    assert await desk(store).fault(stray("gwk", id_of(user))) is Fault.UNKNOWN
    key = await a_key(store, app)
    assert await desk(store).fault(stray("gwu", id_of(key))) is Fault.UNKNOWN
