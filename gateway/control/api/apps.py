"""Routes of apps."""

from collections.abc import AsyncIterator
from functools import partial

from gateway.control.api import models
from gateway.control.api.asked import NewApp, PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Ids, Reply, showing
from gateway.control.api.routes import Route
from gateway.core.ledger import Asked, Snapshot
from gateway.core.lifecycle import the_app
from gateway.core.people import person_id
from gateway.core.records import App

_PIECE = 200


def app_told(app: App) -> models.App:
    """An app."""
    return models.App(
        id=app.id,
        name=app.name,
        account=app.account,
        region=app.region,
        disabled=app.disabled,
        tokens_ended_at=app.cut_at or None,
    )


def _record(seen: Snapshot, _: Ids) -> models.App:
    return app_told(the_app(seen))


async def _list(call: Call) -> Reply:
    return await call.page(_visible(call), lambda app: (app.id,), app_told)


async def _visible(call: Call) -> AsyncIterator[App]:
    if call.caller.person is None:
        async for app in call.desk.store.apps():
            yield app
        return
    person = call.caller.person.id
    ids = [each.app_id async for each in call.desk.store.developers() if person_id(each.email) == person]
    for first in range(0, len(ids), _PIECE):
        asked = [Asked(app_id, roles=True) for app_id in ids[first : first + _PIECE]]
        for seen in await call.desk.store.look(asked):
            if seen.app is not None and call.caller.role_in(seen) is not None:
                yield seen.app


async def _create(call: Call) -> Reply:
    asked: NewApp = call.body
    changed = await call.change(
        lambda errand: call.keeper(errand).create_app(
            asked.name, asked.region, regions=call.desk.regions, account=asked.account
        ),
        lambda seen, _: app_told(the_app(seen)),
    )
    return changed.reply(tag=True)


async def _switch(call: Call, *, disabled: bool) -> Reply:
    changed = await call.change(
        lambda errand: call.keeper(errand).switch_app(call.app_id, disabled=disabled),
        lambda seen, _: app_told(the_app(seen)),
    )
    return changed.reply(tag=True)


async def _end_tokens(call: Call) -> Reply:
    changed = await call.change(
        lambda errand: call.keeper(errand).end_app_tokens(call.app_id), lambda seen, _: app_told(the_app(seen))
    )
    return changed.reply(tag=True)


_APP = "/apps/{app}"

ROUTES = (
    Route(
        "GET",
        "/apps",
        "listApps",
        "List apps",
        Needs.ANYBODY,
        _list,
        models.Page[models.App],
        query=PageQuery,
        about="All apps for an operator; those in which you have a role for a developer.",
    ),
    Route("POST", "/apps", "createApp", "Create an app", Needs.RUNS, _create, models.App, 201, NewApp),
    Route("GET", _APP, "getApp", "Get an app", Needs.SEES, showing(_record), models.App, record=_record),
    Route(
        "POST",
        f"{_APP}/disable",
        "disableApp",
        "Disable an app",
        Needs.KEEPS,
        partial(_switch, disabled=True),
        models.App,
        record=_record,
        about="From the next request on, none of its credentials is let through.",
    ),
    Route(
        "POST",
        f"{_APP}/enable",
        "enableApp",
        "Enable an app",
        Needs.RUNS,
        partial(_switch, disabled=False),
        models.App,
        record=_record,
        about="Its credentials are let through again, unless they have ended meanwhile.",
    ),
    Route(
        "POST",
        f"{_APP}/end-tokens",
        "endAppTokens",
        "End the tokens of all users of an app",
        Needs.KEEPS,
        _end_tokens,
        models.App,
        record=_record,
        about="Every user token that there is now ends. New ones can be made.",
    ),
)
