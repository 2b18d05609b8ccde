"""The client's side of the wire, seen by clients that are slow, rude, greedy or gone."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import http, streams

from gateway.core.decision import Reason
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.server import Connection, Server, ServerLimits, check_parser
from tests.support.held import Held
from tests.support.running import OWN, Running, answer_from, running
from tests.support.wire import Wire, eventually, line_of, request, wire

LIMIT = 16_384
HASTY = {"timeouts.header": 0.3, "timeouts.body": 0.3, "timeouts.idle": 0.3, "timeouts.linger": 0.2}
PING = b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"  # refused, and the connection goes on

here = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway with the usual settings, before an echo."""
    async with running(tmp_path_factory.mktemp("server"), {"timeouts.idle": 60.0}) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway that waits a moment only for its clients."""
    async with running(tmp_path_factory.mktemp("hasty"), HASTY) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held() -> AsyncIterator[Held]:
    """An upstream that answers when told to."""
    async with Held() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(tmp_path_factory: pytest.TempPathFactory, held: Held) -> AsyncIterator[Running]:
    """A gateway before the upstream that answers when told to."""
    async with running(tmp_path_factory.mktemp("held"), upstream_url=held.url) as started:
        yield started


def statuses(data: bytes) -> list[int]:
    """The statuses of all answers in what a connection gave."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", data)]


def numbered(gateway: Running, numbers: range) -> bytes:
    """Requests that can be told apart by their ids."""
    return b"".join(request(gateway, f"X-Request-Id: r{number}") for number in numbers)


async def ids(client: Wire, count: int) -> list[str | None]:
    """The request ids of the next answers, which are good ones."""
    answers = [await client.answer() for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return [answer.header("X-Request-Id") for answer in answers]


# Parsers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "module", "fault"),
    [
        ("3.14.5", "aiohttp._http_parser", None),
        ("3.14.4", "aiohttp._http_parser", None),
        ("4.0.0a1", "aiohttp._http_parser", None),
        ("3.14.3", "aiohttp._http_parser", "known holes"),
        ("3.9.5", "aiohttp._http_parser", "known holes"),
        ("3.14.5", "aiohttp.http_parser", "C parser"),
    ],
)
def test_the_parser(version: str, module: str, fault: str | None) -> None:
    """The gateway would run on a parser that is known to take what smugglers send."""
    if fault is None:
        check_parser(version, module)
    else:
        with pytest.raises(RuntimeError, match=fault):
            check_parser(version, module)


def test_the_parser_here() -> None:
    """The installed parser would not be looked at."""
    check_parser()


# Timers ----------------------------------------------------------------------------------------------------------------


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
    if b"0" != dripped:
        assert last.reasons == ["body_timeout"]


@here
@pytest.mark.parametrize("before", [b"", PING], ids=["new", "used"])
async def test_an_idle_connection(hasty: Running, before: bytes) -> None:
    """Idle connections would pile up, or be closed with an answer to a request that nobody sent."""
    async with wire(hasty) as client:
        await client.send(before)
        if before:
            await client.answer()
        assert await client.rest() == b""


@here
async def test_an_unfinished_head_in_the_segment_of_a_request(hasty: Running) -> None:
    """The beginning of a head that came together with a request would hold the connection for ever."""
    async with wire(hasty) as client:
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


# Clients that take nothing ---------------------------------------------------------------------------------------------


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
                with pytest.raises(ConnectionError):
                    while True:
                        await loop.sock_sendall(client, PING * 100 + last)


class Canned:
    """Answers every request with the same bytes, and does as it is told about keeping the connection."""

    def __init__(self, answer: bytes, *, keep: bool = False) -> None:
        self.answer = answer
        self.keep = keep
        self.served = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def serve(
        self, client: Connection, message: http.RawRequestMessage, payload: streams.StreamReader
    ) -> bool:
        await self.go_on.wait()
        self.served += 1
        client.write(self.answer)
        return self.keep

    def unreadable(self, client: Connection, reason: Reason) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\n\r\n"


