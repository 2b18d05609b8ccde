"""One connection to an upstream, and the exchange that runs on it: request out, answer straight to the client.

The answer never passes through a task: what arrives is judged and written to the client within `data_received`. From
the first byte written to the client on, no failure is raised: the client's connection is cut instead, since whoever
caught an exception would answer, and put a second response inside the first one's body.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple, Protocol, cast

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.answer import Answer
from gateway.proxy.answer_head import Malformed
from gateway.proxy.deadlines import NEVER, Deadlines
from gateway.proxy.limits import UpstreamLimits


class Running(Protocol):
    """An exchange, as the client's connection sees it: who is to be told what becomes of the client."""

    def client_left(self) -> None:
        """The client is gone: nobody waits for this answer any more."""

    def client_resumed(self) -> None:
        """The client has taken what was waiting for it."""

    def client_closes(self) -> None:
        """The client's connection ends with this answer, which says so if its head is still to come."""


class Client(Protocol):
    """The client's connection, as the exchange sees it."""

    exchange: Running | None
    """Set while an exchange runs."""

    @property
    def writing_paused(self) -> bool:
        """The transport holds more than its high-water mark."""

    def write(self, data: bytes) -> None:
        """Hand bytes to the client's transport; nothing happens once the client is gone."""

    def unsent(self) -> int:
        """Bytes written that the client has not taken yet."""

    def gone(self) -> bool:
        """The client has left, or was cut off."""

    def abort(self) -> None:
        """Cut the connection in a way that no client takes for the end of an answer."""


class Outcome(NamedTuple):
    """How an exchange ended. `aborted`: the client left, or was cut off within the answer."""

    status: int
    """The answer's; 0 if nothing of it was given to the client."""
    bytes_out: int
    """Bytes of body relayed."""
    keep_alive: bool
    """The client's connection may go on."""
    aborted: bool
    upstream_seconds: float
    """From the request's first byte written to the end of the exchange."""
    first_byte_seconds: float
    """From the request's first byte written to the first byte of the answer; 0 if there was none."""


class Lost(Unavailable):
    """The connection was lost before a byte of an answer arrived."""


class Pool(Protocol):
    """Who keeps a connection between exchanges."""

    def opened(self, connection: "Exchange") -> None:
        """The connection is there."""

    def rested(self, connection: "Exchange") -> None:
        """The connection is free for another exchange."""

    def closed(self, connection: "Exchange") -> None:
        """The connection is gone."""


