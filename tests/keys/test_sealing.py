"""Sealing and verifying a real store, with somebody at it who may write its file."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.ledger import Act, Asked, Changes
from gateway.core.seal import Flaw, Judge
from gateway.keys.sealing import RUN_LENGTH, ChainReport, Told, verify
from gateway.keys.signing import Signer, fingerprint, judge_with
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.store.acts import do, make_app
from tests.store.place import APP
from tests.support.sealed import seal_new

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer(fingerprint(KEY.public_key()), key=KEY)
JUDGE = judge_with([KEY.public_key()])
AT = 1_790_000_000_000


@dataclass(frozen=True)
class Kept:
    """A store and its file."""

    store: Store
    path: Path

    async def happens(self, count: int) -> None:
        """As many events, in one act."""
        events = tuple(
            AuditEvent(AT + number, AuditAction.KEY_RENAMED, APP.id, f"k{number}", "tester") for number in range(count)
        )
        await do(self.store, Act(Asked(APP.id), lambda _: Changes(events=events)))

    async def sealed(self, *counts: int) -> None:
        """So many events, each time with a seal."""
        for count in counts:
            await self.happens(count)
            assert await seal_new(self.store, SIGNER, AT)

    async def seals(self) -> list[Seal]:
        """The seals of the store's own chain."""
        return [
            seal for chain in await self.store.chains() for seal in [each async for each in self.store.seals(chain)]
        ]

    async def report(self, judge: Judge | None = JUDGE, told: Told | None = None) -> ChainReport:
        """What is found of the one chain that there is."""
        (report,) = [report async for report in verify(self.store, judge, told)]
        return report

    def tampered(self, *statements: str) -> None:
        """Somebody changes the file past the store, with its triggers out of his way."""
        with closing(sqlite3.connect(self.path)) as database, database:
            for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                database.execute(statement)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    """A store with an app in it, which is its first event."""
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}", create=True)
    await do(store, make_app(APP))
    yield Kept(store, path)
    await store.close()


def flaw(report: ChainReport) -> tuple[Flaw, int, int] | None:
    """What is wrong, and with what."""
    return report.finding and (report.finding.flaw, report.finding.first, report.finding.last)


# Sealing --------------------------------------------------------------------------------------------------------------


async def test_what_happened_is_sealed_once(kept: Kept) -> None:
    """Events stay unsealed, or are sealed twice, and verifying fails."""
    first = await seal_new(kept.store, SIGNER, AT)
    again = await seal_new(kept.store, SIGNER, AT)
    await kept.happens(3)
    before = await kept.report()
    second = await seal_new(kept.store, SIGNER, AT + 5)

    chain = f"{await kept.store.identity()}/main"
    assert [(seal.chain, seal.first, seal.last, seal.at) for seal in first + second] == [
        (chain, 1, 1, AT),
        (chain, 2, 4, AT + 5),
    ]
    assert again == []
    assert (before.unsealed, before.unsealed_since) == (3, AT)
    assert await kept.report() == ChainReport(chain, 4, 2, 2, unsealed=0, unsealed_since=None, finding=None)


async def test_a_long_run_is_sealed_in_pieces(kept: Kept) -> None:
    """After an import of a million keys the sealing gateway runs out of memory."""
    await kept.happens(2 * RUN_LENGTH + 300)

    seals = await seal_new(kept.store, None, AT)

    assert [(seal.first, seal.last) for seal in seals] == [(1, 1000), (1001, 2000), (2001, 2301)]
    assert await kept.report(judge=None) == ChainReport(seals[0].chain, 2301, 3, 0, 0, None, None)


class Watched:
    """A store as others have it, with something done before each of its events is given."""

    def __init__(self, store: Store, before: Callable[[], None]) -> None:
        self._store = store
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def events(self, chain: str, after: int = 0) -> AsyncIterator[Numbered]:
        async for numbered in self._store.events(chain, after):
            self._before()
            yield numbered


async def test_sealing_lets_others_have_their_turn(kept: Kept) -> None:
    """Requests stand still while the gateway seals what an import brought."""
    await kept.happens(3 * RUN_LENGTH)
    stretch: Counter[int] = Counter()
    turn = 0

    def seen() -> None:
        stretch[turn] += 1

    task = asyncio.create_task(seal_new(cast("Store", Watched(kept.store, seen)), None, AT))
    while not task.done():
        await asyncio.sleep(0)
        turn += 1

    assert len(await task) == 4
    assert stretch.total() == 3 * RUN_LENGTH + 1
    assert max(stretch.values()) <= 50


