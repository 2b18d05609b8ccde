"""Sending an answer as the request orders it: with another status, late, padded, or broken off.

The orders are request headers, so that a developer can see from the client's side how the gateway takes it:

* `X-Mock-Status: 503` answers with that status, 200 to 599.
* `X-Mock-Delay: 1.5` waits that many seconds before the first byte, 120 at most.
* `X-Mock-Size: 1048576` pads the JSON body with blanks to that many bytes, 2 GiB at most.
* `X-Mock-Reset: head` (or `1`) resets the connection instead of answering; `body` closes it half-way through the
  body; a number N from 2 on closes it after N bytes of the body.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

PREFIX: Final = "x-mock-"
MAX_DELAY: Final = 120.0  # longer than any timer of the gateway
MAX_SIZE: Final = 2 << 30  # past the 32-bit marks where length arithmetic tends to break
PIECE: Final = b" " * 65536  # memory used for padding, whatever the size
BODILESS: Final = (204, 205, 304)


class BadOrder(Exception):
    """An order that cannot be followed; the text is a sentence for the developer who gave it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be sent: a status and a JSON body, or no body."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Orders:
    """How the answer is to be spoiled; by default it is not.

    `reset` is 0 for no, 1 for before the head, any other number for the body bytes to send before closing; half of
    the body, whatever its length, is `HALF`.
    """

    status: int | None = None
    delay: float = 0.0
    size: int = 0
    reset: int = 0


HALF: Final = -1
RESETS: Final = {"head": 1, "body": HALF}


def orders_from(headers: Mapping[str, str]) -> Orders:
    """The orders among the request headers; raises BadOrder for an unknown name or a value out of bounds."""
    given = {name.lower(): value.strip() for name, value in headers.items() if name.lower().startswith(PREFIX)}
    unknown = given.keys() - {f"{PREFIX}{known}" for known in ("status", "delay", "size", "reset")}
    if unknown:
        raise BadOrder(f"{min(unknown)} is no order; there are X-Mock-Status, X-Mock-Delay, X-Mock-Size, X-Mock-Reset.")
    return Orders(
        status=_status(given.get("x-mock-status")),
        delay=_delay(given.get("x-mock-delay")),
        size=_size(given.get("x-mock-size")),
        reset=_reset(given.get("x-mock-reset")),
    )


def _status(value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[2-5][0-9]{2}", value):
        raise BadOrder("X-Mock-Status takes a status from 200 to 599.")
    return int(value)


def _delay(value: str | None) -> float:
    if value is None:
        return 0.0
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", value) or float(value) > MAX_DELAY:
        raise BadOrder("X-Mock-Delay takes seconds from 0 to 120, as 1.5.")
    return float(value)


def _size(value: str | None) -> int:
    if value is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,10}", value) or not 0 < int(value) <= MAX_SIZE:
        raise BadOrder("X-Mock-Size takes bytes from 1 to 2147483648.")
    return int(value)


def _reset(value: str | None) -> int:
    if value is None:
        return 0
    if value in RESETS:
        return RESETS[value]
    if not re.fullmatch(r"[0-9]{1,10}", value) or not 0 < int(value) <= MAX_SIZE:
        raise BadOrder("X-Mock-Reset takes head (or 1), body, or the number of body bytes to send first, from 2 on.")
    return int(value)


async def deliver(request: web.Request, answer: Answer, orders: Orders) -> web.StreamResponse:
    """Send the answer as ordered, in constant memory, and end the connection where that is ordered."""
    await asyncio.sleep(orders.delay)
    if orders.reset == 1:
        return _torn(request)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    bodiless = answer.status in BODILESS or request.method == "HEAD"
    body = b"" if bodiless else answer.body or (b"{}" if orders.size else b"")
    total = max(len(body), orders.size) if body else 0
    response.content_length = total
    await response.prepare(request)
    for piece in _cut(_padded(body, total), _end(orders.reset, total)):
        await response.write(piece)
    if orders.reset and request.transport is not None:
        request.transport.close()  # what was written still leaves; the announced length is never reached
    return response


def _end(reset: int, total: int) -> int:
    """How many body bytes are sent."""
    if reset == 0:
        return total
    return total // 2 if reset == HALF else min(reset, max(total - 1, 0))


def _padded(body: bytes, total: int) -> Iterator[bytes]:
    """The JSON text with blanks before its closing bracket, where JSON allows any number of them."""
    yield body[:-1]
    for start in range(0, total - len(body), len(PIECE)):
        yield PIECE[: total - len(body) - start]
    yield body[-1:]


def _cut(pieces: Iterator[bytes], end: int) -> Iterator[bytes]:
    """The pieces up to that many bytes, without empty ones."""
    left = end
    for piece in pieces:
        if piece[:left]:
            yield piece[:left]
        left = max(left - len(piece), 0)


def _torn(request: web.Request) -> web.StreamResponse:
    """Reset the connection; the response that is returned can no longer be sent."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # RFC 9293, 3.10.5: an abort sends a reset. Linger with zero seconds is how a socket is asked for it.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
