"""An update of the gateway keeps every key, whether it succeeds or not."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core import deletion
from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Act, Decide
from gateway.core.records import App, KeyRecord, RevokedWhy, User, UserTokenRecord
from gateway.store.contract import FoundKey, FoundUserToken, StoreUnavailable
from gateway.store.migrations import APPLICATION_ID, MIGRATIONS
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, listed, the_app, the_events, the_user

ROOT = Path(__file__).parents[2]

# A store as the first version of the gateway left it.
OLD_ROWS = """
    UPDATE meta SET revision = 7;
    INSERT INTO app VALUES ('5a01', 'søn; --', 'eu', 0), ('7b02', 'stopped', 'us', 1);
    INSERT INTO api_key VALUES
        ('5a00000000000001', '5a01', 'nightly', 'USER_LINK USER_READ', x'{k}', 10, 20, NULL),
        ('0123456789abc', '7b02', 'ended', 'USER_READ', x'{k}', 11, 21, 15),
        ('fefefefe', '7b02', 'made by nobody', 'USER_READ', x'{k}', 12, 22, NULL);
    INSERT INTO user VALUES
        ('5a01', 'u1', 'customer-17', 0), ('5a01', 'u2', NULL, 1), ('7b02', 'u1', NULL, 0), ('7b02', 'u3', NULL, 0);
    INSERT INTO user_token VALUES
        ('5a00000000000002', '5a01', 'u1', x'{t}', 30, 40, NULL),
        ('5a00000000000003', '5a01', 'u2', x'{t}', 31, 41, NULL),
        ('123456789', '7b02', 'u1', x'{t}', 32, 42, 35);
    INSERT INTO last_used VALUES ('5a00000000000001', 17), ('5a00000000000002', 18);
    INSERT INTO audit (at, action, app_id, subject_id, actor) VALUES
        (1, 'app.created', '5a01', '5a01', 'cli:ada'),
        (10, 'key.created', '5a01', '5a00000000000001', 'cli:søn'),
        (11, 'key.created', '7b02', '0123456789abc', 'cli:ada'),
        (15, 'key.revoked', '7b02', '0123456789abc', 'dev');
"""
K, T = b"k" * 32, b"t" * 32
APPS = [App("5a01", "søn; --", "eu"), App("7b02", "stopped", "us", switches=1)]
KEYS = [
    KeyRecord(
        "5a00000000000001", "5a01", "nightly", frozenset({"USER_LINK", "USER_READ"}), K, 10, 20, created_by="cli:søn"
    ),
    KeyRecord(
        "0123456789abc",
        "7b02",
        "ended",
        frozenset({"USER_READ"}),
        K,
        11,
        21,
        created_by="cli:ada",
        revoked_at=15,
        revoked_why=RevokedWhy.REQUESTED,
    ),
    KeyRecord("fefefefe", "7b02", "made by nobody", frozenset({"USER_READ"}), K, 12, 22),
]
USERS = [User("u1", "5a01", "customer-17"), User("u2", "5a01", switches=1), User("u1", "7b02"), User("u3", "7b02")]
TOKENS = [
    UserTokenRecord("123456789", "7b02", "u1", T, 32, 42, 35),
    UserTokenRecord("5a00000000000002", "5a01", "u1", T, 30, 40),
    UserTokenRecord("5a00000000000003", "5a01", "u2", T, 31, 41),
]
EVENTS = [
    AuditEvent(1, AuditAction.APP_CREATED, "5a01", "5a01", "cli:ada"),
    AuditEvent(10, AuditAction.KEY_CREATED, "5a01", "5a00000000000001", "cli:søn"),
    AuditEvent(11, AuditAction.KEY_CREATED, "7b02", "0123456789abc", "cli:ada"),
    AuditEvent(15, AuditAction.KEY_REVOKED, "7b02", "0123456789abc", "dev"),
]


@pytest.fixture
def old(path: Path) -> Path:
    """The path of a store of the first version, with data."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; {MIGRATIONS[0]}; PRAGMA user_version = 1;"
            + OLD_ROWS.format(k=K.hex(), t=T.hex())
        )
        database.commit()
    return path


async def test_a_store_of_the_first_version_loses_nothing(old: Path) -> None:
    """After the update keys would be gone, revoked or disabled ones work again, or their history be lost."""
    for _ in range(2):
        store = open_store(f"sqlite:///{old}")
        assert await listed(store.apps()) == APPS
        assert await listed(store.keys()) == KEYS
        assert await listed(store.users()) == USERS
        assert await listed(store.user_tokens()) == TOKENS
        assert [each.event for each in await the_events(store)] == EVENTS
        assert await store.chains() == await store.unsealed() == [f"{await store.identity()}/main"]
        assert await store.find_key("0123456789abc") == FoundKey(KEYS[1], APPS[1])
        assert await store.find_user_token("5a00000000000003") == FoundUserToken(TOKENS[2], USERS[1], APPS[0])
        assert store.revision() == 7
        assert await store.last_used(["5a00000000000001", "fefefefe"]) == {"5a00000000000001": 17}
        await store.close()


