"""Where SQLite stores are made, and how one is filled."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.records import KeyRecord
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP


async def _fill(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", create=True)
    keys = tuple(
        KeyRecord(f"5a{number:014x}", APP.id, "k" * 100, frozenset({"USER_READ"}), b"k" * 32, 1, 2)
        for number in range(100)
    )
    await do(store, acts.keep(APP, keys=keys))
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
