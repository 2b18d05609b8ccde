"""Clients that are slow: with a head, with a body, with taking what they asked for."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.proxy.deadlines import Deadlines
from gateway.proxy.server import Server, ServerLimits
from tests.support.canned import Canned, connected
from tests.support.held import Held
from tests.support.running import Running, answer_from, running
from tests.support.wire import PING, here, request, sent, statuses, wire

HASTY = {"timeouts.header": 0.3, "timeouts.body": 0.3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway that waits a moment only for heads and bodies."""
    async with running(tmp_path_factory.mktemp("hasty"), HASTY) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unsociable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway that keeps idle connections for a moment only."""
    async with running(tmp_path_factory.mktemp("unsociable"), {"timeouts.idle": 0.3}) as started:
        yield started


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """What the timers of connections hang on."""
    made = Deadlines(0.02)
    made.start()
    yield made
    made.close()


# Timers ---------------------------------------------------------------------------------------------------------------


@here
@pytest.mark.parametrize(
    ("before", "dripped"),
    [
        (b"P", b""),
        (b"", b"\r\n"),
        (b"POST /", b"a"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX-A: ", b"a"),
        (b"POST / HTTP/1.1\r\n", b"A: b\r\n"),
        (PING + b"POST /", b"a"),
    ],
    ids=["silence", "blank-lines", "target", "value", "headers", "second-request"],
)
async def test_a_head_that_never_ends(hasty: Running, before: bytes, dripped: bytes) -> None:
    """A client that sends a head byte by byte would hold its connection for ever."""
    async with wire(hasty) as client:
        await client.send(before)
        if before.startswith(PING):
            await client.answer()
        last = answer_from(await client.drip(dripped) if dripped else await client.rest())
    assert (last.status, last.reasons, last.header("Connection")) == (408, ["header_timeout"], "close")


@here
@pytest.mark.parametrize(
    ("more", "sent", "dripped"),
    [
        (("Content-Length: 100",), b"", b""),
        (("Content-Length: 100",), b"{", b" "),
        (("Transfer-Encoding: chunked",), b"", b"1\r\n \r\n"),
        (("Transfer-Encoding: chunked",), b"", b"0"),
        (("Transfer-Encoding: chunked",), b"1;", b"x"),
        (("Transfer-Encoding: chunked",), b"0\r\n", b"X: a\r\n"),
        (("Expect: 100-continue", "Content-Length: 100"), b"", b""),
    ],
    ids=["silence", "counted", "chunks", "chunk-size", "chunk-extension", "trailers", "after-continue"],
)
async def test_a_body_that_never_ends(hasty: Running, more: tuple[str, ...], sent: bytes, dripped: bytes) -> None:
    """A client that sends a body byte by byte would hold its connection for ever."""
    async with wire(hasty) as client:
        await client.send(request(hasty, *more, length=-1, body=sent))
        said = await client.drip(dripped) if dripped else await client.rest()
    last = answer_from(said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert last.status in (400, 408)  # a chunk size of zeros is malformed before it is late
    assert last.header("Connection") == "close"
    if dripped != b"0":
        assert last.reasons == ["body_timeout"]


@here
@pytest.mark.parametrize("before", [b"", PING], ids=["new", "used"])
async def test_an_idle_connection(unsociable: Running, before: bytes) -> None:
    """Idle connections would pile up, or be closed with an answer to a request that nobody sent."""
    async with wire(unsociable) as client:
        await client.send(before)
        if before:
            await client.answer()
        assert await client.rest() == b""


@here
async def test_an_unfinished_head_in_the_segment_of_a_request(unsociable: Running) -> None:
    """The beginning of a head that came together with a request would hold the connection for ever."""
    async with wire(unsociable) as client:
        await client.send(PING + b"POST /v4/gql HTTP/1.1\r\nHost:")
        assert (await client.answer()).status == 415
        assert statuses(await client.rest()) in ([], [408])


@here
async def test_an_unfinished_head_while_a_request_is_served(waiting: Running, held: Held) -> None:
    """A head that began while a request was served would be lost, or cut off with it."""
    async with wire(waiting) as client:
        await client.send(request(waiting))
        first = await held.asked()
        second = request(waiting)
        await client.send(second[:30])
        first.answer()
        await client.answer()
        await client.send(second[30:])
        (await held.asked()).answer()
        assert (await client.answer()).status == 200


@here
async def test_slow_clients_do_not_hold_up_others(gateway: Running) -> None:
    """Two hundred clients that send half a head would keep everybody else out."""
    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(asyncio.open_connection(*gateway.address)) for _ in range(200)]
    try:
        for task in slow:
            task.result()[1].write(b"POST /v4/gql HTTP/1.1\r\nHost:")
        assert (await gateway.ask(token=gateway.user_token)).status == 200
    finally:
        for task in slow:
            task.result()[1].transport.abort()


# Clients that take nothing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [PING, b"\0\r\n\r\n"], ids=["requests", "then-garbage"])
async def test_a_client_that_takes_no_answers(tmp_path: Path, last: bytes) -> None:
    """A client that asks and asks and reads nothing would make the gateway keep all its answers."""
    async with running(tmp_path, {"timeouts.client_stall": 0.3}) as gateway:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, gateway.address)
            async with asyncio.timeout(20):
                while await sent(client, PING * 100 + last):
                    pass


@pytest.mark.parametrize(
    ("sent", "keep"),
    [(PING, False), (PING, True), (PING + b"\0\r\n\r\n", True)],
    ids=["after-the-last-answer", "idle", "after-garbage"],
)
async def test_the_last_answer_is_not_taken(deadlines: Deadlines, sent: bytes, keep: bool) -> None:
    """A connection that is to be closed would stay for ever with a client that takes nothing of its last answer."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
    server = Server(Canned(answer, keep=keep), ServerLimits(client_stall=0.1, idle=0.1), deadlines)
    connection, client = await connected(server)
    with client:
        for segment in (PING, sent[len(PING) :]):
            if segment:
                await asyncio.get_running_loop().sock_sendall(client, segment)
        async with asyncio.timeout(20):
            await connection.closed
        received = b""
        with suppress(ConnectionError):
            while part := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
                received += part
        assert len(received) < len(answer)


async def test_a_slow_client_gets_its_last_answer(deadlines: Deadlines) -> None:
    """A client that takes its answer slowly but steadily would be cut off in the middle."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000)
    server = Server(Canned(answer), ServerLimits(client_stall=0.3), deadlines)
    _, client = await connected(server)
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_sendall(client, PING)
        received = b""
        while part := await loop.sock_recv(client, 1000):
            received += part
            await asyncio.wait([loop.create_future()], timeout=0.02)  # sixty times this is longer than the timer
    assert received == answer
