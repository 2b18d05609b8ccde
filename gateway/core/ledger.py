"""What an act sees of an app, and what it changes: the values between the rules of a life and the stores.

An act is a pure function from a `Snapshot` to `Changes`, or it raises `ActRefused`. A store runs it so that nothing the
snapshot shows has changed when the changes are kept, and keeps all of them or none, with their events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.audit import AuditEvent
from gateway.core.records import App, KeyRecord, Role, User, UserTokenRecord


class ActReason(StrEnum):
    """Why an act was refused, for programs; the message beside it is for people."""

    WISH_INVALID = "wish_invalid"  # a name, scope, time or address that cannot be
    UNKNOWN_APP = "unknown_app"
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_USER = "unknown_user"
    UNKNOWN_DEVELOPER = "unknown_developer"
    ID_TAKEN = "id_taken"
    EXTERNAL_ID_TAKEN = "external_id_taken"
    TOO_MANY_KEYS = "too_many_keys"
    KEY_ENDED = "key_ended"
    ALREADY_ROTATED = "already_rotated"
    ROTATION_IN_PROGRESS = "rotation_in_progress"
    STORE_NOT_EMPTY = "store_not_empty"
    NOT_CONFIRMED = "not_confirmed"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105 - the name of a reason, no secret
    UNKNOWN_INCIDENT = "unknown_incident"
    USER_DELETED = "user_deleted"
    CODE_INVALID = "code_invalid"
    TOO_MANY_REFRESHES = "too_many_refreshes"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - as above
    TOO_MANY_TOKENS = "too_many_tokens"
    REPEAT_DIFFERS = "repeat_differs"
    REPEATED = "repeated"
    CHANGED_SINCE = "changed_since"
    ROLE_MISSING = "role_missing"


class ActRefused(Exception):
    """The act is against the rules; nothing was changed."""

    def __init__(self, reason: ActReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ItemKind(StrEnum):
    """What stands round the keys; for each kind a module of the core knows what its texts say."""

    CODE = "code"  # an authentication code that was not spent yet
    FAMILIES = "families"  # the families of a user's tokens
    INCIDENT = "incident"  # of a credential that leaked
    NOTICE = "notice"  # what is to be told, or was, to one person by one channel
    DEVELOPER_TOKEN = "developer_token"  # noqa: S105 - the name of a kind, no secret
    NEWEST_TOKEN = "newest_token"  # noqa: S105 - as above; which developer's token a person was given last
    REPEAT = "repeat"  # what a request of the management API was answered that may be sent again


ItemKey = tuple[ItemKind, str]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is kept of an app, or of a person, beside the records: opaque to stores.

    `owner` is the app's id, or the person's (`core.people.person_id`), which looks like one. The id begins with the
    first two digits of the owner's, so that a store that is split by them has both in one place, and is never used for
    two things of a kind. `ends_at`, if any, says when a store may forget it, a day later or more; a rule that cares
    for the end looks at the time itself.
    """

    kind: ItemKind
    id: str
    owner: str
    text: str = field(repr=False)
    ends_at: int | None = None

    @property
    def key(self) -> ItemKey:
        """What it is asked for by."""
        return self.kind, self.id


@dataclass(frozen=True, slots=True)
class Asked:
    """What an act wants to see, beside the app and all of its keys that may still work.

    An act may be about a person instead: then `app_id` is the person's id, and there is no app.
    """

    app_id: str
    keys: tuple[str, ...] = ()
    user_id: str | None = None
    external_id: str | None = field(default=None, repr=False)
    tokens: tuple[str, ...] = ()
    roles: bool = False
    more_users: tuple[str, ...] = ()  # for imports: by their ids
    more_external_ids: tuple[str, ...] = field(default=(), repr=False)
    items: tuple[ItemKey, ...] = ()

    @property
    def users(self) -> tuple[str, ...]:
        """Every user asked for by its id."""
        return self.more_users if self.user_id is None else (self.user_id, *self.more_users)

    @property
    def external_ids(self) -> tuple[str, ...]:
        """Every user asked for by its external id."""
        return self.more_external_ids if self.external_id is None else (self.external_id, *self.more_external_ids)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a store showed at `now` (the store's own clock).

    `keys` holds every key of the app that may still work, and those asked for that are the app's; `users` and `tokens`
    those asked for (a user by either id). `taken` are the asked ids of keys and tokens that belong to anything else:
    another app's or another kind's. Roles, by e-mail address, only when asked for; of the items those asked for.
    """

    now: int
    app: App | None = None
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, UserTokenRecord] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    items: Mapping[ItemKey, Item] = field(default_factory=dict)

    def external(self, external_id: str) -> User | None:
        """The user with this external id, if it was asked for."""
        return next((user for user in self.users.values() if user.external_id == external_id), None)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be kept: records whole, as they are to be, and the events that tell of it. A role of None is removed,
    and so are the items in `dropped`. Items that are kept or dropped were asked for.

    Without anything in it nothing is written at all.
    """

    app: App | None = None
    keys: tuple[KeyRecord, ...] = ()
    users: tuple[User, ...] = ()
    tokens: tuple[UserTokenRecord, ...] = ()
    roles: Mapping[str, Role | None] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    dropped: tuple[ItemKey, ...] = ()
    events: tuple[AuditEvent, ...] = ()

    def __bool__(self) -> bool:
        records = self.app or self.keys or self.users or self.tokens or self.roles
        return bool(records or self.items or self.dropped or self.events)


Decide = Callable[[Snapshot], Changes]


@dataclass(frozen=True, slots=True)
class Act:
    """What to look at, and what to do then."""

    asked: Asked
    decide: Decide


@dataclass(frozen=True, slots=True)
class Done:
    """An act that was kept (or changed nothing) at `at`; `replicated` is False when a replica there is did not confirm
    it in time."""

    changes: Changes
    at: int
    replicated: bool = True


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts, through which door: for the events of the act."""

    actor: str
    source: str
