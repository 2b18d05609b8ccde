"""A bare schema annotated to start from: what is added, what is left, and that the rest stays as it was."""

import re
from random import Random

import pytest
from graphql import DirectiveDefinitionNode, EnumTypeDefinitionNode, Node, parse, print_ast
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.directives import OURS
from gateway.core.policy_advice import access
from gateway.core.schema import SchemaInvalid, compile_policy, elements
from gateway.core.starter import annotate
from tests.support.vectors import VECTORS, VENDOR_SCHEMA

CLOSED = "closed until somebody says who may use it: @requiresScopes, @authenticated or @userContext."
OWN_USER = 'named like a user id; a user token must give its own, unless it is @anyUser(reason: "...").'
LEFT = "named like a user id, and left alone; @ownUser cannot stand here, because"


def started(text: str) -> str:
    """A text annotated, without the definitions that are appended: they are looked at on their own."""
    annotated = annotate(text)
    return annotated[: annotated.index("# The gateway's directives")]


BARE = '''\
"The ways in."
type Query {
  "One user."
  # By id.
  user(
    "Whose."
    id: ID!
    """
    In
    what words.
    """
    language: String = "en"
  ): User   # trailing
  me: User @deprecated(reason: "Say user.")

  search(userIds: [ID!], q: String): [User!]!
}

type User { id: ID, friends(of_user: ID, first: Int): [User] }
extend type Mutation { b: Int, c(owner: String): Int }
type Mutation { a: Int }
input UserInput { id: ID, name: String, role: Role }
enum Role { ADMIN }
'''
STARTED = f'''\
"The ways in."
type Query {{
  "One user."
  # By id.
  # user: {CLOSED}
  user(
    "Whose."
    # user(id:): {OWN_USER}
    id: ID! @ownUser
    """
    In
    what words.
    """
    language: String = "en"
  ): User @closed   # trailing
  # me: {CLOSED}
  me: User @closed @deprecated(reason: "Say user.")

  # search: {CLOSED}
  # search(userIds:): {OWN_USER}
  search(userIds: [ID!] @ownUser, q: String): [User!]! @closed
}}

# friends(of_user:): {OWN_USER}
type User {{ id: ID, friends(of_user: ID @ownUser, first: Int): [User] }}
# b: {CLOSED}
# c: {CLOSED}
# c(owner:): {OWN_USER}
extend type Mutation {{ b: Int @closed, c(owner: String @ownUser): Int @closed }}
# a: {CLOSED}
type Mutation {{ a: Int @closed }}
# id: {OWN_USER}
input UserInput {{ id: ID @ownUser, name: String, role: Role }}
enum Role {{ ADMIN }}

'''


def test_what_is_added_to_a_bare_schema() -> None:
    """A newcomer would get a file with the layout of a machine, or with directives that nobody explains."""
    assert started(BARE) == STARTED


LEFT_ALONE = {
    "a default": (
        "type Query { a(user_id: ID = 7): Int @closed }",
        f"# a(user_id:): {LEFT} there is a default.\n",
    ),
    "a default above": (
        "type Query { a(filter: Filter = {}): Int @closed }\ninput Filter { deep: Deep }\ninput Deep { owner: ID }",
        f"# owner: {LEFT} Query.a(filter:), which leads here, has a default.\n",
    ),
    "a default of an input field": (
        "type Query { a(box: Box): Int @closed }\ninput Box { filter: Filter = {} }\ninput Filter { owner: ID }",
        f"# owner: {LEFT} Box.filter, which leads here, has a default.\n",
    ),
    "an argument of a directive": (
        "directive @trace(by: By) on FIELD\ntype Query { a: Int @closed }\ninput By { user: ID, by: By }",
        f"# user: {LEFT} @trace(by:), which leads here, is not judged.\n",
    ),
}


