"""`gateway explain`: the decision about one operation without a server, with the rule that decided at each place."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from graphql import DocumentNode, GraphQLInputObjectType, GraphQLSchema, get_named_type, print_ast

from gateway.cli.helping import either
from gateway.cli.output import interrupts_told
from gateway.cli.policy import (
    SCHEMA,
    SchemaFile,
    decoded,
    fail,
    faults_told,
    read_text,
    scopes_in_words,
)
from gateway.cli.tables import Cell, print_table
from gateway.core.decision import TABLE, Deny, Finding, Reason, Refused
from gateway.core.directives import OURS
from gateway.core.document import DocumentLimits
from gateway.core.judge import decide
from gateway.core.message import message_from
from gateway.core.operation import Operation, Touch, analyse
from gateway.core.policy import Caller, InputPolicy, Introspection, Options, Policy, UserScoping
from gateway.core.principal import KeyPrincipal, Principal, UserPrincipal
from gateway.core.schema import compile_policy, elements
from gateway.core.values import ABSENT, Variables, literal

REFUSED: Final = 3

_REGION: Final = "here"
_NEVER: Final = 1 << 62
_NO_APP: Final = "\0"  # nobody's, where no --app is given

# The directives that can let either kind of caller through, on a selection and on a value.
_LETTING: Final = {
    Caller.KEY: ("requiresScopes", "authenticated", "ownApp"),
    Caller.USER: ("userContext", "authenticated", "ownUser", "anyUser", "ownApp"),
}
# The directive behind a reason, and what it comes from where there is none.
_REFUSING: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.FIELD_CLOSED: ("closed", "no directive opens this root field to this kind of caller"),
    Reason.KEYS_ONLY: ("keysOnly", "@requiresScopes without @userContext or @authenticated"),
    Reason.SCOPE_MISSING: ("requiresScopes", ""),
    Reason.NOT_OWN_DATA: ("ownUser", "the own user must be named here"),
    Reason.NOT_OWN_APP: ("ownApp", "the own app must be named here"),
    Reason.FIELD_UNKNOWN: ("", "not in the schema"),
    Reason.ARGUMENT_UNKNOWN: ("", "not in the schema"),
    Reason.DOCUMENT_INVALID: ("", "this does not fit the schema"),
    Reason.INTROSPECTION_CLOSED: ("", "introspection is closed"),
}
# Reasons found at a selection, but about something beside the field itself.
_BESIDE: Final = (Reason.ARGUMENT_UNKNOWN, Reason.SCOPE_MISSING)
# Reasons behind which nothing is judged for this caller.
_BARRING: Final = (Reason.FIELD_CLOSED, Reason.INTROSPECTION_CLOSED)


@dataclass(frozen=True, slots=True)
class Step:
    """One place that the operation touches, and the rule that decided there."""

    coordinate: str
    path: str
    rule: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all its grounds; `operation` is None where the request was refused before it was known."""

    operation: Operation | None
    steps: tuple[Step, ...]
    deny: Deny | None


