"""What is taken away is heard by every gateway, and told again to a store that has forgotten it."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from gateway.core.audit import AuditAction
from gateway.core.ledger import Act, ActRefused, Done
from gateway.core.records import DELETED, RevokedWhy, User
from gateway.core.takings import Taken, Taking
from gateway.store.contract import DEAF, Store
from gateway.store.redis.acts import Acts
from gateway.store.redis.address import address_of
from gateway.store.redis.founding import init
from gateway.store.redis.hearing import Hearing
from gateway.store.redis.layout import TAKINGS, tag_of
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.register import Register
from tests.store import acts
from tests.store.acts import do, look
from tests.store.checks_items import change_token, change_user
from tests.store.place import (
    APP,
    KEY_ID,
    OTHER_APP,
    TOKEN_ID,
    USER_ID,
    Place,
    fill,
    heard,
    hearing,
    opened,
    the_app,
    the_events,
    the_key,
    the_token,
    the_user,
)
from tests.support.redis_servers import (
    LASTING,
    PRIMARY_NAME,
    RedisServer,
    Servers,
    cluster,
    single,
    until,
    with_sentinel,
)
from tests.support.redis_stores import PATIENT, once_it_answers, store_at
from tests.support.waiting import eventually

WRITTEN = (*LASTING, "appendfsync always")  # so that a copy of its files holds all that it has answered
# More than fits into the line to a replica that reads nothing: what comes after it stays with the primary.
LINE = 32 * 1024 * 1024


def delete_user() -> Act:
    """An act that leaves a tombstone."""
    return change_user(lambda user: replace(user, external_id=None, cut_at=DELETED))


def refresh_token() -> Act:
    """An act that ends a user token soon."""
    return change_token(TOKEN_ID, lambda token: replace(token, shutdown_at=token.created_at + 60_000))


TAKING_AWAY: dict[str, tuple[Act, str]] = {
    "a key": (acts.revoke(APP.id, KEY_ID), KEY_ID),
    "a rotated key": (acts.rotate(APP.id, KEY_ID, "5a000000000000b1", shutdown=0), KEY_ID),
    "a user": (acts.switch_user(APP.id, USER_ID, disabled=True), USER_ID),
    "a user's tokens": (acts.end_user_tokens(APP.id, USER_ID), USER_ID),
    "a user for good": (delete_user(), USER_ID),
    "a refreshed token": (refresh_token(), TOKEN_ID),
    "an app": (acts.switch_app(APP.id, disabled=True), APP.id),
    "an app's tokens": (acts.end_app_tokens(APP.id), APP.id),
}


@pytest.mark.parametrize("what", TAKING_AWAY)
async def test_what_others_take_away_is_heard_by_name(place: Place, what: str) -> None:
    """A revoked key would work on at every gateway but one, or each revocation would empty the memory of all."""
    act, ended = TAKING_AWAY[what]
    async with opened(place) as other, opened(place) as store:
        await fill(other)
        lags: list[float] = []
        await store.start(lags.append)
        await eventually(lambda: store.revision() != DEAF)
        before = store.revision()
        asked_at = time.monotonic()
        await do(other, act)

        await heard(store, before)
        assert store.ended_since(before) == {ended}
        (lag,) = lags
        assert 0 <= lag <= time.monotonic() - asked_at + 1  # as far as the clocks can be compared


async def test_what_gives_nothing_away_moves_nothing(place: Place) -> None:
    """Every new key would make every gateway look up what it had remembered."""
    async with opened(place) as other, opened(place) as store:
        await fill(other)
        await hearing(store)
        before = store.revision()
        await do(other, acts.make_key(APP.id, "5a000000000000b1"), acts.rename(APP.id, KEY_ID, "another name"))
        await do(other, acts.revoke(APP.id, KEY_ID))

        assert await heard(store, before) == before + 1


async def test_what_it_does_itself_is_known_at_once(place: Place) -> None:
    """A key that ended itself would be let through once more by the gateway that had just ended it."""
    async with opened(place) as store:
        await fill(store)
        await hearing(store)
        before = store.revision()
        await do(store, acts.revoke(APP.id, KEY_ID))

        assert store.ended_since(before) == {KEY_ID}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\x00",
        b"{}",
        b"[]",
        b'{"at":1}',
        b'{"at":"1","takings":[]}',
        b'{"at":1,"takings":[1]}',
        b'{"at":1,"takings":[["key"]]}',
        b'{"at":1,"takings":[["a new kind","5a","5b",1,0,0,null]]}',
        b'{"at":1,"takings":[["key","5a",7,1,0,0,null]]}',
        b'{"at":1,"takings":[["key","5a","5b","1",0,0,null]]}',
        b"[" * 100_000,
    ],
)
async def test_a_message_that_is_not_understood_empties_memory(servers: Servers, place: Place, message: bytes) -> None:
    """A gateway that is older than the one that revokes would miss the revocation and not know it."""
    async with opened(place) as store:
        garbled: list[None] = []
        await store.start(garbled=lambda: garbled.append(None))
        await eventually(lambda: store.revision() != DEAF)
        before = store.revision()
        servers.primaries[-1].run("PUBLISH", f"{TAKINGS}:{await store.identity()}", message)

        assert await heard(store, before) > before
        assert store.ended_since(before) is None
        assert garbled  # once, and in a cluster by each primary's ear


async def test_another_store_on_the_same_server_is_not_heard(servers: Servers, place: Place) -> None:
    """A copy of the store, made for tests on the same server, would revoke keys of the real one."""
    async with opened(place) as store:
        await fill(store)
        await hearing(store)
        before = store.revision()
        told = b'{"at":1,"takings":[["key","%s","%s",1,0,0,null]]}' % (APP.id.encode(), KEY_ID.encode())
        for server in servers.primaries:
            server.run("PUBLISH", f"{TAKINGS}:{'0' * 32}", told)
        await do(store, acts.switch_app(APP.id, disabled=True))

        assert store.ended_since(before) == {APP.id}
        assert (await the_key(store)).revoked_at is None


async def test_deafness_is_logged_once_and_warned_of(tmp_path: Path) -> None:
    """Nobody would know that the gateway looks everything up, or the log would be full of it."""
    with capture_logs() as logged, single(tmp_path, *WRITTEN) as servers:
        await init(servers.url, PATIENT)
        async with store_at(servers.url) as store:
            await hearing(store)
            assert not [warning for warning in store.warnings() if "not heard" in warning]
            servers.primaries[0].freeze()
            await eventually(lambda: any(line["event"] == "store deaf" for line in logged))
            assert [warning for warning in store.warnings() if "not heard" in warning]
            servers.primaries[0].thaw()
            await eventually(lambda: store.revision() != DEAF)

    told = [line["event"] for line in logged if line["event"].startswith("store ")]
    assert told[:2] == ["store deaf", "store heard again"]
    assert len(told) % 2 == 0


# What a store forgets


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of its own, with a disk."""
    with single(tmp_path, *WRITTEN) as servers:
        yield servers.primaries[0]


