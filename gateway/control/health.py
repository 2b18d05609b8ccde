"""The admin listener: alive, ready, and the metrics, which show no data and change nothing, so they ask for nothing.
Beside them is the management API, which asks for a token."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, Literal

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.control.api.app import Api

Phase = Literal["starting", "serving", "draining"]
Mode = Literal["enforce", "report"]
Ping = Callable[[], Awaitable[None]]

# Shorter than the second that Kubernetes gives a probe by default, so that the reason still gets through.
PING_SECONDS: Final = 0.8
_REPORT_WARNING: Final = "Report mode is on: requests that the policy refuses are let through and only reported."


def admin_application(
    *,
    phase: Callable[[], Phase],
    policy_mode: Callable[[], Mode],
    pings: Mapping[str, Ping],
    warnings: Callable[[], Iterable[str]],
    exposition: Callable[[], bytes],
    api: Api | None = None,
    ping_seconds: float = PING_SECONDS,
) -> web.Application:
    """Answers GET /live, /ready and /metrics, and the API below /api/v1/; anything else is 404 as JSON.

    `/live` is 200 as long as the event loop turns. `/ready` is 503 while starting, while draining, and while a ping
    raises or does not return in time; its checks name the ping and the kind of fault, never its text. What is not well
    while requests are served all the same stands under `warnings`.
    """

    async def live(_: web.Request) -> web.Response:
        return _json({"live": True})

    async def ready(_: web.Request) -> web.Response:
        found = await asyncio.gather(*(_check(ping, ping_seconds) for ping in pings.values()))
        checks = {"gateway": phase(), **dict(zip(pings, found, strict=True))}
        is_ready = checks["gateway"] == "serving" and all(result == "ok" for result in found)
        body: dict[str, object] = {"ready": is_ready, "checks": checks, "policy_mode": policy_mode()}
        told = [*warnings(), *([_REPORT_WARNING] if body["policy_mode"] == "report" else [])]
        if told:
            body["warnings"] = told
        return _json(body, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application(middlewares=[_nothing_else])
    application.add_routes([web.get("/live", live), web.get("/ready", ready), web.get("/metrics", metrics)])
    if api is not None:
        api.add_to(application)
    return application


async def _check(ping: Ping, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            await ping()
    except Exception as error:  # noqa: BLE001 - whatever keeps a part from answering makes us not ready
        return type(error).__name__
    return "ok"


@web.middleware
async def _nothing_else(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        return _json(
            {"message": "There is nothing here but /live, /ready, /metrics and /api/v1/."}, HTTPStatus.NOT_FOUND
        )


def _json(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
