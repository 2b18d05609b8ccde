"""Exchanges that go wrong, at every point at which they can: what the client gets, and what becomes of the connections.

Whatever happens, a client sees one status line at most, and no clean end of a body that is not whole.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest

from gateway.core.decision import Reason, Refused, Unavailable, refuse
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import Endpoint, Outcome, UpstreamLimits
from tests.support.scripted import Peer, Script, Scripted, answering
from tests.support.taker import Taken, Taker, taker
from tests.proxy.test_upstream import TLS, Names, trusting

HEAD = b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
STREAMED = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
STREAMED_IN_CHUNKS = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
COUNTED = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 10\r\n\r\n0123456789"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
BY_CLOSE = b"HTTP/1.1 200 OK\r\nServer: s\r\n\r\n0123456789"
PATIENCE = 30.0
ASKED: dict[str, Any] = {"answer_lines": b"", "http10": False, "keep_alive": True}


class Scene(NamedTuple):
    """An upstream that plays a script, an endpoint for it, and a client."""

    scripted: Scripted
    endpoint: Endpoint
    client: Taker
    deadlines: Deadlines

    async def ask(self, head: bytes = HEAD, body: bytes | AsyncIterator[bytes] = b"{}", **asked: Any) -> Outcome:
        """One exchange, as the handler asks for it."""
        return await self.endpoint.exchange(head, body, self.client, **{**ASKED, **asked})

    def pass_time(self, seconds: float) -> None:
        """Sweep as if so much time had passed."""
        self.deadlines.sweep(asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def scene(script: Script, limits: UpstreamLimits = UpstreamLimits(), **options: Any) -> AsyncIterator[Scene]:  # noqa: B008 - frozen
    """Everything that an exchange needs, ended afterwards; a test that hangs fails."""
    deadlines = Deadlines()
    async with asyncio.timeout(PATIENCE), Scripted(script, **options) as scripted, taker() as client:
        secure = scripted.url.startswith("https")
        endpoint = Endpoint(scripted.url, limits, deadlines, ssl_context=trusting() if secure else None)
        try:
            yield Scene(scripted, endpoint, client, deadlines)
        finally:
            await endpoint.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds that nothing tells of when it does."""
    while not condition():
        await asyncio.sleep(0)


async def end_of(setting: Scene, **asked: Any) -> tuple[Taken, Reason | None]:
    """What the client has got when everything is over, in the handler's place: and the reason it would be told."""
    reason = None
    try:
        outcome = await setting.ask(**asked)
    except Unavailable as error:
        assert setting.client.writes == []
        reason = error.reason
        setting.client.finish()
    else:
        if not outcome.aborted:
            assert outcome.status == 200
            setting.client.finish()
    assert setting.client.exchange is None
    return await setting.client.taken(), reason


def body_of(data: bytes) -> bytes | None:
    """The body of a whole answer by its framing; None for an answer that is not whole."""
    head, ended, rest = data.partition(b"\r\n\r\n")
    if not ended:
        return None
    if b"Transfer-Encoding: chunked" not in head:
        return rest if len(rest) == 10 else None
    body = b""
    with suppress(ValueError):
        while size := int(rest[: rest.index(b"\r\n")], 16):
            start = rest.index(b"\r\n") + 2
            body += rest[start : start + size]
            rest = rest[start + size + 2 :]
        return body if rest == b"0\r\n\r\n" else None
    return None


# The upstream dies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["end", "reset"])
@pytest.mark.parametrize("http10", [False, True], ids=["1.1", "1.0"])
@pytest.mark.parametrize(("answer", "by_close"), [(COUNTED, False), (CHUNKED, False), (BY_CLOSE, True)],
                         ids=["counted", "chunked", "by close"])  # fmt: skip
async def test_the_upstream_dies_at_each_byte(answer: bytes, by_close: bool, http10: bool, end: str) -> None:  # noqa: FBT001
    """A client would take half an answer for a whole one, or find a second answer inside the first."""
    head = answer.index(b"\r\n\r\n") + 4
    for cut in range(len(answer) + 1):

        async def script(peer: Peer, cut: int = cut) -> None:
            await peer.request()
            await peer.send(answer[:cut])
            getattr(peer, end)()

        async with scene(script) as setting:
            (data, clean), reason = await end_of(setting, http10=http10)

        whole = (cut == len(answer) and not by_close) or (by_close and end == "end" and cut >= head)
        if whole:
            assert clean
            assert body_of(data) == b"0123456789" if cut == len(answer) else data.startswith(b"HTTP/1.1 200 OK")
        elif reason is None:
            assert not clean
            assert cut >= head
            assert data.count(b"HTTP/") <= 1
            assert http10 or body_of(data) is None
        else:
            assert (data, clean) == (b"", True)
            assert reason in {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_MALFORMED}


