"""No test talks to another machine: whatever connects or binds elsewhere than loopback fails.

Two doors are watched, because uvloop opens connections without Python's sockets: `socket.socket` for the whole session,
and the methods of the event loop that take a host.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import uvloop


class NotLoopback(AssertionError):
    """A test reached for another machine."""


class Guard:
    """What was reached for and must not be. Kept, because the code under test may swallow the exception."""

    def __init__(self) -> None:
        self.caught: list[str] = []

    def check(self, host: str | None) -> None:
        """Raise unless the host is this machine, by address or by a name that can mean no other (RFC 6761)."""
        if not _is_loopback(host or ""):
            self.caught.append(host or "every interface")
            raise NotLoopback(f"a test may use loopback only, and this one reached for {self.caught[-1]}")

    def taken(self) -> list[str]:
        """What was caught since the last time this was asked."""
        caught, self.caught = self.caught, []
        return caught


GUARD = Guard()


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".invalid")):
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@contextmanager
def guarded_sockets() -> Iterator[None]:
    """Python's sockets connect, bind and send to loopback only, until the end of the block."""
    names = ("bind", "connect", "connect_ex", "sendto")
    originals = {name: getattr(socket.socket, name) for name in names}
    for name, original in originals.items():
        setattr(socket.socket, name, _guarded(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(socket.socket, name, original)


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: socket.socket, *arguments: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            GUARD.check(arguments[-1][0])  # the address is the last argument of all four
        return original(self, *arguments)

    return method


class GuardedLoop(uvloop.Loop):
    """uvloop, connecting and listening on loopback only. Its methods hand on whatever else they are given."""

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if options.get("sock") is None:
            GUARD.check(host)
        return await super().create_connection(factory, host, port, **options)

    async def create_server(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if options.get("sock") is None:
            for each in host if isinstance(host, list | tuple) else [host]:
                GUARD.check(each)
        return await super().create_server(factory, host, port, **options)

    async def create_datagram_endpoint(  # type: ignore[override]
        self, factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Any:
        for address in (local_addr, remote_addr):
            if address is not None:
                GUARD.check(address[0])
        return await super().create_datagram_endpoint(factory, local_addr, remote_addr, **options)
