"""What the API takes and gives: the models that check, that answer, and that the OpenAPI document is made of.

Times are given as ISO 8601 in UTC with milliseconds, lengths of time are taken in whole seconds.
"""

import unicodedata
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationInfo

from gateway.core.developer_tokens import LONGEST_LIFETIME as LONGEST_TOKEN
from gateway.core.incidents import IncidentState, Subject
from gateway.core.records import KeyState, RevokedWhy, Role
from gateway.core.times import iso_time
from gateway.core.wishes import (
    LONGEST_LIFETIME,
    LONGEST_NAME,
    LONGEST_SHUTDOWN,
    email_faults,
    name_faults,
    normal_name,
    region_faults,
    scope_faults,
)

T = TypeVar("T")

_SECOND: Final = 1000

Time = Annotated[
    int,
    PlainSerializer(iso_time, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]


def _good(faults: Callable[[str], Iterable[str]]) -> AfterValidator:
    def check(text: str) -> str:
        for sentence in faults(text):
            raise ValueError(sentence)
        return text

    return AfterValidator(check)


def _scopes(scopes: list[str], info: ValidationInfo) -> list[str]:
    for sentence in scope_faults(scopes, (info.context or {})["scopes"]):
        raise ValueError(sentence)
    return scopes


def _region(region: str, info: ValidationInfo) -> str:
    for sentence in region_faults(region, (info.context or {})["regions"]):
        raise ValueError(sentence)
    return region


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(normal_name), _good(name_faults)]
Account = Annotated[str, Field(max_length=LONGEST_NAME)]
Email = Annotated[str, Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}), _good(email_faults)]


class Asked(BaseModel):
    """What is sent: nothing beside what is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Told(BaseModel):
    """What is answered."""


class Query(BaseModel):
    """What may stand after the question mark."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which part of a list."""

    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")
    cursor: str | None = Field(default=None, min_length=1, max_length=2000, description="`next` of the page before.")


class KeysQuery(PageQuery):
    """Which keys."""

    state: KeyState | None = Field(default=None, description="Only keys in this state.")


class IncidentsQuery(PageQuery):
    """Which incidents."""

    state: IncidentState | None = Field(default=None, description="Only incidents in this state.")


class TokensQuery(PageQuery):
    """Which developers' tokens."""

    developer: str | None = Field(
        default=None, pattern=r"^dev_[0-9a-f]{16}$", description="Only those of this developer."
    )


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="The cursor of the page after it; null where the list ends.")


# Apps


class AppAsked(Asked):
    """A new app."""

    name: Name
    region: Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_region)]
    account: Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(normal_name)] = ""


class AppTold(Told):
    """An app."""

    id: str
    name: str
    account: str
    region: str
    disabled: bool
    tokens_ended_at: Time | None = Field(description="User tokens issued up to then are dead.")


# Keys


