"""REST routes, and the regions that serve apps."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.decision import TABLE, Reason
from tests.support.echo import Echo
from tests.support.identity import crossed_headers, expected_identity, folded
from tests.support.minting import a_key, an_app
from tests.support.running import OWN, Running, running
from tests.support.vectors import OTHER_USER, OWN_USER
from tests.support.wire import here, line_of, request, wire

# REST routes ----------------------------------------------------------------------------------------------------------


# method, target, caller, status, reason
ROUTES = [
    ("POST", "/v2/users/abc/link", "USER_LINK", 200, None),
    ("POST", "/v2/users/abc/link", "USER_READ", 403, "scope_missing"),
    ("POST", "/v2/users/abc/link", "user", 403, "keys_only"),
    ("POST", "/v2/users/abc/link", None, 401, "credential_missing"),
    ("DELETE", f"/users/{OTHER_USER}", "user", 403, "not_own_data"),
    ("DELETE", f"/users/{OTHER_USER}", "USER_DELETE", 200, None),
    ("DELETE", f"/users/{OTHER_USER}", "USER_READ", 403, "scope_missing"),
    ("GET", "/v2/users/me", "user", 200, None),
    ("GET", "/v2/users/me", "all", 403, "field_closed"),
    ("GET", f"/v2/users/{OWN_USER}", "user", 200, None),
    ("GET", f"/v2/users/{OWN_USER}/segments", "user", 200, None),
    ("GET", f"/v2/users/{OTHER_USER}/segments", "user", 403, "not_own_data"),
    ("GET", f"/v3/users/{OTHER_USER}/a/b/c", "USER_READ", 200, None),
    ("GET", f"/v3/users/{OTHER_USER}", "USER_READ", 404, "path_unknown"),
    ("GET", "/v2/segment_definitions", None, 200, None),
    ("GET", "/v2/segment_definitions", "user", 200, None),
    ("GET", "/v2/segment_definitions", "gwk_no", 401, "credential_invalid"),
    ("GET", f"/v2/users/{OWN_USER}?a=b", "user", 400, "parameter_unknown"),
    ("GET", f"/v2/users/{OWN_USER}/../{OTHER_USER}", "user", 404, "path_unknown"),
    ("GET", f"/v2/users/%35{OWN_USER[1:]}", "user", 404, "path_unknown"),
    ("GET", f"/v2//users/{OWN_USER}", "user", 404, "path_unknown"),
    ("PATCH", f"/v2/users/{OWN_USER}", "user", 405, "method_not_allowed"),
    ("HEAD", "/v2/segment_definitions", None, 405, "method_not_allowed"),
    ("OPTIONS", f"/v2/users/{OWN_USER}", "user", 405, "method_not_allowed"),
    ("POST", "/users", "all", 401, "credential_invalid"),
    ("POST", "/users/token", "all", 401, "credential_invalid"),
]


@here
@pytest.mark.parametrize(("method", "target", "caller", "status", "reason"), ROUTES)
async def test_routes(
    gateway: Running, method: str, target: str, caller: str | None, status: int, reason: str | None
) -> None:
    """A REST route would be open to somebody whom it is closed to, or the other way round."""
    token = {**gateway.keys, "user": gateway.user_token}.get(caller or "", caller)
    before = len(gateway.upstream.received)
    answer = await gateway.ask(token=token, method=method, target=target, body=b"")
    assert answer.status == status
    line = await line_of(gateway, answer)
    if reason is None:
        crossed = gateway.upstream.received[-1]
        assert (crossed.method, crossed.target) == (method, target)
        assert line["route"].startswith(f"{method} /")
        if caller is None:
            assert folded(crossed_headers(gateway)) == {"x-gateway-principal": "none"}
        else:
            assert folded(crossed_headers(gateway)) == expected_identity(gateway, caller)
        return
    assert len(gateway.upstream.received) == before
    assert line["reasons"] == [reason]
    assert answer.header("Content-Type") == "application/problem+json"
    if method != "HEAD":
        problem = json.loads(answer.body)
        assert problem["status"] == status
        assert problem["reason"] == reason
        assert problem["errorCode"] == reason.upper()
        assert problem["ref"] == answer.header("X-Request-Id")
        assert problem["message"] == problem["detail"]
        assert problem["message"].startswith(TABLE[Reason(reason)].sentence)
        assert {"type", "title"} <= problem.keys()


@here
@pytest.mark.parametrize(
    ("target", "allowed"),
    [("/v2/users/me", "GET"), (f"/users/{OWN_USER}", "DELETE"), ("/users/auth-code", "POST"), ("/v4/gql", "POST")],
)
async def test_methods_that_are_allowed(gateway: Running, target: str, allowed: str) -> None:
    """A client would not learn which method to use."""
    answer = await gateway.ask(token=gateway.user_token, target=target, method="PUT")
    assert (answer.status, answer.header("Allow")) == (405, allowed)


@here
@pytest.mark.parametrize("data", [b"", b'{"a":1}', b"\0\xff not json", b"x" * 1_048_576])
@pytest.mark.parametrize("waits", [False, True], ids=["at-once", "in-pieces"])
async def test_the_body_of_a_route(gateway: Running, data: bytes, waits: bool) -> None:
    """A REST route's body would be lost or changed on its way."""
    head = request(
        gateway, start="POST /v2/users/abc/link HTTP/1.1", token=gateway.keys["USER_LINK"], body=b"", length=len(data)
    ).replace(b"application/json", b"application/octet-stream")
    async with wire(gateway) as client:
        if waits:
            await client.send(head)
            await asyncio.sleep(0)
            await client.send(data)
        else:
            await client.send(head + data)
        assert (await client.answer()).status == 200
    crossed = gateway.upstream.received[-1]
    assert (crossed.body, crossed.one("Content-Length")) == (data, str(len(data)))
    assert crossed.one("Content-Type") == "application/octet-stream"


