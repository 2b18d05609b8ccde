"""The oracle: what an operation really does, and a second reading of the annotations that says whether it may.

Nothing of the gateway's own reading is used here. An operation runs with graphql-core's executor, over resolvers that
record each call with the arguments as the executor coerced them; each call is then held against the directives as they
stand in the schema's syntax tree, read in the plainest way there is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from graphql import (
    DirectiveNode,
    DocumentNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    build_schema,
    execute,
    get_named_type,
    is_abstract_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    value_from_ast_untyped,
)

from gateway.core.decision import Reason
from gateway.core.policy import Introspection, UserScoping
from gateway.core.principal import KeyPrincipal, Principal

Signs = dict[str, dict[str, Any]]
_FULL_WIDTH = 3  # Down to this depth a list holds one thing of every possible type, below it one thing.
_ROUNDS = 8  # Executions, each with another choice of types where there is a choice.


# What really happens --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One field that was really executed, on an object of this type, with these coerced arguments."""

    type_name: str
    field: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class _Thing:
    type_name: str


class Upstream:
    """Runs operations, without validating them first, over things of every type that there can be."""

    def __init__(self, text: str) -> None:
        self.schema = build_schema(text, assume_valid_sdl=True)

    def calls(self, document: DocumentNode, variables: Mapping[str, Any], operation_name: str | None) -> list[Call]:
        """Every call that the operation leads to, whatever the things behind interfaces and unions turn out to be."""
        calls: list[Call] = []
        widest, done = 1, 0
        while done < min(widest, _ROUNDS):
            recorder = _Recorder(self.schema, calls, done)
            execute(
                self.schema,
                document,
                variable_values=dict(variables),
                operation_name=operation_name,
                type_resolver=lambda value, *_: value.type_name,
                middleware=[recorder],
            )
            widest, done = max(widest, recorder.widest), done + 1
        return calls


