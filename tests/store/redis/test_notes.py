"""Items that are over are forgotten, a little at a time; what keys were used for is counted, and forgotten in time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.core.ledger import Item, ItemKind
from gateway.core.wishes import DAY
from gateway.store.contract import REQUESTS, USE_DAYS
from gateway.store.redis.draft import FORGOTTEN
from gateway.store.redis.layout import items_key, noted_key, owners_key, uses_key
from gateway.store.redis.notes import PIECE, SWEPT
from gateway.store.redis.store import RedisStore
from tests.store.acts import do, look
from tests.store.checks_items import keep
from tests.store.place import APP, KEY_ID, OTHER_APP, listed
from tests.support.redis_servers import Servers
from tests.support.redis_stores import HASTY, filled_at

CODE = Item(ItemKind.CODE, "5a00", APP.id, "{}")
OVER = 2 * FORGOTTEN + 3


def codes(count: int, ends_at: int | None = 1) -> list[Item]:
    """So many codes of the app."""
    return [replace(CODE, id=f"5a{number:06x}", ends_at=ends_at) for number in range(count)]


async def kept(store: RedisStore, items: Sequence[Item]) -> int:
    """How many of them are still there, in the list and where they lie."""
    there = [item for item in items if await store.find_item(*item.key) is not None]
    assert set(there) == set(await listed(store.items(CODE.kind, APP.id))) & set(items)
    return len(there)


async def test_some_of_what_is_over_goes_with_each_new_item(own: Servers, store: RedisStore) -> None:
    """The codes of a busy app would pile up until somebody sweeps, or the one that has just begun be swept away."""
    over = codes(OVER)
    other = replace(CODE, kind=ItemKind.INCIDENT, ends_at=1)
    await do(store, keep(*over, other))
    await do(store, keep(replace(CODE, id="5aff", ends_at=None)))
    assert await kept(store, over) == OVER - FORGOTTEN
    await do(store, keep(over[0]), keep(over[-1]))
    assert await store.find_item(*over[0].key) == over[0]
    assert await store.find_item(*over[-1].key) == over[-1]
    assert await store.find_item(*other.key) == other


async def test_what_begins_anew_is_not_forgotten(store: RedisStore) -> None:
    """The tokens of a user who comes back after a long time would be lost in the act that begins new ones."""
    now = (await look(store, APP.id)).now
    few = codes(3)
    await do(store, keep(*few))
    anew = [replace(item, ends_at=now) for item in few]
    await do(store, keep(*anew))
    assert await kept(store, anew) == 3


async def test_a_sweep_leaves_nothing_of_what_is_over(own: Servers, store: RedisStore) -> None:
    """The memory of the servers would fill with what ended long ago, or with the names of those who had something."""
    server = own.primaries[0]
    before = server.contents()
    now = (await look(store, APP.id)).now
    many = codes(PIECE + OVER)
    lasting = [replace(CODE, id="5aff01", ends_at=now - DAY + 60_000), replace(CODE, id="5aff02", ends_at=None)]
    elsewhere = replace(CODE, kind=ItemKind.INCIDENT, id="7b00", owner=OTHER_APP.id, ends_at=now - DAY - 1)
    for start in range(0, len(many), 500):
        await do(store, keep(*many[start : start + 500]))
    listed_now = len(await listed(store.items(CODE.kind)))
    await do(store, keep(elsewhere, owner=OTHER_APP.id), keep(*lasting))
    assert await store.sweep() == listed_now - FORGOTTEN + 1 <= SWEPT
    assert await kept(store, lasting) == 2
    assert server.run("SMEMBERS", owners_key("7b")) == set()

    await do(store, keep(dropped=tuple(item.key for item in lasting)))
    assert server.run("EXISTS", items_key("5a", CODE.kind, APP.id)) == 0
    assert await store.sweep() == 0
    gone = {name for name in server.contents().keys() ^ before.keys() if b":audit" not in name}
    assert gone == set()


async def test_counts_go_with_the_last_day_of_use(own: Servers, store: RedisStore) -> None:
    """What keys were used for would be kept for longer than was promised, of keys that nobody uses for ever."""
    server = own.primaries[0]
    await store.note_uses({(KEY_ID, day, REQUESTS): 1 for day in range(100, 100 + USE_DAYS)})
    assert len(await store.uses([KEY_ID])) == USE_DAYS
    await store.note_uses({(KEY_ID, 100 + USE_DAYS, "USER_READ"): 1})
    days = {day for _, day, _ in await store.uses([KEY_ID])}
    assert days == set(range(101, 101 + USE_DAYS))
    assert USE_DAYS * 86_400 < server.run("TTL", uses_key(KEY_ID)) <= (USE_DAYS + 1) * 86_400


async def test_what_was_used_while_the_store_was_away_is_noted_later(own: Servers) -> None:
    """A key in use would be said not to be used, as the store was away for a moment."""
    async with filled_at(own.url, HASTY) as store:
        own.primaries[0].freeze()
        await store.note_used({KEY_ID: 1400, "5a01": 1450})
        assert await store.noted_since() is None
        own.primaries[0].thaw()
        async with asyncio.timeout(20):
            while await store.noted_since() is None:  # until it is connected again
                await asyncio.sleep(0.01)
                await store.note_used({KEY_ID: 1500})
        assert await store.last_used([KEY_ID, "5a01"]) == {KEY_ID: 1500, "5a01": 1450}
        assert await store.noted_since() == 1450
        own.primaries[0].run("SET", noted_key(), "foreign")
        assert await store.noted_since() is None


async def test_what_a_key_was_used_for_is_nobodys_trouble(own: Servers) -> None:
    """A request would fail because it could not be counted, or somebody's look at the counts stop a command."""
    used = {(KEY_ID, 1, REQUESTS): 7}
    async with filled_at(own.url, HASTY) as store:
        await store.note_uses(used)
        own.primaries[0].run("SET", uses_key("5a01"), "foreign")
        await store.note_uses({("5a01", 1, REQUESTS): 1} | used)
        assert await store.uses([KEY_ID]) == {(KEY_ID, 1, REQUESTS): 14}
        own.primaries[0].freeze()
        await store.note_uses(used)
        assert await store.uses([KEY_ID]) == {}
        own.primaries[0].thaw()