@here
async def test_the_body_of_a_route_is_bounded(gateway: Running) -> None:
    """A REST route would take bodies of any size."""
    start = "POST /v2/users/abc/link HTTP/1.1"
    for size, status in ((1_048_576, 200), (1_048_577, 413)):
        async with wire(gateway) as client:
            await client.send_all(request(gateway, start=start, token=gateway.keys["USER_LINK"], body=b"x" * size))
            assert (await client.answer()).status == status


@here
@pytest.mark.parametrize(("method", "target"), [("GET", "/v2/segment_definitions"), ("DELETE", f"/users/{OTHER_USER}")])
@pytest.mark.parametrize("framing", ["Content-Length: 1", "Transfer-Encoding: chunked"])
async def test_methods_without_a_body(gateway: Running, method: str, target: str, framing: str) -> None:
    """What a server behind leaves unread would be its next request; and strangers could fill the gateway's memory."""
    before = len(gateway.upstream.received)
    body = b"x" if "Length" in framing else b"1\r\nx\r\n0\r\n\r\n"
    start, token = f"{method} {target} HTTP/1.1", gateway.keys["USER_DELETE"]
    async with wire(gateway) as client:
        await client.send(request(gateway, framing, start=start, token=token, body=body, length=-1))
        answer = await client.answer()
    assert (answer.status, json.loads(answer.body)["reason"]) == (413, "body_too_large")
    assert len(gateway.upstream.received) == before


@here
async def test_a_route_takes_no_content_coding(gateway: Running) -> None:
    """The upstream would unpack what nobody here could bound."""
    more = {"Content-Encoding": "gzip"}
    answer = await gateway.ask(token=gateway.keys["USER_LINK"], target="/v2/users/abc/link", headers=more)
    assert (answer.status, answer.reasons) == (415, ["unsupported_media_type"])


