"""Advice about the keys in a store: which scopes and which keys nobody uses."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from gateway.core.least_privilege import Advice, advice_for
from gateway.core.records import KeyRecord
from gateway.store.contract import Store

_PIECE: Final = 100  # keys whose uses are asked for at once: 90 days of a handful of scopes each


async def advise(store: Store, app_id: str | None, now: int) -> AsyncIterator[Advice]:
    """What is advised for the keys of an app, or of all, in the order of the keys. `now` is by the store's clock."""
    piece: list[KeyRecord] = []
    since = await store.noted_since()
    async for key in store.keys(app_id):
        piece.append(key)
        if len(piece) == _PIECE:
            for advice in await _advised(store, piece, since, now):
                yield advice
            piece = []
    for advice in await _advised(store, piece, since, now):
        yield advice


async def _advised(store: Store, keys: Sequence[KeyRecord], since: int | None, now: int) -> list[Advice]:
    ids = [key.id for key in keys]
    uses, last_used = await store.uses(ids), await store.last_used(ids)
    counts: dict[str, dict[tuple[int, str], int]] = {key_id: {} for key_id in ids}
    for (key_id, day, what), count in uses.items():
        counts[key_id][day, what] = count
    found = (advice_for(key, counts[key.id], last_used.get(key.id), since, now) for key in keys)
    return [advice for advice in found if advice is not None]
