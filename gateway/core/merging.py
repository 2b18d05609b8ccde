"""How records of another store, or of an older state of the same one, become part of a store.

As in `gateway/core/lifecycle.py`, each function is what an `Act` decides. Whatever either side took away is taken away
afterwards: ends by the earlier, cuts by the later; and what is disabled here stays so, however often it was switched
there. What the two sides do not agree upon stays as it is here, and is named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from gateway.core.developer_tokens import token_from, token_item
from gateway.core.ledger import Asked, Changes, Item, ItemKind, Snapshot, Who
from gateway.core.lifecycle import places
from gateway.core.people import developer_id, restored
from gateway.core.records import MAX_ACTIVE_KEYS, App, KeyRecord, RevokedWhy, Role, User, UserTokenRecord, works
from gateway.core.takings import Taken, Taking, taken_by

Mergeable = App | KeyRecord | User | UserTokenRecord | Item
RecordT = TypeVar("RecordT", KeyRecord, User, UserTokenRecord)
SwitchedT = TypeVar("SwitchedT", App, User)

_NO_APP: Final = "Its app is not here."
_NO_USER: Final = "Its user is not here."
_TAKEN: Final = "Its id is taken here, by another app's credential or one of another kind."
_OTHER: Final = "Its id is here with another token."
_DIFFERS: Final = "It is here with other scopes, times or user, which stay; what was taken from it was taken here too."
_FULL: Final = f"Its app would have more than {MAX_ACTIVE_KEYS} active keys."
_OTHER_TEXT: Final = "It is here with another content, which stays."
_OTHER_NAME: Final = "It is here with another external id, or another user here has this one."


@dataclass(frozen=True, slots=True)
class Conflict:
    """What was not merged, or not wholly, and why."""

    record: Mergeable
    message: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What is to be kept, and what was not merged."""

    changes: Changes
    conflicts: tuple[Conflict, ...] = ()


def keys_sought(app_id: str, keys: Sequence[KeyRecord]) -> Asked:
    """What must be seen to merge these keys of an app."""
    return Asked(app_id, keys=tuple(key.id for key in keys))


def users_sought(app_id: str, users: Sequence[User]) -> Asked:
    """What must be seen to merge these users of an app."""
    names = tuple(user.external_id for user in users if user.external_id is not None)
    return Asked(app_id, more_users=tuple(user.id for user in users), more_external_ids=names)


def tokens_sought(app_id: str, tokens: Sequence[UserTokenRecord]) -> Asked:
    """What must be seen to merge these user tokens of an app."""
    users = tuple({token.user_id: None for token in tokens})
    return Asked(app_id, tokens=tuple(token.id for token in tokens), more_users=users)


def items_sought(owner: str, items: Sequence[Item]) -> Asked:
    """What must be seen to merge these items of an app or a person."""
    return Asked(owner, items=tuple(item.key for item in items))


def merge_app(snapshot: Snapshot, app: App, roles: Mapping[str, Role], who: Who) -> Merged:
    """An app and the roles that people have in it.

    To an app that is here no role is added: it may have been removed here, of which nothing remains but the event.
    """
    here = snapshot.app
    if here is None:
        return Merged(Changes(app=app, roles=roles))
    told = [] if here.region == app.region else [f"It lives in another region here, {here.region}."]
    told += (
        f"The role {role.value} of {developer_id(email)} was not given; grant it, if it is to be."
        for email, role in roles.items()
        if snapshot.roles.get(email) is not role
    )
    less = _less(here, app)
    changes = Changes() if less == here else Changes(app=less)
    return _with_events(snapshot, changes, (Conflict(app, sentence) for sentence in told), who)


def merge_keys(snapshot: Snapshot, keys: Sequence[KeyRecord], who: Who) -> Merged:
    """Keys of one app. What would take an eleventh place is left out."""
    book = _Book(snapshot.keys)
    for key in keys:
        here = book.known.get(key.id)
        if here is None:
            book.add(key, _key_hindrance(snapshot, book.known, key))
        elif here.verifier != key.verifier:
            book.name(key, _OTHER)
        else:
            book.change(here, _less_key(here, key))
            if (here.scopes, here.created_at, here.expires_at) != (key.scopes, key.created_at, key.expires_at):
                book.name(key, _DIFFERS)
    return _with_events(snapshot, Changes(keys=tuple(book.changed.values())), book.conflicts, who)


def merge_users(snapshot: Snapshot, users: Sequence[User], who: Who) -> Merged:
    """Users of one app."""
    book = _Book(snapshot.users)
    for user in users:
        here = book.known.get(user.id)
        namesake = _namesake(book.known.values(), user)
        if here is None:
            hindrance = _OTHER_NAME if namesake else None
            book.add(user, _NO_APP if snapshot.app is None else hindrance)
            continue
        less = _less(here, user)
        if less.external_id is None and namesake is None:
            less = replace(less, external_id=user.external_id)
        if less.deleted:
            less = replace(less, external_id=None)
        book.change(here, less)
        if user.external_id not in {None, less.external_id} and not less.deleted:
            book.name(user, _OTHER_NAME)
    return _with_events(snapshot, Changes(users=tuple(book.changed.values())), book.conflicts, who)


