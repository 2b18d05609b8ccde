"""An upstream that does on the wire what a test tells it to, byte by byte, and remembers what it was sent."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self, cast

_PATIENCE = 20.0  # what is not there by then never comes

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection that the gateway made. Every wait ends with an exception if what is waited for does not come."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.requests: list[bytes] = []
        self._reader = reader
        self._writer = writer
        self._gone = asyncio.Event()

    @property
    def server_name(self) -> str | None:
        """The name that the TLS handshake asked for."""
        sslobject = self._writer.get_extra_info("ssl_object")
        return None if sslobject is None else sslobject.context.asked_for

    async def head(self) -> bytes:
        """The head of the next request."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def take(self, count: int) -> bytes:
        """So many bytes of what follows."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.readexactly(count)

    async def request(self) -> bytes:
        """The next request, whole, as it came."""
        head = await self.head()
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        async with asyncio.timeout(_PATIENCE):
            if re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
                body = await self._reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                body = await self._reader.readexactly(int(length[1]) if length else 0)
        self.requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        """Send bytes; they have left this side on return."""
        self._writer.write(data)
        await self._writer.drain()

    def hold(self) -> None:
        """Take nothing until `release`."""
        cast("asyncio.ReadTransport", self._writer.transport).pause_reading()

    def release(self) -> None:
        """Take again what comes."""
        cast("asyncio.ReadTransport", self._writer.transport).resume_reading()

    def end(self) -> None:
        """Close the connection in good order."""
        self._writer.close()

    def cut(self) -> None:
        """Close the socket as a process does that dies: over TLS without a word."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """Reset the connection."""
        reset(self._writer.transport)

    async def gone(self) -> None:
        """Return when the gateway has closed the connection, whatever it still said. Scripts just return instead."""
        async with asyncio.timeout(_PATIENCE):
            await self._gone.wait()

    async def play(self, script: Script) -> None:
        """Play a script, and then wait for the gateway to close."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(self)
                while await self._reader.read(1 << 16):
                    pass
        finally:
            self._gone.set()


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection by RST: closing it without lingering throws away what was not sent, and says so."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Scripted:
    """Listens while it is entered, and plays the script on every connection; `peers` are those so far."""

    def __init__(
        self, script: Script, *, host: str = "127.0.0.1", port: int = 0, certificate: str | None = None
    ) -> None:
        self.peers: list[Peer] = []
        self.port = port
        self._script = script
        self._host = host
        self._ssl = None if certificate is None else _server_context(certificate)
        self._server: asyncio.Server | None = None
        self._playing: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._ssl is None else 'https'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._playing:
            task.cancel()
        for peer in self.peers:
            peer.cut()
        await self._server.wait_closed()
        for outcome in await asyncio.gather(*self._playing, return_exceptions=True):
            if isinstance(outcome, AssertionError):
                raise outcome

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._playing.add(task)
        if self._ssl is None:
            writer.transport.set_write_buffer_limits(high=0)  # so that `send` returns when all has gone
        peer = Peer(len(self.peers) + 1, reader, writer)
        self.peers.append(peer)
        with suppress(asyncio.CancelledError):
            await peer.play(self._script)


def answering(*answers: bytes) -> Script:
    """The script that answers the requests of each connection with these bytes, one after another, then no more."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)

    return script


class _Context(ssl.SSLContext):
    asked_for: str | None = None


def _server_context(certificate: str) -> ssl.SSLContext:
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, ours: setattr(ours, "asked_for", name)
    return context
