"""The text of keys and user tokens: minting from given bytes, check digits, verifier.

    gwk_<16 hex id>.<42 random base62 characters><6 base62 check digits>

`gwk` marks an API key, `gwu` a user token (both configurable), so that a scanner can match a leaked one and a typing
error is refused without a look-up. Tokens that exist elsewhere carry neither prefix nor check digits:

    <8 to 64 hex id>.<16 to 256 letters and digits>
"""

import hashlib
import re
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NoReturn

from gateway.core.records import Fault

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
IDENTIFIER_BYTES: Final = 8  # written as 16 hex digits
SECRET_BYTES: Final = 48  # reduced to 42 digits: 384 bits modulo 2**250.1, so that no digit is likelier than another
SECRET_DIGITS: Final = 42
CHECK_DIGITS: Final = 6  # 62**6 > 2**32

_BODY: Final = re.compile(rb"([0-9a-f]{16})\.[0-9A-Za-z]{48}\Z")
_LEGACY: Final = re.compile(rb"([0-9a-f]{8,64})\.[A-Za-z0-9]{16,256}\Z")
_PREFIX: Final = re.compile(r"[a-z][a-z0-9]{0,15}\Z")


class Kind(StrEnum):
    """What a token says it is. A legacy token does not say, and is looked up among keys and user tokens."""

    KEY = "key"
    USER_TOKEN = "user_token"  # noqa: S105 - the name of a kind, no secret
    LEGACY = "legacy"


class Secret:
    """A token's text that no `repr`, `str`, format, pickle or copy shows; `reveal` is the only way to it."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text: to be shown once, to the one it was made for."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be pickled or copied")


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The prefixes of minted tokens: small letters and digits, a letter first, and never the same for both kinds."""

    key: str = "gwk"
    user: str = "gwu"

    def __post_init__(self) -> None:
        if not (_PREFIX.match(self.key) and _PREFIX.match(self.user)):
            raise ValueError("a token prefix is 1 to 16 small letters and digits, a letter first")
        if self.key == self.user:
            raise ValueError("the prefixes of keys and of user tokens must differ")


@dataclass(frozen=True, slots=True)
class Token:
    """A well-formed token, unproven: what to look up, and the verifier to compare with the record's."""

    kind: Kind
    id: str
    verifier: bytes = field(repr=False)


def mint(prefix: str, identifier: bytes, secret: bytes) -> Secret:
    """The token made of 8 identifier bytes and 48 secret bytes, the same for the same bytes."""
    if len(identifier) != IDENTIFIER_BYTES or len(secret) != SECRET_BYTES:
        raise ValueError("a token is minted from 8 identifier bytes and 48 secret bytes")
    digits = _base62(int.from_bytes(secret) % 62**SECRET_DIGITS, SECRET_DIGITS)
    text = f"{prefix}_{identifier.hex()}.{digits}"
    return Secret(text + _check_digits(text.encode("ascii")))


def parse_token(text: bytes | str, prefixes: Prefixes) -> Token | Fault:
    """The token in `text`, or what is wrong with its shape. Never raises."""
    if not text.isascii():
        return Fault.MALFORMED
    token = text.encode("ascii") if isinstance(text, str) else text
    prefix, separator, body = token.partition(b"_")  # which a legacy token has not
    if not separator:
        return _token(Kind.LEGACY, _LEGACY.match(token), token)
    kind = _kind(prefix.decode("ascii"), prefixes)
    match = _BODY.match(body)
    if kind is None or match is None:
        return Fault.MALFORMED
    if _check_digits(token[:-CHECK_DIGITS]).encode("ascii") != token[-CHECK_DIGITS:]:
        return Fault.CHECK_DIGITS
    return _token(kind, match, token)


def minted_id(text: bytes, prefix: str) -> str | None:
    """The id in a token that was minted with this prefix, or None when there is none in the text. Never raises."""
    before, _, body = text.partition(b"_")
    match = _BODY.match(body)
    if before != prefix.encode("ascii") or match is None:
        return None
    checked = _check_digits(text[:-CHECK_DIGITS]).encode("ascii") == text[-CHECK_DIGITS:]
    return match[1].decode("ascii") if checked else None


def verifier(token: bytes) -> bytes:
    """SHA-256 over the whole token as presented: all that is kept of it, here and in the store."""
    return hashlib.sha256(token).digest()


def _kind(prefix: str, prefixes: Prefixes) -> Kind | None:
    if prefix == prefixes.key:
        return Kind.KEY
    return Kind.USER_TOKEN if prefix == prefixes.user else None


def _token(kind: Kind, match: re.Match[bytes] | None, token: bytes) -> Token | Fault:
    if match is None:
        return Fault.MALFORMED
    return Token(kind, match[1].decode("ascii"), verifier(token))


def _check_digits(text: bytes) -> str:
    return _base62(zlib.crc32(text), CHECK_DIGITS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
