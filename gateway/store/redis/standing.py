"""How an app stands in the store: read in one step, then shown to one act after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.ledger import Asked, Changes, Item, ItemKey, Snapshot
from gateway.core.records import App, KeyRecord, Role, User, UserTokenRecord
from gateway.store.redis.encoding import (
    ELSEWHERE,
    KEY,
    decode_app,
    decode_elsewhere,
    decode_item,
    decode_key,
    decode_roles,
    decode_user,
)
from gateway.store.redis.faults import Garbled
from gateway.store.redis.layout import Names, id_key, identity_key, item_key, tag_of
from gateway.store.redis.nodes import Question
from gateway.store.redis.packed import TOKENS, decode_token
from gateway.store.redis.scripts import LOOKUP, SNAPSHOT, Argument

# Where a value lies: the name of its key, and the field of a hash or "".
Where = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that some acts about one app ask for, each once."""

    names: Names
    ids: tuple[str, ...]
    users: tuple[str, ...]
    external_ids: tuple[str, ...]
    items: tuple[ItemKey, ...]
    roles: bool

    @classmethod
    def by(cls, asked: Sequence[Asked]) -> "Wanted":
        """What these ask for; they are about the same app."""
        return cls(
            Names(asked[0].app_id),
            tuple(dict.fromkeys(one for each in asked for one in (*each.keys, *each.tokens))),
            tuple(dict.fromkeys(one for each in asked for one in each.users)),
            tuple(dict.fromkeys(one for each in asked for one in each.external_ids)),
            tuple(dict.fromkeys(one for each in asked for one in each.items)),
            any(each.roles for each in asked),
        )

    @property
    def strangers(self) -> list[str]:
        """The ids of another tag than the app's: it has to be looked up under theirs where they are."""
        return [one for one in self.ids if tag_of(one) != self.names.tag]

    def question(self) -> Question:
        """What to ask the app's server."""
        names, tag = self.names, self.names.tag
        keys = [
            identity_key(tag),
            *(names.of(what) for what in ("app", "living", "external", "roles")),
            *(id_key(tag, one) for one in self.ids),
            *(names.user(one) for one in self.users),
            *(item_key(tag, *one) for one in self.items),
        ]
        arguments: list[Argument] = [f"{{{tag}}}:", names.app_id, int(self.roles), *self.external_ids]
        return tag, SNAPSHOT.call(keys, arguments)


def lookup(credential_id: str, tag: str = "") -> Question:
    """The question what lies under an id, under its own slot tag or another."""
    tag = tag or tag_of(credential_id)
    return tag, LOOKUP.call([identity_key(tag), id_key(tag, credential_id)], [f"{{{tag}}}:"])


@dataclass(slots=True)
class Standing:
    """An app as it stood at `now`, and what acts have made of it since.

    `found` is what lay where, of what was asked for; `listed` are the keys that were listed as living.
    """

    names: Names
    now: int
    app: App | None
    version: int
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    living: set[str] = field(default_factory=set)
    tokens: dict[str, UserTokenRecord] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    items: dict[ItemKey, Item] = field(default_factory=dict)
    occupied: set[str] = field(default_factory=set)
    unclaimed: set[str] = field(default_factory=set)  # strangers that nobody has
    found: dict[Where, bytes] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()

    def seen_by(self, asked: Asked) -> Snapshot:
        """What one act is to see."""
        keys = {one: self.keys[one] for one in {*self.living, *asked.keys} if one in self.keys}
        users = {one: self.users[one] for one in asked.users if one in self.users}
        for external_id in asked.external_ids:
            if external_id in self.external:
                users[self.external[external_id]] = self.users[self.external[external_id]]
        taken = {one for one in asked.keys if one in self.occupied and one not in self.keys}
        taken |= {one for one in asked.tokens if one in self.occupied and one not in self.tokens}
        return Snapshot(
            self.now,
            self.app,
            keys,
            users,
            {one: self.tokens[one] for one in asked.tokens if one in self.tokens},
            dict(self.roles) if asked.roles else {},
            frozenset(taken),
            {one: self.items[one] for one in asked.items if one in self.items},
        )

    def change(self, changes: Changes) -> None:
        """Let the acts that follow see what one has changed."""
        self.app = changes.app or self.app
        for key in changes.keys:
            self.keys[key.id] = key
            self.living.add(key.id)
        self.tokens |= {token.id: token for token in changes.tokens}
        self.occupied |= {*self.keys, *self.tokens}
        for user in changes.users:
            before = self.users.get(user.id)
            if before is not None and before.external_id is not None:
                self.external.pop(before.external_id, None)
            self.users[user.id] = user
            if user.external_id is not None:
                self.external[user.external_id] = user.id
        for email, role in changes.roles.items():
            if role is None:
                self.roles.pop(email, None)
            else:
                self.roles[email] = role
        self.items |= {item.key: item for item in changes.items}
        for gone in changes.dropped:
            self.items.pop(gone, None)


