"""The pretend data behind a GraphQL schema: a resolver that answers every field, always alike.

An object is a `Node`; a field of it is a function of the node, the field's name and its arguments. Aliases, the order
of fields and the process play no part, and an object reached by its id is the same one wherever it is reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLType,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_enum_type,
    is_list_type,
)

from gateway.dev.values import Node, choose, key_of, scalar, snake

# Lists below this many others have one member: an answer grows with the depth of the question, not exponentially.
BUSHY_LISTS: Final = 4
# Root fields that mean the calling user when they name none.
OWN_USER_FIELDS: Final = ("user", "me", "viewer")


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom the data is made: the seed of the pretend world and the user the gateway vouched for."""

    seed: int
    user: str | None = None


def root(caller: Caller) -> Node:
    """The object that a query or mutation starts from."""
    return Node("", key_of(caller.seed))


def resolve(source: Node, info: GraphQLResolveInfo[Caller], **arguments: object) -> object:
    """The value of any field: a node, a leaf, or a list of them; never an error."""
    name = info.field_name
    if name in source.known:
        return source.known[name]
    kind = get_nullable_type(info.return_type)
    target = get_named_type(info.return_type)
    if not is_composite_type(target):
        return _leaf(source, name, kind, arguments, info.parent_type)
    known = _given(source, info, target, arguments)
    child = Node(target.name, key_of(source.key, name, arguments, _own_user(info)), depth=source.depth, known=known)
    return _objects(child, kind, info, {**source.known, **arguments})


def concrete_type(node: Node, _info: object, _abstract: object) -> str:
    """The name of the object type that a node of an interface or union was made as."""
    return node.type_name


# ---------------------------------------------------------------- objects


def _objects(child: Node, kind: GraphQLType, info: GraphQLResolveInfo[Caller], limits: Mapping[str, object]) -> object:
    """The child itself, or a list of its likes when the field's type is a list."""
    if is_list_type(kind):
        family = replace(child, family=child.key, depth=child.depth + 1)
        item = get_nullable_type(kind.of_type)
        return [_objects(replace(family, index=index), item, info, {}) for index in range(_size(child, limits))]
    concrete = _concrete(child, get_named_type(kind), info.schema)
    if concrete is None:
        return None
    made = replace(child, type_name=concrete)
    return replace(made, family=key_of(info.context.seed, concrete, made.known["id"])) if "id" in made.known else made


def _concrete(node: Node, kind: GraphQLNamedType, schema: GraphQLSchema) -> str | None:
    """The object type that the node is made as; None for an interface that nothing implements."""
    if not is_abstract_type(kind):
        return kind.name
    possible = schema.get_possible_types(kind)
    return choose(node, "type", possible).name if possible else None


def _size(node: Node, limits: Mapping[str, object]) -> int:
    """How many members a list has: one to three, no more than `limit` or `first` allows."""
    size = 1 + key_of(node.key, "size") % 3 if node.depth < BUSHY_LISTS else 1
    bounds = [value for name in ("limit", "first") if isinstance(value := limits.get(name), int)]
    return max(0, min([size, *bounds]))


# ---------------------------------------------------------------- what the request itself says


def _given(
    source: Node, info: GraphQLResolveInfo[Caller], target: GraphQLNamedType, arguments: Mapping[str, object]
) -> dict[str, object]:
    """What is already said about the object: arguments that are fields of the same name and type, and its id."""
    fields = target.fields if isinstance(target, GraphQLObjectType | GraphQLInterfaceType) else {}
    declared = info.parent_type.fields[info.field_name].args
    known = {
        name: value
        for name, value in arguments.items()
        if value is not None
        and name in fields
        and get_nullable_type(fields[name].type) is get_nullable_type(declared[name].type)
    }
    if "id" in fields and (chosen := _chosen_id(source, info, arguments)) is not None:
        known["id"] = chosen
    return known


def _chosen_id(source: Node, info: GraphQLResolveInfo[Caller], arguments: Mapping[str, object]) -> object:
    """The id of the object behind a field, where something names it.

    That is an argument, as in `user(user_id:)` or `user(id:)`; for `user` at the root, the calling user; or the field
    beside it, as `application_id` beside `application`.
    """
    own_name = snake(info.field_name)
    for name, value in arguments.items():
        if snake(name) in ("id", f"{own_name}_id") and isinstance(value, str | int):
            return value
    if info.path.prev is None:
        return info.context.user if own_name in OWN_USER_FIELDS else None
    beside = next((name for name in info.parent_type.fields if snake(name) == f"{own_name}_id"), None)
    return scalar(source, beside, "ID") if beside else None


def _own_user(info: GraphQLResolveInfo[Caller]) -> str:
    """The caller, where the schema puts a root field into the user's context: each user finds other data there."""
    if info.path.prev is not None:
        return ""
    definition = info.parent_type.fields[info.field_name].ast_node
    directives = definition.directives or () if definition else ()
    in_context = any(directive.name.value == "userContext" for directive in directives)
    return (info.context.user or "") if in_context else ""


# ---------------------------------------------------------------- leaves


def _leaf(
    source: Node, name: str, kind: GraphQLType, arguments: Mapping[str, object], owner: GraphQLObjectType
) -> object:
    """A scalar or enum value, or a list of them."""
    if arguments:
        source = replace(source, family=key_of(source.family, arguments))
    if is_list_type(kind):
        family = replace(source, family=key_of(source.key, name), depth=source.depth + 1)
        item = get_nullable_type(kind.of_type)
        return [_leaf(replace(family, index=index), name, item, {}, owner) for index in range(_size(family, arguments))]
    if is_enum_type(kind):
        return _member(source, name, list(kind.values))
    return scalar(_with_name(source, name, owner.fields), name, get_named_type(kind).name)


def _member(node: Node, name: str, members: list[str]) -> str:
    """A member of an enum: the one named as the object's own type where there is one, as `EventType.Transport`."""
    return node.type_name if node.type_name in members else choose(node, name, members)


def _with_name(node: Node, name: str, fields: Mapping[str, GraphQLField]) -> Node:
    """The node together with its enum `name`, on which the range of its `value` depends (`OVERALL_SCORE`)."""
    if name != "value" or "name" not in fields or "name" in node.known:
        return node
    kind = get_nullable_type(fields["name"].type)
    return replace(node, known={"name": _member(node, "name", list(kind.values))}) if is_enum_type(kind) else node