async def connected(server: Server) -> tuple[Connection, socket.socket]:
    """A connection of a server's, and the client's end of it; little fits between the two."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
    client.setblocking(False)
    _, connection = await asyncio.get_running_loop().connect_accepted_socket(server, accepted)
    return connection, client


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """What the timers of connections hang on."""
    made = Deadlines(0.02)
    made.start()
    yield made
    made.close()


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


# Pipelining ------------------------------------------------------------------------------------------------------------


@here
async def test_keep_alive(gateway: Running) -> None:
    """Every request would need a connection of its own."""
    async with wire(gateway) as client:
        for number in range(5):
            await client.send(numbered(gateway, range(number, number + 1)))
            assert await ids(client, 1) == [f"r{number}"]


@here
async def test_a_hundred_requests_at_once(gateway: Running) -> None:
    """Answers to pipelined requests would be lost, or change places."""
    async with wire(gateway) as client:
        await client.send(numbered(gateway, range(100)))
        assert await ids(client, 100) == [f"r{number}" for number in range(100)]


@here
async def test_requests_behind_one_that_is_served(waiting: Running, held: Held) -> None:
    """Requests that come while another is served would be lost, or overtake it."""
    async with wire(waiting) as client:
        await client.send(numbered(waiting, range(1)))
        first = await held.asked()
        for number in range(1, 80):
            await client.send(numbered(waiting, range(number, number + 1)))
        first.answer()
        for _ in range(1, 80):
            (await held.asked()).answer()
        assert await ids(client, 80) == [f"r{number}" for number in range(80)]


@here
async def test_a_byte_at_a_time(gateway: Running) -> None:
    """A request in segments of one byte would be read as another one."""
    async with wire(gateway) as client:
        for place in range(len(two := numbered(gateway, range(2)))):
            await client.send(two[place : place + 1])
            await asyncio.sleep(0)
        assert await ids(client, 2) == ["r0", "r1"]


@here
async def test_every_split_of_two_requests(gateway: Running) -> None:
    """Two requests would be read differently when the network cuts them at an unlucky place."""
    two = numbered(gateway, range(2))
    for place in range(1, len(two), 7):
        async with wire(gateway) as client:
            await client.send(two[:place])
            await asyncio.sleep(0)
            await client.send(two[place:])
            assert await ids(client, 2) == ["r0", "r1"]


GARBAGE = [b"\0\0\0\0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /v4/gql HTTP/1.1\r\nHost : a\r\n\r\n", b"\x16\x03\x01"]


@here
@pytest.mark.parametrize("garbage", GARBAGE, ids=["nul", "version", "blank", "tls"])
async def test_garbage_behind_a_request_that_is_served(waiting: Running, held: Held, garbage: bytes) -> None:
    """Garbage behind a good request would spoil its answer, or be answered with what it says."""
    async with wire(waiting) as client:
        await client.send(request(waiting))
        asked = await held.asked()
        await client.send(garbage)
        await client.send(garbage * 1000)
        asked.answer()
        assert (await client.answer()).status == 200
        last = answer_from(await client.rest())
    assert (last.status, last.reasons, last.header("Connection")) == (400, ["request_malformed"], "close")


@here
@pytest.mark.parametrize("garbage", GARBAGE, ids=["nul", "version", "blank", "tls"])
async def test_garbage_in_the_segment_of_a_request(gateway: Running, garbage: bytes) -> None:
    """A request that came together with garbage would be forwarded, although nobody knows where it ended."""
    gateway.upstream.received.clear()
    received = await gateway.raw(request(gateway) + garbage)
    assert statuses(received) == [400]
    assert gateway.upstream.received == []


# Limits of heads -------------------------------------------------------------------------------------------------------


def long_head(gateway: Running, size: int) -> bytes:
    """A request whose head has so many bytes, in headers that are each far below the limit."""
    missing = size - len(request(gateway, body=b"", length=len(OWN)))
    count, left = divmod(missing, 1000)
    lines = ["X-A: " + "a" * (1000 - 7) for _ in range(count - 1)]
    return request(gateway, *lines, "X-A: " + "a" * (1000 + left - 7))


CUTS: dict[str, Callable[[bytes, bytes], list[bytes]]] = {
    "alone": lambda first, second: [first, second],
    "together": lambda first, second: [first + second],
    "in-the-middle": lambda first, second: [first + second[:8000], second[8000:]],
    "early": lambda first, second: [first + second[:2000], second[2000:]],
    "late": lambda first, second: [first + second[:-200], second[-200:]],
    "behind-a-body": lambda first, second: [first[:-5], first[-5:] + second],
    "behind-a-body-in-the-middle": lambda first, second: [first[:-5], first[-5:] + second[:8000], second[8000:]],
    "in-thirds": lambda first, second: [first, second[:6000], second[6000:12_000], second[12_000:]],
}


@here
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("size", [LIMIT - 600, LIMIT + 1500])
async def test_the_limit_of_a_head(gateway: Running, cut: str, size: int) -> None:
    """Heads over the limit would be taken when they are cut into segments cleverly, or good ones be refused."""
    async with wire(gateway) as client:
        for segment in CUTS[cut](request(gateway), long_head(gateway, size)):
            await client.send(segment)
            for _ in range(20):  # so that the gateway reads this before the next one is sent
                await asyncio.sleep(0)
        assert (await client.answer()).status == 200
        second = await client.answer()
        if size < LIMIT:
            assert second.status == 200
        else:
            assert (second.status, second.reasons) == (431, ["headers_too_large"])
            assert await client.rest() == b""


@here
@pytest.mark.parametrize("queued", [0, 1])
async def test_an_endless_head_behind_a_request_that_is_served(waiting: Running, held: Held, queued: int) -> None:
    """A client with one request under way would make the gateway hold a head of any size."""
    async with wire(waiting) as client:
        await client.send(request(waiting))
        asked = await held.asked()
        await client.send(request(waiting) * queued)
        for _ in range(100):
            await client.send(b"X-A: " + b"a" * 1000 + b"\r\n" if _ else b"POST /v4/gql HTTP/1.1\r\n")
            await asyncio.sleep(0)
        asked.answer()
        for _ in range(queued):
            (await held.asked()).answer()
        assert statuses(await client.rest()) == [200] * (1 + queued) + [431]


@here
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /" + b"a" * LIMIT, 431),
        (b"POST / HTTP/1.1\r\nX-A: " + b"a" * LIMIT, 431),
        (b"POST / HTTP/1.1\r\n" + b"a" * (LIMIT + 1), 431),
        (b"POST / HTTP/1.1\r\n" + b"A:\r\n" * 5000, 431),
        (b"\r\n" * LIMIT, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 12_000 + b"\0\r\n\r\n", 400),
        (b"\0" * 100, 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", 400),
    ],
    ids=["target", "value", "name", "many", "blank-lines", "long-and-malformed", "nul", "malformed"],
)
async def test_too_long_or_malformed(gateway: Running, head: bytes, status: int) -> None:
    """A client could not tell whether to send less or to send it right."""
    last = answer_from(await gateway.raw(head))
    assert (last.status, last.header("Connection")) == (status, "close")


# What is said of requests that cannot be read --------------------------------------------------------------------------

SPOILED = {
    "nul": "Authorization: Bearer {token}\0",
    "nul-within": "Authorization: Bearer \0{token}",
    "cr": "Authorization: Bearer {token}\rX: a",
    "lf": "Authorization: Bearer\n{token}: a",
    "no-colon": "Authorization Bearer {token}",
    "blank-before-colon": "Authorization : Bearer {token}",
    "folded": "Authorization:\r\n Bearer {token}",
    "in-the-name": "{token}\x7f: a",
    "in-the-length": "Content-Length: {token}",
    "in-the-coding": "Transfer-Encoding: {token}",
    "in-the-host": "Host: {token}@a",
    "as-the-version": "A: b\r\n\r\n{token}",
}


@here
@pytest.mark.parametrize("line", SPOILED.values(), ids=SPOILED)
async def test_malformed_heads_are_not_quoted(
    gateway: Running, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The token in a request that cannot be read would come back in the answer, or lie in the log."""
    secret = gateway.keys["all"]
    head = "POST /v4/gql HTTP/1.1\r\nHost: a\r\n" + line.replace("{token}", secret) + "\r\n\r\n"
    async with wire(gateway) as client:
        await client.send(head.encode("latin-1"))
        said = await client.head() if line.startswith("A: b") else await client.rest()
    answer = answer_from(said)
    assert answer.status in (400, 415)
    await line_of(gateway, answer)
    captured = capfd.readouterr()
    for text in (said.decode(), gateway.log_file.read_text(), captured.out, captured.err):
        assert secret.partition(".")[2] not in text


