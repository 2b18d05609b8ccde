"""Marks added up: what a field, a type and an input demand once interfaces and implementations are counted in.

Directives add up, so it makes no difference by which type a field is reached: an object's field also obeys the marks of
the same field on every interface it implements, and an interface's field those of every implementation, its other
interfaces included.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

from graphql import (
    GraphQLDirective,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
)

from gateway.core.directives import Mark
from gateway.core.policy import Caller, Demands, FieldPolicy, InputPolicy, Need, Options, Policy

_T = TypeVar("_T")
Fielded = GraphQLObjectType | GraphQLInterfaceType


class Marks:
    """The marks of a schema by coordinate, and which input types lead to one that names the caller."""

    def __init__(self, by_coordinate: Mapping[str, Mark]) -> None:
        self.by_coordinate = by_coordinate

    def leads(self, named: GraphQLNamedType) -> tuple[bool, bool]:
        """Whether an input object type has, at any depth, a field that must name the own user, or the own app."""
        marks = self.within(named)
        return any(mark.own_user is not None for mark in marks), any(mark.own_app is not None for mark in marks)

    def within(self, named: GraphQLNamedType) -> tuple[Mark, ...]:
        """The marks on an input type, and on every field and type that a value of it can hold."""
        coordinates = []
        pending, seen = [named], {named.name}
        while pending:
            current = pending.pop()
            coordinates.append(current.name)
            for name, field in current.fields.items() if isinstance(current, GraphQLInputObjectType) else ():
                coordinates.append(f"{current.name}.{name}")
                below = get_named_type(field.type)
                if below.name not in seen:
                    seen.add(below.name)
                    pending.append(below)
        return self.at(*coordinates)

    def at(self, *coordinates: str) -> tuple[Mark, ...]:
        """The marks at these coordinates, those without one left out."""
        found = map(self.by_coordinate.get, dict.fromkeys(coordinates))
        return tuple(mark for mark in found if mark is not None)


def policy_from(
    schema: GraphQLSchema,
    marks: Marks,
    directives: Mapping[str, GraphQLDirective],
    scopes: tuple[str, ...],
    options: Options,
) -> Policy:
    """The policy of a schema without faults."""
    compiler = _Compiler(schema, marks)
    named = schema.type_map.values()
    return Policy(
        schema=schema,
        fields={kind.name: compiler.fields(kind) for kind in named if isinstance(kind, Fielded)},
        inputs={kind.name: compiler.inputs(kind) for kind in named if isinstance(kind, GraphQLInputObjectType)},
        types=compiler.types,
        possible={kind.name: compiler.possible(kind) for kind in named},
        roots=compiler.roots,
        marked_types=frozenset(kind.name for kind in named if compiler.is_marked(kind)),
        directives=directives,
        scopes=scopes,
        options=options,
    )


def family(schema: GraphQLSchema, kind: Fielded) -> tuple[str, ...]:
    """The types whose marks on a field count for the same field of `kind`: itself, its implementations, and whatever
    interfaces these have. An implementation brings its other interfaces along: what they say of the field holds whoever
    is asked for it."""
    members = (kind, *_implementations(schema, kind))
    return _unique(name for member in members for name in (member.name, *_interfaces(member)))


def _interfaces(kind: GraphQLNamedType) -> tuple[str, ...]:
    return tuple(above.name for above in kind.interfaces) if isinstance(kind, Fielded) else ()


def _implementations(schema: GraphQLSchema, kind: GraphQLNamedType) -> Iterable[Fielded]:
    if not isinstance(kind, GraphQLInterfaceType):
        return ()
    below = schema.get_implementations(kind)
    return (*below.interfaces, *below.objects)


class _Compiler:
    def __init__(self, schema: GraphQLSchema, marks: Marks) -> None:
        self._schema = schema
        self._marks = marks
        roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
        self.roots = frozenset(root.name for root in roots if root)
        self.types = {kind.name: _demands(self.type_marks(kind)) for kind in schema.type_map.values()}

    def possible(self, kind: GraphQLNamedType) -> frozenset[str]:
        """The object types that a value of this type can have."""
        return frozenset(possible.name for possible in self._possible(kind))

    def _possible(self, kind: GraphQLNamedType) -> Iterable[GraphQLObjectType]:
        if isinstance(kind, GraphQLObjectType):
            return (kind,)
        if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            return self._schema.get_possible_types(kind)
        return ()

    def type_marks(self, kind: GraphQLNamedType) -> tuple[Mark, ...]:
        """The marks on a type and on what it implements."""
        return self._marks.at(kind.name, *_interfaces(kind))

    def is_marked(self, kind: GraphQLNamedType) -> bool:
        """Whether a type, what it implements, or something it can turn out to be carries a mark."""
        return any(map(self.type_marks, (kind, *_implementations(self._schema, kind), *self._possible(kind))))

    def fields(self, kind: Fielded) -> dict[str, FieldPolicy]:
        """What each field of a type demands."""
        below = (kind, *_implementations(self._schema, kind))
        members = family(self._schema, kind)
        return {name: self._field(kind, name, below, members) for name in kind.fields}

    def _field(self, kind: Fielded, name: str, below: Iterable[Fielded], members: Iterable[str]) -> FieldPolicy:
        field = kind.fields[name]
        # A field of an interface is one of each implementation, whose type counts as if it were named, and which may
        # return a narrower type.
        returned = [self.types[get_named_type(member.fields[name].type).name] for member in below]
        own = _demands(self._marks.at(*(f"{member}.{name}" for member in members), *members))
        roots = [f"{member.name}.{name}" for member in below if member.name in self.roots]
        return FieldPolicy(
            coordinate=f"{kind.name}.{name}",
            type=get_named_type(field.type),
            demands=Demands(
                closed=_unique(
                    (*own.closed, *self._root_closed(roots), *chain.from_iterable(item.closed for item in returned))
                ),
                keys_only=_unique(
                    (
                        *self._root_keys_only(roots),
                        *own.keys_only,
                        *chain.from_iterable(item.keys_only for item in returned),
                    )
                ),
                needs=_unique((*own.needs, *chain.from_iterable(item.needs for item in returned))),
            ),
            user_context_root=any(mark.user_context for mark in self._marks.at(*roots)),
            arguments={
                argument: self._argument(kind, name, argument, definition.type, members)
                for argument, definition in field.args.items()
            },
            implied=tuple(
                self._argument(member, name, argument, definition.type, members)
                for member in below
                for argument, definition in member.fields[name].args.items()
                if argument not in field.args
            ),
            deletes=_unique(
                mark.deletes_user
                for mark in self._marks.at(*(f"{member}.{name}" for member in members))
                if mark.deletes_user is not None
            ),
        )

    def _argument(
        self, kind: Fielded, field: str, name: str, type_: GraphQLInputType, members: Iterable[str]
    ) -> InputPolicy:
        marks = self._marks.at(*(f"{member}.{field}({name}:)" for member in members))
        return self._input(f"{kind.name}.{field}({name}:)", type_, marks)

    def _root_closed(self, coordinates: Iterable[str]) -> Iterator[tuple[int, str]]:
        """A root field is closed to whom no directive on itself opens it."""
        for coordinate in coordinates:
            mark = self._marks.by_coordinate.get(coordinate)
            if mark is None or not (mark.scopes or mark.authenticated or mark.user_context):
                yield Caller.BOTH, coordinate
            elif not (mark.scopes or mark.authenticated):
                yield Caller.KEY, coordinate

    def _root_keys_only(self, coordinates: Iterable[str]) -> Iterator[str]:
        for mark in self._marks.at(*coordinates):
            if not (mark.user_context or mark.authenticated):
                yield mark.coordinate

    def inputs(self, kind: GraphQLInputObjectType) -> dict[str, InputPolicy]:
        """What a value for each field of an input object type must obey."""
        return {
            name: self._input(f"{kind.name}.{name}", field.type, self._marks.at(f"{kind.name}.{name}"))
            for name, field in kind.fields.items()
        }

    def _input(self, coordinate: str, kind: GraphQLInputType, marks: tuple[Mark, ...]) -> InputPolicy:
        named = get_named_type(kind)
        marks += self._marks.at(named.name)
        leads_to_user, leads_to_app = self._marks.leads(named)
        concerns = Caller.NONE
        if isinstance(named, GraphQLInputObjectType) or any(
            mark.closed or mark.own_app or mark.scopes for mark in marks
        ):
            concerns = Caller.BOTH
        elif any(mark.keys_only or mark.own_user for mark in marks):
            concerns = Caller.USER
        within = (*marks, *self._marks.within(named))
        needs = _unique(Need(mark.coordinate, mark.scopes) for mark in within if mark.scopes)
        return InputPolicy(coordinate, kind, marks, leads_to_user, leads_to_app, concerns, needs)


def _demands(marks: tuple[Mark, ...]) -> Demands:
    return Demands(
        closed=tuple((Caller.BOTH, mark.coordinate) for mark in marks if mark.closed),
        keys_only=tuple(mark.coordinate for mark in marks if mark.refuses_users),
        needs=tuple(Need(mark.coordinate, mark.scopes) for mark in marks if mark.scopes),
    )


def _unique(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
