"""Answers that break off: the client must see that they did, whatever it takes the end of a connection for."""

import asyncio
from pathlib import Path

import pytest

from tests.support.running import running

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_BODY = b'{"data":{"user":{"id":"5a93deb3d8e7d90600001e6f"}}}'
ANSWERS = {
    "counted": _HEAD + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY,
    "chunked": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY),
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("framing", ANSWERS)
async def test_an_upstream_that_dies_at_each_byte(framing: str, version: str, tmp_path: Path) -> None:
    """A client takes half an answer for a whole one, or finds a second answer inside the first."""
    answer = ANSWERS[framing]
    told: list[bytes] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer[: len(told)])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(upstream, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(tmp_path, upstream_url=f"http://127.0.0.1:{port}") as gateway:
            request = (
                f"POST /v4/gql HTTP/{version}\r\nHost: a\r\nAuthorization: Bearer {gateway.user_token}\r\n"
                "Content-Type: application/json\r\nContent-Length: 27\r\nConnection: close\r\n\r\n"
                '{"query":"{ user { id } }"}'
            ).encode()
            while len(told) < len(answer):
                received, clean = await _exchange(gateway.address, request)

                assert received.count(b"HTTP/1.1 ") <= 1
                assert not (received.startswith(b"HTTP/1.1 200") and clean)
                told.append(received)


async def _exchange(address: tuple[str, int], request: bytes) -> tuple[bytes, bool]:
    """What came back, and whether the connection ended cleanly within or after it."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    received = b""
    try:
        while part := await asyncio.wait_for(reader.read(65_536), 20):
            received += part
    except ConnectionError:
        return received, False
    finally:
        writer.close()
    return received, True
