"""An act on the SQLite tables: what it sees, and what it keeps. Whoever calls has begun the transaction."""

# ruff: noqa: S608 - the statements are put together from constants of this package

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Final, TypeVar

from gateway.core.ledger import Asked, Changes, Item, ItemKey, Snapshot
from gateway.core.records import KeyRecord, Role, User, UserTokenRecord
from gateway.store import rows

_Credential = TypeVar("_Credential", KeyRecord, UserTokenRecord)

_APP: Final = f"SELECT {rows.APP} FROM app a WHERE a.id = ?"
_LIVING: Final = f"SELECT {rows.KEY} FROM api_key k WHERE k.app_id = ? AND k.ends_at > ?"
_KEYS: Final = f"SELECT {rows.KEY} FROM api_key k WHERE k.id IN (SELECT value FROM json_each(?))"
_TOKENS: Final = f"""
    SELECT {rows.USER_TOKEN} FROM user_token t JOIN user u ON u.number = t.user
    WHERE t.id IN (SELECT value FROM json_each(?))
"""
_USER: Final = f"SELECT {rows.USER} FROM user u WHERE u.app_id = ? AND u.id = ?"
_EXTERNAL_USER: Final = f"SELECT {rows.USER} FROM user u WHERE u.app_id = ? AND u.external_id = ?"
_ROLES: Final = "SELECT email, role FROM role WHERE app_id = ?"

# What is new is inserted, never laid over something else: an id that the act did not ask for breaks the act instead.
_NEW_APP: Final = "INSERT INTO app VALUES (?, ?, ?, ?, ?, ?)"
_SAME_APP: Final = "UPDATE app SET name = ?2, region = ?3, account = ?4, switches = ?5, cut_at = ?6 WHERE id = ?1"
_NEW_KEY: Final = "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAME_KEY: Final = """
    UPDATE api_key SET name = ?3, scopes = ?4, verifier = ?5, created_at = ?6, expires_at = ?7, created_by = ?8,
        shutdown_at = ?9, revoked_at = ?10, revoked_why = ?11, successor = ?12
    WHERE id = ?1 AND app_id = ?2
"""
_NEW_USER: Final = "INSERT INTO user (id, app_id, external_id, switches, cut_at) VALUES (?, ?, ?, ?, ?)"
_SAME_USER: Final = "UPDATE user SET external_id = ?3, switches = ?4, cut_at = ?5 WHERE id = ?1 AND app_id = ?2"
# Of a user that is not there the number is NULL, which the column refuses.
_USER_NUMBER: Final = "(SELECT number FROM user WHERE app_id = ?2 AND id = ?3)"
_NEW_TOKEN: Final = f"INSERT INTO user_token VALUES (?1, {_USER_NUMBER}, ?4, ?5, ?6, ?7, ?8, ?9)"
_SAME_TOKEN: Final = f"""
    UPDATE user_token SET verifier = ?4, created_at = ?5, expires_at = ?6, revoked_at = ?7, shutdown_at = ?8,
        family = ?9
    WHERE id = ?1 AND user = {_USER_NUMBER}
"""
_KEEP_ROLE: Final = "INSERT INTO role VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET role = excluded.role"
_DROP_ROLE: Final = "DELETE FROM role WHERE app_id = ? AND email = ?"
_NEW_ITEM: Final = "INSERT INTO item VALUES (?, ?, ?, ?, ?)"
_SAME_ITEM: Final = "UPDATE item SET owner = ?3, text = ?4, ends_at = ?5 WHERE kind = ?1 AND id = ?2"
_DROP_ITEM: Final = "DELETE FROM item WHERE kind = ? AND id = ?"


def snapshot(database: sqlite3.Connection, asked: Asked, now: int) -> Snapshot:
    """What there is of what was asked for."""
    living = map(rows.key, database.execute(_LIVING, (asked.app_id, now)))
    ids = (json.dumps((*asked.keys, *asked.tokens)),)
    keys, taken = _own(map(rows.key, database.execute(_KEYS, ids)), asked.app_id, asked.keys)
    tokens, taken_too = _own(map(rows.user_token, database.execute(_TOKENS, ids)), asked.app_id, asked.tokens)
    return Snapshot(
        now=now,
        app=next(map(rows.app, database.execute(_APP, (asked.app_id,)).fetchall()), None),
        keys={key.id: key for key in living} | keys,
        users={user.id: user for user in _users(database, asked)},
        tokens=tokens,
        roles=_roles(database, asked),
        taken=taken | taken_too,
        items={item.key: item for key in asked.items for item in _items(database, key)},
    )


def keep(database: sqlite3.Connection, seen: Snapshot, app_id: str, changes: Changes) -> None:
    """Keep the records of the changes; their events are the caller's."""
    if changes.app is not None:
        database.execute(_NEW_APP if seen.app is None else _SAME_APP, rows.app_row(changes.app))
    for user in changes.users:
        database.execute(_SAME_USER if user.id in seen.users else _NEW_USER, rows.user_row(user))
    for token in changes.tokens:
        database.execute(_SAME_TOKEN if token.id in seen.tokens else _NEW_TOKEN, rows.user_token_row(token))
    for record in changes.keys:
        database.execute(_SAME_KEY if record.id in seen.keys else _NEW_KEY, rows.key_row(record))
    for email, role in changes.roles.items():
        if role is None:
            database.execute(_DROP_ROLE, (app_id, email))
        else:
            database.execute(_KEEP_ROLE, (app_id, email, role.value))
    for item in changes.items:
        database.execute(_SAME_ITEM if item.key in seen.items else _NEW_ITEM, rows.item_row(item))
    for key in changes.dropped:
        database.execute(_DROP_ITEM, key)


def erases(seen: Snapshot, changes: Changes) -> bool:
    """Whether the changes take a person's name or address out of the store."""
    before = {user.id: user.external_id for user in seen.users.values()}
    unnamed = any(before.get(user.id) not in {None, user.external_id} for user in changes.users)
    return unnamed or None in changes.roles.values()


def _own(
    found: Iterable[_Credential], app_id: str, wanted: Collection[str]
) -> tuple[dict[str, _Credential], frozenset[str]]:
    """Of the records that were found those that are the app's and were asked for as such; and the ids of the others."""
    records = list(found)
    own = {record.id: record for record in records if record.app_id == app_id and record.id in wanted}
    return own, frozenset(record.id for record in records if record.id not in own)


def _users(database: sqlite3.Connection, asked: Asked) -> list[User]:
    asked_for = [
        *((_USER, user_id) for user_id in asked.users),
        *((_EXTERNAL_USER, name) for name in asked.external_ids),
    ]
    return [
        rows.user(row)
        for statement, name in asked_for
        for row in database.execute(statement, (asked.app_id, name)).fetchall()
    ]


def _items(database: sqlite3.Connection, key: ItemKey) -> list[Item]:
    return [rows.item(row) for row in database.execute(rows.FIND_ITEM, key).fetchall()]


def _roles(database: sqlite3.Connection, asked: Asked) -> dict[str, Role]:
    found = database.execute(_ROLES, (asked.app_id,)).fetchall() if asked.roles else []
    return {email: rows.member(Role, role) for email, role in found}
