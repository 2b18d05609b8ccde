"""What may cross: the request headers that are read, those that go upstream, and the identity headers set instead.

Headers go upstream by an allow-list, exact but for case. A name that some server might fold into another one, as `_`
into `-`, is on no list and never crosses.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from gateway.core.decision import Reason, refuse
from gateway.core.principal import KeyPrincipal, Principal
from gateway.core.times import iso_time

# What a GraphQL API may need to know of the client; everything else stays here unless settings name it.
ALLOWED: Final = (
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "user-agent",
    "traceparent",
    "tracestate",
    "idempotency-key",
)

_FORWARD: Final = 1  # goes upstream
_READ: Final = 2  # is read here
_RARE: Final = 4  # asks for a closer look at the request
_READ_NAMES: Final = frozenset(
    {
        "accept",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "transfer-encoding",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    }
)
_RARE_NAMES: Final = frozenset({"content-encoding", "expect", "transfer-encoding", "x-request-id"})
_MEMORY_NAME: Final = 64  # Bytes of a spelling that is remembered; names that mean something are shorter.
_MEMORY: Final = 512  # Spellings of names that are remembered; a client that invents more empties the memory.

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~-]{1,128}")
# An id is repeated in answers, logs and to the upstream; a token, an authentication code or a JWT that somebody put
# there must not be.
_TOKEN_LIKE: Final = re.compile(rb"[0-9a-f]{8}\.[0-9A-Za-z]{8}|[0-9a-f]{128}|eyJ[A-Za-z0-9_-]+\.")
_JSON: Final = re.compile(
    rb'application/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*(?:utf-8|"utf-8")[ \t]*)?', re.IGNORECASE
)
# RFC 9110 section 7.2 and RFC 3986 section 3.2.2, narrowed to names, IPv4 and IPv6 literals with an optional port.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Inbound:
    """The headers of one request: the values that are read, and the lines that go upstream.

    `first` has the first value of each; `rare` is true where one of them asks for a closer look: another framing, an
    expectation, a content coding, an id of the client's, or a header that stands twice.
    """

    __slots__ = ("_further", "first", "forwarded_lines", "rare")

    def __init__(
        self, first: dict[bytes, bytes], further: dict[bytes, list[bytes]], forwarded_lines: list[bytes], rare: bool
    ) -> None:
        self.first = first
        self._further = further
        self.forwarded_lines = forwarded_lines
        self.rare = rare

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        value = self.first.get(name)
        if value is None:
            return []
        return [value, *self._further[name]] if name in self._further else [value]

    def one(self, name: bytes) -> bytes | None:
        """The value of a header that may stand once; a second one makes the request malformed."""
        if name in self._further:
            raise refuse(Reason.REQUEST_MALFORMED, f"The header {name.decode()} stands more than once.")
        return self.first.get(name)


class HeaderRules:
    """Sorts request headers into those that are read, those that go upstream, and the rest, which stays here."""

    __slots__ = ("_allowed", "_kinds", "_read")

    def __init__(self, extra: Iterable[str] = (), *, read: Iterable[str] = ()) -> None:
        self._allowed = frozenset(ALLOWED) | {name.lower() for name in extra}
        self._read = _READ_NAMES | {name.lower() for name in read}
        self._kinds: dict[bytes, tuple[int, bytes]] = {}

    def sort(self, raw_headers: Iterable[tuple[bytes, bytes]]) -> Inbound:
        """The headers of one request, sorted; `raw_headers` as they were received."""
        kinds = self._kinds
        first: dict[bytes, bytes] = {}
        further: dict[bytes, list[bytes]] = {}
        lines: list[bytes] = []
        seen = 0
        for name, value in raw_headers:
            kind, lower = kinds.get(name) or self._learn(name)
            seen |= kind
            if kind & _READ:
                if lower in first:
                    further.setdefault(lower, []).append(value)
                else:
                    first[lower] = value
            if kind & _FORWARD:
                lines.append(b"%b: %b\r\n" % (name, value))
        return Inbound(first, further, lines, bool(seen & _RARE or further))

    def _learn(self, name: bytes) -> tuple[int, bytes]:
        lower = name.lower()
        text = lower.decode("ascii", "replace")
        kind = (text in self._allowed) * _FORWARD | (text in self._read) * _READ | (text in _RARE_NAMES) * _RARE
        if len(self._kinds) >= _MEMORY:
            self._kinds.clear()
        if len(name) <= _MEMORY_NAME:
            self._kinds[name] = (kind, lower)
        return kind, lower


def request_id(inbound: Inbound) -> bytes | None:
    """The client's request id if it is well-formed, else None."""
    values = inbound.all(b"x-request-id")
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]) and not _TOKEN_LIKE.search(values[0]):
        return values[0]
    return None


