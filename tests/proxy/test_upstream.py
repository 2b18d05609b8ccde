"""Endpoints and the connections they keep: which one carries a request, and whether a request is ever sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import Endpoint, Region, UpstreamLimits
from tests.support.exchanges import HEAD, OK, ask, ask_for, endpoint, reason_of
from tests.support.scripted import Peer, Script, Scripted, answering
from tests.support.taker import taker

# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "name", "authority"),
    [
        ("http://api.test", "api.test:80", b"api.test"),
        ("http://api.test/", "api.test:80", b"api.test"),
        ("http://API.test:80", "api.test:80", b"api.test"),
        ("http://api.test:443", "api.test:443", b"api.test:443"),
        ("https://api.test", "api.test:443", b"api.test"),
        ("https://api.test:443", "api.test:443", b"api.test"),
        ("https://api.test:8443", "api.test:8443", b"api.test:8443"),
        ("http://192.0.2.1:8080", "192.0.2.1:8080", b"192.0.2.1:8080"),
        ("http://[2001:db8::1]", "[2001:db8::1]:80", b"[2001:db8::1]"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", b"[2001:db8::1]:8443"),
    ],
)
def test_names_and_authorities(url: str, name: str, authority: bytes) -> None:
    """The upstream would not recognise its own host, or nobody the endpoint in the log."""
    upstream = Endpoint(url, UpstreamLimits(), Deadlines())

    assert (upstream.name, upstream.authority) == (name, authority)


@pytest.mark.parametrize(
    "url",
    [
        "api.test", "//api.test", "ftp://api.test", "http://", "http://:80", "http://api.test:99999", "http://api.test:x",
        "http://user@api.test", "http://user:word@api.test", "http://api.test/v4", "http://api.test?a", "http://api.test#a",
        "http://b\u00fccher.test", "http://[::1", "unix:/run/api",
    ],
)  # fmt: skip
def test_urls_that_are_no_endpoint(url: str) -> None:
    """Requests would go somewhere else than the settings seem to say."""
    with pytest.raises(ValueError, match=r".+"):
        Endpoint(url, UpstreamLimits(), Deadlines())


def test_a_region_takes_its_endpoints_in_turn() -> None:
    """One endpoint of a region would get all the work."""
    endpoints = [Endpoint(f"http://{name}.test", UpstreamLimits(), Deadlines()) for name in "abc"]
    region = Region("eu", endpoints)

    assert [region.next() for _ in range(7)] == [*endpoints, *endpoints, endpoints[0]]
    assert (region.name, region.endpoints) == ("eu", tuple(endpoints))


# Reuse ----------------------------------------------------------------------------------------------------------------


async def test_a_request_crosses_as_it_was_given() -> None:
    """The upstream would judge another request than the gateway did."""
    async with Scripted(answering(OK)) as scripted, endpoint(scripted.url) as upstream, taker() as client:
        outcome = await ask(upstream, client, answer_lines=b"X-Request-Id: r1\r\n")

        assert scripted.peers[0].requests == [HEAD + b"{}"]
        assert await client.take(len(OK) + 18) == OK.replace(b"\r\n\r\n", b"\r\nX-Request-Id: r1\r\n\r\n")
        assert client.writes == [len(OK) + 18]
        assert outcome[:4] == (200, 2, True, False)
        assert 0 < outcome.first_byte_seconds <= outcome.upstream_seconds
        assert client.exchange is None


async def test_one_connection_carries_many_exchanges() -> None:
    """Every request would pay for a connection of its own."""
    async with Scripted(answering(*[OK] * 5)) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 5) == [200] * 5
        assert len(scripted.peers) == 1


async def test_a_fresh_connection_is_taken_where_it_is_asked_for() -> None:
    """A request of which nobody can say whether it was done would be sent on a connection that is just being closed."""
    async with Scripted(answering(*[OK] * 5)) as scripted, endpoint(scripted.url) as upstream, taker() as client:
        await ask_for(upstream, 2)
        await ask(upstream, client, fresh=True)
        assert [len(peer.requests) for peer in scripted.peers] == [2, 1]


async def test_exchanges_at_the_same_time_have_connections_of_their_own() -> None:
    """Clients would wait for each other, or get each other's answers."""
    together = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        await peer.send(OK.replace(b"ok", b"%02d" % peer.number))

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(taker()) for _ in range(3)]
        await asyncio.gather(*(ask(upstream, client) for client in clients))
        bodies = [(await client.take(len(OK)))[-2:] for client in clients]

        assert sorted(bodies) == [b"01", b"02", b"03"]


NOT_AGAIN = {
    "the upstream says so": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a byte too many": OK + b"!",
    "a line end too many": OK + b"\r\n",
    "a second answer": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    "something after the chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
    "a body with 204": b"HTTP/1.1 204 No Content\r\n\r\nbad",
}


@pytest.mark.parametrize("answer", NOT_AGAIN.values(), ids=NOT_AGAIN.keys())
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    """A client would get what an upstream sent for somebody else's request."""
    async with Scripted(answering(answer)) as scripted, endpoint(scripted.url) as upstream, taker() as client:
        for number in (1, 2):
            outcome = await ask(upstream, client)

            assert not outcome.aborted
            await scripted.peers[-1].gone()
            assert len(scripted.peers) == number


