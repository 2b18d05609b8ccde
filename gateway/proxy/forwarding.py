"""The head of a forwarded request: a new one of our own, built from what was judged and what is known of the client."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from gateway.core.headers import Inbound
from gateway.proxy.server import Connection
from gateway.proxy.upstream import Endpoint

Network = IPv4Network | IPv6Network

_VIA: Final = b"Via: 1.1 gateway\r\n"


class Forwarding:
    """Builds request heads. The word of a client about where it comes from counts only if it is a trusted proxy.

    `extra` names further headers, in small letters, that go to these endpoints and to no other.
    """

    __slots__ = ("_extra", "_trusted")

    def __init__(self, trusted: Iterable[Network], extra: Mapping[Endpoint, Sequence[str]]) -> None:
        self._trusted = tuple(trusted)
        self._extra = {endpoint: tuple(name.encode("ascii") for name in names) for endpoint, names in extra.items()}

    def head(
        self,
        endpoint: Endpoint,
        method: bytes,
        target: bytes,
        identity: bytes,
        client: Connection,
        inbound: Inbound,
        request_id: str,
        length: int | None,
    ) -> bytes:
        """The whole head, final blank line included; `length` is that of the body, None for none at all."""
        parts = [
            b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, endpoint.authority),
            identity,
            self._origin(client, inbound),
            *inbound.forwarded_lines,
        ]
        for name in self._extra.get(endpoint, ()):
            parts += (b"%b: %b\r\n" % (name, value) for value in inbound.all(name))
        if length is not None:
            parts.append(b"Content-Length: %d\r\n" % length)
        parts.append(b"X-Request-Id: %b\r\n\r\n" % request_id.encode("ascii"))
        return b"".join(parts)

    def _origin(self, client: Connection, inbound: Inbound) -> bytes:
        """Forwarded (RFC 7239), X-Forwarded-* and Via (RFC 9110 section 7.6.3)."""
        hosts = inbound.all(b"host")
        host = hosts[0] if hosts else b""
        known = client.forwarded
        if known is not None and known[0] == host:
            return known[1]
        peer = _peer(client)
        if self._trusts(peer):
            return _origin(peer, host, b"http", inbound)
        lines = _origin(peer, host, b"http", None)
        client.forwarded = (host, lines)
        return lines

    def _trusts(self, peer: str) -> bool:
        return bool(self._trusted) and _among(peer, self._trusted)


def _among(peer: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _peer(client: Connection) -> str:
    name = client.peername
    return str(name[0]) if isinstance(name, tuple | list) else "unknown"


def _origin(peer: str, host: bytes, scheme: bytes, trusted: Inbound | None) -> bytes:
    node = peer.partition("%")[0]  # a link-local address comes with its interface, which is nobody's business
    address = node.encode()
    element = b'for="[%b]"' % address if ":" in node else b"for=%b" % address
    forwarded = [element + (b';host="%b"' % host if host else b"") + b";proto=" + scheme]
    hops = [address]
    if trusted is not None:
        hops = [*trusted.all(b"x-forwarded-for"), *hops]
        forwarded = [*trusted.all(b"forwarded"), *forwarded]
        host = _first(trusted.all(b"x-forwarded-host"), host)
        scheme = _first(trusted.all(b"x-forwarded-proto"), scheme)
    lines = [
        b"Forwarded: %b\r\nX-Forwarded-For: %b\r\n" % (b", ".join(forwarded), b", ".join(hops)),
        b"X-Forwarded-Proto: %b\r\n" % scheme,
        _VIA,
    ]
    if host:
        lines.append(b"X-Forwarded-Host: %b\r\n" % host)
    return b"".join(lines)


def _first(values: list[bytes], otherwise: bytes) -> bytes:
    return values[0] if values else otherwise
