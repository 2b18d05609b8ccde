"""What of an upstream's answer may pass, and in which framing. Bytes in, bytes out: no socket, no clock.

`httptools` (llhttp) reads the heads and the chunks. What it is too lenient about is settled here: it takes `RTSP/1.0`
and `HTTP/2.0`, codings other than `chunked`, blank lines before a status line, blank lines and whole second answers
behind a complete one, and trailers without end. So this module finds the end of each head and of each counted body
itself, and the parser is fed exactly those bytes.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from http import HTTPStatus
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_END_OF_HEAD: Final = b"\r\n\r\n"
_VERSIONS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_LAST_CHUNK: Final = b"0\r\n\r\n"


def _status_line(status: int) -> bytes:
    # Our own phrase: the upstream's may hold anything, and means nothing (RFC 9112 section 4).
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


_STATUS_LINES: Final = {status: _status_line(status) for status in range(200, 600)}


class Malformed(Exception):
    """The answer cannot be passed on. The text is ours or the parser's own, never the upstream's."""


class Kind(Enum):
    """What becomes of a header of the answer."""

    PASS = "pass"  # noqa: S105  a kind of header, not a password
    DROP = "drop"
    LENGTH = "content-length"
    CODING = "transfer-encoding"
    CONNECTION = "connection"


_PASS: Final = Kind.PASS
_DROP: Final = Kind.DROP

_SPECIAL: Final = {
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"connection": Kind.CONNECTION,
    # Hop by hop (RFC 9110 section 7.6.1); the names in Connection come on top, and all of Proxy-*.
    b"keep-alive": Kind.DROP,
    b"te": Kind.DROP,
    b"trailer": Kind.DROP,
    b"upgrade": Kind.DROP,
    # The gateway says these itself.
    b"x-request-id": Kind.DROP,
    b"x-gateway-would-refuse": Kind.DROP,
}

# Upstreams spell a handful of names the same way each time. Bounded, so that one inventing names cannot fill memory.
_MEMO_NAMES: Final = 512
_MEMO_NAME_BYTES: Final = 64
_memo: dict[bytes, Kind] = {}


def kind_of(name: bytes) -> Kind:
    """What becomes of the header of this name, whatever its case; remembered by the exact bytes seen."""
    lower = name.lower()
    kind = _SPECIAL.get(lower)
    if kind is None:
        # Some readers take `_` for `-`: a name that would turn into a special one there goes no further.
        folded = lower.replace(b"_", b"-")
        kind = _DROP if folded in _SPECIAL or folded.startswith(b"proxy-") else _PASS
    if len(name) <= _MEMO_NAME_BYTES:
        if len(_memo) >= _MEMO_NAMES:
            _memo.clear()
        _memo[name] = kind
    return kind


def _without(lines: Iterable[bytes], names: frozenset[bytes]) -> list[bytes]:
    return [line for line in lines if line[: line.index(b":")].lower() not in names]


class _Framing(Enum):
    """How the end of the answer's body is known (RFC 9112 section 6.3)."""

    EMPTY = "there is no body"
    LENGTH = "counted"
    CHUNKED = "chunked"
    CLOSE = "ended by the connection's end"


_EMPTY: Final = _Framing.EMPTY
_LENGTH: Final = _Framing.LENGTH
_CHUNKED: Final = _Framing.CHUNKED
_CLOSE: Final = _Framing.CLOSE


class Terms(NamedTuple):
    """How an answer is to be given: what the client's request settles about it.

    `lines` are header lines of the gateway's own, each ended by CRLF. `keep_alive` says whether the client's
    connection may go on afterwards.
    """

    lines: bytes = b""
    http10: bool = False
    keep_alive: bool = True
    head_request: bool = False


