"""The decision: what the operation brings along and what its values bring, for either kind of caller."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.decision import Allow, Deny, Finding, Reason, Reported
from gateway.core.document import DocumentLimits
from gateway.core.judge import decide
from gateway.core.operation import analyse
from gateway.core.policy import Introspection, Options, Policy, UserScoping
from gateway.core.principal import KeyPrincipal, Principal, UserPrincipal
from gateway.core.schema import compile_policy
from tests.support.vectors import NEVER, OTHER_USER, OWN_APP, OWN_USER

SCHEMA = """
enum Scope { A B }
type Query {
  both(u: ID @ownUser(whenAbsent: SELF), a: ID @ownApp(whenAbsent: SELF)): Int
    @requiresScopes(scopes: [[A], [B]]) @userContext
  keys(f: [Form]): Thing @requiresScopes(scopes: [[A, B]])
  users: Int @userContext
}
type Thing { x: Int @requiresScopes(scopes: [[B]]) }
input Form { s: ID @closed }
"""
OTHER_APP = "5a0000000000000000000a02"


def policy(*, upstream: bool = True, report: bool = False, introspection: Introspection = Introspection.KEYS) -> Policy:
    """The policy under some settings: `eu` is the region whose upstream does or does not confine users."""
    scoping = {"eu": UserScoping.UPSTREAM if upstream else UserScoping.ARGUMENTS}
    return compile_policy(SCHEMA, Options(introspection, report=report, scoping=scoping))


def key(*scopes: str, region: str = "eu") -> KeyPrincipal:
    """An API key."""
    return KeyPrincipal("0123456789abcdef", OWN_APP, region, frozenset(scopes), NEVER)


def user(region: str = "eu") -> UserPrincipal:
    """A user token."""
    return UserPrincipal(OWN_USER, "0123456789abcdef", OWN_APP, region, NEVER)


def judged(policy: Policy, principal: Principal, query: str, variables: Mapping[str, Any] | None = None) -> Any:
    """The decision about an operation."""
    return decide(policy, principal, analyse(policy, query, None, DocumentLimits()), variables or {})


def reasons(decision: Any) -> list[tuple[str, str | None]]:
    """What a denial found."""
    return [(finding.reason.value, finding.coordinate) for finding in decision.findings] if decision != Allow() else []


@pytest.mark.parametrize(
    ("principal", "query", "expected"),
    [
        (key("A"), "{ both }", []),
        (key("B"), "{ both }", []),
        (key(), "{ both }", [("scope_missing", "Query.both")]),
        (key("A", "B"), "{ keys { x } }", []),
        (key("A"), "{ keys { x } }", [("scope_missing", "Query.keys"), ("scope_missing", "Thing.x")]),
        (key("B"), "{ a: keys { x } b: keys { x } }", [("scope_missing", "Query.keys")]),
        (key("A", "B"), "{ users }", [("field_closed", "Query.users")]),
        (key("A"), f'{{ both(u: "{OTHER_USER}") }}', []),
        (key("A"), f'{{ both(a: "{OTHER_APP}") }}', [("not_own_app", "Query.both(a:)")]),
        (key("A", "B"), "{ keys(f: {s: 1}) { x } }", [("field_closed", "Form.s")]),
        (user(), "{ both users }", []),
        (user(), f'{{ both(u: "{OTHER_USER}") }}', [("not_own_data", "Query.both(u:)")]),
        (user(), f'{{ both(a: "{OTHER_APP}") }}', [("not_own_app", "Query.both(a:)")]),
        (user(), f'{{ a: both(u: "{OTHER_USER}") b: both(u: "x") }}', [("not_own_data", "Query.both(u:)")] * 2),
        (user(), "{ keys { x } }", [("keys_only", "Query.keys"), ("keys_only", "Thing.x")]),
    ],
)
def test_either_caller(principal: Principal, query: str, expected: list[tuple[str, str]]) -> None:
    """A caller is judged by the rules of the other kind, or by a part of its own."""
    assert reasons(judged(policy(), principal, query)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"u": OWN_USER}, []),
        ({"u": OTHER_USER}, ["not_own_data"]),
        ({"u": None}, []),
        ({}, []),
        ({"w": OTHER_USER}, []),
    ],
)
def test_variables(value: dict[str, Any], expected: list[str]) -> None:
    """An operation is judged by other variables than those that were sent with it."""
    decision = judged(policy(), user(), "query ($u: ID) { both(u: $u) }", value)

    assert [reason for reason, _ in reasons(decision)] == expected


@pytest.mark.parametrize("region", ["eu", "us"])
def test_regions(region: str) -> None:
    """The upstream of one region is trusted because that of another one is."""
    trusted = region == "eu"
    left_out = [("not_own_data", "Query.both(u:)")]
    app = [("not_own_app", "Query.both(a:)")]

    assert reasons(judged(policy(), user(region), "{ both }")) == ([] if trusted else app + left_out)
    assert reasons(judged(policy(), key("A", region=region), "{ both }")) == ([] if trusted else app)
    assert reasons(judged(policy(upstream=False), user(), "{ users }")) == [("not_own_data", "Query.users")]


@pytest.mark.parametrize("principal", [user(), key("A", "B")])
@pytest.mark.parametrize("introspection", Introspection)
def test_who_is_told_what_is_unknown(principal: Principal, introspection: Introspection) -> None:
    """A caller without introspection learns which fields exist."""
    settings = policy(introspection=introspection)
    closed = settings.options.introspection.closed_to & (1 if isinstance(principal, KeyPrincipal) else 2)

    decision = judged(settings, principal, "{ nope }")

    assert isinstance(decision, Deny)
    assert decision.hide_unknown is bool(closed)
    assert [finding.reason for finding in decision.findings] == [Reason.FIELD_UNKNOWN]


def test_report_mode() -> None:
    """Report mode refuses what it should only report."""
    query = "{ keys { x } }"

    assert judged(policy(report=True), user(), query) == Reported(judged(policy(), user(), query))
    assert isinstance(judged(policy(report=True), key("A", "B"), "{ users }"), Deny)


def test_too_many_values() -> None:
    """One request holds everybody else up, or report mode lets it do so."""
    query = f"query ($f: [Form]) {{ keys(f: [{'$f ' * 200}]) {{ x }} }}"
    expected = Finding(Reason.BODY_TOO_LARGE, detail="Its arguments hold more values than are judged in one request.")

    decision = judged(policy(report=True), key("A", "B"), query, {"f": [{}] * 100})

    assert decision == Deny((expected,))
