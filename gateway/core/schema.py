"""An annotated SDL compiled to a policy, or every fault in it with its line."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from graphql import (
    DirectiveDefinitionNode,
    DirectiveNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    EnumTypeExtensionNode,
    FieldDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    InputValueDefinitionNode,
    InterfaceTypeDefinitionNode,
    ListTypeNode,
    Node,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    ObjectValueNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    StringValueNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    TypeNode,
    UnionTypeDefinitionNode,
    build_ast_schema,
    parse,
    print_ast,
    validate_schema,
)
from graphql.validation.validate import validate_sdl

from gateway.core.compile import Fielded, Marks, family, policy_from
from gateway.core.directives import (
    OURS,
    Absent,
    Mark,
    absent_faults,
    argument,
    integer,
    items,
    mark_from,
    named_argument,
    redefined,
    scope_lists,
    strings,
    supply,
)
from gateway.core.policy import Options, Policy


@dataclass(frozen=True, slots=True, order=True)
class SchemaFault:
    """One thing wrong with a schema: the line (1-based; 0 where there is none) and a sentence."""

    line: int
    sentence: str


class SchemaInvalid(Exception):
    """The schema cannot be a policy; all faults found, in the order of their lines."""

    def __init__(self, faults: Iterable[SchemaFault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("; ".join(f"line {fault.line}: {fault.sentence}" for fault in self.faults))


_OUTPUT: Final = (ObjectTypeDefinitionNode, InterfaceTypeDefinitionNode, UnionTypeDefinitionNode)
# Executable directives that change, after the judgement, what runs or with which values.
_REWRITING: Final = frozenset({"defer", "stream", "export", "live"})


def compile_policy(text: str, options: Options | None = None) -> Policy:
    """The policy in an annotated SDL. Raises `SchemaInvalid` with every fault found.

    A file that is no SDL is told so first, and one whose definitions do not fit together before what they say.
    """
    try:
        document = supply(parse(text))
        _raise_if([*_import_faults(document), *_definition_faults(document), *_from_library(validate_sdl(document))])
        return _compiled(document, _built(document), options or Options())
    except GraphQLError as error:
        raise SchemaInvalid(_from_library([error])) from error
    except RecursionError:
        raise SchemaInvalid([SchemaFault(0, "The schema is nested too deeply to be read.")]) from None


def _built(document: DocumentNode) -> GraphQLSchema:
    try:
        return build_ast_schema(document, assume_valid_sdl=True)
    except GraphQLError as error:
        # What is found while fields are resolved comes wrapped, and only the cause has its place.
        raise error.__cause__ if isinstance(error.__cause__, GraphQLError) else error from None


def _compiled(document: DocumentNode, schema: GraphQLSchema, options: Options) -> Policy:
    scopes = _Scopes(document)
    marks = Marks(_marks(document))
    _raise_if(
        [
            *_from_library(validate_schema(schema)),
            *_element_faults(document, schema, marks, scopes),
            *_directive_faults(document, schema, marks),
        ]
    )
    directives = {
        directive.name: directive for directive in schema.directives if directive.name not in _REWRITING | OURS
    }
    return policy_from(schema, marks, directives, scopes.all(), options)


def _raise_if(faults: Iterable[SchemaFault]) -> None:
    found = list(faults)
    if found:
        raise SchemaInvalid(found)


def _from_library(errors: Iterable[GraphQLError]) -> Iterator[SchemaFault]:
    for error in errors:
        yield SchemaFault(error.locations[0].line if error.locations else 0, error.message)


def _line(node: Node) -> int:
    # A definition begins with its description; its name is where a reader looks.
    loc = getattr(node, "name", node).loc
    return loc.start_token.line if loc else 0


# Imports and definitions ----------------------------------------------------------------------------------------------


def _import_faults(document: DocumentNode) -> Iterator[SchemaFault]:
    """Directives of ours under another name would silently be ignored; an Apollo advisory began there."""
    for link in _links(document):
        for node, name, alias in _renamings(link):
            if name in OURS and alias != name:
                yield SchemaFault(_line(node), f"'@{name}' is imported as '@{alias}'; import it under its own name.")
    for directive in _directives(document):
        name = directive.name.value
        prefix, _, plain = name.rpartition("__")
        if prefix and plain in OURS:
            yield SchemaFault(_line(directive), f"'@{name}' would not be recognised; import it and write '@{plain}'.")


def _definition_faults(document: DocumentNode) -> Iterator[SchemaFault]:
    """Definitions that stand in the way of the gateway's own."""
    needed = {
        _named(node.type)
        for definition in document.definitions
        if isinstance(definition, DirectiveDefinitionNode) and definition.name.value in OURS
        for node in definition.arguments or ()
    }
    for definition in document.definitions:
        if isinstance(definition, DirectiveDefinitionNode):
            yield from (SchemaFault(_line(definition), text) for text in redefined(definition))
        elif isinstance(definition, _OUTPUT) and definition.name.value in needed:
            name = definition.name.value
            yield SchemaFault(
                _line(definition),
                f"{name} must be an enum, which the gateway's directives take. To keep this type, define the directives"
                " that take it with an enum of another name.",
            )


