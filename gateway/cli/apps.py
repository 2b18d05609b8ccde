"""`gateway apps`: apps, to which keys and users belong."""

from typing import Annotated

import typer

from gateway.cli.finding import AppId, Yes, app_seen, confirm, hinted
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, in_redis
from gateway.cli.output import AsJson, faults_told, print_list, print_record
from gateway.cli.views import APP_HEADINGS, app_row, app_view
from gateway.core.ledger import Done
from gateway.core.records import App

apps = typer.Typer(no_args_is_help=True, help="Apps, to which keys and users belong.")


@apps.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What people call the app.")],
    region: Annotated[str, typer.Option("--region", help="The region that its data lives in.")],
    account: Annotated[str, typer.Option("--account", help="The account that it belongs to.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an app. A store in SQLite is made with it, if there is none yet."""
    with faults_told(as_json=as_json):
        settings = chosen(config, data)

        async def work(desk: Desk) -> App:
            return await desk.keeper.create_app(name, region, regions=settings.regions, account=account)

        # A Redis without a store's identity is one that lost its data, or another: 'gateway store init' says it is new.
        app = at_desk(settings, work, create=not in_redis(settings))
        print_record("App made.", app_view(app), as_json=as_json)


@apps.command("list")
def list_apps(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """All apps."""

    async def work(desk: Desk) -> None:
        await print_list(desk.store.apps(), app_view, APP_HEADINGS, app_row, none="No apps yet.", as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@apps.command("disable")
def disable(
    app: AppId,
    yes: Annotated[bool, typer.Option("--yes", hidden=True)] = False,  # noqa: ARG001 - 'enable' takes it back, so nothing is asked
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let nobody of an app through, from the next request on; 'enable' takes it back."""
    _switch(app, config, data, disabled=True, as_json=as_json)


@apps.command("enable")
def enable(app: AppId, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Let those of an app through again whose credentials are good."""
    _switch(app, config, data, disabled=False, as_json=as_json)


def _switch(app_id: str, config: Config, data: Data, *, disabled: bool, as_json: bool) -> None:
    async def work(desk: Desk) -> tuple[App, Done]:
        async with hinted(desk.store, app=app_id):
            done = await desk.keeper.switch_app(app_id, disabled=disabled)
        app, _ = await app_seen(desk, app_id)
        return app, done

    with faults_told(as_json=as_json):
        app, done = at_desk(chosen(config, data), work)
        title = "App disabled." if disabled else "App enabled."
        print_record(title, app_view(app), as_json=as_json, replicated=done.replicated)


@apps.command("revoke-keys")
def revoke_keys(
    app: AppId, yes: Yes = False, config: Config = None, data: Data = None, as_json: AsJson = False
) -> None:
    """Revoke every key of an app, for good. Asks for the app's name."""

    async def look(desk: Desk) -> App:
        return (await app_seen(desk, app))[0]

    async def work(desk: Desk) -> Done:
        return await desk.keeper.revoke_keys(app)

    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        confirm(at_desk(settings, look), "This ends every key of the app at once and for good.", yes=yes)
        done = at_desk(settings, work)
        revoked = [key.id for key in done.changes.keys]
        title = f"Keys revoked: {len(revoked)}."
        print_record(title, {"app": app, "revoked": revoked}, as_json=as_json, replicated=done.replicated)