class _Recorder:
    """Middleware in front of every resolver, introspection's included."""

    def __init__(self, schema: GraphQLSchema, calls: list[Call], round_: int) -> None:
        self._schema = schema
        self._calls = calls
        self._round = round_
        self.widest = 1

    def resolve(self, following: Any, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        """Note the call and answer with something plausible."""
        self._calls.append(Call(info.parent_type.name, info.field_name, arguments))
        if info.field_name.startswith("__") or info.parent_type.name.startswith("__"):
            return following(source, info, **arguments)
        return self._plausible(info.return_type, info.path.as_list())

    def _plausible(self, kind: GraphQLOutputType, path: list[Any]) -> Any:
        if isinstance(kind, GraphQLNonNull):
            return self._plausible(kind.of_type, path)
        if isinstance(kind, GraphQLList):
            width = self._width(kind) if len(path) <= _FULL_WIDTH else 1
            return [self._plausible(kind.of_type, [*path, index]) for index in range(width)]
        if isinstance(kind, GraphQLObjectType):
            return _Thing(kind.name)
        if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            possible = sorted(each.name for each in self._schema.get_possible_types(kind))
            self.widest = max(self.widest, len(possible))
            return _Thing(possible[(self._round + crc32(repr(path).encode())) % len(possible)]) if possible else None
        if isinstance(kind, GraphQLEnumType):
            return next(iter(kind.values))
        return {"Int": 1, "Float": 1.5, "Boolean": True}.get(kind.name, "x")

    def _width(self, kind: GraphQLOutputType) -> int:
        named = get_named_type(kind)
        return max(1, len(self._schema.get_possible_types(named))) if is_abstract_type(named) else 1


# What may happen ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caller:
    """Who calls, and what settings say about such callers."""

    principal: Principal
    introspection: Introspection
    scoping: UserScoping

    @property
    def is_key(self) -> bool:
        """Whether it is an API key."""
        return isinstance(self.principal, KeyPrincipal)

    @property
    def sees_schema(self) -> bool:
        """Whether introspection is open."""
        return self.introspection is Introspection.ALL or (self.is_key and self.introspection is Introspection.KEYS)

    def holds(self, scopes: Iterable[Iterable[str]]) -> bool:
        """Whether it is a key that holds all of one of the sets of scopes."""
        held = self.principal.scopes if isinstance(self.principal, KeyPrincipal) else frozenset()
        return self.is_key and any(held.issuperset(inner) for inner in scopes)


class Reading:
    """The naive interpreter of the directives."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._roots = {
            kind.name for kind in (schema.query_type, schema.mutation_type, schema.subscription_type) if kind
        }

    def faults(self, caller: Caller, call: Call) -> Iterator[Reason]:
        """Why this call must not have happened for this caller."""
        if call.field == "__typename" or call.type_name.startswith("__"):
            return
        if call.field.startswith("__"):
            if not caller.sees_schema:
                yield Reason.INTROSPECTION_CLOSED
            return
        yield from self.field_faults(caller, call.type_name, call.field)
        yield from self._value_faults(caller, call)

    def field_faults(self, caller: Caller, type_name: str, field: str) -> Iterator[Reason]:
        """Why this field is shut to this caller, whatever its arguments."""
        own = self._schema.type_map[type_name]
        assert isinstance(own, GraphQLObjectType)
        returned = get_named_type(own.fields[field].type)
        for element in (*self._fields(own, field), *_with_interfaces(own), *_with_interfaces(returned)):
            yield from _shut(caller, signs(element))
        if type_name in self._roots:
            gates = signs(own.fields[field])
            openers = {"authenticated", "requiresScopes" if caller.is_key else "userContext"}
            if not gates.keys() & openers:
                yield Reason.KEYS_ONLY if not caller.is_key and "requiresScopes" in gates else Reason.FIELD_CLOSED

    def _fields(self, own: GraphQLObjectType, name: str) -> list[GraphQLField]:
        return [kind.fields[name] for kind in (own, *own.interfaces) if name in kind.fields]

    def _value_faults(self, caller: Caller, call: Call) -> Iterator[Reason]:
        own = self._schema.type_map[call.type_name]
        assert isinstance(own, GraphQLObjectType)
        fields = self._fields(own, call.field)
        trial = _Trial(caller)
        for name, argument in own.fields[call.field].args.items():
            family = [field.args[name] for field in fields if name in field.args]
            trial.value(argument, _merged(map(signs, family)), call.arguments.get(name, Undefined), ())
        yield from trial.faults
        if caller.is_key or caller.scoping is UserScoping.UPSTREAM or trial.named_user:
            return
        must_name = call.type_name in self._roots and "userContext" in signs(own.fields[call.field])
        if trial.left_out or must_name:
            yield Reason.NOT_OWN_DATA


class _Trial:
    """The values of one call, against what stands on arguments, on input fields and on the types of either."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.faults: list[Reason] = []
        self.named_user = False
        self.left_out = False

    def value(
        self, place: GraphQLArgument | GraphQLInputField, marks: Signs, value: Any, above: tuple[str, ...]
    ) -> None:
        """Try the value at one place; Undefined where there is none."""
        named = get_named_type(place.type)
        supplied = value is not Undefined and value != place.default_value  # a default is the schema's own
        if supplied:
            self.faults += [*_shut(self._caller, marks), *_shut(self._caller, signs(named))]
        if "ownUser" in marks and not self._caller.is_key:
            self._user(place, marks["ownUser"], value)
        if "ownApp" in marks:
            self._app(place, marks["ownApp"], value)
        if is_input_object_type(named):
            self._objects(named, _leaves(value), above)

    def _user(self, place: GraphQLArgument | GraphQLInputField, directive: Mapping[str, Any], value: Any) -> None:
        assert not isinstance(self._caller.principal, KeyPrincipal)
        if _is_nothing(place, value) and directive.get("whenAbsent") == "SELF":
            self.left_out = True
        elif all(leaf == self._caller.principal.user_id for leaf in _leaves(value)):
            self.named_user = True
        else:
            self.faults.append(Reason.NOT_OWN_DATA)

    def _app(self, place: GraphQLArgument | GraphQLInputField, directive: Mapping[str, Any], value: Any) -> None:
        trusted = self._caller.scoping is UserScoping.UPSTREAM
        if _is_nothing(place, value) and directive.get("whenAbsent") == "SELF" and trusted:
            return
        if not all(leaf == self._caller.principal.app_id for leaf in _leaves(value)):
            self.faults.append(Reason.NOT_OWN_APP)

    def _objects(self, kind: GraphQLInputObjectType, leaves: Iterable[Any], above: tuple[str, ...]) -> None:
        for leaf in leaves:
            if isinstance(leaf, dict):
                for name, field in kind.fields.items():
                    self.value(field, signs(field), leaf.get(name, Undefined), (*above, kind.name))
            elif kind.name not in above:
                self._must_lead_nowhere(kind)

    def _must_lead_nowhere(self, kind: GraphQLInputObjectType) -> None:
        names = set().union(*(signs(field) for below in _below(kind) for field in below.fields.values()))
        if "ownUser" in names and not self._caller.is_key:
            self.faults.append(Reason.NOT_OWN_DATA)
        if "ownApp" in names:
            self.faults.append(Reason.NOT_OWN_APP)


def signs(element: Any) -> Signs:
    """The directives on one element of a schema, its extensions included: names with their arguments."""
    nodes = (element.ast_node, *getattr(element, "extension_ast_nodes", ()))
    directives: list[DirectiveNode] = [directive for node in nodes if node for directive in node.directives or ()]
    return {
        directive.name.value: {
            each.name.value: value_from_ast_untyped(each.value) for each in directive.arguments or ()
        }
        for directive in directives
    }


def _merged(groups: Iterable[Signs]) -> Signs:
    """The signs of one argument on several types together; where they differ about absence, the stricter."""
    merged: Signs = {}
    for group in groups:
        for name, arguments in group.items():
            if merged.get(name, {"whenAbsent": "SELF"}).get("whenAbsent") == "SELF":
                merged[name] = arguments
    return merged


def _with_interfaces(kind: GraphQLNamedType) -> list[GraphQLNamedType]:
    return [kind, *kind.interfaces] if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) else [kind]