async def forget(server: RedisServer, taken: Callable[[], Awaitable[object]]) -> None:
    """Have the server die once something was taken away, and come back with a copy of its data from before."""
    kept = server.directory / "appendonlydir"
    copy = server.directory / "copy"
    shutil.copytree(kept, copy)
    await taken()
    server.kill()
    shutil.rmtree(kept)
    copy.rename(kept)
    server.start()


async def restored(store: Store) -> list[str]:
    """Of what was told anew, by the audit."""
    events = [numbered.event for numbered in await the_events(store)]
    return [event.subject_id for event in events if event.action is AuditAction.REVOCATION_RESTORED]


@pytest.mark.parametrize("what", TAKING_AWAY)
async def test_what_an_old_copy_does_not_know_is_told_to_it(server: RedisServer, what: str) -> None:
    """After a backup was restored, revoked keys would work again."""
    url = f"redis://127.0.0.1:{server.port}"
    await init(url, PATIENT)
    act, ended = TAKING_AWAY[what]
    async with store_at(url) as old:
        await fill(old)
        await hearing(old)
        await forget(server, lambda: do(old, act))
        await heard(old, old.revision())

        async with store_at(url) as new:
            assert await restored(new) == [ended]
            key, app, user = await the_key(new), await the_app(new), await the_user(new)
            token = await the_token(new)
            assert app is not None
            assert user is not None
            taken = (
                key.revoked_at is not None
                or key.shutdown_at is not None
                or app.disabled
                or user.disabled
                or token.created_at <= max(app.cut_at, user.cut_at)
                or token.shutdown_at is not None
            )
            assert taken


