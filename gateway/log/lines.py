"""How things are written: values as JSON, values for people, and the line of a request in either form."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import orjson

_MILLISECONDS: Final = tuple(b'%03dZ",' % number for number in range(1000))
_DIM, _GREEN, _YELLOW, _RED, _RESET = "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"

Line = Callable[[Mapping[str, object], float], bytes]


def to_json(fields: Mapping[str, object]) -> bytes:
    """One line of JSON, whatever the values are."""
    try:
        return orjson.dumps(fields)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits, an object: say it clumsily rather than not
        return json.dumps(fields, default=str).encode()


def readable(value: object) -> str:
    """The value for a person's eyes, on one line, without anything that could drive the terminal."""
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(readable, value))
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def stamp(now: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLine:
    """The line of a request for machines. What is the same for all lines of a second is made once a second."""

    __slots__ = ("_head", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._head = b""

    def __call__(self, fields: Mapping[str, object], now: float) -> bytes:
        second = int(now)
        if second != self._second:
            self._second = second
            self._head = b'{"event":"request","level":"info","timestamp":"%b' % stamp(second)[:-4].encode()
        return self._head + _MILLISECONDS[int((now - second) * 1000)] + to_json(fields)[1:]


class ConsoleLine:
    """The line of a request for people: what happened first and in colour, the rest behind it."""

    _HEADLINE: Final = ("status", "decision", "reasons", "route", "type", "operation", "root_fields")

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, fields: Mapping[str, object], now: float) -> bytes:
        shown = {name: readable(value) for name, value in fields.items() if value not in (None, "", (), [])}
        headline = " ".join(shown.pop(name) for name in self._HEADLINE if name in shown)
        rest = " ".join(f"{name}={value}" for name, value in shown.items())
        moment = stamp(now)[11:-1]
        colour = _colour(fields)
        line = f"{_DIM}{moment}{_RESET} {colour}{headline}{_RESET} {_DIM}{rest}{_RESET}"
        return (line if self._colours else f"{moment} {headline} {rest}").encode(errors="replace")


def _colour(fields: Mapping[str, object]) -> str:
    status = fields.get("status")
    if isinstance(status, int) and status >= 500:
        return _RED
    return _GREEN if fields.get("decision") == "allow" else _YELLOW
