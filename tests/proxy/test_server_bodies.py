"""Bodies: how much of them is read, when a client is asked for one, and what is read after a refusal."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.running import OWN, Running, answer_from, running
from tests.support.scripted import Peer, Scripted
from tests.support.wire import here, opened, request, sent, statuses, taken, wire

# Bodies ---------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("lines", [b"a:b\r\n" * 5_000, b"X-A: %b\r\n" % (b"a" * 1000) * 3_000], ids=["many", "long"])
async def test_trailers_that_nobody_asked_for(tmp_path: Path, lines: bytes) -> None:
    """While an earlier request is answered, whatever is sent behind the next one's body would be kept."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            asked.set()
            await go.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with Scripted(script) as upstream, running(tmp_path, upstream_url=upstream.url) as gateway:
        chunk = b"%x\r\n%b\r\n0\r\n" % (len(OWN), OWN.encode())
        second = request(gateway, "Transfer-Encoding: chunked", length=-1, body=chunk)
        async with wire(gateway) as client:
            await client.send(request(gateway) + second)
            await asked.wait()
            await client.send_all(lines + b"\r\n")
            go.set()
            first, last = await client.answer(), await client.answer()
    assert first.status == 200
    assert last.status in (400, 413)
    assert last.header("Connection") == "close"


REFUSED = {
    "stranger": ("POST /v4/gql HTTP/1.1", "Transfer-Encoding: chunked", "gwk_no", 401),
    "nowhere": ("POST /nowhere HTTP/1.1", "Content-Length: 10000000", "gwk_no", 404),
    "too-long": ("POST /v4/gql HTTP/1.1", "Content-Length: 10000000", None, 413),
    "encoded": ("POST /v4/gql HTTP/1.1", "Content-Encoding: gzip\r\nTransfer-Encoding: chunked", None, 415),
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
async def test_a_refused_client_that_sends_on(gateway: Running) -> None:
    """A client that finishes its request before it looks would find a reset in place of the refusal."""
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(request(gateway, token="gwk_no", length=40_000, body=b"{"))
    assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
    for _ in range(3):
        writer.write(b" " * 13_333)
        await writer.drain()
    async with asyncio.timeout(20):
        assert b"credential_invalid" in await reader.read()
    writer.close()


async def test_lingering_ends_by_itself(tmp_path: Path) -> None:
    """A refused client that sends no more would hold its connection."""
    async with running(tmp_path, {"timeouts.linger": 0.2}) as gateway, wire(gateway) as client:
        await client.send(request(gateway, token="gwk_no", length=1000, body=b"{"))
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


# Expect: 100-continue -------------------------------------------------------------------------------------------------


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
    assert statuses(await gateway.raw(request(gateway, "Expect: 100-continue", "Connection: close", start=start))) == [
        200
    ]


@here
async def test_a_client_that_has_begun(gateway: Running) -> None:
    """A client that sends its body without waiting would get a second answer in the middle of it."""
    async with wire(gateway) as client:
        await client.send(request(gateway, "Expect: 100-continue", body=OWN.encode()[:9], length=len(OWN)))
        for _ in range(20):
            await asyncio.sleep(0)
        await client.send(OWN.encode()[9:])
        assert (await client.answer()).status == 200


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
