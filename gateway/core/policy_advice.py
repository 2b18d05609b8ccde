"""What a policy says about itself: who may use each root field, and where a person has still to decide.

A rule can only see users that a request names. So wherever a user token can give a value that may name a user, somebody
must have said whether it may be another one; `advice` finds the places where nobody has.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_specified_scalar_type,
)

from gateway.core.directives import OURS
from gateway.core.policy import Caller, Demands, InputPolicy, Need, Policy

# Directives that decide who may use what; a cost decides nothing.
DECIDING: Final = OURS - {"cost"}


@dataclass(frozen=True, slots=True, order=True)
class PolicyAdvice:
    """A place where a user token can give a value that may name another user: line (from 1), coordinate, sentence."""

    line: int
    coordinate: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use one root field.

    `scopes` are what a key must hold, any of the outer, all of an inner; empty where any key will do, and where none
    will. `own_user` are the arguments, and input fields below them, in which a user token must name its own user.
    `decided` says that the field itself carries a directive.
    """

    coordinate: str
    keys: bool
    scopes: tuple[tuple[str, ...], ...]
    users: bool
    own_user: tuple[str, ...]
    decided: bool

    @property
    def closed(self) -> bool:
        """Whether nobody may use the field."""
        return not (self.keys or self.users)


def access(policy: Policy) -> tuple[Access, ...]:
    """Who may use each root field, in the order of the schema, as its directives say.

    Fields of the subscription type are among them, though subscriptions are refused whatever their directives say.
    """
    return tuple(
        Access(
            coordinate=field.coordinate,
            keys=_open_to(Caller.KEY, field.demands),
            scopes=_alternatives(field.demands.needs) if _open_to(Caller.KEY, field.demands) else (),
            users=_open_to(Caller.USER, field.demands),
            own_user=tuple(
                path for name, given in field.arguments.items() for path in _own_user_paths(policy, name, given, ())
            ),
            decided=_is_decided(root, name),
        )
        for root in _roots(policy.schema)
        for name, field in policy.fields[root.name].items()
    )


def closed_sentence(policy: Policy) -> str:
    """How many root fields are closed and what helps, or nothing where none is."""
    rows = access(policy)
    closed = [row for row in rows if row.closed]
    if not closed:
        return ""
    count = f"{len(closed)} of {len(rows)} root fields {'is' if len(closed) == 1 else 'are'} closed"
    if not all(row.decided for row in closed):
        return f"{count}; gateway policy init helps."
    if len(closed) == len(rows):
        return f"{count}; open them with @requiresScopes, @authenticated or @userContext."
    return f"{count}."


def advice(policy: Policy) -> tuple[PolicyAdvice, ...]:
    """Each argument and input field that a user token can reach and that may name another user, undecided, by line."""
    values = {value.coordinate: value for value in declared(policy.schema)}
    found = {}
    for given in _reached(policy):
        value = values[given.coordinate]
        why = None if is_settled(given) else _doubt(value)
        if why:
            sentence = f"{value.coordinate} {why}; say @ownUser, @keysOnly, or @anyUser with a reason."
            found[value.coordinate] = PolicyAdvice(value.line, value.coordinate, sentence)
    return tuple(sorted(found.values()))


def _doubt(value: "Value") -> str | None:
    kind = get_named_type(value.definition.type)
    if value.names_user:
        return "is named like a user id, and a user token may give anybody's"
    if isinstance(kind, GraphQLScalarType) and not is_specified_scalar_type(kind):
        return f"takes a {kind.name}, which can hold anything, and a user token may put anybody's id there"
    return None


def is_settled(given: InputPolicy) -> bool:
    """Whether somebody has decided which user a value may name, or the value below must name the own one anyway."""
    return given.leads_to_user or any(
        mark.closed or mark.refuses_users or mark.names_caller or mark.any_user for mark in given.marks
    )


def _roots(schema: GraphQLSchema) -> Iterator[GraphQLObjectType]:
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        if root:
            yield root


def _open_to(caller: int, demands: Demands) -> bool:
    closed = any(barred & caller for barred, _ in demands.closed)
    return not (closed or (caller == Caller.USER and demands.keys_only))


def _is_decided(root: GraphQLObjectType, name: str) -> bool:
    node = root.fields[name].ast_node
    return node is not None and any(directive.name.value in DECIDING for directive in node.directives or ())


def _alternatives(needs: Iterable[Need]) -> tuple[tuple[str, ...], ...]:
    """Several demands as one: any of the outer, all of an inner, none of which holds another."""
    sets = [frozenset[str]()]
    for need in needs:
        sets = [held | inner for held in sets for inner in need.scopes]
        sets = [each for each in dict.fromkeys(sets) if not any(other < each for other in sets)]
    return tuple(tuple(sorted(each)) for each in sets if each)


