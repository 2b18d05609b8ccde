"""`gateway keys advise`: what keys hold and do not use."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

import typer

from gateway.cli.finding import app_seen, store_now
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen
from gateway.cli.output import AsJson, faults_told, print_list
from gateway.cli.tables import Cell
from gateway.cli.views import View
from gateway.core.least_privilege import IDLE_DAYS, LEAST_DAYS, Advice, knows_idle
from gateway.core.times import iso_time
from gateway.core.wishes import DAY
from gateway.keys.advising import advise

_NONE: Final = f"No advice: the uses of no key were counted for {LEAST_DAYS} days yet, or each uses all that it holds."
_HEADINGS: Final = ("key", "app", "name", "what", "known for", "command")


def advise_keys(
    app: Annotated[
        str | None,
        typer.Argument(metavar="APP", help="The id of an app; all apps if not given.", show_default=False),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Scopes that keys hold and have not used, and keys not used for 30 days, with the command that takes them away.

    Scopes are judged by at least a week and at most 90 days in which uses were counted. Look at the number of days
    before you act: what runs once a month may not have run. Where use has been noted for less than 30 days, no key is
    said not to be used.
    """

    async def found(desk: Desk) -> AsyncIterator[Advice]:
        now = await store_now(desk) if app is None else (await app_seen(desk, app))[1]
        async for advice in advise(desk.store, app, now):
            yield advice

    async def work(desk: Desk) -> None:
        await print_list(found(desk), _view, _HEADINGS, _row, none=_NONE, as_json=as_json)
        since = await desk.store.noted_since()
        if not as_json and not knows_idle(since, await store_now(desk)):
            typer.echo(_too_little(since), err=True)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


def _too_little(since: int | None) -> str:
    if since is None:
        return "Which keys are not used is not known: no use of any key has been noted yet."
    known = iso_time(since + IDLE_DAYS * DAY)
    return f"Which keys are not used is not known before {known}: use has been noted since {iso_time(since)}."


def _view(advice: Advice) -> View:
    return {
        "id": advice.key.id,
        "app": advice.key.app_id,
        "name": advice.key.name,
        "used": list(advice.used),
        "unused": list(advice.unused),
        "idle": advice.idle,
        "last_used_at": advice.last_used,
        "days": advice.days,
        "command": advice.command,
    }


def _row(advice: Advice) -> list[Cell]:
    key = advice.key
    what = f"not used for {IDLE_DAYS} days" if advice.idle else f"without use: {', '.join(advice.unused)}"
    days = f"{advice.days} day{'' if advice.days == 1 else 's'}"
    command = advice.command or "uses no scope; see what it is for"
    return [Cell(key.id), Cell(key.app_id), Cell(key.name), Cell(what, "yellow"), Cell(days), Cell(command)]
