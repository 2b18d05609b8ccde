"""The servers of a store: the right one is asked, and every fault is the store's, never an unknown key."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis.crc import key_slot

from gateway.core.audit import AuditAction
from gateway.core.token import Secret
from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.redis.address import RedisOptions, address_of
from gateway.store.redis.founding import init
from gateway.store.redis.layout import TAGS, identity_key
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, PATIENCE, everything, fill, the_events, the_key
from tests.support.ports import free_port
from tests.support.redis_servers import FORGETFUL, RedisServer, Servers, cluster, guarded, until, with_sentinel
from tests.support.redis_stores import HASTY, PATIENT, filled_at, once_it_answers, store_at

TLS = Path(__file__).parents[2] / "support" / "tls"
TAG = APP.id[:2]


def owner_of(servers: Servers, tag: str) -> RedisServer:
    """Which server of a cluster has a slot tag."""
    slot = key_slot(tag.encode())
    found = servers.primaries[0].run("CLUSTER", "SLOTS")
    port = next(at[1] for first, last, at, *_ in found if first <= slot <= last)
    return next(server for server in servers.primaries if server.port == port)


def moves(servers: Servers) -> tuple[int, RedisServer, RedisServer]:
    """The slot of an app, who has it, and who is to have it."""
    owner = owner_of(servers, TAG)
    return key_slot(TAG.encode()), owner, next(server for server in servers.primaries if server is not owner)


def begin(slot: int, source: RedisServer, target: RedisServer) -> list[bytes]:
    """Begin to move a slot; its keys."""
    target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", source.run("CLUSTER", "MYID"))
    source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", target.run("CLUSTER", "MYID"))
    return sorted(source.run("CLUSTER", "GETKEYSINSLOT", slot, 1000))


def move(source: RedisServer, target: RedisServer, *keys: bytes) -> None:
    """Move some keys of it."""
    source.run("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)


def finish(slot: int, servers: Servers, target: RedisServer) -> None:
    """Say to all that it is done."""
    for server in (target, *(each for each in servers.primaries if each is not target)):
        server.run("CLUSTER", "SETSLOT", slot, "NODE", target.run("CLUSTER", "MYID"))


async def test_a_slot_that_was_moved_is_followed(tmp_path: Path) -> None:
    """Growing a cluster would make keys unknown, or revocations fail, until each gateway is restarted."""
    with cluster(tmp_path / "all", *FORGETFUL) as servers:
        async with filled_at(servers.url) as store:
            before = await everything(store)
            slot, source, target = moves(servers)
            move(source, target, *begin(slot, source, target))
            finish(slot, servers, target)
            assert await everything(store) == before
            (done,) = await do(store, acts.revoke(APP.id, KEY_ID))
            assert (await the_key(store)).revoked_at == done.at
            assert source.contents().keys().isdisjoint(target.contents())


async def test_nothing_is_unknown_while_a_slot_is_moved(tmp_path: Path) -> None:
    """Each time a cluster is balanced, some good keys would be refused, or an act be done by halves."""
    with cluster(tmp_path / "all", *FORGETFUL) as servers:
        async with filled_at(servers.url) as store:
            slot, source, target = moves(servers)
            done = 0
            for key in begin(slot, source, target):
                with suppress(StoreUnavailable):
                    assert await store.find_key(KEY_ID) is not None
                with suppress(StoreUnavailable):
                    await do(store, acts.revoke(APP.id, KEY_ID))
                    done += 1
                move(source, target, key)
            finish(slot, servers, target)
            revocations = [one for one in await the_events(store) if one.event.action is AuditAction.KEY_REVOKED]
            assert ((await the_key(store)).revoked_at is not None, len(revocations)) == (done > 0, min(done, 1))


async def test_another_primary_is_found_after_a_failover(tmp_path: Path) -> None:
    """After a failover each gateway would have to be restarted."""
    with with_sentinel(tmp_path / "all", *FORGETFUL) as servers:
        async with filled_at(servers.url, HASTY) as store:
            known = await store.find_key(KEY_ID)
            assert known is not None
            servers.primaries[0].kill()
            assert await once_it_answers(lambda: store.find_key(KEY_ID)) == known
            (done,) = await once_it_answers(lambda: do(store, acts.revoke(APP.id, KEY_ID)))
            assert (await the_key(store)).revoked_at == done.at


async def test_a_replica_of_a_cluster_takes_over(tmp_path: Path) -> None:
    """After a failover in a cluster each gateway would have to be restarted."""
    with cluster(tmp_path / "all", *FORGETFUL, replicas=True) as servers:
        async with filled_at(servers.url, HASTY) as store:
            known = await store.find_key(KEY_ID)
            owner = owner_of(servers, TAG)
            replica = servers.replicas[servers.primaries.index(owner)]
            until(lambda: replica.run("DBSIZE") == owner.run("DBSIZE"))
            owner.kill()
            assert await once_it_answers(lambda: store.find_key(KEY_ID)) == known


async def test_the_generation_moves_with_the_primaries(tmp_path: Path) -> None:
    """A gateway would go on listening for revocations where none are told any more."""
    with with_sentinel(tmp_path / "all", *FORGETFUL) as servers:
        nodes = Nodes(address_of(servers.url), HASTY)
        heard: list[int] = []
        nodes.on_change(lambda: heard.append(nodes.generation))
        (node,) = await nodes.primaries()
        assert (node.tags, heard) == (frozenset(TAGS), [1])
        await nodes.refresh()
        assert heard == [1]
        servers.primaries[0].kill()

        async def moved() -> bool:
            await nodes.refresh()
            if nodes.generation == 1:
                raise StoreUnavailable("not yet")
            return True

        assert await once_it_answers(moved)
        (other,) = await nodes.primaries()
        assert (heard, other is not node, node.tags) == ([1, 2], True, frozenset())
        await nodes.close()


@pytest.mark.parametrize("tag", [APP.id[:2], "00", "ff"])
async def test_a_part_without_its_identity_is_away(own: Servers, store: RedisStore, tag: str) -> None:
    """A part of the store that lost its data would call good keys unknown."""
    await the_key(store)
    own.primaries[0].run("DEL", identity_key(tag))
    asked = KEY_ID if tag == TAG else f"{tag}00000000000001"
    with pytest.raises(StoreBroken, match=f"slot tag {tag}"):
        await store.find_key(asked)
    with pytest.raises(StoreBroken):
        await do(store, acts.make_app(APP if tag == TAG else type(APP)(f"{tag}{'0' * 22}", "name", "eu")))
    with pytest.raises(StoreBroken):
        await everything(store)


async def test_a_wiped_server_is_away(own: Servers, store: RedisStore) -> None:
    """After a restart of Redis without its data every customer's key would be refused as false."""
    await the_key(store)
    own.primaries[0].run("FLUSHALL")
    for ask in (lambda: store.find_key(KEY_ID), lambda: store.find_user_token(KEY_ID), lambda: everything(store)):
        with pytest.raises(StoreBroken, match="store init") as refusal:
            await ask()
        assert not refusal.value.in_grace
    assert own.primaries[0].contents() == {}
    with pytest.raises(StoreBroken):
        await do(store, acts.make_app(APP))
    await store.note_used({KEY_ID: 1})
    assert own.primaries[0].contents() == {}


