"""Marks added up: what a field, a type and an input demand once interfaces and implementations are counted in.

Directives add up, so it makes no difference by which type a field is reached: an object's field also obeys the marks of
the same field on every interface it implements, and an interface's field those of every implementation.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
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
from gateway.core.policy import Caller, FieldPolicy, InputPolicy, Need, Options, Policy, Demands

_T = TypeVar("_T")
_Fielded = GraphQLObjectType | GraphQLInterfaceType


class Marks:
    """The marks of a schema by coordinate, and which input types lead to one that names the caller."""

    def __init__(self, by_coordinate: Mapping[str, Mark]) -> None:
        self.by_coordinate = by_coordinate

    def leads(self, named: GraphQLNamedType) -> tuple[bool, bool]:
        """Whether an input object type has, at any depth, a field that must name the own user, or the own app."""
        user = app = False
        pending, seen = [named], {named.name}
        while pending:
            current = pending.pop()
            if not isinstance(current, GraphQLInputObjectType):
                continue
            for name, field in current.fields.items():
                mark = self.by_coordinate.get(f"{current.name}.{name}")
                user = user or (mark is not None and mark.own_user is not None)
                app = app or (mark is not None and mark.own_app is not None)
                below = get_named_type(field.type)
                if below.name not in seen:
                    seen.add(below.name)
                    pending.append(below)
        return user, app

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
        fields={kind.name: compiler.fields(kind) for kind in named if isinstance(kind, _Fielded)},
        inputs={kind.name: compiler.inputs(kind) for kind in named if isinstance(kind, GraphQLInputObjectType)},
        types=compiler.types,
        possible={kind.name: frozenset(compiler.possible(kind)) for kind in named},
        roots=compiler.roots,
        marked_types=frozenset(kind.name for kind in named if compiler.is_marked(kind)),
        directives=directives,
        scopes=scopes,
        options=options,
    )


class _Compiler:
    def __init__(self, schema: GraphQLSchema, marks: Marks) -> None:
        self._schema = schema
        self._marks = marks
        roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
        self.roots = frozenset(root.name for root in roots if root)
        self.types = {kind.name: _demands(self.type_marks(kind)) for kind in schema.type_map.values()}

    def possible(self, kind: GraphQLNamedType) -> Iterator[str]:
        """The object types that a value of this type can have."""
        if isinstance(kind, GraphQLObjectType):
            yield kind.name
        elif isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            yield from (possible.name for possible in self._schema.get_possible_types(kind))

    def type_marks(self, kind: GraphQLNamedType) -> tuple[Mark, ...]:
        """The marks on a type and on what it implements."""
        return self._marks.at(kind.name, *self._interfaces(kind))

    def is_marked(self, kind: GraphQLNamedType) -> bool:
        """Whether a type, what it implements, or something it can turn out to be carries a mark."""
        return bool(self.type_marks(kind) or self._marks.at(*self._implementations(kind), *self.possible(kind)))

    def _interfaces(self, kind: GraphQLNamedType) -> tuple[str, ...]:
        return tuple(above.name for above in kind.interfaces) if isinstance(kind, _Fielded) else ()

    def _implementations(self, kind: GraphQLNamedType) -> Iterator[str]:
        if isinstance(kind, GraphQLInterfaceType):
            below = self._schema.get_implementations(kind)
            yield from (item.name for item in (*below.interfaces, *below.objects))

    def fields(self, kind: _Fielded) -> dict[str, FieldPolicy]:
        """What each field of a type demands."""
        below = (kind.name, *self._implementations(kind))
        family = (*below, *self._interfaces(kind))
        result = {}
        for name, field in kind.fields.items():
            returned = get_named_type(field.type)
            returned_demands = self.types[returned.name]
            # A field of an interface is one of each implementation, whose type counts as if it were named.
            own = _demands(self._marks.at(*(f"{member}.{name}" for member in family), *below))
            roots = [f"{member}.{name}" for member in below if member in self.roots]
            result[name] = FieldPolicy(
                coordinate=f"{kind.name}.{name}",
                type=returned,
                demands=Demands(
                    closed=_unique((*own.closed, *self._root_closed(roots), *returned_demands.closed)),
                    keys_only=_unique((*self._root_keys_only(roots), *own.keys_only, *returned_demands.keys_only)),
                    needs=_unique((*own.needs, *returned_demands.needs)),
                ),
                user_context_root=any(mark.user_context for mark in self._marks.at(*roots)),
                arguments={
                    argument: self._input(
                        f"{kind.name}.{name}({argument}:)",
                        definition.type,
                        self._marks.at(*(f"{member}.{name}({argument}:)" for member in family)),
                    )
                    for argument, definition in field.args.items()
                },
                implied=tuple(self._implied(below, name, field.args.keys())),
            )
        return result

    def _implied(self, below: Iterable[str], field: str, given: Collection[str]) -> Iterator[InputPolicy]:
        for member in below:
            kind = self._schema.type_map[member]
            arguments = kind.fields[field].args if isinstance(kind, _Fielded) else {}
            for name in arguments.keys() - given:
                coordinate = f"{member}.{field}({name}:)"
                yield self._input(coordinate, arguments[name].type, self._marks.at(coordinate))

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
        return InputPolicy(coordinate, kind, marks, leads_to_user, leads_to_app, concerns)


def _demands(marks: tuple[Mark, ...]) -> Demands:
    return Demands(
        closed=tuple((Caller.BOTH, mark.coordinate) for mark in marks if mark.closed),
        keys_only=tuple(mark.coordinate for mark in marks if mark.refuses_users),
        needs=tuple(Need(mark.coordinate, mark.scopes) for mark in marks if mark.scopes),
    )


def _unique(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
