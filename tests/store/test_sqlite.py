"""The SQLite store keeps the contract, and says so when its disk, its lock or its file fails it."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.audit import AuditAction
from gateway.core.ledger import Act, Changes, Snapshot
from gateway.core.records import DELETED, KeyRecord, Role, User, UserTokenRecord, works
from gateway.store.contract import Store, StoreBroken, StoreUnavailable
from gateway.store.database import connect, erase, transaction
from gateway.store.listing import PAGE_CHARACTERS, page_of
from gateway.store.open import open_store
from tests.store import acts, crashing, suite
from tests.store.acts import do, look
from tests.store.checks_items import change_user
from tests.store.place import (
    APP,
    KEY_ID,
    OTHER_APP,
    TOKEN_ID,
    USER_ID,
    Check,
    Place,
    everything,
    fill,
    filled,
    listed,
    opened,
    the_app,
    the_events,
    the_key,
    the_user,
)
from tests.store.racing import race

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(path: Path) -> Place:
    """A place for stores in one file."""

    async def opened() -> Store:
        return open_store(f"sqlite:///{path}", create=True, patience=10)

    return Place(opened)


@pytest.mark.parametrize("check", suite.CHECKS, ids=[check.__name__ for check in suite.CHECKS])
async def test_the_contract_is_kept(check: Check, place: Place) -> None:
    """The SQLite store would differ from what every caller relies on; see the check."""
    await check(place)


def test_a_page_is_as_long_as_its_texts() -> None:
    """A list of long texts would take gigabytes, and the event loop meanwhile."""
    rows = iter([("x" * PAGE_CHARACTERS, 1)] * 3 + [("x", 1)] * 3)
    assert [len(page_of(rows)) for _ in range(5)] == [1, 1, 1, 3, 0]


async def test_processes_that_race_keep_the_cap(place: Place, path: Path) -> None:
    """An app would get more keys than it may by asking several gateways and commands of one machine at once."""
    store = await place.open()
    raced = await race(f"sqlite:///{path}", store)
    raced.check()
    await store.close()


async def test_a_process_that_is_killed_leaves_what_it_was_told(place: Place, path: Path) -> None:
    """A crash would lose a revocation that was acknowledged, or leave a change that nobody is known to have made."""
    store = await place.open()
    await do(store, acts.make_app(APP))
    told = []
    for number in range(1, 13):
        told += await crashing.killed(f"sqlite:///{path}", number, 20 + number, number / 12)
        await crashing.check(store, told)
    await store.close()


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
    await fill(store)
    (done,) = await do(store, acts.revoke(APP.id, KEY_ID))
    assert (await the_key(store)).revoked_at == done.at
    await store.note_used({KEY_ID: 1})
    await store.close()
    assert modes(tmp_path) == []


async def test_two_stores_in_memory_are_apart() -> None:
    """One test's keys would work in another."""
    one, other = open_store("memory:"), open_store("memory:")
    await do(one, acts.make_app(APP))
    assert await the_app(other) is None
    assert await one.identity() != await other.identity()
    await one.close()
    await other.close()


async def test_no_change_without_its_event(place: Place, path: Path) -> None:
    """A key could be made or ended with no trace of who did it."""
    async with filled(place) as store:
        before = (store.revision(), await everything(store))
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TRIGGER no_more BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
        for change in (
            acts.make_key(APP.id, "5a000000000000b1"),
            acts.make_token(APP.id, "5a000000000000b2", None, None, new_user_id="5au"),
            acts.revoke(APP.id, KEY_ID),
            acts.switch_app(APP.id, disabled=True),
        ):
            with pytest.raises(sqlite3.IntegrityError):
                await store.act([change])
        assert (store.revision(), await everything(store)) == before


async def test_a_rule_that_breaks_keeps_nothing(place: Place) -> None:
    """A fault of ours in one act would leave the acts before it done, and their caller told that none is."""

    def broken(seen: Snapshot) -> Changes:
        raise LookupError(seen.app)

    async with filled(place) as store:
        before = await everything(store)
        with pytest.raises(LookupError):
            await store.act([acts.revoke(APP.id, KEY_ID), Act(acts.asking(APP.id), broken)])
        assert await everything(store) == before
        await do(store, acts.revoke(APP.id, KEY_ID))


async def test_an_id_that_was_not_asked_for_is_not_written_over(place: Place) -> None:
    """A slip in a rule of ours would put one credential in the place of another, of another app even."""
    slips = [
        (OTHER_APP.id, Changes(keys=(KeyRecord(KEY_ID, OTHER_APP.id, "n", frozenset({"A"}), b"x" * 32, 1, 2),))),
        (APP.id, Changes(tokens=(UserTokenRecord(TOKEN_ID, APP.id, USER_ID, b"x" * 32, 1, 2),))),
        (APP.id, Changes(users=(User(USER_ID, APP.id),))),
        (APP.id, Changes(tokens=(UserTokenRecord("5a000000000000b2", APP.id, "nobody", b"x" * 32, 1, 2),))),
    ]
    async with filled(place) as store:
        before = await everything(store)
        for app_id, changes in slips:
            with pytest.raises(sqlite3.IntegrityError):
                await store.act([Act(acts.asking(app_id), lambda seen, changes=changes: changes)])
        assert await everything(store) == before


