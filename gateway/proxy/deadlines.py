"""Many deadlines, one timer.

A timer handle per request costs the event loop more than the request's own bookkeeping. Here a deadline is an
attribute: whoever has one sets it, and one periodic sweep finds those that have passed.
"""

import asyncio
import math
from typing import Final, Protocol

NEVER: Final = math.inf


class Expiring(Protocol):
    """Something with a deadline, told apart by identity."""

    deadline: float
    """In the event loop's time, seconds; `NEVER` while there is none."""

    def expire(self) -> None:
        """The deadline has passed: act, and set a new deadline. Called again at each sweep until it lies ahead."""


class Deadlines:
    """Calls `expire` of every item soon after its deadline, at most one tick late."""

    __slots__ = ("_items", "_tick", "_timer")

    def __init__(self, tick: float = 0.25) -> None:
        self._tick = tick
        self._items: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Sweep from now on, in the running event loop, until `close`."""
        self._wind(asyncio.get_running_loop())

    def close(self) -> None:
        """No item expires any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def add(self, item: Expiring) -> None:
        """Watch an item's deadline until it is discarded."""
        self._items.add(item)

    def discard(self, item: Expiring) -> None:
        """Watch an item no longer; one that was never added is ignored."""
        self._items.discard(item)

    def sweep(self, now: float) -> None:
        """Every item whose deadline is `now` or earlier is told once; one that fails does not spare the others."""
        for item in [item for item in self._items if item.deadline <= now]:
            if item not in self._items:  # another's end was its end too
                continue
            try:
                item.expire()
            except Exception as error:  # noqa: BLE001 - reported; the other items' deadlines hold all the same
                asyncio.get_running_loop().call_exception_handler({"message": "expire() failed", "exception": error})

    def _wind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._tick, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wind(loop)
        self.sweep(loop.time())
