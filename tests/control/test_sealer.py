"""The sealer of a running gateway, on a real store whose clock the test holds."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.control.sealer import LEASE_SECONDS, Sealer
from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Act, Asked, Changes
from gateway.keys.sealing import RUN_LENGTH, verify
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.store.acts import do, make_app, make_key
from tests.store.place import APP
from tests.support.waiting import eventually

AT = 1_790_000_000_000


@dataclass
class Place:
    """A store file, which several gateways open, with one clock."""

    path: Path
    now: int = AT

    def open(self) -> Store:
        """The store, as one more gateway has it."""
        return open_store(f"sqlite:///{self.path}", create=True, patience=0.05, clock=lambda: self.now)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where the store is."""
    return Place(tmp_path / "store.db")


@pytest.fixture
async def stores(place: Place) -> AsyncIterator[tuple[Store, Store]]:
    """The store with an app in it, as two gateways have it."""
    both = place.open(), place.open()
    await do(both[0], make_app(APP))
    yield both
    for store in both:
        await store.close()


Log = list[MutableMapping[str, Any]]


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged."""
    with capture_logs() as lines:
        yield lines


async def unsealed(store: Store) -> int:
    """How many events no seal covers; nothing is wrong with the others."""
    reports = [report async for report in verify(store)]
    assert [report.finding for report in reports] == [None]
    return reports[0].unsealed


async def test_what_happens_is_sealed_and_told_to_the_log(stores: tuple[Store, Store], log: Log) -> None:
    """Nobody can prove by the log that the end of the audit was cut off."""
    sealer = Sealer(stores[0], None, now=lambda: AT + 7)

    await sealer.turn()
    await sealer.turn()

    (seal,) = [seal async for seal in stores[0].seals(f"{await stores[0].identity()}/main")]
    assert log == [
        {
            "event": "audit sealed",
            "log_level": "info",
            "chain": seal.chain,
            "first": 1,
            "last": 1,
            "at": AT + 7,
            "digest": seal.digest,
            "signature": "",
            "signer": "",
        }
    ]


async def test_one_gateway_seals_until_it_is_gone(place: Place, stores: tuple[Store, Store]) -> None:
    """All gateways seal all the time, or none does after the one that did has died."""
    store, other_store = stores
    holder, other = Sealer(store, None), Sealer(other_store, None)
    await holder.turn()
    await do(store, make_key(APP.id, "5a00000000000001"))

    await other.turn()
    assert await unsealed(store) == 1

    place.now += int(LEASE_SECONDS * 1000) - 1
    await other.turn()
    assert await unsealed(store) == 1

    place.now += 1  # the holder has not been heard of for as long as its lease
    await other.turn()
    assert await unsealed(store) == 0
    await do(store, make_key(APP.id, "5a00000000000002"))
    await holder.turn()  # it was only slow, and is no longer the holder
    assert await unsealed(store) == 1


async def test_a_holder_that_lives_stays_the_holder(place: Place, stores: tuple[Store, Store]) -> None:
    """Gateways take turns in sealing, each time with a pause as long as the lease."""
    store, other_store = stores
    holder, other = Sealer(store, None), Sealer(other_store, None)
    await holder.turn()
    for number in range(5):
        place.now += int(LEASE_SECONDS * 1000) - 1
        await do(store, make_key(APP.id, f"5a0000000000000{number}"))
        await holder.turn()
        assert await unsealed(store) == 0
        await do(store, make_key(APP.id, f"5a0000000000001{number}", lifetime=1))
        await other.turn()
        assert await unsealed(store) == 1
        await holder.turn()


@dataclass
class Rival:
    """Another gateway that takes the lease while this one signs."""

    path: Path
    fingerprint: str = "ours"

    def sign(self, message: bytes) -> str:
        """No signature; and the lease is gone."""
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute("UPDATE lease SET holder = 'rival', ends_at = ends_at + 100000")
        return "ab"


async def test_a_holder_that_lost_the_lease_stops(place: Place, stores: tuple[Store, Store]) -> None:
    """A gateway that seals what a long import brought goes on beside the one that has taken its place."""
    store = stores[0]
    events = tuple(AuditEvent(AT, AuditAction.KEY_IMPORTED, APP.id, "k", "tester") for _ in range(3 * RUN_LENGTH))
    await do(store, Act(Asked(APP.id), lambda _: Changes(events=events)))

    await Sealer(store, Rival(place.path), every=0).turn()

    assert await unsealed(store) == 2 * RUN_LENGTH + 1


async def test_a_store_that_is_away_is_told_once_and_sealed_when_back(
    place: Place, stores: tuple[Store, Store], log: Log
) -> None:
    """The log fills with one sentence, or sealing ends for good at the first fault of the store."""
    sealer = Sealer(stores[0], None)
    for _ in range(2):
        with closing(sqlite3.connect(place.path, isolation_level=None)) as hog:
            hog.execute("BEGIN IMMEDIATE")
            await sealer.turn()
            await sealer.turn()
            hog.execute("ROLLBACK")
        await sealer.turn()
        await sealer.turn()

    assert [line["event"] for line in log] == ["audit not sealed", "audit sealed", "audit not sealed"]
    assert "another process" in log[0]["error"]


class Failing:
    """A signer with a fault that nobody thought of."""

    fingerprint = "ours"
    works = False

    def sign(self, message: bytes) -> str:
        """No signature, or an exception."""
        if not self.works:
            raise ZeroDivisionError
        return "ab"


async def test_a_fault_of_ours_is_told_and_does_not_end_sealing(stores: tuple[Store, Store], log: Log) -> None:
    """One odd event ends sealing in silence, for as long as the gateway runs."""
    signer = Failing()
    sealer = Sealer(stores[0], signer)

    await sealer.turn()
    await sealer.turn()
    signer.works = True
    await sealer.turn()

    assert [(line["event"], line["log_level"]) for line in log] == [
        ("audit not sealed", "error"),
        ("audit sealed", "info"),
    ]
    assert isinstance(log[0]["exc_info"], ZeroDivisionError)


async def test_a_sealer_runs_until_it_is_told_to_stop(stores: tuple[Store, Store]) -> None:
    """A gateway cannot stop, or events stay unsealed while it runs."""
    store = stores[0]

    async def sealed() -> bool:
        return not await unsealed(store)

    task = asyncio.create_task(Sealer(store, None, every=0.001).run())
    try:
        for number in range(3):
            await do(store, make_key(APP.id, f"5a0000000000000{number}"))
            await eventually(sealed)
    finally:
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)

    assert [type(each) for each in ended] == [asyncio.CancelledError]