async def test_two_that_seal_at_once_make_one_chain_of_seals(kept: Kept) -> None:
    """Two gateways that both believe to hold the lease leave two seals over one event, which looks like forgery."""
    other = open_store(f"sqlite:///{kept.path}")
    made: list[Seal] = []
    try:
        for _ in range(20):
            await kept.happens(3)
            both = await asyncio.gather(seal_new(kept.store, SIGNER, AT), seal_new(other, SIGNER, AT + 1))
            made += [seal for seals in both for seal in seals]
    finally:
        await other.close()
    report = await kept.report()

    assert (report.events, report.unsealed, report.finding) == (61, 0, None)
    assert made == await kept.seals()


async def test_a_chain_of_another_store_is_verified_and_not_sealed(kept: Kept) -> None:
    """After a move the old store's audit is vouched for by nobody, or is sealed by who did not see it happen."""
    await kept.sealed(2)
    (chain,) = await kept.store.chains()
    events = [event async for event in kept.store.events(chain)]
    strange = "0ld/main"
    imported = [Numbered(strange, event.number, event.event) for event in events]
    await kept.store.keep_chain(strange, imported[:2], [])

    assert await seal_new(kept.store, SIGNER, AT) == []
    reports = {report.chain: report async for report in verify(kept.store, JUDGE)}
    assert (reports[chain].finding, reports[chain].unsealed) == (None, 0)
    assert (reports[strange].finding, reports[strange].unsealed) == (None, 2)


