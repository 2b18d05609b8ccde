"""The closed set of audit events: records of changes in what is permitted."""

from dataclasses import dataclass
from enum import StrEnum


class AuditAction(StrEnum):
    """What was done, as `subject.action`."""

    APP_CREATED = "app.created"
    APP_DISABLED = "app.disabled"
    APP_ENABLED = "app.enabled"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    USER_CREATED = "user.created"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_TOKEN_CREATED = "user_token.created"  # noqa: S105 - the name of an act, no secret


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One change in what is permitted: when (UTC milliseconds), what, to which subject of which app, by whom."""

    at: int
    action: AuditAction
    app_id: str
    subject_id: str
    actor: str