@here
async def test_malformed_requests_are_answered_alike(gateway: Running) -> None:
    """What a client sends would shape the answer, whatever path it asked for."""
    answers = set()
    for raw in (b"\0\r\n\r\n", b"GET /v2/users/me HTTP/1.1\r\nA : b\r\n\r\n", b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"):
        data = await gateway.raw(raw)
        request_id = answer_from(data).header("X-Request-Id")
        assert request_id
        assert data.count(request_id.encode()) == 2
        answers.add(data.replace(request_id.encode(), b""))
    (answer,) = answers
    assert json.loads(answer_from(answer).body) == {
        "errors": [
            {
                "message": "The request is not well-formed HTTP/1.1.",
                "extensions": {"code": "BAD_REQUEST", "reason": "request_malformed", "request_id": ""},
            }
        ]
    }


# Bodies ----------------------------------------------------------------------------------------------------------------


@here
@pytest.mark.parametrize(
    "rest", [b"zz\r\n", b"-1\r\n", b"1\r\nab", b"0\r\nX : a\r\n\r\n"], ids=["size", "sign", "length", "trailer"]
)
async def test_broken_chunks_behind_good_ones(gateway: Running, rest: bytes) -> None:
    """A body that breaks in the middle would be forwarded as far as it came, or its client be left waiting."""
    gateway.upstream.received.clear()
    chunk = b"%x\r\n%b\r\n" % (len(OWN), OWN.encode())
    async with wire(gateway) as client:
        await client.send(request(gateway, "Transfer-Encoding: chunked", length=-1, body=chunk))
        for _ in range(20):
            await asyncio.sleep(0)
        await client.send(rest)
        last = answer_from(await client.rest())
    assert (last.status, last.reasons, last.header("Connection")) == (400, ["request_malformed"], "close")
    assert gateway.upstream.received == []


@here
async def test_a_body_in_chunks_of_one_byte(gateway: Running) -> None:
    """A body in the smallest of chunks would be refused, or changed."""
    body = OWN.replace(" ", " " * 5000)
    gateway.upstream.received.clear()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body.encode()) + b"0\r\n\r\n"
    async with wire(gateway) as client:
        await client.send(request(gateway, "Transfer-Encoding: chunked", length=-1, body=chunks))
        assert (await client.answer()).status == 200
    (crossed,) = gateway.upstream.received
    assert crossed.body.decode() == body


