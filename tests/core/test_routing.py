"""REST routes as a table: which rule a raw target falls under, and who may go through."""

from typing import Any

import pytest

from gateway.core.decision import Allow, Deny, Reason, Refused, Reported
from gateway.core.routing import MethodNotAllowed, RouteMatch, RouteRule, Routes, decide_route
from tests.support.vectors import OTHER_USER, OWN_USER, caller, rows, user

ROWS = rows("routes.yaml")

VENDOR = Routes(
    [
        RouteRule("POST", "/users/auth-code", frozenset({"USER_LINK"})),
        RouteRule("POST", "/v2/users/{install_id}/link", frozenset({"USER_LINK"})),
        RouteRule("DELETE", "/users/{user_id}", frozenset({"USER_DELETE"}), users=True, own_user="user_id"),
        RouteRule("GET", "/v2/users/me", keys=False, users=True),
        RouteRule("GET", "/v2/users/{user_id}", frozenset({"USER_READ"}), users=True, own_user="user_id"),
        RouteRule("GET", "/v2/users/{user_id}/{rest...}", frozenset({"USER_READ"}), users=True, own_user="user_id"),
        RouteRule("GET", "/v3/users/{user_id}/{rest...}", frozenset({"USER_READ"}), users=True, own_user="user_id"),
        RouteRule("GET", "/v2/segment_definitions", open=True),
        RouteRule("GET", "/v2/moment_definitions", open=True),
    ]
)
QUERIES = Routes(
    [
        RouteRule(
            "GET",
            "/events",
            frozenset({"USER_READ"}),
            users=True,
            query=frozenset({"user_id", "from"}),
            own_user_query="user_id",
        )
    ]
)


def outcome(routes: Routes, who: Any, method: str, target: str) -> str:
    """What becomes of a request, as one word."""
    try:
        decision = decide_route(routes.match(method, target), who)
    except Refused as refused:
        return refused.deny.findings[0].reason.value
    except MethodNotAllowed:
        return Reason.METHOD_NOT_ALLOWED.value
    return decision.findings[0].reason.value if isinstance(decision, Deny) else "allow"


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_vendor_routes(row: dict[str, Any]) -> None:
    """A route of the vendor's is open to somebody it must refuse, or closed to somebody it is for."""
    spec = row["caller"]
    who = None if spec == "none" else user(row["own"]) if "own" in row else caller(spec)

    assert outcome(VENDOR, who, row["method"], row["target"]) == row["expect"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"user_id={OWN_USER}", "allow"),
        (f"from=2019-03-22T00%3A00%3A00Z&user_id={OWN_USER}", "allow"),
        (f"user_id={OTHER_USER}", "not_own_data"),
        ("from=2019-03-22", "not_own_data"),
        (f"user_id={OWN_USER.upper()}", "not_own_data"),
        (f"user_id=%35{OWN_USER[1:]}", "not_own_data"),
        (f"user_id={OWN_USER}&user_id={OTHER_USER}", "parameter_unknown"),
        (f"user_id={OWN_USER};user_id={OTHER_USER}", "parameter_unknown"),
        (f"user%5Fid={OTHER_USER}&user_id={OWN_USER}", "parameter_unknown"),
        (f"user_id={OWN_USER}&", "parameter_unknown"),
        (f"user_id[]={OWN_USER}", "parameter_unknown"),
        (f"user_id={OWN_USER}#x", "parameter_unknown"),
        ("user_id", "parameter_unknown"),
        ("", "parameter_unknown"),
    ],
)
def test_own_user_in_the_query(query: str, expected: str) -> None:
    """A user token reads another user's data through a query parameter."""
    assert outcome(QUERIES, caller("user"), "GET", f"/events?{query}") == expected


def test_keys_may_name_any_user() -> None:
    """A key cannot read the users of its own app."""
    assert outcome(QUERIES, caller({"key": ["USER_READ"]}), "GET", f"/events?user_id={OTHER_USER}") == "allow"


def test_parameters() -> None:
    """A rule judges other values than the path holds."""
    match = VENDOR.match("GET", "/v3/users/abc/transports/1")

    assert match == RouteMatch(match.rule, {"user_id": "abc", "rest": "transports/1"}, {})
    assert match.rule.coordinate == "GET /v3/users/{user_id}/{rest...}"


def test_allowed_methods_are_named() -> None:
    """A client that used the wrong method is not told the right one."""
    with pytest.raises(MethodNotAllowed) as error:
        VENDOR.match("POST", "/v2/users/abc")

    assert error.value.allowed == "GET"


def test_report_mode() -> None:
    """An operator who only watches breaks clients, or does not see what would be refused."""
    match = VENDOR.match("GET", "/v2/users/abc")

    assert isinstance(decide_route(match, caller({"key": []}), report=True), Reported)
    assert decide_route(match, caller({"key": ["USER_READ"]}), report=True) == Allow()
