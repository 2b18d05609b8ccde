"""A bare schema annotated to start from: closed at every root field, and to own users wherever a value names one.

Nothing is opened here. What is added is added by position, so the text, its comments and its layout stay as they are;
each addition has a comment above it that says why, and what was added once is not added again.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from graphql import (
    DirectiveDefinitionNode,
    DocumentNode,
    FieldDefinitionNode,
    GraphQLInputObjectType,
    GraphQLScalarType,
    InputValueDefinitionNode,
    Location,
    Node,
    TypeDefinitionNode,
    TypeExtensionNode,
    get_named_type,
    parse,
)

from gateway.core.directives import DEFINITIONS, OURS
from gateway.core.policy import InputPolicy, Policy
from gateway.core.policy_advice import DECIDING, Value, declared, is_settled
from gateway.core.schema import SchemaFault, SchemaInvalid, compile_policy

_CLOSED: Final = "closed until somebody says who may use it: @requiresScopes, @authenticated or @userContext."
_OWN_USER: Final = 'named like a user id; a user token must give its own, unless it is @anyUser(reason: "...").'
_LEFT: Final = "named like a user id, and left alone; @ownUser cannot stand here, because"
_DEFINITIONS: Final = "# The gateway's directives, so that other tools understand them. Name your own scopes in Scope."

# Where the directives that are added must be allowed, should the file define them itself.
_LOCATIONS: Final = {
    "closed": frozenset({"FIELD_DEFINITION"}),
    "ownUser": frozenset({"ARGUMENT_DEFINITION", "INPUT_FIELD_DEFINITION"}),
}
# The enums of the supplied definitions, and the directives that take them.
_ENUMS: Final = {"Absent": frozenset({"ownUser", "ownApp"}), "Scope": frozenset({"requiresScopes"})}
# GraphQL specification, "Line Terminators".
_NEW_LINE: Final = re.compile(r"\r\n|\n|\r")
_MARK: Final = "\ufeff"


class _Edit(NamedTuple):
    """Text to be inserted at an offset."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class _Note:
    """What is said of one element, and the directive that it is given, if any."""

    node: FieldDefinitionNode | InputValueDefinitionNode
    comment: str
    directive: str = ""


def annotate(text: str) -> str:
    """The SDL with `@closed` on each root field, and `@ownUser` on each value named like a user id, that is undecided.

    What carries a directive of the gateway's already is left alone. The definitions of the gateway's directives are
    added where they are missing. The result compiles, and annotating it again changes nothing. Raises `SchemaInvalid`
    where the text does not compile.
    """
    policy = compile_policy(text)
    document = parse(text)
    _check_definitions(document)
    notes = list(_notes(policy, document))
    layout = _Layout(text)
    directives = (_Edit(_place(note.node.type).end, f" {note.directive}") for note in notes if note.directive)
    return layout.edited([*directives, *layout.comments(notes), *layout.appended(_missing(document))])


def _check_definitions(document: DocumentNode) -> None:
    faults = []
    for node in document.definitions:
        if isinstance(node, DirectiveDefinitionNode):
            allowed = {location.value for location in node.locations}
            missing = _LOCATIONS.get(node.name.value, frozenset()) - allowed
            if missing:
                text = f"@{node.name.value} must be allowed on {' and '.join(sorted(missing))} to be added."
                faults.append(SchemaFault(_place(node.name).start_token.line, text))
    if faults:
        raise SchemaInvalid(faults)


# What is said of which element ----------------------------------------------------------------------------------------


def _notes(policy: Policy, document: DocumentNode) -> Iterator[_Note]:
    """What is said of each element that wants a decision, in the order of the text."""
    values = {value.coordinate: value for value in declared(policy.schema)}
    obstacles = _obstacles(policy, values.values())
    for kind, node in _members(document):
        name = node.name.value
        if isinstance(node, InputValueDefinitionNode):
            given = policy.inputs[kind][name]
            if values[given.coordinate].names_user:
                yield from _about_value(node, name, given, obstacles.get(kind))
            continue
        if kind in policy.roots and DECIDING.isdisjoint(each.name.value for each in node.directives or ()):
            yield _Note(node, f"# {name}: {_CLOSED}", "@closed")
        for argument in node.arguments or ():
            given = policy.fields[kind][name].arguments[argument.name.value]
            if values[given.coordinate].names_user:
                yield from _about_value(argument, f"{name}({argument.name.value}:)", given, None)


def _members(document: DocumentNode) -> Iterator[tuple[str, FieldDefinitionNode | InputValueDefinitionNode]]:
    for definition in document.definitions:
        if isinstance(definition, TypeDefinitionNode | TypeExtensionNode):
            for member in getattr(definition, "fields", None) or ():
                yield definition.name.value, member


