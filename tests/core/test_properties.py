"""What must hold for any operation: rewriting does not change a decision, asking for more never opens anything, and no
text makes the gateway fail or toil."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.decision import TABLE, Allow, Decision, Deny, Refused, Reported
from gateway.core.document import DocumentLimits
from gateway.core.judge import decide
from gateway.core.operation import Operation, analyse
from gateway.core.policy import Policy
from gateway.core.principal import KeyPrincipal, Principal
from gateway.proxy.documents import Documents
from tests.support.examples import IN_CI
from tests.support.operations import Case, cases
from tests.support.rewriting import in_fragments, in_variables, with_aliases, with_field, without_aliases
from tests.support.served import compiled, upstream
from tests.support.vectors import OWN_USER, caller, user

# Limits are counts, and what is rewritten counts otherwise; they have tables of their own.
WIDE = DocumentLimits(*[1 << 20] * 5)
# Fewer than the oracle gets, for each property: together they are as many.
some = settings(max_examples=250 if IN_CI else 50)


def _decided(
    policy: Policy, principal: Principal, query: str, variables: Mapping[str, Any], operation_name: str | None
) -> Decision:
    try:
        operation = analyse(policy, query, operation_name, WIDE)
    except Refused as refused:
        return refused.deny
    return decide(policy, principal, operation, variables)


def _plain(case: Case) -> Decision:
    return _decided(case.policy, case.caller.principal, case.query, case.variables, case.operation_name)


def _rewritten(case: Case, query: str, more: Mapping[str, Any] | None = None) -> Decision:
    variables = {**case.variables, **(more or {})}
    return _decided(case.policy, case.caller.principal, query, variables, case.operation_name)


def _essence(decision: Decision) -> tuple[str, frozenset[object]]:
    """A decision without the paths, in which aliases stand."""
    if isinstance(decision, Allow):
        return "allow", frozenset()
    deny = decision.deny if isinstance(decision, Reported) else decision
    findings = frozenset(replace(finding, path=None) for finding in deny.findings)
    return type(decision).__name__, findings


def _strictness(decision: Decision) -> int:
    return (Allow, Reported, Deny).index(type(decision))


# Rewriting ------------------------------------------------------------------------------------------------------------


@some
@given(cases(), st.sampled_from(["a", "id", "me", "__typename"]))
def test_aliases_change_nothing(case: Case, name: str) -> None:
    """A field is hidden behind another name."""
    expected = _essence(_plain(case))

    assert _essence(_rewritten(case, with_aliases(case.query, name))) == expected
    assert _essence(_rewritten(case, without_aliases(case.query))) == expected


@some
@given(cases(), st.sampled_from(["bare", "typed", "named"]))
def test_fragments_change_nothing(case: Case, kind: str) -> None:
    """A field is hidden in a fragment, or a client that uses fragments is refused what it may have."""
    query = in_fragments(case.query, upstream(case.schema).schema, kind)

    assert _essence(_rewritten(case, query)) == _essence(_plain(case))


@some
@given(cases())
def test_variables_change_nothing(case: Case) -> None:
    """A value is hidden in a variable, or a client that uses variables is refused what it may have."""
    query, values = in_variables(case.query, upstream(case.schema).schema)

    assert _essence(_rewritten(case, query, values)) == _essence(_plain(case))


# More and less --------------------------------------------------------------------------------------------------------


@some
@given(cases(), st.integers(0, 1 << 16), st.integers(0, 1 << 16))
def test_more_fields_open_nothing(case: Case, place: int, choice: int) -> None:
    """A request is let through because it asks for something else as well."""
    query = with_field(case.query, upstream(case.schema).schema, place, choice)

    assert _strictness(_rewritten(case, query)) >= _strictness(_plain(case))


@some
@given(cases())
def test_more_scopes_close_nothing(case: Case) -> None:
    """A key that is given another scope loses what it could do before."""
    principal = case.caller.principal
    if not isinstance(principal, KeyPrincipal):
        return
    before = _strictness(_plain(case))

    for scope in compiled(case.schema).scopes:
        richer = replace(principal, scopes=principal.scopes | {scope})
        after = _decided(case.policy, richer, case.query, case.variables, case.operation_name)
        assert _strictness(after) <= before


@some
@given(cases(report=False))
def test_report_mode_relaxes_only_what_it_may(case: Case) -> None:
    """Report mode lets through what must always be refused, or refuses what it should only report."""
    enforced = _plain(case)
    reporting = replace(case.policy, options=replace(case.options, report=True))
    reported = _decided(reporting, case.caller.principal, case.query, case.variables, case.operation_name)

    if isinstance(enforced, Allow):
        assert isinstance(reported, Allow)
        return
    assert isinstance(enforced, Deny)
    assert not isinstance(reported, Allow)
    found = reported.deny.findings if isinstance(reported, Reported) else reported.findings
    assert set(enforced.findings) <= set(found)  # and more, below what is unknown
    relaxed = all(TABLE[finding.reason].reportable and not finding.firm for finding in found)
    assert isinstance(reported, Reported) is relaxed


@some
@given(st.lists(cases(), min_size=2, max_size=4), st.integers(1, 3))
def test_remembering_changes_nothing(several: list[Case], entries: int) -> None:
    """A request is answered with the decision about another one."""
    policy = several[0].policy
    documents = Documents(policy, WIDE, entries=entries, room=2_000, longest=1_000)

    principals = [user(OWN_USER), *(case.caller.principal for case in several)]

    def decisions(case: Case, operation: Operation) -> list[Decision]:
        return [decide(policy, principal, operation, case.variables) for principal in principals]

    fresh: list[tuple[Case, list[Decision]]] = []
    for case in several:
        with suppress(Refused):
            fresh.append((case, decisions(case, analyse(policy, case.query, case.operation_name, WIDE))))

    for case, expected in [*fresh, *fresh, *reversed(fresh)]:
        assert decisions(case, documents.operation(case.query, case.operation_name)) == expected


# Any text -------------------------------------------------------------------------------------------------------------

_TOKENS = (
    *("{", "}", "(", ")", "[", "]", ":", "=", "!", "@", "$", "...", "|", "&", "#", ",", "\n", "\ufeff"),
    *("query", "mutation", "subscription", "fragment", "on", "null", "true", "extend", "type", "schema", "input"),
    *("user", "user_id", "id", "User", "Query", "IUser", "__typename", "__schema", "skip", "include", "if", "$a", "$b"),
    *(
        '"',
        '""',
        '"""',
        '"x"',
        '"\\u00e9"',
        '"\\ud800"',
        '"""\n  x\n"""',
        "0",
        "-1",
        "1.5e9",
        "00",
        "é",
        "😀",
        "\x00",
        "\x7f",
    ),
    *(
        "{ user { id } }",
        "...F",
        "fragment F on User { id }",
        "query A($a: String = null)",
        "(user_id: $a)",
        "@skip(if: $a)",
    ),
)
_SOUP = st.lists(st.sampled_from(_TOKENS), max_size=40).map(" ".join)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30) | st.just(OWN_USER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _judge_anything(text: str, variables: Mapping[str, Any], operation_name: str | None) -> None:
    policy = compiled("vendor")
    try:
        operation = analyse(policy, text, operation_name, DocumentLimits())
    except Refused:
        return
    for principal in (user(OWN_USER), caller({"key": list(policy.scopes)})):
        decision = decide(policy, principal, operation, variables)
        assert isinstance(decision, Allow) or (isinstance(decision, Deny) and decision.public)


@some
@given(_SOUP | st.text(max_size=200), st.dictionaries(st.sampled_from("ab"), _VALUES), st.none() | st.text(max_size=3))
def test_any_text(text: str, variables: dict[str, Any], operation_name: str | None) -> None:
    """Some text of a stranger's ends in a fault of ours instead of a decision."""
    _judge_anything(text, variables, operation_name)


@some
@given(cases(), st.data())
def test_nearly_a_document(case: Case, data: st.DataObject) -> None:
    """A document with a piece missing, doubled or moved ends in a fault of ours instead of a decision."""
    start = data.draw(st.integers(0, len(case.query)))
    end = data.draw(st.integers(start, len(case.query)))
    piece = case.query[start:end]
    at = data.draw(st.integers(0, len(case.query)))
    rest = case.query[:start] + case.query[end:]
    for text in (rest, case.query[:at] + piece + case.query[at:], rest[:at] + piece + rest[at:]):
        with suppress(Refused):
            operation = analyse(case.policy, text, case.operation_name, DocumentLimits())
            decide(case.policy, case.caller.principal, operation, case.variables)


@pytest.mark.parametrize("depth", [10, 64, 65, 150, 180, 200, 1_000, 10_000])
@pytest.mark.parametrize(
    ("before", "opening", "middle", "closing", "after"),
    [
        ("", "{ user ", "{ id }", "}", ""),
        ("{ user(user_id: ", "[", "", "]", ") { id } }"),
        ("{ user(user_id: ", "{a: ", "1", "}", ") { id } }"),
        ("{ user(user_id: ", "[", "$a", "]", ") { id } }"),
        ("query ($a: JSON = ", "[", "", "]", ") { user(user_id: [[[[$a]]]]) { id } }"),
        ("query ($a: ", "[", "String", "]", ") { user(user_id: $a) { id } }"),
        ("{ ", "... { ", "__typename", "}", "}"),
        ("{ ", "user { ... on User { ", "id", "} }", "}"),
        ("{ user ", "@skip(if: ", "true", ")", "{ id } }"),
        ("{ id } ", "fragment F on User { id } ", "", "", ""),
        ("{ ", "(", "", "", ""),
    ],
)
def test_any_depth(before: str, opening: str, middle: str, closing: str, after: str, depth: int) -> None:
    """Nesting makes the process fail, or a request end in a fault of ours."""
    text = f"{before}{opening * depth}{middle}{closing * depth}{after}"

    for limits in (DocumentLimits(), WIDE):
        with suppress(Refused):
            operation = analyse(compiled("vendor"), text, None, limits)
            decide(compiled("vendor"), user(OWN_USER), operation, {})


# Work -----------------------------------------------------------------------------------------------------------------


def _steps(work: Callable[[], object]) -> int:
    """How many calls and returns some work takes: a measure that no other load on the machine changes."""
    count = 0

    def tick(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(tick)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def _doubling(levels: int) -> str:
    fragments = (f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }}" for i in range(levels))
    return f"{{ user {{ ...F0 ...F0 }} }} {' '.join(fragments)} fragment F{levels} on User {{ id created_at nope }}"


def _repeated(text: str) -> Callable[[int], str]:
    """What stands in angle brackets so many times, with # for a number."""
    before, _, rest = text.partition("<")
    piece, _, after = rest.partition(">")
    return lambda count: before + " ".join(piece.replace("#", str(i)) for i in range(count)) + after


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_doubling, id="doubling fragments"),
        pytest.param(_repeated("{ <id> }"), id="one field again and again"),
        pytest.param(_repeated("{ user { <a#: nope> } }"), id="unknown fields"),
        pytest.param(_repeated("{ nope { <nope { nope }> } }"), id="unknown fields below one another"),
        pytest.param(_repeated("{ <a#: user(user_id: $v) { id }> }"), id="aliases"),
        pytest.param(_repeated("{ <... on Query { user { id } }> }"), id="inline fragments"),
        pytest.param(_repeated("{ <...F> } fragment F on Query { user { id } }"), id="one fragment again and again"),
        pytest.param(_repeated("{ user { id } } <fragment F# on User { id }>"), id="fragments nobody uses"),
        pytest.param(_repeated("query (<$v#: String>) { user { id } }"), id="variables"),
        pytest.param(_repeated("{ user(user_id: [<$v>]) { id } }"), id="one variable again and again"),
        pytest.param(_repeated("{ user(<user_id#: $v>) { id } }"), id="arguments"),
        pytest.param(_repeated("{ user(user_id: {<a#: 1>}) { id } }"), id="members of objects"),
        pytest.param(_repeated("{ user <@skip(if: true)> { id } }"), id="directives"),
        pytest.param(_repeated("<query Q# { user { id } }>"), id="operations"),
    ],
)
def test_work_is_linear(text: Callable[[int], str]) -> None:
    """A small document holds everybody else up for seconds."""
    policy = compiled("vendor")
    sent = {"v": [OWN_USER] * 20}

    def work(size: int) -> Callable[[], object]:
        query = text(size)
        if "$v" in query and "($v" not in query:
            query = f"query ($v: [String]) {query}"

        def judge() -> object:
            decision = _decided(policy, user(OWN_USER), query, sent, None)
            return decision.public if isinstance(decision, Deny) else decision

        return judge

    work(5)()
    small, large = _steps(work(40)), _steps(work(80))

    assert large <= 2.2 * small


def test_each_fragment_is_walked_once() -> None:
    """Fragments that spread one another twice are walked a million million times."""
    operation = analyse(compiled("vendor"), _doubling(40), None, WIDE, trace=True)

    assert [touch.coordinate for touch in operation.touched] == [
        "Query.user",
        "User.id",
        "User.created_at",
        "User.nope",
    ]


def test_a_long_list_used_everywhere_is_refused() -> None:
    """A list of thousands, used at hundreds of places, holds everybody else up for minutes."""
    policy = compiled("inputs")
    query = f"query ($t: [Tree!]) {{ tree(tree: {{children: [{'$t ' * 400}]}}) }}"
    operation = analyse(policy, query, None, WIDE)

    def steps(size: int) -> int:
        return _steps(lambda: decide(policy, user(OWN_USER), operation, {"t": [{}] * size}))

    assert steps(50_000) <= 1.1 * steps(500)
