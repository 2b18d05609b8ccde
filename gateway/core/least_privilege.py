"""What keys hold and do not use: from their scopes and the counts of their uses to advice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.records import KeyRecord, works
from gateway.core.wishes import DAY

EVIDENCE_DAYS: Final = 90  # as far back as uses are counted
LEAST_DAYS: Final = 7  # a job that runs once a week has run
IDLE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Advice:
    """What a key could do without. `days` is for how many days its uses are known; `idle` says that it was not used at
    all for `IDLE_DAYS`; `command` does what is advised, where it can be done.

    `used` and `unused` are its scopes, in order; of an idle key all are unused.
    """

    key: KeyRecord
    days: int
    used: tuple[str, ...]
    unused: tuple[str, ...]
    idle: bool
    last_used: int | None
    command: str | None


def knows_idle(noted_since: int | None, now: int) -> bool:
    """Whether use has been noted for long enough to tell that a key was not used."""
    return noted_since is not None and now - noted_since >= IDLE_DAYS * DAY


def advice_for(
    key: KeyRecord, uses: Mapping[tuple[int, str], int], last_used: int | None, noted_since: int | None, now: int
) -> Advice | None:
    """What is advised for a key that works; None where it uses what it holds, or too little is known of it.

    `uses` are counts by day and scope. They tell of the time since the first of them: a key may be older than the
    counting. That there are none tells something only of the time in which use was noted at all. A key with a successor
    is on its way out, and nothing is advised for it.
    """
    if not works(key, now) or key.successor is not None:
        return None
    today = now // DAY
    seen = [day for day, _ in uses]
    days = min(today - min(seen) + 1, EVIDENCE_DAYS) if seen else 0
    touched = max(key.created_at, last_used or 0, max(seen, default=0) * DAY)
    if knows_idle(noted_since, now) and now - touched >= IDLE_DAYS * DAY:
        scopes = tuple(sorted(key.scopes))
        return Advice(key, days, (), scopes, True, last_used, f"gateway keys revoke {key.id}")
    taken = {what for day, what in uses if day > today - EVIDENCE_DAYS}
    used, unused = tuple(sorted(key.scopes & taken)), tuple(sorted(key.scopes - taken))
    if days < LEAST_DAYS or not unused:
        return None
    # A key that needs no scope at all cannot be had: one scope is the least that it holds.
    command = f"gateway keys rotate {key.id} --scopes {','.join(used)}" if used else None
    return Advice(key, days, used, unused, False, last_used, command)
