"""The rule for a deleted user: a tombstone of the id remains, and nothing else of the person."""

from dataclasses import replace

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Asked, Changes, ItemKind, Snapshot, Who
from gateway.core.lifecycle import the_app
from gateway.core.records import DELETED, User


def asked_of(app_id: str, user_id: str) -> Asked:
    """What the deletion of a user looks at."""
    return Asked(app_id, user_id=user_id, items=((ItemKind.SESSIONS, f"{app_id}.{user_id}"),))


def delete_user(snapshot: Snapshot, user_id: str, who: Who) -> Changes:
    """The end of a user of the app: of every token, whoever issued it, for good. Nothing changes the second time.

    A user of whom the store knows nothing leaves a tombstone too: another issuer may have given out tokens.
    """
    app = the_app(snapshot)
    user = snapshot.users.get(user_id) or User(user_id, app.id)
    if user.deleted:
        return Changes()
    event = AuditEvent(snapshot.now, AuditAction.USER_DELETED, app.id, user.id, who.actor, who.source)
    return Changes(
        users=(replace(user, external_id=None, cut_at=DELETED),),
        dropped=tuple(snapshot.items),
        events=(event,),
    )