def _own_user_paths(policy: Policy, path: str, given: InputPolicy, above: tuple[str, ...]) -> Iterator[str]:
    if any(mark.own_user is not None for mark in given.marks):
        yield path
    kind = get_named_type(given.type)
    if given.leads_to_user and kind.name not in above:
        for name, below in policy.inputs[kind.name].items():
            yield from _own_user_paths(policy, f"{path}.{name}", below, (*above, kind.name))


# What a user token can reach ------------------------------------------------------------------------------------------


def _reached(policy: Policy) -> Iterator[InputPolicy]:
    """Every argument and input field that a user token can give a value for, closed and keys-only ones among them."""
    occurrences: dict[str, set[str]] = {}
    for name in policy.fields:
        for possible in policy.possible[name]:
            occurrences.setdefault(possible, set()).add(name)

    def places(returned: str) -> set[str]:
        """The types by which a selection on this one can be written: it, and those that fragments can name."""
        named = {returned}.union(*(occurrences[possible] for possible in policy.possible[returned]))
        return {name for name in named if name in policy.fields and _open_to(Caller.USER, policy.types[name])}

    types = {place for root in _roots(policy.schema) for place in places(root.name)}
    pending, inputs = list(types), set[str]()
    while pending:
        for field in policy.fields[pending.pop()].values():
            if not _open_to(Caller.USER, field.demands):
                continue
            for given in field.arguments.values():
                yield from _values(policy, given, inputs)
            following = places(field.type.name) - types
            types |= following
            pending += following


def _values(policy: Policy, given: InputPolicy, seen: set[str]) -> Iterator[InputPolicy]:
    """A value and the input fields below it, each input type once."""
    pending = [given]
    while pending:
        item = pending.pop()
        yield item
        kind = get_named_type(item.type)
        if not isinstance(kind, GraphQLInputObjectType) or kind.name in seen or _refuses_objects(item):
            continue
        seen.add(kind.name)
        pending += policy.inputs[kind.name].values()


def _refuses_objects(given: InputPolicy) -> bool:
    return any(mark.closed or mark.refuses_users or mark.names_caller for mark in given.marks)


# Names ----------------------------------------------------------------------------------------------------------------

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_USER_ID: Final = re.compile(r"(.*_)?(user|owner|member|userid)s?(_(id|uid|uuid)s?)?|member.*")
_USERS: Final = frozenset({"user", "users"})
# Words of names that say how something is used and not what it is: `DeleteUserInput` is about a user.
_HOW: Final = re.compile(
    "args|by|changes|connection|create|data|delete|edge|filter|ids?|input|list|node|output|patch|payload|response"
    "|result|set|unique|update|where"
)


@dataclass(frozen=True, slots=True)
class Value:
    """An argument or input field as a schema declares it, and whether it is named like a user id.

    So are `user`, `user_id`, `userIds`, `owner`, `member...`, these with words before them (`target_user_id`), and `id`
    and `ids` where they can only be a user's: on a field that returns a user or is called after one, and in an input
    type called after one. A user is a type whose name ends in `User`, but for words like `Input` and `Payload`, that
    implements such a type, or that can be one. What is a Boolean, a Float or an enum names nobody.
    """

    coordinate: str
    definition: GraphQLArgument | GraphQLInputField
    names_user: bool

    @property
    def line(self) -> int:
        """The line of its name, from 1."""
        node = self.definition.ast_node
        return node.name.loc.start_token.line if node and node.name.loc else 0


def declared(schema: GraphQLSchema) -> Iterator[Value]:
    """Every argument and input field of a schema."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            about_user = _is_about_user(kind.name)
            for name, given in kind.fields.items():
                yield Value(f"{kind.name}.{name}", given, _names_user(name, given, about_user))
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in kind.fields.items():
                about_user = _is_about_user(name) or _is_user(schema, get_named_type(field.type))
                for argument, value in field.args.items():
                    coordinate = f"{kind.name}.{name}({argument}:)"
                    yield Value(coordinate, value, _names_user(argument, value, about_user))


def _names_user(name: str, definition: GraphQLArgument | GraphQLInputField, about_user: bool) -> bool:
    kind = get_named_type(definition.type)
    if isinstance(kind, GraphQLEnumType) or kind.name in ("Boolean", "Float"):
        return False
    words = _words(name)
    return (about_user and words in (["id"], ["ids"])) or _USER_ID.fullmatch("_".join(words)) is not None


def _is_user(schema: GraphQLSchema, kind: GraphQLNamedType) -> bool:
    kin: list[GraphQLNamedType] = [kind]
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        kin += kind.interfaces
    if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
        kin += schema.get_possible_types(kind)
    return any(_is_about_user(each.name) for each in kin)


def _is_about_user(name: str) -> bool:
    what = [word for word in _words(name) if not _HOW.fullmatch(word)]
    return bool(what) and what[-1] in _USERS


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name.replace("IDs", "Ids"))]
