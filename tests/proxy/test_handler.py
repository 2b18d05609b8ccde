"""The way of a request, seen from both ends: what becomes of it, and what its client is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.decision import TABLE, Reason
from gateway.store.open import open_store
from tests.support.held import Held
from tests.support.minting import stray
from tests.support.running import OWN, Running, answer_from, message, running
from tests.support.vectors import OTHER_USER, OWN_USER
from tests.support.wire import here, line_of, request, wire

GRAPHQL_RESPONSE = "application/graphql-response+json"
INTROSPECTION = '{"query":"{ __schema { queryType { name } } }"}'


# Statuses -------------------------------------------------------------------------------------------------------------


USER, KEY = "user", "USER_READ"
DEEP = "{ user " + "{ a " * 20 + "}" * 20 + "}"
# caller, body, reasons, status as application/json, status as application/graphql-response+json
REFUSALS: dict[str, tuple[str, str, list[str], int, int]] = {
    "not-json": (USER, "{", ["message_malformed"], 400, 400),
    "query-of-a-number": (USER, '{"query":1}', ["message_malformed"], 400, 400),
    "deep-json": (
        USER,
        message("{ user { id } }", variables={"a": json.loads("[" * 70 + "]" * 70)}),
        ["message_too_deep"],
        400,
        400,
    ),
    "syntax": (USER, message("{"), ["document_invalid"], 200, 400),
    "long": (USER, message("{ user { id } }" + " " * 33_000), ["document_too_large"], 200, 400),
    "tokens": (USER, message("{ user { " + "id " * 1000 + "} }"), ["document_too_many_tokens"], 200, 400),
    "deep": (USER, message(DEEP), ["document_too_deep"], 200, 400),
    "aliases": (
        USER,
        message("{ user { " + " ".join(f"a{i}: id" for i in range(31)) + " } }"),
        ["document_too_many_aliases"],
        200,
        400,
    ),
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
    "forbidden-among-others": (
        KEY,
        message("{ user { nope } offloads { day } }"),
        ["field_unknown", "scope_missing"],
        403,
        403,
    ),
    "two-forbidden": (
        KEY,
        message("{ offloads { day } custom_offloads { id } }"),
        ["scope_missing", "scope_missing"],
        403,
        403,
    ),
}


@here
@pytest.mark.parametrize(
    "accept", [None, "application/json", "*/*", GRAPHQL_RESPONSE, f"{GRAPHQL_RESPONSE}, application/json;q=0.9"]
)
@pytest.mark.parametrize("row", REFUSALS)
async def test_refusals_of_operations(gateway: Running, row: str, accept: str | None) -> None:
    """A client would take a refusal for an answer, or not learn what is wrong."""
    caller, body, reasons, relaxed, strict = REFUSALS[row]
    token = gateway.user_token if caller == USER else gateway.keys[caller]
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


async def test_a_small_limit_of_bodies(tmp_path: Path) -> None:
    """A body that comes in one piece with its head would be taken whatever its size."""
    async with running(tmp_path, {"limits.body_bytes": 100, "limits.route_body_bytes": 100}) as gateway:
        of_all = {"token": gateway.keys["all"]}
        for start in ("POST /v4/gql HTTP/1.1", "POST /v2/users/abc/link HTTP/1.1"):
            for size, status in ((100, 200), (101, 413)):
                body = OWN.encode().ljust(size)
                chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
                async with wire(gateway) as client:
                    counted = request(gateway, start=start, body=body, **of_all)
                    chunked = request(
                        gateway, "Transfer-Encoding: chunked", start=start, body=chunks, length=-1, **of_all
                    )
                    await client.send(counted + chunked)
                    assert [(await client.answer()).status for _ in range(2)] == [status] * 2


@here
async def test_many_kinds_of_accept(gateway: Running) -> None:
    """A client that invents a new Accept header each time would fill the memory, or be answered in another's type."""
    async with wire(gateway) as client:
        for number in range(300):
            newer = number % 2
            kind = GRAPHQL_RESPONSE if newer else "application/json"
            await client.send(request(gateway, f"Accept: {kind};a={number}", body=b'{"query":"{"}'))
            assert (await client.answer()).status == (400 if newer else 200)


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
    gateway.upstream.answer_headers = {
        "X-Upstream": "a",
        "X-Gateway-Would-Refuse": "b",
        "X-Request-Id": "c",
        "X-Gateway-Key-Expires": "d",
    }
    try:
        answer = await gateway.ask(token=gateway.user_token)
    finally:
        gateway.upstream.status = 200
        gateway.upstream.answer_headers = {}
    assert (answer.status, answer.header("X-Upstream")) == (418, "a")
    assert answer.header("X-Gateway-Would-Refuse") is None
    assert answer.header("X-Gateway-Key-Expires") is None
    assert (await line_of(gateway, answer))["status"] == 418
    assert json.loads(answer.body)["data"]["target"] == "/v4/gql"


# Memory ---------------------------------------------------------------------------------------------------------------


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


# What the log says ----------------------------------------------------------------------------------------------------


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


# Our own faults -------------------------------------------------------------------------------------------------------


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


# Waiting for nobody ---------------------------------------------------------------------------------------------------


async def test_an_upstream_that_is_away(tmp_path: Path) -> None:
    """A client would wait, or be answered by what is no answer, when the upstream is not there."""
    async with Held() as gone:
        pass
    async with running(tmp_path, upstream_url=gone.url) as gateway:
        for target, method, shape in (
            ("/v4/gql", "POST", "json; charset=utf-8"),
            ("/v2/users/me", "GET", "problem+json"),
        ):
            body = OWN if method == "POST" else b""
            answer = await gateway.ask(body, token=gateway.user_token, target=target, method=method)
            assert (answer.status, answer.reasons) == (502, ["upstream_unreachable"])
            assert answer.header("Content-Type") == f"application/{shape}"
            assert gone.url.removeprefix("http://") in (await line_of(gateway, answer))["cause"]
            assert gone.url.removeprefix("http://").encode() not in answer.body
