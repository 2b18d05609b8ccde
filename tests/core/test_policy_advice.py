"""Advice: who may use what, and where a user token could name somebody else."""

import pytest

from gateway.core.policy_advice import access, advice, closed_sentence, declared
from gateway.core.schema import compile_policy
from tests.support.vectors import policy_of, schema_text


def advised(text: str) -> list[str]:
    """The coordinates that there is advice about."""
    return [each.coordinate for each in advice(compile_policy(text))]


# Names ----------------------------------------------------------------------------------------------------------------

USER_IDS = (
    *("user", "user_id", "user_ids", "userId", "userIds", "userIDs", "userID", "userid", "users", "User_Id"),
    *("owner", "owner_id", "ownerId", "member", "members", "member_id", "memberIds", "member_since"),
    *("target_user_id", "targetUserId", "by_user", "from_owner", "group_member", "user_uuid", "_user_id"),
)
OTHERS = (
    *("id", "ids", "group_id", "username", "user_name", "user_agent", "userRole", "superuser", "remember", "ownership"),
    *("q", "first", "account_id", "_", "x2"),
)


@pytest.mark.parametrize("name", USER_IDS)
def test_names_that_mean_a_user(name: str) -> None:
    """A value that names somebody else would be open to user tokens without anybody having thought of it."""
    text = f"type Query {{ a({name}: ID): Int @userContext b(in: In): Int @userContext }} input In {{ {name}: String }}"

    assert advised(text) == [f"In.{name}", f"Query.a({name}:)"]


@pytest.mark.parametrize("name", OTHERS)
def test_names_that_mean_something_else(name: str) -> None:
    """Advice about everything would be read by nobody."""
    text = f"type Query {{ a({name}: ID): Int @userContext b(in: In): Int @userContext }} input In {{ {name}: String }}"

    assert advised(text) == []


# (a field that takes `id`, more of the schema, whether that id is a user's)
IDS = {
    "a User": ("x(id: ID): User", "type User { a: Int }", True),
    "several": ("x(ids: [ID!]!): [User!]!", "type User { a: Int }", True),
    "an IUser": ("x(id: ID): IUser", "interface IUser { a: Int }", True),
    "an AppUser": ("x(id: ID): AppUser", "type AppUser { a: Int }", True),
    "a connection of users": ("x(id: ID): UsersConnection", "type UsersConnection { a: Int }", True),
    "a payload": ("x(id: ID): UpdateUserPayload", "type UpdateUserPayload { a: Int }", True),
    "what implements IUser": (
        "x(id: ID): Person",
        "interface IUser { a: Int } type Person implements IUser { a: Int }",
        True,
    ),
    "an interface that a User has": (
        "node(id: ID): Node",
        "interface Node { a: Int } type User implements Node { a: Int }",
        True,
    ),
    "an interface above IUser": (
        "x(id: ID): Person",
        "interface IUser { a: Int } interface Person implements IUser { a: Int }",
        True,
    ),
    "a union with a User": ("x(id: ID): Any", "union Any = User | Car type User { a: Int } type Car { a: Int }", True),
    "whatever a field called after users returns": ("delete_user(id: ID): Boolean", "", True),
    "whatever `userById` returns": ("userById(id: ID): Person", "type Person { a: Int }", True),
    "an engagement": ("user_engagement(id: ID): UserEngagement", "type UserEngagement { a: Int }", False),
    "a group of users": ("x(id: ID): UserGroup", "type UserGroup { a: Int }", False),
    "a union without users": ("x(id: ID): Any", "union Any = Car type Car { a: Int }", False),
    "a thing": ("create(id: ID): Boolean", "", False),
}


@pytest.mark.parametrize(("field", "more", "is_user"), IDS.values(), ids=IDS)
def test_an_id_is_a_users_where_the_field_returns_one(field: str, more: str, is_user: bool) -> None:
    """`user(id:)`, the likeliest way to another's data, would be overlooked; or every `id` be complained about."""
    found = advised(f"type Query {{ {field} @userContext }} {more}")

    assert bool(found) is is_user


