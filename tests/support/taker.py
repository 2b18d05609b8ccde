"""A client's connection without a server behind it: an exchange writes to one end of it, a test reads at the other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

from gateway.proxy.exchange import Running
from tests.support.scripted import reset

_PATIENCE = 20.0


class Taken(NamedTuple):
    """What the client got in the end. `clean`: the connection ended in good order, as an answer may end."""

    data: bytes
    clean: bool


class Taker(asyncio.Protocol):
    """The gateway's end, as an exchange wants it, with the client's end to read from."""

    def __init__(self) -> None:
        self.exchange: Running | None = None
        self.writing_paused = False
        self.writes: list[int] = []
        self.most_unsent = 0
        self._transport: asyncio.Transport
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.exchange is not None:
            self.exchange.client_left()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.exchange is not None:
            self.exchange.client_resumed()

    # What an exchange calls.

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self.writes.append(len(data))
        if not self._transport.is_closing():
            self._transport.write(data)
            self.most_unsent = max(self.most_unsent, self.unsent())

    def unsent(self) -> int:
        """What the client has not taken."""
        return self._transport.get_write_buffer_size()

    def gone(self) -> bool:
        """The connection is closed or closing."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """Reset the connection."""
        reset(self._transport)

    # What a test does at the other end, or in the handler's place.

    def finish(self) -> None:
        """Close the connection in good order after an answer that says so."""
        self._transport.close()

    def leave(self) -> None:
        """Be a client that goes away."""
        self._writer.transport.abort()

    async def take(self, count: int) -> bytes:
        """As many bytes, once they have come."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.readexactly(count)

    async def take_until(self, end: bytes) -> bytes:
        """The bytes up to and with an end."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.readuntil(end)

    async def taken(self) -> Taken:
        """All that comes until the connection ends."""
        parts = []
        async with asyncio.timeout(_PATIENCE):
            try:
                while part := await self._reader.read(1 << 16):
                    parts.append(part)
            except ConnectionError:
                return Taken(b"".join(parts), clean=False)
        return Taken(b"".join(parts), clean=True)


@asynccontextmanager
async def taker(kind: type[Taker] = Taker, *, buffer: int | None = None) -> AsyncIterator[Taker]:
    """A client with a connection of its own; with a small `buffer` the system holds little of what it does not take."""
    loop = asyncio.get_running_loop()
    end, client = kind(), socket.socket()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        if buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)  # what it accepts has the same
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.setblocking(False)
        await loop.sock_connect(client, listening.getsockname())
        accepted, _ = listening.accept()
    await loop.connect_accepted_socket(lambda: end, accepted)
    end._reader, end._writer = await asyncio.open_connection(sock=client, limit=buffer or 1 << 16)  # noqa: SLF001
    try:
        yield end
    finally:
        end._writer.transport.abort()  # noqa: SLF001 - its own
        end._transport.abort()  # noqa: SLF001 - its own