def _links(document: DocumentNode) -> Iterator[DirectiveNode]:
    for definition in document.definitions:
        if isinstance(definition, SchemaDefinitionNode | SchemaExtensionNode):
            yield from (node for node in definition.directives or () if node.name.value == "link")


def _renamings(link: DirectiveNode) -> Iterator[tuple[Node, str, str]]:
    """What a link names, and the name it gives it, each time it gives one: a whole specification or one import."""
    for url, alias in zip(strings(argument(link, "url")), strings(argument(link, "as")), strict=False):
        # A specification of one directive is named for it: https://specs.apollo.dev/requiresScopes/v0.1
        yield from ((link, name, alias) for name in url.split("/")[-2:])
    for item in items(argument(link, "import")):
        given = item.fields or () if isinstance(item, ObjectValueNode) else ()
        names = {node.name.value: node.value.value for node in given if isinstance(node.value, StringValueNode)}
        if {"name", "as"} <= names.keys():
            yield item, names["name"].lstrip("@"), names["as"].lstrip("@")


def _directives(document: DocumentNode) -> Iterator[DirectiveNode]:
    for _, node in elements(document):
        yield from getattr(node, "directives", None) or ()


# Elements and their marks -------------------------------------------------------------------------------------------


def elements(document: DocumentNode) -> Iterator[tuple[str, Node]]:
    """Every element that can be annotated, with its coordinate; types and their extensions alike."""
    for definition in document.definitions:
        if not isinstance(definition, TypeDefinitionNode | TypeExtensionNode):
            continue
        name = definition.name.value
        yield name, definition
        for member in getattr(definition, "fields", None) or ():
            coordinate = f"{name}.{member.name.value}"
            yield coordinate, member
            if isinstance(member, FieldDefinitionNode):
                for node in member.arguments or ():
                    yield f"{coordinate}({node.name.value}:)", node


def _marks(document: DocumentNode) -> dict[str, Mark]:
    # A type and its extensions are one element, so their directives are read together.
    directives: dict[str, list[DirectiveNode]] = {}
    for coordinate, node in elements(document):
        directives.setdefault(coordinate, []).extend(getattr(node, "directives", None) or ())
    marks = (mark_from(coordinate, nodes) for coordinate, nodes in directives.items())
    return {mark.coordinate: mark for mark in marks if mark is not None}


class _Scopes:
    """The scopes that exist: the members of the enum that `@requiresScopes` takes, or, where the schema makes it a
    scalar as federations do, every scope that is used."""

    def __init__(self, document: DocumentNode) -> None:
        self.type_name = _scope_type(document)
        self._declared = [
            value.name.value
            for definition in document.definitions
            if isinstance(definition, EnumTypeDefinitionNode | EnumTypeExtensionNode)
            and definition.name.value == self.type_name
            for value in definition.values or ()
        ]
        self._used: dict[str, None] = {}

    def all(self) -> tuple[str, ...]:
        return tuple(self._declared or self._used)

    def fault(self, scope: str) -> str | None:
        # RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ); a blank would split it in a header.
        if not scope or not all("!" <= character <= "~" and character not in '"\\' for character in scope):
            return f"'{scope}' cannot be a scope; use visible ASCII without blanks, quotes and backslashes."
        if self._declared and scope not in self._declared:
            return f"Scope '{scope}' is not in enum {self.type_name}."
        self._used[scope] = None
        return None


