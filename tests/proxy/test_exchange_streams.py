"""Requests whose bodies are streamed, and what ends them before they are whole."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from gateway.core.decision import Reason, Refused, Unavailable, refuse
from tests.support.exchanges import BY_CLOSE, COUNTED, HEAD, OK, body_of, scene, settled, until
from tests.support.scripted import Peer, answering
from tests.support.taker import Taken

STREAMED = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
STREAMED_IN_CHUNKS = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BIG = 32 << 20


class Parts:
    """A request's body, given part by part as a test says; `faulty` ends it by an exception."""

    def __init__(self) -> None:
        self._parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.cancelled = False

    def give(self, *parts: bytes | Exception | None) -> "Parts":
        """The next parts; None for the end."""
        for part in parts:
            self._parts.put_nowait(part)
        return self

    def __aiter__(self) -> "Parts":
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await self._parts.get()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if part is None:
            raise StopAsyncIteration
        if isinstance(part, Exception):
            raise part
        return part


@pytest.mark.parametrize(
    ("head", "chunked", "crossed"),
    [
        (STREAMED, False, b"abcdef"),
        (STREAMED_IN_CHUNKS, True, b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"),
    ],
    ids=["counted", "chunked"],
)
async def test_a_body_is_streamed(head: bytes, chunked: bool, crossed: bytes) -> None:
    """Uploads would be held in memory, or reach the upstream in pieces that do not fit together."""
    body = Parts().give(b"abc", b"")
    async with scene(answering(OK, OK)) as setting:
        running = asyncio.create_task(setting.ask(head, body, chunked=chunked))
        await until(lambda: bool(setting.scripted.peers))
        setting.pass_time(1e6)  # the client's own time is not for the upstream's side to count
        body.give(b"def", None)
        outcome = await running
        assert outcome[:4] == (200, 2, True, False)
        assert (await setting.ask()).status == 200

        assert [peer.requests for peer in setting.scripted.peers] == [[head + crossed, HEAD + b"{}"]]


async def test_an_upstream_that_answers_only_after_a_streamed_body_has_its_time_from_then() -> None:
    """An upload that takes longer than the upstream may think would always fail."""
    body = Parts().give(b"abcdef", None)
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()

    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(STREAMED, body))
        await asked.wait()
        await settled()  # the end of the body follows its last part
        setting.pass_time(29.0)
        assert not running.done()
        setting.pass_time(31.0)
        with pytest.raises(Unavailable) as caught:
            await running

    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("by_close", [False, True], ids=["counted", "by close"])
async def test_an_answer_before_the_end_of_the_request_ends_both_connections(by_close: bool) -> None:
    """The rest of one request would be read as the beginning of the next."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.take(3)
        await peer.send(BY_CLOSE if by_close else COUNTED)
        if by_close:
            peer.end()

    body = Parts().give(b"abc")
    async with scene(script) as setting:
        outcome = await setting.ask(STREAMED, body)
        await setting.scripted.peers[0].gone()
        setting.client.finish()
        taken = await setting.client.taken()

    assert outcome[:4] == (200, 10, False, False)
    assert b"\r\nConnection: close\r\n" in taken.data
    assert body_of(taken.data) == b"0123456789"
    assert body.cancelled


async def test_an_answer_that_overtakes_a_body_at_hand_ends_the_connection() -> None:
    """The rest of one request would be read as the beginning of the next."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.hold()
        await peer.send(OK)

    big = 32 << 20
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % big
    async with scene(script) as setting:
        outcome = await setting.ask(head, b"x" * big)
        assert outcome[:4] == (200, 2, True, False)
        assert (await setting.ask(head, b"x" * big)).status == 200

        assert len(setting.scripted.peers) == 2


class Produced:
    """A body that comes as fast as it is asked for; how much was."""

    def __init__(self, total: float = math.inf) -> None:
        self.bytes = 0
        self._total = total

    async def parts(self) -> AsyncIterator[bytes]:
        """The parts, all alike."""
        while self.bytes < self._total:
            self.bytes += 1 << 16
            yield b"x" * (1 << 16)


