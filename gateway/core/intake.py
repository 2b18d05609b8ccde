"""The rules for tokens that exist elsewhere: which rows an app takes in, each by itself.

As in `gateway/core/lifecycle.py`, each function is what an `Act` decides. It takes many rows at once, and raises
nothing: what it refused it gives beside the changes. No two rows of one call have the same id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.intake_rows import KeyRow, RowReason, RowRefused, TokenRow
from gateway.core.ledger import Asked, Changes, Snapshot, Who
from gateway.core.lifecycle import places
from gateway.core.records import MAX_ACTIVE_KEYS, KeyRecord, User, UserTokenRecord, ends_at

RowT = TypeVar("RowT", KeyRow, TokenRow)

TAKEN: Final = "The id is taken, and no id is ever used again."


@dataclass(frozen=True, slots=True)
class Admitted(Generic[RowT]):
    """What came of some rows: what is to be kept, which were refused and why, and how many are here already."""

    changes: Changes
    refused: tuple[tuple[RowT, RowRefused], ...] = ()
    known: int = 0


@dataclass(frozen=True, slots=True)
class Promised:
    """What rows judged before were promised and a snapshot does not show, as nothing is kept: places, and users."""

    places: int = 0
    users: tuple[User, ...] = ()


def keys_asked(app_id: str, rows: Sequence[KeyRow]) -> Asked:
    """What must be seen to judge these rows of an app."""
    return Asked(app_id, keys=tuple(row.id for row in rows))


def tokens_asked(app_id: str, rows: Sequence[TokenRow]) -> Asked:
    """What must be seen to judge these rows of an app."""
    return Asked(
        app_id,
        tokens=tuple(row.id for row in rows),
        more_users=tuple({row.user_id: None for row in rows if row.user_id}),
        more_external_ids=tuple({row.external_id: None for row in rows if row.external_id}),
    )


def admit_keys(snapshot: Snapshot, rows: Sequence[KeyRow], who: Who, promised: Promised) -> Admitted[KeyRow]:
    """Rows of one app as keys of it, never more than ten of them active with those that are there."""
    known = 0
    made: list[KeyRecord] = []
    refused: list[tuple[KeyRow, RowRefused]] = []
    free = MAX_ACTIVE_KEYS - promised.places - places(snapshot.keys.values(), snapshot.now)
    for row in rows:
        works = row.expires_at > snapshot.now
        try:
            if _taken_before(snapshot, row, snapshot.keys.get(row.id)):
                known += 1
                continue
            if works and free <= 0:
                raise RowRefused(
                    RowReason.TOO_MANY_KEYS, f"The app would have more than {MAX_ACTIVE_KEYS} active keys."
                )
        except RowRefused as refusal:
            refused.append((row, refusal))
            continue
        free -= works
        made.append(
            KeyRecord(row.id, row.app_id, row.name, row.scopes, row.verifier, row.created_at, row.expires_at, who.actor)
        )
    events = tuple(_event(snapshot, AuditAction.KEY_IMPORTED, key, who) for key in made)
    return Admitted(Changes(keys=tuple(made), events=events), tuple(refused), known)


def admit_tokens(snapshot: Snapshot, rows: Sequence[TokenRow], who: Who, promised: Promised) -> Admitted[TokenRow]:
    """Rows of one app as tokens of its users, who are made unless they are there."""
    known = 0
    people = _People([*promised.users, *snapshot.users.values()])
    made: list[UserTokenRecord] = []
    refused: list[tuple[TokenRow, RowRefused]] = []
    for row in rows:
        try:
            if _taken_before(snapshot, row, snapshot.tokens.get(row.id)):
                known += 1
                continue
            user = people.meant_by(row)
        except RowRefused as refusal:
            refused.append((row, refusal))
            continue
        made.append(UserTokenRecord(row.id, row.app_id, user.id, row.verifier, row.created_at, row.expires_at))
    births = [_event(snapshot, AuditAction.USER_CREATED, user, who) for user in people.made]
    arrivals = [_event(snapshot, AuditAction.USER_TOKEN_IMPORTED, token, who) for token in made]
    changes = Changes(users=tuple(people.made), tokens=tuple(made), events=(*births, *arrivals))
    return Admitted(changes, tuple(refused), known)


class _People:
    """The users of an app, as rows find and make them."""

    def __init__(self, users: Iterable[User]) -> None:
        self._by_id: dict[str, User] = {}
        self._by_external: dict[str, User] = {}
        self.made: list[User] = []
        for user in users:
            self._learn(user)

    def meant_by(self, row: TokenRow) -> User:
        """The one user whom both ids mean, as far as they are given; a new one when there is none."""
        by_id = None if row.user_id is None else self._by_id.get(row.user_id)
        by_external = None if row.external_id is None else self._by_external.get(row.external_id)
        if by_external is not None and row.user_id not in {None, by_external.id}:
            raise RowRefused(
                RowReason.EXTERNAL_ID_TAKEN, f"The external id belongs to another user of the app, {by_external.id}."
            )
        if by_id is not None and row.external_id not in {None, by_id.external_id}:
            raise RowRefused(RowReason.EXTERNAL_ID_TAKEN, f"The user {by_id.id} has another external id, or none.")
        return by_id or by_external or self._new(row)

    def _new(self, row: TokenRow) -> User:
        user = User(row.user_id or row.new_user_id, row.app_id, row.external_id)
        self.made.append(user)
        self._learn(user)
        return user

    def _learn(self, user: User) -> None:
        self._by_id[user.id] = user
        if user.external_id is not None:
            self._by_external[user.external_id] = user


def _taken_before(snapshot: Snapshot, row: KeyRow | TokenRow, record: KeyRecord | UserTokenRecord | None) -> bool:
    """Whether this very row was taken in before; False when its id is free."""
    if snapshot.app is None:
        raise RowRefused(RowReason.UNKNOWN_APP, "There is no app with this id; see 'gateway apps list'.")
    if row.id in snapshot.taken:
        raise RowRefused(RowReason.ID_TAKEN, TAKEN)
    if record is None:
        # It would outlive what ends "every token issued until now".
        if row.created_at > snapshot.now:
            raise RowRefused(RowReason.LIFETIME_INVALID, "The creation lies in the future.")
        return False
    if not _tells_of(row, record):
        raise RowRefused(RowReason.ID_TAKEN, "The id is here with another token, or with other scopes, times or user.")
    end = ends_at(record)
    if end <= snapshot.now and end < record.expires_at:
        raise RowRefused(RowReason.ID_ENDED, "The token with this id was ended here, and what has ended stays so.")
    return True


def _tells_of(row: KeyRow | TokenRow, record: KeyRecord | UserTokenRecord) -> bool:
    """Whether the record is what became of the row. The name of a key may have been changed since."""
    if (row.verifier, row.created_at, row.expires_at) != (record.verifier, record.created_at, record.expires_at):
        return False
    if isinstance(row, KeyRow):
        return isinstance(record, KeyRecord) and row.scopes == record.scopes
    return isinstance(record, UserTokenRecord) and row.user_id in {None, record.user_id}


def _event(snapshot: Snapshot, action: AuditAction, record: KeyRecord | UserTokenRecord | User, who: Who) -> AuditEvent:
    return AuditEvent(snapshot.now, action, record.app_id, record.id, who.actor, who.source)
