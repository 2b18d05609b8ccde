"""The rules of a key's life: at most ten active, rotated at the cap, ended for good.

Each function is what an `Act` decides: what the store showed, to what is to be kept; or `ActRefused`. What was wished
for has been checked for its form before (`gateway/core/wishes.py`). Lengths of time are milliseconds.

A creation that is asked for again, as its answer was lost, keeps the records as they are: nothing changes, and a store
with replicas has something to wait for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Changes, Snapshot, Who
from gateway.core.records import MAX_ACTIVE_KEYS, App, KeyRecord, RevokedWhy, ends_at, switched, works
from gateway.core.wishes import LONGEST_LIFETIME, lifetime_faults, listed


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is wished for; it lives for `lifetime` from the moment it is made, or else until `expires_at`."""

    id: str
    verifier: bytes = field(repr=False)
    name: str
    scopes: frozenset[str]
    lifetime: int
    expires_at: int | None = None


def the_app(snapshot: Snapshot) -> App:
    """The app that the act is about."""
    if snapshot.app is None:
        raise ActRefused(ActReason.UNKNOWN_APP, "There is no app with this id; see 'gateway apps list'.")
    return snapshot.app


def the_key(snapshot: Snapshot, key_id: str) -> KeyRecord:
    """A key of the app."""
    the_app(snapshot)
    key = snapshot.keys.get(key_id)
    if key is None:
        raise ActRefused(ActReason.UNKNOWN_KEY, "The app has no key with this id; see 'gateway keys list'.")
    return key


def places(keys: Iterable[KeyRecord], now: int) -> int:
    """How many of an app's ten places are taken: one by each key that works, and one, not two, by a key and its
    successor that both do."""
    working = {key.id: key for key in keys if works(key, now)}
    return len(working) - sum(key.successor in working for key in working.values())


def create_app(snapshot: Snapshot, app: App, who: Who) -> Changes:
    """A new app."""
    if snapshot.app == app:
        return Changes(app=app)
    if snapshot.app is not None:
        raise ActRefused(ActReason.ID_TAKEN, "The id of the app is taken.")
    return Changes(app=app, events=(_event(snapshot, AuditAction.APP_CREATED, app.id, app.id, who),))


def create_key(snapshot: Snapshot, wish: NewKey, who: Who) -> Changes:
    """A new key, if one of the app's ten places is free."""
    app = the_app(snapshot)
    made = _made_before(snapshot, wish)
    if made is not None:
        return Changes(keys=(made,))
    if places(snapshot.keys.values(), snapshot.now) >= MAX_ACTIVE_KEYS:
        raise ActRefused(
            ActReason.TOO_MANY_KEYS,
            f"The app has {MAX_ACTIVE_KEYS} active keys, which is all that it may have. Revoke one that is no longer"
            " needed; to renew one, rotate it.",
        )
    key = _key(snapshot, app, wish, _lifetime(wish, _latest(snapshot)), who)
    return Changes(keys=(key,), events=(_event(snapshot, AuditAction.KEY_CREATED, app.id, key.id, who),))


def rotate_key(snapshot: Snapshot, key_id: str, wish: NewKey, shutdown: int, who: Who) -> Changes:
    """A successor with the name, the scopes and the length of life of a key, which itself goes on for `shutdown`.

    Of `wish` the id and the verifier count, and its scopes, if it names any: they may be fewer, never others. The two
    take one place until both are dead, so this works at the cap.
    """
    old = the_key(snapshot, key_id)
    made = _made_before(snapshot, wish)
    if made is not None:
        return _rotated_before(old, made)
    _require_rotatable(snapshot, old)
    wider = sorted(wish.scopes - old.scopes)
    if wider:
        raise ActRefused(
            ActReason.WISH_INVALID,
            f"The key does not hold {listed(wider)}, and a successor holds no more than the key before it, which holds"
            f" {listed(old.scopes)}. For more, create a key.",
        )
    lifetime = min(old.expires_at - old.created_at, LONGEST_LIFETIME)
    wish = replace(wish, name=old.name, scopes=wish.scopes or old.scopes)
    new = _key(snapshot, the_app(snapshot), wish, lifetime, who)
    ended = replace(old, successor=new.id, shutdown_at=min(snapshot.now + shutdown, ends_at(old)))
    if shutdown == 0:
        ended = _ended(snapshot, ended, RevokedWhy.ROTATED)
    created = _event(snapshot, AuditAction.KEY_CREATED, old.app_id, new.id, who, f"successor of {old.id}")
    rotated = _event(snapshot, AuditAction.KEY_ROTATED, old.app_id, old.id, who, f"successor {new.id}")
    return Changes(keys=(ended, new), events=(created, rotated))


