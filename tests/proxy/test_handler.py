"""The way of a request, seen from both ends: what a client is told, and what crosses to the upstream."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from gateway.core.audit import AuditAction
from gateway.core.decision import TABLE, Reason
from gateway.store.open import open_store
from tests.support.echo import Echo
from tests.support.held import Held
from tests.support.minting import a_key, a_user_token, an_app, event, id_of, revoke, stray
from tests.support.running import OWN, SCOPES, Answer, Running, answer_from, running
from tests.support.vectors import OTHER_USER, OWN_USER
from tests.support.wire import line_of, request, wire

GRAPHQL_RESPONSE = "application/graphql-response+json"
INTROSPECTION = '{"query":"{ __schema { queryType { name } } }"}'

here = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway with the usual settings, before an echo."""
    async with running(tmp_path_factory.mktemp("handler")) as started:
        yield started


def message(query: str, **members: object) -> str:
    """The body of a GraphQL request."""
    return json.dumps({"query": query, **members})


def crossed_headers(gateway: Running) -> dict[str, str]:
    """The headers of the last request that crossed, each of which stands once."""
    headers = gateway.upstream.received[-1].headers
    found = {name.lower(): value for name, value in headers}
    assert len(found) == len(headers)
    return found


# Identity --------------------------------------------------------------------------------------------------------------

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


def expected_identity(gateway: Running, caller: str) -> dict[str, str]:
    """What the upstream must be told, and nothing else."""
    common = {"x-gateway-app": gateway.owner.id, "x-gateway-region": "eu"}
    if caller == "user":
        return common | {"x-gateway-principal": "user", "x-gateway-user": OWN_USER}
    return common | {
        "x-gateway-principal": "key",
        "x-gateway-key": id_of(gateway.keys[caller]),
        "x-gateway-scopes": " ".join(sorted(SCOPES)) if caller == "all" else caller,
    }


def folded(headers: Mapping[str, str]) -> dict[str, str]:
    """The identity headers, as a server reads them that takes every sign for a hyphen."""
    names = {name: re.sub(r"[^a-z]", "-", name) for name in headers}
    return {names[name]: value for name, value in headers.items() if names[name].startswith("x-gateway-")}


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


# Headers that cross ----------------------------------------------------------------------------------------------------

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
    lines = ["Accept-Language: nl", "User-Agent: a", "traceparent: b", "Connection: keep-alive", "Connection: x, USER-Agent ,traceparent"]
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
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("a b", False),
        ("a\"b", False),
        ("a,b", False),
        ("caf\xe9", False),
    ],
    ids=["hex", "signs", "longest", "longer", "empty", "blank", "quote", "comma", "latin1"],
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
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", str(each)) for each in found)


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


# Statuses --------------------------------------------------------------------------------------------------------------

USER, KEY = "user", "USER_READ"
DEEP = "{ user " + "{ a " * 20 + "}" * 20 + "}"
# caller, body, reasons, status as application/json, status as application/graphql-response+json
REFUSALS: dict[str, tuple[str, str, list[str], int, int]] = {
    "not-json": (USER, "{", ["message_malformed"], 400, 400),
    "query-of-a-number": (USER, '{"query":1}', ["message_malformed"], 400, 400),
    "deep-json": (USER, message("{ user { id } }", variables={"a": json.loads("[" * 70 + "]" * 70)}), ["message_too_deep"], 400, 400),
    "syntax": (USER, message("{"), ["document_invalid"], 200, 400),
    "long": (USER, message("{ user { id } }" + " " * 33_000), ["document_too_large"], 200, 400),
    "tokens": (USER, message("{ user { " + "id " * 1000 + "} }"), ["document_too_many_tokens"], 200, 400),
    "deep": (USER, message(DEEP), ["document_too_deep"], 200, 400),
    "aliases": (USER, message("{ user { " + " ".join(f"a{i}: id" for i in range(31)) + " } }"), ["document_too_many_aliases"], 200, 400),
    "roots": (USER, message("{ " + "user { id } " * 21 + "}"), ["document_too_many_root_fields"], 200, 400),
    "ambiguous": (USER, message("query A { user { id } } query B { user { id } }"), ["operation_ambiguous"], 200, 400),
    "unnamed": (USER, message("query A { user { id } }", operationName="B"), ["operation_ambiguous"], 200, 400),
    "field-unknown": (KEY, message("{ user { nope } }"), ["field_unknown"], 200, 400),
    "argument-unknown": (KEY, message("{ user(nope: 1) { id } }"), ["argument_unknown"], 200, 400),
    "subscription": (USER, message("subscription { user { id } }"), ["operation_unsupported"], 403, 403),
    "scope": (KEY, message("{ offloads { day } }"), ["scope_missing"], 403, 403),
    "keys-only": (USER, message("{ offloads { day } }"), ["keys_only"], 403, 403),
    "hidden": (USER, message("{ user { nope } }"), ["field_closed"], 403, 403),
    "introspection": (USER, INTROSPECTION, ["introspection_closed"], 403, 403),
    "not-own": (USER, message('{ user(user_id: "583e08a1cd99250700000002") { id } }'), ["not_own_data"], 403, 403),
    "two-of-a-document": (KEY, message("{ user(nope: 1) { nope } }"), ["argument_unknown", "field_unknown"], 200, 400),
    "forbidden-among-others": (KEY, message("{ user { nope } offloads { day } }"), ["field_unknown", "scope_missing"], 403, 403),
    "two-forbidden": (KEY, message("{ offloads { day } custom_offloads { id } }"), ["scope_missing", "scope_missing"], 403, 403),
}


