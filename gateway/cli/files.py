"""Files that a command writes for its user's eyes only."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def private_file(file: Path) -> IO[str]:
    """A new file of mode 0600. Raises `FileExistsError` rather than touch one that is there."""
    return open(file, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))


@contextmanager
def written(output: Path | None) -> Iterator[IO[str]]:
    """Standard output; or a file of mode 0600, which is there, in place of an older one, only once all is written."""
    if output is None:
        yield sys.stdout
        return
    if output.exists() and not output.is_file():  # a pipe or a terminal, which is not to be replaced
        with output.open("w", encoding="utf-8") as file:
            yield file
        return
    unfinished = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        with private_file(unfinished) as file:
            yield file
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
