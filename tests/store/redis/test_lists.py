"""Lists on Redis: whole, or broken off with a sentence; never a part that looks like all of it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.ledger import Item, ItemKind
from gateway.core.records import KeyRecord, User, UserTokenRecord
from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.redis.layout import Names, apps_key, id_key, item_key, items_key, owners_key
from gateway.store.redis.lists import PAGE
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.checks_items import keep as keep_items
from tests.store.place import APP, KEY_ID, TOKEN_ID, USER_ID, listed
from tests.support.redis_servers import RedisServer, Servers
from tests.support.redis_stores import filled_at, once_it_answers

NAMES = Names(APP.id)
MANY = 3 * PAGE
INCIDENT = Item(ItemKind.INCIDENT, "5a01", APP.id, "{}")

# Each list, and where something lies that it is made of.
LISTS: dict[str, tuple[Callable[[RedisStore], AsyncIterator[Any]], list[str]]] = {
    "apps": (lambda store: store.apps(), [apps_key(NAMES.tag), NAMES.of("app")]),
    "keys": (lambda store: store.keys(), [apps_key(NAMES.tag), NAMES.of("keys"), id_key(NAMES.tag, KEY_ID)]),
    "keys of an app": (lambda store: store.keys(APP.id), [NAMES.of("keys"), id_key(NAMES.tag, KEY_ID)]),
    "users": (lambda store: store.users(), [NAMES.of("users"), NAMES.user(USER_ID)]),
    "users of an app": (lambda store: store.users(APP.id), [NAMES.of("users"), NAMES.user(USER_ID)]),
    "user tokens": (lambda store: store.user_tokens(), [id_key(NAMES.tag, TOKEN_ID)]),
    "items": (
        lambda store: store.items(INCIDENT.kind),
        [owners_key(NAMES.tag), items_key(NAMES.tag, INCIDENT.kind, APP.id), item_key(NAMES.tag, *INCIDENT.key)],
    ),
    "items of an owner": (
        lambda store: store.items(INCIDENT.kind, APP.id),
        [items_key(NAMES.tag, INCIDENT.kind, APP.id), item_key(NAMES.tag, *INCIDENT.key)],
    ),
    "roles": (lambda store: store.developers(), [NAMES.of("roles")]),
}


async def many(store: RedisStore) -> None:
    """Three pages of keys, users and user tokens, in one app."""
    await do(
        store,
        *(
            acts.keep(
                APP,
                keys=(KeyRecord(f"5a1{number:013x}", APP.id, "n", frozenset({"A"}), bytes(32), 1, 2),),
                users=(User(f"5au{number}", APP.id),),
                tokens=(UserTokenRecord(f"5a2{number:013x}", APP.id, f"5au{number}", bytes(32), 1, 2),),
            )
            for number in range(MANY)
        ),
        *(keep_items(replace(INCIDENT, id=f"5a3{number:013x}")) for number in range(MANY)),
    )


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("foreign", [("LPUSH", "x"), ("SET", "foreign")])
async def test_foreign_data_breaks_a_list_off(
    own: Servers, store: RedisStore, name: str, foreign: tuple[str, str]
) -> None:
    """An export would lack what is behind it, and the copy that is made from it too."""
    list_of, keys = LISTS[name]
    server = own.primaries[0]
    await do(store, keep_items(INCIDENT))
    for key in keys:
        before = server.run("DUMP", key)
        server.run("DEL", key)
        server.run(foreign[0], key, foreign[1])
        with pytest.raises(StoreUnavailable):
            await listed(list_of(store))
        server.run("DEL", key)
        if before is not None:
            server.run("RESTORE", key, 0, before)
    assert await listed(list_of(store)) or name == "roles"


@pytest.mark.parametrize("name", ["keys", "users", "items"])
async def test_what_is_listed_and_not_there_breaks_it_off(own: Servers, store: RedisStore, name: str) -> None:
    """An export would lack keys that the store has lost, and nobody would know."""
    list_of, keys = LISTS[name]
    await do(store, keep_items(INCIDENT))
    own.primaries[0].run("DEL", keys[-1])
    with pytest.raises(StoreBroken):
        await listed(list_of(store))


def restarted(server: RedisServer) -> None:
    """Another process with the same data."""
    server.kill()
    server.start()


def wiped(server: RedisServer) -> None:
    """The same process without its data."""
    server.run("FLUSHALL")


@pytest.mark.parametrize("name", ["keys of an app", "users of an app", "items of an owner", "user tokens"])
@pytest.mark.parametrize("fault", [restarted, wiped])
async def test_a_list_does_not_go_on_elsewhere(
    own: Servers, store: RedisStore, name: str, fault: Callable[[RedisServer], None]
) -> None:
    """An export that runs while Redis is restarted would lack a part, and look whole."""
    await many(store)
    listing = LISTS[name][0](store)
    await anext(listing)
    fault(own.primaries[0])
    if fault is restarted:
        await once_it_answers(lambda: store.find_key(KEY_ID))
    with pytest.raises(StoreUnavailable):
        await listed(listing)


async def test_tokens_are_listed_from_every_server(servers: Servers) -> None:
    """An export of a cluster would have the user tokens of one server only."""
    async with filled_at(servers.url) as store:
        apps = [replace(APP, id=f"{tag}{'0' * 22}") for tag in ("00", "55", "aa", "ff")]
        await do(store, *(acts.make_app(app) for app in apps))
        await do(store, *(acts.make_token(app.id, f"{app.id[:2]}cc", f"{app.id[:2]}user") for app in apps))
        found = [token.id for token in await listed(store.user_tokens())]
        assert sorted(found) == sorted([TOKEN_ID, *(f"{app.id[:2]}cc" for app in apps)])


async def test_what_is_dropped_while_it_is_listed_is_left_out(store: RedisStore) -> None:
    """A list of incidents could not be read while one of them is dropped, or would lack others for it."""
    await many(store)
    listing = store.items(INCIDENT.kind, APP.id)
    found = [(await anext(listing)).id]
    dropped = {f"5a3{number:013x}" for number in range(0, MANY, 3)}
    await do(store, keep_items(dropped=tuple((INCIDENT.kind, one) for one in dropped)))
    found += [item.id async for item in listing]
    assert set(found) >= {f"5a3{number:013x}" for number in range(MANY)} - dropped
    assert set(found) - dropped == {item.id async for item in store.items(INCIDENT.kind, APP.id)}
