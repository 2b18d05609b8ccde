"""The rules of notices: what is to be told to whom by which channel, once each; the ledger of what was.

A row is claimed before it is sent, by an act, and settled afterwards: whoever holds a living claim sends alone. So two
mails are sent for one row only when a sender dies between the server's word and its own note of it.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final

import orjson

from gateway.core.incidents import Incident, IncidentState, incident_of
from gateway.core.ledger import Asked, Changes, Item, ItemKey, ItemKind, Snapshot
from gateway.core.records import KeyRecord, works
from gateway.core.wishes import DAY

# For one notice: longer than any sender waits for the slowest server. RFC 5321 4.5.3.2.6 lets it take ten minutes for
# its word on a mail, and whoever waits less sends again what it then takes.
LEASE: Final = 15 * 60 * 1000
FIRST_PAUSE: Final = 60 * 1000  # before the second try; each further one takes twice as long, up to
LONGEST_PAUSE: Final = 6 * 60 * 60 * 1000
KEPT: Final = 30 * DAY  # how long after its key's end a row is still listed


class Mark(StrEnum):
    """On what occasion somebody is told."""

    TWO_WEEKS = "14d"
    ONE_WEEK = "7d"
    LEAK = "leak"  # nothing was ended: its id alone was seen, or it had ended before
    LEAK_ENDED = "leak_ended"


_LEAKS: Final = frozenset({Mark.LEAK, Mark.LEAK_ENDED})

# How long before its end a key is told of; nearest first.
BEFORE: Final = ((Mark.ONE_WEEK, 7 * DAY), (Mark.TWO_WEEKS, 14 * DAY))


class Channel(StrEnum):
    """By what somebody is told."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class NoticeState(StrEnum):
    """How far a notice is."""

    CLAIMED = "claimed"
    WAITING = "waiting"  # for the next try
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is to be told of what: `subject` is a key's id or an incident's, `recipient` the audit's name for a person or
    a webhook's name. `occasion` tells the openings of an incident apart. After `ends_at`, if any, nobody is told."""

    app_id: str
    subject: str
    mark: Mark
    recipient: str
    channel: Channel
    occasion: int = 0
    ends_at: int | None = None

    @property
    def id(self) -> str:
        """The id of the one row that there is of it."""
        parts = f"{self.subject}\n{self.mark}\n{self.occasion}\n{self.channel}\n{self.recipient}"
        return self.app_id[:2] + hashlib.sha256(parts.encode()).hexdigest()[:30]

    @property
    def key(self) -> ItemKey:
        """Where the row is kept."""
        return ItemKind.NOTICE, self.id

    @property
    def asked(self) -> Asked:
        """What a claim has to see: the row, and what it is about."""
        if self.mark in _LEAKS:
            return Asked(self.app_id, items=(self.key, (ItemKind.INCIDENT, self.subject)))
        return Asked(self.app_id, keys=(self.subject,), items=(self.key,))


@dataclass(frozen=True, slots=True)
class Notice:
    """A row of the ledger. `until` is when a claim ends, or when the next try is due; `error` says, in one word, what
    the last try failed by, and `code` the server's own number for it; `made_at` when it was claimed first."""

    wanted: Wanted
    state: NoticeState
    holder: str
    until: int
    attempts: int
    changed_at: int
    made_at: int
    error: str = ""
    code: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try: sent, failed for good, or to be tried again. `error` is one word, `code` the server's."""

    state: NoticeState
    error: str = ""
    code: int = 0


SENT: Final = Outcome(NoticeState.SENT)


def due_mark(key: KeyRecord, now: int) -> Mark | None:
    """The mark that a key's developers are to be told at, if any: the nearest one only, none of a key that has ended or
    has a successor, and none that the key was too short-lived to have before it."""
    if key.successor is not None or not works(key, now):
        return None
    mark, before = next(((mark, before) for mark, before in BEFORE if key.expires_at - now <= before), (None, 0))
    return mark if key.expires_at - key.created_at > before else None


