"""The client's side of the wire: aiohttp's parser and flow control under a request loop of our own.

`web.Server` and `RequestHandler` have no documented seam for error answers, timers and what happens after a refusal, so
both are subclassed here, which is the one there is. aiohttp's loop is replaced whole: it makes a task for each request,
answers malformed requests by quoting the offending line (token included), reads a refused body on for as long as it
comes, and would append an error answer to one that has begun. None of its answers or log lines can reach anybody.
"""

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

from aiohttp import http, streams, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from gateway.core.decision import Reason
from gateway.proxy.deadlines import NEVER, Deadlines
from gateway.proxy.exchange import Running
from gateway.proxy.limits import ServerLimits

_RESET: Final = struct.pack("ii", 1, 0)  # linger on, for no time: closing discards and resets (socket(7))

# A byte a chunk takes six on the wire. Whoever sends more around a body sends extensions and trailers, which aiohttp
# gathers up.
_CHUNK_OVERHEAD: Final = 8

_TOO_MANY: Final = "Too many headers received"  # how aiohttp says it

# Bytes of a body, and of what is sent around it, before somebody asks for it: reading pauses far below that, but for
# extensions and trailers.
_UNASKED: Final = 1_048_576


class Requests(Protocol):
    """Who handles what a connection receives."""

    async def serve(self, client: "Connection", message: http.RawRequestMessage, payload: streams.StreamReader) -> bool:
        """Handle one request whole, and tell whether the connection may go on. Raises nothing but cancellation."""

    def unreadable(self, reason: Reason) -> bytes:
        """The answer to a request that could not be read; the connection closes after it."""


class BodyTimeout(Exception):
    """The body did not arrive in time."""


class ClientLeft(Exception):
    """The client closed its connection before the request was complete."""


class _TooMuch(Exception):
    """More was sent around a body than it is worth."""


class Server(web.Server):
    """Makes a `Connection` for each client, and knows them all."""

    def __init__(self, requests: Requests, limits: ServerLimits, deadlines: Deadlines) -> None:
        super().__init__(_unused)
        self.requests = requests
        self.limits = limits
        self.deadlines = deadlines
        self.draining = False

    def __call__(self) -> "Connection":
        return Connection(self)

    async def drain(self, seconds: float) -> None:
        """Close idle connections now and busy ones after their request; cut what is left after `seconds`."""
        self.draining = True
        mine = [connection for connection in self.connections if isinstance(connection, Connection)]
        for connection in mine:
            connection.drain()
        busy = {connection.closed for connection in mine if not connection.closed.done()}
        if busy:
            await asyncio.wait(busy, timeout=seconds)
        for connection in mine:
            connection.abort()


async def _unused(_: web.BaseRequest) -> web.StreamResponse:
    raise NotImplementedError  # aiohttp wants a handler; `Connection.start` never calls it


