"""The route of what happened in an app."""

from gateway.control.api import models
from gateway.control.api.asked import PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Reply
from gateway.control.api.routes import Route
from gateway.core.audit import Numbered

_WHOLE = "main"  # the part of a chain's name where a store has one chain


def _told(numbered: Numbered) -> models.Event:
    event = numbered.event
    return models.Event(
        at=event.at,
        action=event.action.value,
        app=event.app_id,
        subject=event.subject_id,
        actor=event.actor,
        source=event.source,
        about=event.about,
    )


async def _list(call: Call) -> Reply:
    """Chain after chain, each as it was written; a page is always full but for the last, as a short one would tell of
    others' events."""
    query: PageQuery = call.query
    chain, number = call.after() or ("", 0)
    found: list[Numbered] = []
    for each in sorted(await call.desk.store.chains()):
        if each < str(chain) or each.rpartition("/")[2] not in {_WHOLE, call.app_id[:2]}:
            continue
        async for numbered in call.desk.store.events(each, int(number) if each == chain else 0):
            if numbered.event.app_id == call.app_id:
                if len(found) == query.limit:
                    last = found[-1]
                    return call.paged(map(_told, found), (last.chain, last.number))
                found.append(numbered)
    return call.paged(map(_told, found), None)


ROUTES = (
    Route(
        "GET",
        "/apps/{app}/history",
        "listHistory",
        "List what was done in an app",
        Needs.SEES,
        _list,
        models.Page[models.Event],
        query=PageQuery,
        about="Every change to the app and to all that belongs to it, oldest first.",
    ),
)
