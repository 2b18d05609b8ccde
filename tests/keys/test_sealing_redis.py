"""Sealing and verifying a store in Redis, with somebody at the server who may write everything."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.control.sealer import Sealer
from gateway.core.audit import AuditAction, AuditEvent, Seal
from gateway.core.ledger import Act, Asked, Changes
from gateway.core.seal import Flaw
from gateway.keys.sealing import RUN_LENGTH, ChainReport, verify
from gateway.keys.signing import Signer, fingerprint, judge_with
from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from gateway.store.redis.layout import audit_key, seals_key
from tests.store.acts import do, make_app
from tests.store.place import APP, OTHER_APP
from tests.support.redis_servers import RedisServer, Servers, single
from tests.support.redis_stores import PATIENT
from tests.support.sealed import seal_new

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer(fingerprint(KEY.public_key()), key=KEY)
JUDGE = judge_with([KEY.public_key()])
AT = 1_790_000_000_000
IDENTITY = "c0ffee" * 5 + "00"
TAG = APP.id[:2]
EVENTS, SEALS = audit_key(TAG), seals_key(TAG)
CHAIN = f"{IDENTITY}/{TAG}"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Redis server."""
    with single(Path(tmp_path_factory.mktemp("redis"))) as started:
        yield started


@dataclass(frozen=True)
class Kept:
    """A store, and the server that it is on."""

    store: Store
    server: RedisServer

    async def happens(self, count: int) -> None:
        """As many events of one app, in one act."""
        events = tuple(
            AuditEvent(AT + number, AuditAction.KEY_RENAMED, APP.id, f"k{number}", "tester") for number in range(count)
        )
        await do(self.store, Act(Asked(APP.id), lambda _: Changes(events=events)))

    async def reports(self) -> dict[str, ChainReport]:
        """What is found of each chain."""
        return {report.chain: report async for report in verify(self.store, JUDGE)}

    async def flaw(self) -> tuple[Flaw, int, int] | None:
        """What is wrong with the chain of the one app; nothing is with the other."""
        reports = await self.reports()
        assert reports.pop(f"{IDENTITY}/{OTHER_APP.id[:2]}").finding is None
        finding = reports[CHAIN].finding
        return finding and (finding.flaw, finding.first, finding.last)


@pytest.fixture
async def kept(servers: Servers) -> AsyncIterator[Kept]:
    """An empty store with two apps under different slot tags; of the first, events 1 to 10, sealed as 1, 2 to 6, 7 to
    10."""
    (server,) = servers.primaries
    server.run("FLUSHALL")
    options = replace(PATIENT, identity=IDENTITY)
    await init(servers.url, options)
    store = open_store(servers.url, redis=options)
    made = Kept(store, server)
    await do(store, make_app(APP), make_app(OTHER_APP))
    for count in (0, 5, 4):
        if count:
            await made.happens(count)
        assert await seal_new(store, SIGNER, AT)
    yield made
    await store.close()


async def test_each_chain_is_sealed_once(kept: Kept) -> None:
    """Events of some apps stay unsealed, or are sealed twice."""
    assert await seal_new(kept.store, SIGNER, AT) == []
    await kept.happens(2)

    assert await kept.reports() == {
        CHAIN: ChainReport(CHAIN, 12, 3, 3, unsealed=2, unsealed_since=AT, finding=None),
        f"{IDENTITY}/{OTHER_APP.id[:2]}": ChainReport(f"{IDENTITY}/{OTHER_APP.id[:2]}", 1, 1, 1, 0, None, None),
    }
    assert [(seal.first, seal.last) for seal in await seal_new(kept.store, SIGNER, AT)] == [(11, 12)]


async def test_a_long_run_is_sealed_in_pieces(kept: Kept) -> None:
    """After an import of a million keys the sealing gateway runs out of memory."""
    await kept.happens(2 * RUN_LENGTH + 300)

    seals = await seal_new(kept.store, SIGNER, AT)

    assert [(seal.first, seal.last) for seal in seals] == [(11, 1010), (1011, 2010), (2011, 2310)]
    assert await kept.flaw() is None


async def test_two_that_seal_at_once_make_one_chain_of_seals(kept: Kept, servers: Servers) -> None:
    """Two gateways that both believe to hold the lease leave two seals over one event, which looks like forgery."""
    other = open_store(servers.url, redis=PATIENT)
    made: list[Seal] = []
    try:
        for _ in range(20):
            await kept.happens(3)
            both = await asyncio.gather(seal_new(kept.store, SIGNER, AT), seal_new(other, SIGNER, AT + 1))
            made += [seal for seals in both for seal in seals]
    finally:
        await other.close()

    assert [seal async for seal in kept.store.seals(CHAIN)][3:] == made
    assert await kept.flaw() is None
    assert (await kept.reports())[CHAIN].unsealed == 0


