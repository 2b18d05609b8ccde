"""Where the suite of the stores does its checks, and what it does in many of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from gateway.core.audit import Numbered
from gateway.core.records import App, KeyRecord, User, UserTokenRecord, works
from gateway.store.contract import DEAF, Store
from tests.store import acts
from tests.store.acts import do, look
from tests.support.waiting import eventually

T = TypeVar("T")

PATIENCE: Final = 20.0  # seconds, for what another store is to hear of


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of one check lives, empty at first; any number of stores can be opened on it."""

    open: Callable[[], Awaitable[Store]]


Check = Callable[[Place], Awaitable[None]]

# Of different first bytes: a store that lays data out by them keeps these two apart.
APP: Final = App("5a0000000000000000000a01", "demo", "eu", account="acme")
OTHER_APP: Final = App("7b0000000000000000000a02", 'O\'Neill & "søn" 株式会社 🦜', "us")
USER_ID: Final = "5a93deb3d8e7d90600001e6f"
USER: Final = User(USER_ID, APP.id, "customer-17")
KEY_ID: Final = "5a00000000000001"
TOKEN_ID: Final = "5a00000000000002"
NEW_KEY: Final = "5a000000000000b1"  # of nobody, until a check makes them
NEW_TOKEN: Final = "5a000000000000b2"
NOBODYS_APP: Final = "5a0000000000000000000fff"


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Store]:
    """A store on the place, closed at the end."""
    store = await place.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def filled(place: Place) -> AsyncIterator[Store]:
    """A store with two apps, a key, a user and a user token of the first."""
    async with opened(place) as store:
        await fill(store)
        yield store


async def fill(store: Store) -> None:
    """Two apps; a key, a user and a user token of the first."""
    await do(store, acts.make_app(APP), acts.make_app(OTHER_APP))
    await do(store, acts.make_key(APP.id, KEY_ID, name="nightly export", scopes=("USER_READ", "USER_LINK")))
    await do(store, acts.make_token(APP.id, TOKEN_ID, USER_ID, "customer-17"))


async def hearing(store: Store) -> Store:
    """The store, when it hears of what others take away."""
    await store.start()
    await eventually(lambda: store.revision() != DEAF)
    return store


async def heard(store: Store, before: int) -> int:
    """The revision of a store, when it is neither `before` nor deaf."""
    await eventually(lambda: store.revision() not in {before, DEAF})
    return store.revision()


async def the_key(store: Store, key_id: str = KEY_ID) -> KeyRecord:
    """The record of a key that is there."""
    found = await store.find_key(key_id)
    assert found is not None
    return found.record


async def the_token(store: Store, token_id: str = TOKEN_ID) -> UserTokenRecord:
    """The record of a user token that is there."""
    found = await store.find_user_token(token_id)
    assert found is not None
    return found.record


async def the_user(store: Store, app_id: str = APP.id, user_id: str = USER_ID) -> User | None:
    """A user of an app, if there is one with this id."""
    return (await look(store, app_id, user_id=user_id)).users.get(user_id)


async def the_app(store: Store, app_id: str = APP.id) -> App | None:
    """An app, if there is one with this id."""
    return (await look(store, app_id)).app


async def working(store: Store, app_id: str = APP.id) -> set[str]:
    """The ids of the keys of an app that work now."""
    seen = await look(store, app_id)
    found = {key.id for key in await listed(store.keys(app_id)) if works(key, seen.now)}
    assert found == {key.id for key in seen.keys.values() if works(key, seen.now)}
    return found


async def listed(items: AsyncIterator[T]) -> list[T]:
    """All of a list."""
    return [item async for item in items]


async def the_events(store: Store) -> list[Numbered]:
    """Every event of every chain, in which no number is missing."""
    found = []
    for chain in await store.chains():
        events = await listed(store.events(chain))
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert {event.chain for event in events} == {chain}
        found += events
    return found


async def everything(store: Store) -> list[object]:
    """All that the store tells of, to be compared with all that it told before."""
    lists = [store.apps(), store.keys(), store.users(), store.user_tokens(), store.developers()]
    return [*await the_events(store), *[record for records in lists for record in await listed(records)]]