class Exchange(asyncio.Protocol):
    """One upstream connection with its current exchange, if one runs.

    An exchange ends exactly once: whoever awaits it gets the outcome or, while the client has got nothing, an error.
    """

    __slots__ = (
        "_answer",
        "_asked_at",
        "_backlog",
        "_client",
        "_deadlines",
        "_done",
        "_first_byte_at",
        "_held",
        "_limits",
        "_loop",
        "_name",
        "_pool",
        "_retire_at",
        "_sent",
        "_stalled_since",
        "_started",
        "_transport",
        "_writable",
        "deadline",
        "used",
    )

    def __init__(self, name: str, limits: UpstreamLimits, deadlines: Deadlines, pool: Pool) -> None:
        self._name = name
        self._limits = limits
        self._deadlines = deadlines
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._retire_at = self._loop.time() + limits.max_age
        self._answer = Answer(limits.head_bytes)
        self._writable = asyncio.Event()
        self._writable.set()
        self._client: Client | None = None
        self._transport: asyncio.Transport
        self._done: asyncio.Future[Outcome]
        self._held = False
        self._first_byte_at = 0.0
        self.deadline = NEVER
        self.used = False

    def usable(self) -> bool:
        """An exchange may start: none runs, the connection is open and has been neither idle nor alive for too long."""
        return self._client is None and not self._transport.is_closing() and self._loop.time() < self.deadline

    def run(
        self,
        client: Client,
        head: bytes,
        body: bytes | AsyncIterator[bytes],
        *,
        own: bytes,
        http10: bool,
        keep_alive: bool,
        head_request: bool,
        chunked: bool,
    ) -> Awaitable[Outcome]:
        """Send the request and relay the answer; to be awaited at once. `chunked` frames an iterated body.

        Raises `Unavailable`, or what the body's iterator raised, and only while nothing was written to the client.
        Whoever cancels has to say `client_left`.
        """
        done = self._done = self._loop.create_future()
        if client.gone():
            self._rest()
            done.set_result(Outcome(0, 0, False, True, 0.0, 0.0))
            return done
        self._answer.expect(own, http10=http10, keep_alive=keep_alive, head_request=head_request)
        self._client = client
        client.exchange = self
        self._started = False
        self._first_byte_at = 0.0
        self._asked_at = time.perf_counter()
        if isinstance(body, bytes):
            self._transport.write(head + body)
            self._sent = True
            self.deadline = self._loop.time() + self._limits.first_byte
            return done
        self._sent = False
        self.deadline = NEVER
        self._transport.write(head)
        return self._stream(body, done, chunked=chunked)

    def retire(self) -> None:
        """End the connection; it is not used again."""
        self._transport.abort()

    def client_left(self) -> None:
        if self._client is not None:
            self._end(self._client, self._outcome(aborted=True))

    def client_resumed(self) -> None:
        if self._held:
            self._held = False
            self._transport.resume_reading()
            self._set_deadline()

    def client_closes(self) -> None:
        self._answer.keep_alive = False

    def expire(self) -> None:
        client = self._client
        if client is None:
            self.retire()
        elif self._held:
            self._watch(client)
        else:
            self._give_up(self._unavailable(Reason.UPSTREAM_TIMEOUT, "no byte came, or was taken, in time"))

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.deadline = self._loop.time() + self._limits.connect  # in case whoever wanted it has given up
        self._deadlines.add(self)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        client = self._client
        if client is None:
            self.retire()  # nobody asked for this, and the next request must not get it for an answer
            return
        if not self._first_byte_at:
            self._first_byte_at = time.perf_counter()
        if not self._sent:
            self._answer.keep_alive = False  # the rest of the request may still come, or never
        self._relay(client, data)

    def eof_received(self) -> None:
        if self._client is not None and self._answer.ends_with_connection:
            self._relay(self._client, None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        self._deadlines.discard(self)
        self._pool.closed(self)
        if self._client is None:
            return
        if self._first_byte_at:
            self._give_up(self._unavailable(Reason.UPSTREAM_MALFORMED, "the connection ended within the answer"))
        else:
            self._give_up(Lost(Reason.UPSTREAM_UNREACHABLE, f"{self._name}: the connection ended before an answer"))

    def pause_writing(self) -> None:
        self._writable.clear()
        self._set_deadline()

    def resume_writing(self) -> None:
        self._writable.set()
        self._set_deadline()

    # The request.

    async def _stream(self, body: AsyncIterator[bytes], done: asyncio.Future[Outcome], *, chunked: bool) -> Outcome:
        """Send the body as it comes, until all is sent or the exchange has ended without it."""
        sending = asyncio.create_task(self._send(body, chunked=chunked))
        try:
            await asyncio.wait((sending, done), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            await asyncio.wait((sending,))
        if not sending.cancelled() and (fault := sending.exception()) is not None:
            self._give_up(fault)
        return await done

    async def _send(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        async for part in body:
            if part:
                self._transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await self._writable.wait()
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True
        self._set_deadline()

    # The answer.

    def _relay(self, client: Client, data: bytes | None) -> None:
        """Give on what came; None is the connection's clean end, where that ends the answer."""
        answer = self._answer
        try:
            out = answer.end() if data is None else answer.feed(data)
            if out:
                self._started = True
                client.write(out)
        except Malformed as fault:
            self._give_up(self._unavailable(Reason.UPSTREAM_MALFORMED, str(fault)))
            return
        except Exception as error:  # noqa: BLE001 - the client must neither wait for ever nor get a second answer
            self._loop.call_exception_handler({"message": "an answer was not relayed", "exception": error})
            self._give_up(error)
            return
        if self._client is None:
            return  # it left while it was written to
        if answer.complete:
            self._end(client, self._outcome(aborted=False), rest=self._reusable())
        elif answer.status:
            if client.writing_paused and not self._held:
                self._hold(client)
            self._set_deadline()

    def _reusable(self) -> bool:
        transport = self._transport
        all_taken = self._sent and not transport.get_write_buffer_size()
        return all_taken and self._answer.reusable and not transport.is_closing()

    def _hold(self, client: Client) -> None:
        """Read nothing from the upstream until the client has taken what it was given."""
        self._held = True
        self._transport.pause_reading()
        self._backlog = client.unsent()
        self._stalled_since = self._loop.time()

    def _watch(self, client: Client) -> None:
        """Called at each sweep while the client holds the answer up: slow is allowed, standing still is not."""
        now = self._loop.time()
        unsent = client.unsent()
        if unsent < self._backlog:
            self._backlog = unsent
            self._stalled_since = now
        elif now - self._stalled_since >= self._limits.client_stall:
            self._cut(client)

    # The end.

    def _give_up(self, error: BaseException) -> None:
        """End the exchange by an error, which the client may be told of only if it has been told nothing yet."""
        client = self._client
        if client is None:
            return
        if self._started:
            self._cut(client)
        else:
            self._end(client, error)

    def _cut(self, client: Client) -> None:
        client.abort()
        self.client_left()

    def _end(self, client: Client, result: Outcome | BaseException, *, rest: bool = False) -> None:
        self._client = None
        self._held = False
        client.exchange = None
        if rest:
            self._rest()
        else:
            self.retire()
        if self._done.done():  # whoever awaited it was cancelled
            return
        if isinstance(result, BaseException):
            self._done.set_exception(result)
            self._done.exception()  # seen: whoever is cancelled before it wakes up will not ask for it
        else:
            self._done.set_result(result)

    def _rest(self) -> None:
        self.used = True
        self.deadline = min(self._loop.time() + self._limits.idle, self._retire_at)
        self._pool.rested(self)

    def _outcome(self, *, aborted: bool) -> Outcome:
        answer, asked_at, first_byte_at = self._answer, self._asked_at, self._first_byte_at
        return Outcome(
            answer.status if self._started else 0,
            answer.body_bytes,
            answer.keep_alive and not aborted,
            aborted,
            time.perf_counter() - asked_at,
            first_byte_at - asked_at if first_byte_at else 0.0,
        )

    def _set_deadline(self) -> None:
        """Until when, by what the exchange waits for now."""
        limits = self._limits
        if self._held:
            self.deadline = 0.0  # due at each sweep, for `_watch`
        elif self._answer.status:
            self.deadline = self._loop.time() + limits.between_bytes
        elif self._sent:
            self.deadline = self._loop.time() + limits.first_byte
        elif self._writable.is_set():
            self.deadline = NEVER  # the client's body is the client's to send in time
        else:
            self.deadline = self._loop.time() + limits.between_bytes

    def _unavailable(self, reason: Reason, detail: str) -> Unavailable:
        return Unavailable(reason, f"{self._name}: {detail}")
