"""A server that cannot be relied upon is no store; one that is merely not as it should be is warned of."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.contract import DEAF, StoreBroken, StoreUnavailable
from gateway.store.redis.acts import Acts
from gateway.store.redis.address import address_of
from gateway.store.redis.ear import Clocks
from gateway.store.redis.founding import init
from gateway.store.redis.health import CLOCK_FAILS, CLOCK_WARNS, condition, offset
from gateway.store.redis.hearing import Hearing
from gateway.store.redis.layout import tag_of
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.register import Register
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, everything, fill, hearing, the_events, the_key
from tests.support.redis_servers import FORGETFUL, LASTING, RedisServer, single
from tests.support.redis_stores import PATIENT, store_at
from tests.support.waiting import eventually

GOOD = {"redis_version": "7.0.15", "maxmemory": "0", "maxmemory_policy": "noeviction", "aof_enabled": "1"}


@asynccontextmanager
async def with_clocks(url: str, clocks: Clocks) -> AsyncIterator[RedisStore]:
    """A store that goes by these clocks, closed at the end."""
    store = RedisStore(Nodes(address_of(url), PATIENT), clocks)
    try:
        yield store
    finally:
        await store.close()


def url_of(server: RedisServer) -> str:
    """The URL of a store on a server."""
    return f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of its own, with a disk."""
    with single(tmp_path, *LASTING) as servers:
        yield servers.primaries[0]


@pytest.mark.parametrize(
    ("said", "save", "fault", "warning"),
    [
        ({}, "", "", ""),
        ({"redis_version": "6.2.0"}, "", "", ""),
        ({"redis_version": "10.0.1"}, "", "", ""),
        ({"redis_version": "6.0.16"}, "", "6.2 or newer", ""),
        ({"redis_version": "5.9"}, "", "6.2 or newer", ""),
        ({"redis_version": ""}, "", "6.2 or newer", ""),
        ({"redis_version": "unstable"}, "", "6.2 or newer", ""),
        ({"maxmemory_policy": "allkeys-lru"}, "", "allkeys-lru", ""),
        ({"maxmemory_policy": "volatile-lru", "maxmemory": "100"}, "", "volatile-lru", ""),
        ({"maxmemory_policy": ""}, "", "noeviction", ""),
        ({"aof_enabled": "0"}, "", "", "writes nothing to its disk"),
        ({"aof_enabled": "0"}, "3600 1 300 100", "", ""),
        ({"aof_enabled": "0"}, None, "", ""),  # not told: a managed server
    ],
)
def test_what_a_server_says_of_itself(said: dict[str, str], save: str | None, fault: str, warning: str) -> None:
    """A server that throws keys away would be taken for a store, or a good one would be refused."""
    found = condition("here:6379", GOOD | said, save)

    assert fault in (found.fault or "")
    assert (found.fault is None) == (fault == "")
    assert warning in "".join(found.warnings)
    assert (found.warnings == ()) == (warning == "")


@given(st.floats(-100, 100), st.floats(0, 10), st.floats(0, 1))
def test_the_offset_is_as_true_as_it_claims(ahead: float, took: float, share: float) -> None:
    """A slow line would be taken for a wrong clock."""
    asked = 1_700_000_000.0
    measured = offset(asked, took, asked + took * share + ahead)

    assert abs(measured.seconds - ahead) <= measured.error + 1e-6
    assert not (measured.unbearable and abs(ahead) < CLOCK_FAILS)
    assert not (measured.warning("here") and abs(ahead) < CLOCK_WARNS)
    assert measured.unbearable or abs(ahead) <= CLOCK_FAILS + 2 * measured.error + 1e-6
    assert measured.warning("here") or abs(ahead) <= CLOCK_WARNS + 2 * measured.error + 1e-6


async def test_a_server_that_throws_away_what_it_has_no_room_for_is_refused(server: RedisServer) -> None:
    """Revocations would be thrown away when the memory is full, and nobody would know."""
    await init(url_of(server), PATIENT)
    async with store_at(url_of(server)) as store:
        await fill(store)
        events = len(await the_events(store))
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

    async with store_at(url_of(server)) as store:
        for refused in (
            store.find_key(KEY_ID),
            store.find_user_token(KEY_ID),
            store.act([acts.revoke(APP.id, KEY_ID)]),
            store.ping(),
        ):
            with pytest.raises(StoreBroken, match="noeviction") as broken:
                await refused
            assert not broken.value.in_grace
    with pytest.raises(StoreBroken, match="noeviction"):
        await init(url_of(server), PATIENT)
    server.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    async with store_at(url_of(server)) as store:
        assert len(await the_events(store)) == events


