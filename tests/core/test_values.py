"""Values as the upstream will have them: literals, variables, defaults, lists, objects, and whose they are."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, build_schema, execute, parse, parse_value
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.policy import FieldPolicy, Policy
from gateway.core.schema import compile_policy
from gateway.core.values import ABSENT, MAX_VALUES, Judgement, TooManyValues, Variables, literal
from tests.support.vectors import OTHER_USER, OWN_APP, OWN_USER

OTHER_APP = "5a0000000000000000000a02"
NOT_OWN_DATA, NOT_OWN_APP, CLOSED, KEYS_ONLY = "not_own_data", "not_own_app", "field_closed", "keys_only"


# Reading --------------------------------------------------------------------------------------------------------------


def variables(declared: str, sent: Mapping[str, Any]) -> Variables:
    """The variables of an operation that declares these."""
    definition = parse(f"query ({declared}) {{ a }}" if declared else "{ a }").definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    return Variables(sent, {node.variable.name.value: node for node in definition.variable_definitions or ()})


@pytest.mark.parametrize(
    ("text", "declared", "sent", "expected"),
    [
        ('"x"', "", {}, "x"),
        ('"""\n  x\n"""', "", {}, "x"),
        ('"\\u0078"', "", {}, "x"),
        ("null", "", {}, None),
        ("true", "", {}, True),
        ("[]", "", {}, []),
        ('["x", [null, true]]', "", {}, ["x", [None, True]]),
        ('{a: "x", b: {c: []}}', "", {}, {"a": "x", "b": {"c": []}}),
        ("{}", "", {}, {}),
        ("$v", "$v: ID", {"v": "x"}, "x"),
        ("$v", "$v: ID", {"v": None}, None),
        ("$v", "$v: ID", {"w": "x"}, ABSENT),
        ("$v", '$v: ID = "d"', {}, "d"),
        ("$v", '$v: ID = "d"', {"v": "x"}, "x"),
        ("$v", '$v: ID = "d"', {"v": None}, None),
        ("$v", "$v: ID = null", {}, None),
        ("$v", '$v: [I] = [{a: "d"}]', {}, [{"a": "d"}]),
        ("[$v]", "$v: ID", {}, [None]),
        ('["x", $v]', '$v: ID = "d"', {}, ["x", "d"]),
        ("[$v, $v]", '$v: [ID] = ["d"]', {}, [["d"], ["d"]]),
        ("{a: $v}", "$v: ID", {}, {}),
        ("{a: $v, b: $w}", "$v: ID, $w: ID", {"w": None}, {"b": None}),
        ("{a: [{b: $v}]}", "$v: ID", {"v": [1]}, {"a": [{"b": [1]}]}),
    ],
)
def test_values(text: str, declared: str, sent: dict[str, Any], expected: Any) -> None:
    """Another value is judged than the one that the upstream works with."""
    assert literal(parse_value(text), variables(declared, sent)) == expected


@pytest.mark.parametrize("text", ["5", "5.0", "5e93", "SELF", f"a{OWN_USER[1:]}"])
def test_what_is_no_id(text: str) -> None:
    """A number or an enum's member counts as an id because it is spelled like one."""
    value = literal(parse_value(text), variables("", {}))

    assert value is not ABSENT
    assert value not in (text, 5, 5.0, None, True, False)


_SDL = "type Query { f(a: [I], b: [I!] = null): Int } input I { s: ID, n: I, l: [ID] }"


def _really(schema: GraphQLSchema, query: str, sent: Mapping[str, Any]) -> Any:
    """The arguments as the executor has them, or None where it refuses them."""
    seen: list[dict[str, Any]] = []
    result = execute(
        schema,
        parse(query),
        variable_values=dict(sent),
        field_resolver=lambda _source, _info, **arguments: seen.append(arguments),
    )
    assert not isinstance(result, GraphQLError)
    return seen[0] if seen else None


_ITEMS = st.sampled_from(['"x"', "null", "$v", "$w", "[$v]", '["x", null]'])


@given(
    st.dictionaries(st.sampled_from("sl"), _ITEMS),
    st.sampled_from(["", ' = "d"', " = null"]),
    st.dictionaries(st.sampled_from("vw"), st.none() | st.just("s")),
)
def test_values_are_those_of_an_executor(members: dict[str, str], default: str, sent: dict[str, Any]) -> None:
    """Another value is judged than the one that an executor gives to its resolvers."""
    text = f"[{{{', '.join(f'{name}: {value}' for name, value in members.items())}}}]"
    declared = f"$v: ID{default}, $w: [ID]"
    really = _really(build_schema(_SDL), f"query ({declared}) {{ f(a: {text}) }}", sent)
    if really is None or "a" not in really:
        return

    judged = literal(parse_value(text), variables(declared, sent))

    assert [_as_lists(item) for item in judged] == [_as_lists(item) for item in really["a"]]


