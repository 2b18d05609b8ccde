"""`gateway developers`: people, what they may do with an app's keys, and their tokens for the management API."""

from typing import Annotated, Final

import typer

from gateway.cli.developer_tokens import issue, tokens
from gateway.cli.finding import OfAnyApp, OfApp, hinted, of_app
from gateway.cli.helping import either
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen
from gateway.cli.output import AsJson, faults_told, print_list, print_record
from gateway.cli.views import DEVELOPER_HEADINGS, developer_row, developer_view
from gateway.core.developer_tokens import keys_shown
from gateway.core.ledger import Asked, Done
from gateway.core.people import developer_id
from gateway.core.records import Developer, Role
from gateway.core.wishes import normal_email

developers = typer.Typer(no_args_is_help=True, help="People, and what they may do with an app's keys.")

developers.add_typer(tokens, name="tokens")
developers.command("token")(issue)

_NOBODY: Final = "Nobody has a role yet."

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The person's e-mail address.")]


@developers.command("list")
def list_developers(app: OfAnyApp = None, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Who has a role in an app."""

    async def work(desk: Desk) -> None:
        people = of_app(desk, app, desk.store.developers)
        await print_list(people, developer_view, DEVELOPER_HEADINGS, developer_row, none=_NOBODY, as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@developers.command("grant")
def grant(
    email: Email,
    app: OfApp,
    role: Annotated[
        Role,
        typer.Option(
            "--role", metavar=either(Role), help="A developer may make and end keys, a spectator look at them."
        ),
    ] = Role.DEVELOPER,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a person a role in an app, instead of the one before."""

    async def work(desk: Desk) -> Done:
        async with hinted(desk.store, app=app):
            return await desk.keeper.grant(app, email, role)

    with faults_told(as_json=as_json):
        done = at_desk(chosen(config, data), work)
        view = developer_view(Developer(app, normal_email(email), role))
        print_record("Role given.", view, as_json=as_json, replicated=done.replicated)


@developers.command("remove")
def remove(email: Email, app: OfApp, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Take a person's role in an app, and tell which keys to rotate: those whose tokens this person was shown.

    With the last role the person's tokens for the management API end."""

    async def work(desk: Desk) -> tuple[Done, list[str]]:
        async with hinted(desk.store, app=app):
            done = await desk.keeper.remove(app, email)
        (seen,) = await desk.store.look([Asked(app)])
        return done, [key.id for key in keys_shown(seen, developer_id(normal_email(email)))]

    with faults_told(as_json=as_json):
        done, shown = at_desk(chosen(config, data), work)
        view = {"app": app, "email": normal_email(email), "role": None, "keys_to_rotate": shown}
        print_record("Role taken.", view, as_json=as_json, replicated=done.replicated)