@here
@pytest.mark.parametrize("accept", [None, "application/json", "*/*", GRAPHQL_RESPONSE, f"{GRAPHQL_RESPONSE}, application/json;q=0.9"])
@pytest.mark.parametrize("row", REFUSALS)
async def test_refusals_of_operations(gateway: Running, row: str, accept: str | None) -> None:
    """A client would take a refusal for an answer, or not learn what is wrong."""
    caller, body, reasons, relaxed, strict = REFUSALS[row]
    token = gateway.user_token if caller is USER else gateway.keys[caller]
    before = len(gateway.upstream.received)
    answer = await gateway.ask(body, token=token, headers={"Accept": accept} if accept else {})
    newer = accept is not None and accept.startswith(GRAPHQL_RESPONSE)
    assert (answer.status, sorted(answer.reasons)) == (strict if newer else relaxed, sorted(reasons))
    assert answer.header("Content-Type") == f"{GRAPHQL_RESPONSE if newer else 'application/json'}; charset=utf-8"
    told = json.loads(answer.body)
    assert told.keys() == {"errors"}
    for error in told["errors"]:
        extensions = error["extensions"]
        known = TABLE[Reason(extensions["reason"])]
        assert error["message"].startswith(known.sentence)
        assert extensions["code"] == known.code
        assert extensions["request_id"] == answer.header("X-Request-Id")
        assert extensions.keys() <= {"code", "reason", "coordinate", "required_scopes", "request_id"}
    assert len(gateway.upstream.received) == before
    line = await line_of(gateway, answer)
    assert (line["decision"], line["status"]) == ("refuse", answer.status)


@here
async def test_what_a_refusal_names(gateway: Running) -> None:
    """A client would not learn which field is refused, nor which scope its key needs."""
    answer = await gateway.ask(message("{ offloads { day } }"), token=gateway.keys[KEY])
    (error,) = json.loads(answer.body)["errors"]
    assert error == {
        "message": "The API key lacks a scope that this needs.",
        "extensions": {
            "code": "FORBIDDEN",
            "reason": "scope_missing",
            "coordinate": "Query.offloads",
            "required_scopes": [["OFFLOADS_READ"]],
            "request_id": answer.header("X-Request-Id"),
        },
    }


