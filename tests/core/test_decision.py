"""Decisions: permission is what is left when nothing was found, and a caller is told no more than it may know."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decision import (
    TABLE,
    Allow,
    Deny,
    Finding,
    Reason,
    Refused,
    Reported,
    Unavailable,
    permitted,
    refuse,
    scope_missing,
    verdict,
)

_NAMES = st.sampled_from(["a", "b"])
_PATHS = st.none() | st.just("") | st.lists(_NAMES, min_size=1, max_size=3).map(".".join)
_FINDINGS = st.builds(
    Finding,
    st.sampled_from(Reason),
    coordinate=st.sampled_from(["Query.a", "Query.b", "Type"]),
    path=_PATHS,
    selected=st.none() | st.sampled_from(["Query.a", "Query.c"]),
    firm=st.booleans(),
)


@given(st.lists(_FINDINGS, max_size=5), st.booleans(), st.booleans())
def test_verdicts(findings: list[Finding], report: bool, hide: bool) -> None:
    """Something is found, and the request is forwarded all the same."""
    decision = verdict(findings, report=report, hide_unknown=hide)

    relaxed = report and all(TABLE[finding.reason].reportable and not finding.firm for finding in findings)
    if not findings:
        assert decision == Allow()
    elif relaxed:
        assert decision == Reported(Deny(tuple(dict.fromkeys(findings)), hide))
    else:
        assert decision == Deny(tuple(dict.fromkeys(findings)), hide)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("firm", [False, True])
def test_report_mode(reason: Reason, firm: bool) -> None:
    """Report mode lets through what must always be refused, or refuses what it should only report."""
    beside = Finding(Reason.SCOPE_MISSING, "Query.b")
    decision = verdict([beside, Finding(reason, "Query.a", firm=firm)], report=True)

    assert isinstance(decision, Reported) is (TABLE[reason].reportable and not firm)


@given(st.lists(_FINDINGS, min_size=1, max_size=6), st.booleans())
def test_what_is_told(findings: list[Finding], hide: bool) -> None:
    """A caller learns what lies behind a field that is closed to it, or is told nothing at all."""
    deny = Deny(tuple(findings), hide)
    bars = [finding for finding in findings if finding.path and _is_bar(finding)]

    told = {(finding.reason, finding.coordinate) for finding in deny.public}

    expected = set()
    for finding in findings:
        path = finding.path or ""
        below = any(path.startswith(f"{bar.path}.") for bar in bars)
        beside = any(path == bar.path for bar in bars) and not _is_bar(finding)
        if not below and not beside:
            expected.add(_as_told(finding, hide))
    assert told == expected
    assert told
    assert len(deny.public) == len(told)


def _is_bar(finding: Finding) -> bool:
    barring = (Reason.FIELD_CLOSED, Reason.FIELD_UNKNOWN, Reason.INTROSPECTION_CLOSED)
    return finding.reason in barring and finding.selected is not None


def _as_told(finding: Finding, hide: bool) -> tuple[Reason, str | None]:
    if finding.reason is Reason.CREDENTIAL_MALFORMED:
        return Reason.CREDENTIAL_INVALID, None
    if hide and finding.reason in (Reason.FIELD_CLOSED, Reason.FIELD_UNKNOWN):
        return Reason.FIELD_CLOSED, finding.selected or finding.coordinate
    return finding.reason, finding.coordinate


def test_closed_and_unknown_read_alike() -> None:
    """A caller without introspection learns which fields exist."""

    def told(reason: Reason, coordinate: str) -> Any:
        return Deny((Finding(reason, coordinate, "me.a", selected="User.a"),), hide_unknown=True).public

    assert told(Reason.FIELD_CLOSED, "Secret") == told(Reason.FIELD_UNKNOWN, "User.a")


def test_permission() -> None:
    """A denial is forwarded."""
    deny = Deny((Finding(Reason.KEYS_ONLY), Finding(Reason.SCOPE_MISSING)))

    assert permitted(Allow()) == Allow()
    assert permitted(Reported(deny)) == Reported(deny)
    with pytest.raises(Refused) as caught:
        permitted(deny)
    assert caught.value.deny is deny
    assert str(caught.value) == "keys_only, scope_missing"


def test_refusals() -> None:
    """A refusal loses its reason on the way to the answer."""
    assert refuse(Reason.BODY_TOO_LARGE, "Why.").deny == Deny((Finding(Reason.BODY_TOO_LARGE, detail="Why."),))
    assert refuse(Reason.BODY_TIMEOUT).deny == Deny((Finding(Reason.BODY_TIMEOUT),))


def test_trouble_of_ours() -> None:
    """An operator does not see why a request could not be served, or a client when to come back."""
    told = Unavailable(Reason.STORE_UNAVAILABLE, "The disk is full.", retry_after=5)
    plain = Unavailable(Reason.REGION_UNAVAILABLE)

    assert (told.reason, str(told), told.retry_after) == (Reason.STORE_UNAVAILABLE, "The disk is full.", 5)
    assert (plain.reason, str(plain), plain.retry_after) == (Reason.REGION_UNAVAILABLE, "region_unavailable", None)


def test_scopes_that_would_do() -> None:
    """A developer is told of other scopes than those that would do."""
    finding = scope_missing("Query.a", "x", [frozenset({"B", "A"}), frozenset({"C"})])

    assert finding == Finding(Reason.SCOPE_MISSING, "Query.a", "x", (("A", "B"), ("C",)))


@pytest.mark.parametrize("reason", Reason)
def test_statuses(reason: Reason) -> None:
    """A fault of the document is an error of HTTP for clients that expect none, or a refusal looks like success."""
    row = TABLE[reason]

    assert 400 <= row.status < 600
    assert row.relaxed in (None, 200)
    assert (row.relaxed == 200) == (row.code == "GRAPHQL_VALIDATION_FAILED")
    assert (row.status == 401) == (row.code == "UNAUTHENTICATED")
    assert (row.status == 403) == (row.code == "FORBIDDEN")
    assert not row.reportable or row.status in (400, 403)


def test_one_sentence_for_every_false_credential() -> None:
    """An answer tells a wrong key from a revoked one."""
    assert TABLE[Reason.CREDENTIAL_INVALID] == TABLE[Reason.CREDENTIAL_MALFORMED]
