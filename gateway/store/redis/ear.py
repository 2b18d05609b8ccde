"""One ear: a subscription to one primary, with a heartbeat of its own that proves it hears.

redis-py's own subscription raises nothing while a server is frozen or the network swallows everything. An ear publishes
heartbeats on the very primary that it listens to, and waits for them on its subscription. One that comes back proves
that everything published there before it was sent has been heard as well.
"""

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final, Protocol

from redis.exceptions import RedisError

from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.redis.faults import NoAnswer, meaning
from gateway.store.redis.health import Offset, offset
from gateway.store.redis.layout import identity_key
from gateway.store.redis.node import Node

BEAT: Final = 0.25
SILENCE: Final = 0.75  # when no heartbeat of this long or less ago has come back, an ear is deaf
GIVEN_UP: Final = 1.0  # and after this it connects anew; a short stall may pass between the two
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
OFFSETS: Final = 8  # of the last two seconds; the one that was measured quickest is the truest


class Deaf(Exception):
    """What is said at a server is not heard. Never leaves an ear."""


# What an ear meets and outlives, by connecting anew: anything else is a fault of ours.
_TROUBLE: Final = (Deaf, NoAnswer, StoreUnavailable, RedisError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds: `monotonic` for lengths of time, `wall` since 1970, to be compared with a server's."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Mind(Protocol):
    """To whom an ear belongs."""

    async def channel(self, node: Node) -> str:
        """Where a primary tells what was taken away, once it is known to be of the right store."""

    def confirm(self, tag: str, identity: object) -> None:
        """Raise `StoreBroken` unless what was found as the identity under a slot tag is that of the store."""

    async def prepare(self, node: Node) -> None:
        """Tell a primary what it may have forgotten. Only then hearing it counts."""

    async def attend(self, node: Node) -> None:
        """Go on caring for a primary while it is heard; does not return."""

    def heard(self, ear: "Ear", message: bytes) -> None:
        """Take in what was taken away."""

    def proved(self) -> None:
        """Hearing was proved once more."""

    def lost(self) -> None:
        """A primary is not heard any more."""


class Ear:
    """Hears what is published on one primary. `proven` is when, by the monotonic clock, the newest heartbeat that came
    back was sent: what was published there before has been heard. `trouble` says why it is not heard, while it is not;
    `broken` whether that is for somebody to mend."""

    def __init__(self, node: Node, mind: Mind, clocks: Clocks) -> None:
        self.node = node
        self.tags = node.tags
        self.proven = -math.inf
        self.trouble = f"The Redis server {node.place} is not heard yet."
        self.broken = False
        self._mind = mind
        self._clocks = clocks
        self._prepared = False  # the primary has been told what it may have forgotten
        self._heard = False  # a heartbeat came back on this subscription
        self._own = b""
        self._looked_at = cycle(sorted(self.tags))
        self._sent: dict[bytes, float] = {}
        self._newest = -math.inf  # when the newest heartbeat that came back was sent, or the subscription was made
        self._offsets = deque[Offset](maxlen=OFFSETS)

    @property
    def offset(self) -> Offset:
        """How the primary's clock stands to ours."""
        return min(self._offsets, key=lambda measured: measured.error, default=Offset())

    async def listen(self) -> None:
        """Hear until cancelled, and connect anew as often as need be."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._listen()
            except _TROUBLE as trouble:
                self._note(trouble)
            pause = FIRST_PAUSE if self._prepared else min(2 * pause, LONGEST_PAUSE)
            self._lose()
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        channel = await self._mind.channel(self.node)
        self._own = f"{channel}:{secrets.token_hex(8)}".encode()
        async with self._connection() as ears, self._connection() as mouth:
            async with asyncio.timeout(SILENCE):
                await ears.send_command("SUBSCRIBE", channel, self._own)
                for _ in range(2):  # one answer for each channel, and nothing between them
                    await ears.read_response()
            self._newest = self._clocks.monotonic()
            await _until_one_fails(self._hear(ears), self._beat(mouth), self._care())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection of its own: among look-ups in a queue, heartbeats would be late when there are many of them."""
        connection: Any = self.node.connection()
        try:
            async with asyncio.timeout(SILENCE):
                await connection.connect()
            yield connection
        finally:
            await connection.disconnect(nowait=True)

    async def _hear(self, connection: Any) -> None:
        while True:
            message = await connection.read_response(timeout=SILENCE)
            if message is not None:
                self._take(message)
            if self._clocks.monotonic() - self._newest > GIVEN_UP:
                raise Deaf("lets nothing be heard of what is said at it")

    def _take(self, message: object) -> None:
        match message:
            case [b"message", channel, bytes(data)] if channel == self._own:
                self._came_back(data)
            case [b"message", _, bytes(data)]:
                self._mind.heard(self, data)
            case _:
                raise Deaf("says what is not of a subscription")

    def _came_back(self, beat: bytes) -> None:
        sent = self._sent.get(beat)
        if sent is None:
            return
        self._sent = {other: at for other, at in self._sent.items() if at > sent}
        self._newest = max(self._newest, sent)
        self._heard = True
        self._prove()

    async def _beat(self, connection: Any) -> None:
        number = 0
        while True:
            number += 1
            began = self._clocks.monotonic()
            async with asyncio.timeout(GIVEN_UP):
                await self._send(connection, b"%d" % number, began)
            await asyncio.sleep(max(0.0, began + BEAT - self._clocks.monotonic()))

    async def _send(self, connection: Any, beat: bytes, began: float) -> None:
        self._sent[beat] = began
        asked = self._clocks.wall()
        # A server that was emptied hears and tells as before; its identity is gone under every tag at once.
        tag = next(self._looked_at)
        commands = [("PUBLISH", self._own, beat), ("TIME",), ("ROLE",), ("GET", identity_key(tag))]
        await connection.send_packed_command(connection.pack_commands(commands))
        _, now, role, identity = [await connection.read_response() for _ in commands]
        self._mind.confirm(tag, identity)
        took = self._clocks.monotonic() - began
        match now, role:
            case [[seconds, microseconds], [b"master", *_]]:
                self._offsets.append(offset(asked, took, int(seconds) + int(microseconds) / 1e6))
                self._prove()
            case _:
                # Whoever revokes does it elsewhere by now, and heartbeats would come back all the same.
                raise Deaf("is not a primary any more")

    async def _care(self) -> None:
        await self._mind.prepare(self.node)
        self._prepared = True
        self._prove()
        await self._mind.attend(self.node)

    def _prove(self) -> None:
        if self._prepared and self._heard and self._offsets:
            self.proven = self._newest
            self.trouble, self.broken = "", False
            self._mind.proved()

    def _lose(self) -> None:
        self._prepared = self._heard = False
        self._sent.clear()
        self.proven = -math.inf
        self._mind.lost()

    def _note(self, trouble: Exception) -> None:
        self.broken = isinstance(trouble, StoreBroken)
        if isinstance(trouble, (StoreUnavailable, NoAnswer)):
            self.trouble = str(trouble)
            return
        if isinstance(trouble, RedisError):
            what = meaning(trouble).sentence
        else:
            what = str(trouble) if isinstance(trouble, Deaf) else "does not answer"
        self.trouble = f"The Redis server {self.node.place} {what}."


async def _until_one_fails(*lives: Coroutine[Any, Any, None]) -> None:
    """Live all of them until one fails, and raise what it raised.

    No `asyncio.TaskGroup`: when it is cancelled just as one fails, it tells of the failure alone, and whoever goes on
    after failures would go on for ever.
    """
    tasks = [asyncio.create_task(life) for life in lives]
    try:
        failed, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()