async def test_a_store_of_the_first_version_goes_on(old: Path) -> None:
    """After the update nothing could be changed, or what is changed would not be whole."""
    store = open_store(f"sqlite:///{old}")
    await do(store, acts.switch_app("7b02", disabled=False), acts.make_token("5a01", "5a00000000000009", "u2"))
    await store.note_used({"5a00000000000001": 16, "fefefefe": 19})
    assert store.revision() == 8
    app = await the_app(store, "7b02")
    assert app is not None
    assert not app.disabled
    assert await the_user(store, "5a01", "u2") == USERS[1]
    assert [each.number for each in await the_events(store)] == [1, 2, 3, 4, 5, 6]
    assert await store.last_used(["5a00000000000001", "fefefefe"]) == {"5a00000000000001": 17, "fefefefe": 19}
    await store.close()
    with closing(sqlite3.connect(old)) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for statement in ("DELETE FROM audit", "UPDATE audit SET actor = ''", "DELETE FROM seal"):
            if statement.endswith("seal"):
                database.execute("INSERT INTO seal VALUES (1, 1, 1, 1, '', '', '')")
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)


def test_many_that_update_it_at_once_do_it_once(old: Path) -> None:
    """A gateway and a command started together after the update would spoil the store for each other."""
    script = (
        "import asyncio, sys\n"
        "from gateway.store.open import open_store\n"
        "async def main(path):\n"
        "    store = open_store(f'sqlite:///{path}', patience=60)\n"
        "    print(await store.identity(), len([key async for key in store.keys()]))\n"
        "    await store.close()\n"
        "asyncio.run(main(sys.argv[1]))\n"
    )
    rivals = [
        subprocess.Popen([sys.executable, "-c", script, str(old)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = {rival.communicate()[0] for rival in rivals}
    assert [rival.returncode for rival in rivals] == [0, 0, 0, 0]
    assert len(outputs) == 1
    assert outputs.pop().endswith(" 3\n")


async def test_an_older_store_is_brought_up_to_date(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of the gateway all keys would be gone, or the update not start."""
    steps = (*MIGRATIONS, "CREATE TABLE later (x TEXT) STRICT; INSERT INTO later VALUES ('a;b');")
    monkeypatch.setattr("gateway.store.migrations.MIGRATIONS", steps)
    monkeypatch.setattr("gateway.store.file.MIGRATIONS", steps)
    for _ in range(2):
        store = open_store(f"sqlite:///{made}")
        assert await the_app(store) == APP
        await store.close()
    with closing(sqlite3.connect(made)) as database:
        assert database.execute("SELECT x FROM later").fetchall() == [("a;b",)]
        assert database.execute("PRAGMA user_version").fetchall() == [(len(steps),)]


async def test_a_step_that_fails_changes_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that breaks half-way would leave a store that no version can read."""
    steps = (*MIGRATIONS, "CREATE TABLE later (x TEXT) STRICT; INSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.migrations.MIGRATIONS", steps)
        patch.setattr("gateway.store.file.MIGRATIONS", steps)
        with pytest.raises(StoreUnavailable, match=r"failed \(SQLITE_ERROR\)"):
            open_store(f"sqlite:///{made}")
    store = open_store(f"sqlite:///{made}")
    assert await the_app(store) == APP
    await store.close()


async def test_what_is_erased_after_an_update_is_in_no_file(path: Path) -> None:
    """Names would stay in a store that a library made which leaves in the file what it moves within it."""
    numbers = [number * 191 % 500 for number in range(500)]  # each once, in no order
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; {MIGRATIONS[0]} {MIGRATIONS[1]} PRAGMA user_version = 2;"
        )
        database.execute("INSERT INTO app VALUES (?, 'demo', 'eu', '', 0, 0)", (APP.id,))
        for number in numbers:
            named = (APP.id, f"u{number}", f"customer-{number}-{'x' * (number % 30)}")
            database.execute("INSERT INTO user VALUES (NULL, ?, ?, ?, 0, 0)", named)
    store = open_store(f"sqlite:///{path}")
    await do(store, *(Act(deletion.asked_of(APP.id, f"u{number}"), _deleted(f"u{number}")) for number in numbers))
    assert [file.name for file in path.parent.iterdir() if b"customer-" in file.read_bytes()] == []
    assert all(user.deleted for user in await listed(store.users()))
    await store.close()


def _deleted(user_id: str) -> Decide:
    return lambda seen: deletion.delete_user(seen, user_id, acts.WHO)
