"""Exchanges with clients that leave, or take their time."""

import asyncio
import math

import pytest

from gateway.proxy.upstream import Outcome, UpstreamLimits
from tests.support.exchanges import COUNTED, OK, Scene, scene, until
from tests.support.scripted import Peer, Script, answering
from tests.support.taker import Taker

# The client leaves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", COUNTED[:-1]], ids=["before", "within the head", "within the body"]
)
async def test_a_client_that_leaves_ends_the_exchange(said: bytes) -> None:
    """Upstreams would go on working for clients that are gone, and their answers pile up."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        asked.set()

    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask())
        await asked.wait()
        if len(said) > 20:
            await setting.client.take(len(said))
        setting.client.leave()
        outcome = await running
        await setting.scripted.peers[0].gone()

    assert outcome.aborted
    assert not outcome.keep_alive
    assert outcome.status == (200 if len(said) > 20 else 0)


async def test_a_client_that_left_before_is_not_asked_for() -> None:
    """A mutation would run for a client that is gone before it was sent."""
    async with scene(answering(OK)) as setting:
        setting.client.abort()
        outcome = await setting.ask()
        assert outcome == Outcome(0, 0, keep_alive=False, aborted=True, upstream_seconds=0.0, first_byte_seconds=0.0)

        assert [peer.requests for peer in setting.scripted.peers] in ([], [[]])


class GoneWhenWritten(Taker):
    """A client whose connection is found to be gone when it is written to."""

    def write(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.client_left()


class GoneWhenCut(Taker):
    """A client whose connection tells at once that it was cut."""

    def abort(self) -> None:
        super().abort()
        if self.exchange is not None:
            self.exchange.client_left()


@pytest.mark.parametrize("kind", [GoneWhenWritten, GoneWhenCut])
async def test_a_client_whose_end_is_told_in_the_middle_of_things(kind: type[Taker]) -> None:
    """An exchange would end twice, and its connection be given to somebody else in between."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(COUNTED[:-1])
        peer.end()

    async with scene(script, kind=kind) as setting:
        assert (await setting.ask()).aborted
        await setting.scripted.peers[0].gone()


# The client is slow ---------------------------------------------------------------------------------------------------

BIG = 32 << 20
HELD_AT_MOST = 1 << 20  # one segment of the upstream's above the high-water mark


def pouring(total: int, piece: int = 1 << 16) -> Script:
    """The script of an upstream that gives so many bytes as fast as they are taken."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // piece):
            await peer.send(b"x" * piece)

    return script


async def test_a_slow_client_slows_the_upstream_down() -> None:
    """One slow client and one long answer would fill the gateway's memory."""
    async with scene(pouring(BIG)) as setting:
        running = asyncio.create_task(setting.ask())
        head = await setting.client.take_until(b"\r\n\r\n")
        left = BIG
        while left:
            data = await setting.client.take(min(left, 1 << 14))
            left -= len(data)
            await asyncio.sleep(0)
        outcome = await running

        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert outcome[:4] == (200, BIG, True, False)
        assert setting.client.most_unsent < HELD_AT_MOST


async def held_up(setting: Scene) -> "asyncio.Task[Outcome]":
    """An exchange whose client takes nothing any more, and whose upstream is not read from."""
    running = asyncio.create_task(setting.ask())
    await setting.client.take_until(b"\r\n\r\n")
    await until(lambda: setting.client.writing_paused)
    return running


async def test_a_client_that_stands_still_is_cut() -> None:
    """A client could hold an upstream connection for as long as it likes by not reading."""
    async with scene(pouring(BIG), UpstreamLimits(client_stall=0.0, between_bytes=0.0)) as setting:
        running = await held_up(setting)
        setting.pass_time(0.0)
        outcome = await running
        await setting.scripted.peers[0].gone()

        assert outcome.aborted
        assert (await setting.client.taken()).clean is False


async def test_a_client_that_is_slow_is_not_cut() -> None:
    """A user on a slow line would never get a long answer to its end."""
    limits = UpstreamLimits(client_stall=0.0, between_bytes=math.inf)
    async with scene(pouring(BIG), limits, buffer=4096) as setting:
        running = await held_up(setting)
        looks = 0
        while setting.client.writing_paused:
            before = setting.client.unsent()
            while setting.client.unsent() == before:
                await setting.client.take(1 << 10)
            if setting.client.writing_paused:
                setting.pass_time(0.0)
                looks += 1
        assert looks > 3
        assert not running.done()
        running.cancel()
        await asyncio.wait((running,))


async def test_time_spent_on_a_slow_client_is_not_the_upstreams() -> None:
    """An upstream would be blamed for a client that takes its time."""
    async with scene(pouring(BIG)) as setting:
        running = await held_up(setting)
        setting.pass_time(1000.0)  # by the clock of the client it has not stood still for long
        assert not running.done()
        running.cancel()
        await asyncio.wait((running,))


async def test_a_client_that_catches_up_just_in_time() -> None:
    """An exchange would be left waiting for a client that is already done."""

    class Hesitant(Taker):
        """Tells that it takes data again although nothing was held back."""

        def write(self, data: bytes) -> None:
            super().write(data)
            self.resume_writing()

    async with scene(answering(COUNTED), kind=Hesitant) as setting:
        assert (await setting.ask())[:4] == (200, 10, True, False)
