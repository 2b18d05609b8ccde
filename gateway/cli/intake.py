"""`gateway keys import` and `gateway users import`: tokens that exist elsewhere."""

import csv
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from gateway.cli.codes import REFUSED
from gateway.cli.files import reading, require_output, written
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, known_scopes, own_files
from gateway.cli.output import AsJson, as_json_text, faults_told
from gateway.cli.progress import Advance, lines, progress
from gateway.core.intake import RowT
from gateway.core.intake_rows import RowRefused
from gateway.keys.intake import Intake, Tally, key_intake, token_intake
from gateway.keys.intake_file import ADDED, KEY_COLUMNS, USER_COLUMNS, Columns, read_rows
from gateway.settings import Settings

Rows = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="CSV with headings or a JSON object a line, or - for standard input. It holds no tokens: sha256 is the"
        " SHA-256 of the whole token as 64 hex digits. Times are ISO 8601 with a zone, or UTC milliseconds.",
    ),
]
Bad = Annotated[Path, typer.Option("--bad", metavar="FILE", help="Where refused rows are written, with the reasons.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would come of it, and change nothing in the store.")]

BAD: Final = Path("bad.csv")
_SHOWN: Final = 10  # refused rows on the terminal; all of them are in the file


def import_keys(
    file: Rows,
    bad: Bad = BAD,
    dry_run: DryRun = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Import API keys issued elsewhere: id, sha256, app, name, scopes (spaces between), created_at, expires_at.

    Good rows are taken in whatever becomes of the others. What was taken in before is not taken in again.
    """
    with faults_told(as_json=as_json), reading(file) as source:
        settings = chosen(config, data)
        scopes = known_scopes(settings)
        _import(
            lambda desk: key_intake(desk.store, desk.keeper.who, scopes),
            KEY_COLUMNS,
            _Order(settings, source, bad, own_files(settings, config, data), dry_run=dry_run, as_json=as_json),
        )


def import_users(
    file: Rows,
    bad: Bad = BAD,
    dry_run: DryRun = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Import user tokens issued elsewhere: id, sha256, app, user or external_id, created_at, expires_at.

    Users that there are not yet are made. Good rows are taken in whatever becomes of the others. What was taken in
    before is not taken in again.
    """
    with faults_told(as_json=as_json), reading(file) as source:
        settings = chosen(config, data)
        _import(
            lambda desk: token_intake(desk.store, desk.keeper.who, desk.keeper.entropy),
            USER_COLUMNS,
            _Order(settings, source, bad, own_files(settings, config, data), dry_run=dry_run, as_json=as_json),
        )


@dataclass(frozen=True, slots=True)
class _Order:
    """What was typed, and which files must stay as they are."""

    settings: Settings
    file: BinaryIO
    bad: Path
    kept: list[Path]
    dry_run: bool
    as_json: bool


def _import(intake: Callable[[Desk], Intake[RowT]], columns: Columns, order: _Order) -> None:
    # Found out now, and not at the first refused row, in the midst of it all.
    require_output(order.bad, [*order.kept, *_descriptor(order.file)])
    tally = Tally()
    with progress("rows", lines(order.file)) as advance, ExitStack() as closing:
        report = BadRows(order.bad, columns, advance, closing)

        async def work(desk: Desk) -> None:
            await intake(desk).run(read_rows(order.file, columns), report, dry_run=order.dry_run, tally=tally)

        try:
            at_desk(order.settings, work)
        except KeyboardInterrupt:
            if order.dry_run:
                raise
            raise KeyboardInterrupt(
                f"At least {tally.taken:,} rows had been taken in; the same command goes on from there."
            ) from None
    _tell(tally, report.shown, order)
    if tally.refused:
        raise typer.Exit(REFUSED)


def _descriptor(file: BinaryIO) -> list[int]:
    with suppress(OSError):  # what is no file of the system's is none that could be written over
        return [file.fileno()]
    return []


class BadRows:
    """A file of refused rows and why, there only if there are any; the rest of a `Report` is shown."""

    def __init__(self, path: Path, columns: Columns, advance: Advance, closing: ExitStack) -> None:
        self.advance = advance
        self.shown: list[str] = []
        self._path = path
        self._columns = (*ADDED, *columns.needed, *columns.either)
        self._closing = closing
        self._writer: csv.DictWriter[str] | None = None

    def refuse(self, line: int, refusal: RowRefused, columns: dict[str, str]) -> None:
        """Keep a refused row, and a sentence on each of the first."""
        self._writer = self._writer or self._begun()
        told = {"line": str(line), "reason": refusal.reason.value, "message": refusal.message}
        self._writer.writerow({name: _writable(value) for name, value in (told | columns).items()})
        if len(self.shown) < _SHOWN:
            self.shown.append(f"line {line}: {refusal.reason.value}: {refusal.message}")

    def _begun(self) -> "csv.DictWriter[str]":
        file = self._closing.enter_context(written(self._path))
        writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        return writer


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _tell(tally: Tally, shown: list[str], order: _Order) -> None:
    if order.as_json:
        view: dict[str, object] = {**asdict(tally), "dry_run": order.dry_run}
        if tally.refused:
            view["bad"] = str(order.bad)
            view["error"] = {"reason": "rows_refused", "message": _refused(tally, order)}
        typer.echo(as_json_text(view))
        return
    typer.echo(_summary(tally, dry_run=order.dry_run))
    for sentence in shown:
        typer.echo(f"gateway: {sentence}", err=True)
    if tally.refused:
        typer.echo(f"gateway: {_refused(tally, order)}", err=True)


def _summary(tally: Tally, *, dry_run: bool) -> str:
    parts = [f"{tally.taken:,} of {tally.rows:,} rows {'would be' if dry_run else 'were'} taken in"]
    if tally.expired:
        parts.append(f"{tally.expired:,} of them expired before, and are history")
    if tally.known:
        parts.append(f"{tally.known:,} had been taken in before")
    if tally.unconfirmed:
        parts.append(f"no replica confirmed {tally.unconfirmed:,} of them in time")
    return "; ".join(parts) + "."


def _refused(tally: Tally, order: _Order) -> str:
    rows = "1 row" if tally.refused == 1 else f"{tally.refused:,} rows"
    verb = "would be" if order.dry_run else "was" if tally.refused == 1 else "were"
    return f"{rows} {verb} refused; see {order.bad}."
