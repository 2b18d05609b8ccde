"""Whether a database changed is seen at once and from any process, and looking does no harm to SQLite's locks."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from gateway.store.database import connect
from gateway.store.open import open_store
from gateway.store.sqlite import SqliteStore
from gateway.store.walindex import HEADER, WalIndex
from tests.store.place import the_app

ROOT = Path(__file__).parents[2]
APP = "5a0000000000000000000a01"


class OtherProcess:
    """A second process on the same store, told what to do."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "tests.store.other_process", str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._answer() == "ready"

    def tell(self, command: str) -> str:
        """Have one command obeyed."""
        assert self._process.stdin
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def end(self) -> None:
        """End it, and wait until it has."""
        self._process.communicate()

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@contextmanager
def other_process(path: Path) -> Iterator[OtherProcess]:
    """Another process, ended at the end."""
    other = OtherProcess(path)
    try:
        yield other
    finally:
        other.end()


def watching(path: Path) -> SqliteStore:
    """A store that looks at the wal-index, as they do by default."""
    store = open_store(f"sqlite:///{path}")
    assert isinstance(store, SqliteStore)
    return store


def asking(path: Path) -> SqliteStore:
    """A store that asks `PRAGMA data_version`, as where the wal-index cannot be mapped."""
    reader, writer = connect(path, mode="ro", patience=1), connect(path, mode="rw", patience=1)
    stack = ExitStack()
    stack.callback(writer.close)
    stack.callback(reader.close)
    return SqliteStore(path, reader, writer, None, stack)