def opened(incident: Incident) -> int | None:
    """When an incident was opened, the last time, while it is open: the occasion that its notices are for."""
    return incident.changed_at if incident.state is IncidentState.OPEN else None


def leak_mark(incident: Incident) -> Mark:
    """The mark of an incident: should the credential be ended later than the incident was opened, that is told too."""
    return Mark.LEAK_ENDED if incident.ended else Mark.LEAK


def claim(seen: Snapshot, wanted: Wanted, holder: str, now: int) -> Changes:
    """A claim on the row; nothing when somebody else has one, when it is settled, or when there is nothing to tell any
    more. The time is the teller's, as it decided by what is due, and not the store's."""
    before = _row(seen, wanted)
    if not _is_due(seen, wanted, now) or (before is not None and not is_open(before, now)):
        return Changes()
    attempts, made_at = (1, now) if before is None else (before.attempts + 1, before.made_at)
    return _kept(Notice(wanted, NoticeState.CLAIMED, holder, now + LEASE, attempts, now, made_at))


def settle(seen: Snapshot, wanted: Wanted, holder: str, outcome: Outcome, now: int) -> Changes:
    """What came of it; nothing when the claim is no longer the holder's."""
    row = _row(seen, wanted)
    if row is None or row.state is not NoticeState.CLAIMED or row.holder != holder:
        return Changes()
    pause = min(FIRST_PAUSE << min(row.attempts - 1, 20), LONGEST_PAUSE)
    until = now + pause if outcome.state is NoticeState.WAITING else 0
    return _kept(replace(row, state=outcome.state, until=until, changed_at=now, error=outcome.error, code=outcome.code))


def is_open(row: Notice, now: int) -> bool:
    """Whether somebody may claim the row now."""
    return not is_settled(row) and row.until <= now


def is_settled(row: Notice) -> bool:
    """Whether nothing more is to come of the row."""
    return row.state in {NoticeState.SENT, NoticeState.FAILED}


def item_of(row: Notice) -> Item:
    """The row as it is kept."""
    ends_at = None if row.wanted.ends_at is None else row.wanted.ends_at + KEPT
    return Item(*row.wanted.key, row.wanted.app_id, orjson.dumps(asdict(row)).decode(), ends_at)


def notice_of(item: Item) -> Notice:
    """The row that `item_of` wrote. Raises `ValueError` for anything else."""
    try:
        values = orjson.loads(item.text)
        told = values["wanted"]
        wanted = Wanted(**{**told, "mark": Mark(told["mark"]), "channel": Channel(told["channel"])})
        row = Notice(**{**values, "wanted": wanted, "state": NoticeState(values["state"])})
        # What is written anew is the same only if every value was of its type and in its place.
        if _is_whole(row) and item_of(row) == item:
            return row
    except (TypeError, KeyError, ValueError):
        pass
    raise ValueError("not a notice")


def _is_whole(row: Notice) -> bool:
    wanted = row.wanted
    texts = (wanted.app_id, wanted.subject, wanted.recipient, row.holder, row.error)
    numbers = (row.until, row.attempts, row.changed_at, row.made_at, row.code, wanted.occasion, wanted.ends_at or 0)
    return all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)


def _is_due(seen: Snapshot, wanted: Wanted, now: int) -> bool:
    if seen.app is None:
        return False
    if wanted.mark in _LEAKS:
        item = seen.items.get((ItemKind.INCIDENT, wanted.subject))
        incident = None if item is None else incident_of(item)
        return incident is not None and opened(incident) == wanted.occasion and leak_mark(incident) is wanted.mark
    key = seen.keys.get(wanted.subject)
    return key is not None and due_mark(key, now) is wanted.mark


def _row(seen: Snapshot, wanted: Wanted) -> Notice | None:
    item = seen.items.get(wanted.key)
    return None if item is None else notice_of(item)


def _kept(row: Notice) -> Changes:
    return Changes(items=(item_of(row),))