def _shut(caller: Caller, marks: Signs) -> Iterator[Reason]:
    if "closed" in marks:
        yield Reason.FIELD_CLOSED
    if "keysOnly" in marks and not caller.is_key:
        yield Reason.KEYS_ONLY
    if "requiresScopes" in marks:
        if caller.is_key and not caller.holds(marks["requiresScopes"]["scopes"]):
            yield Reason.SCOPE_MISSING
        if not caller.is_key and not marks.keys() & {"userContext", "authenticated"}:
            yield Reason.KEYS_ONLY


def _is_nothing(place: GraphQLArgument | GraphQLInputField, value: Any) -> bool:
    inner = place.type.of_type if is_non_null_type(place.type) else place.type
    return value is Undefined or value is None or (value == [] and is_list_type(inner))


def _leaves(value: Any) -> Iterator[Any]:
    """What stands in nested lists; None for an empty one and for no value at all."""
    if value is Undefined or value == []:
        yield None
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _below(kind: GraphQLInputObjectType) -> Iterator[GraphQLInputObjectType]:
    seen: dict[str, GraphQLInputObjectType] = {}
    pending = [kind]
    while pending:
        current = pending.pop()
        if current.name not in seen:
            seen[current.name] = current
            named: list[GraphQLNamedType] = [get_named_type(field.type) for field in current.fields.values()]
            pending += [each for each in named if isinstance(each, GraphQLInputObjectType)]
    yield from seen.values()
