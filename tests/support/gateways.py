"""Gateways as processes of their own, side by side on one store, and clients that ask them without pause."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession

from tests.support.command import Command, command
from tests.support.running import OWN
from tests.support.vectors import VENDOR_SCHEMA
from tests.support.waiting import eventually

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves."""

    command: Command
    url: str
    admin: str

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    async def status(self, token: str) -> int:
        """What an ordinary request with this token is answered with."""
        async with asking(self) as asker:
            return await asker.ask(token)

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """What it says of itself."""
        async with ClientSession() as session, session.get(f"{self.admin}/ready") as answer:
            return answer.status, dict(await answer.json())

    async def figure(self, name: str) -> float:
        """One of its figures, which has no labels."""
        async with ClientSession() as session, session.get(f"{self.admin}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
        return float(value)

    async def until_hearing(self, *, deaf: bool = False) -> None:
        """Return once it hears what ends, or no longer does."""

        async def so() -> bool:
            return await self.figure("gateway_store_deaf") == deaf

        await eventually(so)

    async def until_ready(self) -> None:
        """Return once it is ready."""

        async def so() -> bool:
            return (await self.ready())[0] == 200

        await eventually(so)

    async def until(self, token: str, status: int) -> None:
        """Return once a request with this token is answered with this status."""

        async def so() -> bool:
            return await self.status(token) == status

        await eventually(so)


@asynccontextmanager
async def serving(
    directory: Path, store: Mapping[str, object], upstream: str, *, name: str = "gateway", **more: object
) -> AsyncIterator[Gateway]:
    """A gateway on a store, with more settings, to the end of the block."""
    settings = {
        "listen": {"host": "127.0.0.1", "port": 0},
        "admin": {"port": 0},
        "policy": {"schema_file": str(VENDOR_SCHEMA)},
        "store": dict(store),
        "regions": {"eu": {"upstreams": [upstream], "user_scoping": "upstream"}},
        "log": {"format": "json"},
        **more,
    }
    file = directory / f"{name}.yaml"
    file.write_text(json.dumps(settings), "utf-8")  # which is YAML too
    async with command(directory, "serve", "--config", file.name, name=name) as started:
        event = await started.event("serving")
        yield Gateway(started, event["url"], event["admin_url"])
        assert await started.stop() == 0
        assert "Traceback" not in started.said()


class Asker:
    """A client that keeps its connection: quick enough to ask again as soon as it was answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connected(cls, address: tuple[str, int]) -> Self:
        """A new one."""
        return cls(*await asyncio.open_connection(*address))

    async def ask(self, token: str) -> int:
        """The status of one whole request."""
        self._writer.write(_head(token) + b"\r\n" + OWN.encode())
        return await self._status()

    async def begin(self, token: str) -> None:
        """Send a request without its body, and return once that is asked for."""
        self._writer.write(_head(token) + b"Expect: 100-continue\r\n\r\n")
        async with asyncio.timeout(_PATIENCE):
            assert await self._reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    async def finish(self) -> int:
        """Send the body; the status of the answer."""
        self._writer.write(OWN.encode())
        return await self._status()

    async def delete_own(self, token: str) -> int:
        """Let a key end itself; the status of the answer."""
        self._writer.write(
            b"DELETE /keys/self HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % token.encode()
        )
        return await self._status()

    async def _status(self) -> int:
        async with asyncio.timeout(_PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await self._reader.readexactly(int(length))
        return int(head[9:12])

    def close(self) -> None:
        """Leave."""
        self._writer.transport.abort()


def _head(token: str) -> bytes:
    return (
        b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n" % (token.encode(), len(OWN))
    )


@asynccontextmanager
async def asking(gateway: Gateway) -> AsyncIterator[Asker]:
    """A client, to the end of the block."""
    asker = await Asker.connected(gateway.address)
    try:
        yield asker
    finally:
        asker.close()
