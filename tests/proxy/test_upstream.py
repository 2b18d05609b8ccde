"""Endpoints and their connections: which one carries a request, how many there are, and how they come and go."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import Endpoint, Outcome, Region, UpstreamLimits
from tests.support.ports import free_port
from tests.support.scripted import Peer, Script, Scripted, answering
from tests.support.taker import Taker, taker

TLS = Path(__file__).parent.parent / "support" / "tls"
HEAD = b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ASKED: dict[str, Any] = {"answer_lines": b"", "http10": False, "keep_alive": True}


@asynccontextmanager
async def endpoint(url: str, deadlines: Deadlines | None = None, **options: Any) -> AsyncIterator[Endpoint]:
    """An endpoint, closed at the end; its deadlines are swept by the test, if at all."""
    limits = options.pop("limits", UpstreamLimits())
    made = Endpoint(url, limits, deadlines or Deadlines(), **options)
    try:
        yield made
    finally:
        await made.close()


async def ask(upstream: Endpoint, client: Taker, **asked: Any) -> Outcome:
    """One exchange, as the handler asks for it."""
    return await upstream.exchange(HEAD, b"{}", client, **{**ASKED, **asked})


async def ask_for(upstream: Endpoint, times: int, **asked: Any) -> list[int]:
    """The statuses of so many exchanges, one after another, for a client that is told each."""
    statuses = []
    async with taker() as client:
        for _ in range(times):
            statuses.append((await ask(upstream, client, **asked)).status)
    return statuses


async def reason_of(upstream: Endpoint, **asked: Any) -> Reason:
    """Why an exchange was not possible; its client must not have got a byte."""
    async with taker() as client:
        with pytest.raises(Unavailable) as caught:
            await ask(upstream, client, **asked)
        assert client.writes == []
        assert client.exchange is None
    return caught.value.reason


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
async def test_a_query_lost_on_an_idle_connection_is_sent_again(reset: bool) -> None:  # noqa: FBT001 - a column
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
                await upstream.exchange(HEAD, body(), client, safe=True, **ASKED)

        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
        assert len(scripted.peers) == 1


async def test_a_request_is_sent_again_once_and_only_on_a_new_connection() -> None:
    """A dead upstream would be asked as often as there are idle connections."""
    together = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        if peer.number <= 3:
            await peer.request()
            await together.wait()
            await peer.send(OK)
        await peer.head()
        peer.end()

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream:
        await asyncio.gather(*(ask_for(upstream, 1) for _ in range(3)))
        assert await reason_of(upstream, safe=True) is Reason.UPSTREAM_UNREACHABLE

        assert len(scripted.peers) == 4


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


# How many -------------------------------------------------------------------------------------------------------------


async def test_exchanges_beyond_the_limit_wait_for_their_turn() -> None:
    """Load would open as many connections as there are clients, or be refused though a place is about to be free."""
    answered = asyncio.Event()
    busy = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        busy.set()
        await answered.wait()
        await peer.send(OK)
        await peer.request()
        await peer.send(OK)

    limits = UpstreamLimits(max_connections=1)
    async with Scripted(script) as scripted, endpoint(scripted.url, limits=limits) as upstream:
        first = asyncio.create_task(ask_for(upstream, 1))
        await busy.wait()
        second = asyncio.create_task(ask_for(upstream, 1))
        await asyncio.sleep(0)
        answered.set()

        assert await first + await second == [200, 200]
        assert len(scripted.peers) == 1


async def test_waiting_for_a_turn_has_an_end() -> None:
    """Clients would pile up in front of an upstream that has stopped answering."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()

    limits = UpstreamLimits(max_connections=1, connect=0.05)
    async with Scripted(script) as scripted, endpoint(scripted.url, limits=limits) as upstream:
        first = asyncio.create_task(ask_for(upstream, 1))
        await asked.wait()

        assert await reason_of(upstream) is Reason.REGION_UNAVAILABLE
        first.cancel()
        await asyncio.wait((first,))
        assert scripted.peers[0].requests


