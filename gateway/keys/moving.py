"""A store into a file: all records, the audit with its seals, and when keys were last used. And whether they belong
together.

No token is in the file, as none is in the store; their verifiers are, and what people and users are called.
"""

from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from gateway.core.audit import Numbered, Seal
from gateway.core.ledger import Asked, Item
from gateway.core.portable import CARRIED, LastUsed, Portable, is_readable, kind_of
from gateway.core.records import Developer, KeyRecord, ends_at
from gateway.core.wholeness import Wholeness
from gateway.keys.export_file import Advance, ExportWriter, Header
from gateway.store.contract import Store

_NO_APP: Final = "00" * 12  # asked for to learn the store's time
_PIECE: Final = 500  # keys that are asked for together


async def export(store: Store, file: BinaryIO, version: str, advance: Advance) -> ExportWriter:
    """Write all of a store into a file."""
    writer = ExportWriter(file, Header(version, await _now(store), await store.identity()))
    async for record in everything(store):
        writer.add(record)
        advance(1)
    writer.end()
    return writer


async def everything(store: Store) -> AsyncIterator[Portable]:
    """All that is in a store, kind after kind in the order of an export."""
    async for numbered_or_seal in _audit(store):
        yield numbered_or_seal
    async for token in store.user_tokens():
        yield token
    async for key in _keys(store):
        yield key
    for kind in CARRIED:
        async for item in store.items(kind):
            yield item
    async for developer in store.developers():
        yield developer
    async for user in store.users():
        yield user
    async for app in store.apps():
        yield app
    async for used in _last_used(store):
        yield used


async def faults(store: Store, advance: Advance) -> AsyncIterator[str]:
    """What does not belong together among the records of a store."""
    wholeness = Wholeness(await _now(store))
    async for record in everything(store):
        for sentence in wholeness.take(record):
            yield f"{_named(record)}: {sentence}"
        if isinstance(record, Item) and not is_readable(record):
            yield f"{_named(record)}: What it says cannot be read; an export with it could not be imported."
        advance(1)
    for sentence in wholeness.end():
        yield sentence
    if wholeness.doubtful():
        async for record in everything(store):
            for sentence in wholeness.point_out(record):
                yield f"{_named(record)}: {sentence}"


async def _audit(store: Store) -> AsyncIterator[Numbered | Seal]:
    chains = dict.fromkeys(await store.chains(), 0)
    for chain in chains:
        async for numbered in store.events(chain):
            chains[chain] = numbered.number
            yield numbered
    for chain, last in chains.items():
        async for seal in store.seals(chain):
            if seal.last <= last:  # else it was made meanwhile, over events that are not in the file
                yield seal


async def _keys(store: Store) -> AsyncIterator[KeyRecord]:
    """All keys, app by app. Those of an app that may work are seen at one moment: a list that is read meanwhile could
    show a successor, and not that it is one."""
    now = await _now(store)
    listed: dict[str, list[KeyRecord]] = {}
    count = 0
    async for key in store.keys():
        if key.app_id not in listed and count >= _PIECE:
            for found in await _at_once(store, listed, now):
                yield found
            listed, count = {}, 0
        listed.setdefault(key.app_id, []).append(key)
        count += 1
    for found in await _at_once(store, listed, now):
        yield found


async def _at_once(store: Store, listed: dict[str, list[KeyRecord]], now: int) -> list[KeyRecord]:
    living = {app_id: tuple(key.id for key in keys if ends_at(key) > now) for app_id, keys in listed.items()}
    snapshots = await store.look([Asked(app_id, keys=ids) for app_id, ids in living.items()])
    return [
        key
        for keys, snapshot in zip(listed.values(), snapshots, strict=True)
        for key in (*(key for key in keys if key.id not in snapshot.keys), *snapshot.keys.values())
    ]


async def _last_used(store: Store) -> AsyncIterator[LastUsed]:
    ids: list[str] = []
    async for key in store.keys():
        ids.append(key.id)
        if len(ids) == _PIECE:
            for used in (await store.last_used(ids)).items():
                yield LastUsed(*used)
            ids = []
    for used in (await store.last_used(ids)).items():
        yield LastUsed(*used)


async def _now(store: Store) -> int:
    (snapshot,) = await store.look([Asked(_NO_APP)])
    return snapshot.now


def _named(record: Portable) -> str:
    match record:
        case Numbered() | Seal():
            name = record.chain
        case Developer():
            name = f"of {record.app_id}"
        case Item():
            name = f"{record.kind} {record.id}"
        case _:
            name = record.id
    return f"{kind_of(record)} {name}"
