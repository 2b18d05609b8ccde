"""Whether records belong together: no id for two things, nothing that belongs to what is not there, no app above its
ten places, no gap in the audit; and no times that cannot be.

A record may be told twice, as by a list that is read while it changes. Millions are held against each other by 64-bit
fingerprints, 8 bytes each; only when some of these do not fit are the records looked through again, for which they are.
"""

from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Final

from gateway.core.audit import AuditEvent, Numbered, Seal
from gateway.core.ledger import Item, ItemKind
from gateway.core.lifecycle import places
from gateway.core.portable import LastUsed, Portable
from gateway.core.records import DELETED, MAX_ACTIVE_KEYS, App, Developer, KeyRecord, User, UserTokenRecord, works
from gateway.core.times import LAST_MOMENT
from gateway.core.wishes import LONGEST_LIFETIME

_BUCKETS: Final = 64  # looked through one by one, so that little is held twice

# The times of each kind of record; of an event in its place, those of the event.
_TIMES: Final[Mapping[type, tuple[str, ...]]] = {
    kind: tuple(each.name for each in fields(kind) if each.name == "at" or each.name.endswith("_at"))
    for kind in (App, KeyRecord, User, UserTokenRecord, AuditEvent, Seal, LastUsed)
}
_ENDED: Final = frozenset({"cut_at", "revoked_at"})  # moments at which something was taken away
# Such a moment may lie ahead: clocks are set back, and cuts one after another push each other on.
_AHEAD: Final = LONGEST_LIFETIME


class Wholeness:
    """Told of all records by `take` and then `end`, and where `doubtful` says so by `point_out` once more, it gives the
    sentences that say what is wrong."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._there = _Fingerprints()
        self._needed = _Fingerprints()
        self._twice: set[int] = set()
        self._met: dict[Hashable, Hashable] = {}
        self._missing: set[int] = set()
        self._numbers: dict[tuple[type, str], int] = {}
        self._crowded: list[str] = []
        self._app_id = ""
        self._working: dict[str, KeyRecord] = {}

    def take(self, record: Portable) -> Iterator[str]:
        """What is wrong with a record, as far as it shows at once. The keys of one app come one after the other."""
        self._there.add(thing for thing, _ in _is(record))
        self._needed.add(_needs(record))
        yield from self._untimely(record)
        if isinstance(record, KeyRecord):
            self._count(record)
        elif isinstance(record, Numbered | Seal):
            yield from self._disorder(record)

    def end(self) -> Iterator[str]:
        """What shows when all records were told."""
        self._close_app()
        for app_id in self._crowded:
            yield f"The app {app_id} has more than {MAX_ACTIVE_KEYS} active keys."

    def doubtful(self) -> bool:
        """Whether something is there twice, or missing, and the records are to be told once more."""
        self._twice = self._there.repeated()
        self._missing = self._needed.less(self._there)
        return bool(self._twice or self._missing)

    def point_out(self, record: Portable) -> Iterator[str]:
        """What is wrong with a record, now that all are known."""
        twice = [(thing, whose) for thing, whose in _is(record) if hash(thing) in self._twice]
        if any(self._met.setdefault(thing, whose) != whose for thing, whose in twice):
            yield "Its id, or its user's external id, is there for something else too."
        if any(hash(thing) in self._missing for thing in _needs(record)):
            yield "What it belongs to is not there."

    def _count(self, key: KeyRecord) -> None:
        if key.app_id != self._app_id:
            self._close_app()
            self._app_id, self._working = key.app_id, {}
        if works(key, self._now):
            self._working[key.id] = key

    def _close_app(self) -> None:
        if places(self._working.values(), self._now) > MAX_ACTIVE_KEYS:
            self._crowded.append(self._app_id)

    def _untimely(self, record: Portable) -> Iterator[str]:
        for name, at in _times(record):
            if not 0 <= at <= LAST_MOMENT:
                yield f"Its {name} is not within the years 1970 to 9999."
            elif name in _ENDED and at > self._now + _AHEAD and not (isinstance(record, User) and at == DELETED):
                yield f"Its {name} lies more than a year ahead."
        if isinstance(record, KeyRecord | UserTokenRecord) and record.expires_at - record.created_at > LONGEST_LIFETIME:
            yield "It lives for longer than 366 days."
        if isinstance(record, User) and record.deleted and record.external_id is not None:
            yield "The user was deleted, and the external id was not erased."

    def _disorder(self, record: Numbered | Seal) -> Iterator[str]:
        """What is wrong with the place of an event or seal: each begins where the one before ended, at 1. All events of
        a chain come before its seals. Whether digests fit, which takes far longer, the audit's own check tells."""
        first, last = _span(record)
        before = self._numbers.get((type(record), record.chain), 0)
        what = "" if isinstance(record, Numbered) else "a seal over "
        if first <= before or last < first:
            yield "It is out of order in its chain."
        elif first > before + 1:
            yield f"Before it the chain {record.chain} lacks {what}{_events(before + 1, first - 1)}."
        if isinstance(record, Seal) and last > (there := self._numbers.get((Numbered, record.chain), 0)):
            yield f"It is over {_events(there + 1, last)}, which the chain {record.chain} lacks."
        self._numbers[type(record), record.chain] = max(before, last)


