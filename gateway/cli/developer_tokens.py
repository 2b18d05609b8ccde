"""`gateway developers token` and `gateway developers tokens`: what people show to the management API."""

import secrets
from typing import Annotated, Final

import typer

from gateway.cli.durations import length
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, who
from gateway.cli.output import AsJson, faults_told, print_list, print_record
from gateway.cli.tables import Cell
from gateway.cli.views import View
from gateway.cli.words import day, printable
from gateway.core.developer_tokens import LIFETIME, DeveloperToken
from gateway.core.people import developer_id, person_id
from gateway.core.wishes import normal_email
from gateway.keys.developer_tokens import IssuedToken, TokenDesk

HEADINGS: Final = ("id", "developer", "e-mail address", "made", "by", "ends", "revoked")

tokens = typer.Typer(no_args_is_help=True, help="Tokens that people have for the management API.")


def issue(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The person's e-mail address.")],
    lifetime: Annotated[
        str | None,
        typer.Option(
            "--lifetime", metavar="LENGTH", help="How long it lives, as 12h or 7d: 30d if not given, 90d at most."
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for the management API, for a person with a role in some app, and print it, once."""
    wanted = LIFETIME if lifetime is None else length(lifetime)

    async def work(desk: Desk) -> IssuedToken:
        return await _desk(desk).issue_to(email, wanted)

    with faults_told(as_json=as_json):
        made = at_desk(chosen(config, data), work)
        print_record("Token made.", _view(made.record), as_json=as_json, token=made.token, now=made.record.created_at)


@tokens.command("list")
def list_tokens(
    email: Annotated[
        str | None, typer.Option("--developer", metavar="EMAIL", help="Only this person's.", show_default=False)
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """The tokens that people have. Those that ended a day ago or earlier are forgotten."""
    person = None if email is None else person_id(normal_email(email))

    async def work(desk: Desk) -> None:
        people = {developer_id(each.email): each.email async for each in desk.store.developers()}
        known = email is None or normal_email(email) in people.values()
        none = "No tokens." if known else f"No tokens: nobody with the address {printable(email or '')} has a role."

        def row(token: DeveloperToken) -> list[Cell]:
            return _row(token, people.get(token.developer, ""))

        await print_list(_desk(desk).all_of(person), _view, HEADINGS, row, none=none, as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@tokens.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the token, as 'list' shows it.")],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End a token and all that were made with it, now and for good. Ending one again does nothing and succeeds."""

    async def work(desk: Desk) -> tuple[DeveloperToken | None, bool, bool]:
        done = await _desk(desk).revoke(token_id)
        return await _desk(desk).find(token_id), bool(done.changes), done.replicated

    with faults_told(as_json=as_json):
        token, changed, replicated = at_desk(chosen(config, data), work)
        title = "Token revoked." if changed else "The token had been revoked before."
        view = {"id": token_id} if token is None else _view(token)
        print_record(title, view, as_json=as_json, replicated=replicated)


def _desk(desk: Desk) -> TokenDesk:
    return TokenDesk(desk.store, who(), secrets.token_bytes)


def _view(token: DeveloperToken) -> View:
    return {
        "id": token.id,
        "developer": token.developer,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _row(token: DeveloperToken, address: str) -> list[Cell]:
    ended = "" if token.revoked_at is None else day(token.revoked_at)
    made, ends = day(token.created_at), day(token.expires_at)
    who_has_it = Cell(token.developer), Cell(address)
    return [Cell(token.id), *who_has_it, Cell(made), Cell(token.created_by), Cell(ends), Cell(ended)]
