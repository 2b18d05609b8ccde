"""The listeners beside the traffic port: what they answer to what is no request."""

import asyncio

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