async def test_another_store_in_its_place_is_away(own: Servers, store: RedisStore) -> None:
    """A gateway would be answered out of the store of a test, or of somebody else."""
    await the_key(store)
    own.primaries[0].run("FLUSHALL")
    await init(own.url, PATIENT)
    with pytest.raises(StoreBroken, match="another store"):
        await store.find_key(KEY_ID)
    with pytest.raises(StoreBroken, match="another store"):
        await do(store, acts.make_app(APP))
    async with store_at(own.url, RedisOptions(identity="0" * 32, timeout=5)) as other:
        with pytest.raises(StoreBroken, match=r"store\.identity"):
            await other.find_key(KEY_ID)


async def test_a_server_that_is_down_at_the_start_is_away(tmp_path: Path) -> None:
    """A gateway that starts before its store would end with a traceback, or refuse every key."""
    for url in ("redis://{}", "redis+sentinel://{}/keys", "redis+cluster://{}"):
        async with store_at(url.format(f"127.0.0.1:{free_port()}"), HASTY) as store:
            with pytest.raises(StoreUnavailable) as refusal:
                await store.find_key(KEY_ID)
            assert not refusal.value.in_grace


@pytest.mark.parametrize("away", [RedisServer.freeze, RedisServer.kill])
async def test_grace_begins_with_the_last_answer(own: Servers, away: Callable[[RedisServer], None]) -> None:
    """A brief stop of Redis would stop every request; or what is remembered would go on for good."""
    async with filled_at(own.url, HASTY) as store, store_at(own.url, RedisOptions(timeout=0.3, grace=0)) as strict:
        for each in (store, strict):
            await each.find_key(KEY_ID)
        away(own.primaries[0])
        for _ in range(3):
            with pytest.raises(StoreUnavailable) as refusal:
                await store.find_key(KEY_ID)
            assert refusal.value.in_grace
            with pytest.raises(StoreUnavailable) as refusal:
                await strict.find_key(KEY_ID)
            assert not refusal.value.in_grace