@pytest.mark.parametrize("opener", [watching, asking])
async def test_what_another_process_takes_away_is_seen_at_the_next_call(path: Path, opener: object) -> None:
    """A revocation by the command line would not reach a gateway on the same machine, or only sometimes."""
    assert callable(opener)
    with other_process(path) as other:
        other.tell(f"create {APP}")
        store = opener(path)
        for turn in range(100):
            before = store.revision()
            assert store.revision() == before
            assert other.tell(f"disable {APP}") == "True"
            assert store.revision() == before + 1
            app = await the_app(store, APP)
            assert app is not None
            assert app.disabled
            assert other.tell(f"enable {APP}") == "True"
            assert store.revision() == before + 2
            # The log is emptied, started anew, or copied only: each writes the header in its own way.
            if turn % 3 == 0:
                kind = ("TRUNCATE", "RESTART", "FULL", "PASSIVE")[turn // 3 % 4]
                assert other.tell(f"checkpoint {kind}") == "checkpointed"
            assert store.revision() == before + 2
        await store.close()


async def test_checkpoints_here_do_not_hide_changes_there(path: Path) -> None:
    """A revocation just after this gateway tidied its log would be missed."""
    with other_process(path) as other:
        other.tell(f"create {APP}")
        store = watching(path)
        for kind in ("TRUNCATE", "RESTART", "FULL", "PASSIVE") * 5:
            before = store.revision()
            with closing(sqlite3.connect(path)) as database:
                database.execute(f"PRAGMA wal_checkpoint({kind})")
            assert other.tell(f"disable {APP}") == "True"
            assert store.revision() == before + 1
            assert other.tell(f"enable {APP}") == "True"
            assert store.revision() == before + 2
        await store.close()


async def test_creations_elsewhere_are_found_without_a_new_revision(path: Path) -> None:
    """A new key would work only after a restart, or each new key would empty every gateway's memory."""
    with other_process(path) as other:
        store = watching(path)
        before = store.revision()
        for number in range(20):
            app_id = f"5a000000000000000000{number:04x}"
            assert await the_app(store, app_id) is None
            other.tell(f"create {app_id}")
            assert store.revision() == before
            assert await the_app(store, app_id) is not None
        await store.close()


async def test_a_process_that_is_killed_hides_nothing(path: Path) -> None:
    """A crash of the process that revoked would leave the key working in the others."""
    store = open_store(f"sqlite:///{path}", create=True)
    other = OtherProcess(path)
    other.tell(f"create {APP}")
    for turn in range(3):
        before = store.revision()
        other.tell(f"{'disable' if turn % 2 == 0 else 'enable'} {APP}")
        other.kill()
        assert store.revision() == before + 1
        other = OtherProcess(path)
    other.end()
    await store.close()


def lock_is_held(path: Path) -> bool:
    """Whether SQLite's lock that says "in use" (byte 128 of the wal-index file) is held by anybody, asked from outside.

    It is what keeps another process from clearing the file that this one has mapped.
    """
    probe = (
        "import fcntl, sys\n"
        "try: fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)\n"
        "except OSError: sys.exit(1)"
    )
    return subprocess.run([sys.executable, "-c", probe, f"{path}-shm"], check=False).returncode == 1


async def test_closing_one_store_leaves_the_locks_of_another(path: Path) -> None:
    """Closing one of two stores in a process would drop the other's locks: the database could be damaged."""
    first = open_store(f"sqlite:///{path}", create=True)
    second = watching(path)
    assert lock_is_held(path)
    await first.close()
    assert lock_is_held(path)
    third = watching(path)
    await second.close()
    assert lock_is_held(path)
    before = third.revision()
    with other_process(path) as other:
        other.tell(f"create {APP}")
        other.tell(f"disable {APP}")
        assert third.revision() == before + 1
    await third.close()


async def test_a_link_leads_to_the_same_store(path: Path, tmp_path: Path) -> None:
    """A store opened by way of a symbolic link would watch a file that is not there."""
    store = open_store(f"sqlite:///{path}", create=True)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    linked = watching(link)
    with claimed(link) as by_link, claimed(path) as by_path:
        assert by_link is by_path
    before = linked.revision()
    with other_process(path) as other:
        other.tell(f"create {APP}")
        other.tell(f"disable {APP}")
    assert linked.revision() == before + 1
    await linked.close()
    await store.close()


@contextmanager
def claimed(path: Path) -> Iterator[WalIndex]:
    """A claim on the wal-index of a database."""
    index = WalIndex.claim(path)
    try:
        yield index
    finally:
        index.release()


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A database of one table in WAL mode, with a connection open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        yield connection


def test_the_header_changes_with_each_commit_only(path: Path, database: sqlite3.Connection) -> None:
    """Each look would read the database anew, or none would."""
    with claimed(path) as index:
        header = index.header()
        assert header is not None
        seen = {header()}
        for number in range(50):
            before = header()
            database.execute("SELECT * FROM t").fetchall()
            assert header() == before
            database.execute("INSERT INTO t VALUES (?)", (number,))
            seen.add(header())
        assert len(seen) == 51
        assert len(header()) == HEADER


def test_without_a_wal_index_there_is_nothing_to_watch(path: Path) -> None:
    """A gateway would fail to start where the wal-index is not a file."""
    path.write_bytes(b"")
    with claimed(path) as index:
        assert index.header() is None
        Path(f"{path}-shm").write_bytes(b"short")
        assert index.header() is None


def test_an_unknown_format_is_not_watched(path: Path, database: sqlite3.Connection, tmp_path: Path) -> None:
    """A later SQLite's header would be misread, and revocations be missed."""
    database.execute("INSERT INTO t VALUES (1)")
    other = tmp_path / "other.db"
    other.write_bytes(b"")
    image = Path(f"{path}-shm").read_bytes()
    Path(f"{other}-shm").write_bytes(bytes(4) + image[4:])
    with claimed(other) as index:
        assert index.header() is None


def test_a_replaced_wal_index_is_not_watched(path: Path, database: sqlite3.Connection) -> None:
    """A store that was closed and opened anew would look at the old file for ever, and see no revocation."""
    database.execute("INSERT INTO t VALUES (1)")
    index_file = Path(f"{path}-shm")
    with claimed(path) as index, claimed(path) as again:
        assert again is index
        assert index.header() is not None
        copy = index_file.with_name("copy")
        shutil.copy(index_file, copy)
        copy.replace(index_file)
        assert index.header() is None


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """A process that opens and closes stores would run out of descriptors."""
    for number in range(3):
        path = tmp_path / f"{number}.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE t (x)")
            before = descriptors()
            with claimed(path) as index, claimed(path) as again:
                assert index.header() is not None
                assert again.header() is not None
                assert descriptors() > before
            assert descriptors() == before
