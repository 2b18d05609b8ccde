"""The SQLite store keeps the contract, and says so when its disk, its lock or its file fails it."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.records import App
from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.open import open_store
from tests.store import suite
from tests.store.suite import APP, APP_MADE, KEY, KEY_MADE, KEY_REVOKED, TOKEN, Check, Place, filled

ROOT = Path(__file__).parents[2]


def audit(path: Path) -> list[AuditEvent]:
    """Every audit event, in the order of their numbers, which have no gap."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT * FROM audit ORDER BY number").fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    return [AuditEvent(at, AuditAction(action), app, subject, actor) for _, at, action, app, subject, actor in rows]


@pytest.fixture
def place(path: Path) -> Place:
    """A place for stores in one file."""
    return Place(lambda: open_store(f"sqlite:///{path}", create=True, patience=10), lambda: audit(path))


@pytest.mark.parametrize("check", suite.CHECKS, ids=[check.__name__ for check in suite.CHECKS])
async def test_the_contract_is_kept(check: Check, place: Place) -> None:
    """The SQLite store would differ from what every caller relies on; see the check."""
    await check(place)


def modes(directory: Path) -> list[int]:
    """The modes of what is in a directory."""
    return [entry.stat().st_mode & 0o777 for entry in directory.iterdir()]


async def test_a_store_in_memory_keeps_the_contract_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests and demonstrations would show another store than the real one, or leave their keys on the disk."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = open_store("memory:")
    assert modes(tmp_path) == [0o700]
    await store.create_app(APP, APP_MADE)
    await store.create_key(KEY, KEY_MADE)
    assert await store.revoke_key(KEY.id, 1500, KEY_REVOKED)
    found = await store.find_key(KEY.id)
    assert found is not None
    assert found.record.revoked_at == 1500
    await store.close()
    assert modes(tmp_path) == []


async def test_two_stores_in_memory_are_apart() -> None:
    """One test's keys would work in another."""
    one, other = open_store("memory:"), open_store("memory:")
    await one.create_app(APP, APP_MADE)
    assert await other.find_app(APP.id) is None
    await one.close()
    await other.close()


async def test_no_change_without_its_event(place: Place, path: Path) -> None:
    """A key could be made or ended with no trace of who did it."""
    async with filled(place) as store:
        revision = store.revision()
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TRIGGER no_more BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
        for change in (
            store.create_app(App("5a0000000000000000000a09", "new", "eu"), APP_MADE),
            store.revoke_key(KEY.id, 1500, KEY_REVOKED),
            store.set_app_disabled(APP.id, True, APP_MADE),
        ):
            with pytest.raises(sqlite3.IntegrityError):
                await change
        assert await store.find_app("5a0000000000000000000a09") is None
        found = await store.find_key(KEY.id)
        assert found is not None
        assert (found.record, found.app) == (KEY, APP)
        assert store.revision() == revision


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET actor = 'nobody'"])
async def test_the_audit_is_append_only(place: Place, path: Path, statement: str) -> None:
    """Whoever opens the file by hand would wipe a trace by a slip of the pen."""
    async with filled(place):
        before = place.events()
        with closing(sqlite3.connect(path)) as database, pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
        assert place.events() == before


async def test_no_secret_is_in_the_files(place: Place, path: Path) -> None:
    """Whoever copies the database could use the keys in it."""
    secret = b"PCkeK8fsOOHCGbYdCUyWx6xd2ivh2DOxR816N56NAd"
    async with filled(place):
        files = list(path.parent.iterdir())
        assert {file.name for file in files} >= {"store.db", "store.db-wal", "store.db-shm"}
        assert not any(secret in file.read_bytes() for file in files)


@pytest.fixture
def locked(place: Place, path: Path) -> Iterator[sqlite3.Connection]:
    """A store whose write lock somebody else holds, by a connection that can give it back."""

    async def fill() -> None:
        async with filled(place):
            pass

    asyncio.run(fill())
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database


async def test_a_locked_store_reads_and_says_that_it_cannot_write(locked: sqlite3.Connection, path: Path) -> None:
    """A backup that holds the lock would stop all traffic, or a revocation be reported that was not made."""
    store = open_store(f"sqlite:///{path}", patience=0.05)
    writes = [
        store.create_key(KEY, KEY_MADE),
        store.revoke_key(KEY.id, 1500, KEY_REVOKED),
        store.set_app_disabled(APP.id, True, APP_MADE),
        store.note_used({KEY.id: 1}),
    ]
    for write in writes:
        with pytest.raises(StoreUnavailable, match="locked by another process") as failed:
            await write
        assert not isinstance(failed.value, StoreBroken)
        assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
        found = await store.find_key(KEY.id)
        assert found is not None
        assert found.record == KEY
        store.revision()
        await store.ping()
    locked.execute("ROLLBACK")
    assert await store.revoke_key(KEY.id, 1500, KEY_REVOKED)
    await store.close()


async def test_waiting_for_the_lock_does_not_hold_the_loop(locked: sqlite3.Connection, path: Path) -> None:
    """All requests would wait while one write waits for another process."""
    store = open_store(f"sqlite:///{path}", patience=60)
    write = asyncio.create_task(store.revoke_key(KEY.id, 1500, KEY_REVOKED))
    for _ in range(100):
        assert await store.find_key(KEY.id) is not None
        await asyncio.sleep(0)
    assert not write.done()
    locked.execute("ROLLBACK")
    assert await write
    await store.close()


