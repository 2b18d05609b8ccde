"""The head of an upstream's answer: what of it may pass, how its body ends, and the head that the client gets.

Pure functions. Every head has been through the parser too, which must agree: what either refuses is malformed.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Final


class Malformed(Exception):
    """The answer cannot be passed on. The text is ours or the parser's own, never the upstream's."""


class Kind(Enum):
    """What becomes of a header of the answer."""

    PASS = "goes on as it is"  # noqa: S105  not a password
    DROP = "goes no further"
    LENGTH = "Content-Length"
    CODING = "Transfer-Encoding"
    CONNECTION = "Connection"


class Framing(Enum):
    """How the end of the body is known (RFC 9112 section 6.3)."""

    EMPTY = "there is no body"
    COUNTED = "Content-Length"
    CHUNKED = "the last chunk"
    CLOSE = "the connection's end"


# Looked up several times an answer; each look-up in the class itself costs 0.1 us.
PASS: Final = Kind.PASS
DROP: Final = Kind.DROP
LENGTH: Final = Kind.LENGTH
CODING: Final = Kind.CODING
EMPTY: Final = Framing.EMPTY
COUNTED: Final = Framing.COUNTED
CHUNKED: Final = Framing.CHUNKED
CLOSE: Final = Framing.CLOSE

_SPECIAL: Final = {
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"connection": Kind.CONNECTION,
    # Hop by hop (RFC 9110 section 7.6.1), together with all of Proxy-* and the names that Connection gives.
    b"keep-alive": Kind.DROP,
    b"te": Kind.DROP,
    b"trailer": Kind.DROP,
    b"upgrade": Kind.DROP,
    # The gateway says these itself.
    b"x-request-id": Kind.DROP,
    b"x-gateway-would-refuse": Kind.DROP,
    b"x-gateway-key-expires": Kind.DROP,
}

# RFC 9110 sections 5.5 and 5.6.2, without folded lines (RFC 9112 section 5.2).
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")


Header = tuple[Kind, bytes]
"""A header line, read: what becomes of it, and its value. A plain tuple, since naming its parts costs 0.2 us a line."""

_LENGTH_DIGITS: Final = 19  # what fits in 64 bits

# Most lines of an upstream's answers are the same from one answer to the next, and most names always: so each line is
# read once. Bounded, or an upstream that says something new each time would fill the memory.
_REMEMBERED_LINES: Final = 512
_REMEMBERED_LINE_BYTES: Final = 128
remembered: Final[dict[bytes, Header]] = {}


def header_of(line: bytes) -> Header:
    """The header of this line, from then on `remembered` by it; raises `Malformed`."""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise Malformed("a header is not well-formed")
    kind, value = _kind_of(match[1].lower()), match[2].rstrip(b" \t")
    if kind is LENGTH and not (value.isdigit() and len(value) <= _LENGTH_DIGITS):
        raise Malformed("its length is not a number")
    header = kind, value
    if len(line) <= _REMEMBERED_LINE_BYTES:
        if len(remembered) >= _REMEMBERED_LINES:
            remembered.clear()
        remembered[line] = header
    return header


def _kind_of(name: bytes) -> Kind:
    kind = _SPECIAL.get(name)
    if kind is None:
        # Some readers take `_` for `-`: a name that they would mistake for a special one goes no further.
        folded = name.replace(b"_", b"-")
        kind = DROP if folded in _SPECIAL or folded.startswith(b"proxy-") else PASS
    return kind


_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]*)?")


@lru_cache(maxsize=32)
def status_of(line: bytes) -> tuple[int, bool]:
    """The status in a status line, and whether it speaks HTTP/1.0; raises `Malformed`."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise Malformed("it is not HTTP/1.1 or HTTP/1.0")
    status = int(match[2])
    if not 100 <= status < 600 or status == 101:
        raise Malformed("its status cannot be passed on")
    return status, match[1] == b"0"


def framing_of(
    status: int, length: int | None, codings: Sequence[bytes], *, http10: bool, head_request: bool
) -> Framing:
    """How the body of a final answer ends; raises `Malformed` unless that is clear.

    `length` is its Content-Length, `codings` its Transfer-Encoding headers, `http10` its version.
    """
    if codings and (http10 or length is not None or [coding.lower() for coding in codings] != [b"chunked"]):
        # In HTTP/1.0, and beside a length, it is a faulty framing (RFC 9112 section 6.1).
        raise Malformed("its transfer coding is not chunked alone, in HTTP/1.1")
    if head_request or status in (204, 304):
        return EMPTY
    if length is not None:
        return COUNTED
    return CHUNKED if codings else CLOSE


# By whether the client speaks HTTP/1.0, where closing is what happens unless one says otherwise, and may go on.
_END: Final = {
    (False, True): b"\r\n",
    (False, False): b"Connection: close\r\n\r\n",
    (True, True): b"Connection: keep-alive\r\n\r\n",
    (True, False): b"Connection: close\r\n\r\n",
}


def client_head(
    status: int,
    lines: Iterable[bytes],
    own: bytes,
    framing: Framing,
    length: int | None,
    *,
    http10: bool,
    keep_alive: bool,
) -> bytes:
    """The head that the client gets: status line, the answer's `lines`, the framing, the gateway's `own` lines.

    A Content-Length stays in answers to HEAD and in 304, where it tells of a body that is not there; in 204 it must
    not be (RFC 9110 section 8.6).
    """
    if length is not None and status != 204:
        framed = b"Content-Length: %d\r\n" % length
    elif framing is EMPTY or http10:
        framed = b""
    else:
        framed = b"Transfer-Encoding: chunked\r\n"
    return b"\r\n".join((_STATUS_LINES[status], *lines, framed + own + _END[http10, keep_alive]))


def without_named(lines: Iterable[bytes], connections: Iterable[bytes]) -> list[bytes]:
    """The lines but for the headers that the Connection headers name."""
    names = {name.strip().lower() for connection in connections for name in connection.split(b",")}
    return [line for line in lines if line[: line.index(b":")].lower() not in names]


def _status_line(status: int) -> bytes:
    # The phrase is the standard's: the upstream's may hold any byte, and says nothing (RFC 9112 section 4).
    phrases = {known.value: known.phrase for known in HTTPStatus}
    return f"HTTP/1.1 {status} {phrases.get(status, '')}".encode("ascii")


_STATUS_LINES: Final = {status: _status_line(status) for status in range(200, 600)}
