"""A GraphQL document read and bounded: the one operation that will run, its fragments, and how big it all is.

Everything here is about the text alone, before any schema. Counts are those of the expanded operation, summed once per
fragment: a document of doubling fragments is counted, not expanded. Nothing recurses over what a client sends.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLDirective,
    GraphQLSyntaxError,
    InlineFragmentNode,
    Lexer,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Source,
    Token,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
)
from graphql.language.directive_locations import DirectiveLocation
from graphql.language.parser import Parser

from gateway.core.decision import Reason, Refused, refuse

Definition = OperationDefinitionNode | FragmentDefinitionNode
Selection = FieldNode | InlineFragmentNode | FragmentSpreadNode

_SATURATED: Final = 1 << 32  # Far above every limit, far below where integers become slow.
_VALUE_DEPTH: Final = 64  # As deep as the JSON of variables; values are read by recursion, and may hold one another.


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Bounds on one document. Bytes and tokens bound the parser, which takes about 1 µs a character and holds the
    loop; depth 15 lets the standard introspection query pass; aliases and root fields bound what one request can ask
    the upstream to do again and again."""

    document_bytes: int = 32_768
    document_tokens: int = 1_000
    document_depth: int = 15
    document_aliases: int = 30
    document_root_fields: int = 20


@dataclass(frozen=True, slots=True)
class Document:
    """One operation that can run, with what it needs; every spread has its fragment, none is cyclic.

    `conditions` are the type conditions of all fragments in the text.
    """

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, VariableDefinitionNode]
    conditions: frozenset[str]


def document_from(
    text: str, operation_name: str | None, limits: DocumentLimits, directives: Mapping[str, GraphQLDirective]
) -> Document:
    """The operation of `text` that `operation_name` names, or `Refused`. `directives` are those a document may use."""
    definitions = _executable(_parse(text, limits))
    operations = [node for node in definitions if isinstance(node, OperationDefinitionNode)]
    fragments = _fragments(definitions)
    operation = _chosen(operations, operation_name)
    facts = {id(node): _facts(node, directives) for node in definitions}
    order = _bottom_up(fragments, facts)
    for node in operations:
        _check_spreads(facts[id(node)], fragments)
    _add_up(order, fragments, facts)
    whole = _expanded(facts[id(operation)], fragments, facts)
    _check_size(whole, limits)
    variables = _variables(operation, directives)
    if not _used_variables(facts[id(operation)], fragments, facts) <= variables.keys():
        raise _invalid("The operation uses a variable that it does not declare.")
    conditions = frozenset().union(*(each.conditions for each in facts.values()))
    return Document(operation, fragments, variables, conditions)


# Reading ------------------------------------------------------------------------------------------------------------


class _TooManyTokens(Exception):
    """The document has more tokens than the limit."""


class _CountingLexer(Lexer):
    """Counts each token read, comments included, so that the limit is not told from a syntax error by its text."""

    def __init__(self, source: Source, limit: int) -> None:
        super().__init__(source)
        self._left = limit + 1  # The end of the document is a token too, to the lexer alone.

    def read_next_token(self, start: int) -> Token:
        token = super().read_next_token(start)
        self._left -= 1
        if self._left < 0:
            raise _TooManyTokens
        return token


def _parse(text: str, limits: DocumentLimits) -> DocumentNode:
    if len(text) > limits.document_bytes or len(text.encode()) > limits.document_bytes:
        raise refuse(Reason.DOCUMENT_TOO_LARGE)
    source = Source(text)
    lexer = _CountingLexer(source, limits.document_tokens)
    try:
        return Parser(source, no_location=True, lexer=lexer, allow_empty_selection_sets=False).parse_document()
    except _TooManyTokens:
        raise refuse(Reason.DOCUMENT_TOO_MANY_TOKENS) from None
    except GraphQLSyntaxError as error:
        raise _invalid(_where(error)) from None
    except RecursionError:
        raise refuse(Reason.DOCUMENT_TOO_DEEP) from None


def _where(error: GraphQLSyntaxError) -> str:
    places = [f" at line {place.line}, column {place.column}" for place in error.locations or ()]
    return f"There is a syntax error{''.join(places)}."