ENDLESS = {
    "chunks": (b"", b"400\r\n" + b" " * 1024 + b"\r\n"),
    "extension": (b"1;", b"x" * 1024),
    "trailers": (b"0\r\n", b"X-A: " + b"a" * 1000 + b"\r\n"),
    "counted": (None, b" " * 1024),
}


@here
@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_body_without_end(gateway: Running, kind: str) -> None:
    """A client with a good token could make the gateway read, and keep, whatever it sends for fifteen seconds."""
    begin, piece = ENDLESS[kind]
    framing = "Transfer-Encoding: chunked" if begin is not None else "Content-Length: 999999999"
    with socket.socket() as client:
        await opened(client, gateway)
        await sent(client, request(gateway, framing, length=-1, body=begin or b""))
        took = 0
        while took < 50_000_000 and await sent(client, piece * 64):
            took += len(piece) * 64
        last = answer_from(await taken(client))
    assert took < 10_000_000
    assert last.status in (400, 413)
    assert last.header("Connection") == "close"


async def opened(client: socket.socket, gateway: Running) -> None:
    """Connect a socket that holds little itself of what is sent."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, gateway.address)


async def sent(client: socket.socket, data: bytes) -> bool:
    """Whether all could be sent, without reading what is said meanwhile."""
    try:
        async with asyncio.timeout(20):
            await asyncio.get_running_loop().sock_sendall(client, data)
    except ConnectionError:
        return False
    return True


async def taken(client: socket.socket) -> bytes:
    """All that can be read in the end."""
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while part := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
                received += part
    return received


REFUSED = {
    "stranger": ("POST /v4/gql HTTP/1.1", "Transfer-Encoding: chunked", "gwk_no", 401),
    "nowhere": ("POST /nowhere HTTP/1.1", "Content-Length: 10000000", "gwk_no", 404),
    "too-long": ("POST /v4/gql HTTP/1.1", "Content-Length: 10000000", None, 413),
    "encoded": ("POST /v4/gql HTTP/1.1", "Content-Encoding: gzip\r\nContent-Length: 10000000", None, 415),
}


@here
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_read_after_a_refusal(gateway: Running, kind: str) -> None:
    """A refused client could keep the gateway reading, or would never find out why it was cut off."""
    start, framing, token, status = REFUSED[kind]
    with socket.socket() as client:
        await opened(client, gateway)
        piece = b"4000\r\n" + bytes(0x4000) + b"\r\n" if "chunked" in framing else bytes(0x4000)
        await sent(client, request(gateway, framing, start=start, token=token, length=-1, body=b""))
        took = 0
        while took < 10_000_000 and await sent(client, piece):
            took += len(piece)
        last = answer_from(await taken(client))
    assert took < 2_000_000
    assert (last.status, last.header("Connection")) == (status, "close")


@here
async def test_lingering_ends_by_itself(hasty: Running) -> None:
    """A refused client that sends no more would hold its connection."""
    async with wire(hasty) as client:
        await client.send(request(hasty, token="gwk_no", length=1000, body=b"{"))
        assert statuses(await client.rest()) == [401]


@here
@pytest.mark.parametrize("piece", [b"1;" + b"x" * 1000 + b"\r\n \r\n", b" " * 1000], ids=["extensions", "body"])
async def test_lingering_counts_every_byte(gateway: Running, piece: bytes) -> None:
    """A refused client could go on sending what is no body, as that would not be counted."""
    framing = "Transfer-Encoding: chunked" if b";" in piece else "Content-Length: 999999999"
    with socket.socket() as client:
        await opened(client, gateway)
        await sent(client, request(gateway, framing, token="gwk_no", length=-1, body=b""))
        took = 0
        while took < 50_000_000 and await sent(client, piece * 64):
            took += len(piece) * 64
    assert took < 5_000_000


# Expect: 100-continue --------------------------------------------------------------------------------------------------

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@here
async def test_a_client_that_waits_to_be_asked(gateway: Running) -> None:
    """A client that waits for 100 Continue would wait for ever, or a while."""
    async with wire(gateway) as client:
        await client.send(request(gateway, "Expect: 100-continue", body=b"", length=len(OWN)))
        assert await client.head() == CONTINUE
        await client.send(OWN.encode())
        assert (await client.answer()).status == 200


@here
@pytest.mark.parametrize(
    ("more", "token", "length", "status"),
    [
        (["Expect: 100-continue"], "gwk_no", 27, 401),
        (["Expect: 100-continue"], None, 300_000, 413),
        (["Expect: 100-continue", "Content-Encoding: gzip"], None, 27, 415),
        (["Expect: 100-continue", "Accept: text/html"], None, 27, 406),
        (["Expect: 100-continue"], None, 0, 400),
        (["Expect: nothing"], None, 27, 417),
        (["Expect: 100-continue", "Expect: 100-continue"], None, 27, 417),
    ],
    ids=["stranger", "too-long", "encoded", "not-acceptable", "no-body", "unknown", "twice"],
)
async def test_a_client_that_is_not_asked(
    gateway: Running, more: list[str], token: str | None, length: int, status: int
) -> None:
    """A client would be asked for a body that is refused already, a stranger's among them."""
    async with wire(gateway) as client:
        await client.send(request(gateway, *more, token=token, body=b"", length=length))
        assert (await client.answer()).status == status


