"""`gateway incidents`: credentials that leaked, and what people decide about them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from gateway.cli.finding import OfAnyApp, of_app
from gateway.cli.helping import either
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, who
from gateway.cli.output import AsJson, as_json_text, faults_told, print_list, print_record
from gateway.cli.tables import Cell, print_table
from gateway.cli.views import View
from gateway.cli.words import day
from gateway.core.incidents import Incident, IncidentState, Subject
from gateway.core.times import iso_time
from gateway.keys.leaks import LeakDesk, Reported, with_later_notes

incidents = typer.Typer(no_args_is_help=True, help="Credentials that leaked, one incident for each.")

IncidentId = Annotated[str, typer.Argument(metavar="INCIDENT", help="The id of the incident.")]

_HEADINGS: Final = ("id", "app", "credential", "state", "opened", "times seen", "ended", "refused since")
_SIGHTINGS: Final = ("at", "by", "source", "url", "type")
_WORDS: Final = {
    "proven": "whole token known",
    "count": "times seen",
    "requests": "requests a day",
    "refused_since": "refused since the leak",
}
_STYLES: Final = {IncidentState.OPEN: "bold red", IncidentState.ACKNOWLEDGED: "yellow", IncidentState.CLOSED: "dim"}


@dataclass(frozen=True, slots=True)
class _Shown:
    incident: Incident
    refused: int

    def view(self) -> View:
        counted = self.incident.subject is Subject.KEY  # of user tokens no use is noted
        return {**incident_view(self.incident), "refused_since": self.refused if counted else None}

    def row(self) -> list[Cell]:
        incident = self.incident
        return [
            Cell(incident.id),
            Cell(incident.app_id),
            Cell(f"{incident.subject.value} {incident.subject_id}"),
            Cell(incident.state.value, _STYLES[incident.state]),
            Cell(day(incident.opened_at)),
            Cell(f"{incident.count}"),
            Cell("by the report" if incident.ended else "no" if not incident.proven else "before"),
            Cell(f"{self.refused}" if incident.subject is Subject.KEY else "not counted"),
        ]


def desk_of(desk: Desk) -> LeakDesk:
    """Who takes reports and decisions for this command."""
    return LeakDesk(desk.store, who(), desk.keeper.prefixes)


def incident_view(incident: Incident) -> View:
    """An incident, without where it was seen; `requests` are those of eight days, the last one that of its opening."""
    return {
        "id": incident.id,
        "app": incident.app_id,
        "subject": incident.subject.value,
        "subject_id": incident.subject_id,
        "state": incident.state.value,
        "proven": incident.proven,
        "ended": incident.ended,
        "opened_at": incident.opened_at,
        "reporter": incident.reporter,
        "count": incident.count,
        "last_used_at": incident.last_used_at,
        "requests": list(incident.requests) if incident.subject is Subject.KEY else None,
        "changed_at": incident.changed_at,
        "changed_by": incident.changed_by,
    }


def in_plain_words(incident: Incident, view: View) -> View:
    """A view of an incident for people, who read words and not members."""
    told = dict(view)
    if told["requests"] is not None:
        counts = zip(_days(incident), incident.requests, strict=True)
        told["requests"] = ", ".join(f"{day} {count}" for day, count in counts)
    return {_WORDS.get(name, name): value for name, value in told.items()}


def print_incident(title: str, reported: Reported, *, as_json: bool) -> None:
    """Print an incident that was reported or decided about."""
    incident = reported.incident
    view = incident_view(incident) if as_json else in_plain_words(incident, incident_view(incident))
    print_record(title, view, as_json=as_json, replicated=reported.done.replicated)


def _days(incident: Incident) -> Iterator[str]:
    """The days whose requests are counted, the last one that of the opening."""
    opened = datetime.fromtimestamp(incident.opened_at / 1000, UTC)
    for ago in reversed(range(len(incident.requests))):
        yield f"{opened - timedelta(ago):%d %b}"


@incidents.command("list")
def list_incidents(
    app: OfAnyApp = None,
    state: Annotated[
        IncidentState | None,
        typer.Option("--state", metavar=either(IncidentState), help="Only those in this state.", show_default=False),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What leaked, and how far people are with it.

    Ended: "by the report", which ended the credential; "before" it, so that nothing was left to end; "no", where only
    its id was named and the report ended nothing: see whether it works. Refused since: how often a key was tried, in
    vain, from the day of the report on.
    """

    async def shown(desk: Desk) -> AsyncIterator[_Shown]:
        at = desk_of(desk)
        async for incident in of_app(desk, app, at.incidents):
            if state in {None, incident.state}:
                yield await _seen(at, incident)

    async def work(desk: Desk) -> None:
        await print_list(shown(desk), _Shown.view, _HEADINGS, _Shown.row, none="No incidents.", as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@incidents.command("show")
def show(incident: IncidentId, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """One incident, with where the credential was seen."""

    async def work(desk: Desk) -> _Shown:
        at = desk_of(desk)
        return await _seen(at, await at.incident(incident))

    with faults_told(as_json=as_json):
        shown = at_desk(chosen(config, data), work)
        sightings = shown.incident.sightings
        if as_json:
            seen = [{**asdict(sighting), "at": iso_time(sighting.at)} for sighting in sightings]
            typer.echo(as_json_text({**shown.view(), "sightings": seen}))
            return
        print_record("Incident.", in_plain_words(shown.incident, shown.view()), as_json=False)
        rows = [(day(each.at), each.by, each.source, each.url, each.type) for each in sightings]
        print_table(_SIGHTINGS, [[*map(Cell, row)] for row in rows])


@incidents.command("acknowledge")
def acknowledge(incident: IncidentId, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Say that somebody sees to an open incident."""
    _decided("Incident acknowledged.", incident, LeakDesk.acknowledge, config, data, as_json=as_json)


@incidents.command("close")
def close(incident: IncidentId, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Say that an incident is over. It is opened anew if the credential is found to work, or to be known whole."""
    _decided("Incident closed.", incident, LeakDesk.close, config, data, as_json=as_json)


def _decided(
    title: str,
    incident: str,
    decide: Callable[[LeakDesk, str], Awaitable[Reported]],
    config: Config,
    data: Data,
    *,
    as_json: bool,
) -> None:
    async def work(desk: Desk) -> Reported:
        return await decide(desk_of(desk), incident)

    with faults_told(as_json=as_json):
        reported = at_desk(chosen(config, data), work)
        if not reported.done.changes:
            title = f"Nothing changed: the incident is {reported.incident.state.value}."
        print_incident(title, reported, as_json=as_json)


async def _seen(desk: LeakDesk, incident: Incident) -> _Shown:
    (fresh,) = await with_later_notes(desk.store, [incident])
    return _Shown(fresh, (await desk.refused_since([incident]))[incident.id])