@pytest.mark.parametrize(
    ("kind", "is_user"),
    [
        ("UserInput", True),
        ("UserWhereUniqueInput", True),
        ("DeleteUser", True),
        ("GroupInput", False),
        ("Input", False),
    ],
)
def test_an_id_is_a_users_in_an_input_called_after_users(kind: str, is_user: bool) -> None:
    """Whoever wraps arguments in an input object would not be told."""
    found = advised(f"type Query {{ x(input: {kind}): Int @userContext }} input {kind} {{ id: ID }}")

    assert bool(found) is is_user


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("String", "", True),
        ("ID!", "", True),
        ("[[Int]]", "", True),
        ("UserFilter", "input UserFilter { name: String }", True),
        ("Boolean", "", False),
        ("[Float!]", "", False),
        ("Role", "enum Role { ADMIN }", False),
    ],
)
def test_what_cannot_hold_an_id_names_nobody(kind: str, more: str, told: bool) -> None:
    """A switch called `user` would have to be explained away to pass --strict."""
    assert bool(advised(f"type Query {{ x(user: {kind}): Int @userContext }} {more}")) is told


def test_a_custom_scalar_can_hold_anything() -> None:
    """A user id within JSON is seen by no rule, so somebody has to say what it may be."""
    found = advice(
        compile_policy(
            """scalar JSON
            type Query {
              x(data: JSON, when: [Date!], plain: String): Int @userContext
            }
            scalar Date"""
        )
    )

    assert [(each.line, each.coordinate) for each in found] == [(3, "Query.x(data:)"), (3, "Query.x(when:)")]
    assert found[0].sentence == (
        "Query.x(data:) takes a JSON, which can hold anything, and a user token may put anybody's id there;"
        " say @ownUser, @keysOnly, or @anyUser with a reason."
    )


def test_advice_is_given_by_line() -> None:
    """Whoever works through a file from its top would jump to and fro."""
    found = advice(
        compile_policy(
            """type Query {
              b(filter: Filter): Int @userContext
              a(user: ID): Int @userContext
            }
            input Filter {
              owner: ID
            }"""
        )
    )

    assert [(each.line, each.coordinate) for each in found] == [(3, "Query.a(user:)"), (6, "Filter.owner")]
    assert found[0].sentence == (
        "Query.a(user:) is named like a user id, and a user token may give anybody's;"
        " say @ownUser, @keysOnly, or @anyUser with a reason."
    )


# What settles it ------------------------------------------------------------------------------------------------------

SETTLED = {
    "the own user": "x(user: ID @ownUser): Int",
    "the own user or nobody": "x(user: ID @ownUser(whenAbsent: SELF)): Int",
    "the own app": "x(user: ID @ownApp): Int",
    "anybody": 'x(user: ID @anyUser(reason: "Names a friend.")): Int',
    "keys only": "x(user: ID @keysOnly): Int",
    "nobody": "x(user: ID @closed): Int",
    "a type for keys only": "x(user: Staff): Int",
    "a type that takes scopes": "x(user: Scoped): Int",
    "an object that must name the own user": "x(user: Own): Int",
    "an object that must name it deep within": "x(user: Deep): Int",
    "an object that is for keys only": "x(in: Loose @keysOnly): Int",
    "an object that nobody can be": "x(in: Loose @ownUser): Int",
    "an object that is closed": "x(in: Loose @closed): Int",
    "the interface": "door: Door",
}
SETTLING = """
scalar Staff @keysOnly
scalar Scoped @requiresScopes(scopes: [[USER_READ]])
input Own { id: ID @ownUser }
input Deep { own: [Own!] }
input Loose { user: ID }
interface IDoor { open(user: ID @ownUser): Int }
type Door implements IDoor { open(user: ID): Int }
"""


@pytest.mark.parametrize("field", SETTLED.values(), ids=SETTLED)
def test_what_somebody_has_decided_is_not_advised_about(field: str) -> None:
    """--strict could not be passed, whatever one decides."""
    assert advised(f"type Query {{ {field} @userContext }} {SETTLING}") == []