def _as_lists(item: Mapping[str, Any]) -> dict[str, Any]:
    """Coercion makes a list of a single value; for what may stand there it makes no difference."""
    return {name: list(_flat(value)) for name, value in item.items()}


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


# Judging --------------------------------------------------------------------------------------------------------------

SCHEMA = """
scalar Stamp @keysOnly
scalar Seal @closed
enum Level @requiresScopes(scopes: [[A], [B, C]]) @authenticated { LOW }
enum Rank @requiresScopes(scopes: [[A]]) { LOW }
enum Scope { A B C }
scalar JSON
type Query {
  one(u: ID @ownUser): Int @authenticated
  self(u: ID @ownUser(whenAbsent: SELF), v: ID @ownUser(whenAbsent: SELF)): Int @authenticated
  mine(u: ID @ownUser(whenAbsent: SELF)): Int @userContext
  bare: Int @userContext
  many(u: [ID] @ownUser): Int @authenticated
  grid(u: [[ID!]!]! @ownUser): Int @authenticated
  app(a: ID @ownApp): Int @authenticated
  selfApp(a: ID @ownApp(whenAbsent: SELF)): Int @authenticated
  staff(s: ID @keysOnly): Int @authenticated
  gone(s: ID @closed): Int @authenticated
  stamp(s: [Stamp]): Int @authenticated
  seal(s: Seal): Int @authenticated
  level(s: Level): Int @authenticated
  rank(s: Rank): Int @authenticated
  form(f: Form): Int @authenticated
  forms(f: [[Form]]): Int @authenticated
  page(p: Page): Int @authenticated
  loop(l: Loop): Int @authenticated
  free(k: Free): Int @authenticated
}
input Form { u: ID @ownUser, t: String }
input Page { f: Form, l: [Form], n: Int }
input Loop { a: ID @ownApp, next: Loop, other: Other }
input Other { loop: Loop }
input Free { s: ID @keysOnly, g: Seal, x: JSON, f: Free }
"""
POLICY: Policy = compile_policy(SCHEMA)


def judged(
    field: str,
    arguments: Mapping[str, Any],
    *,
    user: str | None = OWN_USER,
    scopes: frozenset[str] = frozenset(),
    strict: bool = False,
) -> list[tuple[str, str | None]]:
    """What is found about the arguments of one field."""
    policy = POLICY.fields["Query"][field]
    judgement = Judgement(POLICY.inputs, own_app=OWN_APP, own_user=user, scopes=scopes, strict=strict)
    judgement.field(policy, _given(policy, arguments), "path")
    assert all(finding.path == "path" for finding in judgement.findings)
    return [(finding.reason.value, finding.coordinate) for finding in dict.fromkeys(judgement.findings)]


def _given(policy: FieldPolicy, arguments: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(argument, arguments.get(name, ABSENT)) for name, argument in policy.arguments.items()]


class Strange:
    """A value of no kind that a message can hold."""

    def __repr__(self) -> str:
        return "strange"


NOBODY: list[Any] = [ABSENT, None]
SOMEBODY_ELSE: list[Any] = [
    OTHER_USER,
    "",
    OWN_USER.upper(),
    f" {OWN_USER}",
    5,
    True,
    False,
    0,
    {"eq": OWN_USER},
    Strange(),
]


@pytest.mark.parametrize("value", [*NOBODY, [], *SOMEBODY_ELSE, [OWN_USER], [[OWN_USER]]], ids=repr)
@pytest.mark.parametrize("field", ["one", "self"])
def test_single_values_of_others(field: str, value: Any) -> None:
    """A user token reaches the data of another user."""
    found = judged(field, {"u": value})
    left_to_the_upstream = field == "self" and any(value is nobody for nobody in NOBODY)

    assert found == ([] if left_to_the_upstream else [(NOT_OWN_DATA, f"Query.{field}(u:)")])


@pytest.mark.parametrize(
    "value",
    [
        *NOBODY,
        [],
        [[]],
        [None],
        [OWN_USER, None],
        [OWN_USER, OTHER_USER],
        [OTHER_USER, OWN_USER],
        [[OWN_USER], []],
        *SOMEBODY_ELSE,
    ],
    ids=repr,
)
@pytest.mark.parametrize("field", ["many", "grid"])
def test_lists_of_others(field: str, value: Any) -> None:
    """A user token reaches the data of another user by a list."""
    assert judged(field, {"u": value}) == [(NOT_OWN_DATA, f"Query.{field}(u:)")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("one", OWN_USER),
        ("self", OWN_USER),
        ("many", OWN_USER),
        ("many", [OWN_USER]),
        ("many", [OWN_USER, OWN_USER]),
        ("grid", [[OWN_USER], [OWN_USER, OWN_USER]]),
        ("grid", OWN_USER),
    ],
    ids=repr,
)
def test_own_values(field: str, value: Any) -> None:
    """A user token does not reach the data of its own user."""
    assert judged(field, {"u": value}) == []
    assert judged(field, {"u": value}, strict=True) == []


