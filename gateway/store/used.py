"""When keys were last used: in a file of its own beside the store's, so that a note of it takes no lock that a
revocation waits for, and moves nothing that a gateway watches."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from gateway.store.contract import StoreUnavailable
from gateway.store.database import connect, transaction, translating
from gateway.store.file import make_whole

T = TypeVar("T")

_PATIENCE: Final = 1.0  # seconds, for the lock of another process's note

_TABLE: Final = "CREATE TABLE last_used (id TEXT PRIMARY KEY, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID"
_NOTE: Final = "INSERT INTO last_used VALUES (?, ?) ON CONFLICT DO UPDATE SET used_at = max(used_at, excluded.used_at)"
_READ: Final = "SELECT id, used_at FROM last_used WHERE id IN (SELECT value FROM json_each(?))"


class UsedFile:
    """Notes of last use. That they cannot be kept or read is no fault of the store: it is said by `fault`."""

    def __init__(self, store: Path) -> None:
        self.fault = ""
        self._store = store.resolve()
        self._path = self._store.with_name(f"{self._store.name}-used")
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-used")

    async def note(self, used: Mapping[str, int]) -> None:
        """Keep when each key was last used; it never moves back."""
        noted = list(used.items())

        def note(database: sqlite3.Connection) -> None:
            with transaction(database):
                database.executemany(_NOTE, noted)

        if noted:
            await self._do(note, None)

    async def read(self, ids: Sequence[str]) -> dict[str, int]:
        """When these keys were last used, as far as that is known."""
        wanted = json.dumps(list(ids))
        return await self._do(lambda database: dict(database.execute(_READ, (wanted,)).fetchall()), {})

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
