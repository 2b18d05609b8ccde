"""A store whose file goes away, or becomes another, while it is in use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.store.contract import StoreUnavailable
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
