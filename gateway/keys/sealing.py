"""Sealing what the audit has not sealed yet, and holding chains against their seals."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway.core.audit import Numbered, Seal
from gateway.core.seal import AuditBroken, Checker, Finding, Judge, Run, event_bytes, signed_bytes
from gateway.store.contract import Store, StoreBroken

RUN_LENGTH: Final = 1000  # events under one seal, all of which are held in memory while it is made
_STRETCH: Final = 50  # events that are taken in before others of the process have their turn: less than a millisecond


# For each chain, the seals that the log tells of: the last event of each, and its digest; in order.
Told = Mapping[str, Sequence[tuple[int, str]]]


class Signs(Protocol):
    """What signs seals: gateway/keys/signing.py."""

    @property
    def fingerprint(self) -> str:
        """Whose signatures they are."""

    def sign(self, message: bytes) -> str:
        """A signature over a message."""


async def sealing(store: Store, signer: Signs | None, at: int) -> AsyncIterator[Seal]:
    """Seal every event of the store's own chains that is there and not sealed yet; each new seal as soon as it is kept.

    Several processes may do it at once: each run of events gets one seal. A chain that cannot be read is told of after
    the others.
    """
    broken: StoreBroken | None = None
    for chain in await store.unsealed():
        try:
            async for seal in _sealing(store, chain, signer, at):
                yield seal
        except StoreBroken as error:
            broken = error
    if broken is not None:
        raise broken


async def _sealing(store: Store, chain: str, signer: Signs | None, at: int) -> AsyncIterator[Seal]:
    before = await store.last_seal(chain)
    async for last, events in _runs(store.events(chain, 0 if before is None else before.last)):
        seal = _sealed(Seal(chain, 1 if before is None else before.last + 1, last, at, ""), before, events, signer)
        if not await store.append_seal(seal):
            return  # another process seals this chain
        yield seal
        before = seal


async def _runs(events: AsyncIterator[Numbered]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The number of the last event of each run, and the events of the run as they are sealed."""
    last, run = 0, []
    async for numbered in _gently(events):
        last = numbered.number
        run.append(event_bytes(numbered))
        if len(run) == RUN_LENGTH:
            yield last, run
            run = []
    if run:
        yield last, run


def _sealed(head: Seal, before: Seal | None, events: Sequence[bytes], signer: Signs | None) -> Seal:
    run = Run(before, head)
    for event in events:
        run.add(event)
    seal = replace(head, digest=run.digest())
    if signer is None:
        return seal
    return replace(seal, signature=signer.sign(signed_bytes(seal)), signer=signer.fingerprint)


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What was found of one chain: how far it is whole, and the first thing that is wrong.

    `unsealed` are the events after the last seal, the oldest of them made at `unsealed_since`. With a finding, the
    other counts are of what comes before it.
    """

    chain: str
    events: int
    seals: int
    signed: int
    unsealed: int
    unsealed_since: int | None
    finding: Finding | None


async def verify(store: Store, judge: Judge | None = None, told: Told | None = None) -> AsyncIterator[ChainReport]:
    """Read every chain and hold it against its seals, and these against what the log tells of them.

    The store may be at work meanwhile. Memory stays bounded.
    """
    told = told or {}
    own = f"{await store.identity()}/"
    # A log may tell of other stores, too; a chain of this store that the log alone knows was lost as a whole.
    for chain in sorted({*await store.chains(), *(chain for chain in told if chain.startswith(own))}):
        checker = Checker(chain, judge, told.get(chain, ()))
        finding = None
        unsealed: tuple[int, int | None]
        try:
            await _check(store, checker)
            unsealed = (checker.unsealed, checker.unsealed_since)
        except AuditBroken as broken:
            finding = broken.finding
            unsealed = await _unsealed(store, chain)
        yield ChainReport(chain, checker.events, checker.seals, checker.signed, *unsealed, finding)


async def _check(store: Store, checker: Checker) -> None:
    events = _all_events(store, checker.chain)
    try:
        async for seal in store.seals(checker.chain):
            checker.seal(seal)
            while checker.wants and (numbered := await anext(events, None)) is not None:
                checker.event(numbered)
        async for numbered in events:
            checker.event(numbered)
    except StoreBroken as error:
        checker.unreadable(str(error))
    checker.end()


async def _all_events(store: Store, chain: str) -> AsyncIterator[Numbered]:
    """All events of a chain, those too that come while it is read: a seal may be newer than the end of a list."""
    last, more = 0, True
    while more:
        more = False
        async for numbered in _gently(store.events(chain, last)):
            last, more = numbered.number, True
            yield numbered


async def _unsealed(store: Store, chain: str) -> tuple[int, int | None]:
    count, since = 0, None
    try:
        seal = await store.last_seal(chain)
        async for numbered in _gently(store.events(chain, 0 if seal is None else seal.last)):
            count, since = count + 1, since or numbered.event.at
    except StoreBroken:  # which is what was found
        pass
    return count, since


async def _gently(events: AsyncIterator[Numbered]) -> AsyncIterator[Numbered]:
    """The same events, with the others of the process having their turn in between."""
    place = 0
    async for numbered in events:
        place += 1
        if place % _STRETCH == 0:
            await asyncio.sleep(0)
        yield numbered
