"""What acts took away, as values that only grow: two reports of the same thing merge, in any order, to the same.

A store that is replicated can forget what it had acknowledged. What was taken away can be told anew from these values,
and telling it twice does no harm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from gateway.core.ledger import Changes, Snapshot
from gateway.core.records import App, KeyRecord, RevokedWhy, User, UserTokenRecord

_Cut = TypeVar("_Cut", App, User)


class Taken(StrEnum):
    """From what something was taken."""

    KEY = "key"
    USER_TOKEN = "user_token"  # noqa: S105 - the name of a kind, no secret
    USER = "user"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Taking:
    """What was taken from one subject, in UTC milliseconds.

    Of a key or user token its `end`: it is dead, whatever a clock says, since then; and its `shutdown` time. The least
    of each counts. Of a user or app the tokens issued at `cut` or before, and the count of switches; the largest
    of each counts.
    """

    kind: Taken
    app_id: str
    id: str
    end: int | None = None
    cut: int = 0
    switches: int = 0
    shutdown: int | None = None

    @property
    def subject(self) -> tuple[Taken, str, str]:
        """What it is about."""
        return self.kind, self.app_id, self.id

    def merged(self, other: "Taking") -> "Taking":
        """Both in one. They are about the same subject."""
        return replace(
            self,
            end=_least(self.end, other.end),
            cut=max(self.cut, other.cut),
            switches=max(self.switches, other.switches),
            shutdown=_least(self.shutdown, other.shutdown),
        )


def taken_by(before: Snapshot, changes: Changes) -> Iterator[Taking]:
    """What the changes take away (or give back, by a switch) from what the snapshot shows."""
    for key in changes.keys:
        yield from _grown(key_taking(before.keys.get(key.id)), key_taking(key))
    for token in changes.tokens:
        yield from _grown(token_taking(before.tokens.get(token.id)), token_taking(token))
    for user in changes.users:
        yield from _grown(user_taking(before.users.get(user.id)), user_taking(user))
    if changes.app is not None:
        yield from _grown(app_taking(before.app), app_taking(changes.app))


def key_taking(key: KeyRecord | None) -> Taking | None:
    """What has been taken from a key."""
    if key is None or (key.revoked_at, key.shutdown_at) == (None, None):
        return None
    return Taking(Taken.KEY, key.app_id, key.id, end=key.revoked_at, shutdown=key.shutdown_at)


def token_taking(token: UserTokenRecord | None) -> Taking | None:
    """What has been taken from a user token."""
    if token is None or (token.revoked_at, token.shutdown_at) == (None, None):
        return None
    return Taking(Taken.USER_TOKEN, token.app_id, token.id, end=token.revoked_at, shutdown=token.shutdown_at)


def user_taking(user: User | None) -> Taking | None:
    """What has been taken from a user."""
    if user is None or (user.cut_at, user.switches) == (0, 0):
        return None
    return Taking(Taken.USER, user.app_id, user.id, cut=user.cut_at, switches=user.switches)


def app_taking(app: App | None) -> Taking | None:
    """What has been taken from an app."""
    if app is None or (app.cut_at, app.switches) == (0, 0):
        return None
    return Taking(Taken.APP, app.id, app.id, cut=app.cut_at, switches=app.switches)


def less_key(key: KeyRecord, taking: Taking | None) -> KeyRecord:
    """The key without what was taken from it; the very same when that was all told before."""
    if taking is None:
        return key
    end, shutdown = _least(key.revoked_at, taking.end), _least(key.shutdown_at, taking.shutdown)
    if (end, shutdown) == (key.revoked_at, key.shutdown_at):
        return key
    why = RevokedWhy.RESTORED if key.revoked_at is None and end is not None else key.revoked_why
    return replace(key, shutdown_at=shutdown, revoked_at=end, revoked_why=why)


def less_token(token: UserTokenRecord, taking: Taking | None) -> UserTokenRecord:
    """The user token without what was taken from it; the very same when that was all told before."""
    if taking is None:
        return token
    end, shutdown = _least(token.revoked_at, taking.end), _least(token.shutdown_at, taking.shutdown)
    same = (end, shutdown) == (token.revoked_at, token.shutdown_at)
    return token if same else replace(token, revoked_at=end, shutdown_at=shutdown)


def less_user(user: User, taking: Taking | None) -> User:
    """The user without what was taken; the very same when that was all told before."""
    if taking is None:
        return user
    less = _less(user, taking)
    return replace(less, external_id=None) if less.deleted and less.external_id is not None else less


def less_app(app: App, taking: Taking | None) -> App:
    """The app without what was taken; the very same when that was all told before."""
    return app if taking is None else _less(app, taking)


def _less(one: _Cut, taking: Taking) -> _Cut:
    # A taking never gives: one that tells of an enabling says only that the disabling before it is over, and what the
    # store says of the present counts.
    disables = taking.switches % 2 == 1 and taking.switches > one.switches
    if taking.cut <= one.cut_at and not disables:
        return one
    switches = taking.switches if disables else one.switches
    return replace(one, cut_at=max(one.cut_at, taking.cut), switches=switches)


def _grown(before: Taking | None, after: Taking | None) -> Iterator[Taking]:
    if after is not None and (before is None or _grows(before, after)):
        yield after


def _least(one: int | None, other: int | None) -> int | None:
    return min((end for end in (one, other) if end is not None), default=None)


def _grows(known: Taking, taking: Taking) -> bool:
    return known.merged(taking) != known
