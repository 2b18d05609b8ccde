"""The admin listener, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from gateway.control.health import Mode, Phase, Ping, admin_application
from gateway.metrics import Metrics
from gateway.store.contract import StoreUnavailable


async def answers() -> None:
    """A part that is there."""


async def is_away() -> None:
    """A part that is away."""
    raise StoreUnavailable("/var/lib/secret/path is locked")


async def hangs() -> None:
    """A part that neither answers nor fails."""
    await asyncio.Event().wait()


@dataclass
class Gateway:
    """A gateway's state as the admin listener sees it; a test changes it while the listener runs."""

    phase: Phase = "serving"
    policy_mode: Mode = "enforce"
    store: Ping = answers
    warnings: tuple[str, ...] = ()
    metrics: Metrics = field(
        default_factory=lambda: Metrics(["eu"], caches={}, log_lines_dropped=int, key_expiries=dict, deaf=bool)
    )

    async def ping_store(self) -> None:
        await self.store()


Client = Callable[[Gateway], Awaitable[TestClient[Any, Any]]]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Start an admin listener for a gateway."""
    clients = []

    async def start(gateway: Gateway) -> TestClient[Any, Any]:
        application = admin_application(
            phase=lambda: gateway.phase,
            policy_mode=lambda: gateway.policy_mode,
            pings={"store": gateway.ping_store},
            warnings=lambda: gateway.warnings,
            exposition=gateway.metrics.exposition,
            ping_seconds=0.05,
        )
        clients.append(TestClient(TestServer(application)))
        await clients[-1].start_server()
        return clients[-1]

    yield start
    for each in clients:
        await each.close()


async def test_a_gateway_that_runs_is_alive_whatever_else_is_wrong(client: Client) -> None:
    """An orchestrator would kill a gateway because its store is away, and the next one too."""
    admin = await client(Gateway(phase="draining", store=is_away))

    answer = await admin.get("/live")

    assert (answer.status, await answer.json()) == (200, {"live": True})


READY: list[tuple[Gateway, int, dict[str, object]]] = [
    (Gateway(), 200, {"ready": True, "checks": {"gateway": "serving", "store": "ok"}, "policy_mode": "enforce"}),
    (
        Gateway(phase="starting"),
        503,
        {"ready": False, "checks": {"gateway": "starting", "store": "ok"}, "policy_mode": "enforce"},
    ),
    (
        Gateway(phase="draining"),
        503,
        {"ready": False, "checks": {"gateway": "draining", "store": "ok"}, "policy_mode": "enforce"},
    ),
    (
        Gateway(store=is_away),
        503,
        {"ready": False, "checks": {"gateway": "serving", "store": "StoreUnavailable"}, "policy_mode": "enforce"},
    ),
    (
        Gateway(store=hangs),
        503,
        {"ready": False, "checks": {"gateway": "serving", "store": "TimeoutError"}, "policy_mode": "enforce"},
    ),
    (
        Gateway(policy_mode="report"),
        200,
        {
            "ready": True,
            "checks": {"gateway": "serving", "store": "ok"},
            "policy_mode": "report",
            "warnings": ["Report mode is on: requests that the policy refuses are let through and only reported."],
        },
    ),
    (
        Gateway(warnings=("Nothing is written to the disk.",)),
        200,
        {
            "ready": True,
            "checks": {"gateway": "serving", "store": "ok"},
            "policy_mode": "enforce",
            "warnings": ["Nothing is written to the disk."],
        },
    ),
]


@pytest.mark.parametrize(
    ("gateway", "status", "body"),
    READY,
    ids=["serving", "starting", "draining", "away", "hanging", "report", "warning"],
)
async def test_ready_says_whether_to_send_requests_and_why_not(
    client: Client, gateway: Gateway, status: int, body: dict[str, object]
) -> None:
    """A load balancer would send requests to a gateway that cannot serve them, or report mode would go unnoticed."""
    answer = await (await client(gateway)).get("/ready")

    assert (answer.status, await answer.json()) == (status, body)
    assert answer.headers["Cache-Control"] == "no-store"


async def test_ready_follows_the_gateway(client: Client) -> None:
    """A gateway whose store comes back would get no requests until it is started again."""
    gateway = Gateway(store=is_away)
    admin = await client(gateway)
    away = await admin.get("/ready")
    gateway.store = answers

    back = await admin.get("/ready")

    assert (away.status, back.status) == (503, 200)


async def test_metrics_are_what_prometheus_reads(client: Client) -> None:
    """Prometheus would refuse the scrape."""
    gateway = Gateway()
    gateway.metrics.allowed(0.1)

    answer = await (await client(gateway)).get("/metrics")

    families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert families["gateway_requests"].samples[0].value == 1


ELSEWHERE = [("GET", "/"), ("GET", "/v4/gql"), ("POST", "/ready"), ("DELETE", "/live"), ("GET", "/metrics/")]


@pytest.mark.parametrize(("method", "path"), ELSEWHERE)
async def test_there_is_nothing_else(client: Client, method: str, path: str) -> None:
    """Something that asks for no credential could be reached by accident."""
    answer = await (await client(Gateway())).request(method, path)

    assert (answer.status, answer.content_type) == (404, "application/json")
    assert await answer.json() == {"message": "There is nothing here but /live, /ready, /metrics and /api/v1/."}


async def test_a_probe_may_ask_for_the_head_only(client: Client) -> None:
    """A load balancer that probes with HEAD would take the gateway for dead."""
    answer = await (await client(Gateway())).head("/ready")

    assert answer.status == 200
