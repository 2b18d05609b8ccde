"""The annotated schema: what compiles to which policy, and what is told of a file that does not."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.directives import Absent
from gateway.core.policy import Caller, FieldPolicy, InputPolicy, Introspection, Options, Policy, UserScoping
from gateway.core.schema import SchemaFault, SchemaInvalid, compile_policy
from tests.support.vectors import VECTORS, VENDOR_SCHEMA

BROKEN = sorted((VECTORS / "schemas" / "broken").glob("*.graphql"))
SCHEMAS = [VENDOR_SCHEMA, *sorted((VECTORS / "schemas").glob("*.graphql"))]


def faults(text: str) -> list[str]:
    """What is told of a schema that does not compile, as `LINE: sentence`; `-` where there is no line."""
    with pytest.raises(SchemaInvalid) as invalid:
        compile_policy(text)
    return [f"{fault.line or '-'}: {fault.sentence}" for fault in invalid.value.faults]


# Faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_every_fault_of_a_broken_schema_is_told_with_its_line(file: Path) -> None:
    """A schema that promises what the gateway would not keep would start, or its faults would come one by one."""
    text = file.read_text("utf-8")

    assert faults(text) == re.findall(r"^# ((?:\d+|-): .*)$", text, re.MULTILINE)


def test_faults_are_told_in_the_order_of_their_lines() -> None:
    """An exception that ends up in a log would not say where to look."""
    invalid = SchemaInvalid([SchemaFault(7, "Later."), SchemaFault(2, "Sooner."), SchemaFault(7, "Later.")])

    assert str(invalid) == "line 2: Sooner.; line 7: Later."


def test_an_empty_schema_is_a_fault() -> None:
    """A file truncated by a full disk would end in a stack trace, or open everything."""
    assert [line.partition(": ")[2] for line in faults("")] == ["Syntax Error: Unexpected <EOF>."]


DEEP = {
    "a type": f"type Query {{ a: {'[' * 5_000}Int{']' * 5_000} @authenticated }}",
    "a default": f"scalar Any type Query {{ a(b: Any = {'[' * 5_000}{']' * 5_000}): Int @authenticated }}",
    "defaults that hold each other": " ".join(f"input I{i} {{ a: I{i + 1} = {{}} }}" for i in range(900))
    + " input I900 { a: Int } type Query { a(b: I0 = {}): Int @authenticated }",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_nesting_is_a_fault_and_not_a_crash(text: str) -> None:
    """A generated schema would bring `gateway dev` down at a reload."""
    (fault,) = faults(text)

    assert "nested too deeply" in fault


def told(text: str) -> tuple[SchemaFault, ...]:
    """The faults of a schema that may have none."""
    try:
        compile_policy(text)
    except SchemaInvalid as invalid:
        return invalid.faults
    return ()


TOKENS = re.compile(r'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*|\w+|\S|\s+')
PIECES = [TOKENS.findall(file.read_text("utf-8")) for file in SCHEMAS[1:]]
EVERY_PIECE = sorted({piece for pieces in PIECES for piece in pieces})


@given(st.data())
def test_no_schema_raises_anything_but_faults(data: st.DataObject) -> None:
    """Some slip of the keyboard would end in a stack trace instead of a line and a sentence."""
    pieces = list(data.draw(st.sampled_from(PIECES)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(pieces) - 1))
        pieces[place : place + data.draw(st.integers(0, 2))] = [" ", data.draw(st.sampled_from(EVERY_PIECE)), " "]

    assert all(fault.sentence and "\n" not in fault.sentence for fault in told("".join(pieces)))


# What compiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.stem)
def test_a_schema_without_faults_compiles(file: Path) -> None:
    """The schema that is delivered, or one that the tables of decisions stand on, would not start."""
    assert compile_policy(file.read_text("utf-8")).roots


QUERY = "type Query { a: Int @requiresScopes(scopes: %s) }"
SCOPES = {
    "of the gateway, when the file has none": (
        QUERY % "[[USER_READ]]",
        ("USER_READ", "USER_DELETE", "USER_LINK", "OFFLOADS_READ", "OFFLOADS_GENERATE_URL", "FAKE_DATA_INSERT"),
    ),
    "of the file": ("enum Scope { READ WRITE } " + QUERY % "[[READ]]", ("READ", "WRITE")),
    "of the file and its extensions": (
        "enum Scope { READ } extend enum Scope { WRITE } " + QUERY % "[[READ, WRITE]]",
        ("READ", "WRITE"),
    ),
    "of an enum with a name of its own": (
        "directive @requiresScopes(scopes: [[Permission!]!]!) on FIELD_DEFINITION enum Permission { READ WRITE } "
        + QUERY % "[[WRITE]]",
        ("READ", "WRITE"),
    ),
    "that a federation spells as strings: those in use": (
        "directive @requiresScopes(scopes: [[federation__Scope!]!]!) on FIELD_DEFINITION scalar federation__Scope "
        + QUERY % '[["user:read", "users"], ["admin"]]',
        ("user:read", "users", "admin"),
    ),
}


@pytest.mark.parametrize(("text", "scopes"), SCOPES.values(), ids=SCOPES)
def test_scopes_are_data_of_the_file(text: str, scopes: tuple[str, ...]) -> None:
    """A key could not be given a scope that the schema asks for, or could be given one that nothing asks for."""
    assert compile_policy(text).scopes == scopes


HARMLESS = {
    "imports under their own names": """
        extend schema @link(
          url: "https://specs.apollo.dev/federation/v2.5", as: "federation"
          import: ["@cost", {name: "@authenticated", as: "@authenticated"}, {name: "@key", as: "@id"}, {name: "@x"}]
        )""",
    "one import, not in a list": 'extend schema @link(url: "https://example.com/v1", import: "@closed")',
    "a specification under its own name": """
        extend schema @link(url: "https://specs.apollo.dev/authenticated/v0.1", as: "authenticated")""",
    "a prefix before something else": """
        directive @federation__key on OBJECT
        extend type Query @federation__key""",
    "the gateway's directives in fewer places": """
        directive @closed on FIELD_DEFINITION
        directive @cost(weight: Int!, multipliers: [String!]) on FIELD_DEFINITION
        directive @requiresScopes(scopes: [[Scope!]!]!) on OBJECT""",
    "directives of others": """
        directive @trace(user: ID, page: Page) repeatable on FIELD | FIELD_DEFINITION
        input Page { size: Int }
        extend type Query { b: Int @trace @trace @closed }""",
    "scopes that others describe as any type": """
        directive @requiresScopes(scopes: [[String]]) on FIELD_DEFINITION
        extend type Query { b: Int @requiresScopes(scopes: "one") c: Int @requiresScopes(scopes: ["one"]) }""",
}


@pytest.mark.parametrize("more", HARMLESS.values(), ids=HARMLESS)
def test_what_changes_no_meaning_is_no_fault(more: str) -> None:
    """A schema that was annotated for another gateway would have to be rewritten without need."""
    assert compile_policy(f"type Query {{ a: Int @authenticated }}\n{more}").roots == {"Query"}


def test_a_document_may_use_the_directives_that_are_declared_for_it() -> None:
    """A client's own directive would be refused, or one that changes what runs after the judgement would pass."""
    policy = compile_policy(
        """
        directive @trace on FIELD
        directive @defer(label: String) on INLINE_FRAGMENT
        directive @export(as: String) on FIELD
        type Query { a: Int @authenticated }
        """
    )

    assert {"trace", "skip", "include"} <= policy.directives.keys()
    assert policy.directives.keys().isdisjoint({"defer", "export", "closed", "ownUser", "requiresScopes"})


