"""An upstream's answer, read strictly and rewritten for the client. Bytes in, bytes out: no socket, no clock.

`httptools` (llhttp) checks heads and takes chunks apart. It is lenient about where a message ends: it skips blank lines
before a status line, and reads on into whatever follows a complete answer. So this module finds the end of each head
and of each counted body itself and feeds the parser exactly those bytes, and looks at what a chunked body ends with.
"""

from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.proxy.answer_head import (
    CHUNKED,
    CLOSE,
    CODING,
    COUNTED,
    DROP,
    EMPTY,
    LENGTH,
    PASS,
    Framing,
    Malformed,
    client_head,
    framing_of,
    header_of,
    remembered,
    status_of,
    without_named,
)

_END_OF_HEAD: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Answer:
    """Reads the answers of one connection, one after another, and rewrites each for its client.

    After `expect`, each `feed` gives the bytes for the client, nothing before the whole head has been judged. Raises
    `Malformed` for what must not pass; the connection is then of no further use.
    """

    __slots__ = (
        "_chunking",
        "_ended",
        "_framing",
        "_head_bytes",
        "_head_request",
        "_http10",
        "_lasting",
        "_left",
        "_own",
        "_parser",
        "_parts",
        "_room",
        "_seen",
        "_surplus",
        "_tail",
        "_whole",
        "body_bytes",
        "complete",
        "keep_alive",
        "on_body",
        "status",
    )

    status: int
    """The final answer's, once its head was judged; 0 before."""
    complete: bool
    """All of the answer has been given out."""
    keep_alive: bool
    """The client's connection may go on; it is told so in the head, and may be set to False until then."""
    body_bytes: int
    """Bytes of body given out, framing not counted."""

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._parts: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._parts.append
        self._parser = HttpResponseParser(self)
        self.expect(b"", http10=False, keep_alive=False, head_request=False)

    def expect(self, own: bytes, *, http10: bool, keep_alive: bool, head_request: bool) -> None:
        """The next answer begins. `own` are lines for its head, each ended by CRLF; the rest is what was asked for."""
        self._own = own
        self._http10 = http10
        self._head_request = head_request
        self.keep_alive = keep_alive
        self.status = self.body_bytes = 0
        self.complete = self._ended = self._lasting = self._surplus = self._chunking = False
        self._framing: Framing = EMPTY
        self._room = self._head_bytes
        self._seen = self._tail = self._whole = b""
        self._parts.clear()

    @property
    def reusable(self) -> bool:
        """The connection may carry another exchange: the answer ended where it said it would, and nothing followed."""
        return self._ended and self._lasting and not self._surplus

    @property
    def ends_with_connection(self) -> bool:
        """A clean end of the connection now is the end of the answer; anywhere else it comes too soon."""
        return self.status != 0 and self._framing is CLOSE

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client that `data` makes; empty while there are none."""
        head, start = b"", 0
        if not self.status:
            head, data, start = self._read_heads(data)
            if not head:
                return b""
        framing = self._framing
        if framing is COUNTED:
            return head + self._read_counted(data, start)
        if framing is CHUNKED:
            return head + self._framed(self._read_chunks(data, start))
        if start:
            self._parse(data[:start])
        if framing is CLOSE:
            return head + self._framed(data[start:])
        self.complete = True
        self._surplus = self._surplus or len(data) > start
        return head

    def end(self) -> bytes:
        """The last bytes for the client of an answer that ended with the connection."""
        self.complete = True
        return self._framed(b"")

    def on_message_begin(self) -> None:
        """The parser's call: a message begins, which after a complete one is too much."""
        if self._ended:
            self._surplus = True

    def on_message_complete(self) -> None:
        """The parser's call: a message has ended. Only the first counts; a trailer may have ended the connection."""
        if not self._ended:
            self._ended = True
            self._lasting = self._parser.should_keep_alive()
            self._whole = b"".join(self._parts)

    def _read_heads(self, data: bytes) -> tuple[bytes, bytes, int]:
        """Read past interim heads to the end of the final one.

        The head for the client, the data from that head on, and where in it the body starts. The parser has had all
        before that head's end, and still has to agree about the head: what it gets next begins with that data.
        """
        while data:
            before = len(self._seen)
            seen = self._seen + data
            found = seen.find(_END_OF_HEAD, before - 3 if before > 3 else 0)
            start = len(data) if found < 0 else found + 4 - before
            self._room -= start
            if self._room < 0:
                raise Malformed("its head is too large")
            if found < 0:
                self._parse(data)
                self._seen = seen
                break
            self._seen = b""
            if head := self._settle(seen[:found]):
                return head, data, start
            self._parse(data[:start])
            self._ended = False
            data = data[start:]
        return b"", b"", 0

    def _settle(self, text: bytes) -> bytes:
        """A head is whole: judge it. The head for the client, empty if this was an interim answer."""
        lines = text.split(b"\r\n")
        status, of_http10 = status_of(lines[0])
        passed, length, codings, connections = _headers(lines)
        if status < 200:
            return b""
        framing = framing_of(status, length, codings, http10=of_http10, head_request=self._head_request)
        self.status, self._framing, self._left = status, framing, length or 0
        if framing is CHUNKED or framing is CLOSE:
            self._chunking = not self._http10
            self.keep_alive = self.keep_alive and not self._http10
        if connections:
            passed = without_named(passed, connections)
        return client_head(status, passed, self._own, framing, length, http10=self._http10, keep_alive=self.keep_alive)

    def _read_counted(self, data: bytes, start: int) -> bytes:
        end = start + self._left
        if len(data) > end:
            self._surplus = True
            data = data[:end]
        self._left = end - len(data)
        self._parse(data)
        body = data[start:] if start else data
        self._parts.clear()
        self._whole = b""
        self.complete = self._ended
        self.body_bytes += len(body)
        return body

    def _read_chunks(self, data: bytes, start: int) -> bytes:
        self._tail = (self._tail + data[-5:])[-5:]
        try:
            self._parse(data)
        except Malformed:
            if not self._ended:
                raise
            self._surplus = True
        body = self._whole if self._ended else b"".join(self._parts)
        self._parts.clear()
        self._whole = b""  # an idle connection holds nothing of the last answer's body
        self.complete = self._ended
        if self._ended:
            # The parser skips line ends after the last one, which is preceded by one only.
            self._surplus = self._surplus or self._tail[-4:] != _END_OF_HEAD or self._tail[:1] in b"\r\n"
        elif body:
            self._room = self._head_bytes
        else:
            # Chunk extensions and trailers may come without end, as heads may.
            self._room -= len(data) - start
            if self._room < 0:
                raise Malformed("there is too much between its chunks")
        return body

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise Malformed(f"the parser refuses it: {error}") from None

    def _framed(self, body: bytes) -> bytes:
        self.body_bytes += len(body)
        if not self._chunking:
            return body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk + _LAST_CHUNK if self.complete else chunk


def _headers(lines: list[bytes]) -> tuple[list[bytes], int | None, list[bytes], list[bytes]]:
    """The lines that pass, Content-Length, and the values of Transfer-Encoding and of a Connection that names more."""
    passed: list[bytes] = []
    length: int | None = None
    codings: list[bytes] = []
    connections: list[bytes] = []
    del lines[0]
    for line in lines:
        kind, value = remembered.get(line) or header_of(line)
        if kind is PASS:
            passed.append(line)
        elif kind is LENGTH:
            length = int(value)
        elif kind is CODING:
            codings.append(value)
        elif kind is not DROP and value not in (b"keep-alive", b"close"):
            connections.append(value)
    return passed, length, codings, connections
