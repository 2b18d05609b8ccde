"""`gateway reminders`: who was told of keys that end and of leaks, who is to be, and whether the way there works."""

import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import structlog
import typer

from gateway.cli.codes import FAILED
from gateway.cli.durations import moment
from gateway.cli.finding import OfAnyApp, of_app
from gateway.cli.helping import either
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen
from gateway.cli.output import AsJson, Unusable, faults_told, print_list, print_record
from gateway.cli.tables import Cell
from gateway.cli.views import View
from gateway.cli.words import day
from gateway.clock import Clock
from gateway.control.due import Planned
from gateway.control.letters import trial
from gateway.control.mail import Mailer
from gateway.control.notifier import Notifier, Turn
from gateway.control.senders import Senders, SendersFaulty, senders_from
from gateway.core.ledger import ActReason, ActRefused, Item, ItemKind
from gateway.core.notices import Channel, Notice, NoticeState, Outcome, notice_of
from gateway.core.people import developer_id
from gateway.core.wishes import email_faults
from gateway.metrics import NoticeCounts
from gateway.settings import Settings
from gateway.store.contract import StoreBroken

reminders = typer.Typer(
    no_args_is_help=True, help="Notices to developers: keys that end soon, credentials that leaked."
)

_HEADINGS: Final = ("about", "mark", "recipient", "by", "state", "tries", "last", "error")
_PLANNED: Final = ("about", "mark", "recipient", "by")
_NO_SENDER: Final = (
    "Nobody is told of anything: set reminders.smtp (host, sender) or reminders.webhooks, as docs/leaks.md shows."
)
_STYLES: Final = {NoticeState.SENT: "green", NoticeState.FAILED: "bold red", NoticeState.WAITING: "yellow"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the ledger, with the address of whom it is for, as far as somebody with a role has it."""

    notice: Notice
    address: str

    def view(self) -> View:
        notice, wanted = self.notice, self.notice.wanted
        return {
            "id": wanted.id,
            "app": wanted.app_id,
            "subject": wanted.subject,
            "mark": wanted.mark.value,
            "channel": wanted.channel.value,
            "recipient": wanted.recipient,
            "address": self.address or None,
            "state": notice.state.value,
            "attempts": notice.attempts,
            "changed_at": notice.changed_at,
            "error": notice.error or None,
            "code": notice.code or None,
        }

    def row(self) -> list[Cell]:
        notice, wanted = self.notice, self.notice.wanted
        return [
            Cell(wanted.subject),
            Cell(wanted.mark.value),
            Cell(self.address or wanted.recipient),
            Cell(wanted.channel.value),
            Cell(notice.state.value, _STYLES.get(notice.state, "")),
            Cell(f"{notice.attempts}"),
            Cell(day(notice.changed_at)),
            Cell(" ".join(filter(None, (notice.error, f"{notice.code or ''}")))),
        ]


@reminders.command("list")
def list_reminders(
    app: OfAnyApp = None,
    state: Annotated[
        NoticeState | None,
        typer.Option("--state", metavar=either(NoticeState), help="Only those in this state.", show_default=False),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Who was told of what, by what, and what is still to be sent or has failed."""

    async def work(desk: Desk) -> None:
        people = {developer_id(person.email): person.email async for person in desk.store.developers()}

        async def found() -> AsyncIterator[_Row]:
            async for item in of_app(desk, app, lambda owner: desk.store.items(ItemKind.NOTICE, owner)):
                notice = _read(item)
                if state in {None, notice.state}:
                    yield _Row(notice, people.get(notice.wanted.recipient, ""))

        await print_list(found(), _Row.view, _HEADINGS, _Row.row, none="No reminders yet.", as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@reminders.command("run")
def run(
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="As if it were this date or time, UTC.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: list what would be sent.")] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send now what is due, each notice once, whatever gateways do meanwhile. They do it by themselves."""

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the answer

    async def work(desk: Desk) -> Turn | None:
        notifier = _notifier(desk, None if at is None else moment(at), dry_run=dry_run)
        if dry_run:
            due = notifier.planned()
            await print_list(due, _planned_view, _PLANNED, _planned_row, none="Nothing is due.", as_json=as_json)
            return None
        return await notifier.turn()

    with faults_told(as_json=as_json):
        turn = at_desk(chosen(config, data), work)
        if turn is not None:
            print_record("Reminders looked through.", asdict(turn), as_json=as_json)
            if turn.failed or turn.nobody:
                raise typer.Exit(FAILED)


@reminders.command("test")
def try_one(
    to: Annotated[str, typer.Argument(metavar="TO", help="An e-mail address, or the name of a webhook.")],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send a trial notice to an address or a webhook, and tell what came of it."""
    with faults_told(as_json=as_json):
        outcome = at_desk(chosen(config, data), lambda desk: _try(desk.settings, to))
        view = {"to": to, "state": outcome.state.value, "error": outcome.error or None, "code": outcome.code or None}
        print_record("Trial sent." if outcome.state is NoticeState.SENT else "Trial not sent.", view, as_json=as_json)
        if outcome.state is not NoticeState.SENT:
            raise typer.Exit(FAILED)


async def _try(settings: Settings, to: str) -> Outcome:
    senders, now = _senders(settings), Clock()()
    notice_id = f"trial-{now}"
    hook = next((hook for hook in senders.hooks if hook.name == to), None)
    if hook is not None:
        return await hook.sender.send(trial(now), notice_id, now)
    if any(email_faults(to)) or senders.mailer is None:
        names = ", ".join(hook.name for hook in senders.hooks) or "none"
        mails = "an e-mail address, or " if senders.mailer else "(reminders.smtp is not set) "
        raise ActRefused(
            ActReason.WISH_INVALID, f"Nobody can be told at {to!r}: give {mails}a webhook; there are {names}."
        )
    return await senders.mailer.send(to, trial(now), notice_id)


def _notifier(desk: Desk, at: int | None, *, dry_run: bool) -> Notifier:
    settings, clock = desk.settings.reminders, Clock()
    return Notifier(
        desk.store,
        _mapped(desk.settings) if dry_run else _senders(desk.settings),
        clock if at is None else lambda: at,
        NoticeCounts(),
        every=settings.every,
        whole_account=settings.recipients == "account",
    )


def _senders(settings: Settings) -> Senders:
    senders = _set_senders(settings)
    if not senders:
        raise Unusable("reminders_unusable", [_NO_SENDER])
    return senders


def _mapped(settings: Settings) -> Senders:
    """The senders to list what is due by: where none is set, that of mails, by which every developer is told."""
    senders = _set_senders(settings)
    if senders:
        return senders
    typer.echo(f"gateway: {_NO_SENDER}", err=True)
    return Senders(Mailer(settings.reminders.smtp))


def _set_senders(settings: Settings) -> Senders:
    try:
        return senders_from(settings.reminders)
    except SendersFaulty as error:
        raise Unusable("reminders_unusable", str(error).splitlines()) from error


def _read(item: Item) -> Notice:
    try:
        return notice_of(item)
    except ValueError as error:
        raise StoreBroken(f"The store is damaged: {error}, under the id {item.id}.") from error


def _planned_view(planned: Planned) -> View:
    wanted = planned.wanted
    by_mail = wanted.channel is Channel.EMAIL
    return {
        "id": wanted.id,
        "app": wanted.app_id,
        "subject": wanted.subject,
        "mark": wanted.mark.value,
        "channel": wanted.channel.value,
        "recipient": wanted.recipient,
        "address": planned.to if by_mail else None,
    }


def _planned_row(planned: Planned) -> list[Cell]:
    wanted = planned.wanted
    return [Cell(wanted.subject), Cell(wanted.mark.value), Cell(planned.to), Cell(wanted.channel.value)]
