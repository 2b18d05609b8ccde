"""What a gateway does beside its requests."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.store.contract import REQUESTS, Store, StoreUnavailable, Use
from gateway.store.open import open_store
from gateway.upkeep import count_uses, note_uses, tell_warnings, warnings_of
from tests.support.minting import a_key, an_app, id_of
from tests.support.waiting import eventually

SOON = 0.01
NEVER = 1000.0


@asynccontextmanager
async def running(chore: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """A chore that runs, until it is cancelled."""
    task = asyncio.create_task(chore)
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty store."""
    made = open_store("memory:")
    yield made
    await made.close()


class Uses:
    """When keys were used, as an authenticator gathers it."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}

    def taken(self) -> dict[str, int]:
        used, self.used = self.used, {}
        return used


@pytest.mark.parametrize("every", [SOON, NEVER], ids=["now-and-then", "at-the-end"])
async def test_uses_are_noted(store: Store, every: float) -> None:
    """Nobody could tell which keys are in use, or a restart would lose when they were."""
    key_id = id_of(await a_key(store, await an_app(store)))
    uses = Uses()
    async with running(note_uses(store, uses.taken, every)):
        uses.used[key_id] = 1234
        if every == SOON:
            await eventually(lambda: not uses.used)
            uses.used[key_id] = 2345

    assert await store.last_used([key_id]) == {key_id: 2345 if every == SOON else 1234}


class Full:
    """A store that can keep no use."""

    def __init__(self) -> None:
        self.asked = 0

    async def note_used(self, used: dict[str, int]) -> None:
        assert used
        self.asked += 1
        raise StoreUnavailable("The disk is full.")

    def warnings(self) -> list[str]:
        raise StoreUnavailable("The disk is full.")


async def test_uses_that_cannot_be_noted() -> None:
    """A disk that is full for a while would end the noting for good, and nobody would be told."""
    full: Any = Full()
    uses = Uses()
    with capture_logs() as said:
        async with running(note_uses(full, uses.taken, SOON)):
            for number in range(2):
                uses.used["aa01020304050607"] = 1
                await eventually(lambda expected=number + 1: full.asked == expected)

    assert [(line["event"], line["keys"], line["error"]) for line in said] == [
        ("last use of keys was not noted", 1, "The disk is full.")
    ] * 2


async def told(*states: list[str]) -> list[tuple[str, str]]:
    """What is said, and how loudly, while these warnings hold one after the other."""
    now, looks = states[0], 0

    def warnings() -> list[str]:
        nonlocal looks
        looks += 1
        return now

    with capture_logs() as said:
        async with running(tell_warnings(warnings, SOON)):
            for state in states:
                now, start = state, looks
                await eventually(lambda start=start: looks > start + 2)
    return [(line["log_level"], line["warning"]) for line in said]


async def test_warnings_are_told_when_they_begin_and_end() -> None:
    """An operator would not learn that the store is badly set up, or would find it in the log every second."""
    assert await told(["One."], ["Two.", "One."], ["Two."]) == [
        ("warning", "One."),
        ("warning", "Two."),
        ("info", "One."),
    ]


async def test_a_number_that_changes_is_no_other_warning() -> None:
    """The log would fill with how many seconds a clock is off now."""
    off = "The clock of 10.0.0.1:{} is {} seconds ahead ({} times)."

    assert await told([off.format(7001, 2.3, 1)], [off.format(7001, 12, 2)], [off.format(7002, 12, 2)]) == [
        ("warning", off.format(7001, 2.3, 1)),
        ("warning", off.format(7002, 12, 2)),
        ("info", off.format(7001, 12, 2)),
    ]


def test_a_store_that_is_away_warns_of_nothing() -> None:
    """The answer of /ready would end in a fault because the store is away."""
    full: Any = Full()

    assert warnings_of(full) == []


@pytest.mark.parametrize("every", [SOON, NEVER], ids=["now-and-then", "at-the-end"])
async def test_counts_are_added(store: Store, every: float) -> None:
    """A restart would lose what keys were used for, or a store that was away would never learn it."""
    key_id = id_of(await a_key(store, await an_app(store)))
    use: Use = (key_id, 20_000, REQUESTS)
    waiting = [{use: 2}, {use: 3}]
    away: Any = Away(store)
    with capture_logs() as logs:
        async with running(count_uses(away, lambda: waiting.pop() if waiting else {}, every)):
            if every == SOON:
                await eventually(lambda: bool(logs) and not waiting)
            away.away = False
        await eventually(lambda: not waiting or every == NEVER)
    expected = 5 if every == SOON else 3
    assert await store.uses([key_id]) == {use: expected}


class Away:
    """A store that takes no counts while it is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = True

    async def note_uses(self, uses: Any) -> None:
        if self.away:
            raise StoreUnavailable("The disk is full.")
        await self._store.note_uses(uses)
