"""Decisions as tables: who asks for what, and what must come of it."""

import json
from typing import Any

import pytest

from gateway.core.decision import Allow, Deny, Reported
from tests.support.vectors import OTHER_USER, OWN_USER, VECTORS, caller, judged, policy_of, rows, text, user

POLICY = rows("policy.yaml")
OPERATIONS = json.loads((VECTORS / "operations.json").read_text("utf-8"))["operations"]


@pytest.mark.parametrize("row", POLICY, ids=[row["id"] for row in POLICY])
def test_policy(row: dict[str, Any]) -> None:
    """A rule of the policy decides otherwise than the table, reviewed by people, says."""
    query = text(row["query"] if "query" in row else row["query_template"])
    decision = judged(policy_of(row), caller(row["caller"]), query, row.get("variables"), row.get("operationName"))

    if row["expect"] == "allow":
        assert isinstance(decision, Allow)
    elif row["expect"] == "reported":
        assert isinstance(decision, Reported)
    else:
        assert isinstance(decision, Deny)
        _check_findings(decision, row["expect"])


def _check_findings(deny: Deny, expected: list[dict[str, str]]) -> None:
    shown = {(finding.reason.value, finding.coordinate) for finding in deny.public}
    precise = {(finding.reason.value, finding.coordinate) for finding in deny.findings}
    precise |= {(finding.reason.value, finding.selected) for finding in deny.findings}
    public = {row.get("public", row["reason"]) for row in expected}
    assert {reason for reason, _ in shown} == public
    for row in expected:
        if "coordinate" in row:
            assert (row["reason"], row["coordinate"]) in precise
        else:
            assert row["reason"] in {reason for reason, _ in precise}


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation["id"] for operation in OPERATIONS])
def test_worked_operations(operation: dict[str, Any]) -> None:
    """A request that the vendor documents is refused, or one it forbids is forwarded."""
    request = operation["request"]
    policy = policy_of({})
    callers = {scope: caller({"key": [scope]}) for scope in operation["expect"]["key_with_only"]}
    expected = dict(operation["expect"]["key_with_only"])
    callers |= {"same": user(OWN_USER), "other": user(OTHER_USER)}
    expected |= {
        "same": operation["expect"]["sdk_token_same_user"],
        "other": operation["expect"]["sdk_token_other_user"],
    }

    got = {
        name: "allow"
        if isinstance(
            judged(policy, who, request["query"], request.get("variables"), request.get("operationName")), Allow
        )
        else "deny"
        for name, who in callers.items()
    }

    assert got == {name: "allow" if verdict == "upstream" else verdict for name, verdict in expected.items()}
