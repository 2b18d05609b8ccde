"""An upstream whose answers are held back until a test gives them, so that a request can be caught in the middle."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

_PATIENCE = 20.0


@dataclass(slots=True)
class Asked:
    """One request that waits for its answer."""

    head: bytes
    body: bytes
    _writer: asyncio.StreamWriter
    _closed: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, body: bytes = b'{"data":{}}') -> None:
        """Answer whole."""
        self.begin(len(body))
        self._writer.write(body)

    def begin(self, length: int) -> None:
        """Give the head of an answer of so many bytes."""
        self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length)

    def more(self, data: bytes) -> None:
        """Give a piece of the body."""
        self._writer.write(data)

    async def given_up(self) -> None:
        """Return when the gateway has closed the connection."""
        async with asyncio.timeout(_PATIENCE):
            await self._closed.wait()


class Held:
    """Listens while it is entered; `asked` gives one request after another."""

    def __init__(self) -> None:
        self.url = ""
        self._waiting: asyncio.Queue[Asked] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def asked(self) -> Asked:
        """The next request, once it is whole."""
        async with asyncio.timeout(_PATIENCE):
            return await self._waiting.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        on_this = []
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                on_this.append(Asked(head, body, writer))
                self._waiting.put_nowait(on_this[-1])
        for asked in on_this:
            asked._closed.set()  # noqa: SLF001 - its own


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
