"""Bodies of requests: announced ones bounded before they are read, late ones asked for where the client waits."""

from typing import Final

from aiohttp import streams

from gateway.core.decision import Reason, refuse
from gateway.core.headers import Inbound, declared_length
from gateway.proxy.record import Record
from gateway.proxy.server import Connection

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})


def room(method: str, limit: int) -> int:
    """The longest body that a method may have: none where it has no meaning, as servers behind may leave it unread and
    take it for the next request (RFC 9110 sections 9.3.1 and 9.3.5)."""
    return limit if method in _METHODS else 0


def check_length(inbound: Inbound, limit: int) -> None:
    """Refuse a body that is announced as too long before any more of it is read."""
    if declared_length(inbound) > limit:
        raise refuse(Reason.BODY_TOO_LARGE)


async def whole(client: Connection, payload: streams.StreamReader, limit: int, record: Record) -> bytes:
    """The body, whether or not it is there already; refused when it is longer than `limit` bytes."""
    body = payload.read_nowait() if payload.is_eof() else await arriving(client, payload, limit, record)
    record.bytes_in = len(body)
    if len(body) > limit:
        raise refuse(Reason.BODY_TOO_LARGE)
    return body


async def arriving(client: Connection, payload: streams.StreamReader, limit: int, record: Record) -> bytes:
    """A body that is still to come, asked for first where the client waits for that."""
    if record.expects_continue and not payload.total_bytes:
        client.write(_CONTINUE)
    body = await client.body(payload, limit)
    if body is None:
        raise refuse(Reason.BODY_TOO_LARGE)
    return body