def test_options_are_kept_with_the_policy() -> None:
    """Settings would be read and make no difference."""
    options = Options(Introspection.NONE, report=True, scoping={"eu": UserScoping.UPSTREAM})

    assert compile_policy("type Query { a: Int }", options).options is options
    assert compile_policy("type Query { a: Int }").options == Options()


# What a field demands -------------------------------------------------------------------------------------------------

POLICY = compile_policy(
    """
    schema { query: Root mutation: Act subscription: Watch }

    interface Door { lobby: Int @authenticated, vault: Int @keysOnly }

    type Root implements Door {
      lobby: Int
      vault: Int @authenticated
      undecided: Int
      costly: Int @cost(weight: 3)
      open: Int @authenticated
      shut: Int @closed
      users: Int @userContext
      keys: Int @requiresScopes(scopes: [[A]])
      both: Int @requiresScopes(scopes: [[A, B], [C]]) @userContext
      single: Int @requiresScopes(scopes: A)
      keysAlone: Int @authenticated @keysOnly
      pets: [Pet!] @authenticated
      dog: Dog @authenticated
      any: Any @authenticated
      secret: Secret @authenticated
      tag: Tag @authenticated
      stage: Stage @authenticated
      orphan: Orphan @authenticated
      argued(
        plain: String, mine: ID @ownUser, self: ID @ownUser(whenAbsent: SELF), app: ID @ownApp, staff: ID @keysOnly
        gone: ID @closed, friend: ID @anyUser(reason: "Names a friend."), tag: Tag, filter: Filter, tree: [Tree!]!
      ): Int @authenticated
    }
    type Act { go: Int @userContext }
    type Watch { see: Int @closed }

    interface Being { name: String @closed }
    interface Pet implements Being { name: String, age(unit: String @keysOnly): Int, vet(day: String): Int }
    type Dog implements Pet & Being {
      name: String
      age(unit: String, exact: String @ownUser): Int @requiresScopes(scopes: [[A]])
      vet(day: String, town: String @ownApp): Int
      owner: String
    }
    type Cat implements Pet & Being @requiresScopes(scopes: [[B]]) @userContext {
      name: String, age(unit: String): Int, vet(day: String @ownUser): Int
    }
    interface Orphan { alone: Int }
    interface Holder { thing: Any }
    type Box implements Holder { thing: Secret }

    union Any = Dog | Secret
    type Secret @keysOnly { word: String }
    extend type Secret { more: String @requiresScopes(scopes: [[C]]) }

    scalar Tag @requiresScopes(scopes: [[B]])
    enum Stage @closed { ONE }
    input Filter { owner: ID @ownUser, app: AppRef, tree: Tree }
    input AppRef { app: ID @ownApp }
    input Tree { branches: [Tree!], label: String }
    enum Scope { A B C }
    """
)


