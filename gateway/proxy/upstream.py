"""The upstreams: regions, their endpoints, and the pool of connections that each endpoint keeps."""

import asyncio
import ipaddress
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.exchange import Client, Exchange, Lost, Outcome
from gateway.proxy.limits import UpstreamLimits

__all__ = ["Client", "Endpoint", "Exchange", "Outcome", "Region", "Resolve", "UpstreamLimits"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a name and a port to numeric addresses, in the order in which to try them; raises OSError."""


async def _resolve(name: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Endpoint:
    """One address of an upstream, with its connections.

    `url` is `http://` or `https://` with a name or an address and perhaps a port, nothing more; anything else raises
    ValueError. Over https the certificate and the name are always verified; `ssl_context` may bring a private CA,
    and is refused if it does not verify.
    """

    name: str
    """Host and port, for logs."""
    authority: bytes
    """What Host says: an IPv6 address in brackets, the scheme's own port left out."""

    def __init__(
        self,
        url: str,
        limits: UpstreamLimits,
        deadlines: Deadlines,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve = _resolve,
    ) -> None:
        secure, self._host, self._port, self.authority = _parse(url)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.name = f"{host}:{self._port}"
        self._ssl = _verifying(ssl_context) if secure else None
        self._limits = limits
        self._deadlines = deadlines
        self._resolve = resolve
        self._running = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._connections: set[Exchange] = set()
        self._idle: dict[Exchange, None] = {}
        self._closed: asyncio.Future[None] | None = None

    async def exchange(
        self,
        head: bytes,
        body: bytes | AsyncIterator[bytes],
        client: Client,
        *,
        answer_lines: bytes,
        http10: bool,
        keep_alive: bool,
        head_request: bool = False,
        safe: bool = False,
        fresh: bool = False,
        chunked: bool = False,
    ) -> Outcome:
        """Send a request and relay its answer to the client.

        Raises `Unavailable` (or what the body's iterator raises) only while nothing has been written to the client.
        A request is sent again, once and on a new connection, only if it is `safe`, its body is at hand, and an idle
        connection turned out to be closed before a byte of the answer came. With `fresh` no idle one is taken.
        """
        if self._running < self._limits.max_connections:
            self._running += 1
        else:
            await self._wait_for_place()
        try:
            connection = (None if fresh else self._take_idle()) or await self._connect()
            while True:
                try:
                    return await connection.run(
                        client,
                        head,
                        body,
                        own=answer_lines,
                        http10=http10,
                        keep_alive=keep_alive,
                        head_request=head_request,
                        chunked=chunked,
                    )
                except Lost:
                    if not (safe and connection.used and isinstance(body, bytes)):
                        raise
                connection = await self._connect()
        except asyncio.CancelledError:
            client.abort()
            if client.exchange is not None:
                client.exchange.client_left()
            raise
        finally:
            if self._waiting:
                self._leave_place()
            else:
                self._running -= 1

    async def close(self) -> None:
        """All connections are ended, also those with an exchange running, and gone on return."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
        for connection in tuple(self._connections):
            connection.retire()
        if self._connections:
            await self._closed

    # What the connections tell.

    def opened(self, connection: Exchange) -> None:
        """A connection is there."""
        self._connections.add(connection)
        if self._closed is not None:
            connection.retire()

    def rested(self, connection: Exchange) -> None:
        """A connection is free for another exchange."""
        self._idle[connection] = None

    def closed(self, connection: Exchange) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if self._closed is not None and not self._connections and not self._closed.done():
            self._closed.set_result(None)

    async def _wait_for_place(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            async with asyncio.timeout(self._limits.connect):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave_place()  # it came too late
            if isinstance(error, TimeoutError):
                raise Unavailable(Reason.REGION_UNAVAILABLE, f"{self.name}: all connections are busy") from None
            raise
        finally:
            del self._waiting[turn]

    def _leave_place(self) -> None:
        """The place goes to whoever has waited longest."""
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    def _take_idle(self) -> Exchange | None:
        # The one used last comes first, so that in quiet times the others may grow old and go.
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable():
                return connection
            connection.retire()
        return None

    async def _connect(self) -> Exchange:
        """A new connection to the first address that accepts one; each gets its share of the time that is left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.connect
        addresses = await self._addresses()
        fault: OSError | None = None
        for place, address in enumerate(addresses):
            share = (end - loop.time()) / (len(addresses) - place)
            try:
                async with asyncio.timeout(share):
                    return await self._open(address)
            except OSError as error:
                fault = error
        reason = Reason.UPSTREAM_TIMEOUT if isinstance(fault, TimeoutError) else Reason.UPSTREAM_UNREACHABLE
        raise Unavailable(reason, f"{self.name}: no address could be connected to") from fault

    async def _open(self, address: str) -> Exchange:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Exchange(self.name, self._limits, self._deadlines, self),
            address,
            self._port,
            ssl=self._ssl,
            server_hostname=self._host if self._ssl else None,
        )
        if not connection.usable():
            raise ConnectionError("closed, or spoken on, as soon as it was there")
        return connection

    async def _addresses(self) -> Sequence[str]:
        """Resolved anew for each connection, off the loop."""
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            pass
        else:
            return [self._host]
        try:
            async with asyncio.timeout(self._limits.connect):
                return await self._resolve(self._host, self._port)
        except (OSError, UnicodeError) as error:
            raise Unavailable(Reason.UPSTREAM_UNREACHABLE, f"{self.name}: the name does not resolve") from error


class Region:
    """A region's endpoints, taken in turn."""

    def __init__(self, name: str, endpoints: Sequence[Endpoint]) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self._turns = itertools.cycle(self.endpoints)

    def next(self) -> Endpoint:
        """The endpoint whose turn it is."""
        return next(self._turns)


def _parse(url: str) -> tuple[bool, str, int, bytes]:
    """Whether it is https, the host, the port, the authority."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host, port = parts.hostname, parts.port
    if default is None or not host or not host.isascii():
        raise ValueError("an upstream is http://host[:port] or https://host[:port], with an ASCII host")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an upstream is a scheme, a host and a port, without user, path, query or fragment")
    port = default if port is None else port
    authority = f"[{host}]" if ":" in host else host
    if port != default:
        authority = f"{authority}:{port}"
    return parts.scheme == "https", host, port, authority.encode("ascii")


def _verifying(context: ssl.SSLContext | None) -> ssl.SSLContext:
    if context is None:
        return ssl.create_default_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError("the TLS context of an upstream must verify the certificate and the name")
    return context
