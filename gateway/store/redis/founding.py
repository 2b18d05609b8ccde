"""Making a store: its identity under every slot tag, so that whoever lost its data later is known by it."""

import secrets
from typing import Final

from gateway.store.contract import StoreBroken
from gateway.store.redis.address import RedisOptions, address_of
from gateway.store.redis.layout import TAGS, apps_key, audit_key, identity_key
from gateway.store.redis.nodes import Nodes

_IDENTITY_BYTES: Final = 16


async def init(url: str, options: RedisOptions | None = None) -> str:
    """The identity of the store at `url`, which is made unless it is there; whole in any case.

    Raises `StoreBroken` where a part of a store is missing: that is data lost, not a store to be made.
    """
    nodes = Nodes(address_of(url), options or RedisOptions())
    try:
        return await _found(nodes, (options.identity if options else None) or secrets.token_hex(_IDENTITY_BYTES))
    finally:
        await nodes.close()


async def _found(nodes: Nodes, identity: str) -> str:
    there = await _identities(nodes)
    if any(there) and not all(there) and await _has_data(nodes):
        missing = ", ".join(tag for tag, one in zip(TAGS, there, strict=True) if not one)
        raise StoreBroken(
            f"{nodes.address} has lost a part of its data: there is a store, but nothing of it under the slot tags"
            f" {missing}. Restore them from a backup."
        )
    # The first tag decides, when two make the store at once.
    await nodes.ask(TAGS[0], ("SET", identity_key(TAGS[0]), next(filter(None, there), identity), "NX"))
    first = await nodes.ask(TAGS[0], ("GET", identity_key(TAGS[0])))
    await nodes.ask_many([(tag, ("SET", identity_key(tag), first, "NX")) for tag in TAGS])
    for tag, one in zip(TAGS, await _identities(nodes), strict=True):
        nodes.confirmed(tag, one)
    return bytes(first).decode("ascii")


async def _identities(nodes: Nodes) -> list[bytes | None]:
    return await nodes.ask_many([(tag, ("GET", identity_key(tag))) for tag in TAGS])


async def _has_data(nodes: Nodes) -> bool:
    return any(await nodes.ask_many([(tag, ("EXISTS", apps_key(tag), audit_key(tag))) for tag in TAGS]))
