"""Rewritings of documents that must not change what is decided about them."""

from collections.abc import Callable
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    is_composite_type,
    parse,
    parse_type,
    print_ast,
    value_from_ast_untyped,
    visit,
)

Wrapping = Callable[[SelectionNode, str | None], SelectionNode]


def without_aliases(query: str) -> str:
    """The document with every field under its own name."""

    class Strip(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> Any:
            return _copied(node, alias=None)

    return print_ast(visit(parse(query), Strip()))


def with_aliases(query: str, name: str) -> str:
    """The document with every field under an alias, each another one."""
    count = 0

    class Add(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> Any:
            nonlocal count
            count += 1
            return _copied(node, alias=NameNode(value=f"{name}{count}"))

    return print_ast(visit(parse(query), Add()))


def in_fragments(query: str, schema: GraphQLSchema, kind: str) -> str:
    """The document with each selection in a fragment of its own: `bare`, `typed` or `named`."""
    info = TypeInfo(schema)
    named: list[FragmentDefinitionNode] = []

    class Wrap(Visitor):
        def leave_selection_set(self, node: SelectionSetNode, *_: Any) -> SelectionSetNode:
            parent = info.get_parent_type()
            return SelectionSetNode(
                selections=tuple(
                    _wrapped(item, parent.name if parent else None, kind, named) for item in node.selections
                )
            )

    document = visit(parse(query), TypeInfoVisitor(info, Wrap()))
    return print_ast(DocumentNode(definitions=(*document.definitions, *named)))


def _wrapped(
    selection: SelectionNode, condition: str | None, kind: str, named: list[FragmentDefinitionNode]
) -> SelectionNode:
    selection_set = SelectionSetNode(selections=(selection,))
    if kind == "bare" or condition is None:
        return InlineFragmentNode(type_condition=None, directives=(), selection_set=selection_set)
    on = NamedTypeNode(name=NameNode(value=condition))
    if kind == "typed":
        return InlineFragmentNode(type_condition=on, directives=(), selection_set=selection_set)
    name = NameNode(value=f"Wrapped{len(named)}")
    named.append(
        FragmentDefinitionNode(
            name=name, type_condition=on, variable_definitions=(), directives=(), selection_set=selection_set
        )
    )
    return FragmentSpreadNode(name=name, directives=())


def in_variables(query: str, schema: GraphQLSchema) -> tuple[str, dict[str, Any]]:
    """The document with every argument's literal in a variable, and the values of these variables."""
    info = TypeInfo(schema)
    values: dict[str, Any] = {}
    declared: list[VariableDefinitionNode] = []

    class Move(Visitor):
        def enter_directive(self, *_: Any) -> Any:
            return self.SKIP

        def enter_argument(self, node: ArgumentNode, *_: Any) -> ArgumentNode | None:
            argument = info.get_argument()
            if argument is None or "$" in print_ast(node.value):
                return None
            name = f"moved{len(values)}"
            values[name] = value_from_ast_untyped(node.value)
            variable = VariableNode(name=NameNode(value=name))
            declared.append(
                VariableDefinitionNode(
                    variable=variable, type=parse_type(str(argument.type)), default_value=None, directives=()
                )
            )
            return ArgumentNode(name=node.name, value=variable)

    document = visit(parse(query), TypeInfoVisitor(info, Move()))
    definitions = tuple(
        _copied(node, variable_definitions=(*(node.variable_definitions or ()), *declared))
        if isinstance(node, OperationDefinitionNode)
        else node
        for node in document.definitions
    )
    return print_ast(DocumentNode(definitions=definitions)), values


def with_field(query: str, schema: GraphQLSchema, place: int, choice: int) -> str:
    """The document with one more field in one of its selections: one that its type has, or one that nothing has."""
    info = TypeInfo(schema)
    seen = -1
    total = query.count("{")

    class Add(Visitor):
        def leave_selection_set(self, node: SelectionSetNode, *_: Any) -> SelectionSetNode | None:
            nonlocal seen
            seen += 1
            if seen != place % total:
                return None
            fields = getattr(info.get_parent_type(), "fields", {})
            names = [*sorted(fields), "nope"]
            name = names[choice % len(names)]
            kind = fields[name].type if name in fields else None
            below = " { __typename }" if kind and is_composite_type(_named(kind)) else ""
            added = parse(f"{{ added: {name}{below} }}").definitions[0]
            assert isinstance(added, OperationDefinitionNode)
            return SelectionSetNode(selections=(*node.selections, *added.selection_set.selections))

    return print_ast(visit(parse(query), TypeInfoVisitor(info, Add())))


def _named(kind: Any) -> Any:
    while hasattr(kind, "of_type"):
        kind = kind.of_type
    return kind


def _copied(node: Any, **changes: Any) -> Any:
    members = {key: getattr(node, key, None) for key in node.keys if key != "loc"}
    return type(node)(**{**members, **changes})
