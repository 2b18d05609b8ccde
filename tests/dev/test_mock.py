"""The pretend upstream as a server."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway.dev.execute import SchemaFault
from gateway.dev.mock import Mock

SDL = "type Query { user(user_id: String): User } type User { id: String }"
VENDOR = (Path(__file__).parents[2] / "config" / "schema.graphql").read_text("utf-8")
MODERN = "application/graphql-response+json"


@pytest.fixture
async def mock() -> AsyncIterator[Mock]:
    """A pretend upstream of region eu."""
    made = await Mock.start(SDL, region="eu")
    yield made
    await made.stop()


async def ask(
    mock: Mock, query: str, headers: Mapping[str, str] | None = None, path: str = "/v4/gql"
) -> tuple[int, str, dict[str, Any]]:
    """Status, content type and JSON of a GraphQL answer."""
    url = mock.url + path
    async with ClientSession() as session, session.post(url, json={"query": query}, headers=headers) as got:
        return got.status, got.content_type, await got.json(content_type=None)


async def test_it_answers_with_data_and_with_what_the_gateway_told_it(mock: Mock) -> None:
    """A developer could not see who the gateway says is calling."""
    told = {"X-Gateway-Principal": "user", "X-GATEWAY-USER": "u-1", "X-Gateway-App": "a-1", "X-Other": "no"}
    assert await ask(mock, "{ user { id } }", told) == (
        200,
        "application/json",
        {
            "data": {"user": {"id": "u-1"}},
            "extensions": {
                "gateway": {"x-gateway-principal": "user", "x-gateway-user": "u-1", "x-gateway-app": "a-1"},
                "mock": {"region": "eu", "seed": 1},
            },
        },
    )


@pytest.mark.parametrize(
    ("query", "accept", "status", "content_type"),
    [
        ("{ user { id } }", "application/json", 200, "application/json"),
        ("{ user { id } }", MODERN, 200, MODERN),
        ("{ nothing }", "application/json", 200, "application/json"),
        ("{ nothing }", "*/*", 200, "application/json"),
        ("{ nothing }", f"{MODERN}, application/json;q=0.9", 400, MODERN),
    ],
)
async def test_a_document_that_is_wrong_is_answered_as_graphql_servers_do(
    mock: Mock, query: str, accept: str, status: int, content_type: str
) -> None:
    """A client library would meet statuses here that it does not meet elsewhere."""
    got = await ask(mock, query, {"Accept": accept})
    assert got[:2] == (status, content_type)
    assert ("errors" in got[2]) == ("nothing" in query)
    assert ("data" in got[2]) == ("nothing" not in query)


@pytest.mark.parametrize(
    ("method", "body", "status"), [("GET", b"", 405), ("PUT", b"", 405), ("POST", b"no", 400), ("POST", b"{}", 400)]
)
async def test_what_is_no_graphql_request_is_refused(mock: Mock, method: str, body: bytes, status: int) -> None:
    """A wrong request would end in a stack trace or in silence."""
    async with ClientSession() as session, session.request(method, f"{mock.url}/v4/gql", data=body) as got:
        assert got.status == status
        assert (await got.json())["errors"][0]["message"]
        assert got.headers.get("Allow") == ("POST" if status == 405 else None)


@pytest.mark.parametrize(
    ("path", "headers", "status", "member"),
    [
        ("/v4/gql", {"X-Mock-Status": "503"}, 503, "errors"),
        ("/v4/gql", {"X-Mock-Status": "201"}, 201, "data"),
        ("/v4/gql", {"X-Mock-Status": "1"}, 400, "errors"),
        ("/v2/users/me", {"X-Mock-Status": "429"}, 429, "errorCode"),
        ("/v2/users/me", {"X-Mock-Delay": "soon"}, 400, "errorCode"),
        ("/v2/users/u-1", {"X-Mock-Status": "202"}, 202, "id"),
    ],
)
async def test_an_ordered_status_is_answered_in_the_shape_of_its_path(
    mock: Mock, path: str, headers: dict[str, str], status: int, member: str
) -> None:
    """A client could not be tried against an upstream that fails."""
    method, body = ("POST", {"query": "{ user { id } }"}) if path == "/v4/gql" else ("GET", None)
    url = mock.url + path
    async with ClientSession() as session, session.request(method, url, json=body, headers=headers) as got:
        assert got.status == status
        assert member in await got.json()


async def test_rest_answers_show_the_identity_in_a_header(mock: Mock) -> None:
    """A developer could not see who the gateway says is calling a REST route."""
    headers = {"X-Gateway-Principal": "none", "X-Gateway-Region": "é"}
    async with ClientSession() as session:
        for path in ("/v2/moment_definitions", "/nowhere"):
            async with session.get(mock.url + path, headers=headers) as got:
                told = json.loads(got.headers["X-Mock-Identity"])
                assert told == {"x-gateway-principal": "none", "x-gateway-region": "é"}


async def test_another_path_can_be_the_graphql_path() -> None:
    """A newcomer's own API at /graphql could not be pretended."""
    mock = Mock(SDL, path="/graphql")
    await mock.listen("127.0.0.1", 0)
    try:
        assert (await ask(mock, "{ user { id } }", path="/graphql"))[0] == 200
        assert (await ask(mock, "{ user { id } }"))[0] == 404
    finally:
        await mock.stop()


