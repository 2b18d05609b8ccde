"""The pretend data as a whole: which object a field finds."""

import re
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLObjectType, GraphQLSchema, get_named_type, is_abstract_type, is_leaf_type, is_object_type

from gateway.dev.data import Caller
from gateway.dev.execute import Message, run, schema_from

VENDOR = schema_from((Path(__file__).parents[2] / "config" / "schema.graphql").read_text("utf-8"))
OWN = schema_from("""
    type Query {
      user(userId: ID): User
      me: User
      order(orderId: Int): Order
      orders(first: Int, status: Status): [Order!]!
      engagement: Engagement @userContext
      catalogue: [Engagement]
      search: [Hit!]!
      nothing: Lonely
      grid: [[Int!]!]!
      friends: [User]
    }
    type User { id: ID!  name: String  friends: [User]  order: Order  order_id: String  tags: [String]  hit: Hit
                day(of: String): String  status: [Status] }
    type Order { id: ID  status: Status  total: Float }
    type Engagement { name: String }
    type Tram { type: Kind  name: String }
    type Bus { type: Kind  name: String }
    enum Kind { Bus Tram }
    union Hit = Bus | Tram
    interface Lonely { id: ID }
    enum Status { OPEN PAID SENT }
""")


def ask(query: str, *, schema: GraphQLSchema = OWN, seed: int = 1, user: str | None = None) -> dict[str, Any]:
    """The data of a query that must run without a fault."""
    result = run(schema, Message(query, {}, None), Caller(seed, user)).members
    assert "errors" not in result, result["errors"]
    data = result["data"]
    assert isinstance(data, dict)
    return data


def ways(schema: GraphQLSchema) -> dict[str, str]:
    """For each object type a document that leads to it by the shortest way and asks for all its leaves."""
    assert schema.query_type is not None
    found = {schema.query_type.name: "%s"}
    waiting: deque[GraphQLObjectType] = deque([schema.query_type])
    while waiting:
        owner = waiting.popleft()
        for name, field in owner.fields.items():
            target = get_named_type(field.type)
            for each in schema.get_possible_types(target) if is_abstract_type(target) else (target,):
                if is_object_type(each) and each.name not in found:
                    found[each.name] = found[owner.name] % f"{name} {{ __typename ... on {each.name} {{ %s }} }}"
                    waiting.append(each)
    return found


@pytest.mark.parametrize("type_name", sorted(ways(VENDOR)))
def test_every_field_of_the_vendors_schema_answers(type_name: str) -> None:
    """A developer would get a null or an error from a field that the schema promises."""
    owner = VENDOR.type_map[type_name]
    assert isinstance(owner, GraphQLObjectType)
    leaves = [name for name, field in owner.fields.items() if is_leaf_type(get_named_type(field.type))]
    data = ask("{ " + ways(VENDOR)[type_name] % " ".join(["__typename", *leaves]) + " }", schema=VENDOR)
    assert "None" not in str(data)


def test_an_alias_or_the_order_of_fields_changes_nothing() -> None:
    """Renaming a field in a query would show other data."""
    plain = ask("{ orders { id status } friends { name } }")
    other = ask("{ people: friends { called: name } some: orders { state: status number: id } }")
    assert [order["id"] for order in plain["orders"]] == [order["number"] for order in other["some"]]
    assert [user["name"] for user in plain["friends"]] == [user["called"] for user in other["people"]]


def test_another_seed_is_another_world_and_the_same_seed_the_same() -> None:
    """Two teams could not tell their pretend upstreams apart, or one team's tests would drift."""
    query = "{ user { id name tags } orders { id } }"
    assert ask(query, seed=1) == ask(query, seed=1)
    assert ask(query, seed=1) != ask(query, seed=2)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('{ user(user_id: "5a93deb3d8e7d90600001e6f") { id } }', "5a93deb3d8e7d90600001e6f"),
        ('{ user(id: "abc") { id } }', "abc"),
        ('{ transport(transport_id: "t-1") { transport_id } }', "t-1"),
        ('{ engagement { group(group_id: "g-1") { group_id } } }', "g-1"),
    ],
)
def test_the_id_that_was_asked_for_comes_back(query: str, value: str) -> None:
    """A client would take the answer for another object's and throw it away."""
    assert f"'{value}'" in str(ask(query, schema=VENDOR, user="caller"))


@pytest.mark.parametrize("user", ["5a93deb3d8e7d90600001e6f", "583e08a1cd99250700000002"])
def test_without_an_id_a_user_token_finds_its_own_user(user: str) -> None:
    """The page's first example would show somebody else's id."""
    assert ask("{ user { id } me { id } }", user=user) == {"user": {"id": user}, "me": {"id": user}}