def demands(policy: FieldPolicy) -> dict[str, object]:
    """What a field demands, without what it does not."""
    found = {
        "closed": [(coordinate, caller) for caller, coordinate in policy.demands.closed],
        "keys_only": list(policy.demands.keys_only),
        "needs": [(need.coordinate, *map("".join, map(sorted, need.scopes))) for need in policy.demands.needs],
    }
    return {name: value for name, value in found.items() if value}


DEMANDS: dict[str, dict[str, object]] = {
    "Root.undecided": {"closed": [("Root.undecided", Caller.BOTH)], "keys_only": []},
    "Root.costly": {"closed": [("Root.costly", Caller.BOTH)], "keys_only": ["Root.costly"]},
    "Root.open": {},
    "Root.shut": {"closed": [("Root.shut", Caller.BOTH)], "keys_only": ["Root.shut"]},
    "Root.users": {"closed": [("Root.users", Caller.KEY)]},
    "Root.keys": {"keys_only": ["Root.keys"], "needs": [("Root.keys", "A")]},
    "Root.both": {"needs": [("Root.both", "AB", "C")]},
    "Root.single": {"keys_only": ["Root.single"], "needs": [("Root.single", "A")]},
    "Root.keysAlone": {"keys_only": ["Root.keysAlone"]},
    # An interface opens nothing, and takes away.
    "Root.lobby": {"closed": [("Root.lobby", Caller.BOTH)]},
    "Root.vault": {"keys_only": ["Door.vault"]},
    "Door.lobby": {"closed": [("Root.lobby", Caller.BOTH)]},
    "Door.vault": {"keys_only": ["Door.vault"]},
    "Act.go": {"closed": [("Act.go", Caller.KEY)]},
    "Watch.see": {"closed": [("Watch.see", Caller.BOTH)], "keys_only": ["Watch.see"]},
    # What is returned counts, but not what it can turn out to be: that is demanded where it is named.
    "Root.pets": {},
    "Root.dog": {},
    "Root.any": {},
    "Root.secret": {"keys_only": ["Secret"]},
    "Root.tag": {"keys_only": ["Tag"], "needs": [("Tag", "B")]},
    "Root.stage": {"closed": [("Stage", Caller.BOTH)]},
    # A field of an interface is that of each implementation, and the other way round.
    "Being.name": {"closed": [("Being.name", Caller.BOTH)], "needs": [("Cat", "B")]},
    "Dog.name": {"closed": [("Being.name", Caller.BOTH)]},
    "Pet.age": {"keys_only": ["Dog.age"], "needs": [("Dog.age", "A"), ("Cat", "B")]},
    "Dog.age": {"keys_only": ["Dog.age"], "needs": [("Dog.age", "A")]},
    "Cat.age": {"needs": [("Cat", "B")]},
    "Dog.owner": {},
    "Secret.word": {"keys_only": ["Secret"]},
    "Secret.more": {"keys_only": ["Secret.more", "Secret"], "needs": [("Secret.more", "C")]},
    "Orphan.alone": {},
    # An implementation may return a narrower type, which is what a selection on the interface gets too.
    "Box.thing": {"keys_only": ["Secret"]},
    "Holder.thing": {"keys_only": ["Secret"]},
}


@pytest.mark.parametrize("coordinate", DEMANDS)
def test_what_a_field_demands(coordinate: str) -> None:
    """Somebody could reach a field by a type, an interface or a root that forgot what another one demands."""
    kind, _, name = coordinate.partition(".")
    expected = {key: value for key, value in DEMANDS[coordinate].items() if value}

    assert demands(POLICY.fields[kind][name]) == expected


