"""Looking up a credential: what lies under its id, or a fault of the store; never somebody else's, never nothing."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.redis.address import RedisOptions
from gateway.store.redis.encoding import encode_elsewhere
from gateway.store.redis.layout import Names, id_key
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, TOKEN_ID, USER_ID
from tests.support.fault_proxy import fault_proxy
from tests.support.redis_servers import RedisServer, Servers
from tests.support.redis_stores import filled_at, store_at

NAMES = Names(APP.id)
ELSEWHERE = "7b000000000000b1"  # as it may be imported: of another tag than the app's
ROUNDS = 200

# Where a credential and what belongs to it lie.
PLACES = {
    "key": id_key(NAMES.tag, KEY_ID),
    "token": id_key(NAMES.tag, TOKEN_ID),
    "app": NAMES.of("app"),
    "user": NAMES.user(USER_ID),
    "index": id_key("7b", ELSEWHERE),
}


async def all_found(store: RedisStore) -> list[object]:
    """A key, a user token, and a key whose id came from elsewhere."""
    return [await store.find_key(KEY_ID), await store.find_user_token(TOKEN_ID), await store.find_key(ELSEWHERE)]


def list_of(server: RedisServer, key: str) -> None:
    """A list."""
    server.run("DEL", key)
    server.run("LPUSH", key, "foreign")


def garbage(server: RedisServer, key: str) -> None:
    """A text that is nothing of ours."""
    server.run("SET", key, "foreign")


def nothing_in_it(server: RedisServer, key: str) -> None:
    """An empty text."""
    server.run("SET", key, "")


def cut_off(server: RedisServer, key: str) -> None:
    """Half of it."""
    value = server.run("GET", key)
    server.run("SET", key, value[: len(value) // 2])


def one_bit(server: RedisServer, key: str) -> None:
    """One bit of it is another."""
    value = server.run("GET", key)
    server.run("SET", key, value[:20] + bytes([value[20] ^ 1]) + value[21:] if len(value) > 20 else value[:-1] + b"x")


def of_another(server: RedisServer, key: str) -> None:
    """What lies under another name, which is good there."""
    other = PLACES["token"] if key != PLACES["token"] else PLACES["key"]
    server.run("SET", key, server.run("GET", other))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", [list_of, garbage, nothing_in_it, cut_off, one_bit, of_another])
async def test_foreign_data_is_a_fault_of_the_store(
    own: Servers, store: RedisStore, place: str, fault: Callable[[RedisServer, str], None]
) -> None:
    """A good key would be refused as false, so that its owner throws it away; or a false one let in."""
    await do(store, acts.make_key(APP.id, ELSEWHERE))
    good = await all_found(store)
    fault(own.primaries[0], PLACES[place])
    damaged = {
        "key": [lambda: store.find_key(KEY_ID)],
        "token": [lambda: store.find_user_token(TOKEN_ID)],
        "app": [lambda: store.find_key(KEY_ID), lambda: store.find_user_token(TOKEN_ID)],
        "user": [lambda: store.find_user_token(TOKEN_ID)],
        "index": [lambda: store.find_key(ELSEWHERE)],
    }
    for find in damaged[place]:
        with pytest.raises(StoreBroken) as refusal:
            await find()
        assert not refusal.value.in_grace
    if place not in {"app", "key"}:
        assert await store.find_key(KEY_ID) == good[0]


@pytest.mark.parametrize("place", ["app", "user"])
async def test_what_belongs_to_nobody_is_a_fault_of_the_store(own: Servers, store: RedisStore, place: str) -> None:
    """A token would be let in whose user was closed, because the user is lost."""
    own.primaries[0].run("DEL", PLACES[place])
    with pytest.raises(StoreBroken):
        await store.find_user_token(TOKEN_ID)


async def test_an_index_that_leads_in_a_circle_ends(own: Servers, store: RedisStore) -> None:
    """One request could hold a gateway for good."""
    await do(store, acts.make_key(APP.id, ELSEWHERE))
    own.primaries[0].run("COPY", PLACES["index"], id_key(NAMES.tag, ELSEWHERE), "REPLACE")
    async with asyncio.timeout(20):
        with pytest.raises(StoreBroken):
            await store.find_key(ELSEWHERE)


async def test_an_id_that_was_claimed_and_not_given_is_unknown(own: Servers, store: RedisStore) -> None:
    """An import that was broken off would make an id stop requests, or be lost for good."""
    own.primaries[0].run("SET", PLACES["index"], encode_elsewhere(PLACES["index"], NAMES.tag))
    assert await store.find_key(ELSEWHERE) is None
    assert await store.find_user_token(ELSEWHERE) is None
    await do(store, acts.make_key(APP.id, ELSEWHERE))
    assert await store.find_key(ELSEWHERE) is not None


@pytest.mark.parametrize("direction", ["answers", "requests"])
async def test_a_line_that_garbles_never_makes_a_key_unknown(own: Servers, direction: str) -> None:
    """A bad cable would have good keys refused as false, or give one the rights of another."""
    random = Random(direction)  # noqa: S311 - the same garbling each time

    def garble(data: bytes) -> bytes:
        place = random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]

    async with filled_at(own.url) as store, fault_proxy(own.primaries[0].port) as proxy:
        await do(store, acts.make_key(APP.id, ELSEWHERE))
        good = await all_found(store)
        options = RedisOptions(timeout=0.1, identity=await store.identity())
        proxy.only = b"EVALSHA"
        if direction == "answers":
            proxy.garble = garble
        else:
            proxy.garble_request = garble
        faults = 0
        for number in range(ROUNDS):
            credential_id = (KEY_ID, TOKEN_ID, ELSEWHERE)[number % 3]
            async with store_at(f"redis://127.0.0.1:{proxy.port}", options) as behind:
                find = behind.find_user_token if credential_id == TOKEN_ID else behind.find_key
                try:
                    found = await find(credential_id)
                except StoreUnavailable:
                    faults += 1
                else:
                    assert found == good[number % 3]
    assert faults > ROUNDS // 2
