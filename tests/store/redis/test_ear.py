"""A gateway knows at once when it may not hear of revocations, whatever happened to the server or the line."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.store.contract import DEAF
from gateway.store.redis.address import address_of
from gateway.store.redis.ear import GIVEN_UP, SILENCE, Clocks
from gateway.store.redis.founding import init
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, Place, fill, heard, hearing, opened, the_key
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.redis_servers import FORGETFUL, RedisServer, Servers, cluster, single, with_sentinel
from tests.support.redis_stores import PATIENT, store_at
from tests.support.waiting import eventually

Kind = Callable[..., AbstractContextManager[Servers]]


@dataclass
class StandingClock:
    """Seconds that pass only when a test says so."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def behind_a_proxy(
    directory: Path, clocks: Clocks | None = None
) -> AsyncIterator[tuple[RedisStore, RedisStore, FaultProxy, RedisServer]]:
    """A store that hears through a proxy, another that has no proxy before it, and the one server of both."""
    with single(directory, *FORGETFUL) as servers:
        await init(servers.url, PATIENT)
        (server,) = servers.primaries
        async with fault_proxy(server.port) as proxy, store_at(servers.url) as other:
            await fill(other)
            store = RedisStore(Nodes(address_of(f"redis://127.0.0.1:{proxy.port}"), PATIENT), clocks)
            try:
                await hearing(store)
                proxy.only = b"SUBSCRIBE"  # which an ear alone sends
                yield store, other, proxy, server
            finally:
                await store.close()


@pytest.mark.parametrize("kind", [single, with_sentinel, cluster])
async def test_a_server_that_freezes_makes_deaf_and_hearing_comes_back(tmp_path: Path, kind: Kind) -> None:
    """Revoked keys would work on while one server of a cluster stands still, or none would be remembered ever after."""
    with kind(tmp_path, *FORGETFUL) as servers:
        await init(servers.url, PATIENT)
        async with store_at(servers.url) as store:
            await hearing(store)
            before = store.revision()
            frozen = servers.primaries[-1]
            frozen.freeze()
            await eventually(lambda: store.revision() == DEAF)
            frozen.thaw()

            assert await heard(store, before) > before
            assert store.ended_since(before) is None


async def test_a_subscription_that_is_swallowed_makes_deaf_while_look_ups_go_on(tmp_path: Path) -> None:
    """A key revoked while the gateway hears nothing would work on, although the store knows better."""
    async with behind_a_proxy(tmp_path) as (store, other, proxy, _):
        before = store.revision()
        proxy.blackhole()
        await do(other, acts.revoke(APP.id, KEY_ID))

        await eventually(lambda: store.revision() == DEAF)
        assert (await the_key(store)).revoked_at is not None

        proxy.heal()
        assert await heard(store, before) > before
        assert store.ended_since(before) is None


async def test_a_revocation_that_was_swallowed_never_counts_as_heard(tmp_path: Path) -> None:
    """Heartbeats that come again would hide that a revocation was lost between them."""
    async with behind_a_proxy(tmp_path) as (store, other, proxy, _):
        before = store.revision()
        proxy.blackhole()
        await do(other, acts.revoke(APP.id, KEY_ID))
        proxy.heal()  # before anybody notices

        await heard(store, before)
        assert store.ended_since(before) is None


async def test_a_cut_subscription_makes_deaf_at_once(tmp_path: Path) -> None:
    """Three quarters of a second would pass in which revocations are not heard, and nobody knows."""
    clock = StandingClock()
    async with behind_a_proxy(tmp_path, Clocks(monotonic=clock)) as (store, _, proxy, _):
        before = store.revision()
        proxy.blackhole()  # or hearing would be back before it is looked at
        proxy.cut()
        await eventually(lambda: store.revision() == DEAF)

        proxy.heal()
        assert await heard(store, before) > before


async def test_a_garbled_message_counts_as_not_heard(tmp_path: Path) -> None:
    """What a faulty line makes of a revocation would be passed over, and the key would work on."""

    def garble(data: bytes) -> bytes:
        return data.replace(b"message", b"massage") if b'takings":' in data else data

    async with behind_a_proxy(tmp_path) as (store, other, proxy, _):
        before = store.revision()
        proxy.garble = garble
        await do(other, acts.revoke(APP.id, KEY_ID))

        assert await heard(store, before) > before
        assert store.ended_since(before) is None


async def test_heartbeats_that_take_too_long_make_deaf(tmp_path: Path) -> None:
    """Revocations that come a second late would count as heard in time."""
    async with behind_a_proxy(tmp_path) as (store, _, proxy, _):
        proxy.delay = (SILENCE + GIVEN_UP) / 2
        await eventually(lambda: store.revision() == DEAF)

        for _ in range(300):  # while late ones come in
            assert store.revision() == DEAF
            await asyncio.sleep(0.01)


async def test_silence_is_judged_when_it_is_asked(tmp_path: Path) -> None:
    """After a stall of the event loop the first request would be let through with a key that was revoked meanwhile."""
    clock = StandingClock()
    async with behind_a_proxy(tmp_path, Clocks(monotonic=clock)) as (store, *_):
        before = store.revision()
        clock.now += SILENCE - 0.01
        assert store.revision() == before
        clock.now += 0.02
        assert store.revision() == DEAF

        assert await heard(store, before) > before
        assert store.ended_since(before) is None


async def test_a_primary_that_becomes_a_replica_is_not_heard_any_more(tmp_path: Path) -> None:
    """Heartbeats would go on at a server on which nobody revokes any more."""
    async with behind_a_proxy(tmp_path) as (store, _, _, server):
        server.run("REPLICAOF", "127.0.0.1", 1)
        await eventually(lambda: store.revision() == DEAF)
        server.run("REPLICAOF", "NO", "ONE")

        await eventually(lambda: store.revision() != DEAF)


async def test_a_store_that_was_not_started_is_deaf(place: Place) -> None:
    """A process that does not listen would remember credentials."""
    async with opened(place) as store:
        await fill(store)

        assert store.revision() == DEAF


@pytest.mark.parametrize("moments", range(0, 60, 7))
async def test_closing_ends_every_task(place: Place, moments: int) -> None:
    """A gateway would hang at its end, or leave connections behind."""
    before = asyncio.all_tasks()
    async with opened(place) as store:
        await store.start()
        for _ in range(moments):
            await asyncio.sleep(0.002)

    assert store.revision() == DEAF
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("steps", range(8))
async def test_closing_ends_while_a_line_breaks(tmp_path: Path, steps: int) -> None:
    """A gateway that is stopped just as its Redis dies would hang."""
    async with behind_a_proxy(tmp_path) as (store, _, proxy, _):
        proxy.cut()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await store.close()
