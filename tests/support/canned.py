"""A server of connections without a gateway behind it: every request gets the same bytes."""

import asyncio
import socket

from aiohttp import http, streams

from gateway.core.decision import Reason
from gateway.proxy.server import Connection, Server


class Canned:
    """Answers every request with the same bytes, and does as it is told about keeping the connection."""

    def __init__(self, answer: bytes, *, keep: bool = False) -> None:
        self.answer = answer
        self.keep = keep
        self.served = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def serve(self, client: Connection, message: http.RawRequestMessage, payload: streams.StreamReader) -> bool:
        await self.go_on.wait()
        self.served += 1
        client.write(self.answer)
        return self.keep

    def unreadable(self, client: Connection, reason: Reason) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\n\r\n"


async def connected(server: Server) -> tuple[Connection, socket.socket]:
    """A connection of a server's, and the client's end of it; little fits between the two."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
    client.setblocking(False)
    _, connection = await asyncio.get_running_loop().connect_accepted_socket(server, accepted)
    return connection, client
