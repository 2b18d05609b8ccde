"""Deadlines: whoever waits too long is told, and nobody else."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.proxy.deadlines import NEVER, Deadlines


class Item:
    """Counts how often it expired, and may do something about it."""

    def __init__(self, deadline: float, then: Callable[["Item"], object] = lambda _: None) -> None:
        self.deadline = deadline
        self.expired = 0
        self._then = then

    def expire(self) -> None:
        self.expired += 1
        self._then(self)


@pytest.mark.parametrize(
    ("deadline", "expired"),
    [(9.0, 1), (10.0, 1), (10.001, 0), (NEVER, 0)],
    ids=["past", "now", "ahead", "none"],
)
def test_a_sweep_tells_whose_deadline_is_not_ahead(deadline: float, expired: int) -> None:
    """A connection would be closed before its time, or never."""
    deadlines, item = Deadlines(), Item(deadline)
    deadlines.add(item)

    deadlines.sweep(10.0)

    assert item.expired == expired


def test_an_item_is_told_again_until_it_moves_its_deadline() -> None:
    """A client that stands still would be looked at once and then forgotten."""
    deadlines = Deadlines()
    still, moving = Item(0.0), Item(0.0, lambda item: setattr(item, "deadline", 3.0))
    deadlines.add(still)
    deadlines.add(moving)

    for now in (1.0, 2.0, 3.0):
        deadlines.sweep(now)

    assert (still.expired, moving.expired) == (3, 2)


def test_a_discarded_item_is_left_alone() -> None:
    """A connection that is gone would be closed again, perhaps with another's request on it."""
    deadlines, item = Deadlines(), Item(0.0)
    deadlines.add(item)
    deadlines.discard(item)
    deadlines.discard(item)

    deadlines.sweep(1.0)

    assert item.expired == 0


def test_an_item_discarded_within_a_sweep_is_left_alone() -> None:
    """The end of a client would end its upstream connection twice."""
    deadlines = Deadlines()
    items: list[Item] = []
    for _ in range(2):
        items.append(Item(0.0, lambda item: [deadlines.discard(other) for other in items if other is not item]))
        deadlines.add(items[-1])

    deadlines.sweep(1.0)

    assert [item.expired for item in items].count(1) == 1


async def test_a_failing_item_does_not_spare_the_others() -> None:
    """One fault of ours would switch off every time limit."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    deadlines = Deadlines()
    items = [Item(0.0, lambda _: 1 / 0) for _ in range(3)]
    for item in items:
        deadlines.add(item)

    deadlines.sweep(1.0)

    assert [item.expired for item in items] == [1, 1, 1]
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * 3


async def test_the_timer_sweeps_until_it_is_closed() -> None:
    """No time limit would ever hold, or they would hold on after the gateway has stopped."""
    loop = asyncio.get_running_loop()
    deadlines, told = Deadlines(tick=0.001), asyncio.Event()
    twice = Item(loop.time(), lambda item: told.set() if item.expired == 2 else None)
    deadlines.add(twice)
    deadlines.start()
    async with asyncio.timeout(20):
        await told.wait()
    deadlines.close()
    counted = twice.expired

    witness, seen = Deadlines(tick=0.02), asyncio.Event()
    witness.add(Item(loop.time(), lambda _: seen.set()))
    witness.start()
    async with asyncio.timeout(20):
        await seen.wait()  # by now the first timer would have rung many times
    witness.close()

    assert twice.expired == counted


def test_closing_what_was_not_started_is_nothing() -> None:
    """A gateway that fails to start would hide why behind a second fault."""
    Deadlines().close()