def rename_key(snapshot: Snapshot, key_id: str, name: str, who: Who) -> Changes:
    """Another name, which changes nothing else."""
    key = the_key(snapshot, key_id)
    if key.name == name:
        return Changes()
    event = _event(snapshot, AuditAction.KEY_RENAMED, key.app_id, key.id, who)
    return Changes(keys=(replace(key, name=name),), events=(event,))


def revoke_key(snapshot: Snapshot, key_id: str, why: RevokedWhy, who: Who) -> Changes:
    """The end of a key, now. Nothing changes when it had been revoked before; that it has expired is not enough, as
    the clock that says so may be ahead of another, or be set back."""
    key = the_key(snapshot, key_id)
    if key.revoked_at is not None:
        return Changes()
    return Changes(keys=(_ended(snapshot, key, why),), events=(_revoked(snapshot, key, why, who),))


def revoke_keys(snapshot: Snapshot, who: Who) -> Changes:
    """The end of every key of an app that works, in the order of their ids."""
    the_app(snapshot)
    living = sorted((key for key in snapshot.keys.values() if works(key, snapshot.now)), key=lambda key: key.id)
    why = RevokedWhy.ALL_OF_APP
    return Changes(
        keys=tuple(_ended(snapshot, key, why) for key in living),
        events=tuple(_revoked(snapshot, key, why, who) for key in living),
    )


def switch_app(snapshot: Snapshot, who: Who, *, disabled: bool) -> Changes:
    """Nobody of the app gets through from now on; or those with good credentials do again."""
    app = the_app(snapshot)
    if app.disabled == disabled:
        return Changes()
    action = AuditAction.APP_DISABLED if disabled else AuditAction.APP_ENABLED
    changed = replace(app, switches=switched(app.switches, disabled=disabled, now=snapshot.now))
    return Changes(app=changed, events=(_event(snapshot, action, app.id, app.id, who),))


def _require_rotatable(snapshot: Snapshot, key: KeyRecord) -> None:
    if key.successor is not None:
        raise ActRefused(ActReason.ALREADY_ROTATED, f"The key was rotated before; its successor is {key.successor}.")
    if not works(key, _latest(snapshot)):
        raise ActRefused(ActReason.KEY_ENDED, "The key has ended, and what has ended is not renewed; create a new one.")
    predecessors = (other for other in snapshot.keys.values() if other.successor == key.id)
    working = next((other for other in predecessors if works(other, snapshot.now)), None)
    if working is not None:
        raise ActRefused(
            ActReason.ROTATION_IN_PROGRESS,
            f"The key is the successor of {working.id}, which still works. Wait for its shutdown time, or revoke it.",
        )


def _latest(snapshot: Snapshot) -> int:
    """The time now, or when the newest key was made, should the store's clock have gone back since.

    What had ended by then may have given its place to that key, and must not come back for another one. To count places
    and to wait for an end the time now is used: whatever works by either clock keeps its place.
    """
    return max([snapshot.now, *(key.created_at for key in snapshot.keys.values())])


def _made_before(snapshot: Snapshot, wish: NewKey) -> KeyRecord | None:
    """This very key, if it is there: the act was done, and is asked for again as its answer was lost."""
    known = snapshot.keys.get(wish.id)
    if wish.id in snapshot.taken or (known is not None and known.verifier != wish.verifier):
        raise _taken()
    return known


def _rotated_before(old: KeyRecord, made: KeyRecord) -> Changes:
    if old.successor != made.id:
        raise _taken()
    return Changes(keys=(old, made))


def _taken() -> ActRefused:
    return ActRefused(ActReason.ID_TAKEN, "The id is taken, and no id is ever used again.")


def _lifetime(wish: NewKey, now: int) -> int:
    if wish.expires_at is None:
        return wish.lifetime
    lifetime = wish.expires_at - now
    for sentence in lifetime_faults(lifetime):
        raise ActRefused(ActReason.WISH_INVALID, sentence)
    return lifetime


def _key(snapshot: Snapshot, app: App, wish: NewKey, lifetime: int, who: Who) -> KeyRecord:
    at = _latest(snapshot)
    return KeyRecord(wish.id, app.id, wish.name, wish.scopes, wish.verifier, at, at + lifetime, created_by=who.actor)


def _ended(snapshot: Snapshot, key: KeyRecord, why: RevokedWhy) -> KeyRecord:
    return replace(key, revoked_at=snapshot.now, revoked_why=why)


def _revoked(snapshot: Snapshot, key: KeyRecord, why: RevokedWhy, who: Who) -> AuditEvent:
    return _event(snapshot, AuditAction.KEY_REVOKED, key.app_id, key.id, who, why.value)


def _event(
    snapshot: Snapshot, action: AuditAction, app_id: str, subject_id: str, who: Who, about: str = ""
) -> AuditEvent:
    return AuditEvent(snapshot.now, action, app_id, subject_id, who.actor, who.source, about)
