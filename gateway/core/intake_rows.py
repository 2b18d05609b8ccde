"""What a row may say of a token that exists elsewhere: each function gives the row's meaning, or raises `RowRefused`.

A row holds no token, only the SHA-256 over one. What looks like a token in a row is a reason to refuse it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.core.times import iso_time
from gateway.core.wishes import LONGEST_LIFETIME, LONGEST_NAME, listed, name_faults, normal_name, user_faults

# A time before is most likely one in seconds; one after, a mistake.
EARLIEST: Final = 946_684_800_000  # 2000-01-01
LATEST: Final = 4_102_444_800_000  # 2100-01-01

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_ID: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}\Z")
_APP_ID: Final = re.compile(r"[0-9a-f]{24}\Z")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}\Z")
_BETWEEN_SCOPES: Final = re.compile(r"[\s;|,]+")
# As the log masks it, in capitals too: it begins with a literal, which makes the search of a good row cheap.
_TOKEN: Final = re.compile(r"\.(?<=[0-9A-Fa-f]{8}\.)[0-9A-Za-z]{16}")


class RowReason(StrEnum):
    """Why a row was refused, for programs."""

    MALFORMED = "row_malformed"
    HOLDS_TOKEN = "holds_token"  # noqa: S105 - a reason, no secret
    LIFETIME_INVALID = "lifetime_invalid"
    UNKNOWN_SCOPE = "unknown_scope"
    UNKNOWN_APP = "unknown_app"
    ID_TAKEN = "id_taken"
    ID_ENDED = "id_ended"
    EXTERNAL_ID_TAKEN = "external_id_taken"
    TOO_MANY_KEYS = "too_many_keys"


class RowRefused(Exception):
    """The row is not taken. Its message is for people, and repeats no secret."""

    def __init__(self, reason: RowReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key that exists elsewhere."""

    line: int
    id: str
    verifier: bytes = field(repr=False)
    app_id: str
    name: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int

    def as_columns(self) -> dict[str, str]:
        """The row as it may be written again."""
        return {
            "id": self.id,
            "sha256": self.verifier.hex(),
            "app": self.app_id,
            "name": self.name,
            "scopes": " ".join(sorted(self.scopes)),
            "created_at": iso_time(self.created_at),
            "expires_at": iso_time(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A user token that exists elsewhere, of the user with `user_id` or `external_id`. A user made for it has
    `new_user_id` unless a `user_id` is given."""

    line: int
    id: str
    verifier: bytes = field(repr=False)
    app_id: str
    user_id: str | None
    external_id: str | None = field(repr=False)
    created_at: int
    expires_at: int
    new_user_id: str

    def as_columns(self) -> dict[str, str]:
        """The row as it may be written again."""
        return {
            "id": self.id,
            "sha256": self.verifier.hex(),
            "app": self.app_id,
            "user": self.user_id or "",
            "external_id": self.external_id or "",
            "created_at": iso_time(self.created_at),
            "expires_at": iso_time(self.expires_at),
        }


def looks_like_token(text: str) -> bool:
    """Whether a whole token, or the better part of one, stands anywhere in the text."""
    return _TOKEN.search(text) is not None


def key_row(line: int, values: Mapping[str, object], known_scopes: Collection[str]) -> KeyRow:
    """The key that a row tells of."""
    name = normal_name(_text(values, "name"))
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= LONGEST_NAME):  # which most are, told quickly
        _require(name_faults(name))
    scopes = _scopes(values.get("scopes"), known_scopes)
    created_at, expires_at = _life(values)
    return KeyRow(line, _id(values), _verifier(values), _app_id(values), name, scopes, created_at, expires_at)


def token_row(line: int, values: Mapping[str, object], new_user_id: str) -> TokenRow:
    """The user token that a row tells of."""
    user, external = _text(values, "user") or None, _text(values, "external_id") or None
    if user is None and external is None:
        raise RowRefused(RowReason.MALFORMED, "The row names no user, neither by id nor by external id.")
    _require(user_faults(user, external))
    created_at, expires_at = _life(values)
    app_id = _app_id(values)
    return TokenRow(line, _id(values), _verifier(values), app_id, user, external, created_at, expires_at, new_user_id)


def harmless(values: Mapping[str, object]) -> dict[str, str]:
    """The columns of a refused row as they may be written again: nothing that may be a secret in the wrong column."""
    texts = {
        name: " ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in values.items()
    }
    if looks_like_token("\n".join(texts.values())):
        return {}
    shapes = {"id": _ID, "sha256": _DIGEST}
    return {name: text for name, text in texts.items() if name not in shapes or shapes[name].match(text)}


def _id(values: Mapping[str, object]) -> str:
    text = _text(values, "id")
    if _ID.match(text) is None:
        raise RowRefused(RowReason.MALFORMED, "An id has 8 to 64 hexadecimal digits, letters small.")
    return text


def _verifier(values: Mapping[str, object]) -> bytes:
    text = _text(values, "sha256")
    if _DIGEST.match(text) is None:
        raise RowRefused(RowReason.MALFORMED, "In sha256 belongs the SHA-256 of the whole token, as 64 hex digits.")
    return bytes.fromhex(text)


def _app_id(values: Mapping[str, object]) -> str:
    text = _text(values, "app")
    if _APP_ID.match(text) is None:
        raise RowRefused(RowReason.UNKNOWN_APP, "In app belongs the id of an app; see 'gateway apps list'.")
    return text


def _scopes(value: object, known: Collection[str]) -> frozenset[str]:
    if isinstance(value, str):
        scopes = frozenset(_BETWEEN_SCOPES.split(value)) - {""}
    elif isinstance(value, list) and all(isinstance(scope, str) for scope in value):
        scopes = frozenset(value)
    else:
        raise RowRefused(RowReason.MALFORMED, "In scopes belong names of scopes, with spaces between them.")
    if not (scopes and scopes.issubset(known)):
        problem = "A scope of the row is none of those there are" if scopes else "A key needs at least one scope"
        raise RowRefused(RowReason.UNKNOWN_SCOPE, f"{problem}: {listed(known)}.")
    return scopes


def _life(values: Mapping[str, object]) -> tuple[int, int]:
    """When it was made and when it ends. It may have ended already, and then is history."""
    created_at, expires_at = _time(values, "created_at"), _time(values, "expires_at")
    if not 0 < expires_at - created_at <= LONGEST_LIFETIME:
        raise RowRefused(RowReason.LIFETIME_INVALID, "The expiry is to come after the creation, at most 366 days.")
    return created_at, expires_at


def _time(values: Mapping[str, object], name: str) -> int:
    value = values.get(name)
    if type(value) is int:
        time = value
    elif isinstance(value, str):
        time = int(value) if _MILLISECONDS.match(value) else _from_iso(value, name)
    else:
        raise _no_time(name)
    if not EARLIEST <= time < LATEST:
        raise RowRefused(RowReason.MALFORMED, f"The time in {name} is not between the years 2000 and 2100.")
    return time


def _from_iso(text: str, name: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _no_time(name) from None  # whose message would repeat the text
    if time.tzinfo is None:
        raise _no_time(name)
    return (time - _EPOCH) // _MILLISECOND


def _no_time(name: str) -> RowRefused:
    return RowRefused(
        RowReason.MALFORMED,
        f"In {name} belongs a time: ISO 8601 with its zone, as 2025-01-31T12:00:00Z, or UTC milliseconds.",
    )


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise RowRefused(RowReason.MALFORMED, f"In {name} belongs text.")
    return value


def _require(faults: Iterable[str]) -> None:
    sentences = " ".join(faults)
    if sentences:
        raise RowRefused(RowReason.MALFORMED, sentences)
