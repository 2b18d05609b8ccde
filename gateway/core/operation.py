"""What an operation touches, found once and remembered: every coordinate it can reach, whatever its variables are.

Over-approximation is the rule: @skip and @include never make a field disappear, a type condition never narrows, an
alias changes nothing. Fragments are visited once each, so the work is linear in the document.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    InlineFragmentNode,
    ListTypeNode,
    ListValueNode,
    NamedTypeNode,
    NonNullTypeNode,
    ObjectValueNode,
    SelectionSetNode,
    ValueNode,
    VariableDefinitionNode,
    is_input_type,
)

from gateway.core.decision import Finding, Reason, Refused, refuse
from gateway.core.document import DocumentLimits, Selection, document_from
from gateway.core.policy import Caller, Demanded, Demands, FieldPolicy, InputPolicy, Need, Policy

_COMPOSITE: Final = (GraphQLObjectType, GraphQLInterfaceType, GraphQLUnionType)
_META: Final = frozenset({"__schema", "__type"})
_CONDITIONS: Final = frozenset({"skip", "include"})
_SHOWN: Final = 80  # Characters of a name in a path: each finding holds its path, and the client chooses the names.


@dataclass(frozen=True, slots=True)
class Touch:
    """One selection, as `explain` shows it: where it stands, what it selects, and what that demands (None: meta)."""

    path: str
    coordinate: str
    policy: FieldPolicy | None


@dataclass(frozen=True, slots=True)
class Demand:
    """Scopes that one selection demands of a key."""

    need: Need
    path: str


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of one selection whose values must be judged: policy and value as written, None where absent."""

    policy: FieldPolicy
    path: str
    arguments: tuple[tuple[InputPolicy, ValueNode | None], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """The ways to a named fragment, each with its conditions: it is left out where all of them are."""

    each: "list[Conditions]"


# The name of a directive with its `if`, or the ways by which a fragment is come to.
Conditions = tuple[tuple[str, ValueNode | None] | Ways, ...]


@dataclass(frozen=True, slots=True)
class Deleting:
    """One selection that deletes a user: how its outcome is found in the answer, and the value that names the user, as
    written, None where it is absent.

    `key` is its response key, None below the root, where an answer is not searched for it. `conditions` are what may
    keep it from running at all: each @skip and @include on the way to it.
    """

    key: str | None
    conditions: "Conditions"
    coordinate: str
    path: str
    value: ValueNode | None


@dataclass(frozen=True, slots=True)
class Operation:
    """An analysed operation: what decides about it for either kind of caller but for the values of variables.

    `key_findings` and `user_findings` hold whatever the variables are; `demands` are the scopes a key must hold;
    `key_values` and `user_values` wait for the variables. `demanded` is what its use counts as, `deleting` the
    selections that delete users. `names` is how logs name it: name, type, root fields. Valid
    for the policy it was analysed under, and no other.
    """

    kind: str
    name: str | None
    names: dict[str, object]
    variables: dict[str, VariableDefinitionNode]
    touched: tuple[Touch, ...]
    demands: tuple[Demand, ...]
    key_findings: tuple[Finding, ...]
    user_findings: tuple[Finding, ...]
    key_values: tuple[Given, ...]
    user_values: tuple[Given, ...]
    demanded: Demanded
    deleting: tuple[Deleting, ...]

    @property
    def parts(self) -> int:
        """How much is kept of it beside its text: findings, demands, values with all that is in them."""
        lists = (self.variables, self.demands, self.key_findings, self.user_findings, self.deleting)
        defaults = (definition.default_value for definition in self.variables.values())
        given = (node for value in (*self.key_values, *self.user_values) for _, node in value.arguments)
        return sum(map(len, lists)) + sum(map(_nodes, (*defaults, *given)))


def analyse(
    policy: Policy, text: str, operation_name: str | None, limits: DocumentLimits, *, trace: bool = False
) -> Operation:
    """The operation of a document that would run, analysed; `Refused` where the document itself is at fault.

    With `trace` it keeps each selection in `touched`, for whoever explains; who remembers it does without.
    """
    document = document_from(text, operation_name, limits, policy.directives)
    operation = document.operation
    root = policy.root(operation.operation.value)
    if root is None:
        raise refuse(Reason.OPERATION_UNSUPPORTED, "The schema has no operations of this kind.")
    _check_variables(policy, document.variables.values())
    _check_conditions(policy, document.conditions)
    walk = _Walk(policy, dict(document.fragments))
    walk.run(root, operation.selection_set)
    kind = operation.operation.value
    name = operation.name.value if operation.name else None
    return Operation(
        kind=kind,
        name=name,
        names={"operation": name, "type": kind, "root_fields": tuple(walk.root_fields)},
        variables=dict(document.variables),
        touched=tuple(walk.touched) if trace else (),
        demands=tuple(walk.demands.values()),
        key_findings=tuple(finding for caller, finding in walk.findings if caller & Caller.KEY),
        user_findings=tuple(finding for caller, finding in walk.findings if caller & Caller.USER),
        key_values=tuple(given for caller, given in walk.values if caller & Caller.KEY),
        user_values=tuple(given for caller, given in walk.values if caller & Caller.USER),
        demanded=Demanded(tuple(dict.fromkeys((*walk.demands, *walk.needs)))),
        deleting=tuple(walk.deleting),
    )


def _check_variables(policy: Policy, definitions: Iterable[VariableDefinitionNode]) -> None:
    for node in definitions:
        kind = node.type
        while isinstance(kind, ListTypeNode | NonNullTypeNode):
            kind = kind.type
        named = policy.schema.type_map.get(kind.name.value) if isinstance(kind, NamedTypeNode) else None
        if named is None or not is_input_type(named):
            raise _invalid("A variable is declared with a type that is not an input type of the schema.")


def _check_conditions(policy: Policy, conditions: Iterable[str]) -> None:
    # For the whole text, reached or not: below a closed field nothing is looked at, and it must answer like an unknown.
    for condition in conditions:
        if not isinstance(policy.schema.type_map.get(condition), _COMPOSITE):
            raise _invalid("A fragment is on a type that the schema does not have, or that has no fields.")


@dataclass(frozen=True, slots=True)
class _Place:
    """A selection set waiting to be walked: on which type (None below an unknown field), for whom, and where; and the
    conditions on the way there."""

    type_name: str | None
    selection_set: SelectionSetNode
    caller: int
    path: str
    conditions: Conditions = ()


class _Walk:
    """One pass over everything an operation can reach, with an explicit stack."""

    def __init__(self, policy: Policy, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._policy = policy
        self._fragments = fragments
        self._visited: dict[str, int] = {}
        self._pending: list[_Place] = []
        self.root_fields: dict[str, None] = {}
        self.touched: list[Touch] = []
        self.demands: dict[Need, Demand] = {}
        self.findings: dict[tuple[int, Finding], None] = {}
        self.values: list[tuple[int, Given]] = []
        self.needs: dict[Need, None] = {}
        self.deleting: list[Deleting] = []
        self._ways: dict[str, Ways] = {}

    def run(self, root: str, selection_set: SelectionSetNode) -> None:
        self._demand(self._policy.types[root], Caller.BOTH, "", root)
        self._pending.append(_Place(root, selection_set, Caller.BOTH, ""))
        while self._pending:
            place = self._pending.pop()
            for node in cast("tuple[Selection, ...]", place.selection_set.selections):
                if isinstance(node, FieldNode):
                    self._field(node, place)
                elif isinstance(node, InlineFragmentNode):
                    condition = node.type_condition.name.value if node.type_condition else place.type_name
                    conditions = (*place.conditions, *_conditions(node))
                    self._enter(condition, conditions, node.selection_set, place, place.caller)
                else:
                    self._spread(node, place)

    def _find(self, caller: int, reason: Reason, coordinate: str, path: str, selected: str) -> None:
        self.findings[caller, Finding(reason, coordinate, path, selected=selected)] = None

    # Fragments

    def _spread(self, node: FragmentSpreadNode, place: _Place) -> None:
        name = node.name.value
        fragment = self._fragments[name]
        seen = self._visited.get(name, Caller.NONE)
        condition = fragment.type_condition.name.value
        # It is walked once, wherever it is spread: so its conditions are those of all its ways.
        ways = self._ways.setdefault(name, Ways([]))
        ways.each.append((*place.conditions, *_conditions(node)))
        if self._enter(condition, (ways,), fragment.selection_set, place, place.caller & ~seen):
            self._visited[name] = seen | place.caller

    def _enter(
        self, condition: str | None, conditions: Conditions, selection_set: SelectionSetNode, place: _Place, caller: int
    ) -> bool:
        """Walk a fragment for the callers it has not been walked for; False where its type cannot occur."""
        if condition is not None and condition != place.type_name:
            if not self._overlaps(condition, place.type_name):
                self._find(place.caller, Reason.DOCUMENT_INVALID, condition, place.path, condition)
                return False
            self._demand(self._policy.types[condition], place.caller, place.path, condition)
        if caller:
            self._pending.append(_Place(condition, selection_set, caller, place.path, conditions))
        return True

    def _overlaps(self, condition: str, type_name: str | None) -> bool:
        possible = self._policy.possible
        return type_name is None or not possible[condition].isdisjoint(possible[type_name])

    # Fields

    def _field(self, node: FieldNode, place: _Place) -> None:
        name = node.name.value
        key = (node.alias.value if node.alias else name)[:_SHOWN]
        path = f"{place.path}.{key}" if place.path else key
        if not place.path:
            self.root_fields[name] = None
        if place.type_name is None:
            self._unknown(node, place, path, f"?.{name}")
            return
        coordinate = f"{place.type_name}.{name}"
        if name == "__typename":
            self._typename(node, place, path, coordinate)
            return
        if name in _META and place.type_name == self._policy.root("query"):
            self._introspect(node, place, path, coordinate)
            return
        field = self._policy.fields.get(place.type_name, {}).get(name)
        if field is None:
            self._unknown(node, place, path, coordinate)
        else:
            self._known(node, field, place, path)

    def _typename(self, node: FieldNode, place: _Place, path: str, coordinate: str) -> None:
        self.touched.append(Touch(path, coordinate, None))
        for argument in node.arguments or ():
            unknown = f"{coordinate}({argument.name.value}:)"
            self._find(place.caller, Reason.ARGUMENT_UNKNOWN, unknown, path, coordinate)
        if node.selection_set:
            self._find(place.caller, Reason.DOCUMENT_INVALID, coordinate, path, coordinate)

    def _introspect(self, node: FieldNode, place: _Place, path: str, coordinate: str) -> None:
        closed = self._policy.options.introspection.closed_to & place.caller
        self.touched.append(Touch(path, coordinate, None))
        if closed:
            self._find(closed, Reason.INTROSPECTION_CLOSED, coordinate, path, coordinate)
        for argument in node.arguments or ():
            if (node.name.value, argument.name.value) != ("__type", "name"):
                unknown = f"{coordinate}({argument.name.value}:)"
                self._find(place.caller, Reason.ARGUMENT_UNKNOWN, unknown, path, coordinate)
        if node.selection_set is None:
            self._find(place.caller, Reason.DOCUMENT_INVALID, coordinate, path, coordinate)
            return
        below = "__Schema" if node.name.value == "__schema" else "__Type"
        self._pending.append(_Place(below, node.selection_set, place.caller, path))

    def _unknown(self, node: FieldNode, place: _Place, path: str, coordinate: str) -> None:
        firm = self._may_be_known(node.name.value, place.type_name)
        refused = place.caller
        if not firm and self._may_forward(node, place.type_name):
            refused &= ~Caller.KEY
        self.touched.append(Touch(path, coordinate, None))
        self.findings[refused, Finding(Reason.FIELD_UNKNOWN, coordinate, path, selected=coordinate, firm=firm)] = None
        # Below it nothing is looked at, as below a closed field, or answers would tell the two apart. But report mode
        # lets it pass, and must find what is closed below.
        if node.selection_set and self._policy.options.report:
            self._pending.append(_Place(None, node.selection_set, place.caller, path))

    def _may_be_known(self, name: str, type_name: str | None) -> bool:
        # An upstream whose interface is ahead of ours, or that does not validate, runs the field of the object's type:
        # one of the root, one with rules of its own, or the schema's introspection.
        policy = self._policy
        possible = policy.possible.get(type_name, ()) if type_name else ()
        return name in _META or any(kind in policy.roots or name in policy.fields[kind] for kind in possible)

    def _may_forward(self, node: FieldNode, type_name: str | None) -> bool:
        # Only a leaf: below it might lie a type of the schema with closed fields, an argument might name another user.
        policy = self._policy
        return (
            policy.options.forward_unknown_fields
            and type_name not in policy.marked_types
            and not node.arguments
            and not node.selection_set
        )

    def _known(self, node: FieldNode, field: FieldPolicy, place: _Place, path: str) -> None:
        self.touched.append(Touch(path, field.coordinate, field))
        caller = self._demand(field.demands, place.caller, path, field.coordinate)
        if not caller:
            return
        self._arguments(node, field, caller, path)
        if field.deletes:
            self._deletes(node, field, place, path)
        composite = isinstance(field.type, _COMPOSITE)
        if composite != (node.selection_set is not None):
            self._find(caller, Reason.DOCUMENT_INVALID, field.coordinate, path, field.coordinate)
        elif node.selection_set:
            self._pending.append(_Place(field.type.name, node.selection_set, caller, path))

    def _demand(self, demands: Demands, caller: int, path: str, selected: str) -> int:
        """Note what is demanded, and return the callers to whom it is not closed."""
        barred = Caller.NONE
        for closed, coordinate in demands.closed:
            if closed & caller:
                barred |= closed
                self._find(closed & caller, Reason.FIELD_CLOSED, coordinate, path, selected)
        caller &= ~barred
        if caller & Caller.USER:
            for coordinate in demands.keys_only:
                self._find(Caller.USER, Reason.KEYS_ONLY, coordinate, path, selected)
        if caller & Caller.KEY:
            for need in demands.needs:
                self.demands.setdefault(need, Demand(need, path))
        return caller

    def _deletes(self, node: FieldNode, field: FieldPolicy, place: _Place, path: str) -> None:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        # Below the root a fragment that is spread in several places is walked once: one of them would speak for all.
        key = None if place.path else (node.alias or node.name).value
        conditions = (*place.conditions, *_conditions(node))
        for name in field.deletes:
            coordinate = f"{field.coordinate}({name}:)"
            self.deleting.append(Deleting(key, conditions, coordinate, path, given.get(name)))

    def _arguments(self, node: FieldNode, field: FieldPolicy, caller: int, path: str) -> None:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        for name in given:
            if name not in field.arguments:
                unknown = f"{field.coordinate}({name}:)"
                self._find(caller, Reason.ARGUMENT_UNKNOWN, unknown, path, field.coordinate)
            else:
                self.needs.update(dict.fromkeys(field.arguments[name].needs))
        for kind in (Caller.KEY, Caller.USER):
            judged = (
                *((policy, given.get(name)) for name, policy in field.arguments.items() if policy.concerns & kind),
                *((policy, None) for policy in field.implied if policy.concerns & kind),
            )
            if caller & kind and (judged or (kind is Caller.USER and field.user_context_root)):
                self.values.append((kind, Given(field, path, judged)))


def _nodes(value: ValueNode | None) -> int:
    count, pending = 0, [value]
    while pending:
        node = pending.pop()
        count += 1
        if isinstance(node, ListValueNode):
            pending.extend(node.values)
        elif isinstance(node, ObjectValueNode):
            pending.extend(member.value for member in node.fields)
    return count


def _conditions(node: Selection) -> Iterator[tuple[str, ValueNode | None]]:
    for directive in node.directives or ():
        if directive.name.value in _CONDITIONS:
            given = {argument.name.value: argument.value for argument in directive.arguments or ()}
            yield directive.name.value, given.get("if")


def _invalid(detail: str) -> Refused:
    return refuse(Reason.DOCUMENT_INVALID, detail)
