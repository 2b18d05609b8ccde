"""Answers of the gateway's own: reasons and failures as HTTP, in the shape that the client reads there."""

from collections.abc import Iterable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Final

import orjson

from gateway.core.decision import TABLE, Deny, Finding, Reason
from gateway.core.headers import Media

STATUS_LINES: Final[Mapping[int, bytes]] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Shape(Enum):
    """How a client at this place reads an answer."""

    GRAPHQL = Media.JSON.value
    GRAPHQL_RESPONSE = Media.GRAPHQL_RESPONSE.value
    PROBLEM = "application/problem+json"


MOST_ERRORS: Final = 50  # of one answer, which would else be a hundred times as long as the request

_CONTENT_TYPES: Final = {
    Shape.GRAPHQL: b"Content-Type: application/json; charset=utf-8\r\n",
    Shape.GRAPHQL_RESPONSE: b"Content-Type: application/graphql-response+json; charset=utf-8\r\n",
    Shape.PROBLEM: b"Content-Type: application/problem+json\r\n",
}


def refusal(
    deny: Deny, shape: Shape, request_id: bytes, realm: str, *, close: bool, extra: bytes = b""
) -> tuple[int, bytes]:
    """The status and the whole answer for a denial. `extra` are further header lines."""
    findings = deny.public
    status = _status(findings, shape)
    if status in (401, 403):
        extra += _challenge(findings, realm)
    body = _body(findings, status, shape, request_id.decode())
    return status, answer(status, shape, body, request_id, close=close, extra=extra)


def answer(status: int, shape: Shape, body: bytes, request_id: bytes, *, close: bool, extra: bytes = b"") -> bytes:
    """One whole answer, ready to be written."""
    # RFC 9110 8.6: with 204, which ends with its head, there is no Content-Length.
    content = b"" if status == HTTPStatus.NO_CONTENT else _CONTENT_TYPES[shape] + b"Content-Length: %d\r\n" % len(body)
    return b"".join(
        (
            STATUS_LINES[status],
            content,
            b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            b"X-Request-Id: %b\r\n" % request_id,
            extra,
            b"Connection: close\r\n\r\n" if close else b"\r\n",
            body,
        )
    )


def _status(findings: Iterable[Finding], shape: Shape) -> int:
    """The status of several reasons together: 403 if one of them has it, else that of the first."""
    rows = [TABLE[finding.reason] for finding in findings]
    if any(row.status == 403 for row in rows):
        return 403
    first = rows[0]
    if shape is Shape.GRAPHQL and first.relaxed is not None:
        return first.relaxed
    return first.status


def _body(findings: Iterable[Finding], status: int, shape: Shape, request_id: str) -> bytes:
    if shape is Shape.PROBLEM:
        return orjson.dumps(_problem(list(findings), status, request_id))
    found = list(findings)
    body: dict[str, object] = {"errors": [_error(finding, request_id) for finding in found[:MOST_ERRORS]]}
    if len(found) > MOST_ERRORS:
        body["extensions"] = {"errors_left_out": len(found) - MOST_ERRORS}
    return orjson.dumps(body)


def _error(finding: Finding, request_id: str) -> dict[str, object]:
    row = TABLE[finding.reason]
    extensions: dict[str, object] = {"code": row.code, "reason": finding.reason.value}
    if finding.coordinate is not None:
        extensions["coordinate"] = finding.coordinate
    if finding.scopes:
        extensions["required_scopes"] = finding.scopes
    extensions["request_id"] = request_id
    return {"message": _sentence(finding), "extensions": extensions}


def _problem(findings: list[Finding], status: int, request_id: str) -> dict[str, object]:
    """RFC 9457, with the members that the vendor's clients read: `message`, `errorCode`, `ref`."""
    first = findings[0]
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _sentence(first),
        "message": _sentence(first),
        "errorCode": first.reason.value.upper(),
        "ref": request_id,
        "reason": first.reason.value,
    }
    if first.scopes:
        problem["required_scopes"] = first.scopes
    return problem


def _sentence(finding: Finding) -> str:
    sentence = TABLE[finding.reason].sentence
    return f"{sentence} {finding.detail}" if finding.detail else sentence


def _challenge(findings: Iterable[Finding], realm: str) -> bytes:
    """RFC 6750 section 3: no error for a missing credential, `invalid_token` for a false one, `insufficient_scope`."""
    found = list(findings)
    reasons = {finding.reason for finding in found}
    challenge = f'WWW-Authenticate: Bearer realm="{realm}"'
    if Reason.SCOPE_MISSING in reasons:
        # Where several sets would do, the first; the attribute has no way to say "or" (RFC 6749 section 3.3).
        scopes = sorted({scope for finding in found for scope in (finding.scopes or ((),))[0]})
        challenge += f', error="insufficient_scope", scope="{" ".join(scopes)}"'
    elif not reasons.isdisjoint({Reason.CREDENTIAL_INVALID, Reason.CREDENTIAL_MALFORMED}):
        challenge += ', error="invalid_token"'
    elif Reason.CREDENTIAL_MISSING not in reasons:
        return b""
    return f"{challenge}\r\n".encode("latin-1")