def check_framing(inbound: Inbound, *, http10: bool) -> None:
    """Refuse what two parsers could frame differently (RFC 9112 sections 6.1 and 6.3): any transfer coding but
    `chunked`, and chunked in HTTP/1.0."""
    codings = inbound.all(b"transfer-encoding")
    if codings and ([coding.lower() for coding in codings] != [b"chunked"] or http10):
        raise refuse(Reason.REQUEST_MALFORMED, "The only transfer coding is chunked, in HTTP/1.1.")


def check_host(inbound: Inbound) -> None:
    """Refuse a Host that is no host. HTTP/1.0 may come without; that HTTP/1.1 has one, the parser has made sure."""
    host = inbound.one(b"host")
    if host is not None and not _HOST.fullmatch(host):
        raise refuse(Reason.REQUEST_MALFORMED, "The Host header is not a host.")


def expects_continue(inbound: Inbound, *, http10: bool) -> bool:
    """Whether the client waits for 100 Continue. HTTP/1.0 has no expectations (RFC 9110 section 10.1.1)."""
    values = inbound.all(b"expect")
    if not values or http10:
        return False
    if [value.lower() for value in values] != [b"100-continue"]:
        raise refuse(Reason.EXPECTATION_FAILED)
    return True


def check_json(inbound: Inbound) -> None:
    """Refuse every body that does not say it is JSON in UTF-8, and every content coding."""
    check_plain(inbound)
    value = inbound.one(b"content-type")
    if value != b"application/json" and (value is None or not _JSON.fullmatch(value)):
        raise refuse(Reason.UNSUPPORTED_MEDIA_TYPE)


def check_plain(inbound: Inbound) -> None:
    """Refuse every content coding: what cannot be read cannot be judged."""
    if b"content-encoding" in inbound.first:
        raise refuse(Reason.UNSUPPORTED_MEDIA_TYPE)


def declared_length(inbound: Inbound) -> int:
    """The Content-Length, or 0. The parser has made sure that it is a number, and the only one."""
    value = inbound.one(b"content-length")
    return 0 if value is None else int(value)


class Media(StrEnum):
    """The two media types of GraphQL over HTTP, in which faults of a document have different statuses."""

    JSON = "application/json"
    GRAPHQL_RESPONSE = "application/graphql-response+json"


_ANY: Final = ("application/*", "*/*")
_RANGES: Final[Mapping[str, tuple[Media, ...]]] = {
    **{media.value: (media,) for media in Media},
    **dict.fromkeys(_ANY, tuple(Media)),
}
_QUALITY: Final = re.compile(r"q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def accepted(values: Iterable[bytes]) -> Media | None:
    """The media type to answer in: the one the client likes best, the first of equals; None if it takes neither.

    No Accept header means `application/json`, as GraphQL over HTTP has it for older clients.
    """
    ranges = ",".join(value.decode("latin-1") for value in values)
    if not ranges.strip(" \t,"):
        return Media.JSON
    liked: dict[str, float] = {}
    for item in ranges.split(","):
        name, *parameters = (part.strip(" \t") for part in item.lower().split(";"))
        liked[name] = max(liked.get(name, 0.0), _quality(parameters))
    best: Media | None = None
    best_quality = 0.0
    for name in liked:
        for media in _RANGES.get(name, ()):
            # RFC 9110 section 12.5.1: the most specific range that matches has precedence.
            quality = next(liked[each] for each in (media.value, *_ANY) if each in liked)
            if quality > best_quality:
                best, best_quality = media, quality
    return best


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        match = _QUALITY.fullmatch(parameter)
        if match:
            return float(match[1])
        if parameter.startswith("charset") and parameter.replace('"', "") not in ("charset=utf-8", "charset=utf8"):
            return 0.0
    return 1.0


def identity_lines(principal: Principal | None) -> bytes:
    """The header lines that tell the upstream who is calling. Nothing else of the credential crosses."""
    if principal is None:
        return b"X-Gateway-Principal: none\r\n"
    if isinstance(principal, KeyPrincipal):
        kind, who = "key", f"X-Gateway-Key: {principal.key_id}"
        scopes = f"X-Gateway-Scopes: {' '.join(sorted(principal.scopes))}\r\n"
    else:
        kind, who, scopes = "user", f"X-Gateway-User: {principal.user_id}", ""
    return (
        f"X-Gateway-Principal: {kind}\r\nX-Gateway-App: {principal.app_id}\r\n{who}\r\n{scopes}"
        f"X-Gateway-Region: {principal.region}\r\n"
    ).encode("ascii")


def expiry_line(principal: Principal, now: int) -> bytes:
    """The header line that tells a key in its last days when it ends; nothing for anybody else."""
    if not isinstance(principal, KeyPrincipal) or now < principal.notice_at:
        return b""
    return b"X-Gateway-Key-Expires: %b\r\n" % iso_time(principal.expires_at).encode("ascii")
