"""When keys were last used, and what for: in a file of its own beside the store's, so that a note of it takes no lock
that a revocation waits for, and moves nothing that a gateway watches."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from gateway.store.contract import USE_DAYS, StoreUnavailable, Use
from gateway.store.database import connect, transaction, translating
from gateway.store.file import make_whole

T = TypeVar("T")

_PATIENCE: Final = 1.0  # seconds, for the lock of another process's note

_TABLE: Final = "CREATE TABLE last_used (id TEXT PRIMARY KEY, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID"
_NOTE: Final = "INSERT INTO last_used VALUES (?, ?) ON CONFLICT DO UPDATE SET used_at = max(used_at, excluded.used_at)"
_READ: Final = "SELECT id, used_at FROM last_used WHERE id IN (SELECT value FROM json_each(?))"

# A file of the version before has none of these.
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS noted (one INTEGER PRIMARY KEY CHECK (one = 1), since INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS uses (
        key_id TEXT NOT NULL, day INTEGER NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (key_id, day, what)
    ) STRICT, WITHOUT ROWID;
"""
_BEGIN: Final = "INSERT INTO noted VALUES (1, ?) ON CONFLICT DO UPDATE SET since = min(since, excluded.since)"
_SINCE: Final = "SELECT since FROM noted"
_ADD_USE: Final = "INSERT INTO uses VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
_USES: Final = "SELECT key_id, day, what, count FROM uses WHERE key_id IN (SELECT value FROM json_each(?))"
_FORGET: Final = "DELETE FROM uses WHERE day <= ?"


class UsedFile:
    """Notes of use. That they cannot be kept or read is no fault of the store: it is said by `fault`."""

    def __init__(self, store: Path) -> None:
        self.fault = ""
        self._store = store.resolve()
        self._path = self._store.with_name(f"{self._store.name}-used")
        self._late: dict[str, int] = {}  # when keys were used while the file was at fault
        self._forgotten = 0  # the day on which old days were forgotten last
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-used")

    async def note(self, used: Mapping[str, int]) -> None:
        """Keep when each key was last used; it never moves back. What cannot be kept now is kept with the next ones."""
        if not used:
            return
        noted = {**self._late, **used}
        self._late = noted

        def note(database: sqlite3.Connection) -> bool:
            with transaction(database):
                database.executemany(_NOTE, noted.items())
                database.execute(_BEGIN, (min(noted.values()),))
            return True

        if await self._do(note, False):
            self._late = {}

    async def since(self) -> int | None:
        """The first use that was noted; None while none is known."""

        def read(database: sqlite3.Connection) -> int | None:
            row = database.execute(_SINCE).fetchone()
            return None if row is None else int(row[0])

        return await self._do(read, None)

    async def read(self, ids: Sequence[str]) -> dict[str, int]:
        """When these keys were last used, as far as that is known."""
        wanted = json.dumps(list(ids))
        return await self._do(lambda database: dict(database.execute(_READ, (wanted,)).fetchall()), {})

    async def note_uses(self, uses: Mapping[Use, int]) -> None:
        """Add to the counts; what is older than `USE_DAYS` is forgotten once a day."""
        noted = [(*use, count) for use, count in uses.items()]
        if not noted:
            return
        newest = max(day for _, day, _ in uses)

        def note(database: sqlite3.Connection) -> None:
            with transaction(database):
                database.executemany(_ADD_USE, noted)
                if newest > self._forgotten:
                    database.execute(_FORGET, (newest - USE_DAYS,))
            self._forgotten = max(self._forgotten, newest)

        await self._do(note, None)

    async def uses(self, ids: Sequence[str]) -> dict[Use, int]:
        """The counts of these keys, as far as they are known."""
        wanted = json.dumps(list(ids))

        def read(database: sqlite3.Connection) -> dict[Use, int]:
            return {(key_id, day, what): count for key_id, day, what, count in database.execute(_USES, (wanted,))}

        return await self._do(read, {})

    async def close(self) -> None:
        """Release the file, after the notes that were begun."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    async def _do(self, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        def do() -> T:
            try:
                with translating(self._path):
                    done = act(self._connected())
            except StoreUnavailable as error:
                self.fault = f"When keys were last used is not kept: {error} It may be removed; a new one is made."
                self._disconnect()
                return otherwise
            self.fault = ""
            return done

        return await asyncio.get_running_loop().run_in_executor(self._thread, do)

    def _connected(self) -> sqlite3.Connection:
        if self._database is None:
            if not self._path.exists():
                make_whole(self._path, self._fill, like=self._store)
            self._database = connect(self._path, mode="rw", patience=_PATIENCE)
            # Ten seconds of notes may be lost: not worth waiting for the disk each time.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_TABLES)
        return self._database

    def _fill(self, database: sqlite3.Connection) -> None:
        """Begin with what the store's own file has from before there was this one."""
        database.execute(_TABLE)
        database.execute("ATTACH ? AS store", (f"file:{quote(str(self._store))}?mode=ro",))
        database.execute("INSERT INTO last_used SELECT id, used_at FROM store.last_used")
        database.execute("DETACH store")

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
