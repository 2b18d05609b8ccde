"""Where SQLite stores are made, and how one is filled."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.records import KeyRecord
from gateway.store.open import open_store
from tests.store.suite import APP, APP_MADE, KEY, KEY_MADE


async def _fill(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", create=True)
    await store.create_app(APP, APP_MADE)
    for number in range(100):
        record = KeyRecord(f"5a{number:014x}", APP.id, "k" * 100, KEY.scopes, KEY.verifier, 1, 2)
        await store.create_key(record, KEY_MADE)
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "store.db"


@pytest.fixture
def make() -> Callable[[Path], None]:
    """What makes a store with an app and a hundred keys."""
    return lambda path: asyncio.run(_fill(path))


@pytest.fixture
def made(path: Path, make: Callable[[Path], None]) -> Path:
    """The path of a store with an app and a hundred keys."""
    make(path)
    return path
