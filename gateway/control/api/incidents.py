"""Routes of leaks: reports of them, and the incidents that they open."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace

from gateway.control.api import models
from gateway.control.api.asked import AppLeakReport, IncidentsQuery, LeakReport
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Answer, Call, Errand, Ids, Reply, tagged
from gateway.control.api.routes import Route
from gateway.core.incidents import Incident, Subject, incident_id, no_incident, the_incident
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, ItemKind, Snapshot
from gateway.core.sightings import sighting
from gateway.keys.leaks import LeakDesk, with_later_notes

_PIECE = 100  # incidents whose keys' uses are asked for at once: 90 days of a handful of scopes each


def _desk(call: Call, errand: Errand | None = None) -> LeakDesk:
    # With an id alone a developer reports in apps of theirs, and not by way of a token that is none.
    desk = LeakDesk(
        call.desk.store,
        call.who,
        call.desk.prefixes,
        flags=call.caller.person is None,
        operators=call.desk.operators,
        operator_leaked=call.desk.operator_leaked,
    )
    return desk if errand is None else replace(desk, around=errand.around)


def _told(incident: Incident, refused: int) -> models.Incident:
    return models.Incident.model_validate(_members(incident, refused))


def _members(incident: Incident, refused: int) -> dict[str, object]:
    members = {"app": incident.app_id, **asdict(incident), "refused_since": refused}
    if incident.subject is not Subject.KEY:  # nothing of a user token is counted, which is not the same as none
        members |= {"requests": None, "refused_since": None}
    return members


async def _with_use(call: Call, incidents: Sequence[Incident]) -> list[tuple[Incident, int]]:
    """The incidents, each with what was noted of its key's use before, and how often the key was refused since."""
    desk, found = _desk(call), []
    for first in range(0, len(incidents), _PIECE):
        piece = await with_later_notes(call.desk.store, incidents[first : first + _PIECE])
        refused = await desk.refused_since(piece)
        found += [(incident, refused[incident.id]) for incident in piece]
    return found


def _ask(ids: Ids) -> Asked:
    # One that begins otherwise is of another app, and may lie in another part of the store.
    of_app = ids["incident"][:2] == ids["app"][:2]
    return Asked(ids["app"], items=((ItemKind.INCIDENT, ids["incident"]),) if of_app else (), roles=True)


def _incident(seen: Snapshot, ids: Ids) -> Incident:
    found = the_incident(seen, ids["incident"])
    if found.app_id != ids["app"]:  # the first digits are all that an incident's id has of its app's
        raise no_incident(ids["incident"])
    return found


def _record(seen: Snapshot, ids: Ids) -> models.Incident:
    return _told(_incident(seen, ids), 0)


async def _answer(call: Call) -> Answer:
    # Without the sightings, whose texts are long: what is answered may be kept for a repeat.
    ((before, refused),) = await _with_use(call, [_incident(call.seen, call.ids)])

    def answer(seen: Snapshot, _: Changes) -> models.Incident:
        after = _incident(seen, call.ids)
        return _told(replace(after, last_used_at=before.last_used_at, requests=before.requests), refused)

    return answer


async def _list(call: Call) -> Reply:
    query: IncidentsQuery = call.query

    async def found() -> AsyncIterator[Incident]:
        async for incident in _desk(call).incidents(call.app_id):
            if query.state in {None, incident.state}:
                yield incident

    shown, last = await call.part(found(), lambda incident: (incident.opened_at, incident.id))
    return call.paged((_told(*each) for each in await _with_use(call, shown)), last)


async def _show(call: Call) -> Reply:
    (found,) = await _with_use(call, [_incident(call.seen, call.ids)])
    return tagged(models.IncidentDetail.model_validate(_members(*found)))


async def _acknowledge(call: Call) -> Reply:
    answer = await _answer(call)
    changed = await call.change(lambda errand: _desk(call, errand).acknowledge(call.ids["incident"]), answer)
    return changed.reply()


async def _close(call: Call) -> Reply:
    answer = await _answer(call)
    changed = await call.change(lambda errand: _desk(call, errand).close(call.ids["incident"]), answer)
    return changed.reply()


async def _report_token(call: Call) -> Reply:
    asked: LeakReport = call.body
    await _desk(call).report_token(asked.token, sighting(asked.token, source=asked.source, url=asked.url))
    return Reply()


async def _report_id(call: Call) -> Reply:
    asked: AppLeakReport = call.body
    ids = {"app": call.app_id, "incident": incident_id(call.app_id, asked.id)}
    items = ((ItemKind.INCIDENT, ids["incident"]),)
    (seen,) = await call.desk.store.look([Asked(call.app_id, keys=(asked.id,), tokens=(asked.id,), items=items)])
    if asked.id not in seen.keys and asked.id not in seen.tokens:
        raise ActRefused(ActReason.UNKNOWN_KEY, "The app has no key and no user token with this id.")
    known = await _with_use(call, [_incident(seen, ids)] if seen.items else [])
    refused = sum(times for _, times in known)
    place = sighting(asked.id, source=asked.source, url=asked.url)
    changed = await call.change(
        lambda errand: _desk(call, errand).report_id(asked.id, place),
        lambda after, _: _told(_incident(after, ids), refused),
    )
    return changed.reply()


_INCIDENT = "/apps/{app}/incidents/{incident}"

ROUTES = (
    Route(
        "POST",
        "/leak-reports",
        "reportLeak",
        "Report a whole credential that leaked",
        Needs.ANYBODY,
        _report_token,
        None,
        204,
        LeakReport,
        repeatable=False,  # an answer that differed would tell what was found; an incident counts what it is told twice
        about="It ends at once, whatever app it belongs to. The answer is always the same, and tells nothing of it.",
    ),
    Route(
        "POST",
        "/apps/{app}/leak-reports",
        "reportAppLeak",
        "Report a key or user token of an app that leaked, by its id",
        Needs.KEEPS,
        _report_id,
        models.Incident,
        body=AppLeakReport,
        about="It ends at once.",
    ),
    Route(
        "GET",
        "/apps/{app}/incidents",
        "listIncidents",
        "List the incidents of an app",
        Needs.SEES,
        _list,
        models.Page[models.Incident],
        query=IncidentsQuery,
        about="One for each credential that leaked.",
    ),
    Route(
        "GET",
        _INCIDENT,
        "getIncident",
        "Get an incident",
        Needs.SEES,
        _show,
        models.IncidentDetail,
        ask=_ask,
        record=_record,
    ),
    Route(
        "POST",
        f"{_INCIDENT}/acknowledge",
        "acknowledgeIncident",
        "Acknowledge an incident",
        Needs.KEEPS,
        _acknowledge,
        models.Incident,
        ask=_ask,
        about="Says that somebody sees to it.",
    ),
    Route(
        "POST",
        f"{_INCIDENT}/close",
        "closeIncident",
        "Close an incident",
        Needs.KEEPS,
        _close,
        models.Incident,
        ask=_ask,
        about="Says that it is over. It is opened again if the credential is found to work, or to be known whole.",
    ),
)
