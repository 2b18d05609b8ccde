"""What keys are used for, counted in memory until it is written to the store."""

from typing import Final, Protocol

from gateway.core.principal import KeyPrincipal, Principal
from gateway.store.contract import REFUSED, REQUESTS, Use

# Keys times what they ask for; whoever asks for something else each time only makes the counting slower.
_ENTRIES: Final = 10_000


class Demand(Protocol):
    """What a request demanded of a key; hashable, and told from others at no cost."""

    def used(self, held: frozenset[str]) -> frozenset[str]:
        """The scopes of a key that holds these which it took."""


class Uses:
    """Counts by key and scope at the cost of one look-up a request, and in bounded memory."""

    __slots__ = ("_counts", "_entries", "_folded", "_held")

    def __init__(self, entries: int = _ENTRIES) -> None:
        self._entries = entries
        self._counts: dict[tuple[str, Demand], list[int]] = {}  # a list of one, so that adding takes one look-up
        self._held: dict[str, frozenset[str]] = {}
        self._folded: dict[tuple[str, str], int] = {}

    def allowed(self, principal: Principal, demand: Demand) -> None:
        """Count a request that was allowed; users' are not counted."""
        if not isinstance(principal, KeyPrincipal):
            return
        place = principal.key_id, demand
        count = self._counts.get(place)
        if count is not None:
            count[0] += 1
            return
        if len(self._counts) >= self._entries:
            self._fold()
        self._counts[place] = [1]
        self._held[principal.key_id] = principal.scopes

    def refused(self, key_id: str) -> None:
        """Count a key that was presented, whole, after its end."""
        self._add(key_id, REFUSED, 1)

    def take(self, day: int) -> dict[Use, int]:
        """What was counted since the last time; all of it counts for this day."""
        self._fold()
        folded, self._folded = self._folded, {}
        return {(key_id, day, what): count for (key_id, what), count in folded.items()}

    def _fold(self) -> None:
        counts, self._counts = self._counts, {}
        held, self._held = self._held, {}
        for (key_id, demand), (count,) in counts.items():
            for what in (REQUESTS, *demand.used(held[key_id])):
                self._add(key_id, what, count)

    def _add(self, key_id: str, what: str, count: int) -> None:
        place = key_id, what
        self._folded[place] = self._folded.get(place, 0) + count
