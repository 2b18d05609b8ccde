"""A TCP proxy on loopback that passes, delays, swallows, cuts up, garbles or refuses what goes through it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

Garble = Callable[[bytes], bytes]


class FaultProxy:
    """What it does is set at any time, and holds for connections that are open and those that come.

    `to_server` and `to_client` are whether bytes pass in that direction; what does not is swallowed, and never comes
    later. `delay` is in seconds, `slice` the most bytes that go on at once, `garble` changes what the client is told,
    `garble_request` what the server is. All of this is for those connections alone on which the client has sent the
    bytes `only`. `received` counts the bytes that clients sent.
    """

    def __init__(self, port: int) -> None:
        self.to_server = True
        self.to_client = True
        self.delay = 0.0
        self.slice = 65536
        self.garble: Garble | None = None
        self.garble_request: Garble | None = None
        self.only = b""
        self.received = 0
        self._target = port
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def blackhole(self) -> None:
        """Swallow everything; connections stay, and new ones are accepted."""
        self.to_server = self.to_client = False

    def heal(self) -> None:
        """Pass everything as it is. What was swallowed is lost, so connections of before are cut."""
        self.to_server = self.to_client = True
        self.delay, self.slice, self.garble, self.garble_request, self.only = 0.0, 65536, None, None, b""
        self.cut()

    def cut(self) -> None:
        """End every connection there is."""
        for way in self._ways:
            way.cancel()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Refuse what comes, and end what there is."""
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._ways:
            await asyncio.wait(self._ways)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._ways.add(task)
        there = None
        sent = bytearray()
        try:
            server, there = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(reader, there, sent, to_client=False))
                ways.create_task(self._pass(server, writer, sent, to_client=True))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # a connection that ends is what it is for
        finally:
            self._ways.discard(task)
            for each in (writer, there):
                if each is not None:
                    each.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytearray, *, to_client: bool
    ) -> None:
        while data := await reader.read(self.slice):
            if not to_client:
                sent += data
                self.received += len(data)
            if self.only in sent:
                data = await self._at_fault(data, to_client=to_client)
            writer.write(data)
            await writer.drain()
        raise ConnectionError  # so that the other direction ends with this one

    async def _at_fault(self, data: bytes, *, to_client: bool) -> bytes:
        if self.delay:
            await asyncio.sleep(self.delay)
        if not (self.to_client if to_client else self.to_server):
            return b""
        garble = self.garble if to_client else self.garble_request
        return garble(data) if garble is not None else data


@asynccontextmanager
async def fault_proxy(port: int) -> AsyncIterator[FaultProxy]:
    """A proxy before this port of 127.0.0.1, which passes everything until it is told otherwise."""
    proxy = FaultProxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        with suppress(OSError):
            await proxy.stop()
