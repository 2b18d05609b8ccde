"""A 100 MB answer to a client that takes it slowly: how much memory does the gateway spend on the difference?"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from message import ANSWER_TYPE, REQUEST_PATH, request_body
from process import BenchError, Server

ANSWER_BYTES = 100_000_000
_BLOCK = b"x" * 65_536
# The client reads nothing at first: whoever buffers has taken the whole answer by then.
_PAUSE_SECONDS = 2.0
_RECEIVE_BUFFER = 65_536
_SILENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Relayed:
    """How the relay went: memory before and at its peak, and how far the upstream got ahead of the client."""

    seconds: float
    rss_before: int
    rss_peak: int
    ahead: int

    @property
    def growth(self) -> int:
        """Bytes of resident memory that the relay took at its worst moment."""
        return self.rss_peak - self.rss_before


@dataclass(slots=True)
class _Progress:
    sent: int = 0
    received: int = 0
    ahead: int = 0


def relay_slowly(gateway: Server, upstream_port: int, token: str, seconds: float) -> Relayed:
    """Relays the answer through the gateway to a client that needs about `seconds` for it, every byte counted."""
    return asyncio.run(_relay(gateway, upstream_port, token, seconds))


async def _relay(gateway: Server, upstream_port: int, token: str, seconds: float) -> Relayed:
    progress = _Progress()
    async with _upstream(upstream_port, progress):
        before, started = gateway.rss(), time.monotonic()
        gateway.forget_peak()
        await _read_slowly(gateway.port, _request(token), ANSWER_BYTES / seconds, progress)
        return Relayed(time.monotonic() - started, before, gateway.peak_rss(), progress.ahead)


@contextlib.asynccontextmanager
async def _upstream(port: int, progress: _Progress) -> AsyncIterator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled only when the bench gives up, and then a sentence says why: no traceback beside it.
        with contextlib.suppress(ConnectionError, asyncio.CancelledError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(request_body()))
            writer.write(_head())
            while progress.sent < ANSWER_BYTES:
                block = _BLOCK[: ANSWER_BYTES - progress.sent]
                writer.write(block)
                await writer.drain()
                progress.sent += len(block)
                progress.ahead = max(progress.ahead, progress.sent - progress.received)

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


def _head() -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {ANSWER_TYPE}\r\nContent-Length: {ANSWER_BYTES}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode()


def _request(token: str) -> bytes:
    body = request_body()
    head = f"POST {REQUEST_PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: {ANSWER_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _read_slowly(port: int, request: bytes, per_second: float, progress: _Progress) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request)
        await asyncio.sleep(_PAUSE_SECONDS)
        head, _, rest = (await _received(client)).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or b"content-length: %d" % ANSWER_BYTES not in head.lower():
            raise BenchError(f"The relay of {ANSWER_BYTES:,} bytes began with {head[:300]!r}.")
        progress.received, started = len(rest), loop.time()
        while progress.received < ANSWER_BYTES:
            progress.received += len(await _received(client))
            await asyncio.sleep(started + progress.received / per_second - loop.time())


async def _received(client: socket.socket) -> bytes:
    async with asyncio.timeout(_SILENCE_SECONDS):
        data = await asyncio.get_running_loop().sock_recv(client, _RECEIVE_BUFFER)
    if not data:
        raise BenchError("The gateway ended the slow relay before the answer was whole.")
    return data
