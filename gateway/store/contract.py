"""The contract of a store: SQLite now, Redis beside it later, both held to one suite."""

from dataclasses import dataclass
from typing import Protocol

from gateway.core.audit import AuditEvent
from gateway.core.records import App, KeyRecord, User, UserTokenRecord


class StoreUnavailable(Exception):
    """The store cannot be asked now. It is nobody's credential that is at fault: answer 503, never 401."""


class StoreBroken(StoreUnavailable):
    """The store will not answer until somebody mends it: missing, not one of ours, damaged, or of a newer version."""


class Conflict(Exception):
    """What was to be created exists already."""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key record and the app it belongs to."""

    record: KeyRecord
    app: App


@dataclass(frozen=True, slots=True)
class FoundUserToken:
    """A user token record, its user and their app."""

    record: UserTokenRecord
    user: User
    app: App


class Store(Protocol):
    """Every method raises `StoreUnavailable` when the store is away. A change and its audit event are one act."""

    def revision(self) -> int:
        """A number that moves whenever something that was allowed may have ended. Cheap: asked at every request."""

    async def find_key(self, key_id: str) -> FoundKey | None:
        """The key with this id and its app, or None."""

    async def find_user_token(self, token_id: str) -> FoundUserToken | None:
        """The user token with this id, its user and its app, or None."""

    async def find_app(self, app_id: str) -> App | None:
        """The app with this id, or None."""

    async def find_user(self, app_id: str, user_id: str) -> User | None:
        """The user of this app with this id, or None."""

    async def find_external_user(self, app_id: str, external_id: str) -> User | None:
        """The user of this app with this external id, or None."""

    async def create_app(self, app: App, event: AuditEvent) -> None:
        """Keep a new app. Raises `Conflict` when the id is taken."""

    async def create_key(self, record: KeyRecord, event: AuditEvent) -> None:
        """Keep a new key. Raises `Conflict` when the id is taken, by a user token too, or the app is unknown."""

    async def create_user_token(self, user: User, record: UserTokenRecord, event: AuditEvent) -> None:
        """Keep a new user token, and its user unless that user exists. Raises `Conflict` when the token's id is
        taken, by a key too, the app is unknown, or the external id belongs to another user of the app. A new user
        gets an event of its own."""

    async def revoke_key(self, key_id: str, at: int, event: AuditEvent) -> bool:
        """End a key at `at`; an end that was set before is never moved later. False, and no event, when nothing
        changed: the key is unknown, or ended by then already."""

    async def set_app_disabled(self, app_id: str, disabled: bool, event: AuditEvent) -> bool:
        """Disable or enable an app. False, and no event, when nothing changed."""

    async def set_user_disabled(self, app_id: str, user_id: str, disabled: bool, event: AuditEvent) -> bool:
        """Disable or enable a user of an app. False, and no event, when nothing changed."""

    async def note_used(self, used: dict[str, int]) -> None:
        """Keep when each key or user token (by id) was last used; it never moves back, nor moves the revision. Best
        effort: a lost note is no fault."""

    async def last_used(self, credential_id: str) -> int | None:
        """When a key or user token was last used, as far as it was noted."""

    async def ping(self) -> None:
        """Return when the store answers; for the readiness check."""

    async def close(self) -> None:
        """Release everything; the store is not used again."""