@pytest.mark.parametrize("value", [*NOBODY, [], *SOMEBODY_ELSE], ids=repr)
def test_keys_name_any_user(value: Any) -> None:
    """An API key cannot name the users of its app."""
    assert judged("one", {"u": value}, user=None) == []
    assert judged("many", {"u": value}, user=None, strict=True) == []


@pytest.mark.parametrize(
    ("field", "arguments", "expected"),
    [
        ("self", {}, ["Query.self(u:)", "Query.self(v:)"]),
        ("self", {"u": None, "v": None}, ["Query.self(u:)", "Query.self(v:)"]),
        ("self", {"u": OWN_USER}, []),
        ("self", {"v": OWN_USER}, []),
        ("self", {"u": OTHER_USER}, ["Query.self(u:)", "Query.self(v:)"]),
        ("mine", {}, ["Query.mine(u:)"]),
        ("mine", {"u": OWN_USER}, []),
        ("bare", {}, ["Query.bare"]),
        ("staff", {}, []),
    ],
)
def test_where_arguments_alone_confine_users(field: str, arguments: dict[str, Any], expected: list[str]) -> None:
    """An upstream that does not know the caller answers a user with the data of others."""
    assert judged(field, arguments, strict=True) == [(NOT_OWN_DATA, coordinate) for coordinate in expected]
    assert judged(field, arguments, strict=True, user=None) == []


@pytest.mark.parametrize("user", [OWN_USER, None])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("value", [ABSENT, None, OWN_APP, OTHER_APP, OWN_APP.upper(), 5, [OWN_APP], []], ids=repr)
def test_own_app(value: Any, strict: bool, user: str | None) -> None:
    """A credential reaches the data of another app."""
    nothing = value is ABSENT or value is None

    refused = judged("app", {"a": value}, user=user, strict=strict)
    relaxed = judged("selfApp", {"a": value}, user=user, strict=strict)

    assert refused == ([] if value == OWN_APP else [(NOT_OWN_APP, "Query.app(a:)")])
    open_to_the_upstream = nothing and not strict
    assert relaxed == ([] if value == OWN_APP or open_to_the_upstream else [(NOT_OWN_APP, "Query.selfApp(a:)")])


@pytest.mark.parametrize("value", [None, "x", [], ["x"], {}], ids=repr)
@pytest.mark.parametrize(
    ("field", "user", "scopes", "found"),
    [
        ("staff", OWN_USER, "", (KEYS_ONLY, "Query.staff(s:)")),
        ("staff", None, "", None),
        ("gone", OWN_USER, "", (CLOSED, "Query.gone(s:)")),
        ("gone", None, "ABC", (CLOSED, "Query.gone(s:)")),
        ("stamp", OWN_USER, "", (KEYS_ONLY, "Stamp")),
        ("stamp", None, "", None),
        ("seal", OWN_USER, "", (CLOSED, "Seal")),
        ("seal", None, "ABC", (CLOSED, "Seal")),
        ("level", OWN_USER, "", None),
        ("level", None, "", ("scope_missing", "Level")),
        ("level", None, "B", ("scope_missing", "Level")),
        ("level", None, "BC", None),
        ("rank", OWN_USER, "", (KEYS_ONLY, "Rank")),
        ("rank", None, "BC", ("scope_missing", "Rank")),
        ("rank", None, "A", None),
    ],
)
def test_supplied_values(value: Any, field: str, user: str | None, scopes: str, found: tuple[str, str] | None) -> None:
    """A value passes that is closed to whoever supplies it, or one is missed that nobody supplied."""
    assert judged(field, {"s": value}, user=user, scopes=frozenset(scopes)) == ([found] if found else [])
    assert judged(field, {}, user=user, scopes=frozenset(scopes)) == []


