"""Files of tokens that exist elsewhere, line by line: CSV with a line of headings, or a JSON object a line.

A row is one line in either, so that what is wrong with one says nothing about the next. No value of a row ever stands
in a message.
"""

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from gateway.core.intake_rows import RowReason, RowRefused, looks_like_token
from gateway.core.ledger import ActReason, ActRefused

Values = Mapping[str, object]

LONGEST_LINE: Final = 16_384  # bytes; a row with the longest name and every scope takes a fraction of it

# What a list of refused rows has beside their own columns, so that it can be mended and handed in again.
ADDED: Final = ("line", "reason", "message")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Columns:
    """What a file is to have of each token: all of `needed`, and one of `either` at least where there are any."""

    needed: tuple[str, ...]
    either: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[str]:
        """All that a file may have."""
        return frozenset((*self.needed, *self.either, *ADDED))


KEY_COLUMNS: Final = Columns(("id", "sha256", "app", "name", "scopes", "created_at", "expires_at"))
USER_COLUMNS: Final = Columns(("id", "sha256", "app", "created_at", "expires_at"), either=("user", "external_id"))


def read_rows(file: BinaryIO, columns: Columns) -> Iterator[tuple[int, Values | RowRefused]]:
    """Each row with the number of its line: its values by column, or why they cannot be had.

    Raises `ActRefused` when the file as a whole is of neither kind.
    """
    lines = _lines(file)
    number, line = next(lines, (1, b""))  # an empty file lacks all headings
    decode: Callable[[str], Values] = partial(_from_json, columns=columns)
    if line.lstrip().startswith(b"{"):
        yield number, _values(line, decode)
    else:
        decode = partial(_from_csv, headings=_headings(number, line, columns))
    for number, line in lines:
        yield number, _values(line, decode)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; of one that is too long so much that it still is."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1)
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line


def _headings(number: int, line: bytes, columns: Columns) -> tuple[str, ...]:
    try:
        headings = tuple(name.strip().lower() for name in _fields(line.decode("utf-8")))
    except (ValueError, csv.Error):
        headings = ()
    problems = [f"{name} is missing" for name in columns.needed if name not in headings]
    if columns.either and not set(columns.either) & set(headings):
        problems.append(f"one of {' and '.join(columns.either)} is missing")
    for name in dict.fromkeys(headings):
        if name not in columns.known:
            # A file without headings begins with a row, and no row is repeated in a message.
            problems.append(f"{name} is unknown" if _NAME.match(name) else "a name is unknown")
        elif headings.count(name) > 1:
            problems.append(f"{name} stands there twice")
    if not problems:
        return headings
    raise ActRefused(
        ActReason.WISH_INVALID,
        f"Line {number} is neither a JSON object nor the headings of a CSV file: {', '.join(dict.fromkeys(problems))}."
        f" There are {', '.join((*columns.needed, *columns.either))}.",
    )


def _values(line: bytes, decode: Callable[[str], Values]) -> Values | RowRefused:
    try:
        text = line.decode("utf-8")
        if looks_like_token(text):
            return _holds_token()
        if len(line) > LONGEST_LINE:
            return RowRefused(RowReason.MALFORMED, f"The line is longer than {LONGEST_LINE} bytes.")
        values = decode(text)
    except (ValueError, RecursionError, csv.Error):  # whose messages would repeat what they met
        return RowRefused(RowReason.MALFORMED, "The line is no row: a JSON object, or as many values as headings.")
    # In JSON a sign may be written as its number, and a value in CSV stand in quotes.
    return _holds_token() if looks_like_token(" ".join(map(str, values.values()))) else values


def _holds_token() -> RowRefused:
    return RowRefused(
        RowReason.HOLDS_TOKEN,
        "The row holds what looks like a whole token. In sha256 belongs its SHA-256, and the token in no file; this one"
        " should now be rotated.",
    )


def _from_json(text: str, columns: Columns) -> Values:
    values = json.loads(text, object_pairs_hook=_object)
    if not isinstance(values, dict) or not values.keys() <= columns.known:
        raise ValueError
    return values


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _from_csv(text: str, headings: tuple[str, ...]) -> Values:
    return dict(zip(headings, _fields(text), strict=True))


def _fields(text: str) -> list[str]:
    text = text.rstrip("\r\n")
    fields = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
    return [value.strip() for value in fields]
