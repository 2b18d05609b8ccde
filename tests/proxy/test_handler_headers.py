"""What crosses to the upstream: who calls, where the request comes from, and little else."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.identity import crossed_headers, expected_identity, folded
from tests.support.running import OWN, Answer, Running, running
from tests.support.vectors import OTHER_USER
from tests.support.wire import here, line_of, request, wire

# Identity -------------------------------------------------------------------------------------------------------------


IDENTITY = ("Principal", "App", "Key", "User", "Scopes", "Region", "Would-Refuse", "Anything")
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda name: f"X-Gateway-{name}",
    "small": lambda name: f"x-gateway-{name.lower()}",
    "capital": lambda name: f"X-GATEWAY-{name.upper()}",
    "underscores": lambda name: f"X_Gateway_{name}",
    "mixed": lambda name: f"X-Gateway_{name}",
    "other-mixed": lambda name: f"x_gateway-{name.lower()}",
    "dots": lambda name: f"X.Gateway.{name}",
}


@here
@pytest.mark.parametrize("caller", ["user", "USER_READ", "all"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_identity_headers(gateway: Running, caller: str, spelling: str) -> None:
    """A client could tell the upstream that it is somebody else."""
    names = [SPELLINGS[spelling](name) for name in IDENTITY]
    token = gateway.user_token if caller == "user" else gateway.keys[caller]
    claimed = [f"{name}: {OTHER_USER}" for name in names]
    assert (await ask(gateway, token, *claimed, *claimed)).status == 200
    assert folded(crossed_headers(gateway)) == expected_identity(gateway, caller)


@here
@pytest.mark.parametrize("caller", ["user", "USER_READ"])
async def test_identity_headers_named_in_connection(gateway: Running, caller: str) -> None:
    """A client could make the gateway drop the headers that say who it is."""
    token = gateway.user_token if caller == "user" else gateway.keys[caller]
    every = ", ".join([*(f"X-Gateway-{name}" for name in IDENTITY), "X-Request-Id", "Host", "Content-Length", "Via"])
    assert (await ask(gateway, token, f"Connection: close, {every}", f"X-Gateway-User: {OTHER_USER}")).status == 200
    headers = crossed_headers(gateway)
    assert folded(headers) == expected_identity(gateway, caller)
    assert {"x-request-id", "host", "content-length", "via", "x-forwarded-for"} <= headers.keys()


async def ask(gateway: Running, token: str | None, *lines: str, body: str = OWN) -> Answer:
    """One request with these header lines, repeated ones too."""
    async with wire(gateway) as client:
        await client.send(request(gateway, *lines, token=token, body=body.encode()))
        return await client.answer()


# Headers that cross ---------------------------------------------------------------------------------------------------


OURS = {
    "host",
    "x-gateway-principal",
    "x-gateway-app",
    "x-gateway-user",
    "x-gateway-region",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "via",
    "x-request-id",
    "content-length",
    "content-type",
}
CROSSING = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Accept-Language": "nl",
    "User-Agent": "sdk/1.0",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=b",
    "Idempotency-Key": "8e03978e",
}
STAYING = (
    "Authorization-2",
    "Cache-Control",
    "Cookie",
    "Forwarded-For",
    "HTTP2-Settings",
    "If-None-Match",
    "Keep-Alive",
    "Origin",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Range",
    "Referer",
    "TE",
    "Trailer",
    "True-Client-IP",
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Forwarded-User",
    "X-HTTP-Method-Override",
    "X-Mock-Status",
    "X-Original-URL",
    "X-Real-IP",
    "X-Rewrite-URL",
    "Accept_Language",
    "Content_Type",
    "User_Agent",
    "X_Forwarded_For",
    "X_Request_Id",
)


@here
async def test_the_headers_that_cross(gateway: Running) -> None:
    """Something that the upstream believes, or must not see, would come from the client."""
    lines = [*(f"{name}: {value}" for name, value in CROSSING.items()), *(f"{name}: 1" for name in STAYING)]
    assert (await ask(gateway, gateway.user_token, *lines)).status == 200
    headers = crossed_headers(gateway)
    assert headers.keys() == OURS | {name.lower() for name in CROSSING}
    assert {name: headers[name.lower()] for name in CROSSING} == CROSSING


@here
async def test_headers_named_in_connection_end_here(gateway: Running) -> None:
    """A header that a client meant for the gateway alone would go on to the upstream."""
    lines = [
        "Accept-Language: nl",
        "User-Agent: a",
        "traceparent: b",
        "Connection: keep-alive",
        "Connection: x, USER-Agent ,traceparent",
    ]
    assert (await ask(gateway, gateway.user_token, *lines)).status == 200
    headers = crossed_headers(gateway)
    assert "accept-language" in headers
    assert {"user-agent", "traceparent", "connection"}.isdisjoint(headers)


@here
async def test_what_says_where_a_request_comes_from(gateway: Running) -> None:
    """A client could pretend to come from elsewhere, or to have asked another host."""
    lies = ["Forwarded: for=1.2.3.4;host=evil", "Via: 1.1 evil"]
    lies += [f"X-Forwarded-{name}: evil" for name in ("For", "Host", "Proto", "Port", "Prefix", "Server", "Ssl")]
    answer = await gateway.ask(
        token=gateway.user_token, headers={"Host": "api.example.com:81", **dict(lie.split(": ") for lie in lies)}
    )
    assert answer.status == 200
    headers = crossed_headers(gateway)
    assert "evil" not in str(headers)
    assert headers["host"] == gateway.upstream.url.removeprefix("http://")
    assert headers["forwarded"] == 'for=127.0.0.1;host="api.example.com:81";proto=http'
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == "api.example.com:81"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["via"] == "1.1 gateway"


@here
async def test_where_each_request_of_a_connection_comes_from(gateway: Running) -> None:
    """What was said of the first request of a connection would be said of all of them, or a second Host be believed."""
    async with wire(gateway) as client:
        for host in ("one.example", "two.example", "one.example"):
            await client.send(request(gateway).replace(b"Host: a", b"Host: " + host.encode()))
            assert (await client.answer()).status == 200
            assert crossed_headers(gateway)["x-forwarded-host"] == host
        await client.send(request(gateway, "Host: three.example").replace(b"Host: a", b"Host: one.example"))
        assert (await client.answer()).status == 400


@here
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0af7651916cd43dd", True),
        ("a.b_c~d-E9", True),
        ("a-" * 64, True),
        ("a-" * 64 + "a", False),
        ("", False),
        ("a b", False),
        ('a"b', False),
        ("a,b", False),
        ("caf\xe9", False),
        ("gwk_0123456789abcdef.PCkeK8fsOOHCGbYdCUyWx6xd2ivh2DOxR816N56NAd3Wzsts", False),
    ],
    ids=["hex", "signs", "longest", "longer", "empty", "blank", "quote", "comma", "latin1", "token"],
)
async def test_request_ids(gateway: Running, given: str, kept: bool) -> None:
    """A request could not be followed through the logs, or its id would break them."""
    for token in (gateway.user_token, "gwk_no"):
        answer = await ask(gateway, token, f"X-Request-Id: {given}")
        told = answer.header("X-Request-Id")
        assert told
        assert (told == given) is kept
        assert (await line_of(gateway, answer))["status"] == answer.status
        if answer.status == 200:
            assert crossed_headers(gateway)["x-request-id"] == told
    assert answer.status == 401
    assert json.loads(answer.body)["errors"][0]["extensions"]["request_id"] == told


@here
async def test_two_request_ids(gateway: Running) -> None:
    """One of two ids would be taken, and the upstream take the other."""
    answer = await ask(gateway, gateway.user_token, "X-Request-Id: a", "X-Request-Id: b")
    assert answer.header("X-Request-Id") not in ("a", "b")
    assert crossed_headers(gateway)["x-request-id"] == answer.header("X-Request-Id")


@here
async def test_request_ids_that_are_made(gateway: Running) -> None:
    """Two requests would be one in the logs."""
    found = {(await gateway.ask(token=gateway.user_token)).header("X-Request-Id") for _ in range(20)}
    assert len(found) == 20
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", str(each)) for each in found
    )


@here
@pytest.mark.parametrize(
    "body",
    [
        OWN,
        '  {"query" : "{ user { id } }" , "variables":{"a":1.0e0,"\\u00e9":"\\/"}}\n',
        '{"query":"{ user { id } }","extensions":{"a":[1,2,{"b":null}]}}',
        '{"operationName":"A","query":"query A { user { id } }"}',
    ],
    ids=["plain", "spelled-otherwise", "extensions", "other-order"],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_body_crosses_as_it_is(gateway: Running, body: str, chunked: bool) -> None:
    """What was judged would not be what is forwarded."""
    data = body.encode()
    async with wire(gateway) as client:
        if chunked:
            parts = b"".join(b"1\r\n%c\r\n" % byte for byte in data)
            await client.send(request(gateway, "Transfer-Encoding: chunked", length=-1, body=parts + b"0\r\n\r\n"))
        else:
            await client.send(request(gateway, body=data))
        assert (await client.answer()).status == 200
    crossed = gateway.upstream.received[-1]
    assert (crossed.method, crossed.target, crossed.body) == ("POST", "/v4/gql", data)
    assert (crossed.one("Content-Length"), crossed.one("Transfer-Encoding")) == (str(len(data)), None)


async def test_settings_of_headers_and_paths(tmp_path: Path) -> None:
    """A header that settings let pass would stay, or the upstream be asked at the client's path."""
    overrides = {
        "headers.forward": ["X-Tenant", "accept"],
        "graphql.path": "/graphql",
        "graphql.upstream_path": "/internal/gql",
        "regions.eu.forward_authorization": True,
    }
    async with running(tmp_path, overrides) as gateway:
        for target in ("/v4/gql", "/internal/gql", "/graphql/", "/graphql%2f"):
            assert (await gateway.ask(token=gateway.user_token, target=target)).status == 404
        answer = await gateway.ask(
            token=gateway.user_token, target="/graphql", headers={"x-tenant": "a", "X_Tenant": "b", "X-Tenant-2": "c"}
        )
        assert answer.status == 200
        (crossed,) = gateway.upstream.received
        assert crossed.target == "/internal/gql"
        headers = crossed_headers(gateway)
        assert {name for name in headers if "tenant" in name} == {"x-tenant"}
        assert headers["authorization"] == f"Bearer {gateway.user_token}"


