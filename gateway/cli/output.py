"""What commands print: tables and sentences for people, JSON for programs; and their exit codes.

With --json a command prints one value: an object for one thing, an array of objects for many, and for what went wrong
`{"error": {"reason": ..., "message": ...}}`. Times are ISO 8601 in UTC with milliseconds, or null.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

import typer

from gateway.cli.codes import FAILED, INTERRUPTED, REFUSED
from gateway.cli.files import file_sentence, named
from gateway.cli.tables import Cell, print_table
from gateway.cli.words import day, distance, printable
from gateway.core.ledger import ActRefused
from gateway.core.times import iso_time
from gateway.core.token import Secret
from gateway.settings import SettingsInvalid
from gateway.store.contract import StoreUnavailable

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_SPOOL: Final = 16 * 1024 * 1024  # a list of a million lines must not fill the memory
_BETWEEN: Final = ",\n "
_TURN: Final = 500  # lines
_ONCE: Final = "The token is shown this once and kept nowhere: it will not be shown again."
_UNCONFIRMED: Final = (
    "gateway: done, but a replica did not confirm it in time. Until the replica has it, a failover could undo it; a"
    " gateway that has heard of what was ended writes it back then. Look at the replica."
)


class Unusable(Exception):
    """Something that a command needs is at fault, beside the store; `sentences` hold all that is wrong with it."""

    def __init__(self, reason: str, sentences: Iterable[str]) -> None:
        self.reason = reason
        self.sentences = tuple(sentences)
        super().__init__(" ".join(self.sentences))


# Faults ---------------------------------------------------------------------------------------------------------------


@contextmanager
def faults_told(*, as_json: bool) -> Iterator[None]:
    """Say what went wrong, for people or for programs, and exit with the code that says whose fault it is."""
    try:
        with interrupts_told(as_json=as_json):
            yield
    except ActRefused as refused:
        _fail(REFUSED, refused.reason.value, [refused.message], as_json=as_json)
    except StoreUnavailable as away:
        _fail(FAILED, "store_unavailable", str(away).splitlines(), as_json=as_json)
    except SettingsInvalid as error:
        _fail(FAILED, "settings_invalid", map(str, error.faults), as_json=as_json)
    except Unusable as error:
        _fail(FAILED, error.reason, error.sentences, as_json=as_json)
    except BrokenPipeError:
        raise  # whoever reads has had enough; typer ends quietly
    except OSError as error:
        _fail(FAILED, "file_unusable", [file_sentence(error)], as_json=as_json)


@contextmanager
def interrupts_told(*, as_json: bool) -> Iterator[None]:
    """Exit with the code of an interrupt. People know of it; they are told only what the interrupt itself says."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort) as interrupt:
        said = [str(interrupt)] if str(interrupt) else []
        _fail(INTERRUPTED, "interrupted", ["Interrupted.", *said] if as_json else said, as_json=as_json)


def _fail(code: int, reason: str, sentences: Iterable[str], *, as_json: bool) -> NoReturn:
    told = tuple(sentences)
    if as_json:
        # Not when it is standard output that has no room for anything.
        with suppress(OSError):
            typer.echo(json.dumps({"error": {"reason": reason, "message": " ".join(told)}}))
            raise typer.Exit(code)
    for sentence in told:
        typer.echo(f"gateway: {printable(sentence)}", err=True)
    raise typer.Exit(code)


# One thing ------------------------------------------------------------------------------------------------------------


def print_record(
    title: str,
    view: Mapping[str, object],
    *,
    as_json: bool,
    token: Secret | None = None,
    replicated: bool | None = None,
    now: int = 0,
) -> None:
    """Print one thing under a title, with the token that was made for it; warn when a replica did not confirm it."""
    with _loss_told(view, token):
        if as_json:
            more = {} if replicated is None else {"replicated": replicated}
            typer.echo(as_json_text({**view, **({"token": token.reveal()} if token else {}), **more}))
        else:
            lines = [(name, in_words(name, value, now)) for name, value in view.items() if _said(value)]
            _print_lines(title, lines, token)
    if replicated is False:
        typer.echo(_UNCONFIRMED, err=True)