@pytest.mark.parametrize(("text", "comment"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_where_a_directive_cannot_stand_the_comment_says_so(text: str, comment: str) -> None:
    """The schema would not compile any more, or the value that names anybody would be passed over in silence."""
    annotated = started(text)

    assert annotated.replace(comment, "") == f"{text}\n\n"
    assert comment in annotated
    assert annotate(annotate(text)) == annotate(text)


DECIDED = {
    "a field that is open": "type Query { a: Int @authenticated }",
    "a field for keys only, which is closed": "type Query { a: Int @keysOnly }",
    "a value that may be anybody's": 'type Query { a(user: ID @anyUser(reason: "A friend.")): Int @closed }',
    "a value that is left to the upstream": "type Query { a(user: ID @ownUser(whenAbsent: SELF)): Int @userContext }",
    "a value for keys only": "type Query { a(user: ID @keysOnly): Int @userContext }",
    "a value decided on the interface": (
        "interface I { a(user: ID @keysOnly): Int } type Query implements I { a(user: ID): Int @closed }"
    ),
    "an object, whose fields are looked at": "type Query { a(user: In): Int @closed } input In { name: String }",
    "nothing that names a user": "type Query { a(group_id: ID, is_user: Boolean): Int @closed } type T { id: ID }",
}


@pytest.mark.parametrize("text", DECIDED.values(), ids=DECIDED)
def test_what_is_decided_is_left_alone(text: str) -> None:
    """A decision that somebody has taken would be overruled by the next run."""
    assert started(text) == f"{text}\n\n"


def test_a_cost_decides_nothing() -> None:
    """A field that only has a price would stay undecided."""
    assert "a: Int @closed @cost(weight: 1)" in started("type Query { a: Int @cost(weight: 1) }")


AWKWARD = {
    "a description that ends on the line of the name": (
        'type Query {\n  """\n  Doc.\n  """ a: Int\n}',
        f'type Query {{\n  """\n  Doc.\n  """\n  # a: {CLOSED}\n  a: Int @closed\n}}',
    ),
    "one that ends right before the name": (
        'type Query {\n"""Doc\nmore."""a(user:ID):Int b:Int}',
        (
            f'type Query {{\n"""Doc\nmore."""\n# a: {CLOSED}\n# a(user:): {OWN_USER}\n# b: {CLOSED}\n'
            "a(user:ID @ownUser):Int @closed b:Int @closed}"
        ),
    ),
    "one that ends before the type, whose only line it is": (
        '"""\nDoc.\n""" type Query { a: Int }',
        f'"""\nDoc.\n"""\n# a: {CLOSED}\n type Query {{ a: Int @closed }}',
    ),
    "a comment in a description": (
        f'type Query {{\n  """\n  # a: {CLOSED}\n  """\n  a: Int\n}}',
        f'type Query {{\n  """\n  # a: {CLOSED}\n  """\n  # a: {CLOSED}\n  a: Int @closed\n}}',
    ),
    "everything in one line, without blanks": (
        "schema{query:Q}type Q{a(user:ID):Int! b:[Int]}",
        (
            f"# a: {CLOSED}\n# a(user:): {OWN_USER}\n# b: {CLOSED}\n"
            "schema{query:Q}type Q{a(user:ID @ownUser):Int! @closed b:[Int] @closed}"
        ),
    ),
    "tabs": ("type Query {\n\ta: Int\n}", f"type Query {{\n\t# a: {CLOSED}\n\ta: Int @closed\n}}"),
    "the type on another line than the name": (
        "type Query {\n  a\n  :\n  Int\n}",
        f"type Query {{\n  # a: {CLOSED}\n  a\n  :\n  Int @closed\n}}",
    ),
    "a comment instead of a line end": (
        "type Query {\n  a: Int # one\n}",
        f"type Query {{\n  # a: {CLOSED}\n  a: Int @closed # one\n}}",
    ),
    "carriage returns and line feeds": (
        "type Query {\r\n  a: Int\r\n}\r\n",
        f"type Query {{\r\n  # a: {CLOSED}\r\n  a: Int @closed\r\n}}\r\n",
    ),
    "carriage returns alone": (
        "type Query {\r  a: Int\r}\r",
        f"type Query {{\r  # a: {CLOSED}\r  a: Int @closed\r}}\r",
    ),
    "a byte order mark": ("\ufefftype Query { a: Int }", f"\ufeff# a: {CLOSED}\ntype Query {{ a: Int @closed }}"),
    "characters of more than one byte": (
        '"Größe 🙂" type Query { "ü" a: Int }',
        f'# a: {CLOSED}\n"Größe 🙂" type Query {{ "ü" a: Int @closed }}',
    ),
    "root types with names of their own": (
        (
            "schema { query: In mutation: Do subscription: On }\n"
            "type In { a: Int }\ntype Do { b: Int }\ntype On { c: Int }\ntype Query { d: Int }"
        ),
        (
            "schema { query: In mutation: Do subscription: On }\n"
            f"# a: {CLOSED}\ntype In {{ a: Int @closed }}\n# b: {CLOSED}\ntype Do {{ b: Int @closed }}\n"
            f"# c: {CLOSED}\ntype On {{ c: Int @closed }}\ntype Query {{ d: Int }}"
        ),
    ),
    "a root that is named in an extension": (
        (
            "schema { query: Query } extend schema { mutation: Do }\n"
            "type Query { a: Int @authenticated }\ntype Do { b: Int }"
        ),
        (
            "schema { query: Query } extend schema { mutation: Do }\n"
            f"type Query {{ a: Int @authenticated }}\n# b: {CLOSED}\ntype Do {{ b: Int @closed }}"
        ),
    ),
}


@pytest.mark.parametrize(("text", "expected"), AWKWARD.values(), ids=AWKWARD)
def test_layouts_that_are_easily_broken(text: str, expected: str) -> None:
    """A comment would end up in a description, or swallow what follows it."""
    new_line = "\r\n" if "\r\n" in text else "\r" if "\r" in text else "\n"
    gap = new_line if text.endswith(new_line) else 2 * new_line

    assert started(text) == expected + gap


# Definitions ----------------------------------------------------------------------------------------------------------


def defined(text: str) -> list[str]:
    """What a text defines, of the gateway's own."""
    names = re.findall(r"^(?:directive @(\w+)|enum (Scope|Absent)\b)", text, re.MULTILINE)
    return sorted(directive or enum for directive, enum in names)


DEFINITIONS = {
    "none": ("", [*OURS, "Absent", "Scope"]),
    "a directive": ("directive @closed on FIELD_DEFINITION\n", [*OURS, "Absent", "Scope"]),
    "its own scopes": ("enum Scope { READ }\n", [*OURS, "Absent", "Scope"]),
    "scopes under another name": (
        "scalar federation__Scope\ndirective @requiresScopes(scopes: [[federation__Scope!]!]!) on FIELD_DEFINITION\n",
        [*OURS, "Absent"],
    ),
    "absence under another name": (
        (
            "enum Left { SELF REFUSE }\n"
            "directive @ownUser(whenAbsent: Left! = REFUSE) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION\n"
            "directive @ownApp(whenAbsent: Left! = REFUSE) on ARGUMENT_DEFINITION\n"
        ),
        [*OURS, "Scope"],
    ),
}


@pytest.mark.parametrize(("text", "names"), DEFINITIONS.values(), ids=DEFINITIONS)
def test_what_is_missing_is_defined_once(text: str, names: list[str]) -> None:
    """An editor would underline every directive of the file, or a definition would stand twice."""
    assert defined(annotate(text + "type Query { a(user: ID): Int }\n")) == sorted(names)


def test_a_schema_that_defines_everything_gets_no_definitions() -> None:
    """Each run would add to the delivered schema."""
    text = VENDOR_SCHEMA.read_text("utf-8")

    assert defined(annotate(text)) == defined(text)


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        ("directive @closed on OBJECT", "@closed must be allowed on FIELD_DEFINITION to be added."),
        (
            "directive @ownUser(whenAbsent: Absent! = REFUSE) on ARGUMENT_DEFINITION",
            "@ownUser must be allowed on INPUT_FIELD_DEFINITION to be added.",
        ),
        ("type Query { b: Missing }", "Unknown type 'Missing'."),
    ],
)
def test_what_cannot_be_annotated_is_a_fault(definition: str, sentence: str) -> None:
    """The file that comes out would not compile."""
    with pytest.raises(SchemaInvalid) as invalid:
        annotate(f"scalar Date\n{definition}\n" + ("" if "Query" in definition else "type Query { a: Int }"))

    assert [(fault.line, fault.sentence) for fault in invalid.value.faults] == [(2, sentence)]


