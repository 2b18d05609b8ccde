"""Reasons as answers: every reason in every shape, and several together."""

import json

import pytest

from gateway.core.decision import TABLE, Deny, Finding, Reason
from gateway.proxy.respond import Shape, refusal
from tests.support.running import answer_from

PUBLIC = {Reason.CREDENTIAL_MALFORMED: Reason.CREDENTIAL_INVALID}


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("close", [False, True])
def test_every_reason(reason: Reason, shape: Shape, close: bool) -> None:
    """A client would get an answer that it cannot read, or that its status contradicts."""
    status, data = refusal(Deny((Finding(reason),)), shape, b"r-1", "here", close=close)
    answer = answer_from(data)
    row = TABLE[reason]
    relaxed = row.relaxed if shape is Shape.GRAPHQL else None
    assert answer.status == status == (relaxed or row.status)
    assert answer.reasons == [PUBLIC.get(reason, reason)]
    assert answer.header("X-Request-Id") == "r-1"
    assert answer.header("Content-Length") == str(len(answer.body))
    assert answer.header("Connection") == ("close" if close else None)
    assert (answer.header("WWW-Authenticate") is not None) == (status == 401 or reason is Reason.SCOPE_MISSING)
    content_type = str(answer.header("Content-Type"))
    assert content_type.partition(";")[0] == shape.value
    told = json.loads(answer.body)
    if shape is Shape.PROBLEM:
        assert (told["status"], told["ref"], told["detail"]) == (status, "r-1", row.sentence)
    else:
        assert told["errors"][0]["message"] == row.sentence
        assert "data" not in told


@pytest.mark.parametrize(
    ("reasons", "newer", "older"),
    [
        ([Reason.FIELD_UNKNOWN, Reason.ARGUMENT_UNKNOWN], 400, 200),
        ([Reason.FIELD_UNKNOWN, Reason.SCOPE_MISSING], 403, 403),
        ([Reason.KEYS_ONLY, Reason.FIELD_UNKNOWN], 403, 403),
        ([Reason.KEYS_ONLY, Reason.NOT_OWN_DATA], 403, 403),
    ],
)
def test_several_reasons(reasons: list[Reason], newer: int, older: int) -> None:
    """A client would mend one thing after another, or take a refusal for a slip of the pen."""
    deny = Deny(tuple(Finding(reason, f"Query.{reason}") for reason in reasons))
    for shape, status in ((Shape.GRAPHQL_RESPONSE, newer), (Shape.GRAPHQL, older)):
        told, data = refusal(deny, shape, b"r-1", "here", close=False)
        assert (told, answer_from(data).reasons) == (status, reasons)


def test_an_answer_is_bounded() -> None:
    """A short request with a thousand faults would be answered a hundred times as long."""
    found = tuple(Finding(Reason.FIELD_UNKNOWN, f"Query.{number}") for number in range(60))
    for told, left_out in ((found[:50], None), (found, {"errors_left_out": 10})):
        _, data = refusal(Deny(told), Shape.GRAPHQL, b"r-1", "here", close=False)
        body = json.loads(answer_from(data).body)
        assert [error["extensions"]["coordinate"] for error in body["errors"]] == [
            each.coordinate for each in found[:50]
        ]
        assert body.get("extensions") == left_out


@pytest.mark.parametrize(
    ("scopes", "challenge"),
    [
        ([(("A",),)], "A"),
        ([(("B", "A"),)], "A B"),
        ([(("A",), ("B",))], "A"),
        ([(("B",),), (("A",),)], "A B"),
        ([(("A",),), (("A",),)], "A"),
    ],
    ids=["one", "all-of", "any-of", "two-fields", "twice"],
)
def test_the_scopes_of_a_challenge(scopes: list[tuple[tuple[str, ...], ...]], challenge: str) -> None:
    """A client would ask for scopes that do not suffice (RFC 6750 section 3)."""
    findings = (Finding(Reason.SCOPE_MISSING, f"Query.f{n}", scopes=each) for n, each in enumerate(scopes))
    _, data = refusal(Deny(tuple(findings)), Shape.GRAPHQL, b"r-1", "here", close=False)
    told = answer_from(data).header("WWW-Authenticate")
    assert told == f'Bearer realm="here", error="insufficient_scope", scope="{challenge}"'


def test_what_a_problem_says_of_scopes() -> None:
    """A client of a REST route would not learn which scope its key needs."""
    finding = Finding(Reason.SCOPE_MISSING, "GET /a", scopes=(("A",),))
    _, data = refusal(Deny((finding,)), Shape.PROBLEM, b"r-1", "here", close=False)
    assert json.loads(answer_from(data).body)["required_scopes"] == [["A"]]


def test_details_are_said() -> None:
    """A client would be told that something is wrong, and not what."""
    finding = Finding(Reason.WRONG_REGION, detail="Send this to api.example.com.")
    for shape in Shape:
        _, data = refusal(Deny((finding,)), shape, b"r-1", "here", close=False)
        assert b"This app lives in another region. Send this to api.example.com." in data
