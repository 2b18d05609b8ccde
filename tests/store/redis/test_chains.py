"""The audit on Redis: what is kept of it can be read whatever was done to it, and imported pieces find their places."""

import asyncio
from collections.abc import Sequence
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.store.contract import StoreBroken
from gateway.store.redis.founding import init
from gateway.store.redis.layout import audit_key, seals_key, tag_of
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, listed
from tests.support.redis_servers import Servers
from tests.support.redis_stores import PATIENT, filled_at, store_at

TAG = tag_of(APP.id)
FOREIGN = f"{'ab' * 16}/7b"
_PLACES = count()


def foreign(number: int, chain: str = FOREIGN) -> Numbered:
    """An event of another store."""
    return Numbered(chain, number, AuditEvent(number, AuditAction.KEY_REVOKED, "7b", f"{number}", "tester"))


async def own_chain(store: RedisStore) -> str:
    """The name of the chain of an app."""
    return f"{await store.identity()}/{TAG}"


@pytest.mark.parametrize("text", [b"foreign", b"{}", b'{"number":2,"at":1,"action":"key.stolen"}'])
async def test_an_event_that_is_none_is_a_fault_with_its_place(own: Servers, store: RedisStore, text: bytes) -> None:
    """Whoever tampers with the audit could stop it from being verified, or pass unseen."""
    own.primaries[0].run("LSET", audit_key(TAG), 1, text)
    with pytest.raises(StoreBroken, match=f"slot tag {TAG}"):
        await listed(store.events(await own_chain(store)))
    assert await listed(store.events(f"{await store.identity()}/7b"))


async def test_a_seal_that_is_none_is_a_fault(own: Servers, store: RedisStore) -> None:
    """Whoever tampers with a seal could stop the audit from being verified, or pass unseen."""
    own.primaries[0].run("RPUSH", seals_key(TAG), "foreign")
    chain = await own_chain(store)
    with pytest.raises(StoreBroken):
        await listed(store.seals(chain))
    with pytest.raises(StoreBroken):
        await store.last_seal(chain)
    with pytest.raises(StoreBroken):
        await store.append_seal(Seal(chain, 1, 1, 1, "d"))
    assert set(await store.unsealed()) == {chain, f"{await store.identity()}/7b"}


async def test_a_removed_event_leaves_a_gap(own: Servers, store: RedisStore) -> None:
    """Whoever can remove an event from Redis would have the numbers close over it."""
    await do(store, *(acts.rename(APP.id, KEY_ID, f"{number}") for number in range(20)))
    chain = await own_chain(store)
    before = await listed(store.events(chain))
    server = own.primaries[0]
    server.run("LSET", audit_key(TAG), 9, "gone")
    server.run("LREM", audit_key(TAG), 1, "gone")
    await do(store, acts.rename(APP.id, KEY_ID, "after"))
    after = await listed(store.events(chain))
    assert [event.number for event in after] == [*range(1, 10), *range(11, len(before) + 2)]
    for number in (0, 1, 8, 9, 10, 11, len(before), len(before) + 1, 1000):
        assert await listed(store.events(chain, number)) == [event for event in after if event.number > number]


@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_come_in_any_order(own: Servers, data: st.DataObject) -> None:
    """An older backup, merged after a newer one, would leave the audit out of order or with events twice."""
    numbers = data.draw(st.lists(st.lists(st.integers(1, 40), max_size=12, unique=True).map(sorted), max_size=6))
    asyncio.run(_merged(own.url, f"{'cd' * 16}/{next(_PLACES)}", numbers))


async def _merged(url: str, chain: str, numbers: Sequence[Sequence[int]]) -> None:
    await init(url, PATIENT)
    async with store_at(url) as store:
        for piece in numbers:
            seals = [Seal(chain, number, number, number, "d") for number in piece]
            await store.keep_chain(chain, [foreign(number, chain) for number in piece], seals)
        kept = sorted({number for piece in numbers for number in piece})
        assert await listed(store.events(chain)) == [foreign(number, chain) for number in kept]
        assert [seal.first for seal in await listed(store.seals(chain))] == kept
        assert (chain in await store.chains()) is bool(kept)


async def test_chains_of_many_stores_lie_apart(servers: Servers) -> None:
    """After moving a store with 256 chains into a cluster, one of its servers would have all of them."""
    async with filled_at(servers.url) as store:
        chains = [f"{'cd' * 16}/{number:02x}" for number in range(256)]
        await asyncio.gather(*(store.keep_chain(chain, [foreign(1, chain)], []) for chain in chains))
        assert set(chains) <= set(await store.chains())
        for chain in Random(1).sample(chains, 10):  # noqa: S311 - any ten
            assert await listed(store.events(chain)) == [foreign(1, chain)]