def value(coordinate: str) -> InputPolicy:
    """The policy of an argument or an input field."""
    kind, _, rest = coordinate.partition(".")
    name, _, argument = rest.removesuffix(":)").partition("(")
    return POLICY.fields[kind][name].arguments[argument] if argument else POLICY.inputs[kind][name]


VALUES = {
    "Root.argued(plain:)": ([], Caller.NONE, (False, False)),
    "Root.argued(mine:)": (["Root.argued(mine:)"], Caller.USER, (False, False)),
    "Root.argued(self:)": (["Root.argued(self:)"], Caller.USER, (False, False)),
    "Root.argued(app:)": (["Root.argued(app:)"], Caller.BOTH, (False, False)),
    "Root.argued(staff:)": (["Root.argued(staff:)"], Caller.USER, (False, False)),
    "Root.argued(gone:)": (["Root.argued(gone:)"], Caller.BOTH, (False, False)),
    "Root.argued(friend:)": (["Root.argued(friend:)"], Caller.NONE, (False, False)),
    "Root.argued(tag:)": (["Tag"], Caller.BOTH, (False, False)),
    "Root.argued(filter:)": ([], Caller.BOTH, (True, True)),
    "Root.argued(tree:)": ([], Caller.BOTH, (False, False)),
    "Filter.owner": (["Filter.owner"], Caller.USER, (False, False)),
    "Filter.app": ([], Caller.BOTH, (False, True)),
    "Tree.branches": ([], Caller.BOTH, (False, False)),
    # The same argument on an interface and on its implementations is one.
    "Pet.age(unit:)": (["Pet.age(unit:)"], Caller.USER, (False, False)),
    "Dog.age(unit:)": (["Pet.age(unit:)"], Caller.USER, (False, False)),
    "Pet.vet(day:)": (["Cat.vet(day:)"], Caller.USER, (False, False)),
    "Dog.vet(day:)": ([], Caller.NONE, (False, False)),
}


@pytest.mark.parametrize("coordinate", VALUES)
def test_what_a_value_must_obey(coordinate: str) -> None:
    """A value would go unjudged because the rule for it stands on an interface, a type or deeper in an input."""
    policy = value(coordinate)

    found = ([mark.coordinate for mark in policy.marks], policy.concerns, (policy.leads_to_user, policy.leads_to_app))

    assert found == VALUES[coordinate]


def test_what_is_said_when_a_value_is_absent() -> None:
    """A value left out would count as the caller's own where the schema refuses it."""
    (mine,), (own,), (app,) = (value(f"Root.argued({name}:)").marks for name in ("mine", "self", "app"))

    assert (mine.own_user, own.own_user, app.own_app) == (Absent.REFUSE, Absent.SELF, Absent.REFUSE)


def test_arguments_that_only_an_implementation_has_are_judged_as_absent() -> None:
    """By way of the interface, a value that must name the caller could be left out."""
    implied = {name: [each.coordinate for each in POLICY.fields["Pet"][name].implied] for name in ("age", "vet")}

    assert implied == {"age": ["Dog.age(exact:)"], "vet": ["Dog.vet(town:)"]}


def test_only_root_fields_for_users_must_name_the_user() -> None:
    """Under `user_scoping: arguments` a catalogue would be refused, or a user's data would go to anybody."""
    named = {name for name, field in POLICY.fields["Root"].items() if field.user_context_root}

    assert named == {"users", "both"}


def test_which_types_can_be_what() -> None:
    """A fragment whose type cannot occur would be taken for one that can, or refused though it can."""
    possible = {name: set(POLICY.possible[name]) for name in ("Dog", "Pet", "Any", "Orphan", "Tag")}

    assert possible == {"Dog": {"Dog"}, "Pet": {"Dog", "Cat"}, "Any": {"Dog", "Secret"}, "Orphan": set(), "Tag": set()}


def test_types_that_carry_a_directive_are_known() -> None:
    """With `unknown_fields: forward`, an unknown field of a type that somebody guards would be forwarded."""
    named = POLICY.marked_types - {name for name in POLICY.marked_types if name.startswith("__")}

    assert named == {"Secret", "Cat", "Tag", "Stage", "Pet", "Being", "Any"}
    assert POLICY.roots == {"Root", "Act", "Watch"}


def test_naming_a_type_demands_what_it_carries() -> None:
    """A fragment on a guarded type would be a way around its guard."""
    policy: Policy = POLICY

    assert policy.types["Cat"].needs[0].coordinate == "Cat"
    assert policy.types["Cat"].keys_only == ()
    assert policy.types["Secret"].keys_only == ("Secret",)
    assert policy.types["Stage"].closed == ((Caller.BOTH, "Stage"),)
    assert policy.types["Pet"].needs == ()