@pytest.mark.parametrize("cut", [0, 1, 20, len(COUNTED) - 10, len(COUNTED) - 1])
async def test_the_reason_tells_an_upstream_that_is_away_from_one_that_stops_short(cut: int) -> None:
    """An operator would look for a network fault where the upstream crashes, or the other way round."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(COUNTED[:cut])
        peer.end()

    async with scene(script) as setting:
        _, reason = await end_of(setting)

    in_head = Reason.UPSTREAM_MALFORMED if cut < len(COUNTED) - 10 else None
    assert reason == (in_head if cut else Reason.UPSTREAM_UNREACHABLE)


@pytest.mark.parametrize(("last", "clean"), [("end", True), ("cut", False)])
async def test_an_https_answer_that_ends_with_the_connection_needs_a_proper_end(last: str, clean: bool) -> None:  # noqa: FBT001
    """Somebody in between could cut an answer short, and the client would take it for the whole."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(BY_CLOSE)
        getattr(peer, last)()

    async with scene(script, certificate=str(TLS / "good.pem")) as setting:
        taken, reason = await end_of(setting)

    assert reason is None
    assert taken.clean is clean
    assert (body_of(taken.data) == b"0123456789") is clean


BROKEN_WITHIN = {
    "a chunk size that is none": CHUNKED[:-16] + b"zz\r\n",
    "a chunk that is too long": CHUNKED[:-16] + b"1\r\nxx\r\n",
    "a length among the trailers": CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n",
    "trailers without end": CHUNKED[:-2] + b"X: a\r\n" * 200_000,
}


@pytest.mark.parametrize("answer", BROKEN_WITHIN.values(), ids=BROKEN_WITHIN.keys())
async def test_an_answer_that_breaks_after_it_has_begun_is_cut(answer: bytes) -> None:
    """A client would take half an answer for a whole one, or get an error page inside it."""
    head = answer.index(b"\r\n\r\n") + 4

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer[:head])
        await head_given.wait()
        await peer.send(answer[head:])

    head_given = asyncio.Event()
    async with scene(script) as setting:
        running = asyncio.create_task(end_of(setting))
        first = await setting.client.take_until(b"\r\n\r\n")
        head_given.set()
        (data, clean), reason = await running
        await setting.scripted.peers[0].gone()

    assert (reason, clean) == (None, False)
    assert (first + data).count(b"HTTP/") == 1
    assert body_of(first + data) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 3_000,
    ],
    ids=["no HTTP", "line feeds", "101", "a coding", "bad chunks at once", "an endless head", "a flood of 102"],
)
async def test_a_malformed_answer_is_refused_whole(answer: bytes) -> None:
    """A client would get an answer that the next reader takes for something else."""
    async with scene(answering(answer)) as setting:
        taken, reason = await end_of(setting)
        await setting.scripted.peers[0].gone()

    assert reason is Reason.UPSTREAM_MALFORMED
    assert taken == Taken(b"", clean=True)


# The upstream is slow -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 102 Processing\r\n\r\n" * 3],
                         ids=["nothing", "half a head", "interim answers"])  # fmt: skip
async def test_an_upstream_that_gives_no_head_in_time(said: bytes) -> None:
    """A client would wait for ever, or as long as an upstream cares to drip."""
    said_it = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        said_it.set()

    async with scene(script) as setting:
        running = asyncio.create_task(end_of(setting))
        await said_it.wait()
        await asyncio.sleep(0.01)  # so that what was said has been read, which must not matter
        setting.pass_time(29.0)
        assert not running.done()
        setting.pass_time(31.0)
        taken, reason = await running
        await setting.scripted.peers[0].gone()

    assert (taken, reason) == (Taken(b"", clean=True), Reason.UPSTREAM_TIMEOUT)


async def test_an_upstream_that_stops_within_its_answer_is_cut() -> None:
    """A client would wait for ever for the rest of an answer."""
    async with scene(answering(COUNTED[:-1])) as setting:
        running = asyncio.create_task(end_of(setting))
        data = await setting.client.take(len(COUNTED) - 1)
        setting.pass_time(29.0)
        assert not running.done()
        setting.pass_time(31.0)
        (rest, clean), reason = await running
        await setting.scripted.peers[0].gone()

    assert (data, rest, clean, reason) == (COUNTED[:-1], b"", False, None)


async def test_each_byte_of_the_body_gives_new_time() -> None:
    """A long answer would be cut although it comes steadily."""
    limits = UpstreamLimits(first_byte=10.0, between_bytes=60.0)
    async with scene(answering(COUNTED[:-1]), limits) as setting:
        running = asyncio.create_task(end_of(setting))
        await setting.client.take(len(COUNTED) - 1)
        setting.pass_time(50.0)
        await asyncio.sleep(0)
        assert not running.done()
        await setting.scripted.peers[0].send(COUNTED[-1:])
        taken, _ = await running

    assert taken == Taken(COUNTED[-1:], clean=True)


