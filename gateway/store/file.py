"""The store's file: found or made whole, and checked before anything is asked of it."""

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from gateway.store.contract import StoreBroken
from gateway.store.database import connect, write_ahead
from gateway.store.migrations import APPLICATION_ID, MIGRATIONS, migrate, user_version

LEAST_SQLITE: Final = (3, 38, 0)  # STRICT tables are older; the first with json_each wherever it was built

# Every page of a file up to this size is checked at start, which takes up to a second (measured: 3 ms a megabyte). A
# damaged page of a larger file is met when it is read, and is a fault of the store then, never an unknown key.
CHECKED_BYTES: Final = 256 * 1024 * 1024


def require_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise `StoreBroken` when the SQLite library is too old."""
    if version < LEAST_SQLITE:
        raise StoreBroken(
            f"SQLite {'.'.join(map(str, LEAST_SQLITE))} or newer is needed, and Python was built with"
            f" {'.'.join(map(str, version))}."
        )


def require_file(path: Path, *, create: bool) -> None:
    """Return when a file of some content is at `path`, made now if there was none and `create` says so.

    Raises `StoreBroken`, or lets the errors of SQLite and of the file system pass.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        _make(path, create=create)
        return
    if not stat.S_ISREG(status.st_mode):
        raise StoreBroken(f"The store {path} is not a file.")
    if status.st_size == 0:
        # Ours are never empty, not even while they are made. This one held something, or never was a store.
        raise StoreBroken(f"The store {path} is empty; restore it from a backup, or remove it if it never held keys.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreBroken(f"The store {path} may not be read and written by this user; check its permissions.")


def check(database: sqlite3.Connection, path: Path) -> None:
    """Raise `StoreBroken` unless the database is a whole store of ours, of this version or an older one."""
    ((application,),) = database.execute("PRAGMA application_id").fetchall()
    if application != APPLICATION_ID:
        raise StoreBroken(f"{path} is a database, but not a store of the gateway.")
    if user_version(database) > len(MIGRATIONS):
        raise StoreBroken(f"The store {path} was written by a newer version of the gateway; install that one.")
    if path.stat().st_size <= CHECKED_BYTES:
        ((verdict,),) = database.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise StoreBroken(f"The store {path} is damaged; restore it from a backup.")


def require_identity(database: sqlite3.Connection, path: Path, identity: str | None) -> None:
    """Raise `StoreBroken` when the store is another than the one that it has to be, if that is said."""
    ((found,),) = database.execute("SELECT identity FROM meta").fetchall()
    if identity is not None and identity != found:
        raise StoreBroken(f"The store {path} is not the one that is meant: store.identity names another.")


def _make(path: Path, *, create: bool) -> None:
    for suffix in ("-wal", "-journal"):
        # Its database is gone; SQLite would replay it into the new one.
        if path.with_name(path.name + suffix).exists():
            raise StoreBroken(f"{path}{suffix} is there and its database {path} is not; restore it from a backup.")
    if not create:
        how = "make one with 'gateway store init --config FILE'"
        raise StoreBroken(f"There is no store at {path}; check the path, or {how}.")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_whole(path, _tables)


def make_whole(path: Path, fill: Callable[[sqlite3.Connection], None], *, like: Path | None = None) -> None:
    """Make a database under another name and link it: nobody ever finds half of one, and nobody's is replaced.

    It is for its owner only, or has the owner and the mode of `like`.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    os.close(descriptor)
    scratch = Path(name)
    try:
        with closing(connect(scratch, mode="rw", patience=0)) as database:
            write_ahead(database, path)
            fill(database)
        if like is not None:
            _liken(scratch, like.stat())
        with suppress(FileExistsError):  # somebody was quicker, and theirs is as good
            os.link(scratch, path)
        _sync(path.parent)
    finally:
        for suffix in ("", "-wal", "-shm"):
            scratch.with_name(scratch.name + suffix).unlink(missing_ok=True)


def _tables(database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(database)


def _liken(path: Path, status: os.stat_result) -> None:
    path.chmod(stat.S_IMODE(status.st_mode))
    with suppress(PermissionError):  # only root gives a file away, and only root makes one in another's store
        os.chown(path, status.st_uid, status.st_gid)


def _sync(directory: Path) -> None:
    """Make the new name last: a file is on the disk only when its directory is."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
