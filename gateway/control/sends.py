"""Several notices on their way at once, none of which is cut off half-way by a fault of another, or held up by one that
goes another way."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

AT_ONCE: Final = 8  # on one road: enough to be through with thousands of mails in minutes, and few for any server
MOST: Final = 10_000  # on their way or waiting for it, a few kilobytes each
# What is left of the time that Kubernetes grants by default before it kills.
STOP_SECONDS: Final = 25.0


class Sends:
    """Runs what it is given, `AT_ONCE` at a time on each road, to its end.

    At the end of the block it waits for all, whether or not the block failed: a mail that is cut off may have been
    taken by its server, and would be sent a second time. Only when the gateway is to end it begins nothing any more,
    and waits no longer than `STOP_SECONDS`.
    """

    def __init__(self) -> None:
        self._rooms: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._started: dict[str, asyncio.Task[None]] = {}
        self._on_the_way: set[str] = set()

    def start(self, road: str, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run this, which raises nothing, as soon as there is room on its road. Nothing is done if something of that
        name was started and has not ended, or if too much was: whoever looks again later starts it then."""
        if name in self._started or len(self._started) >= MOST:
            return
        task = self._started[name] = asyncio.create_task(self._sent(road, name, work))
        task.add_done_callback(lambda _: self._started.pop(name))

    async def _sent(self, road: str, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._rooms[road]:
            self._on_the_way.add(name)
            try:
                await work()
            finally:
                self._on_the_way.discard(name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            await self._stopped()
            return
        try:
            while self._started:
                await asyncio.wait(self._started.values())
        except asyncio.CancelledError:
            await self._stopped()
            raise

    async def _stopped(self) -> None:
        for name, task in self._started.items():
            if name not in self._on_the_way:
                task.cancel()
        if not self._started:
            return
        _, late = await asyncio.wait(self._started.values(), timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