UNSETTLED = {
    "a scope opens the type to users too": ("x(user: Open): Int", "Query.x(user:)"),
    "somebody else's object still has fields": (
        'x(in: Loose @anyUser(reason: "Names friends.")): Int',
        "Loose.user",
    ),
    "an object of an object": ("x(in: Outer): Int", "Loose.user"),
    "a list of objects that hold each other": ("x(in: [Ring!]!): Int", "Ring.user"),
}
UNSETTLING = """
scalar Open @requiresScopes(scopes: [[USER_READ]]) @authenticated
input Loose { user: ID }
input Outer { loose: [Loose] }
input Ring { rings: [Ring] user: ID }
"""


@pytest.mark.parametrize(("field", "coordinate"), UNSETTLED.values(), ids=UNSETTLED)
def test_what_nobody_has_decided(field: str, coordinate: str) -> None:
    """A directive that says something else would silence the advice."""
    assert advised(f"type Query {{ {field} @userContext }} {UNSETTLING}") == [coordinate]


# What a user token can reach ------------------------------------------------------------------------------------------

REACHED = {
    "by @userContext": "type Query { a: Place @userContext }",
    "by @authenticated": "type Query { a: Place @authenticated }",
    "in a mutation": "type Query { z: Int } type Mutation { a: Place @userContext }",
    "in a subscription, which will come": "type Query { z: Int } type Subscription { a: Place @userContext }",
    "in an extension": "type Query { z: Int } extend type Query { a: Place @userContext }",
    "in lists": "type Query { a: [[Place!]!]! @userContext }",
    "through other types": "type Query { a: B @userContext } type B { c: C } type C { b: B, place: Place }",
    "on an interface": "type Query { a: I @userContext } interface I { p: Place } type T implements I { p: Place }",
    "on an implementation": (
        "type Query { a: I @userContext } interface I { z: Int } type T implements I { z: Int, p: Place }"
    ),
    "on an interface named in a fragment": (
        "type Query { a: T @userContext } interface I { p: Place } type T implements I { p: Place }"
    ),
    "on another interface of an implementation": (
        "type Query { a: I @userContext } interface I { z: Int } interface J { p: Place }"
        " type T implements I & J { z: Int, p: Place }"
    ),
    "on a member of a union": "type Query { a: U @userContext } union U = T | S type T { p: Place } type S { z: Int }",
    "by the interface of a root": (
        "type Query implements I { a: Place @userContext } interface I { a: Place @authenticated }"
    ),
    "where a scope is for users too": (
        "type Query { a: T @userContext } type T { p: Place @requiresScopes(scopes: [[USER_READ]]) @userContext }"
    ),
    "on an interface that nothing implements": "type Query { a: I @userContext } interface I { p: Place }",
}
UNREACHED = {
    "closed for want of a directive": "type Query { a: Place }",
    "closed": "type Query { a: Place @closed }",
    "for keys": "type Query { a: Place @requiresScopes(scopes: [[USER_READ]]) }",
    "keys only": "type Query { a: Place @authenticated @keysOnly }",
    "a closed root": "type Query @closed { a: Place @userContext }",
    "below a closed field": "type Query { a: T @userContext } type T { p: Place @closed }",
    "below a field for keys": "type Query { a: T @userContext } type T { p: Place @keysOnly }",
    "below a field that takes a scope": (
        "type Query { a: T @userContext } type T { p: Place @requiresScopes(scopes: [[USER_READ]]) }"
    ),
    "below a closed type": "type Query { a: T @userContext } type T @closed { p: Place }",
    "on an implementation for keys": (
        "type Query { a: I @userContext } interface I { z: Int } type T implements I @keysOnly { z: Int, p: Place }"
    ),
    "on a member of a union for keys": (
        "type Query { a: U @userContext } union U = T | S type T @keysOnly { p: Place } type S { z: Int }"
    ),
    "on a type that nothing returns": "type Query { a: Int @userContext } type T { p: Place }",
}
PLACE = " type Place { x(user: ID): Int }"


@pytest.mark.parametrize("text", REACHED.values(), ids=REACHED)
def test_what_users_reach_is_advised_about(text: str) -> None:
    """There is a way to a value that names anybody, and nobody would be told."""
    assert "Place.x(user:)" in advised(text + PLACE)


