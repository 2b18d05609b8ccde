"""The client's side of the wire: pipelines, limits of heads, and what is said of what cannot be read."""

import asyncio
import json
from collections.abc import Callable

import pytest

from gateway.proxy.parser import check_parser
from tests.support.held import Held
from tests.support.running import OWN, Running, answer_from
from tests.support.wire import Wire, here, line_of, request, statuses, wire

LIMIT = 16_384


def numbered(gateway: Running, numbers: range) -> bytes:
    """Requests that can be told apart by their ids."""
    return b"".join(request(gateway, f"X-Request-Id: r{number}") for number in numbers)


async def ids(client: Wire, count: int) -> list[str | None]:
    """The request ids of the next answers, which are good ones."""
    answers = [await client.answer() for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return [answer.header("X-Request-Id") for answer in answers]


# Parsers --------------------------------------------------------------------------------------------------------------


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


# Pipelining -----------------------------------------------------------------------------------------------------------


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


GARBAGE = [
    b"\0\0\0\0\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v4/gql HTTP/1.1\r\nHost : a\r\n\r\n",
    b"\x16\x03\x01",
]


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


# Limits of heads ------------------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("piece", [b"X-A: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["headers", "one-header"])
async def test_an_endless_head_behind_a_request_that_is_served(
    waiting: Running, held: Held, queued: int, piece: bytes
) -> None:
    """A client with one request under way would make the gateway hold a head of any size."""
    async with wire(waiting) as client:
        await client.send(request(waiting))
        asked = await held.asked()
        await client.send(request(waiting) * queued)
        await client.send(b"POST /v4/gql HTTP/1.1\r\nX: ")
        for _ in range(100):
            await client.send(piece)
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


# What is said of requests that cannot be read -------------------------------------------------------------------------


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
async def test_malformed_heads_are_not_quoted(gateway: Running, line: str, capfd: pytest.CaptureFixture[str]) -> None:
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
    for raw in (
        b"\0\r\n\r\n",
        b"GET /v2/users/me HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
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
