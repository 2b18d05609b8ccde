"""Several notices on their way at once, none of which is cut off half-way by a fault of another."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

AT_ONCE: Final = 8  # enough to be through with thousands of mails in minutes, and few for any server
# What is left of the time that Kubernetes grants by default before it kills.
STOP_SECONDS: Final = 25.0


class Sends:
    """Runs what it is given, `AT_ONCE` at a time, to its end.

    At the end of the block it waits for all, whether or not the block failed: a mail that is cut off may have been
    taken by its server, and would be sent a second time. Only when the gateway is to end it waits no longer than
    `STOP_SECONDS`.
    """

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this, which raises nothing, as soon as there is room."""
        try:
            await self._room.acquire()
        except asyncio.CancelledError:
            work.close()
            raise
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            await self._stopped()
            return
        try:
            while self._running:
                await asyncio.wait(self._running)
        except asyncio.CancelledError:
            await self._stopped()
            raise

    async def _stopped(self) -> None:
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
