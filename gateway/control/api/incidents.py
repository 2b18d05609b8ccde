"""Routes of leaks: reports of them, and the incidents that they open."""

from collections.abc import AsyncIterator
from dataclasses import asdict, replace

from gateway.control.api.asked import IncidentsQuery, LeakAsked, LeakOfAppAsked
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Answer, Call, Errand, Ids, Reply, tagged
from gateway.control.api.models import IncidentSeen, IncidentTold, Page
from gateway.control.api.routes import Route
from gateway.core.incidents import Incident, incident_id, no_incident, the_incident
from gateway.core.ledger import ActReason, ActRefused, Asked, ItemKind, Snapshot
from gateway.core.sightings import sighting
from gateway.keys.leaks import LeakDesk, with_later_notes


def _desk(call: Call, errand: Errand | None = None) -> LeakDesk:
    # With an id alone a developer reports in apps of theirs, and not by way of a token that is none.
    desk = LeakDesk(call.desk.store, call.who, call.desk.prefixes, flags=call.caller.person is None)
    return desk if errand is None else replace(desk, around=errand.around)


def _told(incident: Incident) -> IncidentTold:
    return IncidentTold.model_validate({"app": incident.app_id, **asdict(incident)})


def _ask(ids: Ids) -> Asked:
    # One that begins otherwise is of another app, and may lie in another part of the store.
    of_app = ids["incident"][:2] == ids["app"][:2]
    return Asked(ids["app"], items=((ItemKind.INCIDENT, ids["incident"]),) if of_app else (), roles=True)


def _incident(seen: Snapshot, ids: Ids) -> Incident:
    found = the_incident(seen, ids["incident"])
    if found.app_id != ids["app"]:  # the first digits are all that an incident's id has of its app's
        raise no_incident(ids["incident"])
    return found


def _record(seen: Snapshot, ids: Ids) -> IncidentTold:
    return _told(_incident(seen, ids))


def _answer(call: Call) -> Answer:
    # Without the sightings, whose texts are long: what is answered may be kept for a repeat.
    return lambda seen, _: _told(_incident(seen, call.ids))


async def _list(call: Call) -> Reply:
    query: IncidentsQuery = call.query

    async def found() -> AsyncIterator[Incident]:
        async for incident in _desk(call).incidents(call.app_id):
            if query.state in {None, incident.state}:
                yield incident

    return await call.page(found(), lambda incident: (incident.opened_at, incident.id), _told)


async def _show(call: Call) -> Reply:
    (incident,) = await with_later_notes(call.desk.store, [_incident(call.seen, call.ids)])
    refused = await _desk(call).refused_since([incident])
    members = {"app": incident.app_id, **asdict(incident), "refused_since": refused[incident.id]}
    return tagged(IncidentSeen.model_validate(members))


async def _acknowledge(call: Call) -> Reply:
    _incident(call.seen, call.ids)
    changed = await call.change(lambda errand: _desk(call, errand).acknowledge(call.ids["incident"]), _answer(call))
    return changed.reply()


async def _close(call: Call) -> Reply:
    _incident(call.seen, call.ids)
    changed = await call.change(lambda errand: _desk(call, errand).close(call.ids["incident"]), _answer(call))
    return changed.reply()


async def _report_token(call: Call) -> Reply:
    asked: LeakAsked = call.body
    await _desk(call).report_token(asked.token, sighting(asked.token, source=asked.source, url=asked.url))
    return Reply()


async def _report_id(call: Call) -> Reply:
    asked: LeakOfAppAsked = call.body
    (seen,) = await call.desk.store.look([Asked(call.app_id, keys=(asked.id,), tokens=(asked.id,))])
    if asked.id not in seen.keys and asked.id not in seen.tokens:
        raise ActRefused(ActReason.UNKNOWN_KEY, "The app has no key and no user token with this id.")
    ids = {"app": call.app_id, "incident": incident_id(call.app_id, asked.id)}
    place = sighting(asked.id, source=asked.source, url=asked.url)
    changed = await call.change(
        lambda errand: _desk(call, errand).report_id(asked.id, place), lambda after, _: _told(_incident(after, ids))
    )
    return changed.reply()


_INCIDENT = "/apps/{app}/incidents/{incident}"

ROUTES = (
    Route(
        "POST",
        "/leak-reports",
        "A credential that leaked, whole: it ends at once, whosever it is. The answer tells nothing of it.",
        Needs.ANYBODY,
        _report_token,
        None,
        204,
        LeakAsked,
        repeatable=False,  # an answer that differed would tell what was found; an incident counts what it is told twice
    ),
    Route(
        "POST",
        "/apps/{app}/leak-reports",
        "A key or user token of the app that leaked, by its id: it ends at once.",
        Needs.KEEPS,
        _report_id,
        IncidentTold,
        body=LeakOfAppAsked,
    ),
    Route(
        "GET",
        "/apps/{app}/incidents",
        "The credentials of an app that leaked.",
        Needs.SEES,
        _list,
        Page[IncidentTold],
        query=IncidentsQuery,
    ),
    Route("GET", _INCIDENT, "An incident.", Needs.SEES, _show, IncidentSeen, ask=_ask, record=_record),
    Route(
        "POST", f"{_INCIDENT}/acknowledge", "Say that you see to it.", Needs.KEEPS, _acknowledge, IncidentTold, ask=_ask
    ),
    Route("POST", f"{_INCIDENT}/close", "Say that it is over.", Needs.KEEPS, _close, IncidentTold, ask=_ask),
)