async def test_an_open_route_with_a_body(tmp_path: Path) -> None:
    """What is sent to an open route would not reach the upstream, or be read as the next request."""
    rule = {"method": "POST", "path": "/feedback", "open": True}
    overrides = {"routes": [rule], "limits.route_body_bytes": 100}
    async with running(tmp_path, overrides) as gateway, wire(gateway) as client:
        for waits in (False, True):
            head = b"POST /feedback HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
            await client.send(head if waits else head + b"hello")
            await asyncio.sleep(0)
            await client.send(b"hello" if waits else b"")
            assert (await client.answer()).status == 200
            assert gateway.upstream.received[-1].body == b"hello"
        await client.send(b"POST /feedback HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
        assert (await client.answer()).status == 413


# Regions --------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def american() -> AsyncIterator[Echo]:
    """The upstream of a second region."""
    async with Echo() as upstream:
        yield upstream


def two_regions(american: Echo, wrong: str) -> dict[str, object]:
    """Settings for a second region."""
    return {
        "regions.eu.hosts": ["api.eu.example.com", "eu.example.com"],
        "regions.us.hosts": ["api.us.example.com"],
        "regions.us.upstreams": [american.url],
        "regions.us.user_scoping": "upstream",
        "default_region": "eu",
        "wrong_region": wrong,
    }


HOSTS = ["api.eu.example.com", "API.US.example.com", "api.us.example.com:443", "elsewhere.example.com", "[::1]"]


@pytest.mark.parametrize("wrong", ["forward", "refuse"])
async def test_regions(tmp_path: Path, american: Echo, wrong: str) -> None:
    """An app's data would leave its region, or a client not learn where to send its requests."""
    async with running(tmp_path, two_regions(american, wrong)) as gateway:
        europe = gateway.keys["all"]
        america = await a_key(gateway.store, await an_app(gateway.store, "us"))
        for key, region, home, away in (
            (europe, "eu", gateway.upstream, american),
            (america, "us", american, gateway.upstream),
        ):
            for host in HOSTS:
                for target, method in (("/v4/gql", "POST"), (f"/v2/users/{OTHER_USER}", "GET")):
                    home.received.clear()
                    away.received.clear()
                    body = OWN if method == "POST" else b""
                    answer = await gateway.ask(body, token=key, method=method, target=target, headers={"Host": host})
                    other = {"eu": "us", "us": "eu"}[region]
                    assert away.received == []
                    if wrong == "refuse" and f".{other}." in host.lower():
                        assert (answer.status, answer.reasons) == (421, ["wrong_region"])
                        assert f"api.{region}.example.com" in answer.body.decode()
                        assert home.received == []
                    else:
                        assert answer.status == 200
                        assert home.received[-1].one("X-Gateway-Region") == region
                        assert (await line_of(gateway, answer))["region"] == region


async def test_regions_of_open_routes(tmp_path: Path, american: Echo) -> None:
    """An open route would be answered by another region than the one that was asked."""
    async with running(tmp_path, two_regions(american, "refuse")) as gateway:
        for host, upstream in (
            ("api.us.example.com", american),
            ("api.eu.example.com", gateway.upstream),
            ("elsewhere.example.com", gateway.upstream),
        ):
            upstream.received.clear()
            answer = await gateway.ask(method="GET", target="/v2/segment_definitions", headers={"Host": host}, body=b"")
            assert (answer.status, len(upstream.received)) == (200, 1)
        america = await a_key(gateway.store, await an_app(gateway.store, "us"))
        answer = await gateway.ask(
            b"", token=america, method="GET", target="/v2/segment_definitions", headers={"Host": "api.eu.example.com"}
        )
        assert answer.status == 421


@here
async def test_a_region_that_is_not_served(gateway: Running) -> None:
    """The data of an app would go to whatever region there is."""
    elsewhere = await a_key(gateway.store, await an_app(gateway.store, "in"))
    before = len(gateway.upstream.received)
    answer = await gateway.ask(token=elsewhere)
    assert (answer.status, answer.reasons) == (503, ["region_unavailable"])
    assert answer.header("Retry-After") == "60"
    assert len(gateway.upstream.received) == before


async def test_upstreams_take_turns(tmp_path: Path, american: Echo) -> None:
    """One of several upstreams would get all requests."""
    async with Echo() as other, running(tmp_path, {"regions.eu.upstreams": [american.url, other.url]}) as gateway:
        for _ in range(4):
            assert (await gateway.ask(token=gateway.user_token)).status == 200
        assert (len(american.received), len(other.received)) == (2, 2)
