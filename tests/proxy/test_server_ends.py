"""Ends of connections: the last request, clients that leave, and SIGTERM."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.proxy.deadlines import Deadlines
from gateway.proxy.server import Server, ServerLimits
from tests.support.canned import Canned, connected
from tests.support.held import Held
from tests.support.running import Running, answer_from, running
from tests.support.waiting import eventually
from tests.support.wire import PING, here, line_of, opened, request, sent, statuses, taken, wire


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """What the timers of connections hang on."""
    made = Deadlines(0.02)
    made.start()
    yield made
    made.close()


# Ends of connections --------------------------------------------------------------------------------------------------


@here
@pytest.mark.parametrize(
    ("start", "more"),
    [
        ("POST /v4/gql HTTP/1.1", "Connection: close"),
        ("POST /v4/gql HTTP/1.1", "Connection: x, Close"),
        ("POST /v4/gql HTTP/1.0", "X-A: b"),
        ("POST /v4/gql HTTP/1.0", "Connection: keep-alive"),
        ("POST /v4/gql HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket"),
        ("POST /v4/gql HTTP/1.1", "Connection: upgrade\r\nUpgrade: other"),
    ],
    ids=["close", "close-among-others", "http10", "http10-keep-alive", "websocket", "other-protocol"],
)
async def test_the_last_request(gateway: Running, start: str, more: str) -> None:
    """A connection would go on that must not, and the bytes behind its last request be read as another one."""
    gateway.upstream.received.clear()
    async with wire(gateway) as client:
        await client.send(request(gateway, more, start=start))
        for _ in range(20):
            await asyncio.sleep(0)
        await client.send_all(request(gateway))
        data = await client.rest()
    assert statuses(data) == [200]
    assert answer_from(data).header("Connection") == "close"
    (crossed,) = gateway.upstream.received
    assert crossed.one("Upgrade") is None


def aborted(gateway: Running) -> int:
    """How many requests ended because their client left."""
    return sum(1 for line in gateway.lines() if line.get("aborted"))


@here
@pytest.mark.parametrize("sent", [b"", b"POST /v4", b"POST /v4/gql HTTP/1.1\r\nHost: a\r\n"])
async def test_leaving_within_a_head(gateway: Running, sent: bytes) -> None:
    """Clients that leave before they have asked for anything would fill the log."""
    before = len(gateway.lines())
    async with wire(gateway) as client:
        await client.send(sent)
        client.leave()
    answer = await gateway.ask(token=gateway.user_token)
    await line_of(gateway, answer)
    assert len(gateway.lines()) == before + 1


@here
@pytest.mark.parametrize("token", [None, "gwk_no"], ids=["known", "stranger"])
async def test_leaving_within_a_body(gateway: Running, token: str | None) -> None:
    """A request whose client left in the middle of it would be forwarded, or be lost without a line in the log."""
    gateway.upstream.received.clear()
    before = len(gateway.lines())
    async with wire(gateway) as client:
        await client.send(request(gateway, token=token, length=100, body=b"{"))
        for _ in range(20):
            await asyncio.sleep(0)
        client.leave()
    await eventually(lambda: len(gateway.lines()) == before + 1)
    await eventually(lambda: gateway.app.metrics.in_flight == 0)
    assert gateway.upstream.received == []
    assert gateway.lines()[-1].get("aborted", False) is (token is None)


@here
async def test_leaving_while_waiting(waiting: Running, held: Held) -> None:
    """The upstream would work on for a client that is gone, and its connection stay taken."""
    before = aborted(waiting)
    async with wire(waiting) as client:
        await client.send(request(waiting))
        asked = await held.asked()
        client.leave()
        await asked.given_up()
    await eventually(lambda: aborted(waiting) == before + 1)
    assert waiting.app.metrics.in_flight == 0


@here
async def test_leaving_within_an_answer(waiting: Running, held: Held) -> None:
    """The upstream would go on sending an answer that nobody takes."""
    before = aborted(waiting)
    async with wire(waiting) as client:
        await client.send(request(waiting))
        asked = await held.asked()
        asked.begin(1_000_000)
        await client.head()
        client.leave()
        await asked.given_up()
    await eventually(lambda: aborted(waiting) == before + 1)
    assert waiting.app.metrics.in_flight == 0


@here
async def test_a_large_answer_to_a_slow_client(waiting: Running, held: Held) -> None:
    """An answer that is larger than what lies between would be lost in part, or kept here whole."""
    size = 256 * 40_000
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await opened(client, waiting)
        assert await sent(client, request(waiting, "Connection: close"))
        asked = await held.asked()
        asked.begin(size)
        asked.more(bytes(range(256)) * (size // 256))
        head, _, body = (await taken(client)).partition(b"\r\n\r\n")
    assert statuses(head) == [200]
    assert body == bytes(range(256)) * (size // 256)


async def test_a_client_that_takes_nothing_of_an_answer(tmp_path: Path) -> None:
    """A client that takes nothing would hold its upstream connection for as long as it likes."""
    with socket.socket() as client:
        async with Held() as held, running(tmp_path, {"timeouts.client_stall": 0.3}, upstream_url=held.url) as gateway:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            await opened(client, gateway)
            assert await sent(client, request(gateway))
            asked = await held.asked()
            asked.begin(50_000_000)
            asked.more(bytes(50_000_000))
            await asked.given_up()
            await eventually(lambda: aborted(gateway) == 1)
            assert len(await taken(client)) < 50_000_000


# Drain ----------------------------------------------------------------------------------------------------------------


async def test_drain(tmp_path: Path) -> None:
    """A restart would fail requests that were accepted, or wait for clients that ask for nothing."""
    async with (
        Held() as held,
        running(tmp_path, upstream_url=held.url) as gateway,
        wire(gateway) as new,
        wire(gateway) as used,
        wire(gateway) as busy,
        wire(gateway) as late,
    ):
        await used.send(PING)
        await used.answer()
        await busy.send(request(gateway) * 2)
        asked = await held.asked()
        await late.send(request(gateway)[:50])
        for _ in range(20):
            await asyncio.sleep(0)

        stopping = asyncio.create_task(gateway.app.stop())
        assert await new.rest() == b""
        assert await used.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*gateway.address)
        assert not stopping.done()
        await late.send(request(gateway)[50:])
        (await held.asked()).answer()
        asked.answer()

        for client in (busy, late):
            assert statuses(data := await client.rest()) == [200]
        assert answer_from(data).header("Connection") == "close"
        await stopping


async def test_a_hard_stop(tmp_path: Path) -> None:
    """A request that never ends would keep the gateway from stopping."""
    async with (
        Held() as held,
        running(tmp_path, {"timeouts.drain": 0.2}, upstream_url=held.url) as gateway,
        wire(gateway) as client,
    ):
        await client.send(request(gateway))
        asked = await held.asked()
        await gateway.app.stop()
        assert await client.rest() == b""
        await asked.given_up()


async def test_a_request_that_comes_with_the_end(deadlines: Deadlines) -> None:
    """A request that was read at the moment of SIGTERM would be dropped instead of answered."""
    requests = Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", keep=True)
    server = Server(requests, ServerLimits(), deadlines)
    connection, client = await connected(server)
    with client:
        for _ in range(5):
            await asyncio.sleep(0)
        connection.data_received(PING)
        await server.drain(10)
        assert requests.served == 1
        assert await asyncio.get_running_loop().sock_recv(client, 100) == requests.answer


async def test_a_connection_that_comes_with_the_end(deadlines: Deadlines) -> None:
    """A connection that was accepted at the moment of SIGTERM would stay open."""
    server = Server(Canned(b""), ServerLimits(), deadlines)
    await server.drain(10)
    connection, client = await connected(server)
    with client:
        async with asyncio.timeout(20):
            await connection.closed
