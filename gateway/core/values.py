"""Argument values as the upstream will have them, judged against what they must obey.

A variable is judged by the value it really has at each place it is used: null is null and not its default, a variable
without a value is absent, and in a list it is null (GraphQL specification, "Coercing Variable Values" and "Input
Objects"). Whatever cannot be the caller's own id is refused, whether or not the upstream would take it.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from graphql import (
    BooleanValueNode,
    GraphQLInputObjectType,
    GraphQLList,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
)

from gateway.core.decision import Finding, Reason, scope_missing
from gateway.core.directives import Absent, Mark
from gateway.core.policy import Caller, FieldPolicy, InputPolicy


class _Special(Enum):
    ABSENT = "absent"  # no value at all, which is not null
    OTHER = "other"  # a number or an enum member: nobody's id, whatever it spells


ABSENT: Final = _Special.ABSENT
_OTHER: Final = _Special.OTHER

# Values judged for one operation, a variable anew wherever it is used: nine hundred uses of one long list would hold
# the event loop for minutes, and ten thousand values hold it for some 20 ms (measured).
MAX_VALUES: Final = 10_000


class TooManyValues(Exception):
    """The arguments of an operation hold more values than are judged."""


class Variables:
    """The values that variables really have: as sent, else their default, else absent."""

    __slots__ = ("_defaults", "_definitions", "_sent")

    def __init__(self, sent: Mapping[str, Any], definitions: Mapping[str, VariableDefinitionNode]) -> None:
        self._sent = sent
        self._definitions = definitions
        self._defaults: dict[str, Any] = {}

    def value(self, name: str) -> Any:
        """The value of a declared variable. What is sent beside the declared ones is ignored."""
        definition = self._definitions[name]
        if name in self._sent:
            return self._sent[name]
        if definition.default_value is None:
            return ABSENT
        if name not in self._defaults:
            self._defaults[name] = literal(definition.default_value, self)
        return self._defaults[name]


def literal(node: ValueNode, variables: Variables) -> Any:
    """A value in a document as plain Python: str, bool, None, list, dict, `ABSENT`, or something that is no id."""
    if isinstance(node, VariableNode):
        return variables.value(node.name.value)
    if isinstance(node, StringValueNode | BooleanValueNode):
        return node.value
    if isinstance(node, NullValueNode):
        return None
    if isinstance(node, ListValueNode):
        items = (literal(item, variables) for item in node.values or ())
        return [None if item is ABSENT else item for item in items]
    if isinstance(node, ObjectValueNode):
        members = {member.name.value: literal(member.value, variables) for member in node.fields or ()}
        return {name: value for name, value in members.items() if value is not ABSENT}
    return _OTHER


class Judgement:
    """Judges the values of one operation for one caller, and gathers what it finds.

    `own_user` is None for an API key, which holds `scopes` and may name any user of its app. With `strict` the upstream
    is not trusted to know the caller: a value left out may only stand beside another one of the same field that names
    the caller.
    """

    __slots__ = (
        "_held",
        "_inputs",
        "_left",
        "_left_out",
        "_named_user",
        "_own_app",
        "_own_user",
        "_path",
        "_strict",
        "findings",
    )

    def __init__(
        self,
        inputs: Mapping[str, Mapping[str, InputPolicy]],
        *,
        own_app: str,
        own_user: str | None = None,
        scopes: frozenset[str] = frozenset(),
        strict: bool = False,
    ) -> None:
        self._inputs = inputs
        self._held = scopes
        self._own_app = own_app
        self._own_user = own_user
        self._strict = strict
        self._left = MAX_VALUES
        self.findings: list[Finding] = []

    def field(self, policy: FieldPolicy, arguments: Iterable[tuple[InputPolicy, Any]], path: str) -> None:
        """Judge the values of one field's arguments; `ABSENT` for those that were not given.

        Raises `TooManyValues` once the fields of this operation have held more of them than are judged.
        """
        self._path = path
        self._named_user = False
        self._left_out: list[str] = []
        for argument, value in arguments:
            self._input(argument, value, ())
        if self._strict and self._own_user is not None and not self._named_user:
            left_out = self._left_out or ([policy.coordinate] if policy.user_context_root else [])
            for coordinate in left_out:
                self._find(Reason.NOT_OWN_DATA, coordinate)

    def _find(self, reason: Reason, coordinate: str) -> None:
        self.findings.append(Finding(reason, coordinate, self._path))

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooManyValues

    def _input(self, policy: InputPolicy, value: Any, above: tuple[str, ...]) -> None:
        self._count()
        nothing = value is ABSENT or value is None or (value == [] and _takes_list(policy))
        for mark in policy.marks:
            if value is not ABSENT:
                self._supplied(mark)
            if mark.own_user is not None and self._own_user is not None:
                self._user(mark, policy, value, nothing)
            if mark.own_app is not None:
                self._app(mark, policy, value, nothing)
        named = get_named_type(policy.type)
        if not isinstance(named, GraphQLInputObjectType):
            return
        for item in (None,) if nothing else self._members(value):
            if isinstance(item, dict):
                self._object(named.name, item, (*above, named.name))
            # An edge back to a type that is being filled in closes a circle; were it required, values had no end.
            elif named.name not in above:
                self._leads(policy)

    def _supplied(self, mark: Mark) -> None:
        if mark.closed:
            self._find(Reason.FIELD_CLOSED, mark.coordinate)
        if self._own_user is None:
            if mark.scopes and not any(inner <= self._held for inner in mark.scopes):
                self.findings.append(scope_missing(mark.coordinate, self._path, mark.scopes))
        elif mark.refuses_users:
            self._find(Reason.KEYS_ONLY, mark.coordinate)

    def _user(self, mark: Mark, policy: InputPolicy, value: Any, nothing: bool) -> None:
        if nothing and mark.own_user is Absent.SELF:
            self._left_out.append(mark.coordinate)
        elif nothing or not self._own(policy, value, self._own_user):
            self._find(Reason.NOT_OWN_DATA, mark.coordinate)
        else:
            self._named_user = True

    def _app(self, mark: Mark, policy: InputPolicy, value: Any, nothing: bool) -> None:
        if nothing and mark.own_app is Absent.SELF and not self._strict:
            return
        if nothing or not self._own(policy, value, self._own_app):
            self._find(Reason.NOT_OWN_APP, mark.coordinate)

    def _own(self, policy: InputPolicy, value: Any, own: str | None) -> bool:
        """Whether a value is exactly the own id, or, where the type is a list, a list of nothing else."""
        if not isinstance(value, list):
            return isinstance(value, str) and value == own
        return _takes_list(policy) and all(isinstance(item, str) and item == own for item in self._members(value))

    def _members(self, value: Any) -> Iterator[Any]:
        """The members of nested lists, None for an empty one, which names nobody; a single value is a list of itself,
        as coercion has it."""
        pending = [value]
        while pending:
            self._count()
            item = pending.pop()
            if isinstance(item, list):
                pending.extend(item or (None,))
            else:
                yield item

    def _leads(self, policy: InputPolicy) -> None:
        if policy.leads_to_user and self._own_user is not None:
            self._find(Reason.NOT_OWN_DATA, policy.coordinate)
        if policy.leads_to_app:
            self._find(Reason.NOT_OWN_APP, policy.coordinate)

    def _object(self, type_name: str, members: Mapping[str, Any], above: tuple[str, ...]) -> None:
        fields = self._inputs[type_name]
        for name in members:
            self._count()
            if name not in fields:
                self._find(Reason.ARGUMENT_UNKNOWN, f"{type_name}.{name}")
        kind = Caller.KEY if self._own_user is None else Caller.USER
        for name, policy in fields.items():
            if policy.concerns & kind:
                self._input(policy, members.get(name, ABSENT), above)


def _takes_list(policy: InputPolicy) -> bool:
    return isinstance(get_nullable_type(policy.type), GraphQLList)
