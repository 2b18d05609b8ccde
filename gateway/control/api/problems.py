"""What goes wrong, as problem details (RFC 9457): a closed table of codes, each with a title and a sentence.

Something a caller may not see is answered byte for byte like something that does not exist, but for the request's id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

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


class _Row(NamedTuple):
    status: HTTPStatus
    title: str
    sentence: str


_TABLE: Final[Mapping[Code, _Row]] = {
    Code.UNAUTHENTICATED: _Row(
        HTTPStatus.UNAUTHORIZED,
        "Not authenticated",
        "Send a valid token of an operator or developer, as `Authorization: Bearer ...`; see /api/v1/openapi.json.",
    ),
    Code.ROLE_MISSING: _Row(
        HTTPStatus.FORBIDDEN, "Role missing", "Your role does not allow this. Ask somebody whose role does."
    ),
    Code.NOT_FOUND: _Row(
        HTTPStatus.NOT_FOUND,
        "Not found",
        "There is nothing here, or nothing that you may see. Check the path and the ids in it.",
    ),
    Code.METHOD_NOT_ALLOWED: _Row(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Method not allowed",
        "This path does not take this method. The Allow header names those that it takes.",
    ),
    Code.REQUEST_INVALID: _Row(
        HTTPStatus.BAD_REQUEST, "Request invalid", "The request is not well-formed; see `faults`."
    ),
    Code.WISH_INVALID: _Row(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Values not acceptable",
        "Some values in the request are not acceptable; see `faults`.",
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: _Row(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type",
        "Send the body as application/json in UTF-8, without a Content-Encoding.",
    ),
    Code.BODY_TOO_LARGE: _Row(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Body too large", "The body is longer than 64 KiB. Send a shorter one."
    ),
    Code.BODY_TIMEOUT: _Row(
        HTTPStatus.REQUEST_TIMEOUT,
        "Body too late",
        "The body did not arrive within ten seconds. Send the request again.",
    ),
    Code.EXPECTATION_FAILED: _Row(
        HTTPStatus.EXPECTATION_FAILED,
        "Expectation failed",
        "The Expect header may hold 100-continue only. Change it, or leave it out.",
    ),
    Code.CONFLICT: _Row(HTTPStatus.CONFLICT, "Conflict", "It conflicts with something that already exists."),
    Code.TOO_MANY_KEYS: _Row(
        HTTPStatus.CONFLICT,
        "Too many keys",
        "The app has as many active keys as it may have. Revoke one that is no longer needed; to renew one, rotate it.",
    ),
    Code.KEY_ENDED: _Row(
        HTTPStatus.CONFLICT, "Key ended", "The key has ended, and an ended key is not renewed. Create a new one."
    ),
    Code.ALREADY_ROTATED: _Row(
        HTTPStatus.CONFLICT, "Already rotated", "The key was rotated before. Rotate its successor instead."
    ),
    Code.ROTATION_IN_PROGRESS: _Row(
        HTTPStatus.CONFLICT,
        "Rotation in progress",
        "The key's predecessor still works. Wait for its shutdown time, or revoke it.",
    ),
    Code.IN_PROGRESS: _Row(
        HTTPStatus.CONFLICT,
        "Request in progress",
        "A request with this Idempotency-Key is still being answered. Send it again in a moment.",
    ),
    Code.REPEAT_DIFFERS: _Row(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Idempotency-Key used before",
        "This Idempotency-Key came with a different request before. Use a new one.",
    ),
    Code.CHANGED_SINCE: _Row(
        HTTPStatus.PRECONDITION_FAILED,
        "Changed since",
        "It is not as `If-Match` or `If-None-Match` wants it, and nothing was done. Get it again, and decide anew.",
    ),
    Code.STORE_UNAVAILABLE: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Store unavailable",
        "Nothing was done, because the store cannot be used just now. Try again.",
    ),
    Code.OUTCOME_UNKNOWN: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Outcome unknown",
        "Whether it was done is not known. Look, or send the request again with the same Idempotency-Key.",
    ),
    Code.INTERNAL_ERROR: _Row(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Internal error",
        "Something went wrong in the gateway. Its log tells more of the request with this `ref`.",
    ),
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

    place: str = Field(
        description="`body`, `query` or `header`, and where in it.", examples=["body/scopes/0", "query/limit"]
    )
    detail: str = Field(
        description="What is wrong, for people, to be read after the place.", examples=["must not be empty"]
    )


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    type: str = Field(description="The code as a URI.")
    title: str = Field(description="What went wrong in a few words, always the same for a code.")
    status: int = Field(description="The status of the answer.", ge=400, le=599)
    code: Code
    detail: str = Field(description="What went wrong and what to do, for people.")
    faults: list[Fault] = Field(default=[], description="Everything that is wrong with the request.")
    ref: str = Field(description="The id of the request, as in `X-Request-Id` and in the gateway's log.")

    @classmethod
    def of(cls, code: Code, *, ref: str, detail: str | None = None, faults: Iterable[Fault] = ()) -> Self:
        """The details of a problem in a request; without a sentence of its own, it has that of its code."""
        status, title, sentence = _TABLE[code]
        return cls(
            type=_TYPE + code.value,
            title=title,
            status=status,
            code=code,
            detail=detail or sentence,
            faults=list(faults),
            ref=ref,
        )


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
        return _TABLE[self.code].status.value

    def body(self, ref: str) -> bytes:
        """The answer to the request with this id."""
        details = ProblemDetails.of(self.code, ref=ref, detail=self.detail, faults=self.faults)
        return details.model_dump_json().encode()


def codes_of() -> Mapping[int, Mapping[Code, str]]:
    """The codes that an answer may have, by its status, each with its sentence."""
    found: dict[int, dict[Code, str]] = {}
    for code, row in _TABLE.items():
        found.setdefault(row.status.value, {})[code] = row.sentence
    return found


def invalid(faults: Iterable[tuple[str, str]]) -> Problem:
    """A request that is at fault in these places."""
    return Problem(Code.REQUEST_INVALID, faults=tuple(Fault(place=place, detail=text) for place, text in faults))


def impossible(faults: Iterable[tuple[str, str]]) -> Problem:
    """A request with values that are not acceptable, in these places."""
    return Problem(Code.WISH_INVALID, faults=invalid(faults).faults)


def not_found() -> Problem:
    """Something that does not exist, or that the caller may not see."""
    return Problem(Code.NOT_FOUND)


def of_refusal(refused: ActRefused) -> Problem:
    """The problem that an act was refused for. Texts of acts name commands, so few of them are handed on."""
    code = _OF_REASONS.get(refused.reason, Code.CONFLICT)
    return Problem(code, refused.message if code in _TOLD else None)