@pytest.mark.parametrize(
    ("field", "arguments", "expected"),
    [
        ("form", {"f": {"u": OWN_USER, "t": "x"}}, []),
        ("form", {"f": {"u": OTHER_USER}}, [(NOT_OWN_DATA, "Form.u")]),
        ("form", {"f": {"t": OTHER_USER}}, [(NOT_OWN_DATA, "Form.u")]),
        ("form", {"f": {"u": None}}, [(NOT_OWN_DATA, "Form.u")]),
        ("form", {"f": {}}, [(NOT_OWN_DATA, "Form.u")]),
        ("form", {"f": None}, [(NOT_OWN_DATA, "Query.form(f:)")]),
        ("form", {}, [(NOT_OWN_DATA, "Query.form(f:)")]),
        ("form", {"f": []}, [(NOT_OWN_DATA, "Query.form(f:)")]),
        ("form", {"f": "x"}, [(NOT_OWN_DATA, "Query.form(f:)")]),
        ("form", {"f": {"u": OWN_USER, "other": 1}}, [("argument_unknown", "Form.other")]),
        ("forms", {"f": [[{"u": OWN_USER}], [{"u": OWN_USER}, {"u": OWN_USER}]]}, []),
        ("forms", {"f": {"u": OWN_USER}}, []),
        ("forms", {"f": [[{"u": OWN_USER}], [{"u": OTHER_USER}]]}, [(NOT_OWN_DATA, "Form.u")]),
        ("forms", {"f": [[{"u": OWN_USER}], []]}, [(NOT_OWN_DATA, "Query.forms(f:)")]),
        ("forms", {"f": [[{"u": OWN_USER}, None]]}, [(NOT_OWN_DATA, "Query.forms(f:)")]),
        ("forms", {"f": [[{"u": OWN_USER}, 5]]}, [(NOT_OWN_DATA, "Query.forms(f:)")]),
        ("forms", {"f": []}, [(NOT_OWN_DATA, "Query.forms(f:)")]),
        ("page", {"p": {"f": {"u": OWN_USER}, "l": [{"u": OWN_USER}]}}, []),
        ("page", {"p": {"f": {"u": OWN_USER}, "l": []}}, [(NOT_OWN_DATA, "Page.l")]),
        ("page", {"p": {"f": {"u": OWN_USER}}}, [(NOT_OWN_DATA, "Page.l")]),
        ("page", {"p": {"n": 1}}, [(NOT_OWN_DATA, "Page.f"), (NOT_OWN_DATA, "Page.l")]),
        ("loop", {"l": {"a": OWN_APP, "other": {"loop": {"a": OWN_APP}}}}, []),
        ("loop", {"l": {"a": OWN_APP, "other": {"loop": {"a": OTHER_APP}}}}, [(NOT_OWN_APP, "Loop.a")]),
        ("loop", {"l": {"a": OWN_APP, "next": {"a": OTHER_APP, "other": {}}, "other": {}}}, [(NOT_OWN_APP, "Loop.a")]),
        ("loop", {"l": {"a": OWN_APP, "next": {"a": OWN_APP}, "other": {}}}, [(NOT_OWN_APP, "Loop.other")]),
        ("loop", {"l": {"a": OWN_APP, "other": {}}}, []),
        ("loop", {"l": None}, [(NOT_OWN_APP, "Query.loop(l:)")]),
        ("free", {"k": {"x": {"s": 1, "g": 2}}}, []),
        ("free", {"k": {"f": {"f": {"s": "x"}}}}, [(KEYS_ONLY, "Free.s")]),
        ("free", {"k": {"f": {"g": None}}}, [(CLOSED, "Seal")]),
        ("free", {}, []),
        ("free", {"k": None}, []),
    ],
)
def test_input_objects(field: str, arguments: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """A value is passed inside an input object that would be refused as an argument."""
    assert sorted(judged(field, arguments)) == sorted(expected)


def test_input_objects_of_keys() -> None:
    """A key is held to what concerns users alone, or not to what concerns its app."""
    assert judged("form", {"f": {}}, user=None) == []
    assert judged("free", {"k": {"s": "x"}}, user=None) == []
    assert judged("loop", {"l": {"other": {}}}, user=None) == [(NOT_OWN_APP, "Loop.a")]


@pytest.mark.parametrize(
    ("field", "argument", "value"),
    [
        ("many", "u", [OWN_USER] * MAX_VALUES),
        ("many", "u", [[OWN_USER] * 100] * 100),
        ("forms", "f", [{}] * MAX_VALUES),
        ("forms", "f", [[]] * MAX_VALUES),
        ("loop", "l", {"next": [{"a": OWN_APP}] * MAX_VALUES}),
        ("loop", "l", {f"unknown{number}": 1 for number in range(MAX_VALUES)}),
    ],
)
def test_values_are_counted(field: str, argument: str, value: Any) -> None:
    """A long list that is used at many places holds everybody else up for minutes."""
    with pytest.raises(TooManyValues):
        judged(field, {argument: value})


def test_a_usual_number_of_values() -> None:
    """A client that names a few thousand values at once is refused."""
    assert judged("many", {"u": [OWN_USER] * (MAX_VALUES // 2)}) == []


def test_defaults_are_read_once() -> None:
    """A long default that is used at many places holds everybody else up."""
    known = variables('$v: [ID] = ["x"]', {})

    assert known.value("v") is known.value("v")
