"""The file of an export: a header, all records by kind, and a manifest of what there is and the SHA-256 of all before.

    {"kind":"header","format":1,"version":...,"made_at":...,"identity":...}
    {"kind":"event",...}
    ...
    {"kind":"manifest","counts":{...},"sha256":"..."}

Kinds stand in the order in which they are read from the store. Events come first, so that none is there without its
change; then what belongs to something before what it belongs to, so that nothing that is made meanwhile lacks it.
"""

import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from gateway.core.portable import NotPortable, Portable, kind_of, line_of, record_of
from gateway.core.records import App, KeyRecord
from gateway.core.times import LAST_MOMENT
from gateway.core.wholeness import Wholeness

FORMAT: Final = 1
ORDER: Final = ("event", "seal", "user_token", "key", "item", "developer", "user", "app", "last_used")
# Bytes. The longest record is an incident that was reported a hundred times, in texts of signs that JSON spells with
# six characters, and JSON in JSON with seven: 4.3 MB.
LONGEST_LINE: Final = 8 << 20
MOST_FAULTS: Final = 100  # of one file that are told

_HEADER: Final = re.compile(
    rb'\{"kind":"header","format":\d+,"version":"(?P<version>[0-9A-Za-z.+-]+)","made_at":(?P<made_at>\d{1,15}),'
    rb'"identity":"(?P<identity>[0-9a-f]{32})"\}\n\Z'
)
_MANIFEST: Final = b'{"kind":"manifest"'
_PIECE: Final = 1000  # records between two reports of how far it is

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Header:
    """Which store a file was made of, when, and by which version of the gateway."""

    version: str
    made_at: int
    identity: str


class ExportFaulty(Exception):
    """The file is no export, or not whole; `sentences` say all that is wrong with it, up to a bound."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__(" ".join(sentences))
        self.sentences = sentences


@contextmanager
def made_whole(path: Path) -> Iterator[BinaryIO]:
    """A file of mode 0600 to write into, which is at `path` once all of it is on the disk, and never before."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


class ExportWriter:
    """Writes the lines of an export, and keeps count of them."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.counts: Counter[str] = Counter()
        self._file = file
        self._sha256 = hashlib.sha256()
        self._write(_header_line(header))

    def add(self, record: Portable) -> None:
        """Write one record."""
        self.counts[kind_of(record)] += 1
        self._write(line_of(record))

    def end(self) -> None:
        """Write the manifest, without which nobody takes the file for whole."""
        self._file.write(_manifest_line(self.counts, self.sha256))

    @property
    def sha256(self) -> str:
        """The SHA-256 of all before the manifest."""
        return self._sha256.hexdigest()

    def _write(self, line: bytes) -> None:
        self._sha256.update(line)
        self._file.write(line)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the records of a kind begin: byte and line."""

    offset: int
    line: int


@dataclass(frozen=True, slots=True)
class Export:
    """A file that was found to be whole, with the names of all scopes and regions in it."""

    header: Header
    counts: dict[str, int]
    sha256: str
    file: BinaryIO
    places: dict[str, Place]
    scopes: frozenset[str]
    regions: frozenset[str]

    def records(self, kind: str) -> Iterator[tuple[int, Portable]]:
        """The records of a kind, each with the number of its line. Raises `ExportFaulty` when the file has changed."""
        if kind not in self.places:
            return
        place = self.places[kind]
        self.file.seek(place.offset)
        for number in range(place.line, place.line + self.counts[kind]):
            try:
                yield number, record_of(self.file.readline(LONGEST_LINE))
            except NotPortable as error:
                raise ExportFaulty([f"Line {number} has changed while the file was read."]) from error


def checked(file: BinaryIO, advance: Advance) -> Export:
    """The export in a file, once all of it was read and found to be whole. Raises `ExportFaulty` with all faults."""
    return _Check(file, advance).run()