@pytest.mark.parametrize("text", UNREACHED.values(), ids=UNREACHED)
def test_what_users_do_not_reach_is_not_advised_about(text: str) -> None:
    """An operator would have to decide about users where there are none."""
    assert advised(text + PLACE) == []


def test_the_delivered_schema_needs_no_advice() -> None:
    """`gateway policy check --strict` would fail on the schema that it comes with."""
    assert advice(policy_of({})) == ()


# Who may use what -----------------------------------------------------------------------------------------------------

ACCESS = compile_policy(
    """
    schema { query: Root mutation: Act }
    type Root {
      undecided: Int
      costly: Int @cost(weight: 1)
      shut: Int @closed
      all: Int @authenticated
      users(user_id: ID @ownUser, filter: Filter, tree: [Tree], q: String): Int @userContext
      keys: Int @requiresScopes(scopes: [[A]])
      both: Int @requiresScopes(scopes: [[B, A], [C]]) @userContext
      twice: Thing @requiresScopes(scopes: [[A], [B]])
      narrower: Thing @requiresScopes(scopes: [[C], [A, C]])
      staff: Int @authenticated @keysOnly
      gone: Gone @authenticated
    }
    type Act { go: Int @userContext }
    type Thing @requiresScopes(scopes: [[C]]) { a: Int }
    type Gone @closed { a: Int }
    input Filter { text: String, owner: ID @ownUser, more: Filter }
    input Tree { boughs: [Tree!], leaf: Leaf }
    input Leaf { user: ID @ownUser }
    enum Scope { A B C }
    """
)
WHO: dict[str, tuple[bool, tuple[tuple[str, ...], ...], bool, tuple[str, ...], bool]] = {
    # keys, scopes, users, own users, decided
    "Root.undecided": (False, (), False, (), False),
    "Root.costly": (False, (), False, (), False),
    "Root.shut": (False, (), False, (), True),
    "Root.all": (True, (), True, (), True),
    "Root.users": (False, (), True, ("user_id", "filter.owner", "tree.leaf.user"), True),
    "Root.keys": (True, (("A",),), False, (), True),
    "Root.both": (True, (("A", "B"), ("C",)), True, (), True),
    "Root.twice": (True, (("A", "C"), ("B", "C")), False, (), True),
    "Root.narrower": (True, (("C",),), False, (), True),
    "Root.staff": (True, (), False, (), True),
    "Root.gone": (False, (), False, (), True),
    "Act.go": (False, (), True, (), True),
}


def test_who_may_use_each_root_field() -> None:
    """The table would promise a field to somebody who is refused, or hide one that is open."""
    rows = access(ACCESS)

    assert {row.coordinate: (row.keys, row.scopes, row.users, row.own_user, row.decided) for row in rows} == WHO
    assert [row.coordinate for row in rows] == list(WHO)
    assert {row.coordinate for row in rows if row.closed} == {
        coordinate for coordinate, (keys, _, users, *_) in WHO.items() if not keys and not users
    }


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ("a: Int @authenticated", ""),
        ("a: Int b: Int", "2 of 2 root fields are closed; gateway policy init helps."),
        ("a: Int b: Int @authenticated", "1 of 2 root fields is closed; gateway policy init helps."),
        ("a: Int b: Int @closed", "2 of 2 root fields are closed; gateway policy init helps."),
        (
            "a: Int @closed b: Int @closed",
            "2 of 2 root fields are closed; open them with @requiresScopes, @authenticated or @userContext.",
        ),
        ("a: Int @closed b: Int @authenticated", "1 of 2 root fields is closed."),
    ],
)
def test_how_much_is_closed(fields: str, sentence: str) -> None:
    """A newcomer's own schema would be a wall of refusals, without a word about the way out."""
    assert closed_sentence(compile_policy(f"type Query {{ {fields} }}")) == sentence


def test_values_are_found_at_their_lines() -> None:
    """An editor that jumps to a piece of advice would land somewhere else."""
    text = schema_text("inputs")
    lines = text.splitlines()

    for value in declared(compile_policy(text).schema):
        if not value.coordinate.startswith("__"):
            name = value.coordinate.removesuffix(":)").replace("(", ".").rpartition(".")[2]
            assert f"{name}:" in lines[value.line - 1]
