"""Orders to misbehave: what the headers mean, and what then crosses the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from gateway.dev.misbehave import HALF, BadOrder, Orders, orders_from
from gateway.dev.mock import Mock

SDL = "type Query { title: String }"
ASK = b'{"query":"{ title }"}'


@pytest.fixture
async def mock() -> AsyncIterator[Mock]:
    """A pretend upstream."""
    made = await Mock.start(SDL)
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("headers", "orders"),
    [
        ({}, Orders()),
        ({"Accept": "text/html"}, Orders()),
        ({"X-Mock-Status": "503"}, Orders(status=503)),
        ({"x-mock-status": " 200 "}, Orders(status=200)),
        ({"X-Mock-Delay": "1.5"}, Orders(delay=1.5)),
        ({"X-Mock-Delay": "120"}, Orders(delay=120)),
        ({"X-Mock-Size": "2147483648"}, Orders(size=2**31)),
        ({"X-Mock-Reset": "1"}, Orders(reset=1)),
        ({"X-Mock-Reset": "head"}, Orders(reset=1)),
        ({"X-Mock-Reset": "body"}, Orders(reset=HALF)),
        ({"X-Mock-Reset": "4096"}, Orders(reset=4096)),
        ({"X-Mock-Size": "9", "X-Mock-Delay": "0"}, Orders(size=9)),
    ],
)
def test_orders_mean_what_is_documented(headers: dict[str, str], orders: Orders) -> None:
    """A developer who tries a failure would see another one."""
    assert orders_from(headers) == orders


@pytest.mark.parametrize(
    "header",
    [
        "X-Mock-Status: ",
        "X-Mock-Status: 99",
        "X-Mock-Status: 100",
        "X-Mock-Status: 600",
        "X-Mock-Status: 5x3",
        "X-Mock-Status: ٥٠٣",
        "X-Mock-Delay: -1",
        "X-Mock-Delay: 120.1",
        "X-Mock-Delay: nan",
        "X-Mock-Delay: 1e1",
        "X-Mock-Size: 0",
        "X-Mock-Size: 2147483649",
        "X-Mock-Size: +5",
        "X-Mock-Size: 9999999999999999999999",
        "X-Mock-Reset: 0",
        "X-Mock-Reset: yes",
        "X-Mock-Reset: -1",
        "X-Mock-Statsu: 503",
    ],
)
def test_an_order_that_cannot_be_followed_is_refused_with_a_sentence(header: str) -> None:
    """A typing error in an order would be ignored, and the developer would wonder why nothing fails."""
    name, value = header.split(":", 1)
    with pytest.raises(BadOrder, match=r"X-Mock-.*\."):
        orders_from({name: value})


async def exchange(mock: Mock, *headers: str) -> tuple[bytes, bytes, bool]:
    """Head and body of the raw answer, and whether the connection was reset."""
    url = urlsplit(mock.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    lines = ["POST /v4/gql HTTP/1.1", "Host: a", "Connection: close", f"Content-Length: {len(ASK)}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode() + ASK)
    said = bytearray()
    reset = False
    try:
        while piece := await reader.read(65536):
            said += piece
    except ConnectionResetError:
        reset = True
    finally:
        writer.close()
    head, _, body = bytes(said).partition(b"\r\n\r\n")
    return head, body, reset


def announced(head: bytes) -> int:
    """The Content-Length in a head."""
    lines = head.lower().split(b"\r\n")
    return int(next(line.split(b":")[1] for line in lines if line.startswith(b"content-length:")))


async def test_a_reset_before_the_head_sends_nothing(mock: Mock) -> None:
    """The case of an upstream that dies at once could not be tried."""
    assert await exchange(mock, "X-Mock-Reset: head") == (b"", b"", True)


@pytest.mark.parametrize("reset", ["head", "body", "2"])
async def test_an_ordered_reset_is_no_fault_of_the_server(
    mock: Mock, reset: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The developer's terminal would fill with stack traces that mean nothing."""
    await exchange(mock, f"X-Mock-Reset: {reset}")
    await exchange(mock)
    assert caplog.records == []


@pytest.mark.parametrize("count", [2, 20])
async def test_a_reset_after_so_many_bytes_sends_exactly_these(mock: Mock, count: int) -> None:
    """The case of an upstream that dies in mid-answer would be another one each time."""
    _, whole, _ = await exchange(mock)
    head, body, _ = await exchange(mock, f"X-Mock-Reset: {count}")
    assert announced(head) == len(whole)
    assert body == whole[:count]


async def test_a_reset_in_the_body_of_a_large_answer_sends_half_of_it(mock: Mock) -> None:
    """What was written before the break would be lost with it."""
    head, body, _ = await exchange(mock, "X-Mock-Reset: body", "X-Mock-Size: 3000001")
    assert (announced(head), len(body)) == (3_000_001, 1_500_000)


async def test_a_reset_after_more_bytes_than_there_are_still_breaks_the_answer(mock: Mock) -> None:
    """An ordered break would silently not happen."""
    head, body, _ = await exchange(mock, "X-Mock-Reset: 99999")
    assert len(body) == announced(head) - 1


@pytest.mark.parametrize("size", [200, 65_536, 1_048_576 + 17])
async def test_a_padded_answer_has_that_size_and_is_the_same_json(mock: Mock, size: int) -> None:
    """A test of large answers would measure another size, or a client could not read them."""
    _, plain, _ = await exchange(mock)
    head, padded, _ = await exchange(mock, f"X-Mock-Size: {size}")
    assert announced(head) == len(padded) == size
    assert json.loads(padded) == json.loads(plain)


async def test_a_size_below_the_answers_own_leaves_it_whole(mock: Mock) -> None:
    """A too small number would cut the JSON."""
    _, plain, _ = await exchange(mock)
    _, body, _ = await exchange(mock, "X-Mock-Size: 1")
    assert body == plain


async def test_an_empty_answer_is_padded_to_json(mock: Mock) -> None:
    """A large answer to a deletion would not be JSON."""
    async with ClientSession() as session, session.delete(f"{mock.url}/users/u", headers={"X-Mock-Size": "50"}) as got:
        body = await got.read()
    assert len(body) == 50
    assert json.loads(body) == {}


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none(mock: Mock, status: int) -> None:
    """A client would read the body as the next answer on the connection."""
    head, body, _ = await exchange(mock, f"X-Mock-Status: {status}")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert body == b""


async def test_an_answer_to_head_has_no_body(mock: Mock) -> None:
    """A client would read the body as the next answer on the connection."""
    async with ClientSession() as session:
        for _ in range(2):
            async with session.head(f"{mock.url}/nowhere") as got:
                assert (got.status, await got.read()) == (404, b"")


async def test_a_delayed_answer_comes_later_than_others_and_comes(mock: Mock) -> None:
    """The case of a slow upstream could not be tried."""
    late = asyncio.create_task(exchange(mock, "X-Mock-Delay: 120"))
    for _ in range(3):
        head, body, _ = await exchange(mock, "X-Mock-Delay: 0.01")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(body)["data"]
    assert not late.done()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)


async def test_stopping_does_not_wait_for_delayed_answers() -> None:
    """Ctrl-C would hang for two minutes."""
    mock = await Mock.start(SDL)
    url = urlsplit(mock.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Mock-Delay: 120\r\n\r\n")
    async with ClientSession() as session, session.get(mock.url):
        pass  # answered after the delayed request was accepted
    async with asyncio.timeout(20):
        await mock.stop()
        assert await reader.read() == b""
    writer.close()