class Connection(web.RequestHandler):
    """One client's connection: its requests one after another, its timers, its bytes.

    Satisfies what a relay needs of a client: `write`, `writing_paused`, `gone`, `abort`, `exchange`.
    """

    __slots__ = (
        "_fault",
        "_head_bytes",
        "_payload",
        "_room",
        "_server",
        "_untaken",
        "_wire",
        "closed",
        "deadline",
        "exchange",
        "forwarded",
        "long_head",
    )

    def __init__(self, server: Server) -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=server._loop,  # noqa: SLF001 - the loop that aiohttp gives its own handlers
            keepalive_timeout=0,  # `deadline` stands for all of aiohttp's timers
            access_log=None,  # type: ignore[arg-type]  # None turns it off, as web.Server documents
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            # No head of fewer bytes has more lines: the sum is what bounds them. But trailers are counted with them,
            # and each takes up many times its bytes.
            max_headers=limits.header_bytes // 4,
            auto_decompress=False,
        )
        self._server = server
        self._payload: streams.StreamReader | None = None
        self._head_bytes = 0
        self.long_head = False
        self._fault: Reason | None = None
        self._room = _UNASKED
        self._untaken: int | None = None
        self._wire: asyncio.Transport
        self.closed: asyncio.Future[None] = server._loop.create_future()  # noqa: SLF001 - as above
        self.deadline = NEVER
        self.exchange: Running | None = None
        self.forwarded: tuple[bytes | None, bytes] | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.deadline = self._loop.time() + self._server.limits.idle
        self._server.deadlines.add(self)
        self._wire = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's call
        self._server.deadlines.discard(self)
        self.deadline = NEVER
        super().connection_lost(None)
        if self.exchange is not None:
            self.exchange.client_left()
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(ClientLeft())
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        # In place of aiohttp's, which goes on parsing after a fault and answers it by quoting the line.
        parser = self._parser
        if self._fault is not None or self._force_close or self._upgraded or parser is None:
            return
        limit = self._server.limits.header_bytes
        in_head = self._payload is None or self._payload.is_eof()
        if in_head:
            if data and not self._head_bytes and self._waiter is not None:
                self.deadline = self._loop.time() + self._server.limits.header
            self._head_bytes += len(data)
        else:
            self._room -= len(data)
            if self._room < 0:
                self._spoil(_TooMuch())
                return
        # Where one message ends and the next begins within a segment is not told. A head that is over the limit has
        # half of it in one segment or since one: from then on heads are summed up.
        if self._head_bytes + self._head_bytes > limit or (not in_head and len(data) + len(data) > limit):
            self.long_head = True
        try:
            messages, self._upgraded, _ = parser.feed_data(data)
        except HttpProcessingError as error:
            too_long = isinstance(error, LineTooLong) or error.message == _TOO_MANY
            self._spoil(web.RequestPayloadError(), Reason.HEADERS_TOO_LARGE if too_long else Reason.REQUEST_MALFORMED)
            return
        if messages:
            self._arrived(messages)
        elif in_head and self._head_bytes > limit:
            self._spoil(web.RequestPayloadError(), Reason.HEADERS_TOO_LARGE)

    def _arrived(self, messages: Sequence[tuple[Any, streams.StreamReader]]) -> None:
        """Heads of requests are there."""
        self._messages.extend(messages)
        self._payload = messages[-1][1]
        self._head_bytes = 0
        self._room = _UNASKED
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if len(self._messages) >= self._max_msg_queue_size and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _spoil(self, error: Exception, reason: Reason = Reason.REQUEST_MALFORMED) -> None:
        """Nothing that comes from now on can be read; whoever waits for a body, or for a request, learns it."""
        self._fault = reason
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(error)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp's stream calls this after every read, paused or not, and parses and polls anew each time.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.exchange is not None:
            self.exchange.client_resumed()

    # What the deadlines call

    def expire(self) -> None:
        """The client was too slow: with a head, with a body, with taking what it asked for, or it is just idle."""
        self.deadline = NEVER
        if self._untaken is not None:
            if self._wire.get_write_buffer_size() < self._untaken:
                self._await_taking()
            else:
                self.abort()
        elif self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(BodyTimeout())
        elif self._head_bytes:
            self._answer_unreadable(Reason.HEADER_TIMEOUT)
        else:
            self.force_close()

    def _await_taking(self) -> None:
        """Slow is allowed, standing still is not."""
        self._untaken = self._wire.get_write_buffer_size()
        self.deadline = self._loop.time() + self._server.limits.client_stall

    # What a relay and the handler call

    def write(self, data: bytes) -> None:
        """Send bytes to the client; nothing happens once it is gone."""
        if self.transport is not None:
            self.transport.write(data)

    def gone(self) -> bool:
        """Whether the client can no longer be written to."""
        return self.transport is None or self.transport.is_closing()

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cut the connection, so that the client cannot take what it has for a whole answer.

        By a reset: uvloop's `abort` alone ends like an answer that goes on until the connection closes (tried).
        """
        sock = self._wire.get_extra_info("socket")
        if sock is not None and not self._wire.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._wire.abort()
        self.force_close()

    def force_close(self) -> None:
        """Close as soon as the client has taken what was written, and at the latest when it takes nothing any more."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self._await_taking()
        super().force_close()

    def drain(self) -> None:
        """Close now if no request is under way, else after it."""
        if self._waiter is not None and not self._waiter.done() and not self._head_bytes:
            self.force_close()
        elif self.exchange is not None:
            self.exchange.client_closes()

    def head_too_long(self, message: http.RawRequestMessage) -> bool:
        """Whether a request's line and headers are over the limit together; only with `long_head` they can be."""
        size = len(message.method) + len(message.path.encode("utf-8", "surrogateescape")) + 12
        size += sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
        return size > self._server.limits.header_bytes

    @staticmethod
    def whole_body(payload: streams.StreamReader) -> bytes:
        """The body of a request that has arrived whole.

        Past `read_nowait`, whose six calls keep an account of what may still come.
        """
        if payload.exception() is not None or payload is streams.EMPTY_PAYLOAD:
            return payload.read_nowait()
        parts = payload._buffer  # noqa: SLF001 - for the reason above
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def body(self, payload: streams.StreamReader, limit: int) -> bytes | None:
        """The whole of a body that is still to come, or None as soon as it is longer than `limit` bytes.

        Raises `BodyTimeout`, `ClientLeft`, or aiohttp's `RequestPayloadError` where the framing is broken.
        """
        self.deadline = self._loop.time() + self._server.limits.body
        self._room = limit * _CHUNK_OVERHEAD
        parts = []
        size = 0
        try:
            while part := await payload.readany():
                parts.append(part)
                size += len(part)
                if size > limit:
                    return None
        except _TooMuch:
            return None
        finally:
            self.deadline = NEVER
        return b"".join(parts)

    # The loop

    async def start(self) -> None:
        """Serve requests until the client leaves, a request ends the connection, or the server drains."""
        try:
            while await self._next_request():
                message, payload = self._messages.popleft()
                self._consumed()
                self.deadline = NEVER
                # aiohttp has another kind of message for what it cannot read; `data_received` lets none in here.
                keep_alive = await self._server.requests.serve(self, message, payload)  # type: ignore[arg-type]
                if not payload.is_eof():
                    await self._linger(payload)
                    keep_alive = False
                if not keep_alive or self._server.draining or self.gone():
                    break
                if self._messages:  # a hundred at once, refused without a wait, would hold up everybody else
                    await asyncio.sleep(0)
            self.force_close()
        except BaseException:
            self.abort()
            raise

    async def _next_request(self) -> bool:
        if self._paused:
            await self._taken()
        if self._messages or self._force_close:
            return not self._force_close
        if self._fault is not None:
            self._answer_unreadable(self._fault)
            return False
        if self._server.draining and not self._head_bytes:
            return False
        limits = self._server.limits
        self.deadline = self._loop.time() + (limits.header if self._head_bytes else limits.idle)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            if self._force_close:  # how aiohttp wakes the loop of a connection that is closed
                return False
            raise
        finally:
            self._waiter = None
        if self._messages:
            return True
        if self._fault is not None:
            self._answer_unreadable(self._fault)
        return False

    async def _taken(self) -> None:
        """Wait until the client has taken earlier answers, so that it cannot pile them up here."""
        self._await_taking()
        try:
            await self._drain_helper()
        except ConnectionError:
            pass
        finally:
            self._untaken = None
            self.deadline = NEVER

    def _consumed(self) -> None:
        # As aiohttp's own loop does: tell the parser of the free place, and read on once the queue has drained.
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()

    async def _linger(self, payload: streams.StreamReader) -> None:
        """Read a little of what a refused client still sends, so that it finds the answer before the close."""
        self.deadline = self._loop.time() + self._server.limits.linger
        self._room = self._server.limits.linger_bytes
        try:
            while self._room > 0 and await payload.readany():
                pass
        except Exception:  # noqa: BLE001, S110 - whatever ends the reading, the connection is closed next
            pass
        finally:
            self.deadline = NEVER

    def _answer_unreadable(self, reason: Reason) -> None:
        """Refuse a request that could not be read, in fixed bytes, and close."""
        self._fault = reason
        self.write(self._server.requests.unreadable(reason))
        self.force_close()

    # What aiohttp would say

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Nothing: aiohttp's messages quote what the client sent."""
