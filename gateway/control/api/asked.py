"""What the API takes: the models that check bodies and queries, with every fault at once.

Lengths of time are whole seconds. The scopes and regions that there are come as the context of a check.
"""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from gateway.core.developer_tokens import LONGEST_LIFETIME as LONGEST_TOKEN
from gateway.core.incidents import IncidentState
from gateway.core.records import KeyState
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
from gateway.settings.explain import JSON, wording

_SECOND: Final = 1000
_MEMBER: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


def _good(faults: Callable[[str], Iterable[str]]) -> AfterValidator:
    def check(text: str) -> str:
        for sentence in faults(text):
            raise ValueError(sentence)
        return text

    return AfterValidator(check)


def _scopes(scopes: list[str], info: ValidationInfo) -> list[str]:
    sentences = list(scope_faults(scopes, (info.context or {})["scopes"]))
    if sentences:
        raise ValueError(" ".join(sentences))
    return scopes


def _region(region: str, info: ValidationInfo) -> str:
    for sentence in region_faults(region, (info.context or {})["regions"]):
        raise ValueError(sentence)
    return region


def _digits(text: Any) -> Any:
    """A number as a query has it: pydantic would take `1_0` and ` +1` too."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("must be a whole number, in digits")
    return text


Name = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_NAME, examples=["nightly export"]),
    AfterValidator(normal_name),
    _good(name_faults),
]
Email = Annotated[
    str,
    Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}, examples=["ann@example.com"]),
    _good(email_faults),
]


class Body(BaseModel):
    """What is sent: nothing beside what is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """What may stand after the question mark."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which part of a list."""

    limit: Annotated[int, BeforeValidator(_digits)] = Field(
        default=100, ge=1, le=1000, description="How many at most; 100 if not given."
    )
    cursor: str | None = Field(
        default=None, min_length=1, max_length=2000, description="`next` of the page before; left out for the first."
    )


class KeysQuery(PageQuery):
    """Which keys."""

    state: KeyState | None = Field(default=None, description="Only keys in this state.")


class IncidentsQuery(PageQuery):
    """Which incidents."""

    state: IncidentState | None = Field(default=None, description="Only incidents in this state.")


class TokensQuery(PageQuery):
    """Which developers' tokens."""

    developer: str | None = Field(
        default=None, pattern=r"^dev_[0-9a-f]{16}$", description="Only those of the developer with this id."
    )


class NewApp(Body):
    """A new app."""

    name: Name
    region: Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_region)] = Field(
        description="Where its data lives: one of the regions that the settings name.", examples=["eu"]
    )
    account: Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(normal_name)] = Field(
        default="", description="Whose it is.", examples=["Acme"]
    )


class NewKey(Body):
    """A new key."""

    name: Name
    scopes: Annotated[list[str], Field(min_length=1, max_length=100), AfterValidator(_scopes)] = Field(
        description="What the key may be used for, in the words of the schema.", examples=[["OFFLOADS_READ"]]
    )
    lifetime_seconds: Annotated[int, Field(ge=1, le=LONGEST_LIFETIME // _SECOND)] | None = Field(
        default=None, description="How long the key lives; a year if not given.", examples=[7_776_000]
    )


class RotateKey(Body):
    """How to rotate a key."""

    shutdown_seconds: Annotated[int, Field(ge=0, le=LONGEST_SHUTDOWN // _SECOND)] | None = Field(
        default=None,
        description="How long the old key goes on; a week if not given, 0 ends it now.",
        examples=[86_400],
    )
    scopes: Annotated[list[str], Field(min_length=1, max_length=100)] | None = Field(
        default=None,
        description="Which of the key's scopes its successor is to hold; all if not given.",
        examples=[["OFFLOADS_READ"]],
    )


class RenameKey(Body):
    """Another name for a key."""

    name: Name


class DisableUser(Body):
    """Which users may be disabled."""

    unknown: bool = Field(
        default=False,
        description="Also a user who is not known here yet, because only another issuer's tokens (JWTs) name them.",
    )


class GrantRole(Body):
    """A role for a person."""

    email: Email
    role: Literal["developer", "spectator"] = Field(
        default="developer", description="A developer may make and end keys; a spectator may look at them."
    )


class NewDeveloperToken(Body):
    """A token for this API."""

    email: Email | None = Field(default=None, description="Whose token; operators must say it, and nobody else may.")
    lifetime_seconds: Annotated[int, Field(ge=1, le=LONGEST_TOKEN // _SECOND)] | None = Field(
        default=None, description="How long the token lives; 30 days if not given.", examples=[2_592_000]
    )


class _Seen(Body):
    """Where a credential was seen."""

    url: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="Where it was seen.", examples=["https://paste.example/x1"]
    )
    source: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="Who or what found it.", examples=["a customer's mail"]
    )


class LeakReport(_Seen):
    """A credential that leaked, whole."""

    token: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="The credential as it was found.")


class AppLeakReport(_Seen):
    """A credential of the app that leaked, by its id."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] = Field(
        description="The id of the key or user token.", examples=["4e8f2a6b1c0d5e9f"]
    )


def faults_of(error: ValidationError, model: type[BaseModel], place: str) -> list[tuple[str, str]]:
    """What is wrong with a body or a query, each with where it is; without the values, which may be secrets."""
    found = error.errors(include_url=False)
    return [("/".join([place, *map(shown, each["loc"])]), _sentence(each, model, place)) for each in found]


def _sentence(detail: ErrorDetails, model: type[BaseModel], place: str) -> str:
    if detail["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        kind = "member" if place == "body" else "parameter"
        return f"is not a {kind} here; known are {known}" if known else f"is not a {kind} here; there are none"
    return "is required" if detail["type"] == "missing" else wording(detail, JSON)


def shown(part: object) -> str:
    """A member's name, if it may be one: what is typed there by mistake may be a secret."""
    text = str(part)
    return text if _MEMBER.fullmatch(text) else "?"
