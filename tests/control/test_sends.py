"""Notices on their way: whatever happens to one, or to who sends them, the others come to their end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.control.sends import AT_ONCE, Sends
from tests.support.waiting import eventually


@dataclass
class Road:
    """Counts who is on it, and lets them arrive when told to."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    on_it: int = 0
    arrived: int = 0

    async def walk(self) -> None:
        """From one end to the other."""
        self.on_it += 1
        await self.opened.wait()
        self.arrived += 1


@asynccontextmanager
async def at_work(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Task[None]]:
    """The work as a task, which has ended at the end of the block."""
    task = asyncio.create_task(work())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_so_many_at_once_and_no_more() -> None:
    """A mail server would be asked by thousands at once, or mails be sent one after the other."""
    road = Road()

    async def work() -> None:
        async with Sends() as sends:
            for number in range(3 * AT_ONCE):
                sends.start("mail", f"{number}", road.walk)

    async with at_work(work) as task:
        await eventually(lambda: road.on_it == AT_ONCE)
        await asyncio.sleep(0)
        assert road.on_it == AT_ONCE
        road.opened.set()
        await task
    assert road.arrived == 3 * AT_ONCE


async def test_a_fault_cuts_nothing_off() -> None:
    """A mail that its server has taken would be sent again, as the store went away while others were looked for."""
    road = Road()

    async def work() -> None:
        async with Sends() as sends:
            sends.start("mail", "one", road.walk)
            raise LookupError

    async with at_work(work) as task:
        await eventually(lambda: road.on_it == 1)
        assert not task.done()
        road.opened.set()
        with pytest.raises(LookupError):
            await task
    assert road.arrived == 1


@pytest.mark.parametrize("busy", [1, AT_ONCE + 1])
async def test_the_end_of_a_gateway_cuts_nothing_off(busy: int) -> None:
    """At each restart of a gateway people would get mails twice."""
    road = Road()

    async def work() -> None:
        async with Sends() as sends:
            for number in range(busy):
                sends.start("mail", f"{number}", road.walk)

    async with at_work(work) as task:
        await eventually(lambda: road.on_it == min(busy, AT_ONCE))
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        road.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert road.arrived == road.on_it == min(busy, AT_ONCE)


async def test_a_full_road_holds_up_no_other() -> None:
    """A mail server that says nothing would keep the webhooks waiting, and whoever looks for what is due."""
    mails, hooks = Road(), Road()

    async def work() -> None:
        async with Sends() as sends:
            for number in range(2 * AT_ONCE):
                sends.start("mail", f"mail {number}", mails.walk)
            sends.start("hook", "hook", hooks.walk)

    async with at_work(work) as task:
        hooks.opened.set()
        await eventually(lambda: hooks.arrived == 1)
        assert (mails.on_it, mails.arrived) == (AT_ONCE, 0)
        mails.opened.set()
        await task
    assert mails.arrived == 2 * AT_ONCE


async def test_what_is_on_its_way_is_not_begun_again() -> None:
    """Each look would add the same notice to those that wait, until there is no memory left."""
    road = Road()

    async def work() -> None:
        async with Sends() as sends:
            for _ in range(5):
                sends.start("mail", "one", road.walk)

    async with at_work(work) as task:
        await eventually(lambda: road.on_it == 1)
        road.opened.set()
        await task
    assert road.on_it == 1
