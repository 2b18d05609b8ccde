"""The closed set of audit events: records of changes in what is permitted."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class AuditAction(StrEnum):
    """What was done, as `subject.action`."""

    APP_CREATED = "app.created"
    APP_DISABLED = "app.disabled"
    APP_ENABLED = "app.enabled"
    APP_TOKENS_ENDED = "app.tokens_ended"
    KEY_CREATED = "key.created"
    KEY_IMPORTED = "key.imported"
    KEY_RENAMED = "key.renamed"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    USER_CREATED = "user.created"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_TOKENS_ENDED = "user.tokens_ended"
    USER_TOKEN_CREATED = "user_token.created"  # noqa: S105 - the name of an act, no secret
    USER_TOKEN_REVOKED = "user_token.revoked"  # noqa: S105 - as above
    USER_TOKEN_IMPORTED = "user_token.imported"  # noqa: S105 - as above
    USER_TOKEN_REFRESHED = "user_token.refreshed"  # noqa: S105 - as above
    USER_TOKEN_REUSE = "user_token.reuse"  # noqa: S105 - as above
    USER_DELETED = "user.deleted"
    CODE_CREATED = "code.created"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_ACKNOWLEDGED = "incident.acknowledged"
    INCIDENT_CLOSED = "incident.closed"
    DEVELOPER_TOKEN_CREATED = "developer_token.created"  # noqa: S105 - as above
    DEVELOPER_TOKEN_REVOKED = "developer_token.revoked"  # noqa: S105 - as above
    DEVELOPER_GRANTED = "developer.granted"
    DEVELOPER_REMOVED = "developer.removed"
    REVOCATION_RESTORED = "revocation.restored"
    STORE_IMPORTED = "store.imported"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One change in what is permitted: when (UTC milliseconds), what, to which subject of which app, by whom.

    `actor` is `cli:<operating-system user>`, `key:<id>`, `user:<id>`, `operator:<name>`, `developer:dev_<digest>`,
    `reporter:<source of leak reports>`, `dev` or `gateway`; `source` the door it came through; `about`
    what else belongs to it, as the successor's id or why a key was ended. None of them ever holds an e-mail address,
    an external id or a token.
    """

    at: int
    action: AuditAction
    app_id: str
    subject_id: str
    actor: str
    source: str = ""
    about: str = ""

    def as_json(self) -> dict[str, object]:
        """The event as JSON values, as it is exported and sealed."""
        return {
            "at": self.at,
            "action": self.action.value,
            "app": self.app_id,
            "subject": self.subject_id,
            "actor": self.actor,
            "source": self.source,
            "about": self.about,
        }


def event_from(values: Mapping[str, object]) -> AuditEvent:
    """The event that `as_json` wrote. Raises `ValueError` for anything else."""
    texts = [values.get(name) for name in ("app", "subject", "actor", "source", "about")]
    at = values.get("at")
    if type(at) is not int or not all(isinstance(text, str) for text in texts):
        raise ValueError("not an audit event")
    return AuditEvent(at, AuditAction(str(values.get("action"))), *map(str, texts))


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its place: the `number`-th of its chain, from 1, without a gap. A store has one chain or many."""

    chain: str
    number: int
    event: AuditEvent


@dataclass(frozen=True, slots=True)
class Seal:
    """A digest over the events `first` to `last` of a chain and the seal before; signed where there is a key."""

    chain: str
    first: int
    last: int
    at: int
    digest: str
    signature: str = ""
    signer: str = ""