async def test_grace_ends_and_is_not_prolonged(own: Servers) -> None:
    """Whoever cuts a gateway off from its store could go on with a revoked key for as long as it likes."""
    async with filled_at(own.url, RedisOptions(timeout=0.2, grace=0.5)) as store:
        await store.find_key(KEY_ID)
        asked = time.monotonic()
        own.primaries[0].freeze()
        in_grace = True
        async with asyncio.timeout(PATIENCE):
            while in_grace:
                with pytest.raises(StoreUnavailable) as refusal:
                    await store.find_key(KEY_ID)
                in_grace = refusal.value.in_grace
        assert time.monotonic() - asked >= 0.5


async def test_what_a_wiped_server_says_prolongs_nothing(own: Servers) -> None:
    """A Redis that lost its data and dies again and again would keep revoked keys alive."""
    async with filled_at(own.url, RedisOptions(timeout=0.3, grace=1)) as store:
        await store.find_key(KEY_ID)
        last = time.monotonic()
        own.primaries[0].run("FLUSHALL")
        while time.monotonic() < last + 1:
            with pytest.raises(StoreBroken):
                await store.find_key(KEY_ID)
        own.primaries[0].kill()
        with pytest.raises(StoreUnavailable) as refusal:
            await store.find_key(KEY_ID)
        assert not refusal.value.in_grace


async def test_each_server_of_a_cluster_has_its_own_grace(tmp_path: Path) -> None:
    """The answers of one server would keep alive what another, long away, could not say is revoked."""
    with cluster(tmp_path / "all", *FORGETFUL) as servers:
        async with filled_at(servers.url, HASTY) as store:
            owner = owner_of(servers, TAG)
            elsewhere = next(tag for tag in TAGS if owner_of(servers, tag) is not owner)
            assert await store.find_key(f"{elsewhere}00000000000009") is None
            owner.kill()
            with pytest.raises(StoreUnavailable) as refusal:
                await store.find_key(KEY_ID)
            assert not refusal.value.in_grace  # of that one, there never was an answer


@pytest.mark.parametrize("fault", ["password", "no password", "authority", "none"])
async def test_who_is_let_in_by_tls_and_password(tmp_path: Path, fault: str) -> None:
    """A gateway would talk to somebody else's Redis, or could not talk to its own; or tell its password."""
    certificate = TLS / ("other.pem" if fault == "authority" else "good.pem")
    with guarded(tmp_path / "all", "hunter2", certificate, TLS / "ca.pem") as servers:
        good = RedisOptions(password=Secret("hunter2"), ca_file=TLS / "ca.pem", timeout=5)
        wrong = {
            "password": RedisOptions(password=Secret("hunter3"), ca_file=TLS / "ca.pem", timeout=5),
            "no password": RedisOptions(ca_file=TLS / "ca.pem", timeout=5),
        }
        if fault == "none":
            await init(servers.url, good)
            async with store_at(servers.url, good) as store:
                await fill(store)
                await the_key(store)
            return
        with pytest.raises(StoreUnavailable) as refusal:
            await init(servers.url, wrong.get(fault, good))
        assert "hunter" not in str(refusal.value)
        assert ("store.password_file" in str(refusal.value)) is (fault != "authority")
        assert servers.primaries[0].run("KEYS", "*") == []
