"""Tables for people."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import typer

from gateway.cli.words import printable


class Cell(NamedTuple):
    """A text with its style in a terminal."""

    text: str
    style: str = ""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table: in colour on a terminal, else in plain columns."""
    if not sys.stdout.isatty():
        lines = [headings, *([printable(cell.text) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell.text), style=cell.style) for cell in row))
    Console(highlight=False).print(table)
