"""Decisions and reasons: the closed set of refusals, and the one table from reason to answer.

Permission is built in one place, `verdict`. Whoever forwards must hold an `Allow` or a `Reported`, and nobody else
constructs one, so forwarding without a decision does not type-check.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Reason(StrEnum):
    """Why a request was refused. Each member has a row in `TABLE`, a line in docs/reasons.md and a vector."""

    REQUEST_MALFORMED = "request_malformed"
    HEADERS_TOO_LARGE = "headers_too_large"
    HEADER_TIMEOUT = "header_timeout"
    PATH_UNKNOWN = "path_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION_FAILED = "expectation_failed"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    WRONG_REGION = "wrong_region"
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_INVALID = "credential_invalid"
    BODY_MALFORMED = "body_malformed"
    MESSAGE_MALFORMED = "message_malformed"
    MESSAGE_TOO_DEEP = "message_too_deep"
    DOCUMENT_INVALID = "document_invalid"
    DOCUMENT_TOO_LARGE = "document_too_large"
    DOCUMENT_TOO_MANY_TOKENS = "document_too_many_tokens"
    DOCUMENT_TOO_DEEP = "document_too_deep"
    DOCUMENT_TOO_MANY_ALIASES = "document_too_many_aliases"
    DOCUMENT_TOO_MANY_ROOT_FIELDS = "document_too_many_root_fields"
    OPERATION_AMBIGUOUS = "operation_ambiguous"
    OPERATION_UNSUPPORTED = "operation_unsupported"
    FIELD_UNKNOWN = "field_unknown"
    ARGUMENT_UNKNOWN = "argument_unknown"
    FIELD_CLOSED = "field_closed"
    SCOPE_MISSING = "scope_missing"
    KEYS_ONLY = "keys_only"
    INTROSPECTION_CLOSED = "introspection_closed"
    NOT_OWN_DATA = "not_own_data"
    NOT_OWN_APP = "not_own_app"
    PARAMETER_UNKNOWN = "parameter_unknown"
    STORE_UNAVAILABLE = "store_unavailable"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    KEY_NOT_REVOKED = "key_not_revoked"
    REVOCATION_UNKNOWN = "revocation_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNATURE_UNCHECKED = "signature_unchecked"
    NOT_ISSUED = "not_issued"
    REGION_UNAVAILABLE = "region_unavailable"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_MALFORMED = "upstream_malformed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Row:
    """How one reason is answered.

    `status` is the HTTP status; `relaxed`, where it differs, is the status for `application/json`, in which GraphQL
    over HTTP answers faults of a document with 200 (GraphQL over HTTP, "Status Codes"). `reportable` reasons are let
    through, and reported, in report mode.
    """

    status: int
    code: str
    sentence: str
    relaxed: int | None = None
    reportable: bool = False


def _document(sentence: str) -> Row:
    return Row(400, "GRAPHQL_VALIDATION_FAILED", sentence, relaxed=200)


def _unauthenticated(sentence: str) -> Row:
    return Row(401, "UNAUTHENTICATED", sentence)


def _forbidden(sentence: str, *, reportable: bool = False) -> Row:
    return Row(403, "FORBIDDEN", sentence, reportable=reportable)


def _request(status: int, sentence: str) -> Row:
    return Row(status, "BAD_REQUEST", sentence)


def _ours(status: int, sentence: str) -> Row:
    return Row(status, "SERVICE_UNAVAILABLE" if status == 503 else "BAD_GATEWAY", sentence)


# One public sentence for every false credential: an answer must not tell a wrong key from a revoked one.
_FALSE_CREDENTIAL: Final = "The credential is not valid."

TABLE: Final[Mapping[Reason, Row]] = MappingProxyType(
    {
        Reason.REQUEST_MALFORMED: _request(400, "The request is not well-formed HTTP/1.1."),
        Reason.HEADERS_TOO_LARGE: _request(431, "The request line and headers are too large."),
        Reason.HEADER_TIMEOUT: _request(408, "The headers of the request did not arrive in time."),
        Reason.PATH_UNKNOWN: Row(404, "NOT_FOUND", "There is nothing at this path."),
        Reason.METHOD_NOT_ALLOWED: _request(405, "This method is not allowed here; see the Allow header."),
        Reason.NOT_ACCEPTABLE: _request(
            406, "Only application/json and application/graphql-response+json can be answered."
        ),
        Reason.UNSUPPORTED_MEDIA_TYPE: _request(
            415, "Send the body as application/json in UTF-8, without a content coding."
        ),
        Reason.EXPECTATION_FAILED: _request(417, "Only the expectation 100-continue is supported."),
        Reason.BODY_TOO_LARGE: _request(413, "The body is too large."),
        Reason.BODY_TIMEOUT: _request(408, "The body did not arrive in time."),
        Reason.WRONG_REGION: Row(421, "MISDIRECTED_REQUEST", "This app lives in another region."),
        Reason.CREDENTIAL_MISSING: _unauthenticated("Send a credential as 'Authorization: Bearer <token>'."),
        Reason.CREDENTIAL_MALFORMED: _unauthenticated(_FALSE_CREDENTIAL),
        Reason.CREDENTIAL_INVALID: _unauthenticated(_FALSE_CREDENTIAL),
        Reason.BODY_MALFORMED: _request(400, "The body is not what is expected here."),
        Reason.MESSAGE_MALFORMED: _request(400, "The body is not a well-formed GraphQL request."),
        Reason.MESSAGE_TOO_DEEP: _request(400, "The JSON of the body is nested too deeply."),
        Reason.DOCUMENT_INVALID: _document("The GraphQL document is not valid."),
        Reason.DOCUMENT_TOO_LARGE: _document("The GraphQL document is too long."),
        Reason.DOCUMENT_TOO_MANY_TOKENS: _document("The GraphQL document has too many tokens."),
        Reason.DOCUMENT_TOO_DEEP: _document("The operation is nested too deeply."),
        Reason.DOCUMENT_TOO_MANY_ALIASES: _document("The operation has too many aliases."),
        Reason.DOCUMENT_TOO_MANY_ROOT_FIELDS: _document("The operation has too many root fields."),
        Reason.OPERATION_AMBIGUOUS: _document("It is not clear which operation to run; name it in operationName."),
        Reason.OPERATION_UNSUPPORTED: _forbidden("This kind of operation is not supported."),
        Reason.FIELD_UNKNOWN: Row(
            400, "GRAPHQL_VALIDATION_FAILED", "The schema has no such field.", relaxed=200, reportable=True
        ),
        Reason.ARGUMENT_UNKNOWN: _document("The schema has no such argument or input field."),
        Reason.FIELD_CLOSED: _forbidden("This is not open to this credential."),
        Reason.SCOPE_MISSING: _forbidden("The API key lacks a scope that this needs.", reportable=True),
        Reason.KEYS_ONLY: _forbidden("This is open to API keys only.", reportable=True),
        Reason.INTROSPECTION_CLOSED: _forbidden("Introspection is closed to this credential."),
        Reason.NOT_OWN_DATA: _forbidden(
            "A user token reaches its own user's data only; this names another user, or none.", reportable=True
        ),
        Reason.NOT_OWN_APP: _forbidden(
            "A credential reaches its own app only; this names another app, or none.", reportable=True
        ),
        Reason.PARAMETER_UNKNOWN: _request(400, "This query parameter is not accepted here."),
        Reason.STORE_UNAVAILABLE: _ours(503, "Credentials cannot be checked at the moment; try again."),
        Reason.ISSUER_UNAVAILABLE: _ours(503, "Tokens of this issuer cannot be checked at the moment; try again."),
        Reason.KEY_NOT_REVOKED: _ours(503, "The key was not revoked, as the store could not keep it; try again."),
        Reason.REVOCATION_UNKNOWN: _ours(
            503, "Nobody can tell whether the key was revoked, as the store did not answer; try again."
        ),
        Reason.SIGNATURE_INVALID: _request(400, "The signature is not valid."),
        Reason.SIGNATURE_UNCHECKED: _ours(503, "The signature cannot be checked at the moment; send it again."),
        Reason.NOT_ISSUED: _ours(503, "Nothing was issued, as the store could not keep it; try again."),
        Reason.REGION_UNAVAILABLE: _ours(503, "The region of this app is not served here at the moment."),
        Reason.UPSTREAM_UNREACHABLE: _ours(502, "The API behind the gateway could not be reached."),
        Reason.UPSTREAM_MALFORMED: _ours(502, "The API behind the gateway gave an answer that cannot be passed on."),
        Reason.UPSTREAM_TIMEOUT: Row(504, "GATEWAY_TIMEOUT", "The API behind the gateway did not answer in time."),
        Reason.INTERNAL_ERROR: Row(500, "INTERNAL_SERVER_ERROR", "Something went wrong in the gateway."),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason found, with where it was found.

    `coordinate` is a schema coordinate (`Query.user(user_id:)`, `Input.field`) or a route (`GET /v2/users/me`);
    `path` is the response path of the field (`me.engagement`), aliases included. `scopes` are what would have
    sufficed, in the directive's form: any of the outer, all of the inner. `detail` is a sentence of ours, never text
    of the client's. `selected` is the coordinate of the selection that led to `coordinate`, None where a value did;
    `firm` says that report mode does not let it through, whatever the reason.
    """

    reason: Reason
    coordinate: str | None = None
    path: str | None = None
    scopes: tuple[tuple[str, ...], ...] = ()
    detail: str | None = None
    selected: str | None = None
    firm: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """A user who is gone once the request has succeeded, and whose tokens then end.

    `key` is the member of a GraphQL answer that tells whether it has; None where the status alone does. `left_out`
    says that @skip or @include keep the field from running, so that the member is not to be there.
    """

    user_id: str
    key: str | None = None
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may be forwarded. Only `verdict` builds one."""

    deletions: tuple[Deletion, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """The request must not be forwarded; every reason found, never empty.

    `findings` are for the log. The caller is shown `public`: with `hide_unknown`, for a caller without introspection,
    an unknown field reads like a closed one.
    """

    findings: tuple[Finding, ...]
    hide_unknown: bool = False

    @property
    def public(self) -> tuple[Finding, ...]:
        """The findings as the caller may see them: none below a field that is itself closed or unknown."""
        bars = {finding.path for finding in self.findings if finding.path and _bars(finding)}
        shown = (finding for finding in self.findings if not _behind(finding, bars))
        if self.hide_unknown:
            shown = (_hidden(finding) for finding in shown)
        shown = (_FALSE if finding.reason is Reason.CREDENTIAL_MALFORMED else finding for finding in shown)
        return tuple({(finding.reason, finding.coordinate): finding for finding in shown}.values())


# What bars the way: were anything told of what lies below, closed and unknown fields could be told apart.
_BARRING: Final = frozenset({Reason.FIELD_CLOSED, Reason.FIELD_UNKNOWN, Reason.INTROSPECTION_CLOSED})


# Every false credential is answered alike, so that nothing can be learnt about it.
_FALSE: Final = Finding(Reason.CREDENTIAL_INVALID)


def _bars(finding: Finding) -> bool:
    return finding.reason in _BARRING and finding.selected is not None


def _behind(finding: Finding, bars: Container[str]) -> bool:
    """Whether a finding lies below a barred field, or at one and is not the bar itself."""
    place = finding.path or ""
    if _bars(finding):
        place = place.rpartition(".")[0]
    while place and place not in bars:
        place = place.rpartition(".")[0]
    return bool(place)


def _hidden(finding: Finding) -> Finding:
    if finding.reason not in (Reason.FIELD_CLOSED, Reason.FIELD_UNKNOWN):
        return finding
    return Finding(Reason.FIELD_CLOSED, finding.selected or finding.coordinate, finding.path)


@dataclass(frozen=True, slots=True)
class Reported:
    """The request would have been refused, and report mode lets it through. Only `verdict` builds one."""

    deny: Deny
    deletions: tuple[Deletion, ...] = ()


Decision = Allow | Reported | Deny
Permission = Allow | Reported

_ALLOW: Final = Allow()


def verdict(
    findings: Collection[Finding],
    *,
    deletions: tuple[Deletion, ...] = (),
    report: bool = False,
    hide_unknown: bool = False,
) -> Decision:
    """Allow when nothing was found; in report mode let pass what is reportable; deny everything else.

    Findings that are `firm` are never let pass: an unknown field of the root is one nobody has decided about. Whatever
    passes carries its `deletions` with it.
    """
    if not findings:
        return Allow(deletions) if deletions else _ALLOW
    found = tuple(dict.fromkeys(findings))
    deny = Deny(found, hide_unknown)
    if report and all(map(_reportable, found)):
        return Reported(deny, deletions)
    return deny


def _reportable(finding: Finding) -> bool:
    return TABLE[finding.reason].reportable and not finding.firm


class Refused(Exception):
    """The request is refused, and it is the client's to mend (4xx, or 200 with errors)."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(", ".join(finding.reason for finding in deny.findings))
        self.deny = deny


class Unavailable(Exception):
    """The request cannot be served because something we depend on is away (502 to 504)."""

    def __init__(self, reason: Reason, detail: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(detail or reason.value)
        self.reason = reason
        self.retry_after = retry_after


def refuse(reason: Reason, detail: str | None = None) -> Refused:
    """A refusal with one reason, ready to be raised."""
    return Refused(Deny((Finding(reason, detail=detail),)))


def scope_missing(coordinate: str, path: str | None, scopes: Iterable[frozenset[str]]) -> Finding:
    """The finding for a key that holds none of the sets of scopes that would do."""
    return Finding(Reason.SCOPE_MISSING, coordinate, path, tuple(tuple(sorted(inner)) for inner in scopes))


def permitted(decision: Decision) -> Permission:
    """The permission in a decision; raises `Refused` for a `Deny`."""
    if isinstance(decision, Deny):
        raise Refused(decision)
    return decision