def _executable(document: DocumentNode) -> list[Definition]:
    definitions = [node for node in document.definitions if isinstance(node, Definition)]
    if len(definitions) != len(document.definitions):
        raise _invalid("A document to be run holds operations and fragments only.")
    return definitions


def _fragments(definitions: list[Definition]) -> dict[str, FragmentDefinitionNode]:
    found = [node for node in definitions if isinstance(node, FragmentDefinitionNode)]
    fragments = {node.name.value: node for node in found}
    if len(fragments) != len(found):
        raise _invalid("Two fragments have the same name.")
    return fragments


def _chosen(operations: list[OperationDefinitionNode], name: str | None) -> OperationDefinitionNode:
    named = {node.name.value: node for node in operations if node.name}
    if not operations:
        raise _invalid("The document has no operation.")
    if len(named) != len([node for node in operations if node.name]):
        raise _invalid("Two operations have the same name.")
    if len({node.operation for node in operations}) > 1:
        raise refuse(Reason.OPERATION_UNSUPPORTED, "A document must not mix queries and mutations.")
    if name is None and len(operations) > 1:
        raise refuse(Reason.OPERATION_AMBIGUOUS)
    chosen = operations[0] if name is None else named.get(name)
    if chosen is None:
        raise refuse(Reason.OPERATION_AMBIGUOUS, "The document has no operation of the name in operationName.")
    if chosen.operation is OperationType.SUBSCRIPTION:
        raise refuse(Reason.OPERATION_UNSUPPORTED, "Subscriptions are not supported.")
    return chosen


# Facts of one definition ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Facts:
    """What one definition holds itself. Depth counts enclosing fields; a spread is noted with the depth it stands at.

    For a fragment, `_add_up` turns depth, aliases and root fields into those of its expansion.
    """

    depth: int = 0
    aliases: int = 0
    root_fields: int = 0
    spreads: list[tuple[str, int]] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)
    conditions: set[str] = field(default_factory=set)


def _facts(definition: Definition, directives: Mapping[str, GraphQLDirective]) -> _Facts:
    facts = _Facts()
    if isinstance(definition, FragmentDefinitionNode):
        location = DirectiveLocation.FRAGMENT_DEFINITION
        facts.conditions.add(definition.type_condition.name.value)
    else:
        location = DirectiveLocation[definition.operation.name]
    _check_directives(definition.directives, location, directives, facts)
    pending: list[tuple[SelectionSetNode, int]] = [(definition.selection_set, 0)]
    while pending:
        selection_set, depth = pending.pop()
        for node in cast("tuple[Selection, ...]", selection_set.selections):
            if isinstance(node, FieldNode):
                _note_field(node, depth + 1, facts)
                _check_directives(node.directives, DirectiveLocation.FIELD, directives, facts)
                if node.selection_set:
                    pending.append((node.selection_set, depth + 1))
            elif isinstance(node, InlineFragmentNode):
                _check_directives(node.directives, DirectiveLocation.INLINE_FRAGMENT, directives, facts)
                if node.type_condition:
                    facts.conditions.add(node.type_condition.name.value)
                pending.append((node.selection_set, depth))
            else:
                _check_directives(node.directives, DirectiveLocation.FRAGMENT_SPREAD, directives, facts)
                facts.spreads.append((node.name.value, depth))
    return facts


def _note_field(node: FieldNode, depth: int, facts: _Facts) -> None:
    facts.depth = max(facts.depth, depth)
    facts.aliases += node.alias is not None
    facts.root_fields += depth == 1
    _check_arguments(node.arguments, facts)


def _check_arguments(arguments: Iterable[ArgumentNode] | None, facts: _Facts) -> None:
    names = set()
    for argument in arguments or ():
        if argument.name.value in names:
            raise _invalid("A field or directive is given the same argument twice.")
        names.add(argument.name.value)
        _check_value(argument.value, facts.variables)


def _check_value(value: ValueNode, variables: set[str]) -> None:
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > _VALUE_DEPTH:
            raise refuse(Reason.DOCUMENT_TOO_DEEP, "One of its values is.")
        if isinstance(node, VariableNode):
            variables.add(node.name.value)
        elif isinstance(node, ListValueNode):
            pending.extend((item, depth + 1) for item in node.values or ())
        elif isinstance(node, ObjectValueNode):
            members = node.fields or ()
            if len({member.name.value for member in members}) != len(members):
                raise _invalid("An input object is given the same field twice.")
            pending.extend((member.value, depth + 1) for member in members)


