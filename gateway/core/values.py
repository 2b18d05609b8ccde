"""Argument values as the upstream will have them, judged against what they must obey.

A variable is judged by the value it really has at each place it is used: null is null and not its default, a variable
without a value is absent, and in a list it is null (GraphQL specification, "Coercing Variable Values" and "Input
Objects"). Whatever cannot be the caller's own id is refused, whether or not the upstream would take it.
"""

from collections.abc import Callable, Iterable, Mapping
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
from gateway.core.policy import FieldPolicy, InputPolicy


class _Special(Enum):
    ABSENT = "absent"  # no value at all, which is not null
    OTHER = "other"  # a number or an enum member: nobody's id, whatever it spells


ABSENT: Final = _Special.ABSENT
_OTHER: Final = _Special.OTHER


class Variables:
    """The values that variables really have: as sent, else their default, else absent."""

    __slots__ = ("_definitions", "_sent")

    def __init__(self, sent: Mapping[str, Any], definitions: Mapping[str, VariableDefinitionNode]) -> None:
        self._sent = sent
        self._definitions = definitions

    def value(self, name: str) -> Any:
        """The value of a declared variable. What is sent beside the declared ones is ignored."""
        definition = self._definitions.get(name)
        if definition is None:
            return ABSENT
        if name in self._sent:
            return self._sent[name]
        return ABSENT if definition.default_value is None else literal(definition.default_value, self)


def literal(node: ValueNode, variables: Variables) -> Any:
    """A value in a document as plain Python: str, bool, None, list, dict, `ABSENT`, or something that is no id."""
    if isinstance(node, VariableNode):
        return variables.value(node.name.value)
    if isinstance(node, StringValueNode):
        return node.value
    if isinstance(node, NullValueNode):
        return None
    if isinstance(node, BooleanValueNode):
        return node.value
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

    __slots__ = ("_held", "_inputs", "_left_out", "_named_user", "_own_app", "_own_user", "_path", "_strict", "findings")

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
        self.findings: list[Finding] = []

    def field(self, policy: FieldPolicy, arguments: Iterable[tuple[InputPolicy, Any]], path: str) -> None:
        """Judge the values of one field's arguments; `ABSENT` for those that were not given."""
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

    def _input(self, policy: InputPolicy, value: Any, above: tuple[str, ...]) -> None:
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
        # An edge back to a type that is being filled in closes a circle; were it required, no value could be finite.
        if named.name not in above and (nothing or not _every(value, lambda item: isinstance(item, dict))):
            self._leads(policy)
        if not nothing:
            self._objects(named, value, (*above, named.name))

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
        elif nothing or not _own(policy, value, self._own_user):
            self._find(Reason.NOT_OWN_DATA, mark.coordinate)
        else:
            self._named_user = True

    def _app(self, mark: Mark, policy: InputPolicy, value: Any, nothing: bool) -> None:
        if nothing and mark.own_app is Absent.SELF and not self._strict:
            return
        if nothing or not _own(policy, value, self._own_app):
            self._find(Reason.NOT_OWN_APP, mark.coordinate)

    def _leads(self, policy: InputPolicy) -> None:
        if policy.leads_to_user and self._own_user is not None:
            self._find(Reason.NOT_OWN_DATA, policy.coordinate)
        if policy.leads_to_app:
            self._find(Reason.NOT_OWN_APP, policy.coordinate)

    def _objects(self, named: GraphQLInputObjectType, value: Any, above: tuple[str, ...]) -> None:
        fields = self._inputs[named.name]
        for item in _flat(value):
            if not isinstance(item, dict):
                continue
            for name in item:
                if name not in fields:
                    self._find(Reason.ARGUMENT_UNKNOWN, f"{named.name}.{name}")
            for name, policy in fields.items():
                self._input(policy, item.get(name, ABSENT), above)


def _takes_list(policy: InputPolicy) -> bool:
    return isinstance(get_nullable_type(policy.type), GraphQLList)


def _own(policy: InputPolicy, value: Any, own: str | None) -> bool:
    """Whether a value is exactly the own id, or, where the type is a list, a list of nothing else."""
    if isinstance(value, list) and not _takes_list(policy):
        return False
    return _every(value, lambda item: isinstance(item, str) and item == own)


def _flat(value: Any) -> list[Any]:
    """The members of nested lists; a single value counts as a list of itself, as coercion has it."""
    items, pending = [], [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        else:
            items.append(item)
    return items


def _every(value: Any, holds: Callable[[Any], bool]) -> bool:
    """Whether it holds for the value, or for each member of nested lists; an empty list at any level names nobody."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            if not item:
                return False
            pending.extend(item)
        elif not holds(item):
            return False
    return True

