"""An issuer's server of keys: https on loopback, which counts what it is asked and misbehaves to order."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

TLS = Path(__file__).parent / "tls"
CA = TLS / "ca.pem"


@dataclass
class JwksServer:
    """Serves `keys`, unless it is told to `misbehave`; `asked` counts."""

    keys: bytes
    url: str = ""
    asked: int = 0
    misbehave: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None
    headers: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        self.headers.append(dict(request.headers))
        if self.misbehave is not None:
            return await self.misbehave(request)
        return web.Response(body=self.keys, content_type="application/json")


@asynccontextmanager
async def serving_keys(keys: bytes, certificate: str = "good") -> AsyncIterator[JwksServer]:
    """A server of these keys, to the end of the block."""
    server = JwksServer(keys)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / f"{certificate}.pem")
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}/keys.json"
    try:
        yield server
    finally:
        await runner.cleanup()


async def never(_: web.BaseRequest) -> web.StreamResponse:
    """No answer at all."""
    await asyncio.Event().wait()
    raise AssertionError


async def redirect(request: web.BaseRequest) -> web.StreamResponse:
    """A redirect to where the keys would be found."""
    return web.Response(status=302, headers={"Location": "/other.json"}, body=b"{}")


def answering(
    status: int = 200, body: bytes = b"", **headers: str
) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    """One answer for ever."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(
            status=status, body=body, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )

    return answer
