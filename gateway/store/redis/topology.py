"""Who is the primary of each slot tag, asked of those who know: sentinels, or servers of the cluster."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.asyncio import Connection
from redis.crc import key_slot
from redis.exceptions import RedisError

from gateway.store.redis.address import Address, Kind, Place, RedisOptions
from gateway.store.redis.layout import TAGS
from gateway.store.redis.node import Command, connecting, connection_class

# Primaries by slot tag. A tag that nobody has is missing.
Primaries = dict[str, Place]

_SLOTS: Final = {tag: key_slot(tag.encode()) for tag in TAGS}


class Unknown(Exception):
    """Nobody could say who the primary is."""


async def primaries(address: Address, options: RedisOptions, known: Iterable[Place]) -> Primaries:
    """The primary of each slot tag now. `known` are servers that were found before; they are asked first.

    Raises `Unknown`, or the error of the last one that was asked.
    """
    match address.kind:
        case Kind.SINGLE:
            return dict.fromkeys(TAGS, address.places[0])
        case Kind.SENTINEL:
            return dict.fromkeys(TAGS, await _sentinel(address, options))
        case Kind.CLUSTER:
            return await _cluster(address, options, list(dict.fromkeys([*known, *address.places])))


async def _sentinel(address: Address, options: RedisOptions) -> Place:
    failure: Exception = Unknown(f"No sentinel knows a primary {address.primary_name!r}.")
    for sentinel in address.places:
        arguments = connecting(sentinel, address, options, sentinel=True)
        try:
            answer = await _ask(address, arguments, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.primary_name))
            if answer is None:
                continue
            place = _place(*answer)
            # A sentinel that was cut off still names the one before, which may know by now that it is a replica.
            role = await _ask(address, connecting(place, address, options), ("ROLE",))
            if role[0] == b"master":
                return place
            failure = Unknown(
                f"The sentinels name {place} as the primary {address.primary_name!r}, which is a replica."
            )
        except (RedisError, OSError, ValueError, TypeError, LookupError) as error:
            failure = error
    raise failure


async def _cluster(address: Address, options: RedisOptions, servers: Sequence[Place]) -> Primaries:
    failure: Exception = Unknown("No server of the cluster could be asked.")
    for server in servers:
        try:
            answer = await _ask(address, connecting(server, address, options), ("CLUSTER", "SLOTS"))
            return _owners(answer, server)
        except (RedisError, OSError, ValueError, TypeError, LookupError) as error:
            failure = error
    raise failure


def _owners(answer: Any, asked: Place) -> Primaries:
    """Who has each slot tag, by an answer to CLUSTER SLOTS: ranges with their primary first."""
    owners: Primaries = {}
    for first, last, (host, port, *_), *_ in answer:
        # A server that does not know its own address leaves it out: it is the one that was asked.
        place = _place(host or asked.host.encode(), port)
        owners |= {tag: place for tag, slot in _SLOTS.items() if first <= slot <= last}
    return owners


def _place(host: bytes, port: bytes | int) -> Place:
    return Place(host.decode("ascii"), int(port))


async def _ask(address: Address, arguments: dict[str, Any], command: Command) -> Any:
    """One question over a connection of its own: who is asked here is asked seldom."""
    connection: Connection = connection_class(address)(**arguments)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command(*command)
        return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)
