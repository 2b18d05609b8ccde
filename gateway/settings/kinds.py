"""The kinds of value a setting may have, each with the sentence that refuses a wrong one."""

import re
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A group of settings that cannot change once read and accepts no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?"
HOST_NAME: Final = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST: Final = re.compile(rf"(?:{HOST_NAME}|\[[0-9a-f:.]+\])")
_UPSTREAM: Final = re.compile(rf"(https?://({HOST_NAME}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?)/?")
_PATH_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+"
_PATH: Final = re.compile(rf"/|(?:/{_PATH_SEGMENT})+")
# Narrower than RFC 9110 5.6.2: `_` is left out because a server that hands headers on as variables reads it as `-`.
_HEADER_NAME: Final = re.compile(r"[0-9a-z-]+")

# What ends with the connection, and what the gateway alone may say.
_NEVER_FORWARDED: Final = re.compile(
    "authorization|connection|content-encoding|content-length|expect|forwarded|host|http2-settings|keep-alive|proxy-.*|te"
    "|trailer|transfer-encoding|upgrade|via|x-forwarded-.*|x-gateway-.*|x-request-id"
    # By which a server may take the request for another one than was judged.
    "|x-http-method|x-http-method-override|x-method-override|x-original-url|x-rewrite-url"
)


def _matching(pattern: str, sentence: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(sentence)
        return text

    return AfterValidator(check)


def _host(text: str) -> str:
    host = text.lower()
    if _HOST.fullmatch(host) is None or not _is_name_or_address(host):
        raise ValueError("must be a host name or address without port, as api.example.com or [::1]")
    return host


def _upstream(text: str) -> str:
    match = _UPSTREAM.fullmatch(text.lower())
    if match is None or not _is_name_or_address(match[2]) or not 0 < int(match[3] or 1) < 65536:
        raise ValueError("must be http://host:port or https://host:port, without path, query, user or password")
    return match[1]


def _is_name_or_address(host: str) -> bool:
    if not host.startswith("["):
        return True
    try:
        IPv6Address(host[1:-1])
    except AddressValueError:
        return False
    return True


def _url_path(text: str) -> str:
    if _PATH.fullmatch(text) is None:
        raise ValueError("must be a path of letters, digits and . _ ~ - between slashes, without . and .. segments")
    return text


def _forwardable(text: str) -> str:
    name = text.lower()
    if _HEADER_NAME.fullmatch(name) is None:
        raise ValueError("must be a header's name of letters, digits and -")
    if _NEVER_FORWARDED.fullmatch(name):
        raise ValueError(
            f"must not hold {name}: it ends with the connection, is the gateway's to say, or changes what was judged"
        )
    return name


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be an address or a network as 10.0.0.0/8, without bits beyond its prefix") from None


def _distinct(items: tuple[object, ...]) -> tuple[object, ...]:
    twice = sorted({str(item) for item in items if items.count(item) > 1})
    if twice:
        raise ValueError(f"must not hold {', '.join(twice)} twice")
    return items


def _some(items: tuple[object, ...]) -> tuple[object, ...]:
    if not items:
        raise ValueError("must hold at least one")
    return items


# Numbers and switches are taken strictly: `port: true` and `port: "8080"` are slips of the pen.
Switch = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
Port = Annotated[int, Field(strict=True, ge=0, le=65535)]
# A day is longer than any sensible timer, and within what an event loop can count.
Seconds = Annotated[float, Field(strict=True, gt=0, le=86_400, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)]

Address = Annotated[str, _matching(r"[A-Za-z0-9.:_-]+", "must be an address or a host name")]
UrlPath = Annotated[str, AfterValidator(_url_path)]
RegionName = Annotated[
    str, _matching(r"[a-z][a-z0-9-]{0,31}", "must be named with at most 32 small letters, digits and -, a letter first")
]
IssuerName = Annotated[
    str, _matching(r"[a-z][a-z0-9-]{0,31}", "must be named with at most 32 small letters, digits and -, a letter first")
]
TokenPrefix = Annotated[
    str, _matching(r"[a-z][a-z0-9]{0,15}", "must be at most 16 small letters and digits, a letter first")
]
OperatorName = Annotated[
    str, _matching(r"[a-z0-9][a-z0-9._-]{0,63}", "must be at most 64 small letters, digits and . _ -")
]
TokenDigest = Annotated[
    str, _matching(r"[0-9a-f]{64}", "must be the 64 hex digits that 'gateway operators token' printed")
]
StoreIdentity = Annotated[
    str, _matching(r"[0-9a-f]{32}", "must be the 32 hex digits that 'gateway store init' printed")
]
StoreUser = Annotated[str, _matching(r"[!-~]{1,128}", "must be 1 to 128 visible ASCII characters")]
# RFC 9110 5.6.4: what may stand in a quoted string unescaped.
Realm = Annotated[str, _matching(r"[ !#-\[\]-~]+", "must be printable ASCII without quotes and backslashes")]

Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], AfterValidator(_distinct)]
Upstreams = Annotated[
    tuple[Annotated[str, AfterValidator(_upstream)], ...], AfterValidator(_some), AfterValidator(_distinct)
]
HeaderNames = Annotated[tuple[Annotated[str, AfterValidator(_forwardable)], ...], AfterValidator(_distinct)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], AfterValidator(_distinct)
]
Word = Annotated[str, _matching(r"[!-~]{1,256}", "must be 1 to 256 visible ASCII characters")]
AppIds = Annotated[
    tuple[Annotated[str, _matching(r"[0-9a-f]{24}", "must be the 24 hex digits of an app's id")], ...],
    AfterValidator(_some),
    AfterValidator(_distinct),
]
ScopeNames = Annotated[
    tuple[Annotated[str, _matching(r"[_A-Za-z][_0-9A-Za-z]*", "must be a name as in enum Scope")], ...],
    AfterValidator(_distinct),
]
ParameterNames = Annotated[
    tuple[Annotated[str, _matching(r"[A-Za-z0-9._~-]+", "must be letters, digits and . _ ~ -")], ...],
    AfterValidator(_distinct),
]
