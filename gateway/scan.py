"""Looks for tokens in files: without a network, in memory that does not grow with them, on all processors.

Archives and compressed files, as what git keeps of the past, are searched as they lie there, and not opened.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import BinaryIO, Final, NamedTuple

from gateway.core.traces import MARGIN, Shapes

BLOCK: Final = 1024 * 1024  # what is read at once, and stays in the processor's cache
PIECE: Final = 64 * 1024 * 1024  # of a long file: what one process does at once
_JOB_BYTES: Final = 32 * 1024 * 1024  # of many short ones
_JOB_FILES: Final = 1_000
ALONE: Final = 128 * 1024 * 1024  # what one process has searched before others have started


class Piece(NamedTuple):
    """So many bytes of a file; the last one goes on to the end, wherever that is by then: some files say that they are
    empty, and are not."""

    path: str
    start: int
    size: int
    last: bool = False


class Found(NamedTuple):
    """A token in a file."""

    path: str
    line: int
    kind: str
    id: str


class Unread(NamedTuple):
    """A file or directory that could not be searched, and why."""

    path: str
    why: str


NO_FILE: Final = "not a file"  # a pipe, a socket or a device: nothing lies in it
NAMED_NO_FILE: Final = "not a file; what comes from a pipe is searched as standard input, which is -"


@dataclass(slots=True)
class Tree:
    """What is to be searched, and what is not: symbolic links, which are not followed, and what is no file."""

    pieces: list[Piece] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    links: int = 0
    repositories: int = 0


@dataclass(slots=True)
class Searched:
    """What came of a job, or of all of them."""

    bytes: int = 0
    found: list[Found] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)


def tree_of(paths: Iterable[Path]) -> Tree:
    """All files below the paths. Raises `OSError` for one of the paths itself that cannot be looked at."""
    tree = Tree()
    # What is named twice is searched once, and what lies below something else that is named, with that.
    named = {Path(os.path.realpath(path)): path for path in paths}
    for real, path in named.items():
        entry = path.stat()
        if not named.keys().isdisjoint(real.parents):
            continue
        if stat.S_ISDIR(entry.st_mode):
            _walk(tree, str(path))
        elif stat.S_ISREG(entry.st_mode):
            _add(tree, str(path), entry)
        else:
            tree.unread.append(Unread(str(path), NAMED_NO_FILE))
    return tree


def search(tree: Tree, shapes: Shapes, *, alone: int = ALONE) -> Iterator[Searched]:
    """What comes of each part of the search, as it is done; fewer bytes than `alone` by this process alone."""
    jobs = _jobs(tree.pieces)
    workers = min(len(os.sched_getaffinity(0)), len(jobs))
    if workers < 2 or tree.bytes < alone:
        for job in jobs:
            yield _search(job, shapes)
        return
    # Not by a fork: whoever shows how far it has come has threads.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=signal, initargs=(SIGINT, SIG_IGN))
    try:
        for future in as_completed([pool.submit(_search, job, shapes) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def search_stream(stream: BinaryIO, name: str, shapes: Shapes) -> Iterator[Searched]:
    """What comes of each part of something that can be read once, as it comes; lines are counted in it."""
    held, begin, line, more = b"", 0, 1, True
    while more:
        data = stream.read(BLOCK)
        more = bool(data)
        held += data
        # What begins in the last bytes is looked at together with what follows them.
        end = max(begin, len(held) - MARGIN) if more else len(held)
        found = [
            Found(name, line + held.count(b"\n", 0, trace.start), trace.kind, trace.id)
            for trace in sorted(shapes.find(held, begin, end))
        ]
        yield Searched(len(data), found)
        done = max(0, end - MARGIN)
        line += held.count(b"\n", 0, done)
        held, begin = held[done:], end - done


def _walk(tree: Tree, directory: str) -> None:
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    _enter(tree, entry, waiting)
        except OSError as error:
            tree.unread.append(Unread(here, error.strerror or type(error).__name__))


def _enter(tree: Tree, entry: os.DirEntry[str], waiting: list[str]) -> None:
    if entry.is_symlink():
        tree.links += 1
    elif entry.is_dir(follow_symlinks=False):
        tree.repositories += entry.name == ".git"
        waiting.append(entry.path)
    else:
        try:
            _add(tree, entry.path, entry.stat(follow_symlinks=False))
        except OSError as error:  # it is gone
            tree.unread.append(Unread(entry.path, error.strerror or type(error).__name__))


def _add(tree: Tree, path: str, entry: os.stat_result) -> None:
    if not stat.S_ISREG(entry.st_mode):
        tree.unread.append(Unread(path, NO_FILE))
        return
    tree.files += 1
    tree.bytes += entry.st_size
    whole, rest = divmod(entry.st_size, PIECE)
    tree.pieces.extend(Piece(path, number * PIECE, PIECE) for number in range(whole))
    tree.pieces.append(Piece(path, whole * PIECE, rest, last=True))


def _jobs(pieces: Iterable[Piece]) -> list[list[Piece]]:
    jobs: list[list[Piece]] = [[]]
    size = 0
    for piece in pieces:
        if jobs[-1] and (size + piece.size > _JOB_BYTES or len(jobs[-1]) >= _JOB_FILES):
            jobs.append([])
            size = 0
        jobs[-1].append(piece)
        size += piece.size
    return jobs


def _search(job: Sequence[Piece], shapes: Shapes) -> Searched:
    searched = Searched()
    for piece in job:
        try:
            file = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                searched.bytes += _search_piece(file, piece, shapes, searched.found)
            finally:
                os.close(file)
        except OSError as error:
            searched.unread.append(Unread(piece.path, error.strerror or type(error).__name__))
    return searched


def _search_piece(file: int, piece: Piece, shapes: Shapes, found: list[Found]) -> int:
    """Search block by block; each is looked at with so much of its neighbours that nothing is cut in two."""
    place, end = piece.start, piece.start + piece.size
    lines = _Lines(file)
    while piece.last or place < end:
        before = min(place, MARGIN)
        wanted = BLOCK if piece.last else min(BLOCK, end - place)
        data = _read(file, before + wanted + MARGIN, place - before)
        size = min(wanted, len(data) - before)
        for trace in sorted(shapes.find(data, before, before + size)):
            line = lines.until(place - before + trace.start)
            found.append(Found(piece.path, line, trace.kind, trace.id))
        place += size
        if size < wanted:
            break
    return place - piece.start


def _read(file: int, size: int, place: int) -> bytes:
    """So many bytes from there, or all that there are."""
    data = os.pread(file, size, place)
    while len(data) < size and (more := os.pread(file, size - len(data), place + len(data))):
        data += more
    return data


@dataclass(slots=True)
class _Lines:
    """Which line of a file a byte is in: counted only when it is asked for."""

    file: int
    place: int = 0
    count: int = 1

    def until(self, place: int) -> int:
        while self.place < place and (data := _read(self.file, min(BLOCK, place - self.place), self.place)):
            self.count += data.count(b"\n")
            self.place += len(data)
        return self.count