# Properties -----------------------------------------------------------------------------------------------------------


def without_ours(text: str) -> str:
    """A schema as if nobody had annotated it: without our directives, their definitions and enums."""
    document = parse(text)
    nodes: list[Node] = [node for node in document.definitions if _is_our_definition(node)]
    for _, element in elements(document):
        nodes += (node for node in getattr(element, "directives", None) or () if node.name.value in OURS)
    for place in sorted((node.loc for node in nodes if node.loc), key=lambda loc: -loc.start):
        text = text[: place.start] + text[place.end :]
    return text


def _is_our_definition(node: Node) -> bool:
    if isinstance(node, DirectiveDefinitionNode):
        return node.name.value in OURS
    return isinstance(node, EnumTypeDefinitionNode) and node.name.value in ("Scope", "Absent")


FILES = [VENDOR_SCHEMA, *sorted((VECTORS / "schemas").glob("*.graphql"))]
ANNOTATED = {file.stem: file.read_text("utf-8") for file in FILES}
TEXTS = ANNOTATED | {f"{name}, bare": without_ours(text) for name, text in ANNOTATED.items()} | {"bare": BARE}
TOKENS = re.compile(r'"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*|-?\w+|\S')
GAPS = (" ", "\n", "\r\n", "\t", ", ", "\n  ", " # a comment\n", "\n# type Query {\n")


def check(text: str) -> None:
    """All that is promised of an annotated text."""
    annotated = annotate(text)

    assert annotate(annotated) == annotated
    assert without_comments(without_ours(annotated)) == without_comments(without_ours(text))
    assert is_within(text, annotated)
    before = {row.coordinate: row for row in access(compile_policy(text))}
    for row in access(compile_policy(annotated)):
        assert row.decided
        assert (row.keys, row.scopes, row.users) == tuple(
            getattr(before[row.coordinate], name) for name in ("keys", "scopes", "users")
        )


def without_comments(text: str) -> str:
    """A schema as its syntax tree has it."""
    return print_ast(parse(text))


def is_within(text: str, whole: str) -> bool:
    """Whether a text can be had from the whole by striking out."""
    rest = iter(whole)
    return all(character in rest for character in text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_promised_of_every_schema(text: str) -> None:
    """A schema would lose something, open something, not compile, or grow with each run."""
    check(text)


@settings(max_examples=30)
@given(st.sampled_from([text for text in TEXTS.values() if len(text) < 1_500]), st.randoms(use_true_random=False))
def test_what_is_promised_of_every_layout(text: str, random: Random) -> None:
    """Somebody writes a schema in a way that nobody has thought of, and it would be damaged."""
    tokens = (token for token in TOKENS.findall(text) if not token.startswith("#"))

    check("".join(token + random.choice(GAPS) for token in tokens))
