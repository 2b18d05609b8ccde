"""Notes of last use lie beside the store: whatever becomes of them, the store goes on."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.walindex import WalIndex
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, KEY_ID, fill, the_key

USED = "store.db-used"


async def _filled(path: Path) -> Store:
    store = open_store(f"sqlite:///{path}", create=True)
    await fill(store)
    return store


async def test_a_note_leaves_the_store_untouched(path: Path) -> None:
    """Each note would make every gateway look its callers up anew, or wait for a revocation, or keep one waiting."""
    store = await _filled(path)
    index = WalIndex.claim(path)
    header = index.header()
    assert header is not None
    before = header()
    await store.note_used({KEY_ID: 1400})
    assert await store.last_used([KEY_ID]) == {KEY_ID: 1400}
    assert header() == before
    await store.close()
    index.release()


async def test_the_notes_are_for_the_owner_of_the_store(path: Path) -> None:
    """Everybody on the machine could read which keys are in use, or a command of root's lock the gateway out."""
    before = os.umask(0)
    try:
        store = await _filled(path)
        _give_away(path)
        await store.note_used({KEY_ID: 1})
        files = [file.stat() for file in path.parent.iterdir() if file.name.startswith(USED)]
        assert len(files) == 3
        for status in files:
            assert stat.S_IMODE(status.st_mode) == 0o640
            assert (status.st_uid, status.st_gid) == _somebody()
        await store.close()
    finally:
        os.umask(before)


async def test_the_notes_of_a_new_store_are_private(path: Path) -> None:
    """As above, for a store that nobody gave away."""
    store = await _filled(path)
    await store.note_used({KEY_ID: 1})
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    await store.close()


async def test_gateways_share_their_notes(path: Path, tmp_path: Path) -> None:
    """A list would show a key as unused that another gateway of the machine sees all day."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    store = await _filled(path)
    other = open_store(f"sqlite:///{link}")
    for at, each in enumerate((store, other, store, other), start=1):
        await each.note_used({KEY_ID: at})
        assert await store.last_used([KEY_ID]) == await other.last_used([KEY_ID]) == {KEY_ID: at}
    await store.close()
    await other.close()
    assert sorted(file.name for file in path.parent.iterdir() if file.is_file()) == ["store.db", USED]


def _garbled(path: Path) -> None:
    path.write_bytes(b"not a database " * 1000)


def _of_others(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE something (x)")


@pytest.mark.parametrize("spoil", [_garbled, _of_others, Path.mkdir, Path.touch])
async def test_notes_that_cannot_be_kept_are_a_warning(path: Path, spoil: Callable[[Path], None]) -> None:
    """A damaged file of no importance would stop all traffic, or nobody would hear of it."""
    used = path.with_name(USED)
    spoil(used)
    store = await _filled(path)
    assert store.warnings() == []
    await store.note_used({KEY_ID: 1})
    assert await store.last_used([KEY_ID]) == {}
    (warning,) = store.warnings()
    assert warning.startswith(f"When keys were last used is not kept: The store {used} ")
    assert await the_key(store) is not None
    await store.ping()
    assert (await do(store, acts.revoke(APP.id, KEY_ID)))[0].changes
    used.rename(path.with_name("away"))
    await store.note_used({KEY_ID: 2})
    assert await store.last_used([KEY_ID]) == {KEY_ID: 2}
    assert store.warnings() == []
    await store.close()


async def test_notes_that_were_removed_begin_anew(path: Path) -> None:
    """Who removes the file, as the warning says, would have to restart every gateway."""
    store = await _filled(path)
    await store.note_used({KEY_ID: 1})
    await store.close()
    path.with_name(USED).unlink()
    store = open_store(f"sqlite:///{path}")
    assert await store.last_used([KEY_ID]) == {}
    await store.note_used({KEY_ID: 2})
    assert await store.last_used([KEY_ID]) == {KEY_ID: 2}
    await store.close()


def _give_away(path: Path) -> None:
    path.chmod(0o640)
    os.chown(path, *_somebody())


def _somebody() -> tuple[int, int]:
    """Another owner, where files can be given away."""
    return (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())


async def test_lost_notes_begin_anew(path: Path) -> None:
    """Keys in use would be said not to be used, once the file with the notes was removed."""
    store = await _filled(path)
    await store.note_used({KEY_ID: 1400})
    assert await store.noted_since() == 1400
    await store.close()
    for file in path.parent.glob(f"{USED}*"):
        file.unlink()
    store = open_store(f"sqlite:///{path}")
    assert await store.noted_since() is None
    await store.note_used({KEY_ID: 1600})
    assert await store.noted_since() == 1600
    await store.close()


async def test_notes_of_a_file_at_fault_are_kept_for_later(path: Path) -> None:
    """A key in use would be said not to be used, as a disk was full for a moment."""
    store = await _filled(path)
    used = path.with_name(USED)
    used.mkdir()
    await store.note_used({KEY_ID: 1400})
    assert await store.noted_since() is None
    assert store.warnings()
    used.rmdir()
    await store.note_used({"5a01": 1500})
    assert await store.last_used([KEY_ID, "5a01"]) == {KEY_ID: 1400, "5a01": 1500}
    assert await store.noted_since() == 1400
    await store.close()
