"""The route of what keys could do without."""

from gateway.control.api import models
from gateway.control.api.asked import PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Reply
from gateway.control.api.routes import Route
from gateway.core.least_privilege import Advice
from gateway.keys.advising import advise


def _told(advice: Advice) -> models.Advice:
    return models.Advice(
        id=advice.key.id,
        app=advice.key.app_id,
        name=advice.key.name,
        days=advice.days,
        used=list(advice.used),
        unused=list(advice.unused),
        idle=advice.idle,
        last_used_at=advice.last_used,
        command=advice.command,
    )


async def _list(call: Call) -> Reply:
    found = advise(call.desk.store, call.app_id, call.seen.now)
    return await call.page(found, lambda advice: (advice.key.created_at, advice.key.id), _told)


ROUTES = (
    Route(
        "GET",
        "/apps/{app}/advice",
        "listAdvice",
        "List what the keys of an app could do without",
        Needs.SEES,
        _list,
        models.Page[models.Advice],
        query=PageQuery,
        about="Keys that nobody uses, and scopes that a key holds and does not use.",
    ),
)