class _Fingerprints:
    """Which of very many things there are, each with a vanishing chance to be taken for another."""

    def __init__(self) -> None:
        self.buckets = [array("q") for _ in range(_BUCKETS)]

    def add(self, things: Iterable[Hashable]) -> None:
        for thing in things:
            fingerprint = hash(thing)
            self.buckets[fingerprint % _BUCKETS].append(fingerprint)

    def repeated(self) -> set[int]:
        """Those that were added more than once."""
        return {
            fingerprint
            for bucket in self.buckets
            if len(bucket) > len(set(bucket))
            for fingerprint, count in Counter(bucket).items()
            if count > 1
        }

    def less(self, others: "_Fingerprints") -> set[int]:
        """Those that are not among the others."""
        pairs = zip(self.buckets, others.buckets, strict=True)
        return {fingerprint for mine, theirs in pairs for fingerprint in set(mine) - set(theirs)}


def _times(record: Portable) -> Iterator[tuple[str, int]]:
    """Each time of a record, by its name."""
    holder = record.event if isinstance(record, Numbered) else record
    for name in _TIMES.get(type(holder), ()):
        at = getattr(holder, name)
        if at is not None:
            yield name, at


def _span(record: Numbered | Seal) -> tuple[int, int]:
    """The first and the last event that it is, or is over."""
    return (record.number, record.number) if isinstance(record, Numbered) else (record.first, record.last)


def _events(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"events {first} to {last}"


def _is(record: Portable) -> Iterator[tuple[Hashable, Hashable]]:
    """What the record takes for itself, and by what it is known again. Keys and user tokens share one space of ids."""
    match record:
        case UserTokenRecord(id=token_id, app_id=app_id):
            yield ("credential", token_id), ("user_token", app_id, record.verifier)
        case KeyRecord(id=key_id, app_id=app_id):
            yield ("credential", key_id), ("key", app_id, record.verifier)
            yield ("key", app_id, key_id), None
        case User(id=user_id, app_id=app_id, external_id=external_id):
            yield ("user", app_id, user_id), external_id
            if external_id is not None:
                yield ("external", app_id, external_id), user_id
        case App(id=app_id):
            yield ("app", app_id), None
        case Item(kind=kind, id=item_id, owner=owner):
            yield ("item", kind, item_id), owner


def _needs(record: Portable) -> Iterator[Hashable]:
    """What must be there for the record to be of use."""
    match record:
        case UserTokenRecord(app_id=app_id, user_id=user_id):
            yield "user", app_id, user_id
        case KeyRecord(app_id=app_id, successor=successor):
            yield "app", app_id
            if successor is not None:
                yield "key", app_id, successor
        case User(app_id=app_id) | Developer(app_id=app_id):
            yield "app", app_id
        case Item(owner=owner, kind=kind) if kind is not ItemKind.DEVELOPER_TOKEN:
            yield "app", owner
