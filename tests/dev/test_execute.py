"""From an SDL to a schema, and from a message to a result."""

import json

import pytest
from graphql import GraphQLObjectType

from gateway.dev.data import Caller
from gateway.dev.execute import BadMessage, Message, SchemaFault, message_from, run, schema_from

QUERY = "type Query { shelf(limit: Int): [Book!]!  book(id: ID!): Book  cover: Cover! }\n"
SDL = QUERY + "type Book { id: ID  title: String }\ninterface Cover { id: ID }"


@pytest.mark.parametrize(
    "annotated",
    [
        "type Query { a(user_id: String @ownUser(whenAbsent: SELF)): String @requiresScopes(scopes: [[USER_READ]]) }",
        "type Query @authenticated { a: T @userContext @cost(weight: 2) } type T @keysOnly { b: Int @closed }",
        "directive @requiresScopes(scopes: [[Scope!]!]!) on FIELD_DEFINITION\ntype Query { a: Int }",
        "directive @requiresScopes(scopes: [[Scope]]) on FIELD_DEFINITION enum Scope { A }\ntype Query { a: Int }",
        'extend schema @link(url: "https://specs.example.com/v1", import: ["@tag"])\ntype Query { a: Int @tag }',
    ],
)
def test_a_schema_needs_no_definitions_of_its_policy(annotated: str) -> None:
    """The file that the gateway accepts would stop the pretend upstream from starting."""
    query = schema_from(annotated).query_type
    assert isinstance(query, GraphQLObjectType)
    assert "a" in query.fields


def test_directives_for_documents_stay_in_the_schema() -> None:
    """A query that uses a directive of the newcomer's own schema would be refused by the pretend upstream."""
    schema = schema_from("directive @cached(seconds: Int) on FIELD\ntype Query { a: Int }")
    assert run(schema, Message("{ a @cached(seconds: 1) }", {}, None), Caller(1)).ran


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("type Query {\n  a: \n}", "line 3: Syntax Error"),
        ("type Query {\n  a: Missing\n}", "line 2: Unknown type 'Missing'"),
        ("type Query { a: Int }\ntype Query { b: Int }", "line 2: There can be only one type named 'Query'"),
        ("type Other { a: Int }", "Query root type must be provided"),
        ("type Query implements I { a: Int }\ninterface I { b: Int }", "I.b"),
        ("", "Syntax Error"),
        ("{ a }", "Query root type must be provided"),
    ],
)
def test_a_faulty_schema_is_named_with_its_line(text: str, sentence: str) -> None:
    """A developer would get a stack trace for a typing error in the schema."""
    with pytest.raises(SchemaFault) as caught:
        schema_from(text)
    assert sentence in str(caught.value)


def test_all_faults_are_named_at_once() -> None:
    """Ten typing errors would take ten starts."""
    with pytest.raises(SchemaFault) as caught:
        schema_from("type Query { a: A\n b: B }")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"\xff",
        b"[]",
        b"{}",
        b'{"query":1}',
        b'{"query":"{a}","variables":[]}',
        b'{"query":"{a}","operationName":7}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_message_is_named(body: bytes) -> None:
    """A client with a fault would get 500 and a stack trace instead of a sentence."""
    with pytest.raises(BadMessage, match=r"[A-Z].*\."):
        message_from(body)


@pytest.mark.parametrize("more", [{}, {"variables": None, "operationName": None}, {"extensions": {}}])
def test_absent_members_are_no_variables_and_no_name(more: dict[str, object]) -> None:
    """A message with nulls, which the convention allows, would be refused."""
    assert message_from(json.dumps({"query": "{a}", **more}).encode()) == Message("{a}", {}, None)


@pytest.mark.parametrize(
    ("query", "variables", "name"),
    [
        ("{", {}, None),
        ("{ nothing }", {}, None),
        ("{ shelf { id } ", {}, None),
        ("query A { shelf { id } } query B { shelf { id } }", {}, None),
        ("query A { shelf { id } }", {}, "B"),
        ("query ($id: ID!) { book(id: $id) { id } }", {}, None),
        ("query ($id: ID!) { book(id: $id) { id } }", {"id": []}, None),
        ("mutation { shelf }", {}, None),
    ],
)
def test_what_cannot_run_has_errors_and_no_data(query: str, variables: dict[str, object], name: str | None) -> None:
    """A client could not tell a document that is wrong from data that is null."""
    result = run(schema_from(SDL), Message(query, variables, name), Caller(1))
    assert not result.ran
    assert "data" not in result.members
    assert result.members["errors"]


def test_the_named_operation_runs_with_its_variables() -> None:
    """Of two operations the other one would run."""
    query = "query A { shelf { id } } query B($n: Int) { shelf(limit: $n) { title } }"
    result = run(schema_from(SDL), Message(query, {"n": 1}, "B"), Caller(1))
    assert result.ran
    shelf = result.members["data"]["shelf"]  # type: ignore[index]
    assert [list(book) for book in shelf] == [["title"]]


def test_a_fault_inside_the_answer_is_still_an_answer() -> None:
    """A null where the schema allows none would be reported as if nothing had run."""
    result = run(schema_from(SDL), Message("{ cover { id } }", {}, None), Caller(1))
    assert result.ran
    assert result.members["data"] is None


def test_introspection_answers() -> None:
    """A GraphQL tool pointed at the pretend upstream would show no schema."""
    members = run(schema_from(SDL), Message("{ __schema { queryType { name } } }", {}, None), Caller(1)).members
    assert members == {"data": {"__schema": {"queryType": {"name": "Query"}}}}