class KeyAsked(Asked):
    """A new key."""

    name: Name
    scopes: Annotated[list[str], Field(min_length=1, max_length=100), AfterValidator(_scopes)]
    lifetime_seconds: Annotated[int, Field(ge=1, le=LONGEST_LIFETIME // _SECOND)] | None = Field(
        default=None, description="How long it lives; a year if not given."
    )


class RotationAsked(Asked):
    """How to rotate a key."""

    shutdown_seconds: Annotated[int, Field(ge=0, le=LONGEST_SHUTDOWN // _SECOND)] | None = Field(
        default=None, description="How long the old key goes on; a week if not given, 0 ends it now."
    )


class RenameAsked(Asked):
    """Another name."""

    name: Name


class KeyTold(Told):
    """An API key."""

    id: str
    app: str
    name: str
    scopes: list[str]
    state: KeyState
    created_at: Time
    created_by: str
    expires_at: Time
    shutdown_at: Time | None = Field(description="When it ends because it was rotated.")
    revoked_at: Time | None
    revoked_why: RevokedWhy | None
    successor: str | None


class _Disclosed(Told):
    """Something new with a token, which is shown once."""

    token: str | None = Field(default=None, description="The token, in the first answer alone.")
    disclosed: bool = Field(default=True, description="Whether the token was shown before.")


class KeyMade(KeyTold, _Disclosed):
    """A new API key, with its token."""


class KeyRotated(KeyMade):
    """The successor of a key, with its token, and the key."""

    predecessor: KeyTold


# Users


class UserTold(Told):
    """An SDK user as it is after an act."""

    id: str
    app: str
    disabled: bool
    deleted: bool
    tokens_ended_at: Time | None = Field(description="Tokens issued up to then are dead; null for a deleted user.")


class UserSeen(UserTold):
    """An SDK user."""

    external_id: str | None


class UserTokenMade(_Disclosed):
    """A new user token."""

    id: str
    app: str
    user: str
    created_at: Time
    expires_at: Time


# Developers


class GrantAsked(Asked):
    """A role for a person."""

    email: Email
    role: Literal["developer", "spectator"] = "developer"


class DeveloperTold(Told):
    """What a person may do in an app. `id` is what the history calls the person."""

    id: str
    app: str
    role: Role


class DeveloperSeen(DeveloperTold):
    """A person with a role in an app."""

    email: str


class DeveloperRemoved(Told):
    """Somebody who has no role in the app any more."""

    id: str
    app: str
    shown: list[KeyTold] = Field(description="Keys that work and whose tokens this person was shown: rotate them.")


class TokenAsked(Asked):
    """A token for the management API."""

    email: Email | None = Field(default=None, description="Whose; only operators may say it, and must.")
    lifetime_seconds: Annotated[int, Field(ge=1, le=LONGEST_TOKEN // _SECOND)] | None = Field(
        default=None, description="How long it lives; 30 days if not given."
    )


class DeveloperTokenTold(Told):
    """A developer's token for the management API."""

    id: str
    developer: str
    created_at: Time
    created_by: str
    expires_at: Time
    revoked_at: Time | None


class DeveloperTokenMade(DeveloperTokenTold, _Disclosed):
    """A new token."""


# Leaks


class _Seen(Asked):
    """Where a credential was seen."""

    url: Annotated[str, Field(max_length=2048)] = ""
    source: Annotated[str, Field(max_length=2048)] = ""


class LeakAsked(_Seen):
    """A credential that leaked, whole."""

    token: Annotated[str, Field(min_length=1, max_length=1024)]


class LeakOfAppAsked(_Seen):
    """A credential of the app that leaked, by its id."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class IncidentTold(Told):
    """A credential that leaked."""

    id: str
    app: str
    subject: Subject
    subject_id: str
    state: IncidentState
    opened_at: Time
    changed_at: Time
    changed_by: str
    reporter: str
    proven: bool = Field(description="Whether somebody had the whole token.")
    ended: bool = Field(description="Whether a report ended the credential.")
    count: int = Field(description="How often it was seen.")


class SightingTold(Told):
    """Where it was seen, in the words of whoever told it: show them as text, and do not follow them unasked."""

    at: Time
    by: str
    source: str
    url: str
    type: str


class IncidentSeen(IncidentTold):
    """A credential that leaked, with all that is known."""

    last_used_at: Time | None = Field(description="When it was last used before.")
    requests: list[int] = Field(description="Requests on the day it was told and the 7 before, oldest first.")
    sightings: list[SightingTold]


# History


class EventTold(Told):
    """A change in what is permitted."""

    at: Time
    action: str
    app: str
    subject: str
    actor: str
    source: str
    about: str


def faults_of(errors: Iterable[Any], place: str) -> Iterable[tuple[str, str]]:
    """What pydantic found, without the values: they may be secrets."""
    for error in errors:
        where = "/".join([place, *map(_shown, error["loc"])])
        yield where, str(error["msg"]).removeprefix("Value error, ")


def _shown(part: object) -> str:
    text = str(part)[:40]
    return "".join(sign if unicodedata.category(sign)[0] not in "CZ" else "?" for sign in text)
