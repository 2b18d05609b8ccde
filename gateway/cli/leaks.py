"""`gateway leaks`: to report a credential that leaked, and where such credentials were seen."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

import typer

from gateway.cli.finding import OfAnyApp, hinted, of_app, secret_input
from gateway.cli.incidents import desk_of, print_incident
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen
from gateway.cli.output import AsJson, Unusable, faults_told, print_list, print_record
from gateway.cli.tables import Cell
from gateway.cli.views import View
from gateway.cli.words import day
from gateway.core.incidents import Incident
from gateway.core.sightings import Sighting, sighting
from gateway.keys.leaks import Reported

leaks = typer.Typer(no_args_is_help=True, help="Credentials that leaked: they end at once.")

_HEADINGS: Final = ("at", "incident", "credential", "by", "source", "url")
_TAKEN: Final = (
    "Report taken. If the token is one of this gateway's it has ended, and an incident tells of it: see 'gateway"
    " incidents list'. Whether it was one is never shown to whoever reports."
)

Place = Annotated[str, typer.Option("--url", help="Where it was seen. It is never fetched.", show_default=False)]
Source = Annotated[str, typer.Option("--source", help="What kind of place that is, in a word.", show_default=False)]


@dataclass(frozen=True, slots=True)
class _Seen:
    incident: Incident
    sighting: Sighting

    def view(self) -> View:
        return {
            "incident": self.incident.id,
            "app": self.incident.app_id,
            "subject": self.incident.subject.value,
            "subject_id": self.incident.subject_id,
            "at": self.sighting.at,
            "by": self.sighting.by,
            "source": self.sighting.source,
            "url": self.sighting.url,
            "type": self.sighting.type,
        }

    def row(self) -> list[Cell]:
        seen = self.sighting
        credential = f"{self.incident.subject.value} {self.incident.subject_id}"
        return [*map(Cell, (day(seen.at), self.incident.id, credential, seen.by, seen.source, seen.url))]


@leaks.command("report")
def report(
    credential: Annotated[
        str | None,
        typer.Option("--id", metavar="KEY_ID", help="The id of the key or user token.", show_default=False),
    ] = None,
    from_stdin: Annotated[
        bool, typer.Option("--stdin", help="The whole token is read from standard input, unseen on a terminal.")
    ] = False,
    url: Place = "",
    source: Source = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End a credential that leaked, and open an incident. A token is kept nowhere, and the answer tells nothing of
    it."""
    if from_stdin == (credential is not None):
        raise typer.BadParameter("say which: --id KEY_ID, or --stdin for the whole token")

    async def by_id(desk: Desk) -> Reported:
        async with hinted(desk.store, key=credential):
            told = sighting(credential or "", source=source, url=url)
            return await desk_of(desk).report_id(credential or "", told)

    async def by_token(desk: Desk) -> None:
        await desk_of(desk).report_token(token, sighting(token, source=source, url=url))

    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        if credential is not None:
            reported = at_desk(settings, by_id)
            print_incident("Report taken; the credential has ended.", reported, as_json=as_json)
            return
        token = _token()
        at_desk(settings, by_token)
        print_record(_TAKEN, {"taken": True} if as_json else {}, as_json=as_json)


@leaks.command("list")
def list_leaks(app: OfAnyApp = None, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Where credentials were seen, incident by incident."""

    async def seen(desk: Desk) -> AsyncIterator[_Seen]:
        async for incident in of_app(desk, app, desk_of(desk).incidents):
            for each in incident.sightings:
                yield _Seen(incident, each)

    async def work(desk: Desk) -> None:
        await print_list(seen(desk), _Seen.view, _HEADINGS, _Seen.row, none="No leaks were reported.", as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@leaks.command("rehearse")
def rehearse(
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="URL", help="Where the 'gateway dev' listens for clients.")
    ] = "http://127.0.0.1:8080",
    url: Place = "https://example.com/rehearsal",
    as_json: AsJson = False,
) -> None:
    """Report the token on standard input to a 'gateway dev' as GitHub would: signed, over HTTP. No other gateway
    believes it."""
    with faults_told(as_json=as_json):
        status = asyncio.run(_rehearsed(gateway.rstrip("/"), _token(), url))
        print_record(f"The gateway answered {status}: {_TOOK}", {"status": status} if as_json else {}, as_json=as_json)


async def _rehearsed(gateway: str, token: str, url: str) -> int:
    from aiohttp import ClientError, ClientSession, ClientTimeout

    from gateway.dev.reporter import reporter

    record = {"token": token, "type": "gateway_rehearsal", "url": url, "source": "rehearsal"}
    body, headers = reporter().report([record])
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=30)) as session,
            session.post(f"{gateway}/leaks/github", data=body, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
    except (ClientError, OSError, ValueError) as error:
        raise Unusable("gateway_away", [f"{gateway} gives no answer ({type(error).__name__}).", _HOW]) from error
    if status != HTTPStatus.NO_CONTENT:
        raise Unusable("report_not_taken", [f"{gateway} answered {status}, and took nothing.", _HOW])
    return status


_TOOK: Final = "it took the report. Now look: 'gateway incidents list --data DIR', DIR being that of the 'gateway dev'."
_LONGEST: Final = 1024  # characters; the longest token that there is takes half of it
_HOW: Final = "Start a 'gateway dev', and name its address with --gateway."


def _token() -> str:
    token = secret_input("Token: ").strip()
    if not token:
        raise typer.BadParameter("standard input holds no token")
    if len(token) > _LONGEST or not token.isascii() or not token.isprintable() or " " in token:
        # A person would believe that it has ended.
        raise typer.BadParameter("standard input is to hold one token, whole, and nothing beside it")
    return token
