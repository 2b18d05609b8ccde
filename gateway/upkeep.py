"""What a gateway does beside its requests: notes when keys were used, lets the store forget what ended long ago, and
says what is not well meanwhile."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from gateway.store.contract import Store, StoreUnavailable, Use

_log: Final = structlog.get_logger()

# What a restart may lose of "last used", against one small transaction each time.
NOTE_SECONDS: Final = 5.0
# What is swept has ended a day ago or earlier, so that nobody waits for it.
SWEEP_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 1.0  # a look at a list in memory

_WAITING: Final = 100_000  # counts that are kept for a store that is away: some 20 MB

_NUMBER: Final = re.compile(r"(?<=[ (])[0-9]+(?:\.[0-9]+)?(?= )")  # a count or a length of time, and no address


async def note_uses(store: Store, taken: Callable[[], dict[str, int]], every: float = NOTE_SECONDS) -> None:
    """Write now and then when keys were last used; when it is cancelled, once more. `taken` gives what is new."""
    try:
        while True:
            await asyncio.sleep(every)
            await _write_uses(store, taken())
    finally:
        await _write_uses(store, taken())


async def _write_uses(store: Store, used: dict[str, int]) -> None:
    if not used:
        return
    try:
        await store.note_used(used)
    except StoreUnavailable as error:
        _log.warning("last use of keys was not noted", keys=len(used), error=str(error))


async def count_uses(store: Store, taken: Callable[[], Mapping[Use, int]], every: float = NOTE_SECONDS) -> None:
    """Add now and then to the counts of what keys were used for; when it is cancelled, once more. What the store did
    not take is added later: a scope that was used while it was away must not count as unused."""
    waiting: Counter[Use] = Counter()
    try:
        while True:
            await asyncio.sleep(every)
            await _add_uses(store, waiting, taken())
    finally:
        await _add_uses(store, waiting, taken())


async def _add_uses(store: Store, waiting: Counter[Use], taken: Mapping[Use, int]) -> None:
    waiting.update(taken)
    if not waiting:
        return
    try:
        await store.note_uses(waiting)
    except StoreUnavailable as error:
        _log.warning("what keys were used for was not noted", counts=len(waiting), error=str(error))
        if len(waiting) <= _WAITING:
            return
    waiting.clear()


async def sweep(store: Store, every: float = SWEEP_SECONDS) -> None:
    """Let the store forget, now and then, what has ended long ago; while it is away, later."""
    while True:
        await asyncio.sleep(every)
        with suppress(StoreUnavailable):
            await store.sweep()


async def tell_warnings(warnings: Callable[[], Iterable[str]], every: float = LOOK_SECONDS) -> None:
    """Log each warning when it begins and when it ends; not when only a number in it has changed."""
    told: dict[str, str] = {}
    while True:
        now = {_NUMBER.sub("", sentence): sentence for sentence in warnings()}
        for shape in sorted(now.keys() - told.keys()):
            _log.warning("not as it should be", warning=now[shape])
        for shape in sorted(told.keys() - now.keys()):
            _log.info("as it should be again", warning=told[shape])
        told = now
        await asyncio.sleep(every)


def warnings_of(store: Store) -> list[str]:
    """What is not well with a store while it answers all the same; one that is away warns of nothing."""
    try:
        return store.warnings()
    except StoreUnavailable:
        return []
