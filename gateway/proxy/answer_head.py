"""The head of an upstream's answer: what of it may pass, how its body ends, and the head that the client gets.

Pure functions. The headers themselves were read by the parser, which refuses control characters, folded lines, signs
and lists in Content-Length, two of them, and Content-Length beside Transfer-Encoding (each has a test).
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Final, NamedTuple

_VERSIONS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_PLAIN_CONNECTION: Final = (b"keep-alive", b"close")


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
    LENGTH = "Content-Length"
    CHUNKED = "the last chunk"
    CLOSE = "the connection's end"


# Members are looked up several times an answer, and looking one up in its class costs 0.1 us.
PASS: Final = Kind.PASS
DROP: Final = Kind.DROP
_LENGTH: Final = Kind.LENGTH
_CODING: Final = Kind.CODING
_CONNECTION: Final = Kind.CONNECTION
EMPTY: Final = Framing.EMPTY
COUNTED: Final = Framing.LENGTH
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
}

# An upstream spells its handful of names the same way each time. Bounded, or one that invents names fills the memory.
_REMEMBERED_NAMES: Final = 512
_REMEMBERED_NAME_BYTES: Final = 64
remembered: Final[dict[bytes, Kind]] = {}


def kind_of(name: bytes) -> Kind:
    """What becomes of the header of this name, whatever its case; `remembered` by the exact bytes seen."""
    lower = name.lower()
    kind = _SPECIAL.get(lower)
    if kind is None:
        # Some readers take `_` for `-`: a name that they would mistake for a special one goes no further.
        folded = lower.replace(b"_", b"-")
        kind = DROP if folded in _SPECIAL or folded.startswith(b"proxy-") else PASS
    if len(name) <= _REMEMBERED_NAME_BYTES:
        if len(remembered) >= _REMEMBERED_NAMES:
            remembered.clear()
        remembered[name] = kind
    return kind


class Terms(NamedTuple):
    """How an answer is to be given: what the client's request settles about it.

    `lines` are header lines of the gateway's own, each ended by CRLF. `keep_alive` says whether the client's
    connection may go on afterwards.
    """

    lines: bytes = b""
    http10: bool = False
    keep_alive: bool = True
    head_request: bool = False


class Head(NamedTuple):
    """A judged head. `length` is the Content-Length to pass on, which a HEAD or 304 answer has without a body."""

    status: int
    framing: Framing
    length: int | None


Noted = Sequence[tuple[Kind, bytes]]


def judge(text: bytes, status: int, noted: Noted, *, head_request: bool) -> Head | None:
    """The head, once it may pass; None for an interim answer, which is dropped. Raises `Malformed`.

    `text` is the whole head, `status` what the parser read in it, `noted` the headers that do not pass as they are.
    """
    if not text.startswith(_VERSIONS):
        raise Malformed("it is not HTTP/1.1 or HTTP/1.0")
    if not 200 <= status < 600:
        if not 100 <= status < 200 or status == 101:
            raise Malformed("its status cannot be passed on")
        return None
    length, chunked = _body_headers(noted)
    if chunked and text.startswith(b"HTTP/1.0"):
        raise Malformed("it is chunked in HTTP/1.0")  # a faulty framing, RFC 9112 section 6.1
    if status == 204:
        return Head(status, EMPTY, None)
    if head_request or status == 304:
        return Head(status, EMPTY, length)
    if length is not None:
        return Head(status, COUNTED, length)
    return Head(status, CHUNKED if chunked else CLOSE, None)


def _body_headers(noted: Noted) -> tuple[int | None, bool]:
    length: int | None = None
    chunked = False
    for kind, value in noted:
        if kind is _LENGTH:
            length = int(value)
        elif kind is _CODING:
            if chunked or value.strip().lower() != b"chunked":
                raise Malformed("its transfer coding is not chunked alone")
            chunked = True
    return length, chunked


def client_head(head: Head, lines: Iterable[bytes], noted: Noted, terms: Terms, *, keep_alive: bool) -> bytes:
    """The head that the client gets: the status line, `lines`, the framing, the gateway's own lines."""
    for kind, value in noted:
        if kind is _CONNECTION and value not in _PLAIN_CONNECTION:
            lines = _without(lines, frozenset(name.strip().lower() for name in value.split(b",")))
    if head.length is not None:
        framing = b"Content-Length: %d\r\n" % head.length
    elif head.framing is EMPTY or terms.http10:
        framing = b""
    else:
        framing = b"Transfer-Encoding: chunked\r\n"
    if not keep_alive:
        end = b"Connection: close\r\n\r\n"
    else:
        end = b"Connection: keep-alive\r\n\r\n" if terms.http10 else b"\r\n"
    return b"".join((_STATUS_LINES[head.status], *lines, framing, terms.lines, end))


def _without(lines: Iterable[bytes], names: frozenset[bytes]) -> list[bytes]:
    return [line for line in lines if line[: line.index(b":")].lower() not in names]


def _status_line(status: int) -> bytes:
    # The phrase is the standard's: the upstream's may hold any byte, and says nothing (RFC 9112 section 4).
    phrases = {known.value: known.phrase for known in HTTPStatus}
    return f"HTTP/1.1 {status} {phrases.get(status, '')}\r\n".encode("ascii")


_STATUS_LINES: Final = {status: _status_line(status) for status in range(200, 600)}
