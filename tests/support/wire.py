"""A client's connection, to send and read piece by piece: what a test needs to be slow, rude or gone."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.support.running import BODIED, OWN, Answer, Running, answer_from
from tests.support.waiting import eventually

PING = b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"  # refused, and the connection goes on
here = pytest.mark.asyncio(loop_scope="module")  # on the event loop of the module's gateway
_PATIENCE = 20.0  # far beyond every timer that a test sets; what is not there by then never comes


class Wire:
    """One connection. Every wait ends with an exception if what is waited for does not come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes; raises ConnectionError once the gateway has cut the connection."""
        self._writer.write(data)
        async with asyncio.timeout(_PATIENCE):
            await self._writer.drain()

    async def send_all(self, data: bytes, piece: int = 1 << 16) -> int:
        """Send bytes until all are gone or the gateway takes no more; how many went."""
        sent = 0
        try:
            while sent < len(data):
                await self.send(data[sent : sent + piece])
                sent += piece
        except ConnectionError:
            pass
        return min(sent, len(data))

    async def head(self) -> bytes:
        """The next head, its blank line included."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> Answer:
        """The next answer, read by its framing."""
        head = await self.head()
        told = answer_from(head)
        async with asyncio.timeout(_PATIENCE):
            if told.header("Transfer-Encoding") == "chunked":
                body = await self._chunks()
            else:
                body = await self._reader.readexactly(int(told.header("Content-Length") or 0))
        return answer_from(head + body)

    async def rest(self) -> bytes:
        """All that comes until the gateway closes; a reset is an end too."""
        parts = []
        async with asyncio.timeout(_PATIENCE):
            try:
                while part := await self._reader.read(1 << 16):
                    parts.append(part)
            except ConnectionError:
                pass
        return b"".join(parts)

    async def drip(self, data: bytes, pause: float = 0.05) -> bytes:
        """Send again and again, with pauses, until the gateway closes; what it said."""
        reading = asyncio.create_task(self.rest())
        while not reading.done():
            try:
                await self.send(data)
            except ConnectionError:
                break
            await asyncio.wait((reading,), timeout=pause)
        return await reading

    def leave(self) -> None:
        """Be gone at once, without a word."""
        self._writer.transport.abort()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        assert await self._reader.readexactly(2) == b"\r\n"
        return body


@asynccontextmanager
async def wire(gateway: Running) -> AsyncIterator[Wire]:
    """A connection of its own, closed at the end."""
    reader, writer = await asyncio.open_connection(*gateway.address)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def request(
    gateway: Running,
    *more: str,
    body: bytes | None = None,
    token: str | None = None,
    length: int | None = None,
    start: str = "POST /v4/gql HTTP/1.1",
) -> bytes:
    """An ordinary request as bytes; `length` of the body is told truly unless it is given, and not if negative."""
    if body is None:
        body = OWN.encode() if start.startswith(BODIED) else b""
    told = len(body) if length is None else length
    lines = [
        start,
        "Host: a",
        f"Authorization: Bearer {token or gateway.keys['USER_READ']}",
        "Content-Type: application/json",
        *([f"Content-Length: {told}"] if told >= 0 else []),
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def line_of(gateway: Running, answer: Answer) -> dict[str, Any]:
    """The line of the log about the request that this is the answer to; lines are written by a thread."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [line for line in gateway.lines() if line["request_id"] == answer.header("X-Request-Id")]
        return bool(found)

    await eventually(is_there)
    return found[-1]


def statuses(data: bytes) -> list[int]:
    """The statuses of all answers in what a connection gave."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", data)]


async def opened(client: socket.socket, gateway: Running) -> None:
    """Connect a socket that holds little itself of what is sent."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, gateway.address)


async def sent(client: socket.socket, data: bytes) -> bool:
    """Whether all could be sent, without reading what is said meanwhile."""
    try:
        async with asyncio.timeout(20):
            await asyncio.get_running_loop().sock_sendall(client, data)
    except ConnectionError:
        return False
    return True


async def taken(client: socket.socket) -> bytes:
    """All that can be read in the end."""
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while part := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
                received += part
    return received