def _about_value(
    node: InputValueDefinitionNode, name: str, given: InputPolicy, obstacle: str | None
) -> Iterator[_Note]:
    # An object cannot be an id; the fields within it are looked at themselves.
    if is_settled(given) or not isinstance(get_named_type(given.type), GraphQLScalarType):
        return
    if node.default_value is not None:
        obstacle = "there is a default"
    if obstacle:
        yield _Note(node, f"# {name}: {_LEFT} {obstacle}.")
    else:
        yield _Note(node, f"# {name}: {_OWN_USER}", "@ownUser")


def _obstacles(policy: Policy, values: Iterable[Value]) -> Mapping[str, str]:
    """The input types in which no field may have to name the caller, each with what leads there and forbids it."""
    leading = [
        (f"{value.coordinate}, which leads here, has a default", value.definition.type)
        for value in values
        if value.definition.ast_node and value.definition.ast_node.default_value is not None
    ]
    leading += [
        (f"@{directive.name}({name}:), which leads here, is not judged", argument.type)
        for directive in policy.schema.directives
        for name, argument in directive.args.items()
    ]
    found: dict[str, str] = {}
    for reason, kind in leading:
        pending = [get_named_type(kind)]
        while pending:
            named = pending.pop()
            if isinstance(named, GraphQLInputObjectType) and named.name not in found:
                found[named.name] = reason
                pending += (get_named_type(field.type) for field in named.fields.values())
    return found


def _missing(document: DocumentNode) -> list[str]:
    """The texts of the gateway's definitions that the document leaves out, and that stand for themselves."""
    present = {node.name.value for node in document.definitions if isinstance(node, DirectiveDefinitionNode)}
    types = {node.name.value for node in document.definitions if isinstance(node, TypeDefinitionNode)}
    missing = []
    for node in parse(DEFINITIONS).definitions:
        name = node.name.value if isinstance(node, DirectiveDefinitionNode | TypeDefinitionNode) else ""
        if isinstance(node, DirectiveDefinitionNode):
            wanted = name in OURS - present
        else:
            wanted = bool(_ENUMS.get(name, frozenset()) - present) and name not in types
        if wanted:
            place = _place(node)
            missing.append(DEFINITIONS[place.start : place.end])
    return missing


# Where it is written --------------------------------------------------------------------------------------------------


def _place(node: Node) -> Location:
    return cast("Location", node.loc)  # `parse` gives every node its place


class _Layout:
    """The lines of a text, and what is inserted between them."""

    def __init__(self, text: str) -> None:
        ends = list(_NEW_LINE.finditer(text))
        self._text = text
        self._new_line = ends[0].group() if ends else "\n"
        self._starts = [int(text.startswith(_MARK)), *(end.end() for end in ends)]

    def edited(self, edits: Iterable[_Edit]) -> str:
        """The text with all insertions made."""
        pieces, done = [], 0
        for edit in sorted(edits):
            pieces += [self._text[done : edit.at], edit.text]
            done = edit.at
        return "".join([*pieces, self._text[done:]])

    def comments(self, notes: Iterable[_Note]) -> Iterator[_Edit]:
        """The comments, each above the line on which its element's name stands, unless they stand there already."""
        lines: dict[int, list[_Note]] = {}
        for note in notes:
            lines.setdefault(self._line(_place(note.node.name).start), []).append(note)
        for line, together in lines.items():
            above = set(self._comments_above(line))
            new = [note.comment for note in together if note.comment not in above]
            if new:
                yield self._above(line, together[0], new)

    def appended(self, definitions: list[str]) -> Iterator[_Edit]:
        """Definitions at the end of the text."""
        if definitions:
            lines = "\n".join([_DEFINITIONS, *definitions, ""])
            gap = "\n" if self._starts[-1] == len(self._text) else "\n\n"
            yield _Edit(len(self._text), (gap + lines).replace("\n", self._new_line))

    def _above(self, line: int, note: _Note, comments: list[str]) -> _Edit:
        start = self._starts[line]
        token = _place(note.node.name).start_token
        while token.prev and token.start > start:
            token = token.prev
        if token.start == start or token.end <= start:
            indent = self._blanks(start)
            return _Edit(start, "".join(f"{indent}{comment}{self._new_line}" for comment in comments))
        # The line begins within a description, which must not be changed: begin a new line behind it.
        indent = self._blanks(self._starts[self._line(token.start)])
        lines = self._new_line.join(["", *(indent + comment for comment in comments), indent])
        return _Edit(token.end, lines.removesuffix(self._blanks(token.end)))

    def _line(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1

    def _blanks(self, start: int) -> str:
        end = start
        while self._text.startswith((" ", "\t"), end):
            end += 1
        return self._text[start:end]

    def _comments_above(self, line: int) -> Iterator[str]:
        for above in range(line - 1, -1, -1):
            text = self._text[self._starts[above] : self._starts[above + 1]].strip()
            if not text.startswith("#"):
                return
            yield text
