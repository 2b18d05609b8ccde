"""The rules for users, their tokens and developers; and what is told anew to a store that forgot it.

As in `gateway/core/lifecycle.py`: each function is what an `Act` decides.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Changes, Snapshot, Who
from gateway.core.lifecycle import the_app
from gateway.core.records import RevokedWhy, Role, User, UserTokenRecord, switched
from gateway.core.takings import Taken, Taking, less_app, less_key, less_token, less_user

# Clocks that are further apart make a gateway not ready; so a token may say that it was made this much later than now.
# A cut of a user's tokens lies that far ahead, and new tokens right after it. A cut of an app's lies ahead of them all,
# even if a user's tokens were cut thousands of times since the last one.
CLOCKS_APART: Final = 30_000
APP_AHEAD: Final = 4 * CLOCKS_APART


@dataclass(frozen=True, slots=True)
class NewUserToken:
    """A token as it is wished for: for the user with `user_id` or `external_id`; a user made for it has `new_user_id`
    unless a `user_id` is given."""

    id: str
    verifier: bytes = field(repr=False)
    user_id: str | None
    external_id: str | None = field(repr=False)
    new_user_id: str
    lifetime: int


def create_user_token(snapshot: Snapshot, wish: NewUserToken, who: Who) -> Changes:
    """A new token, and its user unless there is one."""
    app = the_app(snapshot)
    made = snapshot.tokens.get(wish.id)
    if wish.id in snapshot.taken or (made is not None and made.verifier != wish.verifier):
        raise ActRefused(ActReason.ID_TAKEN, "The id is taken, and no id is ever used again.")
    if made is not None:
        return Changes(users=tuple(user for user in snapshot.users.values() if user.id == made.user_id), tokens=(made,))
    user = _user_meant(snapshot, wish.user_id, wish.external_id)
    if user is not None and user.deleted:
        raise ActRefused(
            ActReason.USER_DELETED, f"The user {user.id} was deleted, and nothing is issued to it any more."
        )
    events = []
    users: tuple[User, ...] = ()
    if user is None:
        user = User(wish.user_id or wish.new_user_id, app.id, wish.external_id)
        users = (user,)
        events.append(_event(snapshot, AuditAction.USER_CREATED, user.id, who))
    created_at = max(snapshot.now, user.cut_at + 1, app.cut_at + 1)  # what was cut before it does not concern it
    token = UserTokenRecord(wish.id, app.id, user.id, wish.verifier, created_at, snapshot.now + wish.lifetime)
    events.append(_event(snapshot, AuditAction.USER_TOKEN_CREATED, token.id, who, f"user {user.id}"))
    return Changes(users=users, tokens=(token,), events=tuple(events))


def revoke_user_token(snapshot: Snapshot, token_id: str, why: RevokedWhy, who: Who) -> Changes:
    """The end of one token, now. Nothing changes when it had been revoked before, or never was."""
    the_app(snapshot)
    token = snapshot.tokens.get(token_id)
    if token is None or token.revoked_at is not None:
        return Changes()
    event = _event(snapshot, AuditAction.USER_TOKEN_REVOKED, token.id, who, why.value)
    return Changes(tokens=(replace(token, revoked_at=snapshot.now),), events=(event,))


def switch_user(snapshot: Snapshot, user_id: str, who: Who, *, disabled: bool, unknown_too: bool = False) -> Changes:
    """The user's tokens stand still from now on; or work again. With `unknown_too` also of a user who is not known here
    yet, since other issuers' users need not be."""
    events = []
    if unknown_too and user_id not in snapshot.users:
        user = User(user_id, the_app(snapshot).id)
        events.append(_event(snapshot, AuditAction.USER_CREATED, user.id, who))
    else:
        user = the_user(snapshot, user_id)
    if user.disabled == disabled:
        return Changes()
    action = AuditAction.USER_DISABLED if disabled else AuditAction.USER_ENABLED
    changed = replace(user, switches=switched(user.switches, disabled=disabled, now=snapshot.now))
    return Changes(users=(changed,), events=(*events, _event(snapshot, action, user.id, who)))


def end_user_tokens(snapshot: Snapshot, user_id: str, who: Who) -> Changes:
    """The end of every token that the user has now."""
    user, app = the_user(snapshot, user_id), the_app(snapshot)
    changed = replace(user, cut_at=max(snapshot.now + CLOCKS_APART, user.cut_at + 1, app.cut_at + 1))
    return Changes(users=(changed,), events=(_event(snapshot, AuditAction.USER_TOKENS_ENDED, user.id, who),))


