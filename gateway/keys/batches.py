"""Many records into a store: put together by app, many of an app to an act, many acts to a call."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

from gateway.core.ledger import Act, ActRefused, Changes, Done, Snapshot
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

T = TypeVar("T")

# Records that are held at once, so that those of one app come together however they are ordered: some 100 MB.
WINDOW: Final = 200_000
AN_ACT: Final = 50  # a few milliseconds of a server that does one thing at a time
A_CALL: Final = 500  # some hundredths of a second of the lock that revocations wait for too

# Seconds before each further try. A long import is to outlast a busy or restarting store.
PAUSES: Final = (0.1, 0.4, 1.5)

Batch = list[tuple[str, Sequence[T]]]  # records by app; an app with many stands there several times


def batches(by_app: Mapping[str, Sequence[T]]) -> Iterator[Batch[T]]:
    """The records in pieces, those of an app in their order."""
    batch: Batch[T] = []
    size = 0
    for app_id, records in by_app.items():
        for start in range(0, len(records), AN_ACT):
            piece = records[start : start + AN_ACT]
            batch.append((app_id, piece))
            size += len(piece)
            if size >= A_CALL:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


class HasChanges(Protocol):
    """What a rule found: what is to be kept, and more that is told."""

    @property
    def changes(self) -> Changes:
        """What is to be kept."""


FoundT = TypeVar("FoundT", bound=HasChanges)


class Verdict(Generic[FoundT]):
    """Decides an act, and remembers what was found last: a store may ask several times, and keeps the last answer."""

    last: FoundT

    def __init__(self, judge: Callable[[Snapshot], FoundT]) -> None:
        self._judge = judge

    def __call__(self, snapshot: Snapshot) -> Changes:
        self.last = self._judge(snapshot)
        return self.last.changes


async def acted(store: Store, acts: Sequence[Act]) -> list[Done]:
    """What came of acts that refuse nothing and change nothing the second time: they are done again while the store is
    away for a moment, or its answer was lost."""
    for pause in PAUSES:
        try:
            return _all_done(await store.act(acts))
        except StoreBroken:
            raise
        except StoreUnavailable:
            await asyncio.sleep(pause)
    return _all_done(await store.act(acts))


def _all_done(outcomes: Sequence[Done | ActRefused]) -> list[Done]:
    done = []
    for outcome in outcomes:
        if isinstance(outcome, ActRefused):
            raise outcome
        done.append(outcome)
    return done