async def test_a_store_at_work_is_verified(kept: Kept) -> None:
    """Whoever verifies while gateways run is told of gaps that are none: a seal may be newer than what was read."""

    async def work() -> None:
        for _ in range(60):
            await kept.happens(25)
            await seal_new(kept.store, SIGNER, AT)

    task = asyncio.create_task(work())
    found = []
    while not task.done():
        found.append(await kept.flaw())
    await task

    assert len(found) > 1
    assert set(found) == {None}


async def test_another_gateway_seals_when_the_holder_is_gone(kept: Kept, servers: Servers) -> None:
    """All gateways seal all the time, or none does after the one that did has died."""
    store = open_store(servers.url, redis=PATIENT)
    try:
        await Sealer(store, SIGNER, lease_seconds=60).turn()
        await kept.happens(1)
        other = Sealer(kept.store, SIGNER)
        await other.turn()
        assert (await kept.reports())[CHAIN].unsealed == 1
        for name in kept.server.run("KEYS", "*lease*"):
            kept.server.run("PEXPIRE", name, 1)
        async with asyncio.timeout(20):
            while (await kept.reports())[CHAIN].unsealed:
                await other.turn()
    finally:
        await store.close()


TAMPERED: list[tuple[str, list[tuple[str | int, ...]], tuple[Flaw, int, int]]] = [
    ("removed", [("LSET", EVENTS, 2, "x"), ("LREM", EVENTS, 1, "x")], (Flaw.EVENT_MISSING, 3, 3)),
    ("removed first", [("LPOP", EVENTS)], (Flaw.EVENT_MISSING, 1, 1)),
    ("removed last", [("LTRIM", EVENTS, 0, 7)], (Flaw.EVENT_MISSING, 9, 10)),
    ("removed all", [("DEL", EVENTS)], (Flaw.EVENT_MISSING, 1, 1)),
    ("overwritten", [("LSET", EVENTS, 2, "x")], (Flaw.UNREADABLE, 3, 3)),
    ("another kind", [("DEL", EVENTS), ("SET", EVENTS, "x")], (Flaw.UNREADABLE, 1, 1)),
    ("moved", [("LMOVE", EVENTS, EVENTS, "LEFT", "RIGHT")], (Flaw.EVENT_MISSING, 1, 1)),
    ("no seal", [("LSET", SEALS, 1, "x"), ("LREM", SEALS, 1, "x")], (Flaw.SEAL_MISSING, 2, 6)),
    ("a seal overwritten", [("LSET", SEALS, 1, "x")], (Flaw.UNREADABLE, 2, 2)),
    ("seals moved", [("LMOVE", SEALS, SEALS, "LEFT", "RIGHT")], (Flaw.SEAL_MISSING, 1, 1)),
]


@pytest.mark.parametrize(("commands", "expected"), [row[1:] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
async def test_what_was_done_to_the_lists_is_found(
    kept: Kept, commands: list[tuple[str | int, ...]], expected: tuple[Flaw, int, int]
) -> None:
    """Somebody who may write the server changes what the audit tells, and the audit is called whole."""
    for command in commands:
        kept.server.run(*command)

    assert await kept.flaw() == expected


@pytest.mark.parametrize(
    ("key", "place", "old", "new", "expected"),
    [
        (EVENTS, 3, b"tester", b"somebody", (Flaw.EVENT_CHANGED, 2, 6)),
        (EVENTS, 9, b'"at":17', b'"at":16', (Flaw.EVENT_CHANGED, 7, 10)),
        (EVENTS, 4, b'"number":5', b'"number":6', (Flaw.EVENT_MISSING, 5, 5)),
        (SEALS, 1, b'"last":6', b'"last":5', (Flaw.SIGNATURE_FALSE, 2, 5)),
        (SEALS, 2, b'"at":17', b'"at":16', (Flaw.SIGNATURE_FALSE, 7, 10)),
        (SEALS, 2, SIGNER.fingerprint.encode(), b"me", (Flaw.SIGNER_UNKNOWN, 7, 10)),
    ],
    ids=["an actor", "a time", "a number", "a shorter seal", "a later seal", "a signer"],
)
async def test_what_was_written_over_is_found(
    kept: Kept, key: str, place: int, old: bytes, new: bytes, expected: tuple[Flaw, int, int]
) -> None:
    """Somebody who may write the server changes a word of the audit, and it is called whole."""
    text = kept.server.run("LINDEX", key, place)
    assert old in text
    kept.server.run("LSET", key, place, text.replace(old, new))

    assert await kept.flaw() == expected


async def test_a_chain_that_cannot_be_read_leaves_no_other_unsealed(kept: Kept) -> None:
    """Somebody garbles the audit of his own app, and nobody's events are sealed any more."""
    kept.server.run("LSET", EVENTS, -1, "x")
    await do(kept.store, Act(Asked(OTHER_APP.id), lambda seen: Changes(events=(_disabled(seen.now),))))

    await Sealer(kept.store, SIGNER).turn()

    assert (await kept.reports())[f"{IDENTITY}/{OTHER_APP.id[:2]}"].unsealed == 0


def _disabled(now: int) -> AuditEvent:
    return AuditEvent(now, AuditAction.APP_DISABLED, OTHER_APP.id, OTHER_APP.id, "tester")