async def test_closing_waits_for_what_was_begun(place: Place, path: Path) -> None:
    """A revocation that was under way when the gateway stopped would be lost, its caller not knowing."""
    async with filled(place):
        pass
    store = open_store(f"sqlite:///{path}", patience=60)
    revocation = asyncio.create_task(store.revoke_key(KEY.id, 1500, KEY_REVOKED))
    await asyncio.sleep(0)
    await store.close()
    assert await revocation
    assert place.events()[-1] == KEY_REVOKED
    assert [file.name for file in path.parent.iterdir()] == ["store.db"]


FULL = """
import asyncio, os, resource, sys
from pathlib import Path
from gateway.store.contract import StoreUnavailable
from gateway.store.open import open_store
from tests.store.suite import *

async def main(path, room, free):
    store = open_store(f"sqlite:///{path}", create=True)
    await store.create_app(APP, APP_MADE)
    await store.create_key(KEY, KEY_MADE)
    room()
    made = []
    try:
        for number in range(100_000):
            app = App(f"{number:024x}", "x" * 100, "eu")
            await store.create_app(app, event(AuditAction.APP_CREATED, app.id, app=app.id))
            made.append(app)
    except StoreUnavailable as error:
        print(error, "|", type(error.__cause__).__name__)
    revision = store.revision()
    try:
        print(await store.revoke_key(KEY.id, 1500, KEY_REVOKED))
    except StoreUnavailable:
        print("not revoked")
    found = await store.find_key(KEY.id)
    print(found == FoundKey(KEY, APP), store.revision() == revision)
    print(all([await store.find_app(app.id) == app for app in made]), len(made) > 0)
    print(await store.find_app(f"{len(made):024x}"))
    free()
    print(await store.revoke_key(KEY.id, 1500, KEY_REVOKED))
    await store.close()
"""
AFTER_FULL = ["not revoked", "True True", "True True", "None", "True"]


def run(script: str, *words: str, wrap: tuple[str, ...] = ()) -> list[str]:
    """The lines that a script prints, run by itself."""
    result = subprocess.run(
        [*wrap, sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_a_disk_that_fails_is_told_and_reading_goes_on(path: Path) -> None:
    """A revocation that was not written would be reported as done, or all requests be refused with the disk."""
    script = f"""{FULL}
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
asyncio.run(main(sys.argv[1], lambda: limit(200_000), lambda: limit(resource.RLIM_INFINITY)))
"""
    first, *rest = run(script, str(path))
    assert first == f"The store {path} cannot be read or written: the disk reports an error. | OperationalError"
    assert rest == AFTER_FULL


def may_mount() -> bool:
    """Whether a small file system can be made here."""
    return (
        sys.platform == "linux"
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not may_mount(), reason="only root may mount")
def test_a_full_disk_is_told_and_reading_goes_on(tmp_path: Path) -> None:
    """As above, on a disk that is really full."""
    script = f"""{FULL}
disk = Path(sys.argv[1])
filler = disk / "filler"
asyncio.run(main(disk / "store.db", lambda: filler.write_bytes(bytes(100_000)), filler.unlink))
"""
    mounted = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=512k none {tmp_path} && exec "$@"', "sh")
    first, *rest = run(script, str(tmp_path), wrap=mounted)
    assert first == f"The store {tmp_path}/store.db cannot grow: the disk is full. | OperationalError"
    assert rest == AFTER_FULL


def wipe(path: Path) -> None:
    """Overwrite all pages but the first, by another process: closing the file here would drop SQLite's locks on it."""
    script = (
        "import os, sys; file = os.open(sys.argv[1], os.O_RDWR);"
        "os.pwrite(file, b'\\xff' * (os.fstat(file).st_size - 4096), 4096)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)


async def test_a_file_damaged_in_use_is_a_fault_of_the_store(place: Place, path: Path) -> None:
    """A good key would be answered 401, and its holder throw it away."""
    async with filled(place):
        pass
    store = open_store(f"sqlite:///{path}")
    wipe(path)
    for look_up in (store.find_key(KEY.id), store.find_user_token(TOKEN.id), store.find_key("f" * 16)):
        with pytest.raises(StoreBroken, match="is damaged; restore it from a backup"):
            await look_up
    with pytest.raises(StoreBroken, match="is damaged"):
        await store.ping()
    await store.close()


async def test_a_text_that_is_none_is_a_fault_of_the_store(place: Place, path: Path) -> None:
    """A record of broken text would end a request with 500 and a stack trace."""
    async with filled(place) as store:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE app SET name = CAST(x'ff' AS TEXT)")
        with pytest.raises(StoreBroken, match="is damaged"):
            await store.find_key(KEY.id)


async def test_a_store_that_was_closed_is_a_fault_of_ours(path: Path) -> None:
    """A slip in our own code would be told to callers as a store that is away."""
    store = open_store(f"sqlite:///{path}", create=True)
    await store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        await store.find_key(KEY.id)