def explain(
    schema: SchemaFile = SCHEMA,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="S", help="A scope of the API key that calls; once for each.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="U", help="The id of the user whose token calls.")] = None,
    app: Annotated[str | None, typer.Option(metavar="A", help="The id of the caller's app.")] = None,
    query: Annotated[str, typer.Option(metavar="FILE|-", help="The document; - is standard input.")] = "-",
    variables: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="The variables, as JSON or in a file.")
    ] = None,
    operation: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which operation of the document would run.")
    ] = None,
    introspection: Annotated[
        Introspection, typer.Option(metavar=either(Introspection), help="Who may introspect: policy.introspection.")
    ] = Introspection.KEYS,
    user_scoping: Annotated[
        UserScoping, typer.Option(metavar=either(UserScoping), help="What confines users: the region's user_scoping.")
    ] = UserScoping.UPSTREAM,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether a caller may run an operation, and why. Exits with 0 if it is allowed, with 3 if it is refused."""
    _check_usage(scope, user, app)
    with faults_told(schema):
        options = Options(introspection=introspection, scoping={_REGION: user_scoping})
        policy = compile_policy(read_text(schema), options)
    principal = _principal(policy, scope or [], user, app)
    with interrupts_told(as_json=as_json):  # while it is typed
        document = _document(query)
    body = _body(document, _variables(variables), operation)
    explanation = explained(policy, principal, body)
    if as_json:
        typer.echo(json.dumps(_report(explanation)))
    else:
        _print(explanation, principal)
    if explanation.deny:
        raise typer.Exit(REFUSED)


# What was typed -------------------------------------------------------------------------------------------------------


def _check_usage(scope: list[str] | None, user: str | None, app: str | None) -> None:
    if bool(scope) == bool(user):
        raise typer.BadParameter("say who calls: --scope for an API key, or --user and --app for a user token")
    if user and not app:
        raise typer.BadParameter("a user token belongs to an app: give --app too")


def _principal(policy: Policy, scopes: list[str], user: str | None, app: str | None) -> Principal:
    if user:
        return UserPrincipal(user, "explain", app or _NO_APP, _REGION, _NEVER)
    unknown = [scope for scope in scopes if scope not in policy.scopes]
    if unknown:
        known = f"It has {', '.join(policy.scopes)}." if policy.scopes else "It has none."
        fail(f"The schema has no scope '{scope}'. {known}" for scope in unknown)
    return KeyPrincipal("explain", app or _NO_APP, _REGION, frozenset(scopes), _NEVER)


def _document(query: str) -> str:
    if query != "-":
        with faults_told(query):
            return read_text(Path(query))
    if sys.stdin.isatty():
        typer.echo("Type the operation, then Ctrl-D on a line of its own.", err=True)
    with faults_told("standard input"):
        return decoded(sys.stdin.buffer.read())


def _variables(given: str | None) -> str:
    if given is None:
        return "null"
    text = given
    if given.startswith("@"):
        with faults_told(given[1:]):
            text = read_text(Path(given[1:]))
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        fail([f"--variables is not JSON: {error}."])
    except (ValueError, RecursionError):
        pass  # one value all the same; what the gateway says of it belongs into the explanation
    return text


def _body(document: str, variables: str, operation: str | None) -> bytes:
    """The request as a client would send it, the variables as they were written: what they repeat is refused too."""
    name = "" if operation is None else f',"operationName":{json.dumps(operation)}'
    text = f'{{"query":{json.dumps(document)},"variables":{variables}{name}}}'
    return text.encode("utf-8", "surrogateescape")


# The decision and its grounds -----------------------------------------------------------------------------------------


def explained(policy: Policy, principal: Principal, body: bytes) -> Explanation:
    """The decision about a request, with every place that it touches."""
    try:
        message = message_from(body)
        operation = analyse(policy, message.query, message.operation_name, DocumentLimits(), trace=True)
    except Refused as refused:
        return Explanation(None, (), refused.deny)
    decision = decide(policy, principal, operation, message.variables)
    deny = decision if isinstance(decision, Deny) else None
    variables = Variables(message.variables, operation.variables)
    story = _Story(policy, principal, operation, deny.findings if deny else ())
    return Explanation(operation, story.steps(variables), deny)


class _Story:
    """What the decision came from, place by place. It decides nothing: each refusal is a finding of the judgement."""

    def __init__(
        self, policy: Policy, principal: Principal, operation: Operation, findings: tuple[Finding, ...]
    ) -> None:
        self._policy = policy
        self._operation = operation
        self._findings = findings
        self._told: set[Finding] = set()
        self._written = _written(policy.schema)
        self._held = principal.scopes if isinstance(principal, KeyPrincipal) else None
        self._caller = Caller.USER if self._held is None else Caller.KEY
        self._barred = tuple(
            touch.path
            for touch in operation.touched
            if any(finding.reason in _BARRING and _is_of(finding, touch) for finding in findings)
        )

    def steps(self, variables: Variables) -> tuple[Step, ...]:
        """Every place once, each below the one that leads to it."""
        given = self._operation.user_values if self._held is None else self._operation.key_values
        found = [self._selection(touch) for touch in self._operation.touched]
        # A finding that is nowhere in particular: more values than are judged, so nothing is said of single ones.
        for each in given if all(finding.coordinate for finding in self._findings) else ():
            for policy, node in each.arguments:
                value = ABSENT if node is None else literal(node, variables)
                found += self._value(policy, value, each.path)
        untold = [finding for finding in self._findings if finding not in self._told]
        found += (
            Step(finding.coordinate, finding.path or "", self._ground(finding, finding.coordinate), False)
            for finding in untold
            if finding.coordinate
        )
        order: dict[str, int] = {}
        for place, step in enumerate(found):
            order.setdefault(step.path, place)
        return tuple(sorted(dict.fromkeys(found), key=lambda step: [order[path] for path in _ways(step.path, order)]))

    def _selection(self, touch: Touch) -> Step:
        needs = touch.policy.demands.needs if touch.policy and self._held is not None else ()
        unmet = {need.coordinate for need in needs if not need.met(self._held or frozenset())}
        grounds = self._grounds(
            touch.coordinate, lambda finding: _is_of(finding, touch) or _lacks_scope(finding, unmet)
        )
        above = next((bar for bar in self._barred if touch.path.startswith(f"{bar}.")), None)
        if above and not grounds:
            grounds = f"below {above}, which is closed"
        return Step(touch.coordinate, touch.path, grounds or self._permission(touch), not grounds)

    def _permission(self, touch: Touch) -> str:
        if touch.policy is None:
            meta = touch.coordinate.endswith(".__typename")
            return "open to anyone" if meta else f"introspection: {self._policy.options.introspection}"
        places = (touch.coordinate, touch.policy.type.name, *(need.coordinate for need in touch.policy.demands.needs))
        return self._letting(touch.coordinate, places) or "nothing more is demanded"

    def _value(self, given: InputPolicy, value: Any, path: str) -> Iterator[Step]:
        kind = get_named_type(given.type)
        places = tuple(dict.fromkeys((given.coordinate, *(mark.coordinate for mark in given.marks))))
        grounds = self._grounds(
            given.coordinate,
            lambda finding: finding.path == path and finding.selected is None and finding.coordinate in places,
        )
        letting = self._letting(given.coordinate, places)
        if grounds and value in (ABSENT, None) and "SELF" in grounds:
            grounds += ", under user_scoping: arguments"
        # Of what is left out, only that is judged which must name the caller.
        must_name = letting and any(mark.names_caller for mark in given.marks)
        if grounds or must_name or (given.marks and value is not ABSENT):
            yield Step(given.coordinate, path, grounds or letting or "nothing is demanded of this caller", not grounds)
        if isinstance(kind, GraphQLInputObjectType):
            for item in _objects(value):
                for name, below in self._policy.inputs[kind.name].items():
                    yield from self._value(below, item.get(name, ABSENT), path)

    def _grounds(self, coordinate: str, concerns: Callable[[Finding], bool]) -> str:
        mine = [finding for finding in self._findings if concerns(finding)]
        self._told.update(mine)
        return "; ".join(dict.fromkeys(self._ground(finding, coordinate) for finding in mine))

    def _ground(self, finding: Finding, at: str | None) -> str:
        """What a finding comes from: the directive as it is written, or why there is none."""
        name, otherwise = _REFUSING[finding.reason]
        rule = self._written.get(finding.coordinate or "", {}).get(name, otherwise)
        return rule if finding.coordinate == at else f"{rule} on {finding.coordinate}"

    def _letting(self, at: str, places: Iterable[str]) -> str:
        found = (
            rule if place == at else f"{rule} on {place}"
            for place in dict.fromkeys(places)
            for name, rule in self._written.get(place, {}).items()
            if name in _LETTING[self._caller]
        )
        return "; ".join(found)


def _written(schema: GraphQLSchema) -> dict[str, dict[str, str]]:
    """The gateway's directives as they are written, by the coordinate that carries them and by name."""
    nodes = (node for kind in schema.type_map.values() for node in (kind.ast_node, *kind.extension_ast_nodes) if node)
    found: dict[str, dict[str, str]] = {}
    for coordinate, node in elements(DocumentNode(definitions=tuple(nodes))):
        for directive in getattr(node, "directives", None) or ():
            if directive.name.value in OURS:
                found.setdefault(coordinate, {})[directive.name.value] = print_ast(directive)
    return found