@contextmanager
def _loss_told(view: Mapping[str, object], token: Secret | None) -> Iterator[None]:
    """Say so when a token could not be printed: nobody has it now, and it goes on working."""
    try:
        yield
    except OSError as error:
        if token is None:
            raise
        made = view.get("token_id", view.get("id"))
        typer.echo(
            f"gateway: {made} was made, but its token could not be printed ({error.strerror}) and cannot be had again."
            " End it, and make another.",
            err=True,
        )
        raise typer.Exit(FAILED) from error


def _said(value: object) -> bool:
    return value is not None and value != "" and not isinstance(value, Mapping)


def _print_lines(title: str, lines: Sequence[tuple[str, str]], token: Secret | None) -> None:
    if sys.stdout.isatty():
        _print_in_colour(title, lines, token)
        return
    typer.echo(printable(title))
    for name, value in lines:
        typer.echo(f"{name}: {value}")
    if token:
        typer.echo(f"token: {token.reveal()}\n{_ONCE}")


def _print_in_colour(title: str, lines: Iterable[tuple[str, str]], token: Secret | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(printable(title), style="bold green"))
    table = Table.grid(padding=(0, 2))
    for name, value in lines:
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console.print(table)
    if token:
        # Never folded, so that it can be copied whole from a narrow terminal.
        console.print(Text(token.reveal(), style="bold"), soft_wrap=True)
        console.print(Text(_ONCE, style="yellow"))


# Many things ----------------------------------------------------------------------------------------------------------


async def print_list(
    found: AsyncIterator[T],
    view: Callable[[T], Mapping[str, object]],
    headings: Sequence[str],
    row: Callable[[T], Sequence[Cell]],
    *,
    none: str,
    as_json: bool,
) -> None:
    """Print what is found: an array of its views, or a table of its rows, or for people the sentence `none`."""
    if as_json:
        await print_array(view(each) async for each in found)
        return
    rows = [row(each) async for each in found]
    if rows:
        print_table(headings, rows)
    else:
        typer.echo(none)


async def print_array(views: AsyncIterator[Mapping[str, object]]) -> None:
    """Print an array, an object a line, once the last one is there: so that a store which goes away in between leaves
    an error and not half an array."""
    with tempfile.SpooledTemporaryFile(_SPOOL, "w+", encoding="ascii") as spool:
        count = 0
        with named(Path(tempfile.gettempdir())):
            async for view in views:
                spool.write(f"{_BETWEEN if count else ''}{as_json_text(view)}")
                count += 1
                if count % _TURN == 0:
                    await asyncio.sleep(0)  # where Ctrl-C comes through, whether or not the store ever waits
            spool.seek(0)
        sys.stdout.write("[")
        while piece := spool.read(65_536):
            sys.stdout.write(piece)
        sys.stdout.write("]\n")
        sys.stdout.flush()


# Values ---------------------------------------------------------------------------------------------------------------


def as_json_text(view: Mapping[str, object]) -> str:
    """A view as one line of JSON, its times written out."""
    return json.dumps(_written(view))


def _written(view: Mapping[str, object]) -> dict[str, object]:
    return {name: _json_value(name, value) for name, value in view.items()}


def _json_value(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return _written(value)
    return iso_time(value) if _is_time(name, value) and isinstance(value, int) else value


def _is_time(name: str, value: object) -> bool:
    return (name == "at" or name.endswith("_at")) and isinstance(value, int)


def in_words(name: str, value: object, now: int = 0) -> str:
    """A value of a view, for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and _is_time(name, value):
        return f"{day(value)}, {distance(value - now)}" if now else day(value)
    if isinstance(value, list | tuple):
        return printable(" ".join(map(str, value))) or "none"
    return printable(str(value))