@here
async def test_the_credential_stays_here(gateway: Running) -> None:
    """The upstream, its logs and whoever reads them would get hold of tokens."""
    assert (await gateway.ask(token=gateway.user_token)).status == 200
    crossed = gateway.upstream.received[-1]
    assert crossed.one("Authorization") is None
    assert gateway.user_token not in str(crossed)


@pytest.mark.parametrize("networks", [["127.0.0.0/8"], ["10.0.0.0/8", "127.0.0.1"], ["10.0.0.0/8", "::1"]])
async def test_a_trusted_proxy(tmp_path: Path, networks: list[str]) -> None:
    """Behind a proxy, the upstream would not learn where requests come from, or believe it of anybody."""
    said = {
        "Forwarded": "for=192.0.2.1;proto=https",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Host": "api.example.com",
        "X-Forwarded-Proto": "https",
        "Via": "2 edge",
        "Host": "inner",
    }
    async with running(tmp_path, {"headers.trusted_proxies": networks}) as gateway:
        assert (await gateway.ask(token=gateway.user_token, headers=said)).status == 200
        headers = crossed_headers(gateway)
    if "::1" in networks:
        assert "192.0.2.1" not in str(headers)
        assert (headers["via"], headers["x-forwarded-host"]) == ("1.1 gateway", "inner")
    else:
        assert headers["forwarded"] == 'for=192.0.2.1;proto=https, for=127.0.0.1;host="inner";proto=http'
        assert headers["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
        assert (headers["x-forwarded-host"], headers["x-forwarded-proto"]) == ("api.example.com", "https")
        assert headers["via"] == "2 edge, 1.1 gateway"
