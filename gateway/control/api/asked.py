"""What the API takes: the models that check bodies and queries, with every fault at once.

Lengths of time are whole seconds. The scopes and regions that there are come as the context of a check.
"""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

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
        raise ValueError("It is a whole number, in digits.")
    return text


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(normal_name), _good(name_faults)]
Email = Annotated[str, Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}), _good(email_faults)]


class Asked(BaseModel):
    """What is sent: nothing beside what is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """What may stand after the question mark."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which part of a list."""

    limit: Annotated[int, BeforeValidator(_digits)] = Field(default=100, ge=1, le=1000, description="How many at most.")
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


class AppAsked(Asked):
    """A new app."""

    name: Name
    region: Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_region)]
    account: Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(normal_name)] = ""


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
    scopes: Annotated[list[str], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Which of the key's scopes its successor is to hold; all if not given."
    )


class RenameAsked(Asked):
    """Another name."""

    name: Name


class GrantAsked(Asked):
    """A role for a person."""

    email: Email
    role: Literal["developer", "spectator"] = "developer"


class TokenAsked(Asked):
    """A token for the management API."""

    email: Email | None = Field(default=None, description="Whose; only operators may say it, and must.")
    lifetime_seconds: Annotated[int, Field(ge=1, le=LONGEST_TOKEN // _SECOND)] | None = Field(
        default=None, description="How long it lives; 30 days if not given."
    )


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


def faults_of(errors: Iterable[Any], place: str) -> Iterable[tuple[str, str]]:
    """What pydantic found, without the values: they may be secrets."""
    for error in errors:
        where = "/".join([place, *map(_shown, error["loc"])])
        yield where, str(error["msg"]).removeprefix("Value error, ")


def _shown(part: object) -> str:
    """A member's name, if it may be one: what is typed there by mistake may be a secret."""
    text = str(part)
    return text if _MEMBER.fullmatch(text) else "?"