def end_app_tokens(snapshot: Snapshot, who: Who) -> Changes:
    """The end of every token that any user of the app has now."""
    app = the_app(snapshot)
    changed = replace(app, cut_at=max(snapshot.now, app.cut_at) + APP_AHEAD)
    return Changes(app=changed, events=(_event(snapshot, AuditAction.APP_TOKENS_ENDED, app.id, who),))


def grant(snapshot: Snapshot, email: str, role: Role, who: Who) -> Changes:
    """A role for a person."""
    the_app(snapshot)
    if snapshot.roles.get(email) is role:
        return Changes()
    event = _event(snapshot, AuditAction.DEVELOPER_GRANTED, developer_id(email), who, role.value)
    return Changes(roles={email: role}, events=(event,))


def remove(snapshot: Snapshot, email: str, who: Who) -> Changes:
    """No role for a person any more."""
    the_app(snapshot)
    if email not in snapshot.roles:
        raise ActRefused(ActReason.UNKNOWN_DEVELOPER, "Nobody with this address has a role in the app.")
    event = _event(snapshot, AuditAction.DEVELOPER_REMOVED, developer_id(email), who)
    return Changes(roles={email: None}, events=(event,))


def restore(snapshot: Snapshot, taking: Taking, who: Who) -> Changes:
    """What was taken away, told anew to a store that forgot it; nothing when it knows, or has lost the record of
    a key or token too. A user who is lost is known again by what was taken."""
    changes = _told_anew(snapshot, taking)
    return replace(changes, events=(restored(snapshot, taking, who),)) if changes else changes


def restored(snapshot: Snapshot, taking: Taking, who: Who) -> AuditEvent:
    """The event of something that had been taken away and was forgotten, or was not known here, and is taken again."""
    action = AuditAction.REVOCATION_RESTORED
    return AuditEvent(snapshot.now, action, taking.app_id, taking.id, who.actor, who.source, taking.kind.value)


def the_user(snapshot: Snapshot, user_id: str) -> User:
    """A user of the app."""
    the_app(snapshot)
    user = snapshot.users.get(user_id)
    if user is None or user.deleted:
        raise ActRefused(ActReason.UNKNOWN_USER, "The app has no user with this id; see 'gateway users list'.")
    return user


def developer_id(email: str) -> str:
    """How events name a person: by a digest, since an address is never written into the audit."""
    return "dev_" + hashlib.sha256(b"developer:" + email.encode()).hexdigest()[:16]


def person_id(email: str) -> str:
    """What a person's own things are kept under: like an app's id, and told from one by nobody having drawn it."""
    return hashlib.sha256(b"person:" + email.encode()).hexdigest()[:24]


def _told_anew(snapshot: Snapshot, taking: Taking) -> Changes:
    match taking.kind:
        case Taken.KEY:
            key = snapshot.keys.get(taking.id)
            less = key and less_key(key, taking)
            return Changes(keys=() if less is None or less is key else (less,))
        case Taken.USER_TOKEN:
            token = snapshot.tokens.get(taking.id)
            fewer = token and less_token(token, taking)
            return Changes(tokens=() if fewer is None or fewer is token else (fewer,))
        case Taken.USER:
            if snapshot.app is None:
                return Changes()
            # A user who is lost was perhaps another issuer's, whose tokens are good without a record here.
            user = snapshot.users.get(taking.id) or User(taking.id, snapshot.app.id)
            cut = less_user(user, taking)
            return Changes(users=() if cut is user else (cut,))
        case _:  # the app
            app = snapshot.app and less_app(snapshot.app, taking)
            return Changes(app=None if app is snapshot.app else app)


def _user_meant(snapshot: Snapshot, user_id: str | None, external_id: str | None) -> User | None:
    """The one user that both ids mean, as far as they are given."""
    by_id = None if user_id is None else snapshot.users.get(user_id)
    by_external = None if external_id is None else snapshot.external(external_id)
    if by_external is not None and user_id not in {None, by_external.id}:
        raise ActRefused(
            ActReason.EXTERNAL_ID_TAKEN, f"The external id belongs to another user of the app, {by_external.id}."
        )
    if by_id is not None and external_id not in {None, by_id.external_id}:
        raise ActRefused(ActReason.EXTERNAL_ID_TAKEN, f"The user {by_id.id} has another external id, or none.")
    return by_id or by_external


def _event(snapshot: Snapshot, action: AuditAction, subject_id: str, who: Who, about: str = "") -> AuditEvent:
    return AuditEvent(snapshot.now, action, the_app(snapshot).id, subject_id, who.actor, who.source, about)