@pytest.mark.parametrize("when", ["before its turn", "when its turn has come"])
async def test_whoever_gives_up_waiting_leaves_the_turn_to_the_next(when: str) -> None:
    """A place would be lost with every client that leaves while it waits, until none is left."""
    answered, busy = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            busy.set()
            await answered.wait()
            await peer.send(OK)

    async def first() -> int:
        outcome = await ask(upstream, clients[0])
        if when == "when its turn has come":
            second.cancel()  # which has been given the place, and does not know it yet
        return outcome.status

    async with AsyncExitStack() as stack:
        scripted = await stack.enter_async_context(Scripted(script))
        upstream = await stack.enter_async_context(endpoint(scripted.url, limits=UpstreamLimits(max_connections=1)))
        clients = [await stack.enter_async_context(taker()) for _ in range(3)]
        running = asyncio.create_task(first())
        await busy.wait()
        second, third = (asyncio.create_task(ask(upstream, client)) for client in clients[1:])
        await asyncio.sleep(0)
        if when == "before its turn":
            second.cancel()
        answered.set()

        assert await running == (await third).status == 200
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await ask_for(upstream, 1) == [200]
        assert len(scripted.peers) == 1


# Names and addresses --------------------------------------------------------------------------------------------------


class Names:
    """A resolver that gives its answers one after another, and counts how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = answers

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append((name, port))
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


async def test_every_address_of_a_name_is_tried() -> None:
    """An upstream with one dead address would be away for every second request."""
    async with Scripted(answering(OK)) as scripted:
        names = Names(["127.0.0.2", "127.0.0.3", "127.0.0.1"])
        async with endpoint(f"http://upstream.test:{scripted.port}", resolve=names) as upstream:
            assert await ask_for(upstream, 1) == [200]

        assert names.asked == [("upstream.test", scripted.port)]


@pytest.fixture
def elsewhere() -> str:
    """A second address of this machine, where a server may listen on the same port as at 127.0.0.1."""
    for host in ("127.0.0.2", "::1"):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe, suppress(OSError):
            probe.bind((host, 0))
            return host
    pytest.skip("this machine has one loopback address only")


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(elsewhere: str) -> None:
    """An address that swallows connections would use up the time that the others need."""

    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(Scripted(answering(OK), certificate=str(TLS / "good.pem")))
        await stack.enter_async_context(Scripted(answering(), host=elsewhere, port=good.port))  # takes a handshake, and waits
        upstream = await stack.enter_async_context(
            endpoint(
                f"https://upstream.test:{good.port}",
                limits=UpstreamLimits(connect=1.0),
                resolve=Names([elsewhere, "127.0.0.1"]),
                ssl_context=trusting(),
            )
        )

        assert await ask_for(upstream, 1) == [200]


async def test_names_are_resolved_anew_for_each_connection(elsewhere: str) -> None:
    """An upstream that has moved would be looked for at its old address until the gateway is restarted."""
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(Scripted(answering(OK)))
        new = await stack.enter_async_context(Scripted(answering(OK), host=elsewhere, port=old.port))
        upstream = await stack.enter_async_context(
            endpoint(
                f"http://upstream.test:{old.port}",
                limits=UpstreamLimits(max_age=0.0),
                resolve=Names(["127.0.0.1"], [elsewhere]),
            )
        )

        assert await ask_for(upstream, 2) == [200, 200]
        assert (len(old.peers), len(new.peers)) == (1, 1)


async def test_the_system_resolves_names() -> None:
    """No upstream could be given by name."""
    async with Scripted(answering(OK)) as scripted, endpoint(f"http://localhost:{scripted.port}") as upstream:
        assert await ask_for(upstream, 1) == [200]


async def test_ipv6_addresses_work() -> None:
    """No upstream could be given by an IPv6 address."""
    try:
        scripted = await Scripted(answering(OK), host="::1").__aenter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with endpoint(scripted.url) as upstream:
        assert upstream.authority == f"[::1]:{scripted.port}".encode()
        assert await ask_for(upstream, 1) == [200]
    await scripted.__aexit__()


async def _fails(_: str, __: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


async def _is_odd(_: str, __: int) -> Sequence[str]:
    raise UnicodeError("label too long")


async def _hangs(_: str, __: int) -> Sequence[str]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize(
    ("resolve", "reason"),
    [
        (_fails, Reason.UPSTREAM_UNREACHABLE),
        (_is_odd, Reason.UPSTREAM_UNREACHABLE),
        (_hangs, Reason.UPSTREAM_UNREACHABLE),
        (Names([]), Reason.UPSTREAM_UNREACHABLE),
        (Names(["127.0.0.1", "127.0.0.2"]), Reason.UPSTREAM_UNREACHABLE),
    ],
    ids=["no such name", "no name at all", "no answer", "no address", "nobody there"],
)
async def test_an_upstream_that_cannot_be_found(resolve: Any, reason: Reason) -> None:
    """A client would wait for ever, or be told that the fault is the gateway's."""
    limits = UpstreamLimits(connect=0.1)
    async with endpoint(f"http://upstream.test:{free_port()}", limits=limits, resolve=resolve) as upstream:
        assert await reason_of(upstream) is reason