async def test_a_deletion_that_was_forgotten_is_made_good(server: RedisServer) -> None:
    """After a backup was restored, an erased name would be there again, or not be free for a new user."""
    url = f"redis://127.0.0.1:{server.port}"
    await init(url, PATIENT)
    async with store_at(url) as old:
        await fill(old)
        await hearing(old)
        await forget(server, lambda: do(old, delete_user()))
        found = await once_it_answers(lambda: old.find_user(APP.id, USER_ID))
        assert found is not None
        assert found.user == User(USER_ID, APP.id, None, 0, DELETED)
        await heard(old, old.revision())

        assert "customer-17" not in repr(server.contents())
        async with store_at(url) as new:
            assert await restored(new) == [USER_ID]
            await new.ping()
            await do(new, acts.make_token(APP.id, "5a000000000000b1", None, "customer-17", new_user_id="5au1"))
            assert set((await look(new, APP.id, external_id="customer-17")).users) == {"5au1"}


async def test_a_server_of_a_cluster_is_told_of_its_own(tmp_path: Path) -> None:
    """A cluster of which one server came back from an old copy would let that third of the revoked keys in again."""
    with cluster(tmp_path, *WRITTEN) as servers:
        url = servers.url
        await init(url, PATIENT)
        async with store_at(url) as old:
            await fill(old)
            await hearing(old)
            here, *_ = [server for server in servers.primaries if has(server, "{5a}:identity")]
            await do(old, acts.switch_app(OTHER_APP.id, disabled=True))  # elsewhere, where nothing is forgotten
            await forget(here, lambda: do(old, acts.revoke(APP.id, KEY_ID)))
            await heard(old, old.revision())

            async with store_at(url) as new:
                assert (await the_key(new)).revoked_at is not None
                assert await restored(new) == [KEY_ID]


def has(server: RedisServer, name: str) -> bool:
    """Whether a server of a cluster is the one that has a key."""
    try:
        return server.run("GET", name) is not None
    except redis.RedisError:
        return False


async def test_two_gateways_tell_it_once(server: RedisServer) -> None:
    """Each gateway would write into the audit that it had restored what another already had."""
    url = f"redis://127.0.0.1:{server.port}"
    await init(url, PATIENT)
    async with store_at(url) as one, store_at(url) as other, store_at(url) as third:
        await fill(one)
        await asyncio.gather(hearing(one), hearing(other), hearing(third))
        keys = [f"5a0000000000{number:04x}" for number in range(0x200, 0x208)]
        await do(one, *[acts.make_key(APP.id, key) for key in keys])
        gateways = {store: store.revision() for store in (one, other, third)}

        async def revoke_all() -> None:
            await do(one, *[acts.revoke(APP.id, key) for key in keys])
            for store, before in gateways.items():
                await eventually(lambda store=store, before=before: store.ended_since(before) == set(keys))

        await forget(server, revoke_all)
        await asyncio.gather(*(heard(store, store.revision()) for store in gateways))

        assert sorted(await restored(one)) == keys


async def test_a_failover_brings_no_key_back(tmp_path: Path) -> None:
    """A key revoked just before the primary died would work again, as the replica had not heard of it."""
    with with_sentinel(tmp_path, *LASTING) as servers:
        url = servers.url
        await init(url, PATIENT)
        assert servers.replica is not None
        async with store_at(url) as old:
            await fill(old)
            await hearing(old)
            servers.replica.freeze()
            servers.primaries[0].run("SET", "{00}:junk", bytes(LINE))
            (done,) = await do(old, acts.revoke(APP.id, KEY_ID))
            assert not done.replicated
            servers.primaries[0].kill()
            servers.replica.thaw()
            until(lambda: servers.replica.info("replication")["role"] == "master")

            assert (await once_it_answers(lambda: the_key(old))).revoked_at is not None
            await eventually(lambda: old.revision() != DEAF)
            async with store_at(url) as new:
                assert (await the_key(new)).revoked_at is not None
                assert await restored(new) == [KEY_ID]


