"""Routes of apps."""

from collections.abc import AsyncIterator

from gateway.control.api.asked import AppAsked, PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Ids, Reply, tagged
from gateway.control.api.models import AppTold, Page
from gateway.control.api.routes import Route
from gateway.core.ledger import Asked, Snapshot
from gateway.core.lifecycle import the_app
from gateway.core.people import person_id
from gateway.core.records import App

_PIECE = 200


def app_told(app: App) -> AppTold:
    """An app."""
    return AppTold(
        id=app.id,
        name=app.name,
        account=app.account,
        region=app.region,
        disabled=app.disabled,
        tokens_ended_at=app.cut_at or None,
    )


def _record(seen: Snapshot, _: Ids) -> AppTold:
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
    asked: AppAsked = call.body
    changed = await call.change(
        lambda errand: call.keeper(errand).create_app(
            asked.name, asked.region, regions=call.desk.regions, account=asked.account
        ),
        lambda seen, _: app_told(the_app(seen)),
    )
    return changed.reply(tag=True)


async def _show(call: Call) -> Reply:
    return tagged(_record(call.seen, call.ids))


async def _disable(call: Call) -> Reply:
    return await _switch(call, disabled=True)


async def _enable(call: Call) -> Reply:
    return await _switch(call, disabled=False)


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


ROUTES = (
    Route("GET", "/apps", "The apps that you may see.", Needs.ANYBODY, _list, Page[AppTold], query=PageQuery),
    Route("POST", "/apps", "Make an app. Operators only.", Needs.RUNS, _create, AppTold, 201, AppAsked),
    Route("GET", "/apps/{app}", "An app.", Needs.SEES, _show, AppTold, record=_record),
    Route(
        "POST", "/apps/{app}/disable", "Let nobody of the app through.", Needs.KEEPS, _disable, AppTold, record=_record
    ),
    Route(
        "POST",
        "/apps/{app}/enable",
        "Let the app's good credentials through again. Operators only.",
        Needs.RUNS,
        _enable,
        AppTold,
        record=_record,
    ),
    Route(
        "POST",
        "/apps/{app}/end-tokens",
        "End every token that any user of the app has now.",
        Needs.KEEPS,
        _end_tokens,
        AppTold,
        record=_record,
    ),
)