async def test_a_server_is_examined_again_and_again(server: RedisServer) -> None:
    """A setting that is made wrong while the gateway runs would show when revocations are gone."""
    await init(url_of(server), PATIENT)
    nodes = Nodes(address_of(url_of(server)), PATIENT)
    register = Register(time.monotonic, tag_of)
    ears = Hearing(nodes, register, Acts(nodes, register).act, examined=0.05, afterthought=0)
    ears.start()
    try:
        await eventually(lambda: ears.revision() != DEAF)
        (node,) = await nodes.primaries()
        for policy, fit in (("allkeys-lru", False), ("noeviction", True), ("volatile-ttl", False)):
            server.run("CONFIG", "SET", "maxmemory-policy", policy)
            await eventually(lambda fit=fit: node.condition is not None and (node.condition.fault is None) == fit)
    finally:
        await ears.close()
        await nodes.close()


async def test_a_server_that_lost_its_data_is_away(tmp_path: Path) -> None:
    """Every key would be unknown, and clients would throw theirs away."""
    with single(tmp_path, *FORGETFUL) as servers:
        (server,) = servers.primaries
        await init(servers.url, PATIENT)
        async with store_at(url_of(server)) as store:
            await fill(store)
            await hearing(store)
            server.kill()
            server.start()

            await eventually(lambda: store.revision() == DEAF)
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await the_key(store)
                with pytest.raises(StoreUnavailable):
                    await store.ping()


async def test_a_part_of_the_identity_that_is_lost_makes_not_ready(server: RedisServer) -> None:
    """Apps of one slot tag would be refused while the gateway says that all is well."""
    await init(url_of(server), PATIENT)
    async with store_at(url_of(server)) as store:
        server.run("DEL", "{7b}:identity")
        await store.start()

        async def broken() -> bool:
            try:
                await store.ping()
            except StoreBroken as error:
                return "7b" in str(error)
            return False

        await eventually(broken)
        assert store.revision() == DEAF


async def test_a_server_without_a_disk_is_warned_of(tmp_path: Path) -> None:
    """Nobody would know that all keys are gone after the next restart."""
    with single(tmp_path, *FORGETFUL) as servers:
        await init(servers.url, PATIENT)
        async with store_at(servers.url) as store:
            await hearing(store)

            assert any("writes nothing to its disk" in warning for warning in store.warnings())


@pytest.mark.parametrize(
    ("ahead", "warned", "ready"),
    [(0, False, True), (-1, False, True), (3, True, True), (-3, True, True), (35, True, False), (-35, True, False)],
)
async def test_a_clock_that_is_wrong(server: RedisServer, ahead: float, warned: bool, ready: bool) -> None:
    """Keys would end early or late by minutes, and nobody would be told."""
    await init(url_of(server), PATIENT)
    clocks = Clocks(wall=lambda: time.time() - ahead)
    async with with_clocks(url_of(server), clocks) as store:
        await hearing(store)

        assert any("clock" in warning for warning in store.warnings()) == warned
        if ready:
            await store.ping()
        else:
            with pytest.raises(StoreBroken, match="clock"):
                await store.ping()


async def test_lag_is_measured_by_the_servers_clock(server: RedisServer) -> None:
    """A gateway whose clock is some seconds wrong would report that revocations take seconds."""
    await init(url_of(server), PATIENT)
    lags: list[float] = []
    clocks = Clocks(wall=lambda: time.time() + 20)
    async with store_at(url_of(server)) as other, with_clocks(url_of(server), clocks) as store:
        await fill(other)
        await store.start(lags.append)
        await eventually(lambda: store.revision() != DEAF)
        await do(other, acts.revoke(APP.id, KEY_ID))
        await eventually(lambda: bool(lags))

        assert lags[0] < 10


@pytest.mark.parametrize(
    "denied",
    [
        *("set", "del", "hset", "hdel", "hincrby", "sadd", "srem", "zadd", "zrem", "rpush", "linsert"),
        *("expire", "publish"),
    ],
)
async def test_a_user_who_may_not_write_everything(server: RedisServer, denied: str) -> None:
    """A key would be ended without its event, or made and not listed, since the script ended half-way."""
    await init(url_of(server), PATIENT)
    async with store_at(url_of(server)) as store:
        await fill(store)
        before = await everything(store)
    server.run("ACL", "SETUSER", "default", f"-{denied}")
    try:
        async with store_at(url_of(server)) as store:
            with pytest.raises(StoreUnavailable):
                await store.act([acts.revoke(APP.id, KEY_ID)])
    finally:
        server.run("ACL", "SETUSER", "default", f"+{denied}")
    async with store_at(url_of(server)) as store:
        assert await everything(store) == before


async def test_a_server_that_is_emptied_while_it_is_heard(server: RedisServer) -> None:
    """What is remembered would go on for as long as it is remembered, though nobody can end it any more."""
    await init(url_of(server), PATIENT)
    async with store_at(url_of(server)) as store:
        await fill(store)
        await store.start()
        await eventually(lambda: store.revision() != DEAF)
        server.run("FLUSHALL")
        await eventually(lambda: store.revision() == DEAF)
        with pytest.raises(StoreBroken) as broken:
            await store.find_key(KEY_ID)
        assert not broken.value.in_grace
