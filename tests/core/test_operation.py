"""What an operation touches, by whichever way it gets there, and what that demands of either kind of caller."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.decision import Deny, Finding, Refused
from gateway.core.document import DocumentLimits
from gateway.core.judge import decide
from gateway.core.operation import Operation, analyse
from gateway.core.policy import Introspection, Options, Policy
from gateway.core.schema import compile_policy
from tests.support.vectors import OWN_USER, caller, user

SCHEMA = """
directive @trace(label: String) on FIELD
enum Scope { A B }
scalar Seal @closed
interface Lobby { me: Person }
type Query implements Lobby {
  me: Person @authenticated
  users: Person @userContext
  keys: Person @requiresScopes(scopes: [[A]])
  shared: Person @requiresScopes(scopes: [[A]]) @userContext
  thing: Thing @authenticated
  named: Named @authenticated
  lobby: Lobby @authenticated
  count(of: Int, u: ID @ownUser, s: Seal): Int @authenticated
  mine: Int @userContext
  shut: Person @closed
  undecided: Person
}
type Mutation { write: Person @authenticated  root: Query @authenticated }
interface Named { name: String by: String }
type Person implements Named {
  name: String
  by(u: ID @ownUser): String
  friend: Person
  home: Query
  secret: String @keysOnly
  seal: Seal
}
type Staff implements Named @requiresScopes(scopes: [[B]]) { name: String by: String salary: Int }
union Thing = Person | Staff | Query
"""
POLICY = compile_policy(SCHEMA)
CLOSED, KEYS, UNKNOWN, INVALID = "field_closed", "keys_only", "field_unknown", "document_invalid"


def read(query: str, policy: Policy = POLICY, name: str | None = None) -> Operation:
    """The operation in a document, with its trace."""
    return analyse(policy, query, name, DocumentLimits(), trace=True)


def under(**options: Any) -> Policy:
    """The policy under other settings."""
    return replace(POLICY, options=Options(**options))


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str | None]]:
    """Findings as pairs."""
    return [(finding.reason.value, finding.coordinate) for finding in findings]


Pairs = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("query", "key", "user", "demands"),
    [
        ("{ me { name } }", [], [], []),
        ("mutation { write { name } }", [], [], []),
        ("{ users { name } }", [(CLOSED, "Query.users")], [], []),
        ("{ keys { name } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        ("{ shared { name } }", [], [], ["Query.shared"]),
        ("{ shut { name } }", [(CLOSED, "Query.shut")], [(CLOSED, "Query.shut")], []),
        ("{ undecided { name } }", [(CLOSED, "Query.undecided")], [(CLOSED, "Query.undecided")], []),
        ("{ me { secret } }", [], [(KEYS, "Person.secret")], []),
        ("{ me { seal } }", [(CLOSED, "Seal")], [(CLOSED, "Seal")], []),
        # An alias, and conditions, change nothing.
        ("{ name: keys { id: name } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        ("{ keys @skip(if: true) { name @include(if: false) } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        # The way does not matter.
        ("{ ... { keys { name } } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        ("{ ... on Query { keys { name } } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        ("{ ...F } fragment F on Query { keys { name } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        (
            "{ ...F } fragment F on Query { ...G ...G } fragment G on Query { keys { name } }",
            [],
            [(KEYS, "Query.keys")],
            ["Query.keys"],
        ),
        ("{ thing { ... on Query { keys { name } } } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        ("mutation { root { keys { name } } }", [], [(KEYS, "Query.keys")], ["Query.keys"]),
        ("mutation { root { shut { name } } }", [(CLOSED, "Query.shut")], [(CLOSED, "Query.shut")], []),
        (
            "{ lobby { ... on Query { undecided { name } } } }",
            [(CLOSED, "Query.undecided")],
            [(CLOSED, "Query.undecided")],
            [],
        ),
        # Types carry marks of their own.
        ("{ thing { ... on Staff { __typename } } }", [], [(KEYS, "Staff")], ["Staff"]),
        ("{ named { name } }", [], [(KEYS, "Staff")], ["Staff"]),
        ("{ named { ... on Person { name } } }", [], [], []),
        ("{ named { __typename } thing { __typename } }", [], [], []),
        # One way is shut to keys, the other to nobody: what stands below is looked at for each.
        (
            "{ users { ...F } me { ...F } } fragment F on Person { secret }",
            [(CLOSED, "Query.users")],
            [(KEYS, "Person.secret")],
            [],
        ),
        (
            "{ me { ...F } users { ...F } } fragment F on Person { secret }",
            [(CLOSED, "Query.users")],
            [(KEYS, "Person.secret")],
            [],
        ),
        ("{ users { home { users { name } } } }", [(CLOSED, "Query.users")], [], []),
        # What does not exist, and what does not fit.
        ("{ nope }", [(UNKNOWN, "Query.nope")], [(UNKNOWN, "Query.nope")], []),
        ("{ me { nope { deeper } } }", [(UNKNOWN, "Person.nope")], [(UNKNOWN, "Person.nope")], []),
        ("{ thing { name } }", [(UNKNOWN, "Thing.name")], [(UNKNOWN, "Thing.name")], []),
        (
            "mutation { __schema { types { name } } }",
            [(UNKNOWN, "Mutation.__schema")],
            [(UNKNOWN, "Mutation.__schema")],
            [],
        ),
        ("{ me { ... on Query { me { name } } } }", [(INVALID, "Query")], [(INVALID, "Query")], []),
        (
            "{ me { ...F } } fragment F on Mutation { write { name } }",
            [(INVALID, "Mutation")],
            [(INVALID, "Mutation")],
            [],
        ),
        ("{ me }", [(INVALID, "Query.me")], [(INVALID, "Query.me")], []),
        ("{ me { name { first } } }", [(INVALID, "Person.name")], [(INVALID, "Person.name")], []),
        (
            "{ count(nope: 1) }",
            [("argument_unknown", "Query.count(nope:)")],
            [("argument_unknown", "Query.count(nope:)")],
            [],
        ),
        ("{ __typename }", [], [], []),
        (
            "{ __typename(a: 1) }",
            [("argument_unknown", "Query.__typename(a:)")],
            [("argument_unknown", "Query.__typename(a:)")],
            [],
        ),
        ("{ __typename { a } }", [(INVALID, "Query.__typename")], [(INVALID, "Query.__typename")], []),
        # Introspection.
        ("{ __schema { types { name } } }", [], [("introspection_closed", "Query.__schema")], []),
        (
            '{ __type(name: "Query") { nope } }',
            [(UNKNOWN, "__Type.nope")],
            [("introspection_closed", "Query.__type"), (UNKNOWN, "__Type.nope")],
            [],
        ),
        (
            "{ __schema }",
            [(INVALID, "Query.__schema")],
            [("introspection_closed", "Query.__schema"), (INVALID, "Query.__schema")],
            [],
        ),
        ("mutation { root { a: __schema { types { name } } } }", [], [("introspection_closed", "Query.__schema")], []),
    ],
)
def test_what_is_demanded(query: str, key: Pairs, user: Pairs, demands: list[str]) -> None:
    """There is a way to a field by which it is judged otherwise, or not at all."""
    operation = read(query)

    assert told(operation.key_findings) == key
    assert told(operation.user_findings) == user
    assert [demand.need.coordinate for demand in operation.demands] == demands


@pytest.mark.parametrize("introspection", Introspection)
def test_introspection(introspection: Introspection) -> None:
    """The schema is shown to a caller to whom introspection is closed, or hidden from one to whom it is open."""
    operation = read("{ me { name } a: __schema { types { name } } }", under(introspection=introspection))
    closed = [("introspection_closed", "Query.__schema")]

    assert told(operation.key_findings) == (closed if introspection is Introspection.NONE else [])
    assert told(operation.user_findings) == ([] if introspection is Introspection.ALL else closed)


@pytest.mark.parametrize(
    ("query", "key", "user"),
    [
        ("{ me { name } }", [], []),
        ("{ count }", ["Query.count(s:)"], ["Query.count(u:)", "Query.count(s:)"]),
        ("{ count(of: 1) }", ["Query.count(s:)"], ["Query.count(u:)", "Query.count(s:)"]),
        ("{ mine }", [], [None]),
        ("{ me { by } }", [], ["Person.by(u:)"]),
        ("{ named { by } }", [], ["Person.by(u:)"]),
        ("{ shut { by } }", [], []),
    ],
)
def test_which_values_are_judged(query: str, key: list[str], user: list[str | None]) -> None:
    """A value is not judged, or is missed where an implementation alone has the argument."""

    def coordinates(values: Any) -> list[str | None]:
        return [argument.coordinate for given in values for argument, _ in given.arguments] or [None for _ in values]

    operation = read(query)

    assert coordinates(operation.key_values) == key
    assert coordinates(operation.user_values) == user


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("subscription { a }", "operation_unsupported"),
        ("query ($a: Person) { me { name } }", INVALID),
        ("query ($a: Nope) { me { name } }", INVALID),
        ("query ($a: [[Named!]!]!) { me { name } }", INVALID),
        ("{ me { name } } fragment F on Nope { a }", INVALID),
        ("{ me { ... on ID { a } } }", INVALID),
        ("{ shut { ... on Seal { a } } }", INVALID),
        ("{ me { name @trace } }", None),
        ("{ me { name @trace(label: 1) } }", None),
        ("{ me { name @closed } }", INVALID),
        ("{ me { name @deprecated } }", INVALID),
        ("{ me @trace(nope: 1) { name } }", "argument_unknown"),
        ("query ($a: [[ID!]!]!) { count(u: $a) }", None),
        ("{", INVALID),
    ],
)
def test_documents_at_fault(query: str, expected: str | None) -> None:
    """A document that does not fit the schema is run, or one that fits is refused."""
    try:
        read(query)
        refused = None
    except Refused as error:
        refused = error.deny.findings[0].reason.value

    assert refused == expected


def test_a_root_that_the_schema_does_not_have() -> None:
    """A mutation of a schema without mutations ends in a fault of ours."""
    policy = compile_policy("type Query { a: Int @authenticated }")

    with pytest.raises(Refused) as caught:
        read("mutation { a }", policy)
    assert caught.value.deny.findings[0].reason.value == "operation_unsupported"


def test_how_logs_name_it() -> None:
    """An operator sees another operation in the log than the one that ran."""
    operation = read(
        "query A { me { name } } query B { ...F x: count count } fragment F on Query { me { name } }", name="B"
    )

    assert operation.names == {"operation": "B", "type": "query", "root_fields": ("count", "me")}
    assert (operation.kind, operation.name) == ("query", "B")
    assert read("mutation { write { name } }").names == {
        "operation": None,
        "type": "mutation",
        "root_fields": ("write",),
    }


def test_the_trace() -> None:
    """What explains a decision leaves a field out, or whoever remembers operations pays for it."""
    query = "{ a: me { ...F b: name } __typename nope } fragment F on Person { friend { name } }"

    operation = read(query)

    assert [(touch.path, touch.coordinate) for touch in operation.touched] == [
        ("a", "Query.me"),
        ("__typename", "Query.__typename"),
        ("nope", "Query.nope"),
        ("a.b", "Person.name"),
        ("a.friend", "Person.friend"),
        ("a.friend.name", "Person.name"),
    ]
    assert [touch.policy is None for touch in operation.touched] == [False, True, True, False, False, False]
    assert analyse(POLICY, query, None, DocumentLimits()).touched == ()


def test_paths_are_cut() -> None:
    """A long alias above a thousand fields becomes a thousand long paths."""
    operation = read(f"{{ {'a' * 5_000}: me {{ {'b' * 5_000}: nope }} }}")

    assert [finding.path for finding in operation.key_findings] == [f"{'a' * 80}.{'b' * 80}"]


@pytest.mark.parametrize(
    ("query", "forwarded"),
    [
        ("{ me { nope } }", True),
        ("{ me { a: nope @skip(if: true) } }", True),
        ("{ me { ...F } } fragment F on Person { friend { nope } }", True),
        ("{ nope }", False),
        ("{ ... on Query { nope } }", False),
        ("{ ... on Lobby { nope } }", False),
        ("{ ... on Lobby { shut } }", False),
        ("{ lobby { nope } }", False),
        ("{ lobby { __schema } }", False),
        ("{ me { __type } }", False),
        ("mutation { nope }", False),
        ("{ thing { nope } }", False),
        ("{ named { nope } }", False),
        ("{ named { ... on Person { nope } } }", True),
        ("{ named { friend } }", False),
        ("{ me { nope(a: 1) } }", False),
        ("{ me { nope { a } } }", False),
        ("{ me { nope } nope }", False),
    ],
)
def test_forwarding_what_is_unknown(query: str, forwarded: bool) -> None:
    """A key reaches, as an unknown field, one that nobody has opened to it."""
    operation = read(query, under(forward_unknown_fields=True))

    assert (told(operation.key_findings) == []) is forwarded
    assert UNKNOWN in [reason for reason, _ in told(operation.user_findings)]


@pytest.mark.parametrize(
    ("query", "firm"),
    [
        ("{ nope }", True),
        ("{ ... on Lobby { nope } }", True),
        ("{ ... on Lobby { shut { name } } }", True),
        ("{ lobby { nope } }", True),
        ("{ thing { nope } }", True),
        ("{ named { secret } }", True),
        ("{ me { __schema { types { name } } } }", True),
        ("{ me { nope { __schema { types { name } } } } }", True),
        ("{ me { nope } }", False),
        ("{ me { nope { deeper } } }", False),
        ("{ named { nope } }", False),
    ],
)
def test_what_report_mode_never_lets_pass(query: str, firm: bool) -> None:
    """Report mode lets a closed field pass under the name of an unknown one."""
    operation = read(query, under(report=True))

    assert any(finding.firm for finding in operation.key_findings) is firm
    assert any(finding.firm for finding in operation.user_findings) is firm


def test_report_mode_looks_below_what_is_unknown() -> None:
    """Report mode lets a closed field pass because it stands below an unknown one."""
    query = "{ me { nope { ... on Query { shut { name } } ... { deeper } ...F } } } fragment F on Person { seal }"

    closed = [(CLOSED, "Query.shut"), (CLOSED, "Seal")]
    assert set(closed) <= set(told(read(query, under(report=True)).user_findings))
    assert told(read(query).user_findings) == [(UNKNOWN, "Person.nope")]


_FRAGMENT = "fragment F on Person { secret friend { secret } }"


@pytest.mark.parametrize(
    "query",
    [
        "{ <> }",
        "{ <> { name } }",
        "{ <>(a: 1) { name } }",
        "{ <> { nope seal secret by(u: 1) friend } }",
        "{ <> { ... on Query { shut { name } } ... on Staff { salary } } }",
        f"{{ <> {{ ...F }} }} {_FRAGMENT}",
        f"{{ <> {{ ...F }} me {{ ...F }} }} {_FRAGMENT}",
        f"{{ me {{ ...F }} <> {{ ...F }} }} {_FRAGMENT}",
        f"{{ me {{ name }} x: <> {{ a: friend {{ ...F }} }} me {{ ...F }} }} {_FRAGMENT}",
        "{ <> { ... on Query { count(u: $v) __schema { types { name } } } } }",
        "{ ... on Query { <> { __typename } } __schema { types { name } } }",
    ],
)
@pytest.mark.parametrize("introspection", [Introspection.NONE, Introspection.KEYS])
def test_closed_and_unknown_are_told_alike(query: str, introspection: Introspection) -> None:
    """A caller without introspection learns by asking which fields exist."""
    policy = under(introspection=introspection)
    callers = [user(OWN_USER)] if introspection is Introspection.KEYS else [user(OWN_USER), caller({"key": []})]
    head = "query ($v: [ID])" if "$v" in query else ""
    sent = {"v": [OWN_USER] * 20_000}

    def answer(field: str, principal: Any) -> list[tuple[Any, ...]]:
        operation = analyse(policy, head + query.replace("<>", field), None, DocumentLimits())
        decision = decide(policy, principal, operation, sent)
        assert isinstance(decision, Deny)
        return sorted(
            (finding.reason.value, str(finding.coordinate).replace(field, "<>"), finding.scopes, finding.detail)
            for finding in decision.public
        )

    for principal in callers:
        assert answer("shut", principal) == answer("undecided", principal) == answer("nope", principal)
