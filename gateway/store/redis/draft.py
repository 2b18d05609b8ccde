"""What acts have made of an app, as one step that the server takes or leaves: checks, writes, events, one message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.ledger import Changes, Item, ItemKey
from gateway.core.records import KeyRecord, User, UserTokenRecord, ends_at
from gateway.core.takings import Taking
from gateway.store.redis.encoding import (
    decode_item,
    decode_user,
    encode_app,
    encode_elsewhere,
    encode_event,
    encode_item,
    encode_key,
    encode_takings,
    encode_user,
)
from gateway.store.redis.layout import (
    apps_key,
    audit_key,
    id_key,
    identity_key,
    item_key,
    items_key,
    listed_as,
    owners_key,
    tag_of,
)
from gateway.store.redis.nodes import Question
from gateway.store.redis.packed import encode_token
from gateway.store.redis.scripts import CLAIM, COMMIT, Argument
from gateway.store.redis.standing import Standing, Where

# An expired key stays among those that may still work for this long, so that a server's clock that was set back finds
# it there when it counts.
LINGERING: Final = 60 * 60 * 1000

# An item is kept for so long after its end. With each one that is written some of those go that are over, so that they
# never pile up between two sweeps.
KEPT_AFTER_END: Final = 24 * 60 * 60 * 1000
FORGOTTEN: Final = 10

Write = tuple[str, str, *tuple[Argument, ...]]  # command, key, arguments


@dataclass(frozen=True, slots=True)
class Claim:
    """That an id, which begins as those of another slot tag do, is to lie under this one."""

    credential_id: str
    tag: str


class Draft:
    """The changes of some acts, in order, to an app as it stood. Without changes it is empty, and not written."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._changes: list[Changes] = []
        self.takings: list[Taking] = []

    def __bool__(self) -> bool:
        return bool(self._changes)

    def add(self, changes: Changes, takings: Iterator[Taking]) -> None:
        """Let one more act's changes be written."""
        if changes:
            self._changes.append(changes)
            self.takings += takings
            self._standing.change(changes)

    def claims(self) -> list[Claim]:
        """What is to be written before, under the own tags of new ids: that they lie under the app's tag."""
        new = {*self._written_keys(), *self._written_tokens()} & self._standing.unclaimed
        return [Claim(one, self._standing.names.tag) for one in sorted(new)]

    def writing(self, identity: str) -> Question:
        """What is to be written, if everything that was asked for is as it was."""
        if not self:
            return commit(self._standing.names.tag, identity, {}, [])
        checks = dict(self._standing.found)
        writes = [
            *self._app(),
            *self._keys(checks),
            *self._tokens(checks),
            *self._users(checks),
            *self._roles(),
            *self._items(checks),
        ]
        events = [encode_event(event) for changes in self._changes for event in changes.events]
        takings = encode_takings(self.takings) if self.takings else b""
        return commit(self._standing.names.tag, identity, checks, writes, takings, events)

    def _app(self) -> Iterator[Write]:
        """The app, with another version when what it guards has changed: it, its keys, or its roles."""
        standing = self._standing
        if standing.app is None or not any(one.app or one.keys or one.roles for one in self._changes):
            return
        name = standing.names.of("app")
        yield "SET", name, encode_app(name, standing.app, standing.version + 1)
        if not standing.found[name, ""]:
            yield "SADD", apps_key(standing.names.tag), standing.app.id

    def _keys(self, checks: dict[Where, bytes]) -> Iterator[Write]:
        standing, names = self._standing, self._standing.names
        for key in self._written_keys().values():
            name = id_key(names.tag, key.id)
            yield "SET", name, encode_key(name, key)
            # What is listed is guarded by the app's version.
            if key.id not in standing.listed and not checks.setdefault((name, ""), b""):
                yield "ZADD", names.of("keys"), key.created_at, key.id
        for key_id in sorted(standing.living):
            may_work = _may_work(standing.keys[key_id], standing.now)
            if may_work and key_id not in standing.listed:
                yield "SADD", names.of("living"), key_id
            elif not may_work and key_id in standing.listed:
                yield "SREM", names.of("living"), key_id

    def _tokens(self, checks: dict[Where, bytes]) -> Iterator[Write]:
        for token in self._written_tokens().values():
            name = id_key(self._standing.names.tag, token.id)
            checks.setdefault((name, ""), b"")
            yield "SET", name, encode_token(name, token)

    def _users(self, checks: dict[Where, bytes]) -> Iterator[Write]:
        names = self._standing.names
        known: list[Write] = []
        for user in {user.id: user for one in self._changes for user in one.users}.values():
            name = names.user(user.id)
            before = self._user_before(name, user, checks.setdefault((name, ""), b""))
            yield "SET", name, encode_user(name, user)
            if before is None:
                yield "SADD", names.of("users"), user.id
            known_as = None if before is None else before.external_id
            if known_as == user.external_id:
                continue
            if known_as is not None:
                yield "HDEL", names.of("external"), known_as
            if user.external_id is not None:
                checks.setdefault((names.of("external"), user.external_id), b"")
                known.append(("HSET", names.of("external"), user.external_id, user.id))
        yield from known  # last, so that one user may have the external id that was another's

    def _roles(self) -> Iterator[Write]:
        name = self._standing.names.of("roles")
        roles = {email: role for one in self._changes for email, role in one.roles.items()}
        for email, role in roles.items():
            if role is None:
                yield "HDEL", name, email
            else:
                yield "HSET", name, email, role.value

    def _items(self, checks: dict[Where, bytes]) -> Iterator[Write]:
        tag, written = self._standing.names.tag, self._written_items()
        kept = [item for item in written.values() if item is not None]
        # Before what is written, so that something that begins anew is not forgotten.
        for kind, owner in dict.fromkeys((item.kind, item.owner) for item in kept):
            over = self._standing.now - KEPT_AFTER_END
            yield "FORGET", items_key(tag, kind, owner), over, FORGOTTEN, item_key(tag, kind, "")
            yield "SADD", owners_key(tag), listed_as(kind, owner)
        for item in kept:
            if not tag == tag_of(item.id) == tag_of(item.owner):
                raise ValueError(f"An item of the kind {item.kind} is not under the slot tag of the act.")
            name = item_key(tag, *item.key)
            checks.setdefault((name, ""), b"")
            yield "SET", name, encode_item(name, item)
            yield (
                "ZADD",
                items_key(tag, item.kind, item.owner),
                "+inf" if item.ends_at is None else item.ends_at,
                item.id,
            )
        for key in written.keys() - {item.key for item in kept}:
            name = item_key(tag, *key)
            if there := checks.setdefault((name, ""), b""):
                yield "DEL", name
                yield "ZREM", items_key(tag, key[0], decode_item(name, key, there).owner), key[1]

    def _user_before(self, name: str, user: User, text: bytes) -> User | None:
        return decode_user(name, user.app_id, user.id, text) if text else None

    def _written_keys(self) -> dict[str, KeyRecord]:
        return {key.id: key for one in self._changes for key in one.keys}

    def _written_tokens(self) -> dict[str, UserTokenRecord]:
        return {token.id: token for one in self._changes for token in one.tokens}

    def _written_items(self) -> dict[ItemKey, Item | None]:
        """What becomes of items; of those that are dropped, None."""
        written: dict[ItemKey, Item | None] = {}
        for one in self._changes:
            written |= {item.key: item for item in one.items}
            written |= dict.fromkeys(one.dropped)
        return written