async def test_a_slow_upstream_slows_a_streamed_body_down() -> None:
    """One slow upstream and one long upload would fill the gateway's memory."""
    body = Produced(BIG)
    furthest_ahead = 0

    async def script(peer: Peer) -> None:
        nonlocal furthest_ahead
        taken = len(await peer.head())
        while taken < BIG:
            furthest_ahead = max(furthest_ahead, body.bytes - taken)
            taken += len(await peer.take(1 << 14))
            await asyncio.sleep(0)
        await peer.send(OK)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG
    async with scene(script) as setting:
        outcome = await setting.ask(head, body.parts())

        assert outcome[:4] == (200, 2, True, False)
        assert body.bytes == BIG
        assert furthest_ahead < BIG // 2  # the system's own buffers are several MB


async def test_a_pause_of_the_upstream_is_forgotten_once_it_is_over() -> None:
    """A slow client would be cut for the upstream having been slow before."""
    size = 16 << 20
    released, taken = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.hold()
        await released.wait()
        peer.release()
        await peer.take(size)
        taken.set()
        await peer.take(1)
        await peer.send(OK)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (size + 1)
    body = Parts().give(*[b"x" * (1 << 16)] * (size >> 16))
    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(head, body))
        await until(lambda: bool(setting.scripted.peers))
        await settled()
        released.set()
        await taken.wait()
        await settled()
        setting.pass_time(1e6)
        body.give(b"x", None)

        assert (await running).status == 200


async def test_an_upstream_that_takes_no_more_of_a_body() -> None:
    """A client would wait for ever for an upstream that hangs while it is written to."""
    body = Produced()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.hold()

    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(STREAMED_IN_CHUNKS, body.parts(), chunked=True))
        before = 0
        while body.bytes > before or not before:  # until nothing more is taken
            before = body.bytes
            await settled()
        setting.pass_time(29.0)
        assert not running.done()
        setting.pass_time(31.0)
        with pytest.raises(Unavailable) as caught:
            await running

    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "within it"])
async def test_a_body_that_fails(begun: bool) -> None:
    """The client's fault would be taken for the upstream's, or be answered inside an answer."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if begun:
            await peer.send(COUNTED[:-1])

    body = Parts().give(b"abc")
    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(STREAMED, body))
        if begun:
            await setting.client.take_until(b"012345678")
        body.give(refuse(Reason.BODY_TIMEOUT))
        if begun:
            outcome = await running
            assert (outcome.status, outcome.aborted) == (200, True)
            assert await setting.client.taken() == Taken(b"", clean=False)
        else:
            with pytest.raises(Refused):
                await running
            assert setting.client.writes == []
        await until(lambda: bool(setting.scripted.peers))
        await setting.scripted.peers[0].gone()


async def test_a_client_that_leaves_within_its_body() -> None:
    """What ends the body would be raised for an exchange that is over, and be answered to nobody."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()

    body = Parts().give(b"abc")
    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(STREAMED, body))
        await asked.wait()
        body.give(refuse(Reason.REQUEST_MALFORMED))
        assert setting.client.exchange is not None
        setting.client.exchange.client_left()

        assert (await running).aborted
        await setting.scripted.peers[0].gone()


@pytest.mark.parametrize("event", ["the client leaves", "cancelled", "the upstream dies"])
async def test_whatever_ends_an_exchange_ends_the_reading_of_its_body(event: str) -> None:
    """Bodies would be read on for requests that are over."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        if event == "the upstream dies":
            peer.end()

    body = Parts().give(b"abc")
    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(STREAMED, body))
        await asked.wait()
        if event == "the client leaves":
            setting.client.leave()
            assert (await running).aborted
        elif event == "cancelled":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            with pytest.raises(Unavailable):
                await running
        await setting.scripted.peers[0].gone()

    assert body.cancelled