def _scope_type(document: DocumentNode) -> str:
    return next(
        _named(node.type)
        for definition in document.definitions
        if isinstance(definition, DirectiveDefinitionNode) and definition.name.value == "requiresScopes"
        for node in definition.arguments or ()
    )


def _named(node: TypeNode) -> str:
    return print_ast(node).strip("[]!")


# Faults -----------------------------------------------------------------------------------------------------------


def _element_faults(
    document: DocumentNode, schema: GraphQLSchema, marks: Marks, scopes: _Scopes
) -> Iterator[SchemaFault]:
    roots = {root.name for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root}
    for coordinate, node in elements(document):
        for directive in getattr(node, "directives", None) or ():
            check = _CHECKS.get(directive.name.value)
            if check is not None:
                yield from (SchemaFault(_line(directive), text) for text in check(directive, coordinate, node, scopes))
        mark = marks.by_coordinate.get(coordinate)
        for text in _mark_faults(mark, node, coordinate.partition(".")[0] in roots) if mark else ():
            yield SchemaFault(_line(node), text)
        if isinstance(node, InputValueDefinitionNode) and node.default_value is not None:
            yield from (SchemaFault(_line(node), text) for text in _default_faults(coordinate, node, schema, marks))


def _directive_faults(document: DocumentNode, schema: GraphQLSchema, marks: Marks) -> Iterator[SchemaFault]:
    """Arguments of executable directives are not judged, so nothing may be demanded of them."""
    for definition in document.definitions:
        if isinstance(definition, DirectiveDefinitionNode):
            for node in definition.arguments or ():
                name = f"@{definition.name.value}({node.name.value}:)"
                within = marks.within(schema.type_map[_named(node.type)])
                yield from (SchemaFault(_line(node), text) for text in _unjudged(name, node, within))


def _unjudged(name: str, node: InputValueDefinitionNode, within: Iterable[Mark]) -> Iterator[str]:
    if any(directive.name.value in OURS for directive in node.directives or ()):
        yield f"{name} is an argument of a directive, which is not judged."
    elif any(mark.names_caller for mark in within):
        yield f"An input field below {name} must name the caller."
    elif any(mark.closed or mark.refuses_users or mark.scopes for mark in within):
        yield f"{name} can hold values that are not open to everybody, and is not judged."


def _scope_faults(directive: DirectiveNode, coordinate: str, _: Node, scopes: _Scopes) -> Iterator[str]:
    lists = scope_lists(directive)
    if not lists or not all(lists):
        yield f"@requiresScopes on {coordinate} names no scope; an empty list would be met by every key or by none."
    for scope in dict.fromkeys(scope for inner in lists for scope in inner):
        fault = scopes.fault(scope)
        if fault:
            yield fault


def _cost_faults(directive: DirectiveNode, coordinate: str, node: Node, _: _Scopes) -> Iterator[str]:
    weight = integer(argument(directive, "weight"))
    if weight is None or weight < 0:
        yield f"@cost on {coordinate} needs a weight between 0 and 2147483647."
    names = {item.name.value for item in getattr(node, "arguments", None) or ()}
    for multiplier in strings(argument(directive, "multipliers")):
        if multiplier.partition(".")[0] not in names:
            yield f"@cost on {coordinate} multiplies by '{multiplier}', which is not an argument of the field."


def _reason_faults(directive: DirectiveNode, coordinate: str, _: Node, __: _Scopes) -> Iterator[str]:
    if not any(text.strip() for text in strings(argument(directive, "reason"))):
        yield f"@anyUser on {coordinate} needs a reason in words."


def _absent_faults(directive: DirectiveNode, coordinate: str, _: Node, __: _Scopes) -> Iterator[str]:
    return absent_faults(directive, coordinate)