def _is_of(finding: Finding, touch: Touch) -> bool:
    selected = finding.selected or finding.coordinate
    return finding.path == touch.path and selected == touch.coordinate and finding.reason not in _BESIDE


def _lacks_scope(finding: Finding, unmet: Collection[str]) -> bool:
    return finding.reason is Reason.SCOPE_MISSING and finding.coordinate in unmet


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            yield item


def _ways(path: str, known: Collection[str]) -> list[str]:
    """The paths that lead to this one, and itself."""
    parts = path.split(".")
    ways = (".".join(parts[: length + 1]) for length in range(len(parts)))
    return [way for way in ways if way in known]


# What is said ---------------------------------------------------------------------------------------------------------


def _report(explanation: Explanation) -> dict[str, object]:
    operation = explanation.operation
    return {
        "decision": _decision(explanation),
        "operation": operation.name if operation else None,
        "type": operation.kind if operation else None,
        "coordinates": [
            {"coordinate": step.coordinate, "path": step.path, "rule": step.rule, "verdict": _verdict(step)}
            for step in explanation.steps
        ],
        "findings": [
            {
                "reason": finding.reason.value,
                "coordinate": finding.coordinate,
                "path": finding.path,
                "message": _message(finding),
                "required_scopes": finding.scopes,
            }
            for finding in (explanation.deny.findings if explanation.deny else ())
        ],
    }


