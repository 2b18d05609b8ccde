"""How many ids alone are flagged: whoever can publish texts can publish ids, which prove nothing and end nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

AT_ONCE: Final = 100  # as many credentials as somebody may have listed in one file
# Of what comes after that: 1,440 a day, each a few kilobytes that a store keeps for good.
EACH_SECONDS: Final = 60.0


@dataclass(slots=True)
class Flagging:
    """Lets so many through at once, and then one at a time. `left_out` is how many it did not."""

    clock: Callable[[], float] = time.monotonic
    left_out: int = 0
    _room: float = float(AT_ONCE)
    _at: float = field(default=0.0)

    def __post_init__(self) -> None:
        self._at = self.clock()

    def take(self) -> bool:
        """Whether one more is let through now."""
        now = self.clock()
        self._room = min(AT_ONCE, self._room + (now - self._at) / EACH_SECONDS)
        self._at = now
        if self._room < 1:
            self.left_out += 1
            return False
        self._room -= 1
        return True