@here
@pytest.mark.parametrize("start", ["POST /v4/gql HTTP/1.1", "POST /v4/gql HTTP/1.0"])
async def test_a_client_that_need_not_wait(gateway: Running, start: str) -> None:
    """A client that sends its body unasked, or knows no expectations, would be asked and not understand."""
    assert statuses(await gateway.raw(request(gateway, "Expect: 100-continue", "Connection: close", start=start))) == [200]


@here
async def test_no_expectations_in_http10(gateway: Running) -> None:
    """An HTTP/1.0 client would take 100 Continue for its answer."""
    async with wire(gateway) as client:
        start = "POST /v4/gql HTTP/1.0"
        await client.send(request(gateway, "Expect: 100-continue", start=start, body=b"", length=len(OWN)))
        for _ in range(20):
            await asyncio.sleep(0)
        await client.send(OWN.encode())
        assert statuses(await client.rest()) == [200]


# Ends of connections ---------------------------------------------------------------------------------------------------


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


# Drain -----------------------------------------------------------------------------------------------------------------


async def test_drain(tmp_path: Path) -> None:
    """A restart would fail requests that were accepted, or wait for clients that ask for nothing."""
    async with Held() as held, running(tmp_path, upstream_url=held.url) as gateway:
        async with wire(gateway) as new, wire(gateway) as used, wire(gateway) as busy, wire(gateway) as late:
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
    async with Held() as held, running(tmp_path, {"timeouts.drain": 0.2}, upstream_url=held.url) as gateway:
        async with wire(gateway) as client:
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
