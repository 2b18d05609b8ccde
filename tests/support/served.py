"""The schemas of generated tests: compiled, served by an upstream, and read in the naive way; each made once."""

from collections.abc import Iterator
from functools import cache

from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
)

from gateway.core.policy import Policy
from gateway.core.schema import compile_policy
from tests.support.oracle import Caller, Reading, Upstream
from tests.support.vectors import schema_text


@cache
def compiled(schema: str) -> Policy:
    """The policy of a schema, under no settings in particular."""
    return compile_policy(schema_text(schema))


@cache
def upstream(schema: str) -> Upstream:
    """An upstream that serves a schema."""
    return Upstream(schema_text(schema))


@cache
def reading(schema: str) -> Reading:
    """The naive reading of a schema."""
    return Reading(upstream(schema).schema)


def overlapping(schema: GraphQLSchema, kind: GraphQLNamedType) -> Iterator[GraphQLNamedType]:
    """The types that a value of this one can be as well: those that a fragment there can be on."""
    own = possible(schema, kind)
    return (each for each in schema.type_map.values() if not own.isdisjoint(possible(schema, each)))


def possible(schema: GraphQLSchema, kind: GraphQLNamedType) -> frozenset[str]:
    """The object types that a value of this type can be."""
    if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
        return frozenset(each.name for each in schema.get_possible_types(kind))
    return frozenset({kind.name} if isinstance(kind, GraphQLObjectType) else ())


@cache
def open_fields(schema: str, caller: Caller, kind_name: str) -> tuple[str, ...]:
    """The fields of a type that are open to a caller on everything that the type can turn out to be."""
    graph = upstream(schema).schema
    kind = graph.type_map[kind_name]
    assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
    return tuple(
        name
        for name in kind.fields
        if not any(
            fault for each in possible(graph, kind) for fault in reading(schema).field_faults(caller, each, name)
        )
    )
