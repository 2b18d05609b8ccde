"""The REST routes beside the GraphQL path, as the pretend upstream answers them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.dev.misbehave import Answer
from gateway.dev.values import Node, hexadecimal, instant, key_of, scalar, uuid


@dataclass(frozen=True, slots=True)
class Call:
    """A REST request, as far as answers depend on it."""

    seed: int
    method: str
    path: str
    identity: Mapping[str, str]
    body: bytes = b""

    def node(self, type_name: str, *parts: object) -> Node:
        """The object of that type which the parts name."""
        return Node(type_name, key_of(self.seed, type_name, *parts))


def rest_answer(call: Call) -> Answer:
    """The answer to a REST request; 404 with the vendor's error members for a route that does not exist."""
    for method, pattern, answer in ROUTES:
        matched = pattern.fullmatch(call.path)
        if method == call.method and matched:
            return answer(call, *matched.groups())
    return error(call, 404, "NOT_FOUND", f"Nothing answers {call.method} at this path.")


def error(call: Call, status: int, code: str, message: str) -> Answer:
    """An error with the members `message`, `errorCode` and `ref`, as the vendor's REST routes give it."""
    ref = uuid(call.node("Error", call.method, call.path, status), "ref")
    return _json({"message": message, "errorCode": code, "ref": ref}, status)


def _json(value: object, status: int = 200) -> Answer:
    return Answer(json.dumps(value, separators=(",", ":")).encode(), status)


def _fields(node: Node, *names: str) -> dict[str, object]:
    return {name: scalar(node, name, "String") for name in names}


def _auth_code(call: Call) -> Answer:
    node = call.node("AuthCode", call.body.decode("utf-8", "replace"))
    code = hexadecimal(node, "authentication_code", 128)
    return _json({"authentication_code": code, "expires_at": instant(node, "expires_at")})


def _link(call: Call, install_id: str) -> Answer:
    return _json({"id": hexadecimal(call.node("User", install_id), "id", 24)})


def _delete(_call: Call, _user_id: str) -> Answer:
    return Answer(b"")


def _me(call: Call) -> Answer:
    user_id = call.identity.get("x-gateway-user")
    return _user(call, user_id) if user_id else error(call, 404, "USER_NOT_FOUND", "The credential names no user.")


def _user(call: Call, user_id: str) -> Answer:
    node = call.node("User", user_id)
    return _json({"id": user_id, **_fields(node, "type", "external_id", "install_id", "application_id", "created_at")})


def _below_user(call: Call, user_id: str, what: str) -> Answer:
    family = call.node("Event", user_id, what).key
    slices = [_fields(Node("Event", family, index), "id", "start", "end") for index in range(2)]
    return _json({"user_id": user_id, "resource": what, "slice": slices})


def _definitions(type_name: str) -> Callable[[Call], Answer]:
    names = ("id", "type", "category", "display_name", "description")

    def answer(call: Call) -> Answer:
        family = call.node(type_name).key
        return _json([_fields(Node(type_name, family, index), *names) for index in range(3)])

    return answer


# The first match decides; a literal segment therefore stands before a template.
ROUTES: Final[tuple[tuple[str, re.Pattern[str], Callable[..., Answer]], ...]] = tuple(
    (method, re.compile(pattern), answer)
    for method, pattern, answer in (
        ("POST", r"/users/auth-code", _auth_code),
        ("POST", r"/v2/users/([^/]+)/link", _link),
        ("DELETE", r"/users/([^/]+)", _delete),
        ("GET", r"/v2/users/me", _me),
        ("GET", r"/v2/users/([^/]+)", _user),
        ("GET", r"/v[23]/users/([^/]+)/(.+)", _below_user),
        ("GET", r"/v2/segment_definitions", _definitions("SegmentDefinition")),
        ("GET", r"/v2/moment_definitions", _definitions("MomentDefinition")),
    )
)
