"""The embedded store: one SQLite file, for any number of processes of one machine."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.records import App, KeyRecord, User, UserTokenRecord
from gateway.store import rows
from gateway.store.contract import Conflict, FoundKey, FoundUserToken, StoreUnavailable
from gateway.store.database import READER_PATIENCE, connect, transaction, translating, write_ahead
from gateway.store.file import check, require_file, require_sqlite
from gateway.store.migrations import migrate
from gateway.store.walindex import WalIndex

T = TypeVar("T")

_IDENTITY_SECONDS: Final = 1.0  # How long a replaced file may go unseen, against a system call each time.

_TAKEN: Final = (
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
)


class SqliteStore:
    """`Store` on one SQLite file. Reads run inline and to the end of the rows; writes run in turn in one thread."""

    def __init__(
        self,
        path: Path,
        reader: sqlite3.Connection,
        writer: sqlite3.Connection,
        header: Callable[[], bytes] | None,
        closing: ExitStack,
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._stamp: Callable[[], object] = header or self._data_version
        self._seen: object = None
        status = path.stat()
        self._identity = (status.st_dev, status.st_ino)
        self._look_again_at = 0.0
        self._revision = 0
        self._closing = closing
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")

    @classmethod
    def open(
        cls, path: Path, *, create: bool, patience: float, scratch: TemporaryDirectory[str] | None = None
    ) -> "SqliteStore":
        """The store in the file at `path`, checked, with the newest tables. `scratch` is removed with the store."""
        with ExitStack() as opened, translating(path):
            if scratch is not None:
                opened.callback(scratch.cleanup)
            require_sqlite()
            require_file(path, create=create)
            index = WalIndex.claim(path)
            opened.callback(index.release)
            # The writer closes last: whoever does, copies the log into the database, and the reader may not write.
            writer = connect(path, mode="rw", patience=patience)
            opened.callback(writer.close)
            check(writer, path)
            write_ahead(writer, path)
            migrate(writer)
            reader = connect(path, mode="ro", patience=READER_PATIENCE)
            opened.callback(reader.close)
            reader.execute("PRAGMA query_only = ON")
            return cls(path, reader, writer, index.header(), opened.pop_all())

    def revision(self) -> int:
        """Raised by every transaction that takes something away. Read anew only when the database has changed."""
        self._check_identity()
        stamp = self._stamp()
        if stamp != self._seen:
            # The stamp was taken before: what is committed between the two is met at the next call again.
            ((self._revision,),) = self._read("SELECT revision FROM meta")
            self._seen = stamp
        return self._revision

    def _check_identity(self) -> None:
        """Raise `StoreUnavailable` when the file at the path is no longer the one that was opened, seen once a second:
        whoever revokes a key then writes into a file that nobody here reads."""
        now = time.monotonic()
        if now < self._look_again_at:
            return
        try:
            status = self._path.stat()
            is_ours = (status.st_dev, status.st_ino) == self._identity
        except OSError:
            is_ours = False
        if not is_ours:
            raise StoreUnavailable(f"The store at {self._path} was removed or replaced while it was in use; restart.")
        self._look_again_at = now + _IDENTITY_SECONDS

    async def find_key(self, key_id: str) -> FoundKey | None:
        """The key with this id and its app, or None."""
        found = [rows.key(row) for row in self._read(rows.FIND_KEY, key_id)]
        return found[0] if found and found[0].record.id == key_id else None

    async def find_user_token(self, token_id: str) -> FoundUserToken | None:
        """The user token with this id, its user and its app, or None."""
        found = [rows.user_token(row) for row in self._read(rows.FIND_USER_TOKEN, token_id)]
        return found[0] if found and found[0].record.id == token_id else None

    async def find_app(self, app_id: str) -> App | None:
        """The app with this id, or None."""
        found = self._read(rows.FIND_APP, app_id)
        return rows.app(found[0]) if found else None

    async def find_user(self, app_id: str, user_id: str) -> User | None:
        """The user of this app with this id, or None."""
        found = self._read(rows.FIND_USER, app_id, user_id)
        return rows.user(found[0]) if found else None

    async def find_external_user(self, app_id: str, external_id: str) -> User | None:
        """The user of this app with this external id, or None."""
        found = self._read(rows.FIND_EXTERNAL_USER, app_id, external_id)
        return rows.user(found[0]) if found else None

    async def create_app(self, app: App, event: AuditEvent) -> None:
        """Keep a new app."""

        def create(database: sqlite3.Connection) -> None:
            database.execute("INSERT INTO app VALUES (?, ?, ?, ?)", (app.id, app.name, app.region, app.disabled))
            _append(database, event)

        await self._create(create)

    async def create_key(self, record: KeyRecord, event: AuditEvent) -> None:
        """Keep a new key."""
        scopes = " ".join(sorted(record.scopes))
        times = (record.created_at, record.expires_at, record.revoked_at)
        row = (record.id, record.app_id, record.name, scopes, record.verifier, *times)

        def create(database: sqlite3.Connection) -> None:
            _require_free(database, "SELECT 1 FROM user_token WHERE id = ?", record.id)
            database.execute("INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            _append(database, event)

        await self._create(create)

    async def create_user_token(self, user: User, record: UserTokenRecord, event: AuditEvent) -> None:
        """Keep a new user token, and its user unless that user exists."""
        times = (record.created_at, record.expires_at, record.revoked_at)
        row = (record.id, record.app_id, record.user_id, record.verifier, *times)

        def create(database: sqlite3.Connection) -> None:
            _require_free(database, "SELECT 1 FROM api_key WHERE id = ?", record.id)
            _keep_user(database, user, event)
            database.execute("INSERT INTO user_token VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            _append(database, event)

        await self._create(create)

    async def revoke_key(self, key_id: str, at: int, event: AuditEvent) -> bool:
        """End a key at `at`, unless it was to end by then already."""
        change = "UPDATE api_key SET revoked_at = ?2 WHERE id = ?1 AND coalesce(revoked_at > ?2, TRUE)"
        return await self._change(event, change, key_id, at, takes_away=True)

    async def set_app_disabled(self, app_id: str, disabled: bool, event: AuditEvent) -> bool:
        """Disable or enable an app."""
        change = "UPDATE app SET disabled = ?2 WHERE id = ?1 AND disabled <> ?2"
        return await self._change(event, change, app_id, disabled, takes_away=disabled)

    async def set_user_disabled(self, app_id: str, user_id: str, disabled: bool, event: AuditEvent) -> bool:
        """Disable or enable a user of an app."""
        change = "UPDATE user SET disabled = ?3 WHERE app_id = ?1 AND id = ?2 AND disabled <> ?3"
        return await self._change(event, change, app_id, user_id, disabled, takes_away=disabled)

    async def note_used(self, used: dict[str, int]) -> None:
        """Keep when each credential was last used."""
        note = "INSERT INTO last_used VALUES (?, ?) ON CONFLICT DO UPDATE SET used_at = max(used_at, excluded.used_at)"
        await self._write(lambda database: database.executemany(note, list(used.items())))

    async def last_used(self, credential_id: str) -> int | None:
        """When a credential was last used, as far as it was noted."""
        found = self._read("SELECT used_at FROM last_used WHERE id = ?", credential_id)
        return int(found[0][0]) if found else None

    async def ping(self) -> None:
        """Return when the store answers."""
        self._look_again_at = 0.0
        self._check_identity()
        self._read("SELECT revision FROM meta")

    async def close(self) -> None:
        """Release everything, after the writes that were begun."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._closing.close)
        self._thread.shutdown()

    def _data_version(self) -> object:
        return self._read("PRAGMA data_version")

    def _read(self, query: str, *arguments: object) -> list[rows.Row]:
        with translating(self._path):
            return self._reader.execute(query, arguments).fetchall()

    async def _create(self, act: Callable[[sqlite3.Connection], None]) -> None:
        try:
            await self._write(act)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode not in _TAKEN:
                raise
            raise Conflict("The id is taken, or what it is to belong to is unknown.") from error

    async def _change(self, event: AuditEvent, change: str, *arguments: object, takes_away: bool) -> bool:
        """Whether one row was changed: its event is appended, and the revision raised when something was taken away."""

        def act(database: sqlite3.Connection) -> bool:
            if database.execute(change, arguments).rowcount == 0:
                return False
            if takes_away:
                database.execute("UPDATE meta SET revision = revision + 1")
            _append(database, event)
            return True

        return await self._write(act)

    async def _write(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do `act` whole or not at all, in the writer's thread."""

        def write() -> T:
            with translating(self._path), transaction(self._writer):
                return act(self._writer)

        return await asyncio.get_running_loop().run_in_executor(self._thread, write)


def _append(database: sqlite3.Connection, event: AuditEvent) -> None:
    row = (event.at, event.action.value, event.app_id, event.subject_id, event.actor)
    database.execute("INSERT INTO audit (at, action, app_id, subject_id, actor) VALUES (?, ?, ?, ?, ?)", row)


def _keep_user(database: sqlite3.Connection, user: User, event: AuditEvent) -> None:
    if database.execute(rows.FIND_USER, (user.app_id, user.id)).fetchall():
        return
    row = (user.app_id, user.id, user.external_id, user.disabled)
    database.execute("INSERT INTO user VALUES (?, ?, ?, ?)", row)
    _append(database, replace(event, action=AuditAction.USER_CREATED, subject_id=user.id))


def _require_free(database: sqlite3.Connection, query: str, credential_id: str) -> None:
    """Keys and user tokens share one space of ids: a legacy token and a note of use do not say which they mean."""
    if database.execute(query, (credential_id,)).fetchall():
        raise Conflict("The id is taken.")
