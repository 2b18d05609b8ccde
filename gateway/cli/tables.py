"""Tables for people."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import typer

from gateway.cli.words import printable

if TYPE_CHECKING:
    from rich.console import Console

# What people wrote, which may be long, and what is read word by word. All else is copied whole: ids above all.
_FOLDED: Final = frozenset(
    {"name", "account", "scopes", "external id", "url", "what", "error"}
    | {"coordinate", "path", "rule", "root field", "api keys", "user tokens", "own user"}
)
_LEAST: Final = 12  # columns of a terminal for what is folded: less is no longer read
_GAP: Final = 2


class Cell(NamedTuple):
    """A text with its style in a terminal."""

    text: str
    style: str = ""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table: in colour on a terminal, else in plain columns. What may be copied is never broken: where the
    columns do not fit into the terminal, each row is a block of lines."""
    told = [[Cell(printable(cell.text), cell.style) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        lines = [headings, *([cell.text for cell in row] for row in told)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich.console import Console

    console = Console(highlight=False)
    if sum(_needed(headings, told)) <= console.width:
        _print_columns(console, headings, told)
    else:
        _print_blocks(console, headings, told)


def _is_folded(heading: str) -> bool:
    return heading.lower() in _FOLDED


def _needed(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[int]:
    """The least widths with which the columns can be read and copied."""
    from rich.cells import cell_len

    longest = (max(cell_len(cell.text) for cell in column) for column in zip(*rows, strict=True))
    return [
        max(cell_len(heading), min(longest, _LEAST) if _is_folded(heading) else longest) + _GAP
        for heading, longest in zip(headings, longest, strict=True)
    ]


def _print_columns(console: "Console", headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, _GAP, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=not _is_folded(heading))
    for row in rows:
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    console.print(table)


def _print_blocks(console: "Console", headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.text import Text

    for number, row in enumerate(rows):
        if number:
            console.print()
        for heading, cell in zip(headings, row, strict=True):
            if cell.text:
                line = Text.assemble((f"{heading}: ", "dim"), (cell.text, cell.style))
                # Folded by the terminal alone, so that it is copied whole.
                console.print(line, soft_wrap=True)
