"""The time of a running gateway, which never goes back and never stands still."""

import time
from collections.abc import Callable


class Clock:
    """UTC milliseconds: the wall clock's, or the latest that it ever showed and the time that has passed since.

    So a clock that is set back neither revives what has ended nor makes anything live longer. `wall` is nanoseconds
    since 1970, which may jump; `monotonic` nanoseconds since anything, which may not.
    """

    __slots__ = ("_lead", "_monotonic", "_wall")

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lead = wall() - monotonic()  # the largest that the one ever had over the other

    def ahead(self) -> int:
        """By how many milliseconds this time is ahead of the wall clock, which was set back since."""
        return self() - self._wall() // 1_000_000

    def __call__(self) -> int:
        # The wall clock first: should the process be stopped between the two, the lead is found too small, and passed
        # over, rather than too large for ever.
        wall = self._wall()
        now = self._monotonic()
        lead = wall - now
        if lead > self._lead:
            self._lead = lead
        else:
            lead = self._lead
        return (now + lead) // 1_000_000