def test_without_an_id_and_a_user_there_still_is_a_user() -> None:
    """A key that names no user would get an error from a field that is nullable and harmless."""
    assert re.fullmatch(r"[0-9a-f]{24}", ask("{ user { id } }")["user"]["id"])


def test_ids_of_other_schemas_spellings_and_types_are_honoured_too() -> None:
    """A newcomer's own camelCase schema would ignore the ids in the query."""
    assert ask('{ user(userId: "u7") { id } order(orderId: 12) { id } }') == {
        "user": {"id": "u7"},
        "order": {"id": "12"},
    }


def test_an_object_is_the_same_wherever_it_is_reached() -> None:
    """A user would have another name in a key's answer than in its own, or an order another id than beside it."""
    by_id = ask('{ user(userId: "u7") { name tags } }')
    assert by_id == ask("{ user { name tags } }", user="u7")
    user = ask("{ user { order_id order { id } } }")["user"]
    assert user["order_id"] == user["order"]["id"]


def test_what_a_mutation_was_told_is_in_its_answer() -> None:
    """Creating a group called Friends would answer with a group called something else."""
    data = ask('mutation { create_group(name: "Friends") { name } }', schema=VENDOR, user="u")
    assert data == {"create_group": {"name": "Friends"}}


def test_each_user_finds_own_data_and_catalogues_are_for_all() -> None:
    """Two users would see one another's engagement, or every user another catalogue."""
    query = "{ engagement { name } catalogue { name } }"
    answers = [ask(query, user=f"user-{number}") for number in range(6)]
    assert len({answer["engagement"]["name"] for answer in answers}) > 1
    assert len({str(answer["catalogue"]) for answer in answers}) == 1


def test_arguments_lead_to_other_values() -> None:
    """A chart over months would draw a flat line."""
    day = ask('{ user { a: day(of: "1") b: day(of: "2") c: day(of: "3") } }')["user"]
    assert len(set(day.values())) > 1


def test_lists_have_one_to_three_members_and_keep_to_the_limit() -> None:
    """A client that asks for one message would be given three, or an empty list where it needs an example."""
    sizes = {len(ask("{ orders { id } }", seed=seed)["orders"]) for seed in range(20)}
    assert sizes == {1, 2, 3}
    assert {len(ask("{ orders(first: 1) { id } }", seed=seed)["orders"]) for seed in range(9)} == {1}
    query = "{ user { engagement { communications { new(limit: 1) { limit slice { message } } } } } }"
    new = ask(query, schema=VENDOR, user="u")["user"]["engagement"]["communications"]["new"]
    assert (new["limit"], len(new["slice"])) == (1, 1)


def test_a_deep_query_does_not_grow_without_bounds() -> None:
    """Fifteen nested lists would take minutes and all the memory."""
    query = "{ id }"
    for _ in range(14):
        query = f"{{ friends {query} }}"
    assert str(ask(query)).count("id") <= 3**4


def test_lists_of_lists_and_of_leaves_have_members() -> None:
    """A matrix or a list of tags would be answered with an error."""
    data = ask("{ grid user { tags status } }")
    assert all(isinstance(number, int) for row in data["grid"] for number in row)
    assert all(isinstance(tag, str) for tag in data["user"]["tags"])
    assert set(data["user"]["status"]) <= {"OPEN", "PAID", "SENT"}


def test_a_union_is_one_of_its_types_and_says_so() -> None:
    """A client that switches on `type` would read a tram's fields from a bus."""
    hits = [
        hit
        for seed in range(9)
        for hit in ask("{ search { __typename ... on Bus { type } ... on Tram { type } } }", seed=seed)["search"]
    ]
    assert {hit["__typename"] for hit in hits} == {"Bus", "Tram"}
    assert all(hit["type"] == hit["__typename"] for hit in hits)


def test_an_interface_without_types_is_null() -> None:
    """One unfinished interface in a newcomer's schema would make the whole answer fail."""
    assert ask("{ nothing { id } }") == {"nothing": None}


def test_an_argument_given_as_a_field_of_a_list_holds_for_its_members() -> None:
    """A list of paid orders would contain open ones."""
    orders = ask("{ orders(status: PAID) { status } }")["orders"]
    assert {order["status"] for order in orders} == {"PAID"}


def test_scores_are_named_and_in_range() -> None:
    """The overall score would be shown between 0 and 1, or an attention score as 80 of 1."""
    query = "{ user { engagement { scores { slice { value name } } } } }"
    for number in range(20):
        for score in ask(query, schema=VENDOR, user=f"u{number}")["user"]["engagement"]["scores"]["slice"]:
            assert 0 <= score["value"] <= (100 if score["name"] == "OVERALL_SCORE" else 1)
