"""Everything that a store keeps as lines of a file, and back: a JSON object a line, each in the one way to write it.

A line that is read is held to what may be wished for, and to be just what would be written of its record: no member
twice, no other order, no space.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import orjson

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.developer_tokens import token_from
from gateway.core.families import families_from
from gateway.core.incidents import incident_of
from gateway.core.ledger import Item, ItemKind
from gateway.core.notices import notice_of
from gateway.core.records import App, Developer, KeyRecord, RevokedWhy, Role, User, UserTokenRecord
from gateway.core.times import LAST_MOMENT
from gateway.core.wishes import email_faults, name_faults, user_faults

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class LastUsed:
    """When a key was last used."""

    id: str
    at: int


Values = Mapping[str, object]
Portable = App | KeyRecord | User | UserTokenRecord | Developer | Item | Numbered | Seal | LastUsed

_APP_ID: Final = re.compile(r"[0-9a-f]{24}\Z")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_SCOPES: Final = re.compile(r"[!-~]+(?: [!-~]+)*\Z")
_CHAIN: Final = re.compile(r"[0-9a-f]{32}/[0-9a-z]{1,16}\Z")
_ITEM_ID: Final = re.compile(r"[0-9a-f]{2}[!-~]{1,200}\Z")
_ANY: Final = re.compile(r"(?s).*\Z")
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,1024}\Z")

# What is carried of the items, and who understands their texts. Codes and repeats are a matter of minutes and hours.
_ITEMS: Final[Mapping[ItemKind, Callable[[Item], object]]] = {
    ItemKind.FAMILIES: families_from,
    ItemKind.INCIDENT: incident_of,
    ItemKind.NOTICE: notice_of,
    ItemKind.DEVELOPER_TOKEN: token_from,
}
CARRIED: Final = tuple(_ITEMS)

_LARGEST: Final = 1 << 53  # what every reader of JSON takes for a whole number


class NotPortable(ValueError):
    """The line is none of an export. The message is a sentence that repeats nothing of it."""


def line_of(record: Portable) -> bytes:
    """The line of a record, with its end."""
    kind, write = _KIND[type(record)]
    return orjson.dumps({"kind": kind, **write(record)}, option=orjson.OPT_APPEND_NEWLINE)


def kind_of(record: Portable) -> str:
    """What the lines of such records say that they are."""
    return _KIND[type(record)][0]


def record_of(line: bytes) -> Portable:
    """The record that `line_of` wrote. Raises `NotPortable` for anything else."""
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:  # whose message would repeat the line
        raise NotPortable("This is no JSON.") from None
    members = _Members(values if isinstance(values, dict) else {})
    read = _READ.get(members.text("kind"))
    if read is None:
        raise NotPortable("There are no records of this kind.")
    record = read(members)
    if line_of(record) != line:
        raise NotPortable("This is not as an export writes it.")
    return record


def is_readable(item: Item) -> bool:
    """Whether an item that is carried says what those of its kind do."""
    try:
        _ITEMS[item.kind](item)
    except (ValueError, RecursionError):  # the latter of a text of a hundred thousand brackets
        return False
    return True


def _app_values(app: App) -> Values:
    return {
        "id": app.id,
        "name": app.name,
        "region": app.region,
        "account": app.account,
        "switches": app.switches,
        "cut_at": app.cut_at,
    }


def _user_values(user: User) -> Values:
    return {
        "id": user.id,
        "app": user.app_id,
        "external_id": user.external_id,
        "switches": user.switches,
        "cut_at": user.cut_at,
    }


def _token_values(token: UserTokenRecord) -> Values:
    return {
        "id": token.id,
        "app": token.app_id,
        "user": token.user_id,
        "sha256": token.verifier.hex(),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        # As files of before there was either have it.
        **({} if token.shutdown_at is None else {"shutdown_at": token.shutdown_at}),
        **({"family": token.family} if token.family else {}),
    }


def _key_values(key: KeyRecord) -> Values:
    return {
        "id": key.id,
        "app": key.app_id,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "sha256": key.verifier.hex(),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "created_by": key.created_by,
        "shutdown_at": key.shutdown_at,
        "revoked_at": key.revoked_at,
        "revoked_why": key.revoked_why,
        "successor": key.successor,
    }


@dataclass(frozen=True, slots=True)
class _Members:
    """The members of an object, each of the type that it is asked for as."""

    values: Values

    def text(self, name: str, shape: re.Pattern[str] = _PLAIN) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or shape.match(value) is None:
            raise _wrong(name)
        return value

    def text_or_none(self, name: str, shape: re.Pattern[str] = _PLAIN) -> str | None:
        return None if self.values.get(name) is None else self.text(name, shape)

    def number(self, name: str) -> int:
        value = self.values.get(name)
        if type(value) is not int or not 0 <= value < _LARGEST:
            raise _wrong(name)
        return value

    def time(self, name: str) -> int:
        value = self.number(name)
        if value > LAST_MOMENT:
            raise _wrong(name)
        return value

    def time_or_none(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.time(name)

    def one_of(self, choices: type[E], name: str) -> E:
        try:
            return choices(self.text(name))
        except ValueError:
            raise _wrong(name) from None

    def verifier(self) -> bytes:
        return bytes.fromhex(self.text("sha256", _DIGEST))

    def name(self, name: str) -> str:
        text = self.text(name)
        _require(name, name_faults(text))
        return text


def _read_app(members: _Members) -> App:
    account = members.name("account") if members.text("account") else ""
    more = account, members.number("switches"), members.time("cut_at")
    return App(members.text("id", _APP_ID), members.name("name"), members.text("region"), *more)


def _read_key(members: _Members) -> KeyRecord:
    return KeyRecord(
        members.text("id", _KEY_ID),
        members.text("app", _APP_ID),
        members.name("name"),
        frozenset(members.text("scopes", _SCOPES).split(" ")),
        members.verifier(),
        members.time("created_at"),
        members.time("expires_at"),
        members.text("created_by"),
        members.time_or_none("shutdown_at"),
        members.time_or_none("revoked_at"),
        None if members.text_or_none("revoked_why") is None else members.one_of(RevokedWhy, "revoked_why"),
        members.text_or_none("successor", _KEY_ID),
    )


def _read_user(members: _Members) -> User:
    user_id, external_id = members.text("id"), members.text_or_none("external_id")
    _require("id or external_id", user_faults(user_id, external_id))
    more = external_id, members.number("switches"), members.time("cut_at")
    return User(user_id, members.text("app", _APP_ID), *more)


def _read_token(members: _Members) -> UserTokenRecord:
    user_id = members.text("user")
    _require("user", user_faults(user_id, None))
    times = members.time("created_at"), members.time("expires_at"), members.time_or_none("revoked_at")
    token_id, app_id = members.text("id", _KEY_ID), members.text("app", _APP_ID)
    family = members.text_or_none("family", _KEY_ID) or ""
    return UserTokenRecord(
        token_id, app_id, user_id, members.verifier(), *times, members.time_or_none("shutdown_at"), family
    )


def _read_item(members: _Members) -> Item:
    owner = members.text("owner", _APP_ID)
    ends_at = members.time_or_none("ends_at")
    item = Item(
        members.one_of(ItemKind, "of"), members.text("id", _ITEM_ID), owner, members.text("text", _ANY), ends_at
    )
    if not (item.id.startswith(owner[:2]) and item.kind in _ITEMS and is_readable(item)):
        raise _wrong("text")
    return item


def _read_developer(members: _Members) -> Developer:
    email = members.text("email")
    _require("email", email_faults(email))
    return Developer(members.text("app", _APP_ID), email, members.one_of(Role, "role"))


def _read_event(members: _Members) -> Numbered:
    app_id, subject, actor, source, about = map(members.text, ("app", "subject", "actor", "source", "about"))
    event = AuditEvent(members.time("at"), members.one_of(AuditAction, "action"), app_id, subject, actor, source, about)
    return Numbered(members.text("chain", _CHAIN), members.number("number"), event)


def _read_seal(members: _Members) -> Seal:
    span = members.text("chain", _CHAIN), members.number("first"), members.number("last"), members.time("at")
    return Seal(*span, members.text("digest"), members.text("signature"), members.text("signer"))


def _read_last_used(members: _Members) -> LastUsed:
    return LastUsed(members.text("id", _KEY_ID), members.time("at"))


def _developer_values(developer: Developer) -> Values:
    return {"app": developer.app_id, "email": developer.email, "role": developer.role}


def _item_values(item: Item) -> Values:
    return {"of": item.kind, "id": item.id, "owner": item.owner, "text": item.text, "ends_at": item.ends_at}


def _event_values(numbered: Numbered) -> Values:
    return {"chain": numbered.chain, "number": numbered.number, **numbered.event.as_json()}


# The kind of each record, how it is written and how it is read.
_KINDS: Final[Sequence[tuple[type, str, Callable[[Any], Values], Callable[[_Members], Portable]]]] = (
    (App, "app", _app_values, _read_app),
    (KeyRecord, "key", _key_values, _read_key),
    (User, "user", _user_values, _read_user),
    (UserTokenRecord, "user_token", _token_values, _read_token),
    (Developer, "developer", _developer_values, _read_developer),
    (Item, "item", _item_values, _read_item),
    (Numbered, "event", _event_values, _read_event),
    (Seal, "seal", asdict, _read_seal),
    (LastUsed, "last_used", asdict, _read_last_used),
)
_KIND: Final = {record: (kind, write) for record, kind, write, _ in _KINDS}
_READ: Final = {kind: read for _, kind, _, read in _KINDS}


def _require(name: str, faults: Iterable[str]) -> None:
    for _ in faults:
        raise _wrong(name)


def _wrong(name: str) -> NotPortable:
    return NotPortable(f"The member {name} is missing, or is not what it has to be.")
