"""Operations for generated tests: written against a schema by somebody who mostly obeys its rules, and sometimes not.

Left to chance alone nearly everything would be refused, and the oracle would prove nothing; so each choice keeps to
what is open to the caller except for a few sins, whose number is drawn for each operation. Choices come from a seed
rather than from hypothesis one by one: that is ten times as fast, and nearly no two operations are alike. Hypothesis
shrinks their size.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, TypeVar

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_composite_type,
    is_non_null_type,
)
from hypothesis import strategies as st

from gateway.core.policy import Introspection, Options, Policy, UserScoping
from gateway.core.principal import KeyPrincipal, Principal
from tests.support.oracle import Caller, Signs, signs
from tests.support.served import compiled, open_fields, overlapping, upstream
from tests.support.vectors import NEVER, OTHER_USER, OWN_APP, OWN_USER, REGION, user

# The richer ones come more often than the small ones.
SCHEMAS = (
    *("vendor", "maze", "forms") * 3,
    *("shapes", "inputs", "gates") * 2,
    *("roots", "root_interface", "directives", "deep"),
)
OTHER_APP = "5a0000000000000000000a02"
_DEEPEST = 4
_Place = GraphQLArgument | GraphQLInputField
_Composite = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """One request: who asks for what, under which schema and settings."""

    schema: str
    caller: Caller
    options: Options
    query: str
    variables: Mapping[str, Any]
    operation_name: str | None

    @property
    def policy(self) -> Policy:
        """The policy that it is judged by."""
        return replace(compiled(self.schema), options=self.options)


def cases(*, report: bool | None = None) -> st.SearchStrategy[Case]:
    """Requests of every kind of caller under every setting; `report` fixes the mode."""
    return st.builds(_case, st.integers(0, 4), st.integers(0, 1 << 64), st.just(report))


def _case(size: int, seed: int, report: bool | None) -> Case:
    pen = _Pen(seed)
    schema = pen.one(SCHEMAS)
    scoping = pen.one([UserScoping.UPSTREAM, UserScoping.UPSTREAM, UserScoping.ARGUMENTS])
    introspection = pen.one(list(Introspection))
    caller = Caller(_principal(pen, schema), introspection, scoping)
    options = Options(
        introspection,
        forward_unknown_fields=pen.chance(4),
        report=pen.chance(2) if report is None else report,
        scoping={REGION: scoping},
    )
    writer = _Writer(pen, schema, caller, sins=pen.one([0, 1, 1, 1, 2, 3]), size=size)
    query, variables, name = writer.request()
    return Case(schema, caller, options, query, variables, name)


class _Pen:
    """Choices that follow from a seed."""

    def __init__(self, seed: int) -> None:
        self.below: Callable[[int], int] = Random(seed).randrange  # noqa: S311  nothing secret

    def one(self, items: Sequence[_T]) -> _T:
        return items[self.below(len(items))]

    def chance(self, of: int) -> bool:
        """True once in so many times."""
        return self.below(of) == 0


def _principal(pen: _Pen, schema: str) -> Principal:
    if pen.chance(2):
        return user(OWN_USER)
    every = compiled(schema).scopes
    held = every if pen.chance(2) else tuple(scope for scope in every if pen.chance(2))
    return KeyPrincipal("e5c3b842231543f1", OWN_APP, REGION, frozenset(held), NEVER)


class _Writer:
    """Writes one document with its variables."""

    def __init__(self, pen: _Pen, schema: str, caller: Caller, *, sins: int, size: int) -> None:
        self._pen = pen
        self._schema: GraphQLSchema = upstream(schema).schema
        self._open = partial(open_fields, schema, caller)
        self._caller = caller
        self._sins = sins
        self._left = 4 + 4 * size
        self._fragments: dict[str, tuple[_Composite, str]] = {}
        self._declared: list[str] = []
        self._sent: dict[str, Any] = {}
        self._fields = 0

    def _sin(self, *, once_in: int = 24) -> bool:
        # Sins are counted: what has one fault alone shows whether just that fault is seen.
        if not self._sins or not self._pen.chance(once_in):
            return False
        self._sins -= 1
        return True

    def _tempted(self) -> bool:
        # What the rules are about is broken more often than the rest.
        return self._sin(once_in=5)

    # Documents

    def request(self) -> tuple[str, dict[str, Any], str | None]:
        pen = self._pen
        kinds = ["query", "query", "mutation"] if self._schema.mutation_type else ["query"]
        kind = pen.one(kinds)
        several = pen.chance(6)
        name = pen.one(["A", "B"]) if several or pen.chance(3) else None
        operations = [self._operation(kind, name)]
        if several:
            other = pen.one(kinds) if self._sin() else kind
            declared, sent, self._declared, self._sent = self._declared, self._sent, [], {}
            operations.append(self._operation(other, "B" if name == "A" else "A"))
            self._declared, self._sent = declared, {**self._sent, **sent}
        fragments = [
            f"fragment {each} on {condition.name} {body}" for each, (condition, body) in self._fragments.items()
        ]
        if self._sin():
            self._sent["stray"] = OTHER_USER
        parts = [*operations, *fragments]
        parts = parts[::-1] if pen.chance(4) else parts
        chosen = name if several and not self._sin() else pen.one([name, name, None])
        return "\n".join(parts), self._sent, chosen

    def _operation(self, kind: str, name: str | None) -> str:
        root = self._schema.query_type if kind == "query" else self._schema.mutation_type
        assert root is not None
        body = self._selection(root, 1)
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        return f"{kind} {name or ''}{declared} {body}"

    # Selections

    def _selection(self, kind: _Composite, depth: int) -> str:
        count = 1 + self._pen.below(4 if depth == 1 else 3) if self._on(depth) else 1
        return "{ " + " ".join(self._selected(kind, depth) for _ in range(count)) + " }"

    def _on(self, depth: int) -> bool:
        return depth <= _DEEPEST and self._left > 0

    def _selected(self, kind: _Composite, depth: int) -> str:
        self._left -= 1
        choice = self._pen.below(16)
        if choice >= 12 and self._on(depth):
            return self._fragment(kind, depth, choice)
        if choice == 11 or not getattr(kind, "fields", None):
            return self._typename(kind, depth)
        if self._sin() and self._pen.chance(2):
            return self._unknown(kind, depth)
        return self._field(kind, depth)

    def _typename(self, kind: _Composite, depth: int) -> str:
        if kind is self._schema.query_type and (self._caller.sees_schema or self._sin()):
            return self._alias() + self._pen.one(
                ['__type(name: "Query") { name fields { name } }', "__schema { queryType { name } }"]
            )
        if self._on(depth) and isinstance(kind, GraphQLUnionType | GraphQLInterfaceType):
            return self._fragment(kind, depth, 12)
        return f"{self._alias()}__typename"

    def _unknown(self, kind: _Composite, depth: int) -> str:
        # Names that a type that this can be may have, or introspection where it does not belong.
        possible = [] if isinstance(kind, GraphQLObjectType) else list(self._schema.get_possible_types(kind))
        names = [name for each in possible for name in each.fields] or ["nope"]
        name = self._pen.one([*names, "nope", "__schema", "__type"])
        below = " { id name __typename }" if self._pen.chance(3) else ""
        return f"{self._alias()}{name}{below}"

    def _alias(self) -> str:
        self._fields += 1
        return f"{self._pen.one(['me', 'user', 'a', 'id'])}{self._fields}: " if self._pen.chance(4) else ""

    def _condition(self) -> str:
        choice = self._pen.below(12)
        if choice == 11:
            return f"@{self._pen.one(['skip', 'include'])}(if: {self._pen.one(['true', 'false'])}) "
        if choice == 10:
            name = self._declare("Boolean!", default=self._pen.one(["true", "false"]))
            self._sent[name] = self._pen.chance(2)
            return f"@{self._pen.one(['skip', 'include'])}(if: ${name}) "
        return ""

    def _field(self, kind: _Composite, depth: int) -> str:
        assert not isinstance(kind, GraphQLUnionType)
        allowed = self._open(kind.name)
        shut = [name for name in kind.fields if name not in allowed]
        names: Sequence[str] = shut if shut and self._tempted() else allowed or ("__typename",)
        leaves = [name for name in names if name == "__typename" or _is_leaf(kind.fields[name])]
        asking = [name for name in names if name != "__typename" and kind.fields[name].args]
        if leaves and (not self._on(depth) or self._pen.chance(2)):
            names = leaves
        elif asking and self._pen.chance(2):
            names = asking
        name = self._pen.one(names)
        if name == "__typename":
            return name
        field = kind.fields[name]
        below = get_named_type(field.type)
        head = f"{self._alias()}{name}{self._arguments(kind, name, field)} {self._condition()}"
        if not is_composite_type(below):
            return head
        empty = not self._on(depth) or self._pen.chance(8)
        return head + ("{ __typename }" if empty else self._selection(below, depth + 1))

    def _fragment(self, kind: _Composite, depth: int, choice: int) -> str:
        if choice == 15:
            return f"... {self._condition()}{self._selection(kind, depth)}"
        others = [*self._schema.type_map.values()] if self._sin() else list(overlapping(self._schema, kind))
        composite = [each for each in others if is_composite_type(each)]
        condition = self._pen.one(composite or [kind])
        if choice == 12:
            return f"... on {condition.name} {self._condition()}{self._selection(condition, depth)}"
        fitting = [name for name, (on, _) in self._fragments.items() if on is condition]
        if fitting and self._pen.chance(2):
            return f"...{self._pen.one(fitting)} {self._condition()}"
        body = self._selection(condition, depth)
        name = f"F{len(self._fragments)}"
        self._fragments[name] = (condition, body)
        return f"...{name} {self._condition()}"

    # Arguments and values

    def _arguments(self, kind: _Composite, name: str, field: GraphQLField) -> str:
        given = []
        for argument, definition in field.args.items():
            marks = self._marks(kind, name, argument, definition)
            if self._supplies(definition, marks):
                given.append(f"{argument}: {self._value(definition, marks)}")
        if self._sin() and self._pen.chance(4):
            given.append(f'{self._pen.one(["user_id", "of", "owner"])}: "{OTHER_USER}"')
        return f"({', '.join(given)})" if given else ""

    def _marks(self, kind: _Composite, name: str, argument: str, definition: GraphQLArgument) -> Signs:
        above = kind.interfaces if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) else ()
        same = [each.fields[name].args.get(argument) for each in above if name in each.fields]
        return {key: value for each in (*same, definition) if each for key, value in signs(each).items()}

    def _supplies(self, place: _Place, marks: Signs) -> bool:
        if self._tempted():
            return self._pen.chance(2)
        named = get_named_type(place.type)
        if self._bars({**signs(named), **marks}):
            return False
        if is_non_null_type(place.type) or "ownUser" in marks or "ownApp" in marks:
            return True
        return self._pen.chance(2) or isinstance(named, GraphQLInputObjectType)

    def _bars(self, marks: Signs) -> bool:
        caller = self._caller
        if "closed" in marks or (not caller.is_key and "keysOnly" in marks):
            return True
        if "requiresScopes" not in marks:
            return False
        if caller.is_key:
            return not caller.holds(marks["requiresScopes"]["scopes"])
        return not marks.keys() & {"authenticated", "userContext"}

    def _value(self, place: _Place, marks: Signs) -> str:
        """The text of a value: written out, or a variable that has it in one of the ways in which it can."""
        if not self._pen.chance(3):
            return self._literal(self._plain(place.type, marks, 0))
        written = self._pen.one(["String", "ID", "[ID]", "JSON"]) if self._sin() else str(place.type)
        value, other = self._plain(place.type, marks, 0), self._plain(place.type, marks, 0)
        default = self._literal(value, constant=True)
        ways: list[dict[str, Any]] = [
            *[{"sent": value}] * 4,
            {"default": default},
            {"sent": value, "default": self._literal(other, constant=True)},
            {"sent": value, "default": "null"},
        ]
        sins: list[dict[str, Any]] = [{"sent": None, "default": default}, {"sent": None}, {}]
        return f"${self._declare(written, **self._pen.one(sins if self._tempted() else ways))}"

    def _declare(self, kind: str, *, default: str | None = None, **sent: Any) -> str:
        """The name of a new variable; where `sent` is not given it has no value but its default."""
        name = f"v{len(self._declared)}"
        self._declared.append(f"${name}: {kind}" + (f" = {default}" if default else ""))
        if "sent" in sent:
            self._sent[name] = json.loads(json.dumps(sent["sent"]))
        return name

    def _plain(self, kind: GraphQLInputType, marks: Signs, depth: int) -> Any:
        """A value for a place of this type as plain Python; names of enum members are `_Name`s."""
        if isinstance(kind, GraphQLNonNull):
            return self._plain(kind.of_type, marks, depth)
        if "ownUser" in marks or "ownApp" in marks:
            own, other = (OWN_USER, OTHER_USER) if "ownUser" in marks else (OWN_APP, OTHER_APP)
            return self._own(kind, own, other)
        if isinstance(kind, GraphQLList):
            return [self._plain(kind.of_type, marks, depth) for _ in range(self._pen.below(3))]
        if isinstance(kind, GraphQLInputObjectType):
            return self._object(kind, depth)
        if isinstance(kind, GraphQLEnumType):
            return _Name(self._pen.one(sorted(kind.values)))
        return self._scalar(kind)

    def _own(self, kind: GraphQLInputType, own: str, other: str) -> Any:
        nested = isinstance(kind, GraphQLList)
        if not self._tempted():
            return self._pen.one([[own], own, [own, own]]) if nested else own
        odd: list[Any] = [
            other,
            own.upper(),
            "",
            None,
            None,
            [own],
            [],
            5,
            True,
            _Name("SELF"),
            {"eq": own},
            [own, other],
        ]
        return self._pen.one([[other], [own, other], [other, own], [[own], []], [[]], [own, None]] if nested else odd)

    def _object(self, kind: GraphQLInputObjectType, depth: int) -> dict[str, Any]:
        members = {}
        for name, field in kind.fields.items():
            marks = signs(field)
            deeper = isinstance(get_named_type(field.type), GraphQLInputObjectType)
            wanted = self._supplies(field, marks) and (not deeper or depth < 2)
            if wanted or (deeper and kind.name != get_named_type(field.type).name and depth < 3):
                members[name] = self._plain(field.type, marks, depth + 1)
        if self._sin() and self._pen.chance(2):
            members[self._pen.one(["owner", "app", "staff", "gone"])] = OTHER_USER
        return members

    def _scalar(self, kind: GraphQLScalarType) -> Any:
        choices: dict[str, list[Any]] = {"Int": [0, 7], "Float": [1.5], "Boolean": [True, False]}
        if kind.name in ("String", "ID"):
            return self._pen.one(["x", OTHER_USER, OWN_USER])
        return self._pen.one(choices.get(kind.name, ["x", {"user_id": OTHER_USER}, [1, None]]))

    def _literal(self, value: Any, *, constant: bool = False) -> str:
        """The value as GraphQL writes it; unless it must be constant, some of it in variables."""
        if isinstance(value, list):
            return f"[{', '.join(self._inner(item, constant=constant) for item in value)}]"
        if isinstance(value, dict):
            members = (f"{name}: {self._inner(item, constant=constant)}" for name, item in value.items())
            return f"{{{', '.join(members)}}}"
        return str(value) if isinstance(value, _Name) else json.dumps(value)

    def _inner(self, value: Any, *, constant: bool) -> str:
        movable = isinstance(value, str) and not isinstance(value, _Name) and not constant
        if movable and self._pen.chance(4):
            return f"${self._declare(self._pen.one(['ID', 'String']), sent=value)}"
        return self._literal(value, constant=constant)


class _Name(str):
    """The name of an enum's member, written without quotes."""

    __slots__ = ()


def _is_leaf(field: GraphQLField) -> bool:
    return not is_composite_type(get_named_type(field.type))