@pytest.mark.parametrize("extra", [b"!", b"\r\n", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 3\r\n\r\nbad"])
async def test_a_byte_on_an_idle_connection_ends_it(extra: bytes) -> None:
    """A client would get what an upstream sent unasked."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await first_answered.wait()
            await peer.send(extra)

    first_answered = asyncio.Event()
    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream, taker() as client:
        await ask(upstream, client)
        first_answered.set()
        await scripted.peers[0].gone()
        assert (await ask(upstream, client)).status == 200

        assert len(scripted.peers) == 2
        assert await client.take(2 * len(OK)) == OK * 2


async def test_an_upstream_that_speaks_first_is_not_reached() -> None:
    """A banner would be taken for the answer to the first request."""

    async def script(peer: Peer) -> None:
        await peer.send(b"220 mail.test ESMTP\r\n")

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream:
        assert await reason_of(upstream) in {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_MALFORMED}


async def test_an_idle_connection_goes_at_its_time() -> None:
    """The upstream would close idle connections first, and requests be lost on them."""
    deadlines = Deadlines()
    async with Scripted(answering(OK, OK)) as scripted, endpoint(scripted.url, deadlines) as upstream:
        for ahead in (3.5, 4.5):
            assert await ask_for(upstream, 1) == [200]
            deadlines.sweep(asyncio.get_running_loop().time() + ahead)
        await scripted.peers[0].gone()

        assert len(scripted.peers[0].requests) == 2


@pytest.mark.parametrize("limits", [UpstreamLimits(idle=0.0), UpstreamLimits(max_age=0.0)], ids=["idle", "age"])
async def test_a_connection_past_its_time_is_not_used_even_if_no_sweep_came(limits: UpstreamLimits) -> None:
    """A request would go out on a connection that the upstream is about to close, or to an old address."""
    async with Scripted(answering(OK, OK)) as scripted, endpoint(scripted.url, limits=limits) as upstream:
        assert await ask_for(upstream, 2) == [200, 200]
        await scripted.peers[0].gone()

        assert len(scripted.peers) == 2


# Again ----------------------------------------------------------------------------------------------------------------


def closing_under_us(*, first: int, reset: bool = False) -> Script:
    """The script of an upstream that closes each of its first connections when the second request comes on it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.head()
        if peer.number <= first:
            (peer.reset if reset else peer.end)()
        else:
            await peer.send(OK)

    return script


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_query_lost_on_an_idle_connection_is_sent_again(reset: bool) -> None:
    """Users would see errors whenever an upstream closes an idle connection at the wrong moment."""
    script = closing_under_us(first=1, reset=reset)
    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 2, safe=True) == [200, 200]

        assert [len(peer.requests) for peer in scripted.peers] == [1, 1]


async def test_a_mutation_lost_on_an_idle_connection_is_not_sent_again() -> None:
    """A mutation would run twice."""
    async with Scripted(closing_under_us(first=1)) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 1) == [200]
        assert await reason_of(upstream, safe=False) is Reason.UPSTREAM_UNREACHABLE

        assert len(scripted.peers) == 1


async def test_a_streamed_body_is_not_sent_again() -> None:
    """Half a body would be sent, or none, since what was streamed is gone."""

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    async with Scripted(closing_under_us(first=1)) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 1) == [200]
        async with taker() as client:
            with pytest.raises(Unavailable) as caught:
                await ask(upstream, client, HEAD, body(), safe=True)

        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
        assert len(scripted.peers) == 1


async def test_a_request_is_sent_again_once_and_only_on_a_new_connection() -> None:
    """A dead upstream would be asked as often as there are idle connections."""
    together = asyncio.Barrier(3)
    asked_in_vain = []

    async def script(peer: Peer) -> None:
        if peer.number <= 3:
            await peer.request()
            await together.wait()
            await peer.send(OK)
        await peer.head()
        asked_in_vain.append(peer.number)
        peer.end()

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream:
        await asyncio.gather(*(ask_for(upstream, 1) for _ in range(3)))
        assert await reason_of(upstream, safe=True) is Reason.UPSTREAM_UNREACHABLE

        assert (len(asked_in_vain), asked_in_vain[-1]) == (2, 4)


async def test_a_query_lost_after_a_byte_of_its_answer_is_not_sent_again() -> None:
    """An upstream that dies of a query would be made to die of it twice."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.head()
        await peer.send(b"H")
        peer.end()

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 1) == [200]
        assert await reason_of(upstream, safe=True) is Reason.UPSTREAM_MALFORMED

        assert len(scripted.peers) == 1


async def test_a_query_lost_on_a_new_connection_is_not_sent_again() -> None:
    """An upstream that dies of a query would be made to die of it twice."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.end()

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream:
        assert await reason_of(upstream, safe=True) is Reason.UPSTREAM_UNREACHABLE

        assert len(scripted.peers) == 1
