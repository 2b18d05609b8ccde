"""What the API answers: the models that the OpenAPI document is made of too, under the names that a generated client
will have for them. Times are ISO 8601 in UTC."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from gateway.core.incidents import IncidentState, Subject
from gateway.core.notices import Channel, Mark, NoticeState
from gateway.core.records import KeyState, RevokedWhy, Role
from gateway.core.times import iso_time

T = TypeVar("T", bound=BaseModel)

Time = Annotated[
    int,
    PlainSerializer(iso_time, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time", "examples": ["2027-03-01T12:00:00.000Z"]}),
]
AppId = Annotated[str, Field(description="The id of the app.", examples=["4e0c5f1a9b7d3e2f8a6b1c0d"])]
KeyId = Annotated[str, Field(examples=["4e8f2a6b1c0d5e9f"])]
UserId = Annotated[str, Field(description="The id of the user.", examples=["4ea1b2c3d4e5f60718293a4b"])]
DeveloperId = Annotated[str, Field(description="What the history calls the person.", examples=["dev_0f1e2d3c4b5a6978"])]
Actor = Annotated[str, Field(examples=["operator:ann", "developer:dev_0f1e2d3c4b5a6978"])]
Scopes = Annotated[list[str], Field(examples=[["OFFLOADS_READ"]])]


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="The `cursor` of the next page; null where the list ends.")


class App(BaseModel):
    """An app: what keys and users belong to."""

    id: AppId
    name: str = Field(examples=["Fleet insights"])
    account: str = Field(description="Whose it is; may be empty.", examples=["Acme"])
    region: str = Field(description="Where its data lives.", examples=["eu"])
    disabled: bool = Field(description="Whether all of its credentials are refused.")
    tokens_ended_at: Time | None = Field(description="User tokens issued up to this moment no longer work.")


class Key(BaseModel):
    """An API key, without its secret."""

    id: KeyId
    app: AppId
    name: str = Field(examples=["nightly export"])
    scopes: Scopes
    state: KeyState
    created_at: Time
    created_by: Actor
    expires_at: Time
    last_used_at: Time | None = Field(
        description="When it was last used, some seconds late; null if no use was noted. The ETag changes with it, but"
        " `If-Match` does not mind."
    )
    shutdown_at: Time | None = Field(description="When it ends because it was rotated.")
    revoked_at: Time | None
    revoked_why: RevokedWhy | None
    successor: str | None = Field(description="The id of the key that it was rotated to.")


class _Issued(BaseModel):
    """Something new with a token, which is shown once."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    token: str | None = Field(default=None, description="The token; null when a request is repeated.")
    disclosed: bool = Field(default=True, description="Whether the token was shown before.")


class IssuedKey(Key, _Issued):
    """A new API key, with its token."""


class RotatedKey(IssuedKey):
    """The successor of a key, with its token, and the key before it."""

    predecessor: Key


class Advice(BaseModel):
    """What a key could do without."""

    id: KeyId
    app: AppId
    name: str = Field(examples=["nightly export"])
    days: int = Field(description="For how many days its uses are known.")
    used: Scopes = Field(description="The scopes that it used.")
    unused: Scopes = Field(description="The scopes that it did not use.")
    idle: bool = Field(description="Whether it was not used at all for 30 days.")
    last_used_at: Time | None
    command: str | None = Field(description="The command that does what is advised, where there is one.")


class User(BaseModel):
    """An SDK user."""

    id: UserId
    app: AppId
    disabled: bool = Field(description="Whether all of the user's tokens are refused.")
    deleted: bool = Field(description="Whether the user was deleted; the id remains, so that it is never used again.")
    tokens_ended_at: Time | None = Field(
        description="Tokens issued up to this moment no longer work; null for a deleted user."
    )


class UserDetail(User):
    """An SDK user, with what the user is called elsewhere."""

    external_id: str | None = Field(description="What the user is called elsewhere.")


class IssuedUserToken(_Issued):
    """A new user token."""

    id: str = Field(description="The id of the token.")
    app: AppId
    user: UserId
    created_at: Time
    expires_at: Time


class Developer(BaseModel):
    """What a person may do in an app."""

    id: DeveloperId
    app: AppId
    role: Role


class DeveloperDetail(Developer):
    """What a person may do in an app, with the person's address."""

    email: str = Field(examples=["ann@example.com"])


class RemovedDeveloper(BaseModel):
    """Somebody who no longer has a role in the app."""

    id: DeveloperId
    app: AppId
    keys_to_rotate: list[Key] = Field(
        description="The keys that still work and whose tokens this person was shown: rotate them."
    )


class DeveloperToken(BaseModel):
    """A developer's token for this API, without its secret."""

    id: str = Field(description="The id of the token.")
    developer: DeveloperId
    created_at: Time
    created_by: Actor
    expires_at: Time
    revoked_at: Time | None


class IssuedDeveloperToken(DeveloperToken, _Issued):
    """A new token for this API."""


class Incident(BaseModel):
    """A credential that leaked."""

    id: str = Field(examples=["4einc0f1e2d3c4b5a6978"])
    app: AppId
    subject: Subject
    subject_id: str = Field(description="The id of the key or user token that leaked.")
    state: IncidentState
    opened_at: Time
    changed_at: Time
    changed_by: Actor
    reporter: str = Field(description="Who reported it first.")
    proven: bool = Field(description="Whether somebody had the whole token, and not only its id.")
    ended: bool = Field(description="Whether a report ended the credential; false if it had ended before.")
    count: int = Field(description="How often it was seen.")
    last_used_at: Time | None = Field(description="When it was last used before it was reported, if that was noted.")
    requests: list[int] | None = Field(
        description="Requests on each of the seven days before the report and on its own day, oldest first; null for a"
        " user token, whose requests are not counted."
    )
    refused_since: int | None = Field(
        description="How often the key was presented in vain since that day; null for a user token."
    )


class Sighting(BaseModel):
    """Where it was seen, in the words of whoever reported it: show them as text, and do not follow links unasked."""

    at: Time
    by: str
    source: str
    url: str
    type: str


class IncidentDetail(Incident):
    """A credential that leaked, with where it was seen."""

    sightings: list[Sighting] = Field(description="The first hundred.")


class Reminder(BaseModel):
    """A message that one person, or one webhook, gets once: that a key will end, or that a credential leaked."""

    subject: str = Field(description="The id of the key, or of the incident.")
    mark: Mark
    recipient: str = Field(description="Who gets it: the id of a developer, or the name of a webhook.")
    channel: Channel
    state: NoticeState
    attempts: int = Field(description="How often it was tried to send it.")
    changed_at: Time
    error: str = Field(description="Why the last attempt failed, or empty.")
    code: int = Field(description="What the server answered to the last attempt, or 0.")


class Event(BaseModel):
    """A change in what is permitted."""

    at: Time
    action: str = Field(description="What was done.", examples=["key.created"])
    app: AppId
    subject: str = Field(description="The id of what it was done to.")
    actor: Actor = Field(description="Who did it.")
    source: str = Field(description="Where: `api`, `cli` or another.", examples=["api"])
    about: str = Field(description="What else belongs to it, such as the id of a successor; may be empty.")