def merge_tokens(snapshot: Snapshot, tokens: Sequence[UserTokenRecord], who: Who) -> Merged:
    """User tokens of one app."""
    book = _Book(snapshot.tokens)
    for token in tokens:
        here = book.known.get(token.id)
        if here is None:
            book.add(token, _token_hindrance(snapshot, token))
        elif here.verifier != token.verifier:
            book.name(token, _OTHER)
        else:
            less = replace(
                here,
                revoked_at=_earlier(here.revoked_at, token.revoked_at),
                shutdown_at=_earlier(here.shutdown_at, token.shutdown_at),
                family=here.family or token.family,
            )
            book.change(here, less)
            if less != replace(token, revoked_at=less.revoked_at, shutdown_at=less.shutdown_at, family=less.family):
                book.name(token, _DIFFERS)
    return _with_events(snapshot, Changes(tokens=tuple(book.changed.values())), book.conflicts, who)


def merge_items(snapshot: Snapshot, items: Sequence[Item], who: Who) -> Merged:
    """Items of one app or person. One that is here stays as it is, but that a token ended there ends here too."""
    kept, conflicts = [], []
    for item in items:
        here = snapshot.items.get(item.key)
        is_persons = item.kind is ItemKind.DEVELOPER_TOKEN
        if here is None and snapshot.app is None and not is_persons:
            conflicts.append(Conflict(item, _NO_APP))
        elif here is None:
            kept.append(item)
        elif here != item:
            less = _less_item(here, item) if is_persons else here
            kept += [less] if less != here else []
            conflicts += [] if less == item else [Conflict(item, _OTHER_TEXT)]
    return _with_events(snapshot, Changes(items=tuple(kept)), conflicts, who)


class _Book(Generic[RecordT]):
    """The records of one kind as they are to be, which of them are new or changed, and what was not merged."""

    def __init__(self, known: Mapping[str, RecordT]) -> None:
        self.known: dict[str, RecordT] = dict(known)
        self.changed: dict[str, RecordT] = {}
        self.conflicts: list[Conflict] = []

    def add(self, record: RecordT, hindrance: str | None) -> None:
        """Take in what is not here, if nothing hinders it."""
        if hindrance is None:
            self.known[record.id] = self.changed[record.id] = record
        else:
            self.name(record, hindrance)

    def change(self, here: RecordT, less: RecordT) -> None:
        """Put a record in the place of one that is here."""
        if less != here:
            self.known[less.id] = self.changed[less.id] = less

    def name(self, record: RecordT, message: str) -> None:
        """Name what was not merged, or not wholly."""
        self.conflicts.append(Conflict(record, message))


def _key_hindrance(snapshot: Snapshot, known: Mapping[str, KeyRecord], key: KeyRecord) -> str | None:
    if snapshot.app is None:
        return _NO_APP
    if key.id in snapshot.taken:
        return _TAKEN
    if not works(key, snapshot.now):
        return None
    working = [other for other in (*known.values(), key) if works(other, snapshot.now)]
    # A chain of successors all of which work takes one place, and is not to be had by rotating.
    fits = places(working, snapshot.now) <= MAX_ACTIVE_KEYS and len(working) <= 2 * MAX_ACTIVE_KEYS
    return None if fits else _FULL


def _less(here: SwitchedT, there: SwitchedT) -> SwitchedT:
    """What is here without what was taken there. Only a person enables, never a merge: a larger count that would is
    taken for one more."""
    most = max(here.switches, there.switches)
    switches = most + 1 if here.disabled and most % 2 == 0 else most
    return replace(here, switches=switches, cut_at=max(here.cut_at, there.cut_at))


def _less_key(here: KeyRecord, key: KeyRecord) -> KeyRecord:
    revoked_at = _earlier(here.revoked_at, key.revoked_at)
    why = here.revoked_why if revoked_at == here.revoked_at else key.revoked_why or RevokedWhy.IMPORTED
    return replace(
        here,
        shutdown_at=_earlier(here.shutdown_at, key.shutdown_at),
        revoked_at=revoked_at,
        revoked_why=why,
        successor=here.successor or key.successor,
    )


def _less_item(here: Item, there: Item) -> Item:
    """A developer's token that is here without what was taken from it there."""
    token, other = token_from(here), token_from(there)
    return token_item(replace(token, revoked_at=_earlier(token.revoked_at, other.revoked_at)))


def _token_hindrance(snapshot: Snapshot, token: UserTokenRecord) -> str | None:
    if snapshot.app is None:
        return _NO_APP
    if token.id in snapshot.taken:
        return _TAKEN
    return None if token.user_id in snapshot.users else _NO_USER


def _namesake(users: Iterable[User], user: User) -> User | None:
    """Another user with the same external id."""
    if user.external_id is None:
        return None
    return next((other for other in users if other.external_id == user.external_id and other.id != user.id), None)


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((end for end in (one, other) if end is not None), default=None)


def _with_events(snapshot: Snapshot, changes: Changes, conflicts: Iterable[Conflict], who: Who) -> Merged:
    """With an event for each record that was here and lost something. What is new, the audit of its store tells of."""
    here = {*snapshot.keys, *snapshot.users, *snapshot.tokens, *([snapshot.app.id] if snapshot.app else [])}
    events = tuple(
        restored(snapshot, taking, who)
        for taking in taken_by(snapshot, changes)
        if taking.id in here and _takes(snapshot, taking)
    )
    return Merged(replace(changes, events=events), tuple(conflicts))


def _takes(snapshot: Snapshot, taking: Taking) -> bool:
    """Whether what was here lost anything: by a switch only what was enabled does, and is disabled now."""
    before = snapshot.app if taking.kind is Taken.APP else snapshot.users.get(taking.id)
    if before is None or taking.kind not in {Taken.APP, Taken.USER}:
        return True
    return taking.cut > before.cut_at or (taking.switches % 2 == 1 and not before.disabled)
