"""A store is saved into a file, and brought back from it: nothing is lost, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.ledger import Act, Asked, Changes
from gateway.core.records import MAX_ACTIVE_KEYS, App, KeyRecord
from gateway.core.wishes import DAY
from gateway.keys.moving import faults
from gateway.keys.restoring import Restored
from gateway.store.contract import Store, StoreUnavailable
from tests.keys.conftest import KINDS, Stores
from tests.store import acts
from tests.store.acts import do, look
from tests.store.checks_items import keep
from tests.store.place import APP, PATIENCE, listed, the_key
from tests.support.moving import KEYS, PERSONS, Brought, Lossy, brought, fill, lines, saved

# Out and in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("seed", range(2))
async def test_what_was_saved_is_brought_back(stores: Stores, kind: str, target: str, seed: int) -> None:
    """A backup would bring back fewer records, or others, than were saved; or none on the other kind of store."""
    source, into = await stores.new(kind), await stores.new(target)
    await fill(source, seed)
    content = await saved(source)
    outcome = await brought(into, content)
    assert outcome.conflicts == []
    assert await lines(into) == await lines(source)
    assert [sentence async for sentence in faults(into, lambda _: None)] == []
    assert await brought(into, await saved(source), merge=True) == Brought(
        Restored(records=outcome.restored.records, changed=0)
    )
    second = await stores.new(kind)
    await brought(second, await saved(into))
    assert await lines(second) == await lines(source)


async def test_a_large_store_is_brought_back_whole(stores: Stores) -> None:
    """Of more records than are held at once, those at the edges would be lost or doubled."""
    source, into = await stores.new("sqlite"), await stores.new("sqlite")
    await fill(source)
    for number in range(120):
        app = App(f"5c{number:022x}", "an app", "eu")
        await do(source, acts.make_app(app))
        await do(source, *(acts.make_key(app.id, f"5c{number:010x}{each:04x}") for each in range(10)))
        await do(source, acts.make_token(app.id, f"5c{number:010x}ffff", "first-user"))
    await source.note_used({key.id: key.created_at for key in await listed(source.keys())})
    assert (await brought(into, await saved(source))).conflicts == []
    assert await lines(into) == await lines(source)


async def test_no_token_is_in_the_file(empty: Store) -> None:
    """Whoever finds a backup could use the keys in it."""
    await fill(empty)
    content = await saved(empty)
    for key_id in KEYS:
        assert f'"id":"{key_id}"'.encode() in content
    assert b'"sha256"' in content
    assert b'"token"' not in content
    assert b'"secret"' not in content


# While others change the store, and when it goes away -----------------------------------------------------------------


async def test_a_file_is_whole_though_the_store_is_changed_meanwhile(stores: Stores, kind: str) -> None:
    """A backup that is made while the gateway is in use would be refused just when it is needed."""
    url = await stores.url(kind)
    store, other = await stores.opened(url), await stores.opened(url)
    await fill(store)
    for number in range(20):
        await do(store, acts.make_app(App(f"5b{number:022x}", "an app", "eu")))
        await do(store, *(acts.make_key(f"5b{number:022x}", f"5b{number:010x}{each:04x}") for each in range(10)))
    stopped = asyncio.Event()

    async def change() -> int:
        count = 0
        while not stopped.is_set():
            count += 1
            app_id = f"5b{count % 20:022x}"
            found = [key.id for key in (await look(other, app_id)).keys.values() if key.successor is None]
            new = f"5b{count:06x}{'c' * 8}"
            await other.act([acts.rotate(app_id, min(found), new, shutdown=DAY)])
            await do(other, acts.make_token(app_id, f"5b{count:06x}{'d' * 8}", f"user-{count}"))
        return count

    changing = asyncio.create_task(change())
    try:
        contents = [await saved(store) for _ in range(2)]
    finally:
        stopped.set()
        async with asyncio.timeout(PATIENCE):
            changes = await changing
    assert changes > 0
    for content in contents:
        into = await stores.new("sqlite")
        assert (await brought(into, content)).conflicts == []


async def test_a_key_that_is_rotated_while_it_is_saved_stays_in_its_pair(stores: Stores, kind: str) -> None:
    """A backup would hold an eleventh active key, which could not be brought back, and clients have just been given."""
    store = await stores.new(kind)
    now = (await look(store, APP.id)).now
    active = [a_key(number, now - DAY, now + DAY) for number in range(MAX_ACTIVE_KEYS)]
    history = [a_key(number, now - DAY + number, now - 1) for number in range(100, 700)]
    await do(store, acts.make_app(APP))
    for start in range(0, 600, 100):
        await do(store, acts.keep(APP, keys=tuple(history[start : start + 100])))
    await do(store, acts.keep(APP, keys=tuple(active)))
    rotating: Any = Rotating(store, acts.rotate(APP.id, active[0].id, "5a0000000000ffff"))
    into = await stores.new("sqlite")
    assert (await brought(into, await saved(rotating))).conflicts == []
    assert (await the_key(into, active[0].id)).successor == "5a0000000000ffff"
    assert len(await listed(into.keys())) == len(active) + len(history) + 1


def a_key(number: int, created_at: int, expires_at: int) -> KeyRecord:
    """A key, another for each number."""
    scopes = frozenset({"USER_READ"})
    return KeyRecord(f"5a{number:014x}", APP.id, "k", scopes, number.to_bytes(32), created_at, expires_at)


class Rotating(Lossy):
    """A store in which a key is rotated just when the first keys have been listed."""

    def __init__(self, store: Store, act: Act) -> None:
        super().__init__(store, StoreUnavailable(""))
        self._acts = [act]

    async def keys(self, app_id: str | None = None) -> AsyncIterator[KeyRecord]:
        async for key in self._store.keys(app_id):
            yield key
            while self._acts:
                await do(self._store, self._acts.pop())


# Whether a store is whole ---------------------------------------------------------------------------------------------


async def test_a_store_that_is_not_whole_is_told(stores: Stores) -> None:
    """Damage in a store would be noticed only by those whom it locks out."""
    store = await stores.new("sqlite")
    await fill(store)
    now = (await look(store, APP.id)).now
    many = tuple(
        KeyRecord(f"5a{number:014x}", APP.id, "k", frozenset({"X"}), bytes(32), now, now + DAY)
        for number in range(50, 61)
    )
    stray = KeyRecord("5a000000000000ff", APP.id, "k", frozenset({"X"}), bytes(32), 0, 1, successor="5affffffffffffff")
    keys = (*many, stray)
    asked = Asked(APP.id, keys=tuple(key.id for key in keys))
    await do(store, Act(asked, lambda _: Changes(keys=keys)))
    told = [sentence async for sentence in faults(store, lambda _: None)]
    assert told == [
        f"The app {APP.id} has more than 10 active keys.",
        f"key {stray.id}: What it belongs to is not there.",
    ]


async def test_an_item_that_cannot_be_read_is_told(empty: Store, stores: Stores, kind: str) -> None:
    """A backup would be made for months that cannot be brought back, or a merge end in a fault of ours."""
    whole = await stores.new(kind)
    await do(whole, keep(PERSONS, owner=PERSONS.owner))
    await do(empty, keep(replace(PERSONS, text="{}"), owner=PERSONS.owner))
    told = [sentence async for sentence in faults(empty, lambda _: None)]
    assert told == [
        "item developer_token 0c01: What it says cannot be read; an export with it could not be imported.",
    ]
    with pytest.raises(StoreUnavailable, match="'gateway store verify' names it"):
        await brought(empty, await saved(whole), merge=True)
