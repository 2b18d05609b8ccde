"""The decision: a caller, an operation and its variables against the policy."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.core.decision import Decision, Deletion, Finding, Reason, scope_missing, verdict
from gateway.core.operation import Conditions, Given, Operation, Ways
from gateway.core.policy import Caller, Policy, UserScoping
from gateway.core.principal import KeyPrincipal, Principal, UserPrincipal
from gateway.core.values import ABSENT, Judgement, TooManyValues, Variables, literal
from gateway.core.wishes import user_faults

_NO_STRING: Final = "The id of a user to be deleted must be a string."


def decide(policy: Policy, principal: Principal, operation: Operation, variables: Mapping[str, Any]) -> Decision:
    """Whether this caller may run this operation with these variables. `operation` was analysed under `policy`.

    A denial carries every reason found. Whatever is undecided is refused.
    """
    if isinstance(principal, KeyPrincipal):
        found = _key_findings(policy, principal, operation, variables)
        caller = Caller.KEY
    else:
        found = _user_findings(policy, principal, operation, variables)
        caller = Caller.USER
    deletions: tuple[Deletion, ...] = ()
    if operation.deleting:
        deletions = _deletions(principal, operation, variables, found)
    hide = bool(found and policy.options.introspection.closed_to & caller)
    return verdict(found, deletions=deletions, report=policy.options.report, hide_unknown=hide)


def _deletions(
    principal: Principal, operation: Operation, sent: Mapping[str, Any], found: list[Finding]
) -> tuple[Deletion, ...]:
    """The users whom the operation deletes. A user token that names nobody means its own user; a key, nobody."""
    variables = Variables(sent, operation.variables)
    own = principal.user_id if isinstance(principal, UserPrincipal) else None
    deletions: dict[Deletion, None] = {}
    known: dict[Ways, bool] = {}
    for each in operation.deleting:
        value = None if each.value is None else literal(each.value, variables)
        user_id = own if value is None or value is ABSENT else value
        if isinstance(user_id, str):
            # What is no user id has no tokens.
            if not any(user_faults(user_id, None)):
                left_out = _left_out(each.conditions, variables, known)
                deletions[Deletion(user_id, each.key, left_out)] = None
        elif user_id is not None:
            # A number, as GraphQL takes one for an ID: servers write large ones in different ways.
            found.append(Finding(Reason.DOCUMENT_INVALID, each.coordinate, each.path, detail=_NO_STRING))
    return tuple(deletions)


def _left_out(conditions: Conditions, variables: Variables, known: dict[Ways, bool]) -> bool:
    """Whether @skip and @include plainly keep it from running. `known` holds what was found of fragments, as ways that
    double would else be gone again and again."""
    # Without recursion: a chain of fragments may be as long as the document.
    open_ways = _ways(conditions)
    while open_ways:
        ways = open_ways[-1]
        behind = [each for way in ways.each for each in _ways(way) if each not in known]
        if behind:
            open_ways += behind
        else:
            known[ways] = all(_plainly_not(way, variables, known) for way in ways.each)
            open_ways.pop()
    return _plainly_not(conditions, variables, known)


def _ways(conditions: Conditions) -> list[Ways]:
    return [each for each in conditions if isinstance(each, Ways)]


def _plainly_not(conditions: Conditions, variables: Variables, known: Mapping[Ways, bool]) -> bool:
    for each in conditions:
        if isinstance(each, Ways):
            if known[each]:
                return True
            continue
        name, value = each
        if value is not None and literal(value, variables) is (name == "skip"):
            return True
    return False


def _user_findings(
    policy: Policy, principal: UserPrincipal, operation: Operation, variables: Mapping[str, Any]
) -> list[Finding]:
    judgement = Judgement(
        policy.inputs,
        own_app=principal.app_id,
        own_user=principal.user_id,
        strict=policy.scoping(principal.region) is UserScoping.ARGUMENTS,
    )
    return [*operation.user_findings, *_value_findings(judgement, operation.user_values, operation, variables)]


def _key_findings(
    policy: Policy, principal: KeyPrincipal, operation: Operation, variables: Mapping[str, Any]
) -> list[Finding]:
    found = list(operation.key_findings)
    found += [
        scope_missing(demand.need.coordinate, demand.path, demand.need.scopes)
        for demand in operation.demands
        if not demand.need.met(principal.scopes)
    ]
    if operation.key_values:
        judgement = Judgement(
            policy.inputs,
            own_app=principal.app_id,
            scopes=principal.scopes,
            strict=policy.scoping(principal.region) is UserScoping.ARGUMENTS,
        )
        found += _value_findings(judgement, operation.key_values, operation, variables)
    return found


def _value_findings(
    judgement: Judgement, values: Iterable[Given], operation: Operation, sent: Mapping[str, Any]
) -> list[Finding]:
    variables = Variables(sent, operation.variables)
    try:
        for given in values:
            arguments = (
                (policy, ABSENT if node is None else literal(node, variables)) for policy, node in given.arguments
            )
            judgement.field(given.policy, arguments, given.path)
    except TooManyValues:
        return [Finding(Reason.BODY_TOO_LARGE, detail="Its arguments hold more values than are judged in one request.")]
    return judgement.findings