async def test_a_reload_serves_the_new_schema_and_a_faulty_one_keeps_the_old(mock: Mock) -> None:
    """Saving a half-written schema would take the pretend upstream down."""
    with pytest.raises(SchemaFault, match="line 1"):
        mock.reload("type Query {")
    assert "data" in (await ask(mock, "{ user { id } }"))[2]
    mock.reload("type Query { order: String }")
    assert "data" in (await ask(mock, "{ order }"))[2]
    assert "errors" in (await ask(mock, "{ user { id } }"))[2]


async def test_seeds_make_worlds() -> None:
    """Two teams could not tell their pretend upstreams apart."""
    answers = []
    for seed in (1, 1, 2):
        mock = await Mock.start(SDL, seed=seed)
        answers.append((await ask(mock, "{ user { id } }"))[2]["data"])
        await mock.stop()
    assert answers[0] == answers[1] != answers[2]


async def test_a_port_in_use_is_said_and_leaves_nothing_behind(mock: Mock) -> None:
    """The developer would read of a missing upstream instead of a port that is taken."""
    port = int(mock.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="address already in use"):
        await Mock.start(SDL, port=port)


async def test_after_stop_the_port_is_free() -> None:
    """A restart on the same port would fail."""
    mock = await Mock.start(SDL)
    port = int(mock.url.rsplit(":", 1)[1])
    await mock.stop()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_its_url_is_right_for_ipv6_too() -> None:
    """The gateway would be given an address that no client can parse."""
    mock = await Mock.start(SDL, host="::1")
    try:
        assert mock.url.startswith("http://[::1]:")
        assert (await ask(mock, "{ user { id } }"))[0] == 200
    finally:
        await mock.stop()


async def test_the_vendors_schema_is_served_with_its_policy_in_it() -> None:
    """`gateway dev` would not start with the schema that comes with it."""
    mock = await Mock.start(VENDOR)
    try:
        status, _, answer = await ask(mock, '{ user(user_id: "u-9") { id } }')
    finally:
        await mock.stop()
    assert (status, answer["data"]) == (200, {"user": {"id": "u-9"}})


async def test_introspection_shows_the_schema_and_not_its_policy() -> None:
    """A tool would show the gateway's directives as if the API had them."""
    mock = await Mock.start(VENDOR)
    try:
        answer = (await ask(mock, "{ __schema { directives { name } queryType { name } } }"))[2]
    finally:
        await mock.stop()
    schema = answer["data"]["__schema"]
    assert schema["queryType"] == {"name": "Query"}
    assert {"skip", "include"} <= {directive["name"] for directive in schema["directives"]}
    assert "requiresScopes" not in {directive["name"] for directive in schema["directives"]}
