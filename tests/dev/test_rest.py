"""The REST routes of the pretend upstream."""

import json
import re

import pytest

from gateway.dev.data import Caller
from gateway.dev.execute import Message, run, schema_from
from gateway.dev.rest import Call, rest_answer

USER = "5a93deb3d8e7d90600001e6f"
ROUTES = [
    ("POST", "/users/auth-code", {"authentication_code", "expires_at"}),
    ("POST", "/v2/users/install-1/link", {"id"}),
    ("GET", "/v2/users/me", {"id", "type", "external_id", "install_id", "application_id", "created_at"}),
    ("GET", f"/v2/users/{USER}", {"id", "type", "external_id", "install_id", "application_id", "created_at"}),
    ("GET", f"/v2/users/{USER}/moments/current", {"user_id", "resource", "slice"}),
    ("GET", f"/v3/users/{USER}/profile", {"user_id", "resource", "slice"}),
]
UNKNOWN = [
    ("GET", "/"),
    ("GET", "/users/auth-code"),
    ("POST", "/v2/users/me"),
    ("GET", f"/v3/users/{USER}"),
    ("DELETE", f"/v2/users/{USER}"),
    ("DELETE", f"/users/{USER}/more"),
    ("POST", "/v2/users/a/b/link"),
    ("GET", "/v2/segment_definitions/"),
    ("PUT", "/users/auth-code"),
]


def call(method: str, path: str, body: bytes = b"", seed: int = 1, **identity: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    names = {name.replace("_", "-"): value for name, value in identity.items()}
    answer = rest_answer(Call(seed, method, path, names, body))
    return answer.status, answer.body


@pytest.mark.parametrize(("method", "path", "members"), ROUTES)
def test_each_route_answers_with_its_members(method: str, path: str, members: set[str]) -> None:
    """A backend written against the vendor's pages would miss a member."""
    status, body = call(method, path, x_gateway_user=USER)
    assert status == 200
    assert set(json.loads(body)) == members
    assert call(method, path, x_gateway_user=USER) == (status, body)


@pytest.mark.parametrize("path", ["/v2/segment_definitions", "/v2/moment_definitions"])
def test_catalogues_are_lists_of_different_definitions(path: str) -> None:
    """A catalogue would show one definition three times."""
    status, body = call("GET", path)
    definitions = json.loads(body)
    assert status == 200
    assert len({definition["id"] for definition in definitions}) == len(definitions) > 1


def test_a_deletion_is_answered_without_a_body() -> None:
    """A client that expects the documented empty body would try to read one."""
    assert call("DELETE", f"/users/{USER}") == (200, b"")


def test_an_authentication_code_has_its_form_and_differs_by_user() -> None:
    """Two users would be given the same code, or one that the SDK refuses."""
    one, two = (call("POST", "/users/auth-code", b'{"external_id":"%s"}' % name)[1] for name in (b"a", b"b"))
    assert one != two
    assert re.fullmatch(r"[0-9a-f]{128}", json.loads(one)["authentication_code"])


def test_me_is_the_user_the_gateway_vouched_for() -> None:
    """The gateway's identity headers could not be seen to work."""
    assert json.loads(call("GET", "/v2/users/me", x_gateway_user=USER)[1])["id"] == USER
    status, body = call("GET", "/v2/users/me", x_gateway_principal="key")
    assert (status, json.loads(body)["errorCode"]) == (404, "USER_NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_what_is_no_route_is_404_in_the_vendors_shape(method: str, path: str) -> None:
    """A client would meet an error body in the tests that it never meets in production."""
    status, body = call(method, path)
    assert status == 404
    assert set(json.loads(body)) == {"message", "errorCode", "ref"}


def test_a_user_is_the_same_over_rest_and_graphql() -> None:
    """The two ways to the same user would contradict each other."""
    schema = schema_from(
        "type Query { user(id: ID): User } type User { id: ID external_id: String created_at: String }"
    )
    query = f'{{ user(id: "{USER}") {{ id external_id created_at }} }}'
    data = run(schema, Message(query, {}, None), Caller(1)).members["data"]
    rest = json.loads(call("GET", f"/v2/users/{USER}")[1])
    assert data == {"user": {name: rest[name] for name in ("id", "external_id", "created_at")}}


def test_another_seed_is_another_world() -> None:
    """Two teams could not tell their pretend upstreams apart."""
    assert call("GET", f"/v2/users/{USER}", seed=1) != call("GET", f"/v2/users/{USER}", seed=2)
