"""What the API answers: the models that the OpenAPI document is made of too. Times are ISO 8601 in UTC."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from gateway.core.incidents import IncidentState, Subject
from gateway.core.notices import Channel, Mark, NoticeState
from gateway.core.records import KeyState, RevokedWhy, Role
from gateway.core.times import iso_time

T = TypeVar("T")

Time = Annotated[
    int,
    PlainSerializer(iso_time, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]


class Told(BaseModel):
    """What is answered."""


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="The cursor of the page after it; null where the list ends.")


class AppTold(Told):
    """An app."""

    id: str
    name: str
    account: str
    region: str
    disabled: bool
    tokens_ended_at: Time | None = Field(description="User tokens issued up to then are dead.")


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


class AdviceTold(Told):
    """What a key could do without."""

    key: str
    name: str
    days: int = Field(description="For how many days its uses are known.")
    used: list[str] = Field(description="The scopes that it used.")
    unused: list[str] = Field(description="The scopes that it did not use.")
    idle: bool = Field(description="Whether it was not used at all for 30 days.")
    last_used_at: Time | None
    command: str | None = Field(description="The command that does what is advised, where it can be done.")


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
    refused_since: int = Field(description="How often it was presented since, in vain.")
    sightings: list[SightingTold]


class ReminderTold(Told):
    """Something that one person, or one webhook, is told once."""

    subject: str = Field(description="The key, or the incident.")
    mark: Mark
    recipient: str
    channel: Channel
    state: NoticeState
    attempts: int
    changed_at: Time
    error: str
    code: int = Field(description="What the server said to the last attempt, or 0.")


class EventTold(Told):
    """A change in what is permitted."""

    at: Time
    action: str
    app: str
    subject: str
    actor: str
    source: str
    about: str
