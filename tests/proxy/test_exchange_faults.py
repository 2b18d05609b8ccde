"""Exchanges that go wrong on the upstream's side, or on the gateway's own, at every point at which they can.

Whatever happens, a client sees one status line at most, and no clean end of a body that is not whole.
"""

import asyncio
from typing import Any

import pytest

from gateway.core.decision import Reason
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import Endpoint, UpstreamLimits
from tests.support.exchanges import BY_CLOSE, CHUNKED, COUNTED, OK, TLS, ask, body_of, end_of, scene, settled, until
from tests.support.scripted import Peer, answering
from tests.support.taker import Taken, Taker

# The upstream dies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["end", "reset"])
@pytest.mark.parametrize("http10", [False, True], ids=["1.1", "1.0"])
@pytest.mark.parametrize(("answer", "by_close"), [(COUNTED, False), (CHUNKED, False), (BY_CLOSE, True)],
                         ids=["counted", "chunked", "by close"])  # fmt: skip
async def test_the_upstream_dies_at_each_byte(answer: bytes, by_close: bool, http10: bool, end: str) -> None:
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
async def test_an_https_answer_that_ends_with_the_connection_needs_a_proper_end(last: str, clean: bool) -> None:
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
        await settled()
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


# The gateway --------------------------------------------------------------------------------------------------------


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
        running = asyncio.create_task(ask(silent, setting.client))
        await until(lambda: bool(setting.scripted.peers))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await setting.scripted.peers[0].gone()
        await silent.close()

        assert await setting.client.taken() == Taken(b"", clean=False)


class Failing(Taker):
    """A client's connection with a fault of the gateway's own."""

    def write(self, data: bytes) -> None:
        raise ZeroDivisionError


async def test_a_fault_of_ours_ends_the_exchange() -> None:
    """A client would wait for ever after a fault of the gateway's own, or get a second answer inside the first."""

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with scene(answering(OK), kind=Failing) as setting:
        outcome = await setting.ask()
        await setting.scripted.peers[0].gone()

        assert outcome.aborted
        assert (await setting.client.taken()).clean is False
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
