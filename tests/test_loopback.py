"""The guard that keeps tests on this machine."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.loopback import GUARD, NotLoopback

ELSEWHERE = ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::", "", "example.com", "localhost.example.com"]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_socket_cannot_leave_this_machine(host: str) -> None:
    """A test could pass or fail by what some other machine answers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
        ways: list[Callable[[], object]] = [
            lambda: stream.connect((host, 9)),
            lambda: stream.connect_ex((host, 9)),
            lambda: stream.bind((host, 0)),
            lambda: datagram.sendto(b"", (host, 9)),
        ]
        for way in ways:
            with pytest.raises(NotLoopback):
                way()

    assert GUARD.taken() == [host or "every interface"] * 4


@pytest.mark.parametrize("host", ELSEWHERE)
async def test_an_event_loop_cannot_leave_this_machine(host: str) -> None:
    """The loop that the gateway runs on opens connections past Python's sockets."""
    loop = asyncio.get_running_loop()
    protocol, datagram = asyncio.Protocol, asyncio.DatagramProtocol
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: loop.create_connection(protocol, host, 9),
        lambda: loop.create_server(protocol, host, 0),
        lambda: loop.create_server(protocol, ["127.0.0.1", host], 0),
        lambda: loop.create_datagram_endpoint(datagram, local_addr=(host, 0)),
        lambda: loop.create_datagram_endpoint(datagram, remote_addr=(host, 9)),
    ]
    for way in ways:
        with pytest.raises(NotLoopback):
            await way()

    assert GUARD.taken() == [host or "every interface"] * 5


async def test_this_machine_can_be_reached() -> None:
    """No test could start a server."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *address)
    transport.close()
    with socket.socket() as stream:
        stream.connect(address)
    server.close()
    await server.wait_closed()

    assert GUARD.taken() == []