def _may_work(key: KeyRecord, now: int) -> bool:
    return key.revoked_at is None and ends_at(key) + LINGERING > now


def claiming(tag: str, identity: str, claims: Sequence[Claim]) -> Question:
    """What claims ids that begin with one slot tag; the answer tells of each whether it was free."""
    names = [id_key(tag, claim.credential_id) for claim in claims]
    values = [encode_elsewhere(name, claim.tag) for name, claim in zip(names, claims, strict=True)]
    return tag, CLAIM.call([identity_key(tag), *names], [identity, *values])


def commit(
    tag: str,
    identity: str,
    checks: dict[Where, bytes],
    writes: list[Write],
    takings: bytes = b"",
    events: Sequence[bytes] = (),
) -> Question:
    """What writes something under a slot tag, if it finds what it is to find; keys are named by their number."""
    keys = [identity_key(tag), audit_key(tag)]
    numbers: dict[str, int] = {}

    def number(key: str) -> int:
        if key not in numbers:
            keys.append(key)
            numbers[key] = len(keys)
        return numbers[key]

    arguments: list[Argument] = [identity, takings, len(checks)]
    for (key, field), expected in checks.items():
        arguments += number(key), field, expected
    arguments.append(len(writes))
    for command, key, *rest in writes:
        arguments += len(rest), command, number(key), *rest
    return tag, COMMIT.call(keys, [*arguments, *events])