class Answer:
    """Reads the answers of one connection, one after another, and rewrites each for its client.

    After `expect`, each `feed` gives the bytes for the client, and nothing of an answer's head before the whole head
    has been judged. Raises `Malformed` for what must not pass; the object is then of no further use.
    """

    __slots__ = (
        "_body",
        "_chunking",
        "_code",
        "_ended",
        "_framing",
        "_head_bytes",
        "_lasting",
        "_left",
        "_lines",
        "_noted",
        "_parser",
        "_parts",
        "_room",
        "_seen",
        "_tail",
        "_terms",
        "body_bytes",
        "complete",
        "keep_alive",
        "on_body",
        "status",
        "surplus",
    )

    status: int
    """Of the final answer, once its head was judged; 0 before."""
    complete: bool
    """All of the answer has been given out."""
    surplus: bool
    """The upstream sent more than the answer: what comes next could be taken for another request's answer."""
    keep_alive: bool
    """The client's connection may go on; settled when the head is given out."""
    body_bytes: int
    """Bytes of body given out, framing not counted."""

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._lines: list[bytes] = []
        self._noted: list[tuple[Kind, bytes]] = []
        self._parts: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._parts.append
        self._parser = HttpResponseParser(self)
        self.expect(Terms())

    def expect(self, terms: Terms) -> None:
        """The next answer begins, to be given on these terms."""
        self._terms = terms
        self.status = self.body_bytes = self._code = 0
        self.complete = self.surplus = self._ended = self._lasting = self._chunking = False
        self.keep_alive = terms.keep_alive
        self._room = self._head_bytes
        self._seen = self._tail = b""
        self._lines.clear()
        self._noted.clear()

    @property
    def reusable(self) -> bool:
        """The connection may carry another exchange: the answer ended where it said, and nothing came after it."""
        return self._ended and self._lasting and not self.surplus

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client that `data` amounts to."""
        if self.status:
            return self._framed(self._read_body(data))
        after = self._read_heads(data)
        if not self.status:
            return b""
        head = self._client_head()
        body = self._read_body(after)
        return head + self._framed(body)

    def end(self) -> bytes:
        """The last bytes for the client, now that the connection ended cleanly; Malformed if that is too early."""
        if not self.status or self._framing is not _CLOSE:
            raise Malformed("the connection ended within the answer")
        self.complete = True
        return self._framed(b"")

    # What the parser calls.

    def on_message_begin(self) -> None:
        self.surplus = self._ended

    def on_header(self, name: bytes, value: bytes) -> None:
        kind = _memo.get(name) or kind_of(name)
        if kind is _PASS:
            self._lines.append(name + b": " + value + b"\r\n")
        elif kind is not _DROP:
            self._noted.append((kind, value))

    def on_headers_complete(self) -> None:
        self._code = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        if not self._ended:
            self._ended = True
            self._lasting = self._parser.should_keep_alive()
            self._body = b"".join(self._parts)
            self._parts.clear()

    # Heads.

    def _read_heads(self, data: bytes) -> bytes:
        """Read up to the end of the final answer's head; the bytes after it. Interim answers are dropped."""
        while not self.status:
            before = len(self._seen)
            self._seen += data
            found = self._seen.find(_END_OF_HEAD, max(0, before - 3))
            end = found + 4 - before if found >= 0 else len(data)
            self._room -= end
            if self._room < 0:
                raise Malformed("the head is too large")
            self._parse(data[:end])
            if found < 0:
                return b""
            self._judge()
            data = data[end:]
        return data

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise Malformed("it switches protocols") from None
        except HttpParserError as error:
            raise Malformed(str(error)) from None

    def _judge(self) -> None:
        """The head is whole: take the answer's status and framing, or forget an interim answer."""
        if not self._seen.startswith(_VERSIONS):
            raise Malformed("it is not HTTP/1.1 or HTTP/1.0")
        status = self._code
        if not 100 <= status < 600 or status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise Malformed("the status is not one that can be passed on")
        if status >= 200:
            self._settle(status)
        else:
            self._ended = False
            self._lines.clear()
            self._noted.clear()
        self._seen = b""

    def _settle(self, status: int) -> None:
        length: int | None = None
        chunked = False
        for kind, value in self._noted:
            if kind is Kind.LENGTH:
                length = int(value)  # digits and one only, says the parser
            elif kind is Kind.CODING:
                if chunked or value.strip().lower() != b"chunked" or self._seen.startswith(b"HTTP/1.0"):
                    raise Malformed("the transfer coding is not chunked alone, in HTTP/1.1")
                chunked = True
        self.status = status
        if self._terms.head_request or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self._framing = _EMPTY
            self._left = length if length is not None and status != HTTPStatus.NO_CONTENT else -1
        elif length is not None:
            self._framing = _LENGTH
            self._left = length
        else:
            self._framing = _CHUNKED if chunked else _CLOSE

    def _client_head(self) -> bytes:
        terms = self._terms
        ...
