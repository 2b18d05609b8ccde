"""What the store holds, and what state it is in at a given time. Times are UTC milliseconds since 1970."""

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class App:
    """An app: what keys and users belong to. Its data lives in one region."""

    id: str
    name: str
    region: str
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of an API key: never the secret, only its verifier (SHA-256 over the whole token)."""

    id: str
    app_id: str
    name: str
    scopes: frozenset[str]
    verifier: bytes = field(repr=False)
    created_at: int
    expires_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class User:
    """An SDK user of one app. `id` is what the upstream knows the user by."""

    id: str
    app_id: str
    external_id: str | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class UserTokenRecord:
    """What is kept of a user token."""

    id: str
    app_id: str
    user_id: str
    verifier: bytes = field(repr=False)
    created_at: int
    expires_at: int
    revoked_at: int | None = None


class Fault(StrEnum):
    """What is wrong with a credential: for the log only, since every false credential is answered alike."""

    MALFORMED = "malformed"
    CHECK_DIGITS = "check_digits"
    UNKNOWN = "unknown"
    WRONG = "wrong"
    REVOKED = "revoked"
    EXPIRED = "expired"
    APP_DISABLED = "app_disabled"
    USER_DISABLED = "user_disabled"


def key_fault(record: KeyRecord | UserTokenRecord, now: int) -> Fault | None:
    """The fault of a record at `now`, or None while it works. A moment equal to the end is past the end."""
    if record.revoked_at is not None and record.revoked_at <= now:
        return Fault.REVOKED
    if record.expires_at <= now:
        return Fault.EXPIRED
    return None


def ends_at(record: KeyRecord | UserTokenRecord) -> int:
    """The first moment at which the record no longer works."""
    return record.expires_at if record.revoked_at is None else min(record.expires_at, record.revoked_at)
