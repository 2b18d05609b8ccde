"""The head of a forwarded request: a new one of our own, built from what was judged and what is known of the client."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from gateway.core.headers import Inbound
from gateway.proxy.server import Connection
from gateway.proxy.upstream import Endpoint

Network = IPv4Network | IPv6Network

READ: Final = frozenset({"via", "github-public-key-identifier", "github-public-key-signature"})
"""Request headers that are read here and nowhere else."""

_VIA: Final = b"1.1 gateway"
_NO_NAMES: Final = (b"keep-alive", b"close")


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
        request_id: bytes,
        length: int | None,
        *,
        credential: bool = False,
    ) -> bytes:
        """The whole head, final blank line included; `length` is that of the body, None for none at all.

        With `credential` the client's Authorization header goes along, whatever the endpoint.
        """
        lines = inbound.forwarded_lines
        if b"connection" in inbound.first:
            lines = _end_to_end(inbound)
        if credential or endpoint in self._extra:
            names = dict.fromkeys((*self._extra.get(endpoint, ()), *((b"authorization",) * credential)))
            lines = [*lines, *(_line(name, value) for name in names for value in inbound.all(name))]
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b%bX-Request-Id: %b\r\n\r\n" % (
            method,
            target,
            endpoint.authority,
            identity,
            self._origin(client, inbound),
            b"".join(lines),
            b"" if length is None else b"Content-Length: %d\r\n" % length,
            request_id,
        )

    def _origin(self, client: Connection, inbound: Inbound) -> bytes:
        """Forwarded (RFC 7239), X-Forwarded-* and Via (RFC 9110 section 7.6.3)."""
        host = inbound.first.get(b"host", b"")
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


def _end_to_end(inbound: Inbound) -> list[bytes]:
    """What goes upstream but for what Connection names, which ends here (RFC 9110 section 7.6.1)."""
    options = inbound.all(b"connection")
    if all(option in _NO_NAMES for option in options):
        return inbound.forwarded_lines
    named = {name.strip().lower() for option in options for name in option.split(b",")}
    return [line for line in inbound.forwarded_lines if line.partition(b":")[0].lower() not in named]


def _line(name: bytes, value: bytes) -> bytes:
    return b"%b: %b\r\n" % (name, value)


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
    via = [_VIA]
    if trusted is not None:
        hops = [*trusted.all(b"x-forwarded-for"), *hops]
        via = [*trusted.all(b"via"), *via]
        forwarded = [*trusted.all(b"forwarded"), *forwarded]
        host = _first(trusted.all(b"x-forwarded-host"), host)
        scheme = _first(trusted.all(b"x-forwarded-proto"), scheme)
    lines = [
        b"Forwarded: %b\r\nX-Forwarded-For: %b\r\n" % (b", ".join(forwarded), b", ".join(hops)),
        b"X-Forwarded-Proto: %b\r\nVia: %b\r\n" % (scheme, b", ".join(via)),
    ]
    if host:
        lines.append(b"X-Forwarded-Host: %b\r\n" % host)
    return b"".join(lines)


def _first(values: list[bytes], otherwise: bytes) -> bytes:
    return values[0] if values else otherwise
