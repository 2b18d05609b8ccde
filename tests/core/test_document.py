"""Documents before any schema: which operation would run, how big it is, and what cannot be read in one way only."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from graphql import (
    DirectiveLocation,
    FragmentDefinitionNode,
    GraphQLArgument,
    GraphQLDirective,
    GraphQLInt,
    GraphQLString,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decision import Reason, Refused
from gateway.core.document import Document, DocumentLimits, document_from

WIDE = DocumentLimits(*[1 << 40] * 5)
DIRECTIVES = {
    "skip": GraphQLDirective(
        "skip",
        [DirectiveLocation.FIELD, DirectiveLocation.FRAGMENT_SPREAD, DirectiveLocation.INLINE_FRAGMENT],
        {"if": GraphQLArgument(GraphQLString)},
    ),
    "note": GraphQLDirective(
        "note",
        [DirectiveLocation.QUERY, DirectiveLocation.FRAGMENT_DEFINITION, DirectiveLocation.VARIABLE_DEFINITION],
        {"n": GraphQLArgument(GraphQLInt)},
    ),
}


def read(text: str, name: str | None = None, limits: DocumentLimits = WIDE) -> Document:
    """The document in a text."""
    return document_from(text, name, limits, DIRECTIVES)


def outcome(text: str, name: str | None = None, limits: DocumentLimits = WIDE) -> str:
    """The reason for which a text is refused, or `ok`."""
    try:
        read(text, name, limits)
    except Refused as refused:
        (finding,) = refused.deny.findings
        return finding.reason.value
    return "ok"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("{ a }", None, "ok"),
        ("query A { a }", None, "ok"),
        ("query A { a }", "A", "ok"),
        ("query A { a } query B { b }", "B", "ok"),
        ("query A { a } query B { b }", None, "operation_ambiguous"),
        ("query A { a } query B { b }", "C", "operation_ambiguous"),
        ("query A { a } query B { b }", "a", "operation_ambiguous"),
        ("query A { a }", "", "operation_ambiguous"),
        ("{ a }", "A", "operation_ambiguous"),
        ("{ a } { b }", None, "operation_ambiguous"),
        ("query A { a } query A { b }", "A", "document_invalid"),
        ("query A { a } mutation B { b }", "A", "operation_unsupported"),
        ("query A { a } subscription B { b }", "A", "operation_unsupported"),
        ("subscription { a }", None, "operation_unsupported"),
        ("mutation { a }", None, "ok"),
        ("fragment F on T { a }", None, "document_invalid"),
        ("", None, "document_invalid"),
        ("{ a", None, "document_invalid"),
        ("{ }", None, "document_invalid"),
        ("{ a } type T { a: Int }", None, "document_invalid"),
        ("{ a } extend type T { a: Int }", None, "document_invalid"),
        ("{ a } schema { query: Q }", None, "document_invalid"),
    ],
)
def test_the_operation_that_runs(text: str, name: str | None, expected: str) -> None:
    """Another operation runs than the one that is judged."""
    assert outcome(text, name) == expected


def test_the_named_operation_is_taken() -> None:
    """The first operation is judged, and the named one runs."""
    document = read("query A($x: Int) { a(x: $x) } query B($y: Int) { ...F } fragment F on T { b(y: $y) }", "B")

    assert document.operation.name is not None
    assert document.operation.name.value == "B"
    assert list(document.variables) == ["y"]
    assert list(document.fragments) == ["F"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ ...F }", "document_invalid"),
        ("{ a } fragment F on T { ...G }", "document_invalid"),
        ("query A { a } query B { ...G }", "document_invalid"),
        ("{ ...F } fragment F on T { a } fragment F on T { b }", "document_invalid"),
        ("{ ...F } fragment F on T { ...F }", "document_invalid"),
        ("{ a } fragment F on T { ...G } fragment G on T { b { ... on T { ...F } } }", "document_invalid"),
        ("{ ...F ...G } fragment F on T { ...G } fragment G on T { a }", "ok"),
        ("{ a } fragment F on T { a }", "ok"),
        ("{ ...on }", "document_invalid"),
        ("{ a } fragment F($x: Int) on T { a }", "document_invalid"),
        ("{ a @skip(if: true) }", "ok"),
        ("{ a @nope }", "document_invalid"),
        ("{ a @note(n: 1) }", "document_invalid"),
        ("{ a } fragment F on T @nope { a }", "document_invalid"),
        ("{ a { ... @nope { b } } }", "document_invalid"),
        ("{ ...F @nope } fragment F on T { a }", "document_invalid"),
        ("query A @nope { a }", "document_invalid"),
        ("query A @note(n: 1) { a }", "ok"),
        ("mutation A @note(n: 1) { a }", "document_invalid"),
        ("query A { a } query B { a @nope }", "document_invalid"),
        ("{ ...F @skip(if: true) } fragment F on T @note { ... @skip(if: true) { a } }", "ok"),
        ("{ a @skip(if: true, unless: false) }", "argument_unknown"),
        ("{ a @skip(if: true, if: false) }", "document_invalid"),
        ("query A($x: Int @note(n: 1)) { a }", "ok"),
        ("query A($x: Int @skip(if: true)) { a }", "document_invalid"),
        ("query A($x: Int, $x: Int) { a }", "document_invalid"),
        ("query A($x: Int = 1) { a(x: $x) }", "ok"),
        ("query A($x: I = {a: 1, a: 2}) { a(x: $x) }", "document_invalid"),
        ("query A($x: I = $y) { a(x: $x) }", "document_invalid"),
        ("{ a(x: $x) }", "document_invalid"),
        ("{ a(x: [{y: [$x]}]) }", "document_invalid"),
        ("{ a @skip(if: $x) }", "document_invalid"),
        (
            "{ ...F } fragment F on T { ...G ...H } fragment G on T { ...H } fragment H on T { a(x: $x) }",
            "document_invalid",
        ),
        ("query A($x: Int) { ...F ...F } fragment F on T { a(x: $x) }", "ok"),
        ("{ a } fragment F on T { a(x: $x) }", "ok"),
        ("query A { a } query B($x: Int) { a(x: $x) }", "ok"),
        ("query A { a } query B($x: Int = [[1]], $x: Int) { a(x: $y) }", "ok"),
        ("{ a(x: 1, x: 1) }", "document_invalid"),
        ("{ a(x: {y: 1, y: 1}) }", "document_invalid"),
        ("{ a(x: [[{y: {z: 1, z: 1}}]]) }", "document_invalid"),
        ("{ a(x: {y: 1}, y: {y: 1}) }", "ok"),
        ('{ a(x: "\\ud800") }', "document_invalid"),
        ("{ a(x: 00) }", "document_invalid"),
    ],
)
def test_what_contradicts_itself(text: str, expected: str) -> None:
    """A document that servers read differently is judged in one way and run in another."""
    assert outcome(text, "A" if text.startswith("query A") else None) == expected


def test_a_syntax_error_is_placed() -> None:
    """A developer is told that there is an error, and not where."""
    with pytest.raises(Refused) as caught:
        read("{\n  a(: 1)\n}")

    assert caught.value.deny.findings[0].detail == "There is a syntax error at line 2, column 5."


@pytest.mark.parametrize(
    "text",
    [
        "{ a { b: c { d } } }",
        "{ a ... { b { x: c } } ... on T { d } }",
        "{ a ...F x: a ...G } fragment F on T { b { y: c ...G } } fragment G on T { d { e z: f } }",
        "{ ...F ...F ...F } fragment F on T { ...G ...G } fragment G on T { a: b c }",
        "{ a { ...F } ...F } fragment F on T { b { c { d: e } } }",
        "query A { a } fragment F on T { a { b { c { d { x: e } } } } }",
    ],
)
def test_sizes_are_those_of_the_expanded_operation(text: str) -> None:
    """Limits are passed by means of fragments, or an operation within them is refused."""
    document = read(text)
    depth, aliases, root_fields = _size(document)

    for attribute, size, reason in (
        ("document_depth", depth, Reason.DOCUMENT_TOO_DEEP),
        ("document_aliases", aliases, Reason.DOCUMENT_TOO_MANY_ALIASES),
        ("document_root_fields", root_fields, Reason.DOCUMENT_TOO_MANY_ROOT_FIELDS),
    ):
        limits = dict.fromkeys(DocumentLimits.__dataclass_fields__, 1 << 40)
        assert outcome(text, None, DocumentLimits(**{**limits, attribute: size})) == "ok"
        if size:
            assert outcome(text, None, DocumentLimits(**{**limits, attribute: size - 1})) == reason.value


def _size(document: Document) -> tuple[int, int, int]:
    """Depth, aliases and root fields of an operation, counted by expanding it."""

    def expand(selection_set: Any) -> list[tuple[Any, list[Any]]]:
        fields = []
        for node in selection_set.selections:
            if node.kind == "field":
                fields.append((node, expand(node.selection_set) if node.selection_set else []))
            elif node.kind == "inline_fragment":
                fields.extend(expand(node.selection_set))
            else:
                fields.extend(expand(document.fragments[node.name.value].selection_set))
        return fields

    def depth(fields: list[tuple[Any, list[Any]]]) -> int:
        return max((1 + depth(below) for _, below in fields), default=0)

    def aliases(fields: list[tuple[Any, list[Any]]]) -> int:
        return sum((node.alias is not None) + aliases(below) for node, below in fields)

    fields = expand(document.operation.selection_set)
    return depth(fields), aliases(fields), len(fields)


@st.composite
def _fragments(draw: st.DrawFn) -> str:
    """A document whose fragments spread later ones, at any depth and any number of times."""
    count = draw(st.integers(1, 5))

    def selections(after: int) -> str:
        pieces = [f"...F{i}" for i in range(after, count)] + ["a", "x: a", "a { b }", "... { c { y: d } }"]
        nested = [f"a {{ {piece} }}" for piece in pieces]
        return " ".join(draw(st.lists(st.sampled_from(pieces + nested), min_size=1, max_size=3)))

    definitions = [f"fragment F{i} on T {{ {selections(i + 1)} }}" for i in range(count)]
    return " ".join(draw(st.permutations([f"{{ {selections(0)} }}", *definitions])))


@given(_fragments())
def test_sizes_of_any_fragments(text: str) -> None:
    """A way to nest fragments is found that is counted as less than it is."""
    test_sizes_are_those_of_the_expanded_operation(text)


def test_doubling_fragments_are_counted_and_not_expanded() -> None:
    """A kilobyte of fragments that spread each other twice is expanded into a million million fields."""
    fragments = " ".join(f"fragment F{i} on T {{ ...F{i + 1} ...F{i + 1} }}" for i in range(60))
    text = f"{{ ...F0 }} {fragments} fragment F60 on T {{ x: a }}"
    limits = DocumentLimits(1 << 40, 1 << 40, document_depth=15, document_aliases=30, document_root_fields=1 << 20)

    assert outcome(text, None, limits) == "document_too_many_aliases"


LIMITS: Mapping[str, tuple[Callable[[int], str], Reason]] = {
    "document_bytes": (lambda size: "{ a }" + " " * (size - 5), Reason.DOCUMENT_TOO_LARGE),
    "document_tokens": (lambda size: "{ " + "a " * (size - 2) + "}", Reason.DOCUMENT_TOO_MANY_TOKENS),
    "document_depth": (lambda size: "{ a " * size + "}" * size, Reason.DOCUMENT_TOO_DEEP),
    "document_aliases": (lambda size: "{ " + "a: b " * size + "}", Reason.DOCUMENT_TOO_MANY_ALIASES),
    "document_root_fields": (lambda size: "{ " + "a " * size + "}", Reason.DOCUMENT_TOO_MANY_ROOT_FIELDS),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_is_exact(limit: str) -> None:
    """A limit that the operator sets is another one than the one that holds."""
    write, reason = LIMITS[limit]
    wide = dict.fromkeys(DocumentLimits.__dataclass_fields__, 1 << 40)
    limits = DocumentLimits(**{**wide, limit: 12})

    assert outcome(write(12), None, limits) == "ok"
    assert outcome(write(13), None, limits) == reason.value


def test_bytes_are_counted() -> None:
    """A document in letters of several bytes passes with a multiple of the limit."""
    limits = DocumentLimits(document_bytes=12)

    assert outcome("{ a } # ééé", None, limits) == "document_too_large"
    assert outcome("{ a } # eee", None, limits) == "ok"


def test_comments_are_tokens() -> None:
    """A document of comments keeps the lexer busy beyond the limit."""
    assert outcome("{ a }" + "\n#" * 10, None, DocumentLimits(document_tokens=12)) == "document_too_many_tokens"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{y: ", "}"), ("[{y: ", "}]")])
def test_values_are_bounded_in_depth(opening: str, closing: str) -> None:
    """A value that is nested deeply ends in a fault of ours, for it is read by recursion."""
    levels = 64 // len(closing)
    inner = opening.replace(": ", ": 1", 1) + closing if "y" in opening else "[]"

    def nested(times: int) -> str:
        return opening * (times - 1) + inner + closing * (times - 1)

    for text in ("{ a(x: <>) }", "query A($x: I = <>) { a(x: $x) }", "{ a @skip(if: <>) }"):
        assert outcome(text.replace("<>", nested(levels // 2))) == "ok"
        assert outcome(text.replace("<>", nested(levels + 1))) == "document_too_deep"


@pytest.mark.parametrize("depth", [300, 5_000])
def test_what_the_parser_cannot_nest(depth: int) -> None:
    """Selections that are nested deeply make the process fail."""
    assert outcome("{ a " * depth + "}" * depth) == "document_too_deep"


def test_conditions_are_those_of_the_whole_text() -> None:
    """A type condition that nobody reaches tells by its absence what is closed."""
    document = read("{ a { ... on A { b } ... { ...F } } } fragment F on B { ... on C { c } } fragment G on D { d }")

    assert document.conditions == {"A", "B", "C", "D"}
    assert all(isinstance(fragment, FragmentDefinitionNode) for fragment in document.fragments.values())
