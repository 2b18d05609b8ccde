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

_DROP: Final = 0
_FORWARD: Final = 1
_READ: Final = 2
_BOTH: Final = 3
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
_MEMORY: Final = 512  # Spellings of names that are remembered; a client that invents more empties the memory.

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~-]{1,128}")
_JSON: Final = re.compile(rb'application/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*"?utf-8"?[ \t]*)?', re.IGNORECASE)
# RFC 9110 section 7.2 and RFC 3986 section 3.2.2, narrowed to names, IPv4 and IPv6 literals with an optional port.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Inbound:
    """The headers of one request: the values that are read, and the lines that go upstream.

    Values of repeated headers are kept apart; the reader decides what more than one means.
    """

    __slots__ = ("forwarded_lines", "values")

    def __init__(self, values: dict[bytes, list[bytes]], forwarded_lines: list[bytes]) -> None:
        self.values = values
        self.forwarded_lines = forwarded_lines

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        return self.values.get(name, _NONE)

    def one(self, name: bytes) -> bytes | None:
        """The value of a header that may stand once; a second one makes the request malformed."""
        found = self.values.get(name)
        if found is None:
            return None
        if len(found) > 1:
            raise refuse(Reason.REQUEST_MALFORMED, f"The header {name.decode()} stands more than once.")
        return found[0]


_NONE: Final[list[bytes]] = []


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
        values: dict[bytes, list[bytes]] = {}
        lines: list[bytes] = []
        for name, value in raw_headers:
            entry = kinds.get(name)
            if entry is None:
                entry = self._learn(name)
            kind, lower = entry
            if kind & _READ:
                if lower in values:
                    values[lower].append(value)
                else:
                    values[lower] = [value]
            if kind & _FORWARD:
                lines += (name, b": ", value, b"\r\n")
        return Inbound(values, lines)

    def _learn(self, name: bytes) -> tuple[int, bytes]:
        lower = name.lower()
        text = lower.decode("ascii", "replace")
        kind = (_FORWARD if text in self._allowed else _DROP) | (_READ if text in self._read else _DROP)
        if len(self._kinds) >= _MEMORY:
            self._kinds.clear()
        self._kinds[name] = (kind, lower)
        return kind, lower


def request_id(inbound: Inbound) -> bytes | None:
    """The client's request id if it is well-formed, else None."""
    values = inbound.all(b"x-request-id")
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return None


def check_framing(inbound: Inbound, *, http10: bool) -> None:
    """Refuse what two parsers could frame differently (RFC 9112 sections 6.1 and 6.3): any transfer coding but
    `chunked`, chunked in HTTP/1.0, and a Host that is no host."""
    codings = inbound.values.get(b"transfer-encoding")
    if codings is not None and (len(codings) > 1 or codings[0].lower() != b"chunked" or http10):
        raise refuse(Reason.REQUEST_MALFORMED, "The only transfer coding is chunked, in HTTP/1.1.")
    host = inbound.one(b"host")
    if host is not None and not _HOST.fullmatch(host):
        raise refuse(Reason.REQUEST_MALFORMED, "The Host header is not a host.")


def expects_continue(inbound: Inbound, *, http10: bool) -> bool:
    """Whether the client waits for 100 Continue. HTTP/1.0 has no expectations (RFC 9110 section 10.1.1)."""
    values = inbound.values.get(b"expect")
    if values is None or http10:
        return False
    if len(values) > 1 or values[0].lower() != b"100-continue":
        raise refuse(Reason.EXPECTATION_FAILED)
    return True


def check_json(inbound: Inbound) -> None:
    """Refuse every body that does not say it is JSON in UTF-8, and every content coding."""
    if b"content-encoding" in inbound.values:
        raise refuse(Reason.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
    value = inbound.one(b"content-type")
    if value != b"application/json" and (value is None or not _JSON.fullmatch(value)):
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
