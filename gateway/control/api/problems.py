"""What goes wrong, as problem details (RFC 9457): a closed table of codes, each with its status and one sentence.

What a caller may not see is told by the very bytes of what there is not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, Field

from gateway.core.ledger import ActReason, ActRefused

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:gateway:problem:"


class Code(StrEnum):
    """What went wrong, for programs."""

    UNAUTHENTICATED = "unauthenticated"
    ROLE_MISSING = "role_missing"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_INVALID = "request_invalid"
    WISH_INVALID = "wish_invalid"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    EXPECTATION_FAILED = "expectation_failed"
    CONFLICT = "conflict"
    TOO_MANY_KEYS = "too_many_keys"
    KEY_ENDED = "key_ended"
    ALREADY_ROTATED = "already_rotated"
    ROTATION_IN_PROGRESS = "rotation_in_progress"
    IN_PROGRESS = "in_progress"
    REPEAT_DIFFERS = "repeat_differs"
    CHANGED_SINCE = "changed_since"
    STORE_UNAVAILABLE = "store_unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    INTERNAL_ERROR = "internal_error"


_TABLE: Final[Mapping[Code, tuple[HTTPStatus, str]]] = {
    Code.UNAUTHENTICATED: (HTTPStatus.UNAUTHORIZED, "A valid token of an operator or developer is needed."),
    Code.ROLE_MISSING: (HTTPStatus.FORBIDDEN, "Your role does not allow this."),
    Code.NOT_FOUND: (HTTPStatus.NOT_FOUND, "There is nothing here, or nothing that you may see."),
    Code.METHOD_NOT_ALLOWED: (HTTPStatus.METHOD_NOT_ALLOWED, "This method is not for this path."),
    Code.REQUEST_INVALID: (HTTPStatus.BAD_REQUEST, "The request is not well-formed."),
    Code.WISH_INVALID: (HTTPStatus.UNPROCESSABLE_ENTITY, "What is asked for cannot be."),
    Code.UNSUPPORTED_MEDIA_TYPE: (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body must be application/json in UTF-8, without a coding.",
    ),
    Code.BODY_TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is longer than 64 KiB."),
    Code.BODY_TIMEOUT: (HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time."),
    Code.EXPECTATION_FAILED: (HTTPStatus.EXPECTATION_FAILED, "Only 100-continue can be expected."),
    Code.CONFLICT: (HTTPStatus.CONFLICT, "It is in the way of what there is."),
    Code.TOO_MANY_KEYS: (HTTPStatus.CONFLICT, "The app has as many active keys as it may have."),
    Code.KEY_ENDED: (HTTPStatus.CONFLICT, "The key has ended."),
    Code.ALREADY_ROTATED: (HTTPStatus.CONFLICT, "The key was rotated before."),
    Code.ROTATION_IN_PROGRESS: (HTTPStatus.CONFLICT, "The key's predecessor still works."),
    Code.IN_PROGRESS: (HTTPStatus.CONFLICT, "A request with this Idempotency-Key is being answered; ask again."),
    Code.REPEAT_DIFFERS: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This Idempotency-Key came with another request before; draw a new one.",
    ),
    Code.CHANGED_SINCE: (HTTPStatus.PRECONDITION_FAILED, "It has changed since; get it again."),
    Code.STORE_UNAVAILABLE: (HTTPStatus.SERVICE_UNAVAILABLE, "It was not done, as the store is away; try again."),
    Code.OUTCOME_UNKNOWN: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Nobody can tell whether it was done; ask again with the same Idempotency-Key, or look.",
    ),
    Code.INTERNAL_ERROR: (HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here."),
}

_OF_REASONS: Final[Mapping[ActReason, Code]] = {
    ActReason.WISH_INVALID: Code.WISH_INVALID,
    ActReason.UNKNOWN_APP: Code.NOT_FOUND,
    ActReason.UNKNOWN_KEY: Code.NOT_FOUND,
    ActReason.UNKNOWN_USER: Code.NOT_FOUND,
    ActReason.UNKNOWN_TOKEN: Code.NOT_FOUND,
    ActReason.UNKNOWN_INCIDENT: Code.NOT_FOUND,
    ActReason.UNKNOWN_DEVELOPER: Code.NOT_FOUND,
    ActReason.USER_DELETED: Code.NOT_FOUND,
    ActReason.TOO_MANY_KEYS: Code.TOO_MANY_KEYS,
    ActReason.KEY_ENDED: Code.KEY_ENDED,
    ActReason.ALREADY_ROTATED: Code.ALREADY_ROTATED,
    ActReason.ROTATION_IN_PROGRESS: Code.ROTATION_IN_PROGRESS,
    ActReason.REPEAT_DIFFERS: Code.REPEAT_DIFFERS,
    ActReason.CHANGED_SINCE: Code.CHANGED_SINCE,
    ActReason.ROLE_MISSING: Code.ROLE_MISSING,
}
_TOLD: Final = frozenset({Code.WISH_INVALID, Code.TOO_MANY_KEYS, Code.ALREADY_ROTATED, Code.ROTATION_IN_PROGRESS})


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    place: str = Field(description="`body`, `query` or `header`, and where in it: `body/scopes/0`.")
    detail: str = Field(description="What is wrong, for people.")


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="The code as a URI.")
    title: str = Field(description="What went wrong, for people; always the same for a code.")
    status: int = Field(description="The status of the answer.", ge=400, le=599)
    code: Code = Field(description="What went wrong, for programs.")
    detail: str | None = Field(default=None, description="More for people, if there is any.")
    faults: list[Fault] = Field(default=[], description="All that is wrong with the request.")


@dataclass(frozen=True)
class Problem(Exception):
    """A request cannot be answered as it wishes."""

    code: Code
    detail: str | None = None
    faults: tuple[Fault, ...] = ()
    allow: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The status of the answer."""
        return _TABLE[self.code][0].value

    def body(self) -> bytes:
        """The answer."""
        status, title = _TABLE[self.code]
        details = ProblemDetails(
            type=_TYPE + self.code.value,
            title=title,
            status=status,
            code=self.code,
            detail=self.detail,
            faults=list(self.faults),
        )
        return details.model_dump_json(exclude_none=True).encode()


def invalid(faults: Iterable[tuple[str, str]]) -> Problem:
    """A request that is at fault in these places."""
    return Problem(Code.REQUEST_INVALID, faults=tuple(Fault(place=place, detail=text) for place, text in faults))


def impossible(faults: Iterable[tuple[str, str]]) -> Problem:
    """What is asked for cannot be, for what stands in these places."""
    return Problem(Code.WISH_INVALID, faults=invalid(faults).faults)


def not_found() -> Problem:
    """What there is not, or what the caller may not see."""
    return Problem(Code.NOT_FOUND)


def of_refusal(refused: ActRefused) -> Problem:
    """The problem that an act was refused for. Texts of acts name commands, so few of them are handed on."""
    code = _OF_REASONS.get(refused.reason, Code.CONFLICT)
    return Problem(code, refused.message if code in _TOLD else None)