# The client leaves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", COUNTED[:-1]], ids=["before", "within the head", "within the body"])
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


async def test_a_client_that_is_found_gone_while_it_is_written_to() -> None:
    """An exchange would end twice, or go on for nobody."""

    class Leaving(Taker):
        def write(self, data: bytes) -> None:
            assert self.exchange is not None
            self.exchange.client_left()

    async with scene(answering(COUNTED[:-1])) as setting:
        client = Leaving()
        client._transport = setting.client._transport  # noqa: SLF001 - the same connection, another behaviour
        outcome = await setting.endpoint.exchange(HEAD, b"{}", client, **ASKED)
        await setting.scripted.peers[0].gone()

    assert outcome.aborted


@pytest.mark.parametrize("said", [b"", COUNTED[:-1]], ids=["before the answer", "within it"])
async def test_cancellation_ends_both_connections(said: bytes) -> None:
    """A gateway that stops would leave half an answer that looks whole."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        asked.set()

    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask())
        await asked.wait()
        data = await setting.client.take(len(said))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await setting.scripted.peers[0].gone()

        assert setting.client.exchange is None
        assert (data, await setting.client.taken()) == (said, Taken(b"", clean=False))


async def test_cancellation_while_connecting() -> None:
    """A gateway that stops would wait for upstreams that do not answer."""
    async with scene(answering()) as setting:
        url = setting.scripted.url.replace("http:", "https:")
        silent = Endpoint(url, UpstreamLimits(connect=20.0), Deadlines())
        running = asyncio.create_task(silent.exchange(HEAD, b"{}", setting.client, **ASKED))
        await until(lambda: bool(setting.scripted.peers))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await setting.scripted.peers[0].gone()
        await silent.close()

        assert await setting.client.taken() == Taken(b"", clean=False)


async def test_a_fault_of_ours_ends_the_exchange() -> None:
    """A client would wait for ever after a fault of the gateway's own, or get a second answer inside the first."""

    class Failing(Taker):
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with scene(answering(OK)) as setting:
        client = Failing()
        client._transport = setting.client._transport  # noqa: SLF001 - the same connection, another behaviour
        outcome = await setting.endpoint.exchange(HEAD, b"{}", client, **ASKED)
        await setting.scripted.peers[0].gone()

        assert outcome.aborted
        assert (await setting.client.taken()).clean is False
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


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
    async with scene(pouring(BIG), UpstreamLimits(client_stall=0.0, between_bytes=math.inf)) as setting:
        running = await held_up(setting)
        for _ in range(50):
            before = setting.client.unsent()
            while setting.client.writing_paused and setting.client.unsent() == before:
                await setting.client.take(1 << 14)
                await asyncio.sleep(0)
            setting.pass_time(0.0)
        assert not running.done()
        running.cancel()
        await asyncio.wait((running,))


async def test_time_spent_on_a_slow_client_is_not_the_upstreams() -> None:
    """An upstream would be blamed for a client that takes its time."""
    async with scene(pouring(BIG)) as setting:
        running = await held_up(setting)
        setting.pass_time(29.0)
        setting.pass_time(1000.0)  # by its own clock the client has not stood still for long
        assert not running.done()
        running.cancel()
        await asyncio.wait((running,))


# Streamed requests ----------------------------------------------------------------------------------------------------


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
async def test_a_body_is_streamed(head: bytes, chunked: bool, crossed: bytes) -> None:  # noqa: FBT001
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
        await asyncio.sleep(0.01)  # the end of the body follows its last part
        setting.pass_time(29.0)
        assert not running.done()
        setting.pass_time(31.0)
        with pytest.raises(Unavailable) as caught:
            await running

    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("by_close", [False, True], ids=["counted", "by close"])
async def test_an_answer_before_the_end_of_the_request_ends_both_connections(by_close: bool) -> None:  # noqa: FBT001
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


async def test_an_upstream_that_takes_no_more_of_a_body() -> None:
    """A client would wait for ever for an upstream that hangs while it is written to."""
    produced = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1 << 16
            yield b"x" * (1 << 16)

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.hold()

    async with scene(script) as setting:
        running = asyncio.create_task(setting.ask(STREAMED_IN_CHUNKS, endless(), chunked=True))
        before = -1
        while produced != before or not produced:
            before = produced
            await asyncio.sleep(0.05)
        setting.pass_time(29.0)
        assert not running.done()
        setting.pass_time(31.0)
        with pytest.raises(Unavailable) as caught:
            await running

    assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "within it"])
async def test_a_body_that_fails(begun: bool) -> None:  # noqa: FBT001
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
