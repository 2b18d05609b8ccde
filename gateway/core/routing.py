"""REST routes: which rule a request falls under, and whether its caller may go through.

A rule's template is made of literal segments, `{name}` for one segment, and a final `{name...}` for one or more. A
literal beats a parameter, and the first rule by that order decides alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.decision import Decision, Deletion, Finding, Reason, refuse, verdict
from gateway.core.principal import KeyPrincipal, Principal

# Paths that two servers could take for different ones are not paths here: no escapes, no empty or dotted segments.
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
# A value may hold escapes, which the upstream decodes; names may not, so that no two readings of a name exist.
_QUERY_PAIR: Final = re.compile(r"([A-Za-z0-9._~-]+)=((?:[A-Za-z0-9._~:,+@/-]|%[0-9A-Fa-f]{2})*)")


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One rule. `scopes`: what a key must hold, all of it. `own_user`, `own_user_query`: the path or query parameter
    that must be the user token's own user. `deletes_user`: the path parameter that names the user whom a success
    deletes. `open`: no credential is needed. `passes_credential`: the one presented is the upstream's to
    judge, and goes there."""

    method: str
    template: str
    scopes: frozenset[str] = frozenset()
    keys: bool = True
    users: bool = False
    own_user: str | None = None
    query: frozenset[str] = frozenset()
    own_user_query: str | None = None
    deletes_user: str | None = None
    open: bool = False
    passes_credential: bool = False

    @property
    def coordinate(self) -> str:
        """How the rule is named in answers and logs."""
        return f"{self.method} {self.template}"

    def used(self, held: frozenset[str]) -> frozenset[str]:
        """The scopes of a key that holds these without which it would not have passed."""
        return self.scopes & held


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """A request under its rule, with the values of the template's and the query's parameters, as received."""

    rule: RouteRule
    path: Mapping[str, str]
    query: Mapping[str, str]


class MethodNotAllowed(Exception):
    """There are rules for the path, but none for the method."""

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__()
        self.allowed = ", ".join(sorted(set(allowed)))


class Routes:
    """The rules, in the order in which they are tried."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[RouteRule]) -> None:
        self._rules = sorted(((_segments(rule.template), rule) for rule in rules), key=lambda item: _order(item[0]))

    def match(self, method: str, target: str) -> RouteMatch:
        """The rule for a raw request target, byte for byte. Raises `Refused` or `MethodNotAllowed`."""
        path, mark, query = target.partition("?")
        if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(given := path.split("/")[1:]):
            raise refuse(Reason.PATH_UNKNOWN)
        matching = [
            (segments, rule, found)
            for segments, rule in self._rules
            if (found := _parameters(segments, given)) is not None
        ]
        if not matching:
            raise refuse(Reason.PATH_UNKNOWN)
        shape = _order(matching[0][0])
        for segments, rule, found in matching:
            if rule.method == method and _order(segments) == shape:
                return RouteMatch(rule, found, _query(rule, query) if mark else {})
        raise MethodNotAllowed(rule.method for segments, rule, _ in matching if _order(segments) == shape)


def _segments(template: str) -> tuple[str, ...]:
    return tuple(template.split("/")[1:])


def _order(segments: Iterable[str]) -> tuple[int, ...]:
    # Literal before parameter before rest, segment by segment from the left.
    return tuple(2 if item.endswith("...}") else 1 if item.startswith("{") else 0 for item in segments)


def _parameters(segments: tuple[str, ...], given: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for index, segment in enumerate(segments):
        if index >= len(given):
            return None
        if segment.endswith("...}"):
            found[segment[1:-4]] = "/".join(given[index:])
            return found
        if segment.startswith("{"):
            found[segment[1:-1]] = given[index]
        elif segment != given[index]:
            return None
    return found if len(segments) == len(given) else None


def _query(rule: RouteRule, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split("&"):
        match = _QUERY_PAIR.fullmatch(pair)
        if match is None or match[1] not in rule.query or match[1] in found:
            raise refuse(Reason.PARAMETER_UNKNOWN)
        found[match[1]] = match[2]
    return found


def decide_route(match: RouteMatch, principal: Principal | None, *, report: bool = False) -> Decision:
    """Whether this caller may use this route; `principal` is None on an open route without a credential."""
    named = match.path.get(match.rule.deletes_user or "")
    deletions = () if named is None else (Deletion(named),)
    return verdict(list(_findings(match, principal)), deletions=deletions, report=report)


def _findings(match: RouteMatch, principal: Principal | None) -> Iterable[Finding]:
    rule = match.rule
    if rule.open:
        return
    if principal is None:
        yield Finding(Reason.CREDENTIAL_MISSING, rule.coordinate)
    elif isinstance(principal, KeyPrincipal):
        if not rule.keys:
            yield Finding(Reason.FIELD_CLOSED, rule.coordinate)
        elif not rule.scopes <= principal.scopes:
            yield Finding(Reason.SCOPE_MISSING, rule.coordinate, scopes=(tuple(sorted(rule.scopes)),))
    elif not rule.users:
        yield Finding(Reason.KEYS_ONLY, rule.coordinate)
    else:
        own = principal.user_id
        if rule.own_user is not None and match.path.get(rule.own_user) != own:
            yield Finding(Reason.NOT_OWN_DATA, rule.coordinate)
        if rule.own_user_query is not None and match.query.get(rule.own_user_query) != own:
            yield Finding(Reason.NOT_OWN_DATA, rule.coordinate)
