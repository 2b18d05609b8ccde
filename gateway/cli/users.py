"""`gateway users`: SDK users and their tokens."""

from typing import Annotated

import typer

from gateway.cli.finding import OfAnyApp, OfApp, Yes, app_seen, confirm, hinted, of_app, user_seen
from gateway.cli.intake import import_users
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen
from gateway.cli.output import AsJson, faults_told, print_list, print_record
from gateway.cli.views import USER_HEADINGS, View, app_view, user_row, user_view
from gateway.core.records import App, User
from gateway.keys.keeper import MadeUserToken

users = typer.Typer(no_args_is_help=True, help="SDK users and their tokens, which reach their own data only.")
users.command("import")(import_users)

UserId = Annotated[str, typer.Argument(metavar="USER", help="The id of the user.")]


@users.command("create")
def create(
    app: OfApp,
    external_id: Annotated[
        str | None, typer.Option("--external-id", help="What the user is called elsewhere.", show_default=False)
    ] = None,
    user_id: Annotated[
        str | None, typer.Option("--id", help="The id of a user that exists upstream.", show_default=False)
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for a user, and the user if there is none yet, and print it, once."""

    async def work(desk: Desk) -> MadeUserToken:
        async with hinted(desk.store, app=app):
            return await desk.keeper.create_user_token(app, external_id=external_id, user_id=user_id)

    with faults_told(as_json=as_json):
        _print_made(at_desk(chosen(config, data), work), as_json=as_json)


@users.command("token")
def token(user: UserId, app: OfApp, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Make another token for a user who is there, and print it, once; beyond 'user_tokens.at_most' the oldest ends."""

    async def work(desk: Desk) -> MadeUserToken:
        async with hinted(desk.store, app=app, user=user):
            return await desk.keeper.add_user_token(app, user)

    with faults_told(as_json=as_json):
        _print_made(at_desk(chosen(config, data), work), as_json=as_json)


def _print_made(made: MadeUserToken, *, as_json: bool) -> None:
    view = {
        **user_view(made.user),
        "token_id": made.record.id,
        "created_at": made.record.created_at,
        "expires_at": made.record.expires_at,
    }
    print_record("User token made.", view, as_json=as_json, token=made.token, now=made.record.created_at)


@users.command("list")
def list_users(app: OfAnyApp = None, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """The users of an app; of those who were deleted the id alone."""

    async def work(desk: Desk) -> None:
        people = of_app(desk, app, desk.store.users)
        await print_list(people, user_view, USER_HEADINGS, user_row, none="No users yet.", as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@users.command("disable")
def disable(
    user: UserId,
    app: OfApp,
    unknown_too: Annotated[
        bool, typer.Option("--unknown", help="Also a user of another issuer's, who is not known here yet.")
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let none of a user's tokens through, from the next request on; 'enable' takes it back."""
    _switch(app, user, config, data, disabled=True, unknown_too=unknown_too, as_json=as_json)


@users.command("enable")
def enable(user: UserId, app: OfApp, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Let a user's good tokens through again."""
    _switch(app, user, config, data, disabled=False, as_json=as_json)


def _switch(
    app: str, user_id: str, config: Config, data: Data, *, disabled: bool, as_json: bool, unknown_too: bool = False
) -> None:
    async def work(desk: Desk) -> tuple[User, bool]:
        async with hinted(desk.store, app=app, user=user_id):
            done = await desk.keeper.switch_user(app, user_id, disabled=disabled, unknown_too=unknown_too)
        return await user_seen(desk, app, user_id), done.replicated

    with faults_told(as_json=as_json):
        user, replicated = at_desk(chosen(config, data), work)
        title = "User disabled." if disabled else "User enabled."
        print_record(title, user_view(user), as_json=as_json, replicated=replicated)


@users.command("end-tokens")
def end_tokens(
    app: OfApp,
    user: Annotated[str | None, typer.Argument(metavar="USER", help="The id of the user.", show_default=False)] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="The tokens of all users of the app; asks for the app's name.")
    ] = False,
    yes: Yes = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End every token that a user has now, or all users of an app have. New ones can be made."""
    if everybody == (user is not None):
        raise typer.BadParameter("say whose tokens: USER, or --all for all users of the app")

    async def look(desk: Desk) -> App:
        return (await app_seen(desk, app))[0]

    async def end_all(desk: Desk) -> tuple[View, bool]:
        done = await desk.keeper.end_app_tokens(app)
        return app_view((await app_seen(desk, app))[0]), done.replicated

    async def end_one(desk: Desk) -> tuple[View, bool]:
        async with hinted(desk.store, app=app, user=user):
            done = await desk.keeper.end_user_tokens(app, user or "")
        return user_view(await user_seen(desk, app, user or "")), done.replicated

    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        if everybody:
            confirm(at_desk(settings, look), "This ends the tokens of all users of the app at once.", yes=yes)
        view, replicated = at_desk(settings, end_all if everybody else end_one)
        print_record("Tokens ended.", view, as_json=as_json, replicated=replicated)
