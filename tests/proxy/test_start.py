"""What a gateway refuses to start with, and small print of what it takes from clients."""

from pathlib import Path

import pytest

from gateway.building import CannotStart
from tests.support.running import running


async def test_a_route_that_nobody_can_use(tmp_path: Path) -> None:
    """A misspelt scope in a route refuses every key for ever, and nobody is told."""
    routes = [{"method": "GET", "path": "/w", "scopes": ["USER_REED"]}]

    with pytest.raises(CannotStart, match="USER_REED"):
        async with running(tmp_path, {"routes": routes}):
            pass


async def test_a_token_for_a_request_id(tmp_path: Path) -> None:
    """A token that somebody put into X-Request-Id goes to the upstream, into the answer and into the log."""
    async with running(tmp_path) as gateway:
        token = gateway.user_token
        answer = await gateway.ask(token=token, headers={"X-Request-Id": token})

        assert answer.status == 200
        assert answer.header("X-Request-Id") not in (None, token)
        assert gateway.upstream.received[0].one("X-Request-Id") == answer.header("X-Request-Id")


async def test_a_host_with_a_trailing_dot(tmp_path: Path) -> None:
    """A client passes `wrong_region: refuse` by writing the host as an absolute name."""
    regions = {
        "regions.eu.hosts": ["eu.example.com"],
        "regions.us.hosts": ["us.example.com"],
        "regions.us.upstreams": ["http://127.0.0.1:9"],
        "regions.us.user_scoping": "upstream",
        "default_region": "eu",
        "wrong_region": "refuse",
    }
    async with running(tmp_path, regions) as gateway:
        answer = await gateway.ask(token=gateway.user_token, headers={"Host": "us.example.com."})

        assert (answer.status, answer.reasons) == (421, ["wrong_region"])