async def test_a_key_is_refused_by_a_store_that_cannot_be_told(server: RedisServer) -> None:
    """A revoked key would work again while the store that forgot it takes no changes."""
    url = f"redis://127.0.0.1:{server.port}"
    await init(url, PATIENT)
    async with store_at(url) as store:
        await fill(store)
        await hearing(store)

        async def revoke() -> None:
            await do(store, acts.revoke(APP.id, KEY_ID))
            config = server.directory / "redis.conf"
            config.write_text(config.read_text() + "min-replicas-to-write 1\n")

        await forget(server, revoke)
        assert (await once_it_answers(lambda: the_key(store))).revoked_why is RevokedWhy.RESTORED

        server.run("CONFIG", "SET", "min-replicas-to-write", 0)
        await eventually(lambda: store.revision() != DEAF)
        async with store_at(url) as new:
            assert (await the_key(new)).revoked_at is not None


async def test_hearing_does_not_count_before_the_store_was_told(server: RedisServer) -> None:
    """A gateway would say that all is well while a new one beside it takes revoked keys."""
    url = f"redis://127.0.0.1:{server.port}"
    await init(url, PATIENT)
    nodes = Nodes(address_of(url), PATIENT)
    register = Register(time.monotonic, tag_of)
    register.note(Taking(Taken.KEY, APP.id, KEY_ID, end=1))
    asked, told = asyncio.Event(), asyncio.Event()

    async def do_late(_: Sequence[Act]) -> list[Done | ActRefused]:
        asked.set()
        await told.wait()
        return []

    ears = Hearing(nodes, register, do_late)
    ears.start()
    try:
        await asked.wait()
        for _ in range(100):  # while heartbeats come back
            assert ears.revision() == DEAF
            await asyncio.sleep(0.01)
        told.set()
        await eventually(lambda: ears.revision() != DEAF)
    finally:
        await ears.close()
        await nodes.close()


async def test_another_primary_makes_deaf_until_it_is_heard(tmp_path: Path) -> None:
    """A gateway would go by what it hears at a server that the others have left."""
    with with_sentinel(tmp_path, *LASTING) as servers:
        assert servers.replica is not None
        assert servers.sentinel is not None
        await init(servers.url, PATIENT)
        nodes = Nodes(address_of(servers.url), PATIENT)
        register = Register(time.monotonic, tag_of)
        ears = Hearing(nodes, register, Acts(nodes, register).act)
        ears.start()
        try:
            await eventually(lambda: ears.revision() != DEAF)
            before = ears.revision()
            moved: list[int] = []
            nodes.on_change(lambda: moved.append(ears.revision()))
            until(lambda: servers.replica.run("GET", "{ff}:identity"))
            servers.sentinel.run("SENTINEL", "REMOVE", PRIMARY_NAME)
            servers.replica.run("REPLICAOF", "NO", "ONE")
            servers.sentinel.run("SENTINEL", "MONITOR", PRIMARY_NAME, "127.0.0.1", servers.replica.port, 1)
            await eventually(lambda: bool(moved))
            assert moved == [DEAF]

            await eventually(lambda: ears.revision() not in {before, DEAF})
            assert ears.ended_since(before) is None
        finally:
            await ears.close()
            await nodes.close()


async def test_what_was_answered_late_is_told_too(server: RedisServer) -> None:
    """A revocation kept by the primary before, just as it lost its place, would be forgotten by all."""
    url = f"redis://127.0.0.1:{server.port}"
    await init(url, PATIENT)
    nodes = Nodes(address_of(url), PATIENT)
    register = Register(time.monotonic, tag_of)
    ears = Hearing(nodes, register, Acts(nodes, register).act, afterthought=0.5)
    async with store_at(url) as other:
        await fill(other)
        ears.start()
        try:
            await eventually(lambda: ears.revision() != DEAF)
            register.note(Taking(Taken.KEY, APP.id, KEY_ID, end=1))

            async def told() -> bool:
                return (await the_key(other)).revoked_at is not None

            await eventually(told)
        finally:
            await ears.close()
            await nodes.close()