class _Check:
    """Reads a file to its end, whatever is wrong with it."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance
        self._faults: list[str] = []
        self._more = 0
        self._sha256 = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._places: dict[str, Place] = {}
        self._scopes: set[str] = set()
        self._regions: set[str] = set()

    def run(self) -> Export:
        """The export. Raises `ExportFaulty`."""
        first = self._file.readline(LONGEST_LINE)
        header = _header_of(first)
        if header is None:
            raise ExportFaulty([f"This is no export of a store in format {FORMAT}, which this version reads."])
        self._sha256.update(first)
        wholeness = Wholeness(header.made_at)
        self._read(len(first), wholeness)
        self._say(0, wholeness.end())
        if wholeness.doubtful():
            self._read_again(len(first), wholeness)
        if self._faults:
            raise ExportFaulty([*self._faults, *([f"There are {self._more:,} more faults."] if self._more else [])])
        names = frozenset(self._scopes), frozenset(self._regions)
        return Export(header, dict(self._counts), self._sha256.hexdigest(), self._file, self._places, *names)

    def _read(self, offset: int, wholeness: Wholeness) -> None:
        for number, line in self._lines():
            if line.startswith(_MANIFEST):
                self._say(number, self._manifest_faults(line))
                return
            self._sha256.update(line)
            try:
                record = record_of(line)
                self._place(number, offset, kind_of(record))
                self._note_names(record)
                self._say(number, wholeness.take(record))
            except NotPortable as error:
                self._say(number, [str(error)])
            offset += len(line)
        self._say(0, ["The file ends before its manifest: it was cut off."])

    def _read_again(self, offset: int, wholeness: Wholeness) -> None:
        self._file.seek(offset)
        for number, line in self._lines():
            with suppress(NotPortable):  # which was told
                self._say(number, wholeness.point_out(record_of(line)))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 1
        while line := self._file.readline(LONGEST_LINE):
            number += 1
            yield number, line
            if number % _PIECE == 0:
                self._advance(_PIECE)

    def _place(self, number: int, offset: int, kind: str) -> None:
        if kind not in self._places:
            self._places[kind] = Place(offset, number)
            if max(map(ORDER.index, self._places)) != ORDER.index(kind):
                raise NotPortable("Its kind comes too late.")
        elif next(reversed(self._places)) != kind:
            raise NotPortable("Its kind comes too late.")
        self._counts[kind] += 1

    def _note_names(self, record: Portable) -> None:
        match record:
            case KeyRecord():
                self._scopes |= record.scopes
            case App():
                self._regions.add(record.region)

    def _manifest_faults(self, line: bytes) -> Iterator[str]:
        digest = self._sha256.hexdigest()
        if line != _manifest_line(self._counts, digest):
            yield "The manifest tells of other records: the file was changed, or damaged."
        if self._file.readline(1):
            yield "There is something after the manifest."

    def _say(self, number: int, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            if len(self._faults) < MOST_FAULTS:
                self._faults.append(f"Line {number}: {sentence}" if number else sentence)
            else:
                self._more += 1


def _header_line(header: Header) -> bytes:
    values = {"version": header.version, "made_at": header.made_at, "identity": header.identity}
    return orjson.dumps({"kind": "header", "format": FORMAT, **values}, option=orjson.OPT_APPEND_NEWLINE)


def _header_of(line: bytes) -> Header | None:
    """The header, if it is one, and written as ours are."""
    match = _HEADER.match(line)
    if match is None:
        return None
    header = Header(match["version"].decode(), int(match["made_at"]), match["identity"].decode())
    return header if _header_line(header) == line and header.made_at <= LAST_MOMENT else None


def _manifest_line(counts: Counter[str], sha256: str) -> bytes:
    # As files of before there were items have it.
    told = {kind: counts[kind] for kind in ORDER if kind != "item" or counts[kind]}
    values = {"counts": told, "sha256": sha256}
    return orjson.dumps({"kind": "manifest", **values}, option=orjson.OPT_APPEND_NEWLINE)
