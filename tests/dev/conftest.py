"""A stand-in for the traffic port, and the page in front of it, both on real sockets."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gateway.dev.page import add_page
from gateway.dev.relay import Shown

USER_TOKEN = "gwu_00112233445566aa.user"
KEY_TOKEN = "gwk_00112233445566bb.key"
CREDENTIALS = (
    Shown("Ada, user of demo", USER_TOKEN, "user"),
    Shown("USER_READ key of demo", KEY_TOKEN, "key", ("USER_READ",)),
)
REASONS = {
    "scope_missing": "The key lacks a scope. Make a key that holds it.",
    "keys_only": "Only API keys may use this.",
    "credential_missing": "Nobody was named. Choose a credential.",
}


@dataclass
class StandIn:
    """A traffic port that refuses offloads and people without a credential, and notes what reached it."""

    url: str = ""
    body: bytes = b'{"data":{"user":{"id":"5a93"}},"extensions":{"gateway":{"x-gateway-user":"5a93"}}}'
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        sent = await request.read()
        self.seen.append((dict(request.headers), sent))
        if "Authorization" not in request.headers:
            return self._refusal(401, "credential_missing", {})
        if "offloads" in json.loads(sent)["query"]:
            more = {"coordinate": "Query.offloads", "required_scopes": [["OFFLOADS_READ"]]}
            return self._refusal(403, "scope_missing", more)
        if "X-Mock-Reset" in request.headers:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=self.body, content_type="application/json", headers={"X-Request-Id": "r-1"})

    @staticmethod
    def _refusal(status: int, reason: str, more: dict[str, object]) -> web.Response:
        extensions = {"code": "FORBIDDEN", "reason": reason, "request_id": "r-1", **more}
        message = "The API key lacks a scope that this needs."
        return web.json_response({"errors": [{"message": message, "extensions": extensions}]}, status=status)


Serve = Callable[[web.Application], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start applications on free ports and stop them afterwards."""
    runners = []

    async def start(app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def stand_in(serve: Serve) -> StandIn:
    """The traffic port."""
    made = StandIn()
    app = web.Application()
    app.router.add_post("/v4/gql", made.answer)
    made.url = await serve(app)
    return made


@pytest.fixture
async def page(serve: Serve, stand_in: StandIn) -> str:
    """The URL of the page."""
    app = web.Application()
    add_page(app, traffic_url=stand_in.url, graphql_path="/v4/gql", credentials=CREDENTIALS, reasons=REASONS)
    return await serve(app)
