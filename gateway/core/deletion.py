"""The rules for a deleted user: which answers mean that one is gone, and that only a tombstone of the id remains."""

from collections.abc import Container, Iterable
from dataclasses import replace

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.decision import Deletion, Refused
from gateway.core.ledger import Asked, Changes, ItemKind, Snapshot, Who
from gateway.core.lifecycle import the_app
from gateway.core.message import json_value
from gateway.core.records import DELETED, User


def asked_of(app_id: str, user_id: str) -> Asked:
    """What the deletion of a user looks at."""
    return Asked(app_id, user_id=user_id, items=((ItemKind.FAMILIES, f"{app_id}.{user_id}"),))


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


def gone(deletions: Iterable[Deletion], answer: bytes) -> tuple[str, ...]:
    """The ids of the users whom a successful answer leaves deleted: all but those whose own field plainly failed.

    A field that failed is null in the data, and an error's path is its response key and nothing more: where the path
    goes on, a member of its result failed, and it did run. What is no JSON object with data tells of no failure, and
    neither does what two parsers would read differently.
    """
    told = _told(answer)
    if not isinstance(told, dict) or "data" not in told:
        return tuple(dict.fromkeys(each.user_id for each in deletions))
    data, errors = told["data"], told.get("errors")
    listed = errors if isinstance(errors, list) else ()
    failed = {error["path"][0] for error in listed if _names_a_field(error)}
    return tuple(dict.fromkeys(each.user_id for each in deletions if not _did_not_run(each, data, failed)))


def surely_gone(deletions: Iterable[Deletion], answer: bytes) -> tuple[str, ...]:
    """The ids of the users whom a successful answer plainly says to be deleted: whose field is there and not null; or,
    where no field can be told, those of an answer that is empty or tells of no error.

    This is what counts for a request that report mode lets through: whoever may not delete a user must not be able to
    end one by an answer that nobody can read, or by leaving before it.
    """
    told = _told(answer)
    return tuple(dict.fromkeys(each.user_id for each in deletions if _surely_ran(each, told, empty=not answer)))


def _told(answer: bytes) -> object:
    try:
        return json_value(answer)
    except Refused:
        return None


def _surely_ran(deletion: Deletion, told: object, *, empty: bool) -> bool:
    if not isinstance(told, dict):
        return empty and deletion.key is None
    if deletion.key is None:
        return "errors" not in told
    data = told.get("data")
    return isinstance(data, dict) and data.get(deletion.key) is not None


def _names_a_field(error: object) -> bool:
    path = error.get("path") if isinstance(error, dict) else None
    return isinstance(path, list) and len(path) == 1 and isinstance(path[0], str)


def _did_not_run(deletion: Deletion, data: object, failed: Container[str]) -> bool:
    if deletion.key is None:
        return False
    if isinstance(data, dict):
        if deletion.key not in data:
            return deletion.left_out
        if data[deletion.key] is not None:
            return False
    return (data is None or isinstance(data, dict)) and deletion.key in failed
