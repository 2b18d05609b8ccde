"""How records are read from rows and written to them: the look-ups' statements, and what their rows mean."""

# ruff: noqa: S608 - the statements are put together from what stands here

import re
import sqlite3
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

from gateway.core.ledger import Item, ItemKind
from gateway.core.records import App, Developer, KeyRecord, RevokedWhy, Role, User, UserTokenRecord
from gateway.store.contract import FoundKey, FoundUser, FoundUserToken

Row = Sequence[Any]
_Named = TypeVar("_Named", bound=StrEnum)

# The columns of each record, in the order of its class, for statements that name the tables a, k, u, t.
APP: Final = "a.id, a.name, a.region, a.account, a.switches, a.cut_at"
KEY: Final = (
    "k.id, k.app_id, k.name, k.scopes, k.verifier, k.created_at, k.expires_at, k.created_by, k.shutdown_at,"
    " k.revoked_at, k.revoked_why, k.successor"
)
USER: Final = "u.id, u.app_id, u.external_id, u.switches, u.cut_at"
USER_TOKEN: Final = (
    "t.id, u.app_id, u.id, t.verifier, t.created_at, t.expires_at, t.revoked_at, t.shutdown_at, t.family"  # noqa: S105
)
ITEM: Final = "i.kind, i.id, i.owner, i.text, i.ends_at"

_KEY_COLUMNS: Final = 12
_SCOPES: Final = 3  # which of them hold what is not a number or a text in the record
_WHY: Final = 10
_USER_TOKEN_COLUMNS: Final = 9
_FAMILY: Final = 8
_USER_COLUMNS: Final = 5
_APP_COLUMNS: Final = 6

_HEX: Final = re.compile("(?:[0-9a-f]{2})+")

# A look-up of a credential reads the record with the id or, when there is none, its neighbour in the tree, which the
# store then throws away: an unknown id is not to be told from a known one by the time it takes. (Measured: both 11.1
# µs, where reading nothing takes 5.3 instead of 10.4.)
FIND_KEY: Final = f"""
    SELECT {KEY}, {APP} FROM api_key k JOIN app a ON a.id = k.app_id
    WHERE k.id = coalesce((SELECT min(id) FROM api_key WHERE id >= ?1), (SELECT max(id) FROM api_key))
"""
FIND_USER_TOKEN: Final = f"""
    SELECT {USER_TOKEN}, {USER}, {APP}
    FROM user_token t JOIN user u ON u.number = t.user JOIN app a ON a.id = u.app_id
    WHERE t.id = coalesce((SELECT min(id) FROM user_token WHERE id >= ?1), (SELECT max(id) FROM user_token))
"""

FIND_USER: Final = f"""
    SELECT {APP}, {USER} FROM app a LEFT JOIN user u ON u.app_id = a.id AND u.id = ?2 WHERE a.id = ?1
"""
FIND_ITEM: Final = f"SELECT {ITEM} FROM item i WHERE i.kind = ?1 AND i.id = ?2"


def found_key(row: Row) -> FoundKey:
    """The key and its app in a row of `FIND_KEY`."""
    return FoundKey(key(row[:_KEY_COLUMNS]), app(row[_KEY_COLUMNS:]))


def found_user_token(row: Row) -> FoundUserToken:
    """The user token, its user and their app in a row of `FIND_USER_TOKEN`."""
    rest = row[_USER_TOKEN_COLUMNS:]
    return FoundUserToken(user_token(row[:_USER_TOKEN_COLUMNS]), user(rest[:_USER_COLUMNS]), app(rest[_USER_COLUMNS:]))


def found_user(row: Row) -> FoundUser:
    """The app and the user, if it has that one, in a row of `FIND_USER`."""
    rest = row[_APP_COLUMNS:]
    return FoundUser(None if rest[0] is None else user(rest), app(row[:_APP_COLUMNS]))


def app(row: Row) -> App:
    """The app in a row of `APP`."""
    return App(*row)


def key(row: Row) -> KeyRecord:
    """The key in a row of `KEY`."""
    values = list(row)
    values[_SCOPES] = frozenset(values[_SCOPES].split())
    values[_WHY] = member(RevokedWhy, values[_WHY]) if values[_WHY] else None
    return KeyRecord(*values)


def user(row: Row) -> User:
    """The user in a row of `USER`."""
    return User(*row)


def user_token(row: Row) -> UserTokenRecord:
    """The user token in a row of `USER_TOKEN`."""
    values = list(row)
    values[_FAMILY] = row[_FAMILY].hex() if isinstance(row[_FAMILY], bytes) else row[_FAMILY] or ""
    return UserTokenRecord(*values)


def item(row: Row) -> Item:
    """The item in a row of `ITEM`."""
    kind, *rest = row
    return Item(member(ItemKind, kind), *rest)


def item_row(record: Item) -> Row:
    """An item as `item` reads it."""
    return record.kind, record.id, record.owner, record.text, record.ends_at


def developer(row: Row) -> Developer:
    """The role of a person in a row of `role`."""
    app_id, email, role = row
    return Developer(app_id, email, member(Role, role))


def member(kind: type[_Named], text: str) -> _Named:
    """The member of a closed set that a text names; any other text is damage, as one that is not UTF-8 is."""
    try:
        return kind(text)
    except ValueError as error:
        raise sqlite3.DataError(str(error)) from error


def app_row(record: App) -> Row:
    """An app as `app` reads it."""
    return record.id, record.name, record.region, record.account, record.switches, record.cut_at


def user_row(record: User) -> Row:
    """A user as `user` reads it."""
    return record.id, record.app_id, record.external_id, record.switches, record.cut_at


def user_token_row(record: UserTokenRecord) -> Row:
    """A user token as `user_token` reads it."""
    times = (record.created_at, record.expires_at, record.revoked_at, record.shutdown_at)
    return record.id, record.app_id, record.user_id, record.verifier, *times, _packed(record.family)


def key_row(record: KeyRecord) -> Row:
    """A key as `key` reads it."""
    return (
        record.id,
        record.app_id,
        record.name,
        " ".join(sorted(record.scopes)),
        record.verifier,
        record.created_at,
        record.expires_at,
        record.created_by,
        record.shutdown_at,
        record.revoked_at,
        record.revoked_why,
        record.successor,
    )


def _packed(family: str) -> bytes | str | None:
    """The name of a family in half its length, where it can be: an id that came from elsewhere may have an odd one."""
    return bytes.fromhex(family) if _HEX.fullmatch(family) else family or None
