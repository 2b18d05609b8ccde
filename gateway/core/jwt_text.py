"""The text of a JWT (RFC 7519) in compact form (RFC 7515 7.1), read strictly and without a look at any key."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from gateway.core.decision import Refused
from gateway.core.message import json_value
from gateway.core.records import Fault

MAX_JWT: Final = 8_192  # bytes: half of what all headers of a request may have together
MAX_NAME: Final = 256  # characters of an `iss`, `kid` or `aud` that can be one of ours

MAX_DEPTH: Final = 16  # claims and keys are flat by nature

# Asymmetric ones alone: with a symmetric one, whoever can check tokens can make them, and a public key taken for a
# secret makes a token out of what everybody knows. Which of them counts is said by the key, not by the token.
ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})

_SHAPE: Final = re.compile(rb"[A-Za-z0-9_-]++\.[A-Za-z0-9_-]++\.[A-Za-z0-9_-]++")
# RFC 8725 3.11: a token that says it is of another kind, as a logout token or a proof of possession, is no credential.
_TYPES: Final = frozenset({"jwt", "at+jwt"})


@dataclass(frozen=True, slots=True)
class Jwt:
    """A well-formed JWT, unproven: by whom and with which key it says to be signed, and what it claims.

    `signature` has to be one of the bytes in `signed` (RFC 7515 5.2).
    """

    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    algorithm: str
    kid: str
    issuer: str
    claims: Mapping[str, Any] = field(repr=False)


def is_jwt(token: bytes) -> bool:
    """Whether a token has the shape of a JWT, which no token of ours has: three parts of base64url."""
    return _SHAPE.fullmatch(token) is not None


def read_jwt(token: bytes) -> Jwt | Fault:
    """The JWT in a token, or what is wrong with it. Never raises.

    What its header offers as keys (`jwk`, `jku`, `x5u`, `x5c`) is not looked at: keys come from the issuer alone.
    """
    if len(token) > MAX_JWT or not is_jwt(token):
        return Fault.MALFORMED
    try:
        head, said, signature = map(unpadded, token.split(b"."))
        header, claims = json_object(head), json_object(said)
    except ValueError:
        return Fault.MALFORMED
    return _header_fault(header) or _issued(token.rpartition(b".")[0], signature, header, claims)


def unpadded(text: bytes) -> bytes:
    """The bytes in base64url without padding (RFC 7515 2), in the one way that they can be written.

    Raises `ValueError` for anything else, so that one token has one text.
    """
    data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text:
        raise ValueError("not base64url")
    return data


def json_object(data: bytes) -> dict[str, Any]:
    """The one JSON object in some bytes that every parser reads alike. Raises `ValueError` and nothing else."""
    try:
        value = json_value(data, MAX_DEPTH)
    except Refused:
        value = None
    if type(value) is not dict:
        raise ValueError("not one JSON object that every parser reads alike")
    return value


def _header_fault(header: Mapping[str, Any]) -> Fault | None:
    if type(header.get("alg")) is not str or header["alg"] not in ALGORITHMS:
        return Fault.ALGORITHM
    # RFC 7515 4.1.11: whoever does not know what is critical must refuse, and nothing critical is known here. `b64` is
    # (RFC 7797 6), whether the token says so or not: without it readers differ on what was signed.
    if not header.keys().isdisjoint({"crit", "b64"}) or not _is_access(header.get("typ", "JWT")):
        return Fault.HEADER
    return None


def _is_access(kind: object) -> bool:
    return type(kind) is str and kind.lower().removeprefix("application/") in _TYPES


def _issued(signed: bytes, signature: bytes, header: Mapping[str, Any], claims: Mapping[str, Any]) -> Jwt | Fault:
    issuer, kid = claims.get("iss"), header.get("kid")
    if not _is_name(issuer):
        return Fault.ISSUER
    return Jwt(signed, signature, header["alg"], kid, issuer, claims) if _is_name(kid) else Fault.ISSUER_KEY


def _is_name(value: object) -> TypeGuard[str]:
    return type(value) is str and 0 < len(value) <= MAX_NAME
