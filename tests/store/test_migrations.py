"""An update of the gateway keeps every key, whether it succeeds or not."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.contract import StoreUnavailable
from gateway.store.migrations import MIGRATIONS
from gateway.store.open import open_store
from tests.store.suite import APP


async def test_an_older_store_is_brought_up_to_date(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of the gateway all keys would be gone, or the update not start."""
    steps = (*MIGRATIONS, "CREATE TABLE later (x TEXT) STRICT; INSERT INTO later VALUES ('a;b');")
    monkeypatch.setattr("gateway.store.migrations.MIGRATIONS", steps)
    monkeypatch.setattr("gateway.store.file.MIGRATIONS", steps)
    for _ in range(2):
        store = open_store(f"sqlite:///{made}")
        assert await store.find_app(APP.id) == APP
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
    assert await store.find_app(APP.id) == APP
    await store.close()
