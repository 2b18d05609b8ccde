"""The listeners beside the traffic port: what they answer to what is no request."""

import asyncio
from contextlib import suppress

import pytest
from aiohttp import web

from gateway.listener import QuietRunner

TOKEN = "gwk_98bc3a451c30a4b7." + "yblsmSo5heQ2" * 4
MALFORMED = {
    "nul beside a token": f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\0\r\n\r\n",
    "a line that is too long": f"GET / HTTP/1.1\r\nHost: a\r\nX: {TOKEN * 300}\r\n\r\n",
    "a version that does not exist": f"GET /{TOKEN} HTTP/9.9\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_requests(data: str, caplog: pytest.LogCaptureFixture) -> None:
    """A token next to a broken header comes back in the answer, or stands in the log."""
    runner = QuietRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(data.encode("latin-1"))
        received = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    finally:
        await runner.cleanup()

    assert b" 400 " in received.split(b"\r\n")[0]
    assert TOKEN[:24].encode() not in received
    assert b"aiohttp" not in received
    assert "Bearer" not in caplog.text


async def test_a_fault_of_a_handler(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger reads what went wrong inside."""

    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("a secret")

    app = web.Application()
    app.router.add_get("/", broken)
    runner = QuietRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    finally:
        await runner.cleanup()

    assert b" 500 " in received.split(b"\r\n")[0]
    assert b"a secret" not in received
    assert "a secret" not in capsys.readouterr().out


LATE = {"nothing": b"", "a part of a head": b"GET / HTTP/1.1\r\nHost: a\r\nX: "}


@pytest.mark.parametrize("sent", LATE.values(), ids=LATE)
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["at first", "after a request"])
async def test_a_head_that_never_ends(sent: bytes, before: bytes) -> None:
    """Whoever reaches the port could hold all of the process' file descriptors, those for clients too."""
    runner = QuietRunner(web.Application(), head_seconds=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        if before:
            writer.write(before)
            assert b" 404 " in (await reader.readuntil(b"Not Found"))
        writer.write(sent)
        if before and not sent:
            writer.write(b"GET")
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                while await reader.read(1000):
                    pass
        writer.close()
    finally:
        await runner.cleanup()


async def test_a_head_that_ends_in_time() -> None:
    """A request whose answer takes its time would be cut off."""

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", slow)
    runner = QuietRunner(app, head_seconds=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await asyncio.wait_for(reader.readuntil(b"done"), 10)).startswith(b"HTTP/1.1 200")
        writer.close()
    finally:
        await runner.cleanup()