def _check_directives(
    nodes: Iterable[DirectiveNode] | None,
    location: DirectiveLocation,
    directives: Mapping[str, GraphQLDirective],
    facts: _Facts,
) -> None:
    for node in nodes or ():
        definition = directives.get(node.name.value)
        if definition is None or location not in definition.locations:
            raise _invalid("The document uses a directive that is not open here.")
        _check_arguments(node.arguments, facts)
        for argument in node.arguments or ():
            if argument.name.value not in definition.args:
                raise refuse(Reason.ARGUMENT_UNKNOWN, "A directive is given an argument that it does not have.")


# Fragments added up ---------------------------------------------------------------------------------------------------


def _check_spreads(facts: _Facts, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
    if any(name not in fragments for name, _ in facts.spreads):
        raise _invalid("The document spreads a fragment that it does not define.")


def _bottom_up(fragments: Mapping[str, FragmentDefinitionNode], facts: Mapping[int, _Facts]) -> list[str]:
    """The fragments in an order in which each follows all that it spreads (Kahn 1962); refuses cycles."""
    users: dict[str, list[str]] = {name: [] for name in fragments}
    missing = {}
    for name, node in fragments.items():
        below = facts[id(node)]
        _check_spreads(below, fragments)
        missing[name] = len(below.spreads)
        for spread, _ in below.spreads:
            users[spread].append(name)
    ready = deque(name for name, count in missing.items() if not count)
    order = []
    while ready:
        name = ready.popleft()
        order.append(name)
        for user in users[name]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(order) != len(fragments):
        raise _invalid("Fragments of the document spread each other in a circle.")
    return order


def _add_up(order: Iterable[str], fragments: Mapping[str, FragmentDefinitionNode], facts: dict[int, _Facts]) -> None:
    for name in order:
        key = id(fragments[name])
        facts[key] = _expanded(facts[key], fragments, facts)


def _expanded(own: _Facts, fragments: Mapping[str, FragmentDefinitionNode], facts: Mapping[int, _Facts]) -> _Facts:
    depth, aliases, root_fields = own.depth, own.aliases, own.root_fields
    for name, at in own.spreads:
        below = facts[id(fragments[name])]
        depth = max(depth, at + below.depth)
        aliases = min(aliases + below.aliases, _SATURATED)
        if at == 0:
            root_fields = min(root_fields + below.root_fields, _SATURATED)
    return _Facts(depth, aliases, root_fields, own.spreads, own.variables, own.conditions)


def _check_size(whole: _Facts, limits: DocumentLimits) -> None:
    if whole.depth > limits.document_depth:
        raise refuse(Reason.DOCUMENT_TOO_DEEP)
    if whole.aliases > limits.document_aliases:
        raise refuse(Reason.DOCUMENT_TOO_MANY_ALIASES)
    if whole.root_fields > limits.document_root_fields:
        raise refuse(Reason.DOCUMENT_TOO_MANY_ROOT_FIELDS)


# Variables ------------------------------------------------------------------------------------------------------------


def _variables(
    operation: OperationDefinitionNode, directives: Mapping[str, GraphQLDirective]
) -> dict[str, VariableDefinitionNode]:
    definitions = operation.variable_definitions or ()
    variables = {node.variable.name.value: node for node in definitions}
    if len(variables) != len(definitions):
        raise _invalid("The operation declares a variable twice.")
    for node in definitions:
        facts = _Facts()
        _check_directives(node.directives, DirectiveLocation.VARIABLE_DEFINITION, directives, facts)
        if node.default_value is not None:
            _check_value(node.default_value, facts.variables)
    return variables


def _used_variables(
    own: _Facts, fragments: Mapping[str, FragmentDefinitionNode], facts: Mapping[int, _Facts]
) -> set[str]:
    used = set(own.variables)
    pending = [name for name, _ in own.spreads]
    seen = set(pending)
    while pending:
        below = facts[id(fragments[pending.pop()])]
        used |= below.variables
        for name, _ in below.spreads:
            if name not in seen:
                seen.add(name)
                pending.append(name)
    return used


def _invalid(detail: str) -> Refused:
    return refuse(Reason.DOCUMENT_INVALID, detail)