def _decision(explanation: Explanation) -> str:
    return "refuse" if explanation.deny else "allow"


def _verdict(step: Step) -> str:
    return "allow" if step.allowed else "refuse"


def _message(finding: Finding) -> str:
    sentence = TABLE[finding.reason].sentence
    return f"{sentence} {finding.detail}" if finding.detail else sentence


def _print(explanation: Explanation, principal: Principal) -> None:
    operation = explanation.operation
    what = f"{operation.kind} {operation.name or ''}".strip() if operation else "request"
    decision = "Refused" if explanation.deny else "Allowed"
    typer.secho(f"{decision}: {what}, {_who(principal)}", bold=True, fg="red" if explanation.deny else "green")
    if explanation.steps:
        rows = [
            (
                Cell(_verdict(step), "green" if step.allowed else "bold red"),
                Cell("  " * step.path.count(".") + step.coordinate),
                Cell(step.path, "dim"),
                Cell(step.rule),
            )
            for step in explanation.steps
        ]
        print_table(("Verdict", "Coordinate", "Path", "Rule"), rows)
    if explanation.deny:
        for line in _reasons(explanation.deny):
            typer.echo(line)


def _who(principal: Principal) -> str:
    if isinstance(principal, KeyPrincipal):
        return f"by an API key with {', '.join(sorted(principal.scopes))}"
    return f"by the token of user {principal.user_id} in app {principal.app_id}"


def _reasons(deny: Deny) -> Iterator[str]:
    for finding in deny.findings:
        where = f" at {finding.coordinate}" if finding.coordinate else ""
        would_do = f" It takes {scopes_in_words(finding.scopes)}." if finding.scopes else ""
        yield f"{finding.reason}{where}: {_message(finding)}{would_do}"
    if {finding.reason for finding in deny.public} != {finding.reason for finding in deny.findings}:
        yield f"The caller is told only: {', '.join(dict.fromkeys(finding.reason for finding in deny.public))}."
