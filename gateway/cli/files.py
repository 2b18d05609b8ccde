"""Files that a command writes: none that the gateway needs, for their user's eyes only, whole or not at all."""

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, BinaryIO, Final

from gateway.keys.export_file import made_whole

STANDARD: Final = Path("-")  # what stands for standard input or output

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def require_output(output: Path, kept: Iterable[Path | int]) -> None:
    """Return when a file can be made at `output`, or put in the place of the one that is there.

    Raises `OSError` with the sentence where that cannot be done; where something stands that is no regular file; and
    for each of the files `kept`, by name or by descriptor, whichever way `output` leads to it.
    """
    if output == STANDARD:
        raise _refused(output, "this is not written to standard output; name a file")
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(output.stat().st_mode):
            raise _refused(output, "this is no regular file, and is left as it is; name a file")
    if any(_same(output, each) for each in kept):
        raise _refused(output, "the gateway needs this file, or the command reads it; name another")
    with writing(output), tempfile.NamedTemporaryFile(prefix=f".{output.name}-", dir=output.parent):
        pass


def file_sentence(error: OSError) -> str:
    """What is the matter with a file, the same wherever one that is missing was to be read."""
    said = error.strerror or type(error).__name__
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        said = f"cannot be read: {said}"
    # What is written into any file names it.
    name = error.filename or ("standard output" if error.errno in FULL else "")
    return f"{name}: {said}." if name else f"{said}."


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Say of a file that could not be made that it was to be written."""
    try:
        yield
    except OSError as error:
        raise _refused(file, f"cannot be written: {error.strerror}") from error


@contextmanager
def reading(file: Path) -> Iterator[BinaryIO]:
    """A file, or standard input. Raises `OSError` with its name."""
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    with file.open("rb") as opened:
        yield opened


def _same(output: Path, other: Path | int) -> bool:
    with suppress(OSError):
        there = other.stat() if isinstance(other, Path) else os.fstat(other)
        if os.path.samestat(output.stat(), there):
            return True
    # Neither need be there: SQLite makes some of its files later.
    return isinstance(other, Path) and output.resolve() == other.resolve()


def _refused(file: Path, sentence: str) -> OSError:
    return OSError(errno.EINVAL, sentence, str(file))


def private_file(file: Path) -> IO[str]:
    """A new file of mode 0600. Raises `FileExistsError` rather than touch one that is there."""
    return open(file, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))


@contextmanager
def written(output: Path | None) -> Iterator[IO[str]]:
    """Standard output; or a file of mode 0600, which is there, in place of an older one, only once all is written."""
    if output is None:
        yield sys.stdout
        return
    with named(output), made_whole(output) as file:
        text = TextIOWrapper(file, "utf-8")
        yield text
        text.detach()  # which writes what is left, and leaves the file open


@contextmanager
def named(file: Path) -> Iterator[None]:
    """Name the file in the fault of a full disk, which comes without a name."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(file)
        raise