async def test_a_clock_that_is_set_back_revives_nothing(path: Path) -> None:
    """A key that had expired would work again, and take a place, when the machine's clock is corrected."""
    times = iter([1000, 1001, 1002, 5000, 500, 400, 300, 6000])
    store = open_store(f"sqlite:///{path}", create=True, clock=lambda: next(times))
    await do(store, acts.make_app(APP), acts.make_key(APP.id, KEY_ID, lifetime=100))
    assert [(await look(store, APP.id)).now for _ in range(5)] == [1002, 5000, 5000, 5000, 5000]
    assert not works(await the_key(store), (await look(store, APP.id)).now)
    await store.close()


@pytest.mark.parametrize("table", ["audit", "seal"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET at = 0"])
async def test_the_audit_is_append_only(place: Place, path: Path, statement: str, table: str) -> None:
    """Whoever opens the file by hand would wipe a trace by a slip of the pen."""
    async with filled(place) as store:
        before = await the_events(store)
        with closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO seal VALUES (1, 1, 1, 1, '', '', '')")
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement.format(table))
        assert await the_events(store) == before


async def test_no_secret_is_in_the_files(place: Place, path: Path) -> None:
    """Whoever copies the database could use the keys in it."""
    secret = b"PCkeK8fsOOHCGbYdCUyWx6xd2ivh2DOxR816N56NAd"
    async with filled(place):
        files = list(path.parent.iterdir())
        assert {file.name for file in files} >= {"store.db", "store.db-wal", "store.db-shm"}
        assert not any(secret in file.read_bytes() for file in files)


ERASED = b"customer-17"


def the_erased(path: Path, name: bytes = ERASED) -> list[str]:
    """The files of the store that still hold the name."""
    return [file.name for file in path.parent.iterdir() if name in file.read_bytes()]


async def test_an_erased_name_is_in_no_file(place: Place, path: Path) -> None:
    """Whoever deleted a user could not say that the name is gone: it would stand in a page or in the log of writes."""
    async with filled(place) as store, opened(place) as other:
        await other.sweep()
        assert the_erased(path)
        await do(other, change_user(lambda user: replace(user, external_id=None, cut_at=DELETED)))
        assert the_erased(path) == []
        assert await the_user(store) == User(USER_ID, APP.id, cut_at=DELETED)


async def test_a_reader_delays_the_erasing_only(place: Place, path: Path) -> None:
    """A backup that runs while a user is deleted would keep the name in the log of writes for good."""
    async with filled(place) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("BEGIN")
            database.execute("SELECT * FROM user").fetchall()
            # Far from the log's beginning, which the next write may overwrite.
            await do(store, *(acts.make_key(OTHER_APP.id, f"7b{number:014x}") for number in range(9)))
            await do(store, change_user(lambda user: replace(user, switches=2)))
            await do(store, change_user(lambda user: replace(user, external_id=None, cut_at=DELETED)))
            assert the_erased(path)
        await store.lease("seal", "holder", 1)
        assert the_erased(path) == []


async def test_the_next_sweep_erases_what_a_command_could_not(place: Place, path: Path) -> None:
    """A name that a command erased during a backup would stand in the log of writes, since the command has ended."""
    async with filled(place) as store:
        await store.sweep()
        async with opened(place) as command:
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute("BEGIN")
                database.execute("SELECT * FROM user").fetchall()
                await do(store, change_user(lambda user: replace(user, switches=2)))
                await do(command, change_user(lambda user: replace(user, external_id=None, cut_at=DELETED)))
        assert the_erased(path)
        await store.sweep()
        assert the_erased(path) == []


def test_an_erasing_that_fails_is_said(made: Path) -> None:
    """An act that was kept would be reported as failed, or the erasing not be tried again."""
    with closing(connect(made, mode="rw", patience=1)) as database:
        with transaction(database):
            database.execute("UPDATE app SET name = 'another'")
            assert not erase(database)
        assert erase(database)
        assert database.execute("PRAGMA busy_timeout").fetchall() == [(1000,)]


async def test_an_address_that_was_removed_is_in_no_file(place: Place, path: Path) -> None:
    """The address of somebody who left would stay in a page or in the log of writes."""
    async with filled(place) as store:
        await store.sweep()
        await do(store, acts.grant(APP.id, "ann@example.com", Role.DEVELOPER))
        assert the_erased(path, b"ann@example.com")
        await do(store, acts.remove(APP.id, "ann@example.com"))
        assert the_erased(path, b"ann@example.com") == []


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
    before = await everything(store)
    for act in (
        acts.make_key(APP.id, "5a000000000000b1"),
        acts.revoke(APP.id, KEY_ID),
        acts.switch_app(APP.id, disabled=True),
    ):
        with pytest.raises(StoreUnavailable, match="locked by another process") as failed:
            await store.act([act])
        assert not isinstance(failed.value, StoreBroken)
        assert not failed.value.in_grace
        assert not failed.value.unknown
        assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
        assert await everything(store) == before
        assert works(await the_key(store), (await look(store, APP.id)).now)
        store.revision()
        await store.ping()
    with pytest.raises(StoreUnavailable, match="locked by another process"):
        await store.lease("seal", "one", 60)
    await store.note_used({KEY_ID: 1})
    assert await store.last_used([KEY_ID]) == {KEY_ID: 1}
    locked.execute("ROLLBACK")
    assert (await do(store, acts.revoke(APP.id, KEY_ID)))[0].changes
    await store.close()


async def test_waiting_for_the_lock_does_not_hold_the_loop(locked: sqlite3.Connection, path: Path) -> None:
    """All requests would wait while one write waits for another process."""
    store = open_store(f"sqlite:///{path}", patience=60)
    write = asyncio.create_task(do(store, acts.revoke(APP.id, KEY_ID)))
    for _ in range(100):
        assert await store.find_key(KEY_ID) is not None
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
    revocation = asyncio.create_task(do(store, acts.revoke(APP.id, KEY_ID)))
    await asyncio.sleep(0)
    await store.close()
    assert await revocation
    assert [file.name for file in path.parent.iterdir()] == ["store.db"]
    store = await place.open()
    assert (await the_events(store))[-1].event.action is AuditAction.KEY_REVOKED
    await store.close()


async def test_a_list_holds_no_view_of_the_past(place: Place, path: Path) -> None:
    """An export that is slow, or given up, would hide revocations, or let the log of writes grow without end."""
    async with filled(place) as store:
        await do(store, *(acts.make_app(app) for app in acts.apps(1200)))
        listing = store.apps()
        await anext(listing)
        (done,) = await do(store, acts.revoke(APP.id, KEY_ID))
        assert (await the_key(store)).revoked_at == done.at
        with closing(sqlite3.connect(path)) as database:
            ((blocked, _, _),) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert not blocked
        assert len(await listed(listing)) == 1201


FULL = """
import asyncio, os, resource, sys
from pathlib import Path
from gateway.store.contract import StoreUnavailable
from gateway.store.listing import PAGE_CHARACTERS, page_of
from gateway.store.open import open_store
from tests.store import acts
from tests.store.place import *

async def main(path, room, free):
    store = open_store(f"sqlite:///{path}", create=True)
    await fill(store)
    key, revision = await store.find_key(KEY_ID), store.revision()
    room()
    made = []
    try:
        for app in acts.apps(100_000):
            await do(store, acts.make_app(app))
            made.append(app)
    except StoreUnavailable as error:
        print(error, "|", type(error.__cause__).__name__)
    try:
        print(await do(store, acts.revoke(APP.id, KEY_ID)))
    except StoreUnavailable:
        print("not revoked")
    print(await store.find_key(KEY_ID) == key, store.revision() == revision)
    print([await the_app(store, app.id) for app in made] == made, len(made) > 0)
    print(len(await listed(store.apps())) == len(made) + 2, len(await the_events(store)) == len(made) + 5)
    free()
    print(bool((await do(store, acts.revoke(APP.id, KEY_ID)))[0].changes), store.revision() == revision + 1)
    await store.close()
"""
AFTER_FULL = ["not revoked", "True True", "True True", "True True", "True True"]


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
    for look_up in (
        store.find_key(KEY_ID),
        store.find_user_token(TOKEN_ID),
        store.find_key("f" * 16),
        look(store, APP.id),
        listed(store.keys()),
    ):
        with pytest.raises(StoreBroken, match="is damaged; restore it from a backup"):
            await look_up
    with pytest.raises(StoreBroken, match="is damaged"):
        await store.ping()
    await store.close()


@pytest.mark.parametrize(
    "change", ["UPDATE app SET name = CAST(x'ff' AS TEXT)", "UPDATE api_key SET revoked_why = 'no reason known here'"]
)
async def test_a_text_that_is_none_is_a_fault_of_the_store(place: Place, path: Path, change: str) -> None:
    """A record of broken text would end a request with 500 and a stack trace."""
    async with filled(place) as store:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(change)
        for look_up in (store.find_key(KEY_ID), look(store, APP.id), do(store, acts.revoke(APP.id, KEY_ID))):
            with pytest.raises(StoreBroken, match="is damaged"):
                await look_up


async def test_a_store_that_was_closed_is_a_fault_of_ours(path: Path) -> None:
    """A slip in our own code would be told to callers as a store that is away."""
    store = open_store(f"sqlite:///{path}", create=True)
    await store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        await store.find_key(KEY_ID)
