"""The compiled policy: a value that says, for every coordinate of the schema, what using it demands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from graphql import GraphQLDirective, GraphQLInputType, GraphQLNamedType, GraphQLSchema

from gateway.core.directives import Mark


class Caller:
    """Kinds of caller as a set of bits: a demand may concern one of them or both. Plain integers, since the walk
    combines them at every selection and an `IntFlag` takes a microsecond a time (measured)."""

    NONE: Final = 0
    KEY: Final = 1
    USER: Final = 2
    BOTH: Final = 3


class Introspection(StrEnum):
    """Who may ask for `__schema` and `__type`."""

    NONE = "none"
    KEYS = "keys"
    ALL = "all"

    @property
    def closed_to(self) -> int:
        """The callers to whom introspection is closed."""
        return _CLOSED_TO[self]


_CLOSED_TO = {Introspection.NONE: Caller.BOTH, Introspection.KEYS: Caller.USER, Introspection.ALL: Caller.NONE}


class UserScoping(StrEnum):
    """Whether the upstream keeps a user to its own data by the identity headers, or only arguments do."""

    UPSTREAM = "upstream"
    ARGUMENTS = "arguments"


@dataclass(frozen=True, slots=True)
class Options:
    """What settings, not the schema, decide about the policy.

    `scoping` is by region; a region that is not named counts as `ARGUMENTS`, the stricter of the two.
    """

    introspection: Introspection = Introspection.KEYS
    forward_unknown_fields: bool = False
    report: bool = False
    scoping: Mapping[str, UserScoping] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Need:
    """Scopes that an API key must hold: any of the outer, all of an inner set. `coordinate` carries the directive."""

    coordinate: str
    scopes: tuple[frozenset[str], ...]

    def met(self, held: frozenset[str]) -> bool:
        """Whether a key with these scopes may pass."""
        for inner in self.scopes:  # noqa: SIM110 - a generator costs four times the comparison, at every request
            if inner <= held:
                return True
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Demanded:
    """What an operation demands of keys; told apart by identity, so that its uses are counted without comparing."""

    needs: tuple[Need, ...]

    def used(self, held: frozenset[str]) -> frozenset[str]:
        """The scopes of a key that holds these without which it would not have passed, or not by that road: of several
        that would do, the first."""
        met = (next((inner for inner in need.scopes if inner <= held), frozenset[str]()) for need in self.needs)
        return frozenset[str]().union(*met)


@dataclass(frozen=True, slots=True)
class Demands:
    """What a selection, or naming a type, demands. `closed` and `keys_only` are the coordinates that carry the
    directive, `closed` with those to whom."""

    closed: tuple[tuple[int, str], ...]
    keys_only: tuple[str, ...]
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class InputPolicy:
    """What a value for one argument or input field must obey.

    `marks` are its own, those of its type and, for an argument, those of the same argument on the interfaces and
    implementations that its field stands for. `leads_to_user` and `leads_to_app` tell that an input field below names
    the caller and must not be absent, which makes this one required as well. `concerns` are the callers for whom a
    value can matter at all. `needs` are the scopes that it, or anything that a value can hold, demands of keys.
    """

    coordinate: str
    type: GraphQLInputType
    marks: tuple[Mark, ...]
    leads_to_user: bool
    leads_to_app: bool
    concerns: int
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """What selecting one field demands, everything that adds up counted in.

    `user_context_root` marks the root fields that must name the user under `UserScoping.ARGUMENTS`. `implied` are the
    arguments that implementations have beside those of an interface's field: never given, and judged as absent.
    `deletes` are the arguments that name users whom it deletes.
    """

    coordinate: str
    type: GraphQLNamedType
    demands: Demands
    user_context_root: bool
    arguments: Mapping[str, InputPolicy]
    implied: tuple[InputPolicy, ...]
    deletes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """The annotated schema, compiled. Immutable; a reload builds another."""

    schema: GraphQLSchema
    fields: Mapping[str, Mapping[str, FieldPolicy]]
    inputs: Mapping[str, Mapping[str, InputPolicy]]
    types: Mapping[str, Demands]
    possible: Mapping[str, frozenset[str]]
    roots: frozenset[str]
    marked_types: frozenset[str]
    directives: Mapping[str, GraphQLDirective]
    scopes: tuple[str, ...]
    options: Options = field(default_factory=Options)

    def scoping(self, region: str) -> UserScoping:
        """Whether the upstream of a region confines users by itself; where nobody said so, it does not."""
        return self.options.scoping.get(region, UserScoping.ARGUMENTS)

    def root(self, kind: str) -> str | None:
        """The name of the root type for `query` or `mutation`, or None."""
        root = self.schema.query_type if kind == "query" else self.schema.mutation_type
        return None if root is None else root.name