async def test_an_upstream_that_does_not_finish_connecting() -> None:
    """A client would wait for ever for an upstream that hangs."""

    async with Scripted(answering()) as scripted:
        url = scripted.url.replace("http:", "https:")
        async with endpoint(url, limits=UpstreamLimits(connect=0.1)) as upstream:
            assert await reason_of(upstream) is Reason.UPSTREAM_TIMEOUT
        await scripted.peers[0].gone()


# TLS ------------------------------------------------------------------------------------------------------------------


def trusting() -> ssl.SSLContext:
    """A context that trusts the authority of the tests."""
    return ssl.create_default_context(cafile=str(TLS / "ca.pem"))


async def test_an_https_upstream_is_asked_by_name() -> None:
    """The upstream could not choose its certificate, or requests would go out in the clear."""
    async with Scripted(answering(OK, OK), certificate=str(TLS / "good.pem")) as scripted:
        url = f"https://upstream.test:{scripted.port}"
        async with endpoint(url, ssl_context=trusting(), resolve=Names(["127.0.0.1"])) as upstream:
            assert await ask_for(upstream, 2) == [200, 200]

            assert [peer.server_name for peer in scripted.peers] == ["upstream.test"]


async def test_an_https_upstream_may_be_an_address() -> None:
    """An upstream with a certificate for its address could not be used."""
    certificate = str(TLS / "good.pem")
    async with Scripted(answering(OK), certificate=certificate) as scripted:
        async with endpoint(scripted.url, ssl_context=trusting()) as upstream:
            assert await ask_for(upstream, 1) == [200]


@pytest.mark.parametrize(
    ("certificate", "name", "trusted"),
    [
        ("good", "upstream.test", False),
        ("expired", "upstream.test", True),
        ("other", "upstream.test", True),
        ("good", "other.test", True),
        ("other", "127.0.0.1", True),
    ],
    ids=["unknown authority", "expired", "another's", "another name", "another address"],
)
async def test_certificates_that_prove_nothing(certificate: str, name: str, trusted: bool) -> None:  # noqa: FBT001
    """Somebody in between would get every request, identity included."""
    async with Scripted(answering(OK), certificate=str(TLS / f"{certificate}.pem")) as scripted:
        context = trusting() if trusted else None
        url = f"https://{name}:{scripted.port}"
        async with endpoint(url, ssl_context=context, resolve=Names(["127.0.0.1"])) as upstream:
            assert await reason_of(upstream) is Reason.UPSTREAM_UNREACHABLE

        assert all(peer.requests == [] for peer in scripted.peers)


def _unverifying() -> ssl.SSLContext:
    context = trusting()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _nameless() -> ssl.SSLContext:
    context = trusting()
    context.check_hostname = False
    return context


@pytest.mark.parametrize("context", [_unverifying(), _nameless()], ids=["no certificate", "no name"])
def test_verification_cannot_be_turned_off(context: ssl.SSLContext) -> None:
    """A setting could make every https upstream anybody's."""
    with pytest.raises(ValueError, match="must verify"):
        Endpoint("https://upstream.test", UpstreamLimits(), Deadlines(), ssl_context=context)


# The end --------------------------------------------------------------------------------------------------------------


async def test_closing_ends_every_connection() -> None:
    """The gateway would not stop, or leave connections behind."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            asked.set()
        else:
            await peer.send(OK)

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream, taker() as client:
        running = asyncio.create_task(ask(upstream, client))
        await asked.wait()
        assert await ask_for(upstream, 1) == [200]
        await upstream.close()

        with pytest.raises(Unavailable):
            await running
        for peer in scripted.peers:
            await peer.gone()


async def test_nothing_is_sent_once_an_endpoint_is_closed() -> None:
    """A gateway that has stopped would still forward."""
    async with Scripted(answering(OK)) as scripted, endpoint(scripted.url) as upstream:
        await upstream.close()

        assert await reason_of(upstream) is Reason.UPSTREAM_UNREACHABLE
        assert all(peer.requests == [] for peer in scripted.peers)


async def test_closing_twice_is_nothing() -> None:
    """A second signal would hide the first one's outcome behind a fault."""
    async with Scripted(answering(OK)) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 1) == [200]
        await upstream.close()
        await upstream.close()

        await scripted.peers[0].gone()
