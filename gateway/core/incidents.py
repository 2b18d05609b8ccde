"""The rules of a leak: one incident for each credential that was seen where it should not be, whoever tells it again.

As in `gateway/core/lifecycle.py`: the functions below are what an `Act` decides. What is reported ends in the act that
opens the incident, or not at all: a scanner that knows an id alone must not end a key by it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from gateway.core import lifecycle, people
from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Item, ItemKey, ItemKind, Snapshot, Who
from gateway.core.records import RevokedWhy
from gateway.core.sightings import Sighting
from gateway.core.wishes import DAY

MOST_SIGHTINGS: Final = 100  # of an incident; further ones are counted
# Their texts as they are kept: what one incident may take of a store, and how long others wait while it is read.
MOST_BYTES: Final = 65_536
DAYS: Final = 8  # of which the requests are told: the day of the report and the seven before


class Subject(StrEnum):
    """What leaked."""

    KEY = "key"
    USER_TOKEN = "user_token"  # noqa: S105 - the name of a kind, no secret


class IncidentState(StrEnum):
    """How far people are with it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Incident:
    """A credential that leaked, and what was seen of it; times are UTC milliseconds.

    `proven` says that somebody had the whole token, not its id alone; `ended` that a report ended it, and not somebody
    before. `sightings` are the first hundred, or as many as fit, `count` is how many there were. `last_used_at` and the
    `requests` of that day and the seven before, oldest first, are as they were noted when it was opened; of user tokens
    nothing is.
    """

    id: str
    app_id: str
    subject: Subject
    subject_id: str
    opened_at: int
    state: IncidentState
    proven: bool
    ended: bool
    reporter: str
    sightings: tuple[Sighting, ...]
    count: int
    last_used_at: int | None
    requests: tuple[int, ...]
    changed_at: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What is told of one credential. `proven`: with the whole token; `ends`: whoever tells it may end it.

    `last_used_at` and `requests`, by day since 1970, are what was noted of its use so far.
    """

    app_id: str
    subject: Subject
    subject_id: str
    sightings: tuple[Sighting, ...]
    proven: bool
    ends: bool
    last_used_at: int | None = None
    requests: Mapping[int, int] = field(default_factory=dict)

    @property
    def incident_id(self) -> str:
        """The id of the one incident that there is of it."""
        return incident_id(self.app_id, self.subject_id)

    @property
    def asked(self) -> Asked:
        """What the act has to see."""
        items = ((ItemKind.INCIDENT, self.incident_id),)
        if self.subject is Subject.KEY:
            return Asked(self.app_id, keys=(self.subject_id,), items=items)
        return Asked(self.app_id, tokens=(self.subject_id,), items=items)


def incident_id(app_id: str, subject_id: str) -> str:
    """The id of the incident of a key or user token of an app; they have one space of ids."""
    return f"{app_id[:2]}inc{hashlib.sha256(subject_id.encode()).hexdigest()[:16]}"


def report(snapshot: Snapshot, told: LeakReport, who: Who) -> Changes:
    """The incident of the credential, opened or with the new sightings; and the end of the credential, if the report
    may end it and it had not been ended.

    What people have seen to is opened anew only when there is something new for them: it was ended just now, or the
    whole token is known for the first time.
    """
    ended = _end(snapshot, told, who) if told.ends else Changes()
    before = _incident(snapshot, told.incident_id)
    seen = tuple(replace(sighting, at=snapshot.now, by=who.actor) for sighting in told.sightings)
    ends = bool(ended)
    if before is None:
        after = _opened(snapshot, told, seen, who, ended=ends)
    else:
        after = replace(
            before,
            proven=before.proven or told.proven,
            ended=before.ended or ends,
            sightings=_bounded((*before.sightings, *seen)),
            count=before.count + len(seen),
        )
    news = before is None or (before.state is not IncidentState.OPEN and (ends or (told.proven and not before.proven)))
    events = ended.events
    if news:
        after = replace(after, state=IncidentState.OPEN, changed_at=snapshot.now, changed_by=who.actor)
        events += (_event(snapshot, AuditAction.INCIDENT_OPENED, after, who),)
    return replace(ended, items=(item_of(after),), events=events)


def acknowledge(snapshot: Snapshot, incident: str, who: Who) -> Changes:
    """Somebody sees to an open incident."""
    before = the_incident(snapshot, incident)
    if before.state is not IncidentState.OPEN:
        return Changes()
    return _moved(snapshot, before, IncidentState.ACKNOWLEDGED, AuditAction.INCIDENT_ACKNOWLEDGED, who)


def close(snapshot: Snapshot, incident: str, who: Who) -> Changes:
    """The incident is over."""
    before = the_incident(snapshot, incident)
    if before.state is IncidentState.CLOSED:
        return Changes()
    return _moved(snapshot, before, IncidentState.CLOSED, AuditAction.INCIDENT_CLOSED, who)


def the_incident(snapshot: Snapshot, incident: str) -> Incident:
    """An incident of the app."""
    found = _incident(snapshot, incident)
    if found is None:
        raise no_incident(incident)
    return found


def no_incident(incident: str) -> ActRefused:
    """What is said of an id that no incident has."""
    return ActRefused(
        ActReason.UNKNOWN_INCIDENT, f"There is no incident with the id {incident!r}; see 'gateway incidents list'."
    )


def item_of(incident: Incident) -> Item:
    """The incident as it is kept."""
    text = orjson.dumps(asdict(incident)).decode()
    return Item(ItemKind.INCIDENT, incident.id, incident.app_id, text)


def incident_of(item: Item) -> Incident:
    """The incident that `item_of` wrote. Raises `ValueError` for anything else."""
    try:
        values = orjson.loads(item.text)
        incident = Incident(**{**values, **_parts(values)})
        # What is written anew is the same only if every value was of its type and in its place.
        if _is_whole(incident) and item_of(incident) == item:
            return incident
    except (TypeError, KeyError, ValueError, AttributeError):  # whose messages would repeat texts from outside
        pass
    raise ValueError(f"the incident {item.id} cannot be read")


def is_over(item: Item) -> bool:
    """Whether the item is plainly an incident that somebody has seen to: told by a member that no text in it can look
    like, as quotation marks within texts are escaped, and without reading the rest."""
    return any(f'"state":"{state}"' in item.text for state in (IncidentState.ACKNOWLEDGED, IncidentState.CLOSED))


def _parts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "subject": Subject(values["subject"]),
        "state": IncidentState(values["state"]),
        "sightings": tuple(Sighting(**sighting) for sighting in values["sightings"]),
        "requests": tuple(values["requests"]),
    }


def _is_whole(incident: Incident) -> bool:
    sightings = incident.sightings
    texts = (incident.reporter, incident.changed_by, incident.subject_id)
    numbers = (incident.opened_at, incident.changed_at, incident.count, *incident.requests)
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in (*numbers, incident.last_used_at or 0))
        and all(type(flag) is bool for flag in (incident.proven, incident.ended))
        and all(isinstance(text, str) for seen in sightings for text in (seen.source, seen.url, seen.type, seen.by))
        and all(type(seen.at) is int for seen in sightings)
        and len(sightings) <= MOST_SIGHTINGS
        and len(incident.requests) == DAYS
        and incident.id == incident_id(incident.app_id, incident.subject_id)
    )


def _incident(snapshot: Snapshot, incident: str) -> Incident | None:
    key: ItemKey = (ItemKind.INCIDENT, incident)
    item = snapshot.items.get(key)
    return None if item is None else incident_of(item)


def _opened(snapshot: Snapshot, told: LeakReport, seen: tuple[Sighting, ...], who: Who, *, ended: bool) -> Incident:
    today = snapshot.now // DAY
    return Incident(
        id=told.incident_id,
        app_id=told.app_id,
        subject=told.subject,
        subject_id=told.subject_id,
        opened_at=snapshot.now,
        state=IncidentState.OPEN,
        proven=told.proven,
        ended=ended,
        reporter=who.actor,
        sightings=_bounded(seen),
        count=len(seen),
        last_used_at=told.last_used_at,
        requests=tuple(told.requests.get(day, 0) for day in range(today - DAYS + 1, today + 1)),
        changed_at=snapshot.now,
        changed_by=who.actor,
    )


def _bounded(sightings: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
    """The first of them, as many as are kept; a long one does not keep out the short ones behind it."""
    kept: list[Sighting] = []
    room = MOST_BYTES
    for sighting in sightings:
        size = len(orjson.dumps(sighting)) + 1
        if size <= room and len(kept) < MOST_SIGHTINGS:
            kept.append(sighting)
            room -= size
    return tuple(kept)


def _end(snapshot: Snapshot, told: LeakReport, who: Who) -> Changes:
    if told.subject is Subject.KEY:
        return lifecycle.revoke_key(snapshot, told.subject_id, RevokedWhy.LEAKED, who)
    return people.revoke_user_token(snapshot, told.subject_id, RevokedWhy.LEAKED, who)


def _moved(snapshot: Snapshot, before: Incident, state: IncidentState, action: AuditAction, who: Who) -> Changes:
    after = replace(before, state=state, changed_at=snapshot.now, changed_by=who.actor)
    return Changes(items=(item_of(after),), events=(_event(snapshot, action, after, who),))


def _event(snapshot: Snapshot, action: AuditAction, incident: Incident, who: Who) -> AuditEvent:
    about = f"{incident.subject.value} {incident.subject_id}"
    return AuditEvent(snapshot.now, action, incident.app_id, incident.id, who.actor, who.source, about)
