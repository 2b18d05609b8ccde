"""A receiver of webhooks: https on loopback, which keeps what it was sent and answers to order."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

TLS = Path(__file__).parent / "tls"
CA = TLS / "ca.pem"


@dataclass
class Hooks:
    """What came: headers and body of each; the next answers are taken from `statuses`, then 204."""

    port: int = 0
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: Callable[[web.StreamResponse], Awaitable[None]] | None = None  # writes the answers' bodies

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take what is sent."""
        self.came.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.statuses.pop(0) if self.statuses else 204
        if self.body is None:
            return web.Response(status=status, headers=self.headers)
        response = web.StreamResponse(status=status, headers=self.headers)
        await response.prepare(request)
        await self.body(response)
        return response


@asynccontextmanager
async def hook_server(certificate: str = "good", **more: Any) -> AsyncIterator[Hooks]:
    """A receiver, to the end of the block."""
    hooks = Hooks(**more)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / f"{certificate}.pem")
    runner = web.ServerRunner(web.Server(hooks.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    hooks.port = runner.addresses[0][1]
    try:
        yield hooks
    finally:
        await runner.cleanup()