def standing(wanted: Wanted, answer: Any, strangers: Mapping[str, bytes | None]) -> Standing:
    """How the app stands, by the answer to the snapshot and what lies under the strangers' own tags."""
    _, name, (seconds, microseconds), app, living, keys, found, external, roles = answer
    names, tag = wanted.names, wanted.names.tag
    if name != names.of("app").encode():
        raise Garbled
    now = int(seconds) * 1000 + int(microseconds) // 1000
    it = Standing(names, now, None, 0)
    if app is not None:
        known = decode_app(names.of("app"), names.app_id, app)
        it.app, it.version = known.app, known.version
    it.found[names.of("app"), ""] = app or b""
    for raw_id, text in zip(living, keys, strict=True):
        record = decode_key(id_key(tag, raw_id.decode()), raw_id.decode(), text)
        it.keys[record.id] = record
    it.living |= it.keys.keys()
    it.occupied |= it.living
    it.listed = frozenset(it.living)
    texts = iter(found)
    for one, text in zip(wanted.ids, texts, strict=False):
        _read_id(it, tag, one, text)
    for one, text in strangers.items():
        _read_stranger(it, one, text)
    for one, text in zip(wanted.users, texts, strict=False):
        _read_user(it, one, text)
    for key, text in zip(wanted.items, texts, strict=True):
        _read_item(it, key, text)
    for number, external_id in enumerate(wanted.external_ids):
        user_id, text = external[2 * number : 2 * number + 2]
        it.found[names.of("external"), external_id] = user_id or b""
        if user_id is not None:
            _read_user(it, user_id.decode(), text)
            it.external[external_id] = it.users[user_id.decode()].id
    it.roles = decode_roles(dict(zip(roles[::2], roles[1::2], strict=True)))
    return it


def _read_id(it: Standing, tag: str, credential_id: str, text: bytes | None) -> None:
    name = id_key(tag, credential_id)
    it.found[name, ""] = text or b""
    if text is None:
        return
    it.occupied.add(credential_id)
    if text.startswith(KEY):
        key = decode_key(name, credential_id, text)
        if key.app_id == it.names.app_id:
            it.keys[key.id] = key
    elif text.startswith(TOKENS):
        token = decode_token(name, credential_id, text)
        if token.app_id == it.names.app_id:
            it.tokens[token.id] = token
    else:
        decode_elsewhere(name, text)


def _read_stranger(it: Standing, credential_id: str, text: bytes | None) -> None:
    if text is None:
        it.unclaimed.add(credential_id)
    elif not text.startswith(ELSEWHERE):
        it.occupied.add(credential_id)  # one of those that the app of that tag has
    elif decode_elsewhere(id_key(tag_of(credential_id), credential_id), text) != it.names.tag:
        it.occupied.add(credential_id)


def _read_user(it: Standing, user_id: str, text: bytes | None) -> None:
    name = it.names.user(user_id)
    it.found[name, ""] = text or b""
    if text is not None:
        it.users[user_id] = decode_user(name, it.names.app_id, user_id, text)


def _read_item(it: Standing, key: ItemKey, text: bytes | None) -> None:
    name = item_key(it.names.tag, *key)
    it.found[name, ""] = text or b""
    if text is not None:
        it.items[key] = decode_item(name, key, text)