def _deletion_faults(directive: DirectiveNode, coordinate: str, node: Node, _: _Scopes) -> Iterator[str]:
    name = named_argument(directive)
    given = next((item for item in getattr(node, "arguments", None) or () if item.name.value == name), None)
    if given is None:
        yield f"@deletesUser on {coordinate} names '{name}', which is not an argument of the field."
        return
    if print_ast(given.type).rstrip("!") not in ("ID", "String"):
        yield f"@deletesUser on {coordinate} names '{name}', which must be one user's id: ID or String, and no list."


_CHECKS: Final[Mapping[str, Callable[[DirectiveNode, str, Node, _Scopes], Iterator[str]]]] = {
    "requiresScopes": _scope_faults,
    "cost": _cost_faults,
    "anyUser": _reason_faults,
    "deletesUser": _deletion_faults,
    "ownUser": _absent_faults,
    "ownApp": _absent_faults,
}


def _mark_faults(mark: Mark, node: Node, at_root: bool) -> Iterator[str]:
    coordinate = mark.coordinate
    root_field = at_root and isinstance(node, FieldDefinitionNode)
    if mark.user_context and not mark.scopes and not root_field:
        yield f"@userContext on {coordinate} says nothing without @requiresScopes; it opens root fields only."
    if mark.closed and (
        mark.scopes or mark.authenticated or mark.user_context or mark.keys_only or mark.deletes_user is not None
    ):
        yield f"{coordinate} is @closed, so its other directives say nothing."
    if isinstance(node, InputValueDefinitionNode):
        yield from _value_faults(mark, node)


def _value_faults(mark: Mark, node: InputValueDefinitionNode) -> Iterator[str]:
    coordinate = mark.coordinate
    if mark.closed and (mark.names_caller or mark.any_user):
        yield f"{coordinate} is @closed, so its other directives say nothing."
    if mark.any_user and mark.names_caller:
        yield f"{coordinate} is @anyUser and must be the caller's own at once; decide for one."
    if mark.any_user and mark.keys_only:
        yield f"{coordinate} is @keysOnly, so @anyUser says nothing."
    if mark.own_user and mark.own_app:
        yield f"{coordinate} cannot be the caller's user id and its app id at once."
    if Absent.SELF in (mark.own_user, mark.own_app):
        if "(" not in coordinate:
            yield f"whenAbsent: SELF on the input field {coordinate}: only an argument can be left to the upstream."
        elif _is_list(node.type):
            yield f"whenAbsent: SELF on {coordinate}: a list cannot be left to the upstream."


def _is_list(node: TypeNode) -> bool:
    return isinstance(node.type if isinstance(node, NonNullTypeNode) else node, ListTypeNode)


def _default_faults(
    coordinate: str, node: InputValueDefinitionNode, schema: GraphQLSchema, marks: Marks
) -> Iterator[str]:
    """What is wrong with a default, which the upstream uses where a request names nothing, and nobody judges.

    It is held against whatever the value would be held against: marks of interfaces and implementations included.
    """
    found = marks.at(*_same_elements(coordinate, schema))
    field, _, argument_name = coordinate.rstrip(":)").partition("(")
    named = schema.type_map[_named(node.type)]
    below = marks.within(named)
    if any(mark.names_caller for mark in found):
        yield f"{coordinate} has a default; the upstream would use it where the request names nobody."
    elif found:
        yield f"{coordinate} has a default, which the upstream would use without anybody having judged it."
    elif marks.leads(named) != (False, False):
        yield f"{coordinate} has a default, and an input field below it must name the caller."
    elif any(mark.closed or mark.refuses_users or mark.scopes for mark in below):
        yield f"{coordinate} has a default, and its type or something below it is closed, for keys or for scopes only."
    if argument_name in (mark.deletes_user for mark in marks.at(*_same_elements(field, schema))):
        yield f"{coordinate} has a default; the upstream would delete that user where a request names nobody."


def _same_elements(coordinate: str, schema: GraphQLSchema) -> tuple[str, ...]:
    """The coordinates whose marks count for what is at this one."""
    type_name, _, rest = coordinate.partition(".")
    kind = schema.type_map[type_name]
    members = family(schema, kind) if isinstance(kind, Fielded) else (type_name,)
    return tuple(f"{member}.{rest}" for member in members)
