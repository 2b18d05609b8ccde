"""What the store holds, and what state it is in at a given time. Times are UTC milliseconds since 1970."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_ACTIVE_KEYS: Final = 10  # of an app: the vendor's page, "Expiry Period"

# The `cut_at` of a user who was deleted, in the year 9999: no token is ever issued after it, and like every cut it
# only grows, so that a deletion is heard, told anew and merged as cuts are.
DELETED: Final = 253_370_764_800_000


@dataclass(frozen=True, slots=True)
class App:
    """An app: what keys and users belong to. Its data lives in one region.

    `switches` grows to twice the time whenever it is disabled or enabled, and is odd while it is disabled: of two
    copies of the record the larger one is the later. User tokens issued at `cut_at` or before are dead.
    """

    id: str
    name: str
    region: str
    account: str = ""
    switches: int = 0
    cut_at: int = 0

    @property
    def disabled(self) -> bool:
        """Whether nobody of the app gets through."""
        return self.switches % 2 == 1


def switched(switches: int, *, disabled: bool, now: int) -> int:
    """The `switches` after it was disabled or enabled at `now`.

    Not just the next number: a store that has forgotten some would give the same number to two different acts.
    """
    least = max(switches + 1, 2 * now)
    return least if least % 2 == disabled else least + 1


class RevokedWhy(StrEnum):
    """Why a key was ended."""

    REQUESTED = "requested"  # by a person, for no reason given
    BY_HOLDER = "by_holder"  # with the key itself
    ALL_OF_APP = "all_of_app"  # with all others of its app
    UNCONFIRMED = "unconfirmed"  # it was made, and the store could not confirm that it would last
    ROTATED = "rotated"  # its successor took over at once
    LEAKED = "leaked"
    RESTORED = "restored"  # it had been ended, and the store had forgotten
    IMPORTED = "imported"  # the import knew of an end, not of the reason


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of an API key: never the secret, only its verifier (SHA-256 over the whole token).

    `shutdown_at` is when it ends because it was rotated, `successor` the key that then takes its place. A key with a
    `revoked_at` is dead whatever that time is: clocks differ, and are set back.
    """

    id: str
    app_id: str
    name: str
    scopes: frozenset[str]
    verifier: bytes = field(repr=False)
    created_at: int
    expires_at: int
    created_by: str = ""
    shutdown_at: int | None = None
    revoked_at: int | None = None
    revoked_why: RevokedWhy | None = None
    successor: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """An SDK user of one app. `id` is what the upstream knows the user by; `switches` and `cut_at` as an app's.

    A user who was deleted remains as a tombstone: the id, without an external id.
    """

    id: str
    app_id: str
    external_id: str | None = field(default=None, repr=False)
    switches: int = 0
    cut_at: int = 0

    @property
    def disabled(self) -> bool:
        """Whether the user's tokens stand still."""
        return self.switches % 2 == 1

    @property
    def deleted(self) -> bool:
        """Whether this is only a tombstone."""
        return self.cut_at >= DELETED


@dataclass(frozen=True, slots=True)
class UserTokenRecord:
    """What is kept of a user token. `shutdown_at` is when it ends because it was refreshed, `family` names the tokens
    that one registration led to, this one among them; without a name there is none."""

    id: str
    app_id: str
    user_id: str
    verifier: bytes = field(repr=False)
    created_at: int
    expires_at: int
    revoked_at: int | None = None
    shutdown_at: int | None = None
    family: str = ""


class Role(StrEnum):
    """What a person may do with an app: everything with its keys, or look at them."""

    DEVELOPER = "developer"
    SPECTATOR = "spectator"


@dataclass(frozen=True, slots=True)
class Developer:
    """A person, by e-mail address, with a role in one app."""

    app_id: str
    email: str = field(repr=False)
    role: Role


class Fault(StrEnum):
    """What is wrong with a credential: for the log only, since every false credential is answered alike."""

    MALFORMED = "malformed"
    CHECK_DIGITS = "check_digits"
    UNKNOWN = "unknown"
    WRONG = "wrong"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"  # a user token that was refreshed, and whose last minute is over
    APP_DISABLED = "app_disabled"
    USER_DISABLED = "user_disabled"
    # Of a token that another issuer made:
    ALGORITHM = "algorithm"  # none that is taken, or not the one that its key is for
    HEADER = "header"  # it asks for something that is not known here, or is no credential
    ISSUER = "issuer"  # nobody whose tokens count
    ISSUER_KEY = "issuer_key"  # the issuer has no such key
    SIGNATURE = "signature"
    AUDIENCE = "audience"  # it is for somebody else
    CLAIMS = "claims"  # one that is needed is missing, or not what it has to be
    FOREIGN_APP = "foreign_app"  # the issuer may not speak for it
    NOT_YET = "not_yet"


class KeyState(StrEnum):
    """What a list says of a key. `ROTATING` is a key that works until its shutdown time, its successor beside it."""

    ACTIVE = "active"
    ROTATING = "rotating"
    REVOKED = "revoked"
    EXPIRED = "expired"


def key_fault(record: KeyRecord, now: int) -> Fault | None:
    """The fault of a key at `now`, or None while it works. A moment equal to the end is past the end."""
    if record.revoked_at is not None:
        return Fault.REVOKED
    return Fault.EXPIRED if ends_at(record) <= now else None


def user_token_fault(record: UserTokenRecord, user: User, app: App, now: int) -> Fault | None:
    """The fault of a user token at `now`, whatever its app and user may do otherwise."""
    cut_at = max(user.cut_at, app.cut_at)
    if record.revoked_at is not None or record.created_at <= cut_at or user.deleted:
        return Fault.REVOKED
    if record.shutdown_at is not None and record.shutdown_at <= now:
        return Fault.SUPERSEDED
    return Fault.EXPIRED if record.expires_at <= now else None


def ends_at(record: KeyRecord | UserTokenRecord) -> int:
    """The first moment at which the record no longer works, as far as it says so itself."""
    ends = [record.expires_at]
    if record.revoked_at is not None:
        ends.append(record.revoked_at)
    if record.shutdown_at is not None:
        ends.append(record.shutdown_at)
    return min(ends)


def works(record: KeyRecord, now: int) -> bool:
    """Whether a key is active: neither revoked nor expired nor past its shutdown time."""
    return key_fault(record, now) is None


def key_state(record: KeyRecord, now: int) -> KeyState:
    """The state of a key at `now`."""
    fault = key_fault(record, now)
    if fault is Fault.REVOKED:
        return KeyState.REVOKED
    if fault is not None:
        return KeyState.EXPIRED
    return KeyState.ROTATING if record.successor is not None else KeyState.ACTIVE
