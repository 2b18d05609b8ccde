"""A store whose file goes away, or becomes another, while it is in use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.store.contract import StoreUnavailable
from gateway.store.open import open_store


def _removed(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


def _replaced(path: Path) -> None:
    _removed(path)
    path.write_bytes(b"")


@pytest.mark.parametrize("act", [_removed, _replaced])
async def test_a_file_that_is_no_longer_the_same(act: Callable[[Path], None], tmp_path: Path) -> None:
    """A revocation written to the new file is never heard by a gateway that goes on reading the old one."""
    path = tmp_path / "gateway.db"
    store = open_store(f"sqlite:///{path}", create=True)
    try:
        await store.ping()
        act(path)

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await store.ping()
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            store.revision()
    finally:
        await store.close()
