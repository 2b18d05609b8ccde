"""Connections to an SQLite file, transactions, and what SQLite's errors mean for a store."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.store.contract import StoreBroken, StoreUnavailable

# A reader in WAL mode waits for nobody, but for the moments of another process's recovery from a crash. It reads on
# the event loop, so this bounds how long such a moment may hold the loop.
READER_PATIENCE: Final = 0.02

# By primary result code (https://sqlite.org/rescode.html).
_AWAY: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error",
}
_BROKEN: Final = {
    sqlite3.SQLITE_READONLY: "cannot be written; it, its directory and its -wal and -shm files must be writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check its permissions and those of its directory",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup",
}

_PRAGMAS: Final = (
    # A commit is on the disk before it is acknowledged. WAL's usual NORMAL would lose the last ones to a power cut, and
    # with them revocations that were reported as done.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # What is deleted or overwritten is gone from its page, not only from the table.
    "PRAGMA secure_delete = ON",
    # A file that somebody else made: its triggers and views call nothing dangerous, its pages are checked as they are
    # read.
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)


def unavailable(error: sqlite3.Error, path: Path) -> StoreUnavailable:
    """What an error of SQLite's means, as a sentence for whoever runs the store."""
    # Without a code it is the module's own complaint: a text that is not UTF-8.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _BROKEN:
        return StoreBroken(f"The store {path} {_BROKEN[code]}.")
    return StoreUnavailable(f"The store {path} {_AWAY.get(code) or f'failed ({error.sqlite_errorname})'}.")


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into `StoreUnavailable`, cause kept.

    A broken constraint is the caller's to judge, and misuse of the library is a fault of ours: both pass unchanged.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise unavailable(error, path) from error
    except OSError as error:
        raise StoreUnavailable(f"The store {path} cannot be reached: {error.strerror}.") from error


def connect(path: Path, *, mode: str, patience: float) -> sqlite3.Connection:
    """A connection to an existing file, in autocommit, with `mode` `ro` or `rw`; `patience` in seconds for locks."""
    uri = f"file:{quote(str(path))}?mode={mode}"
    # Each connection is used by one thread at a time, though not always by the one that opened it.
    database = sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            database.execute(pragma)
    except BaseException:
        database.close()
        raise
    return database


def write_ahead(database: sqlite3.Connection, path: Path) -> None:
    """Put the file into WAL mode for good, or raise `StoreBroken`. It is in it already unless a backup left it."""
    ((mode,),) = database.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise StoreBroken(f"The store {path} lies on a file system that several processes cannot share (mode {mode}).")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: committed at the end, rolled back by any exception."""
    # IMMEDIATE takes the write lock first: what the transaction reads cannot change under it, and it never fails
    # half-way because another writer was quicker.
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # A full disk rolls back by itself. What a failing roll-back leaves open, the next BEGIN reports.
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def erase(database: sqlite3.Connection) -> bool:
    """Write the log of writes back into the database and empty it, old pages with it; False if somebody reads for
    longer. Never raises: it is tried again."""
    try:
        ((patience,),) = database.execute("PRAGMA busy_timeout").fetchall()
        # The reads of a gateway take less than a millisecond; a backup may take minutes, and revocations are not to
        # wait for it.
        database.execute("PRAGMA busy_timeout = 50")
        try:
            ((busy, _, _),) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            database.execute(f"PRAGMA busy_timeout = {int(patience)}")
    except sqlite3.Error:
        return False
    return not busy


@contextmanager
def reading(database: sqlite3.Connection) -> Iterator[None]:
    """One view for all that is read: what others commit meanwhile is not seen. To be left without waiting."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        # It changes nothing, so that only its end counts; what fails here has failed in reading before.
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
