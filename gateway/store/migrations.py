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
#
# Step 2 names users and chains by a number where there are many rows of them: five million user tokens are to take no
# more than 150 bytes each (measured: 82), the pages that random ids leave half empty included. The notes in `last_used`
# are taken over, once, by gateway/store/used.py.
#
# Step 3 adds to user tokens what those of imports have not, two bytes each; the name of a family of ours is kept as the
# 8 bytes that it writes. Of items, whose texts only the core reads, rows are deleted.
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
    """
    ALTER TABLE meta RENAME TO old_meta;
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL,
        identity TEXT NOT NULL
    ) STRICT;
    INSERT INTO meta SELECT id, revision, lower(hex(randomblob(16))) FROM old_meta;
    DROP TABLE old_meta;

    ALTER TABLE app RENAME TO old_app;
    CREATE TABLE app (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        region TEXT NOT NULL,
        account TEXT NOT NULL,
        switches INTEGER NOT NULL,
        cut_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO app SELECT id, name, region, '', disabled, 0 FROM old_app;

    ALTER TABLE api_key RENAME TO old_api_key;
    CREATE TABLE api_key (
        id TEXT PRIMARY KEY,
        app_id TEXT NOT NULL REFERENCES app,
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        verifier BLOB NOT NULL CHECK (length(verifier) = 32),
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        shutdown_at INTEGER,
        revoked_at INTEGER,
        revoked_why TEXT,
        successor TEXT,
        ends_at INTEGER NOT NULL AS
            (min(expires_at, coalesce(shutdown_at, expires_at), coalesce(revoked_at, expires_at)))
    ) STRICT, WITHOUT ROWID;
    INSERT INTO api_key
        SELECT id, app_id, name, scopes, verifier, created_at, expires_at, coalesce(creator, ''), NULL, revoked_at,
            iif(revoked_at IS NULL, NULL, 'requested'), NULL
        FROM old_api_key
        LEFT JOIN (SELECT subject_id, min(actor) AS creator FROM audit WHERE action = 'key.created' GROUP BY subject_id)
            ON subject_id = id;
    CREATE INDEX api_key_by_end ON api_key (app_id, ends_at);
    DROP TABLE old_api_key;

    ALTER TABLE user RENAME TO old_user;
    CREATE TABLE user (
        number INTEGER PRIMARY KEY,
        app_id TEXT NOT NULL REFERENCES app,
        id TEXT NOT NULL,
        external_id TEXT,
        switches INTEGER NOT NULL,
        cut_at INTEGER NOT NULL,
        UNIQUE (app_id, id)
    ) STRICT;
    CREATE UNIQUE INDEX user_by_external_id ON user (app_id, external_id) WHERE external_id IS NOT NULL;
    INSERT INTO user (app_id, id, external_id, switches, cut_at)
        SELECT app_id, id, external_id, disabled, 0 FROM old_user;

    ALTER TABLE user_token RENAME TO old_user_token;
    CREATE TABLE user_token (
        id TEXT PRIMARY KEY,
        user INTEGER NOT NULL REFERENCES user,
        verifier BLOB NOT NULL CHECK (length(verifier) = 32),
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;
    INSERT INTO user_token SELECT t.id, u.number, verifier, created_at, expires_at, revoked_at
        FROM old_user_token t JOIN user u ON u.app_id = t.app_id AND u.id = t.user_id;
    DROP TABLE old_user_token;
    DROP TABLE old_user;
    DROP TABLE old_app;

    CREATE TABLE role (
        app_id TEXT NOT NULL REFERENCES app,
        email TEXT NOT NULL,
        role TEXT NOT NULL,
        PRIMARY KEY (app_id, email)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE chain (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;
    INSERT INTO chain SELECT 1, identity || '/main' FROM meta;

    ALTER TABLE audit RENAME TO old_audit;
    DROP TRIGGER audit_keeps_its_rows;
    DROP TRIGGER audit_keeps_its_words;
    CREATE TABLE audit (
        chain INTEGER NOT NULL REFERENCES chain,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL,
        action TEXT NOT NULL,
        app_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        actor TEXT NOT NULL,
        source TEXT NOT NULL,
        about TEXT NOT NULL,
        PRIMARY KEY (chain, number)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO audit SELECT 1, number, at, action, app_id, subject_id, actor, '', '' FROM old_audit;
    DROP TABLE old_audit;
    CREATE TRIGGER audit_keeps_its_rows BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER audit_keeps_its_words BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

    CREATE TABLE seal (
        chain INTEGER NOT NULL REFERENCES chain,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        at INTEGER NOT NULL,
        digest TEXT NOT NULL,
        signature TEXT NOT NULL,
        signer TEXT NOT NULL,
        PRIMARY KEY (chain, first)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER seal_keeps_its_rows BEFORE DELETE ON seal
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER seal_keeps_its_words BEFORE UPDATE ON seal
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

    CREATE TABLE lease (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        ends_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE user_token ADD COLUMN shutdown_at INTEGER;
    ALTER TABLE user_token ADD COLUMN family ANY;

    CREATE TABLE item (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        text TEXT NOT NULL,
        ends_at INTEGER,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX item_by_owner ON item (kind, owner, id);
    CREATE INDEX item_by_end ON item (ends_at) WHERE ends_at IS NOT NULL;
    """,
)

_ERASING: Final = 3  # the step from which on nothing that is deleted is left in the file


def migrate(database: sqlite3.Connection) -> None:
    """Take the tables to the newest step, or leave them as they are. Several processes may try at once."""
    before = user_version(database)
    if before >= len(MIGRATIONS):
        return  # without the write lock, which a long write of another process may hold
    if 0 < before < _ERASING:
        # What had been deleted or moved within the file is in it still, where the library leaves that.
        database.execute("VACUUM")
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
