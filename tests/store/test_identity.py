"""A store whose file goes away, or becomes another, while it is in use."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.core.ledger import Asked, ItemKind
from gateway.store import sqlite
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, fill


def _removed(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


def _replaced(path: Path) -> None:
    _removed(path)
    path.write_bytes(b"")


@pytest.mark.parametrize("lose", [_removed, _replaced])
async def test_a_file_that_is_no_longer_the_same(lose: Callable[[Path], None], tmp_path: Path) -> None:
    """A revocation written to the new file is never heard by a gateway that goes on reading the old one."""
    path = tmp_path / "gateway.db"
    store = open_store(f"sqlite:///{path}", create=True)
    try:
        await store.ping()
        lose(path)

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await store.ping()
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            store.revision()
    finally:
        await store.close()


@pytest.mark.parametrize("lose", [_removed, _replaced])
async def test_what_is_written_into_a_lost_file_is_not_done(lose: Callable[[Path], None], tmp_path: Path) -> None:
    """A revocation would be reported as done that is lost with the file it was written into."""
    path = tmp_path / "gateway.db"
    store = open_store(f"sqlite:///{path}", create=True)
    try:
        await fill(store)
        lose(path)

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await do(store, acts.revoke(APP.id, KEY_ID))
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            store.revision()
    finally:
        await store.close()


async def _listed(store: Store) -> object:
    return [app async for app in store.apps()]


_READS: list[Callable[[Store], Awaitable[object]]] = [
    lambda store: store.look([Asked(APP.id)]),
    lambda store: store.find_item(ItemKind.DEVELOPER_TOKEN, "ab" * 8),
    _listed,
]


@pytest.mark.parametrize("lose", [_removed, _replaced])
@pytest.mark.parametrize("read", _READS, ids=["look", "find_item", "list"])
async def test_what_a_lost_file_says_is_not_believed(
    lose: Callable[[Path], None],
    read: Callable[[Store], Awaitable[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A developer's token, or a role, would be good after its end at a process that reads the old file."""
    monkeypatch.setattr(sqlite, "_IDENTITY_SECONDS", 0.0)
    path = tmp_path / "gateway.db"
    store = open_store(f"sqlite:///{path}", create=True)
    try:
        await fill(store)
        await read(store)
        lose(path)

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await read(store)
    finally:
        await store.close()


async def test_a_file_that_is_lost_between_two_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a long list would be of a file that nobody else reads any more."""
    monkeypatch.setattr(sqlite, "_IDENTITY_SECONDS", 0.0)
    monkeypatch.setattr(sqlite, "PAGE", 1)
    path = tmp_path / "gateway.db"
    store = open_store(f"sqlite:///{path}", create=True)
    try:
        await fill(store)
        keys = store.keys()
        await anext(keys)
        _removed(path)

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await anext(keys)
    finally:
        await store.close()