class Hasty:
    """A store that reads all events at once, when it is asked for the first; and then something happens."""

    def __init__(self, store: Store, then: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def events(self, chain: str, after: int = 0) -> AsyncIterator[Numbered]:
        events = [event async for event in self._store.events(chain, after)]
        await self._then()
        for event in events:
            yield event


async def test_a_store_at_work_is_verified(kept: Kept) -> None:
    """Whoever verifies while gateways run is told of gaps that are none: a seal may be newer than what was read."""
    await kept.sealed(3)
    left = 5

    async def work() -> None:
        nonlocal left
        if left:
            left -= 1
            await kept.sealed(2)

    reports = [report async for report in verify(cast("Store", Hasty(kept.store, work)), JUDGE)]

    assert [report.finding for report in reports] == [None]
    assert (left, reports[0].events, reports[0].unsealed) == (0, 14, 0)


# Verifying ------------------------------------------------------------------------------------------------------------

# Each is done to events 1 to 10, sealed as 1, 2 to 6 and 7 to 10.
TAMPERED: list[tuple[str, str, tuple[Flaw, int, int]]] = [
    ("an actor", "UPDATE audit SET actor = 'somebody' WHERE number = 4", (Flaw.EVENT_CHANGED, 2, 6)),
    ("a time", "UPDATE audit SET at = at + 1 WHERE number = 10", (Flaw.EVENT_CHANGED, 7, 10)),
    ("an action", "UPDATE audit SET action = 'key.created' WHERE number = 2", (Flaw.EVENT_CHANGED, 2, 6)),
    ("removed", "DELETE FROM audit WHERE number = 3", (Flaw.EVENT_MISSING, 3, 3)),
    ("removed first", "DELETE FROM audit WHERE number = 1", (Flaw.EVENT_MISSING, 1, 1)),
    ("removed last", "DELETE FROM audit WHERE number > 8", (Flaw.EVENT_MISSING, 9, 10)),
    ("removed all", "DELETE FROM audit", (Flaw.EVENT_MISSING, 1, 1)),
    ("renumbered", "UPDATE audit SET number = -number WHERE number = 6", (Flaw.EVENT_MISSING, 6, 6)),
    ("moved out", "UPDATE audit SET number = 11 WHERE number = 6", (Flaw.EVENT_MISSING, 6, 6)),
    ("no seal", "DELETE FROM seal WHERE first = 2", (Flaw.SEAL_MISSING, 2, 6)),
    ("a shorter seal", "UPDATE seal SET last = 5 WHERE first = 2", (Flaw.SIGNATURE_FALSE, 2, 5)),
    ("a later seal", "UPDATE seal SET at = at + 1 WHERE first = 7", (Flaw.SIGNATURE_FALSE, 7, 10)),
    ("a digest", "UPDATE seal SET digest = '00' WHERE first = 7", (Flaw.SIGNATURE_FALSE, 7, 10)),
    ("a signature", "UPDATE seal SET signature = 'ab' WHERE first = 1", (Flaw.SIGNATURE_FALSE, 1, 1)),
    ("another signature", "UPDATE seal SET signature = upper(signature) WHERE first = 1", (Flaw.SIGNATURE_FALSE, 1, 1)),
    ("a signer", "UPDATE seal SET signer = 'me' WHERE first = 1", (Flaw.SIGNER_UNKNOWN, 1, 1)),
    ("signed no more", "UPDATE seal SET signature = '' WHERE first = 7", (Flaw.SIGNATURE_MISSING, 7, 10)),
    ("two seals", "INSERT INTO seal SELECT chain, 8, last, at, digest, '', '' FROM seal WHERE first = 7", (
        Flaw.SEAL_MISPLACED, 8, 10)),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "expected"), [row[1:] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
async def test_what_was_done_to_the_file_is_found(kept: Kept, statement: str, expected: tuple[Flaw, int, int]) -> None:
    """Somebody with the file under his hands changes what the audit tells, and the audit is called whole."""
    await seal_new(kept.store, SIGNER, AT)
    await kept.sealed(5, 4)
    assert (await kept.report()).finding is None

    kept.tampered(statement)

    assert flaw(await kept.report()) == expected


async def test_an_event_that_cannot_be_read_is_named(kept: Kept) -> None:
    """Somebody writes nonsense over an event, and verifying ends with a traceback, or as if the store were away."""
    await kept.sealed(5, 4)

    kept.tampered("UPDATE audit SET action = 'key.painted' WHERE number = 5")

    finding = (await kept.report()).finding
    assert finding is not None
    assert (finding.flaw, finding.first <= 5) == (Flaw.UNREADABLE, True)


async def test_what_is_not_sealed_is_counted_where_something_is_wrong_too(kept: Kept) -> None:
    """An auditor who is told of a fault is not told that newer events are protected by nothing."""
    await kept.sealed(5)
    await kept.happens(3)

    kept.tampered("DELETE FROM audit WHERE number = 2")
    report = await kept.report()

    assert (flaw(report), report.events, report.unsealed) == ((Flaw.EVENT_MISSING, 2, 2), 1, 3)


async def test_a_chain_that_was_made_anew_needs_the_key(kept: Kept) -> None:
    """Somebody who may write the file changes an event and seals everything again."""
    await kept.sealed(5)
    kept.tampered("DELETE FROM seal", "UPDATE audit SET actor = 'somebody' WHERE number = 2")
    forger = Ed25519PrivateKey.generate()

    await seal_new(kept.store, None, AT)
    assert flaw(await kept.report(judge=None)) is None
    assert flaw(await kept.report()) == (Flaw.SIGNATURE_MISSING, 1, 6)

    kept.tampered("DELETE FROM seal")
    await seal_new(kept.store, Signer(fingerprint(forger.public_key()), key=forger), AT)
    assert flaw(await kept.report()) == (Flaw.SIGNER_UNKNOWN, 1, 6)

    kept.tampered("DELETE FROM seal")
    await seal_new(kept.store, replace(SIGNER, key=forger), AT)
    assert flaw(await kept.report()) == (Flaw.SIGNATURE_FALSE, 1, 6)


async def test_the_log_tells_of_what_was_cut_off(kept: Kept) -> None:
    """Somebody cuts off the end of the audit, seals and all, and what is left looks whole."""
    await kept.sealed(5, 4)
    seals = await kept.seals()
    chain = seals[0].chain
    told = {chain: [(seal.last, seal.digest) for seal in seals], "an0ther/main": [(7, "00")]}
    assert (await kept.report(told=told)).finding is None

    kept.tampered("DELETE FROM audit WHERE number > 6", "DELETE FROM seal WHERE first > 6")

    assert flaw(await kept.report()) is None
    assert flaw(await kept.report(told=told)) == (Flaw.CHAIN_REWRITTEN, 10, 10)
    kept.tampered("DELETE FROM audit", "DELETE FROM seal")
    assert flaw(await kept.report(told=told)) == (Flaw.CHAIN_REWRITTEN, 6, 6)
