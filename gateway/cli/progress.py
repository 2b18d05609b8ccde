"""How far something long has come, for whoever watches a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

Advance = Callable[[int], None]


@contextmanager
def progress(title: str, total: int | None = None, *, sizes: bool = False) -> Iterator[Advance]:
    """Takes counts of what was done more, of bytes if these are `sizes`, and shows their sum on a terminal; elsewhere
    nothing is shown."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counted = DownloadColumn() if sizes else MofNCompleteColumn()
    columns = TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def lines(file: BinaryIO) -> int | None:
    """How many lines there are, for who watches a terminal; None when nobody does, or they can be read only once."""
    if not (sys.stderr.isatty() and file.seekable()):
        return None
    count = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    file.seek(0)
    return count
