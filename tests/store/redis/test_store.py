"""The store on Redis as a whole."""

import asyncio

import pytest

from gateway.store.contract import StoreUnavailable
from gateway.store.open import open_store
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, everything, the_key
from tests.support.ports import free_port
from tests.support.redis_servers import Servers
from tests.support.redis_stores import HASTY, PATIENT, filled_at, store_at
from tests.support.waiting import eventually


async def test_opening_asks_nobody() -> None:
    """A gateway could not start before its store, or a mistyped address hold it for good."""
    for url in ("redis://127.0.0.1:{}", "redis+sentinel://127.0.0.1:{}/keys", "redis+cluster://127.0.0.1:{}"):
        store = open_store(url.format(free_port()), redis=HASTY)
        assert isinstance(store, RedisStore)
        assert store.warnings() == []
        await store.close()


async def test_stores_in_two_databases_are_apart(own: Servers) -> None:
    """A store for tests, beside the real one, would end its keys."""
    async with filled_at(f"{own.url}/0") as store, filled_at(f"{own.url}/1") as other:
        await do(other, acts.revoke(APP.id, KEY_ID))
        assert (await the_key(store)).revoked_at is None
        assert await store.identity() != await other.identity()


async def test_when_a_key_was_used_is_nobodys_trouble(own: Servers) -> None:
    """A request would fail because it could not be noted that it came."""
    async with filled_at(own.url, HASTY) as store:
        await store.note_used({KEY_ID: 7})
        own.primaries[0].kill()
        await store.note_used({KEY_ID: 8})
        assert await store.last_used([KEY_ID]) == {}
        own.primaries[0].start()
        async with store_at(own.url) as after:
            assert await after.last_used([KEY_ID, "5a01"]) == {KEY_ID: 7}


async def test_it_is_not_ready_while_it_does_not_answer(own: Servers) -> None:
    """A load balancer would send requests to a gateway that cannot serve them."""
    async with filled_at(own.url, HASTY) as store:
        await store.ping()
        own.primaries[0].freeze()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        own.primaries[0].thaw()


async def test_a_closed_store_leaves_no_connection(own: Servers) -> None:
    """Each command would leave connections behind until the server takes no more."""
    server = own.primaries[0]
    for _ in range(3):
        async with filled_at(own.url) as store:
            await store.start()
            await asyncio.gather(*(store.find_key(KEY_ID) for _ in range(20)))
            await everything(store)
    await eventually(lambda: server.info("clients")["connected_clients"] == 1)


async def test_a_list_that_is_given_up_leaves_no_connection(own: Servers) -> None:
    """A person who stops an export would leave connections behind."""
    async with store_at(own.url, PATIENT), filled_at(own.url) as store:
        listing = store.keys()
        await anext(listing)
    await eventually(lambda: own.primaries[0].info("clients")["connected_clients"] == 1)
