"""Routes of incidents."""

from collections.abc import AsyncIterator
from dataclasses import asdict

from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Ids, Reply, tagged
from gateway.control.api.models import IncidentSeen, IncidentsQuery, IncidentTold, Page
from gateway.control.api.routes import Route
from gateway.core.incidents import Incident, incident_of, no_incident, the_incident
from gateway.core.ledger import Asked, ItemKind, Snapshot
from gateway.store.contract import StoreBroken


def _told(incident: Incident) -> IncidentTold:
    return IncidentTold.model_validate(_members(incident))


def _shown(incident: Incident) -> IncidentSeen:
    return IncidentSeen.model_validate(_members(incident))


def _members(incident: Incident) -> dict[str, object]:
    return {"app": incident.app_id, **asdict(incident)}


def _ask(ids: Ids) -> Asked:
    return Asked(ids["app"], items=((ItemKind.INCIDENT, ids["incident"]),), roles=True)


def _record(seen: Snapshot, ids: Ids) -> IncidentSeen:
    found = the_incident(seen, ids["incident"])
    if found.app_id != ids["app"]:  # the id's first digits are all that it has of its app
        raise no_incident(ids["incident"])
    return _shown(found)


async def _list(call: Call) -> Reply:
    query: IncidentsQuery = call.query

    async def found() -> AsyncIterator[Incident]:
        async for item in call.desk.store.items(ItemKind.INCIDENT, call.app_id):
            try:
                incident = incident_of(item)
            except ValueError as error:
                raise StoreBroken(f"The store is damaged: {error}.") from error
            if query.state in {None, incident.state}:
                yield incident

    return await call.page(found(), lambda incident: (incident.opened_at, incident.id), _told)


async def _show(call: Call) -> Reply:
    return tagged(_record(call.seen, call.ids))


_INCIDENT = "/apps/{app}/incidents/{incident}"

ROUTES = (
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
)