@here
@pytest.mark.parametrize(
    ("method", "target", "more", "status", "reason"),
    [
        ("GET", "/v4/gql", {}, 405, "method_not_allowed"),
        ("DELETE", "/v4/gql", {}, 405, "method_not_allowed"),
        ("POST", "/v4/gql?query=a", {}, 400, "parameter_unknown"),
        ("POST", "/v4/gql", {"Accept": "text/html"}, 406, "not_acceptable"),
        ("POST", "/v4/gql", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/v4/gql", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ("POST", "/v4/gql", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ("POST", "/v4/gql", {"Content-Length": "300000"}, 413, "body_too_large"),
        ("POST", "/nowhere", {}, 404, "path_unknown"),
        ("POST", "/v4/gql/../gql", {}, 404, "path_unknown"),
        ("GET", "/live", {}, 404, "path_unknown"),
        ("GET", "/metrics", {}, 404, "path_unknown"),
    ],
)
async def test_refusals_of_requests(
    gateway: Running, method: str, target: str, more: dict[str, str], status: int, reason: str
) -> None:
    """Something that is no GraphQL request would be forwarded, or the admin's pages be shown to clients."""
    before = len(gateway.upstream.received)
    answer = await gateway.ask(token=gateway.user_token, method=method, target=target, headers=more)
    assert (answer.status, answer.reasons) == (status, [reason])
    assert answer.header("Allow") == ("POST" if status == 405 else None)
    assert answer.header("Cache-Control") == "no-store"
    assert len(gateway.upstream.received) == before


@here
async def test_a_body_at_its_limit(gateway: Running) -> None:
    """A body of the longest size would be refused, or one byte more be taken."""
    for size, status in ((262_144, 200), (262_145, 413)):
        for framing in ("counted", "chunked"):
            body = OWN[:-1].encode() + b" " * (size - len(OWN)) + b"}"
            async with wire(gateway) as client:
                if framing == "chunked":
                    parts = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
                    await client.send(request(gateway, "Transfer-Encoding: chunked", length=-1, body=parts))
                else:
                    await client.send_all(request(gateway, body=body))
                assert (await client.answer()).status == status


@here
async def test_head_has_no_body(gateway: Running) -> None:
    """A client that asks for the head would take the body for the next answer."""
    for target, allow in (("/v4/gql", "POST"), ("/v2/users/me", "GET")):
        data = await gateway.raw(f"HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = answer_from(data)
        assert (answer.status, answer.header("Allow"), answer.body) == (405, allow, b"")
        assert int(answer.header("Content-Length") or 0) > 0


@here
async def test_an_answer_of_the_upstream_passes(gateway: Running) -> None:
    """The upstream's own refusals would reach clients changed."""
    gateway.upstream.status = 418
    gateway.upstream.answer_headers = {"X-Upstream": "a", "X-Gateway-Would-Refuse": "b", "X-Request-Id": "c"}
    try:
        answer = await gateway.ask(token=gateway.user_token)
    finally:
        gateway.upstream.status = 200
        gateway.upstream.answer_headers = {}
    assert (answer.status, answer.header("X-Upstream")) == (418, "a")
    assert answer.header("X-Gateway-Would-Refuse") is None
    assert (await line_of(gateway, answer))["status"] == 418
    assert json.loads(answer.body)["data"]["target"] == "/v4/gql"


# Credentials -----------------------------------------------------------------------------------------------------------

FALSE = (
    "unknown-key",
    "unknown-user-token",
    "unknown-legacy",
    "wrong-secret",
    "wrong-user-secret",
    "revoked",
    "expired",
    "expired-user-token",
    "disabled-app",
    "disabled-user",
    "check-digits",
    "malformed",
    "another-prefix",
    "too-long",
    "two-headers",
    "same-twice",
    "two-in-one",
    "basic",
    "no-token",
    "blank",
    "not-ascii",
    "in-quotes",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def false_credentials(gateway: Running) -> Mapping[str, list[str]]:
    """The Authorization headers of a request, for everything that is wrong with a credential."""
    store, good = gateway.store, gateway.keys["all"]
    disabled = await an_app(store)
    others = await an_app(store)
    revoked, gone = await a_key(store, others), await a_key(store, others, ends=-1000)
    of_disabled = await a_key(store, disabled)
    disabled_user = await a_user_token(store, others, "someone")
    await revoke(store, revoked)
    await store.set_app_disabled(disabled.id, True, event(AuditAction.APP_DISABLED, disabled.id))
    await store.set_user_disabled(others.id, "someone", True, event(AuditAction.USER_DISABLED, others.id))
    last = "0" if good[-1] != "0" else "1"
    bearers = {
        "unknown-key": stray(),
        "unknown-user-token": stray("gwu"),
        "unknown-legacy": "0123456789abcde.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3",
        "wrong-secret": stray(token_id=id_of(good)),
        "wrong-user-secret": stray("gwu", id_of(gateway.user_token)),
        "revoked": revoked,
        "expired": gone,
        "expired-user-token": await a_user_token(store, others, ends=-1000),
        "disabled-app": of_disabled,
        "disabled-user": disabled_user,
        "check-digits": good[:-1] + last,
        "malformed": "abc",
        "another-prefix": "gwx" + good[3:],
        "too-long": "gwk_" + "a" * 600,
        "not-ascii": good + "\xe9",
        "in-quotes": f'"{good}"',
        "two-in-one": f"{good}, Bearer {good}",
        "no-token": "",
    }
    headers = {name: [f"Bearer {token}"] for name, token in bearers.items()}
    headers["two-headers"] = [f"Bearer {good}", f"Bearer {gateway.user_token}"]
    headers["same-twice"] = [f"Bearer {good}"] * 2
    headers["basic"] = [f"Basic {good}"]
    headers["blank"] = [""]
    assert headers.keys() == set(FALSE)
    return headers


async def refused(gateway: Running, authorization: list[str], target: str, accept: str) -> bytes:
    """The whole answer as bytes."""
    lines = [f"Authorization: {value}" for value in authorization]
    method = "POST" if target == "/v4/gql" else "GET"
    head = [f"{method} {target} HTTP/1.1", "Host: a", "Content-Type: application/json", f"Accept: {accept}", *lines]
    head += [f"Content-Length: {len(OWN)}", "Connection: close", "", ""]
    return await gateway.raw("\r\n".join(head).encode("latin-1") + OWN.encode())


def without_id(data: bytes) -> bytes:
    """An answer but for what differs from request to request."""
    request_id = answer_from(data).header("X-Request-Id")
    assert request_id
    return data.replace(request_id.encode(), b"")


@here
@pytest.mark.parametrize("target", ["/v4/gql", "/v2/users/me", "/v2/segment_definitions"])
@pytest.mark.parametrize("accept", ["application/json", GRAPHQL_RESPONSE])
@pytest.mark.parametrize("what", FALSE)
async def test_false_credentials_are_refused_alike(
    gateway: Running, false_credentials: Mapping[str, list[str]], what: str, target: str, accept: str
) -> None:
    """Somebody who tries tokens would learn which of them were good once, or exist."""
    before = len(gateway.upstream.received)
    said = await refused(gateway, false_credentials[what], target, accept)
    unknown = await refused(gateway, false_credentials["unknown-key"], target, accept)
    assert without_id(said) == without_id(unknown)
    answer = answer_from(said)
    assert answer.status == 401
    assert answer.reasons == ["credential_invalid"]
    assert answer.header("WWW-Authenticate") == 'Bearer realm="gateway", error="invalid_token"'
    assert len(gateway.upstream.received) == before


@here
async def test_the_log_says_what_is_wrong_with_a_credential(
    gateway: Running, false_credentials: Mapping[str, list[str]]
) -> None:
    """An operator could not tell a client what is wrong with its token."""
    faults = {}
    for what, authorization in false_credentials.items():
        said = await refused(gateway, authorization, "/v4/gql", "application/json")
        line = await line_of(gateway, answer_from(said))
        faults[what] = line.get("credential_fault", line["reasons"][0])
    malformed = dict.fromkeys(
        ("two-headers", "same-twice", "two-in-one", "basic", "no-token", "blank", "not-ascii", "in-quotes", "too-long"),
        "credential_malformed",
    )
    assert faults == {
        "unknown-key": "unknown",
        "unknown-user-token": "unknown",
        "unknown-legacy": "unknown",
        "wrong-secret": "wrong",
        "wrong-user-secret": "wrong",
        "revoked": "revoked",
        "expired": "expired",
        "expired-user-token": "expired",
        "disabled-app": "app_disabled",
        "disabled-user": "user_disabled",
        "check-digits": "check_digits",
        "malformed": "malformed",
        "another-prefix": "malformed",
        **malformed,
    }


@here
@pytest.mark.parametrize(
    ("target", "method", "token", "status", "challenge"),
    [
        ("/v4/gql", "POST", None, 401, 'Bearer realm="gateway"'),
        ("/v2/users/me", "GET", None, 401, 'Bearer realm="gateway"'),
        ("/v4/gql", "POST", "gwk_no", 401, 'Bearer realm="gateway", error="invalid_token"'),
        ("/v4/gql", "POST", "OFFLOADS_READ", 403, 'Bearer realm="gateway", error="insufficient_scope", scope="USER_READ"'),
        ("/users/auth-code", "POST", "USER_READ", 403, 'Bearer realm="gateway", error="insufficient_scope", scope="USER_LINK"'),
        ("/users/auth-code", "POST", "user", 403, None),
        ("/v2/users/583e08a1cd99250700000002", "GET", "user", 403, None),
        ("/v2/users/me", "GET", "USER_READ", 403, None),
        ("/nowhere", "GET", "USER_READ", 404, None),
    ],
)
async def test_challenges(
    gateway: Running, target: str, method: str, token: str | None, status: int, challenge: str | None
) -> None:
    """A client library could not tell whether to log in, to refresh its token or to ask for a scope (RFC 6750)."""
    known = {**gateway.keys, "user": gateway.user_token}
    answer = await gateway.ask(token=known.get(token or "", token), method=method, target=target)
    assert (answer.status, answer.header("WWW-Authenticate")) == (status, challenge)


@here
async def test_a_missing_credential(gateway: Running) -> None:
    """Somebody who forgot the token would be told that it is wrong."""
    answer = await gateway.ask()
    assert (answer.status, answer.reasons) == (401, ["credential_missing"])


@here
@pytest.mark.parametrize("place", ["/v4/gql?access_token={}", "/v2/users/me?access_token={}"])
async def test_no_token_in_the_query(gateway: Running, place: str) -> None:
    """Tokens would lie in every log that keeps URLs."""
    method = "POST" if "gql" in place else "GET"
    answer = await gateway.ask(method=method, target=place.format(gateway.user_token))
    assert (answer.status, answer.reasons) == (400, ["parameter_unknown"])
    assert gateway.user_token.encode() not in answer.body


@here
async def test_both_kinds_of_another_shape(gateway: Running) -> None:
    """A client that spells the scheme otherwise, or with more blanks, would be refused."""
    for value in (f"bearer {gateway.user_token}", f"BEARER   {gateway.user_token}", f"Bearer {gateway.user_token} "):
        assert (await gateway.ask(headers={"Authorization": value})).status == 200


# The end of credentials ------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway whose store is a file, which other processes can reach."""
    directory = tmp_path_factory.mktemp("shared")
    url = f"sqlite:///{directory / 'store.db'}"
    await open_store(url, create=True).close()
    async with running(directory, {"store.url": url}) as started:
        yield started


@here
async def test_a_revoked_key(gateway: Running) -> None:
    """A key that was revoked would go on working for a while."""
    key = await a_key(gateway.store, gateway.owner)
    async with wire(gateway) as client:
        for _ in range(3):
            await client.send(request(gateway, token=key))
            assert (await client.answer()).status == 200
        await revoke(gateway.store, key)
        await client.send(request(gateway, token=key))
        assert (await client.answer()).status == 401


@here
async def test_a_disabled_app_and_user(gateway: Running) -> None:
    """Credentials of an app or user that was disabled would go on working, or not work again afterwards."""
    app = await an_app(gateway.store)
    key = await a_key(gateway.store, app)
    user = await a_user_token(gateway.store, app, "a" * 24)
    store = gateway.store

    async def works() -> tuple[int, int]:
        return ((await gateway.ask(token=key)).status, (await gateway.ask(token=user)).status)

    assert await works() == (200, 200)
    await store.set_user_disabled(app.id, "a" * 24, True, event(AuditAction.USER_DISABLED, app.id))
    assert await works() == (200, 401)
    await store.set_app_disabled(app.id, True, event(AuditAction.APP_DISABLED, app.id))
    assert await works() == (401, 401)
    await store.set_user_disabled(app.id, "a" * 24, False, event(AuditAction.USER_ENABLED, app.id))
    await store.set_app_disabled(app.id, False, event(AuditAction.APP_ENABLED, app.id))
    assert await works() == (200, 200)


@here
@pytest.mark.parametrize("target", ["/v4/gql", "/users/auth-code"])
@pytest.mark.parametrize("framing", ["Content-Length: 27", "Transfer-Encoding: chunked"])
async def test_a_revocation_while_a_body_is_sent(gateway: Running, target: str, framing: str) -> None:
    """Somebody with a stolen key could open requests beforehand, and finish them after it was revoked."""
    before = len(gateway.upstream.received)
    key = await a_key(gateway.store, gateway.owner)
    first, last = (b"10\r\n", b"\r\nb\r\n") if "chunked" in framing else (b"", b"")
    async with wire(gateway) as client:
        start = f"POST {target} HTTP/1.1"
        body = first + OWN.encode()[:16]
        await client.send(request(gateway, framing, "Expect: 100-continue", start=start, token=key, length=-1, body=b""))
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        await revoke(gateway.store, key)
        await client.send(last + OWN.encode()[16:] + (b"\r\n0\r\n\r\n" if last else b""))
        answer = await client.answer()
    assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
    assert len(gateway.upstream.received) == before


@here
async def test_a_revocation_by_another_process(shared: Running) -> None:
    """A key that was revoked by a command, or through another gateway, would go on working here."""
    key = await a_key(shared.store, shared.owner)
    assert (await shared.ask(token=key)).status == 200
    script = (
        "import asyncio, sys; from gateway.store.open import open_store;"
        "from tests.support.minting import revoke\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    await revoke(store, sys.stdin.read())\n"
        "    await store.close()\n"
        "asyncio.run(main())"
    )
    url = shared.app.settings.store.url
    subprocess.run([sys.executable, "-c", script, url], input=key, text=True, check=True)
    assert (await shared.ask(token=key)).status == 401


async def test_a_key_that_expires_while_it_is_remembered(tmp_path: Path) -> None:
    """A key would be taken from memory after its end."""
    async with running(tmp_path) as gateway:
        key = await a_key(gateway.store, gateway.owner, ends=500)
        answer = await gateway.ask(token=key)
        assert answer.status == 200
        async with asyncio.timeout(20):
            while answer.status == 200:
                answer = await gateway.ask(token=key)
        assert answer.status == 401
        assert (await line_of(gateway, answer))["credential_fault"] == "expired"


# The store is away -----------------------------------------------------------------------------------------------------


def elsewhere(script: str, *arguments: str) -> None:
    """Run by another process: closing the database's file here would drop the locks that SQLite holds on it."""
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)


EMPTY = "import os, shutil, sys\nfor name in sys.argv[1:]:\n    shutil.copy(name, name + '.kept'); os.truncate(name, 0)"
RESTORE = "import sys\nfor name in sys.argv[1:]:\n    open(name, 'r+b').write(open(name + '.kept', 'rb').read())"


@here
async def test_the_store_is_away(shared: Running) -> None:
    """Clients would throw away good keys because a disk failed, or bad keys would pass."""
    path = shared.app.settings.store.url.removeprefix("sqlite:///")
    known, new, ended = shared.user_token, await a_key(shared.store, shared.owner), await a_key(shared.store, shared.owner)
    await revoke(shared.store, ended)
    assert (await shared.ask(token=known)).status == 200
    elsewhere(EMPTY, path, f"{path}-wal")
    try:
        for token, target, method in (
            (new, "/v4/gql", "POST"),
            (ended, "/v4/gql", "POST"),
            (stray(), "/v4/gql", "POST"),
            (new, "/v2/users/" + OWN_USER, "GET"),
        ):
            answer = await shared.ask(token=token, target=target, method=method)
            assert (answer.status, answer.reasons) == (503, ["store_unavailable"])
            assert answer.header("Retry-After") == "1"
            assert answer.header("WWW-Authenticate") is None
            assert path.encode() not in answer.body
            assert path in (await line_of(shared, answer))["cause"]
        assert (await shared.ask(token="gwk_no")).status == 401
    finally:
        elsewhere(RESTORE, path, f"{path}-wal")
    assert (await shared.ask(token=new)).status == 200
    assert (await shared.ask(token=ended)).status == 401


@here
async def test_a_writer_holds_the_store(shared: Running) -> None:
    """A backup or a migration that holds the store would stop all traffic."""
    path = shared.app.settings.store.url.removeprefix("sqlite:///")
    key = await a_key(shared.store, shared.owner)
    script = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "database.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert (await shared.ask(token=key)).status == 200
        assert (await shared.ask(token=stray())).status == 401
        holder.communicate()


# Our own faults --------------------------------------------------------------------------------------------------------


class Odd:
    """A store that fails in a way that nobody thought of."""

    def __init__(self, store: Any, error: Exception) -> None:
        self._store = store
        self._error = error
        self.failing = False

    def __getattr__(self, name: str) -> Any:
        if self.failing and name == "find_key":
            raise self._error
        return getattr(self._store, name)


async def test_an_internal_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A fault of ours would show itself to a client, or to nobody."""
    store = Odd(open_store("memory:"), ZeroDivisionError("the inner workings"))
    async with running(tmp_path, store=store) as gateway:
        store.failing = True
        answer = await gateway.ask(token=gateway.keys["all"])
        rest = await gateway.ask(token=gateway.keys["all"], method="GET", target=f"/v2/users/{OWN_USER}")
        store.failing = False
        assert (await gateway.ask(token=gateway.keys["all"])).status == 200
        for refused in (answer, rest):
            assert (refused.status, refused.reasons) == (500, ["internal_error"])
            assert b"workings" not in refused.body
            assert b"Zero" not in refused.body
            assert refused.header("Connection") == "close"
        request_id = answer.header("X-Request-Id")
        assert json.loads(answer.body)["errors"][0]["extensions"]["request_id"] == request_id
        assert (await line_of(gateway, answer))["reasons"] == ["internal_error"]
        said = capfd.readouterr()
        assert str(request_id) in said.out + said.err
        assert "ZeroDivisionError" in said.out + said.err


# REST routes -----------------------------------------------------------------------------------------------------------

# method, target, caller, status, reason
ROUTES = [
    ("POST", "/users/auth-code", "USER_LINK", 200, None),
    ("POST", "/users/auth-code", "USER_READ", 403, "scope_missing"),
    ("POST", "/users/auth-code", "user", 403, "keys_only"),
    ("POST", "/users/auth-code", None, 401, "credential_missing"),
    ("POST", "/v2/users/abc/link", "USER_LINK", 200, None),
    ("DELETE", f"/users/{OWN_USER}", "user", 200, None),
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
    ("POST", "/users", "all", 404, "path_unknown"),
    ("POST", "/users/token", "all", 405, "method_not_allowed"),
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
        gateway, start="POST /users/auth-code HTTP/1.1", token=gateway.keys["USER_LINK"], body=b"", length=len(data)
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
    start = "POST /users/auth-code HTTP/1.1"
    for size, status in ((1_048_576, 200), (1_048_577, 413)):
        async with wire(gateway) as client:
            await client.send_all(request(gateway, start=start, token=gateway.keys["USER_LINK"], body=b"x" * size))
            assert (await client.answer()).status == status


@here
async def test_a_route_takes_no_content_coding(gateway: Running) -> None:
    """The upstream would unpack what nobody here could bound."""
    more = {"Content-Encoding": "gzip"}
    answer = await gateway.ask(token=gateway.keys["USER_LINK"], target="/users/auth-code", headers=more)
    assert (answer.status, answer.reasons) == (415, ["unsupported_media_type"])


async def test_an_open_route_with_a_body(tmp_path: Path) -> None:
    """What is sent to an open route would not reach the upstream, or be read as the next request."""
    rule = {"method": "POST", "path": "/feedback", "open": True}
    async with running(tmp_path, {"routes": [rule], "limits.route_body_bytes": 100}) as gateway:
        async with wire(gateway) as client:
            for waits in (False, True):
                head = b"POST /feedback HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
                await client.send(head if waits else head + b"hello")
                await asyncio.sleep(0)
                await client.send(b"hello" if waits else b"")
                assert (await client.answer()).status == 200
                assert gateway.upstream.received[-1].body == b"hello"
            await client.send(b"POST /feedback HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
            assert (await client.answer()).status == 413


# Report mode -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reporting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway that only reports what the policy refuses."""
    async with running(tmp_path_factory.mktemp("report"), {"policy.mode": "report"}) as started:
        yield started


REPORTED: dict[str, tuple[str, str, int, str | None]] = {
    "allowed": (USER, OWN, 200, None),
    "scope": (KEY, message("{ offloads { day } }"), 200, "scope_missing"),
    "keys-only": (USER, message("{ offloads { day } }"), 200, "keys_only"),
    "not-own": (USER, message('{ user(user_id: "583e08a1cd99250700000002") { id } }'), 200, "not_own_data"),
    "unknown-below-the-root": (KEY, message("{ user { nope } }"), 200, "field_unknown"),
    "two": (KEY, message("{ offloads { day nope } }"), 200, "scope_missing, field_unknown"),
    "unknown-at-the-root": (KEY, message("{ nope }"), 200, None),
    "closed": (KEY, message("mutation { createFeedback { id } }"), 403, None),
    "introspection": (USER, INTROSPECTION, 403, None),
    "document": (KEY, message("{"), 200, None),
    "message": (KEY, "{", 400, None),
    "closed-among-reportable": (USER, message("{ offloads { day } __schema { queryType { name } } }"), 403, None),
}


@here
@pytest.mark.parametrize("row", REPORTED)
async def test_report_mode(reporting: Running, row: str) -> None:
    """Report mode would refuse what it is to let through, or let through what must always be refused."""
    caller, body, status, reported = REPORTED[row]
    token = reporting.user_token if caller is USER else reporting.keys[caller]
    reporting.upstream.received.clear()
    reporting.upstream.answer_headers = {"X-Gateway-Would-Refuse": "the upstream's"}
    answer = await reporting.ask(body, token=token)
    passes = reported is not None or row == "allowed"
    assert (answer.status, len(reporting.upstream.received)) == (status, int(passes))
    told = answer.header("X-Gateway-Would-Refuse")
    assert (set(told.split(", ")) if told else None) == (set(reported.split(", ")) if reported else None)
    line = await line_of(reporting, answer)
    decision = "allow" if row == "allowed" else "allow_reported" if reported else "refuse"
    assert line["decision"] == decision
    if reported:
        assert set(line["reasons"]) == set(reported.split(", "))


@here
@pytest.mark.parametrize(
    ("target", "caller", "status", "reported"),
    [
        (f"/v2/users/{OTHER_USER}", "user", 200, "not_own_data"),
        ("/users/auth-code", "user", 200, "keys_only"),
        ("/users/auth-code", "USER_READ", 200, "scope_missing"),
        ("/v2/users/me", "USER_READ", 403, None),
        ("/v2/users/me", None, 401, None),
        ("/v2/users/me", "gwk_no", 401, None),
        ("/nowhere", "user", 404, None),
        (f"/v2/users/{OWN_USER}?a=b", "user", 400, None),
    ],
)
async def test_report_mode_on_routes(
    reporting: Running, target: str, caller: str | None, status: int, reported: str | None
) -> None:
    """Report mode would judge REST routes differently from operations."""
    token = {**reporting.keys, "user": reporting.user_token}.get(caller or "", caller)
    method = "POST" if target == "/users/auth-code" else "GET"
    answer = await reporting.ask(token=token, target=target, method=method, body=b"")
    assert (answer.status, answer.header("X-Gateway-Would-Refuse")) == (status, reported)


@here
async def test_report_mode_is_told(reporting: Running) -> None:
    """An operator would forget that nothing is enforced."""
    async with ClientSession() as session:
        async with session.get(f"{reporting.app.admin_url}/ready") as answer:
            assert (await answer.json())["policy_mode"] == "report"
        async with session.get(f"{reporting.app.admin_url}/metrics") as answer:
            text = await answer.text()
    assert re.search(r"^gateway_report_mode 1\.0$", text, re.MULTILINE)


# Introspection ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "key", "user"), [("none", 403, 403), ("keys", 200, 403), ("all", 200, 200)])
async def test_introspection(tmp_path: Path, setting: str, key: int, user: int) -> None:
    """The schema would be shown to somebody whom it is closed to."""
    async with running(tmp_path, {"policy.introspection": setting}) as gateway:
        for token, status in ((gateway.keys[KEY], key), (gateway.user_token, user)):
            answer = await gateway.ask(INTROSPECTION, token=token)
            assert answer.status == status
            unknown, closed = [
                await gateway.ask(message(query), token=token)
                for query in ("mutation { nope }", "mutation { createFeedback }")
            ]
            alike = unknown.reasons == closed.reasons == ["field_closed"]
            assert alike is (status == 403)


# Regions ---------------------------------------------------------------------------------------------------------------


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
                    answer = await gateway.ask(token=key, method=method, target=target, headers={"Host": host})
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
            token=america, method="GET", target="/v2/segment_definitions", headers={"Host": "api.eu.example.com"}
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


# Memory ----------------------------------------------------------------------------------------------------------------


@here
async def test_a_remembered_document_is_judged_anew(gateway: Running) -> None:
    """Whoever asks for what somebody else was allowed before would get it too."""
    query = '{ user(user_id: "5a93deb3d8e7d90600001e6f") { id created_at } }'
    by_variable = "query A($u: String) { user(user_id: $u) { id created_at } }"
    for _ in range(2):
        assert (await gateway.ask(message(query), token=gateway.keys["USER_READ"])).status == 200
        assert (await gateway.ask(message(query), token=gateway.keys["OFFLOADS_READ"])).status == 403
        assert (await gateway.ask(message(query), token=gateway.user_token)).status == 200
        for user, status in ((OWN_USER, 200), (OTHER_USER, 403), (None, 200)):
            asked = message(by_variable, variables={"u": user})
            assert (await gateway.ask(asked, token=gateway.user_token)).status == status


async def test_a_reload_of_the_policy(tmp_path: Path) -> None:
    """A schema that was changed would be in force for new documents only."""
    schema = tmp_path / "schema.graphql"
    schema.write_text("type Query { a: Int @authenticated b: Int @authenticated }")
    async with running(tmp_path, {"policy.schema_file": str(schema), "routes": []}) as gateway:
        assert (await gateway.ask(message("{ a }"), token=gateway.user_token)).status == 200
        schema.write_text("type Query { a: Int @closed b: Int @authenticated }")
        gateway.app.reload_policy()
        assert (await gateway.ask(message("{ a }"), token=gateway.user_token)).status == 403
        assert (await gateway.ask(message("{ b }"), token=gateway.user_token)).status == 200


# What the log says -----------------------------------------------------------------------------------------------------


@here
async def test_the_line_of_a_request(gateway: Running) -> None:
    """An operator could not see who asked for what, and what became of it."""
    query = "query Mine($secret: String) { mine: user(user_id: $secret) { id } }"
    answer = await gateway.ask(message(query, variables={"secret": OWN_USER}), token=gateway.user_token)
    line = await line_of(gateway, answer)
    known = {name: line.pop(name) for name in ("timestamp", "duration_ms", "upstream_ms", "bytes_in", "bytes_out")}
    assert all(known.values())
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": answer.header("X-Request-Id"),
        "method": "POST",
        "decision": "allow",
        "status": 200,
        "app": gateway.owner.id,
        "user": OWN_USER,
        "operation": "Mine",
        "type": "query",
        "root_fields": ["user"],
        "region": "eu",
        "endpoint": gateway.upstream.url.removeprefix("http://"),
    }


@here
async def test_the_log_holds_no_secrets(gateway: Running) -> None:
    """Tokens, variables and answers would lie in the log for whoever reads it."""
    body = message('query A($a: String) { user(user_id: "hidden-literal") { id } }', variables={"a": "hidden-variable"})
    for token in (gateway.user_token, *gateway.keys.values(), stray()):
        await gateway.ask(body, token=token)
        answer = await gateway.ask(body, token=token, headers={"Cookie": token, "User-Agent": token, "X-A": token})
        await line_of(gateway, answer)
        text = gateway.log_file.read_text()
        assert token.partition(".")[2] not in text
    assert "hidden" not in text
    assert "/v4/gql" not in text.replace("POST /v4/gql", "")


# Waiting for nobody ----------------------------------------------------------------------------------------------------


async def test_an_upstream_that_is_away(tmp_path: Path) -> None:
    """A client would wait, or be answered by what is no answer, when the upstream is not there."""
    async with Held() as gone:
        pass
    async with running(tmp_path, upstream_url=gone.url) as gateway:
        for target, method, shape in (("/v4/gql", "POST", "json; charset=utf-8"), ("/v2/users/me", "GET", "problem+json")):
            answer = await gateway.ask(token=gateway.user_token, target=target, method=method)
            assert (answer.status, answer.reasons) == (502, ["upstream_unreachable"])
            assert answer.header("Content-Type") == f"application/{shape}"
            assert gone.url.removeprefix("http://") in (await line_of(gateway, answer))["cause"]
            assert gone.url.removeprefix("http://").encode() not in answer.body
