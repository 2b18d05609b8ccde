"""The tables of the SQLite store, as the steps that led to them."""

import sqlite3
from typing import Final

from gateway.store.database import transaction

# Written into the file's header, so that another program's database is never taken for ours: "GWAY".
APPLICATION_ID: Final = 0x47574159

# A step is never changed once released: what has run it would not run it again. `user_version` counts the steps done.
#
# Ids are primary keys and nothing is ever deleted, so an id is never used again. Times are UTC milliseconds, scopes
# are separated by spaces. WITHOUT ROWID: a look-up descends one tree.
MIGRATIONS: Final = (
    """
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (1, 0);

    CREATE TABLE app (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        region TEXT NOT NULL,
        disabled INTEGER NOT NULL CHECK (disabled IN (0, 1))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE api_key (
        id TEXT PRIMARY KEY,
        app_id TEXT NOT NULL REFERENCES app,
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        verifier BLOB NOT NULL CHECK (length(verifier) = 32),
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE user (
        app_id TEXT NOT NULL REFERENCES app,
        id TEXT NOT NULL,
        external_id TEXT,
        disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
        PRIMARY KEY (app_id, id),
        UNIQUE (app_id, external_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE user_token (
        id TEXT PRIMARY KEY,
        app_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        verifier BLOB NOT NULL CHECK (length(verifier) = 32),
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at INTEGER,
        FOREIGN KEY (app_id, user_id) REFERENCES user
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE last_used (
        id TEXT PRIMARY KEY,
        used_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        action TEXT NOT NULL,
        app_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        actor TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER audit_keeps_its_rows BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER audit_keeps_its_words BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    """,
)


def migrate(database: sqlite3.Connection) -> None:
    """Take the tables to the newest step, or leave them as they are. Several processes may try at once."""
    if user_version(database) >= len(MIGRATIONS):
        return  # without the write lock, which a long write of another process may hold
    with transaction(database):
        done = user_version(database)
        for number, script in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in _statements(script):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")


def user_version(database: sqlite3.Connection) -> int:
    """How many steps the database has done."""
    ((version,),) = database.execute("PRAGMA user_version").fetchall()
    return int(version)


def _statements(script: str) -> list[str]:
    """The statements of a script: `executescript` would commit the transaction that the step is to be part of."""
    statements = [""]
    for part in script.split(";"):
        statements[-1] += part + ";"
        if sqlite3.complete_statement(statements[-1]):
            statements.append("")
    return statements[:-1]
