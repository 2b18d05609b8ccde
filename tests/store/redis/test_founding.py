"""A store is made once, whole; and where a part of one was lost, none is made over it."""

import asyncio
import re

import pytest

from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.redis.address import RedisOptions
from gateway.store.redis.founding import init
from gateway.store.redis.layout import TAGS, identity_key
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, OTHER_APP, the_key
from tests.support.ports import free_port
from tests.support.redis_servers import Servers
from tests.support.redis_stores import HASTY, PATIENT, filled_at, store_at


async def test_a_store_is_made_once(servers: Servers) -> None:
    """A second 'gateway store init' would make every gateway refuse the store, or lose what is in it."""
    identity = await init(servers.url, PATIENT)
    assert re.fullmatch("[0-9a-f]{32}", identity)
    async with filled_at(servers.url) as store:
        assert await store.identity() == identity
        assert await init(servers.url, PATIENT) == identity
        await the_key(store)
    found = [server.run("KEYS", "*:identity") for server in servers.primaries]
    assert sorted(key for keys in found for key in keys) == sorted(identity_key(tag).encode() for tag in TAGS)


async def test_two_who_make_it_at_once_make_one(servers: Servers) -> None:
    """Two replicas of a deployment that start together would make a store that is half of two."""
    identities = await asyncio.gather(*(init(servers.url, PATIENT) for _ in range(8)))
    assert len(set(identities)) == 1
    async with store_at(servers.url) as store:
        await do(store, acts.make_app(APP), acts.make_app(OTHER_APP))


async def test_an_identity_can_be_given(own: Servers) -> None:
    """A restored store could not be the one that the gateways expect."""
    options = RedisOptions(identity="5a" * 16, timeout=5)
    assert await init(own.url, options) == "5a" * 16
    async with store_at(own.url, options) as store:
        await do(store, acts.make_app(APP))
    with pytest.raises(StoreBroken, match="another store"):
        await init(own.url, RedisOptions(identity="5b" * 16, timeout=5))


async def test_making_that_was_broken_off_is_finished(own: Servers) -> None:
    """A store whose making was interrupted could never be used, nor made anew."""
    identity = await init(own.url, PATIENT)
    own.primaries[0].run("DEL", *(identity_key(tag) for tag in TAGS[17:]))
    assert await init(own.url, PATIENT) == identity
    async with store_at(own.url) as store:
        await do(store, acts.make_app(APP))


@pytest.mark.parametrize("lost", [TAGS[:1], TAGS[:90], TAGS[200:], ("5a",)])
async def test_over_a_lost_part_no_store_is_made(own: Servers, lost: tuple[str, ...]) -> None:
    """After a server of a cluster lost its data, one command would have all its keys unknown instead of missing."""
    async with filled_at(own.url) as store:
        own.primaries[0].run("DEL", *(identity_key(tag) for tag in lost))
        before = own.primaries[0].contents()
        with pytest.raises(StoreBroken, match=lost[0]):
            await init(own.url, PATIENT)
        assert own.primaries[0].contents() == before
        if "5a" in lost:
            with pytest.raises(StoreBroken):
                await store.find_key(KEY_ID)


async def test_parts_of_two_stores_are_refused(own: Servers) -> None:
    """A cluster put together out of two would answer out of either."""
    await init(own.url, PATIENT)
    own.primaries[0].run("SET", identity_key("5a"), "5b" * 16)
    with pytest.raises(StoreBroken, match="another store"):
        await init(own.url, PATIENT)


async def test_no_store_is_made_where_none_can_be_kept(own: Servers) -> None:
    """A Redis that throws keys away when it is full would take a store, and throw away revocations."""
    own.primaries[0].run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreBroken, match="noeviction"):
        await init(own.url, PATIENT)
    assert own.primaries[0].run("KEYS", "*") == []


async def test_a_server_that_is_not_there_is_said() -> None:
    """A person who makes a store with a mistyped address would see a traceback."""
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        await init(f"redis://127.0.0.1:{free_port()}", HASTY)
