"""The oracle: what is allowed is run for real, and must touch nothing that the annotations close to its caller."""

from collections import Counter

from graphql import parse, validate
from hypothesis import HealthCheck, given, settings

from gateway.core.decision import TABLE, Allow, Deny, Reported
from tests.support.examples import IN_CI
from tests.support.operations import SCHEMAS, Case, cases
from tests.support.served import reading, upstream
from tests.support.vectors import judged


def _decided(case: Case) -> Allow | Reported | Deny:
    return judged(case.policy, case.caller.principal, case.query, case.variables, case.operation_name)


@settings(max_examples=3_000 if IN_CI else 300)
@given(cases())
def test_nothing_allowed_is_closed(case: Case) -> None:
    """A request reads a field, or passes a value, that the schema closes to whoever sent it."""
    decision = _decided(case)
    if isinstance(decision, Deny):
        return

    calls = upstream(case.schema).calls(parse(case.query), case.variables, case.operation_name)

    faults = {
        (reason.value, f"{call.type_name}.{call.field}", repr(call.arguments))
        for call in calls
        for reason in reading(case.schema).faults(case.caller, call)
        if not (isinstance(decision, Reported) and TABLE[reason].reportable)
    }

    assert not faults


def test_the_oracle_sees_enough() -> None:
    """The oracle would pass whatever the gateway does, since it would see hardly anything that is allowed."""
    seen: Counter[str] = Counter()

    @settings(max_examples=300, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(cases(report=False))
    def count(case: Case) -> None:
        decision = _decided(case)
        seen["all"] += 1
        seen[case.schema] += 1
        if isinstance(decision, Deny):
            seen["refused"] += 1
            seen.update({finding.reason.value for finding in decision.findings})
            return
        seen["allowed"] += 1
        document = parse(case.query)
        seen["allowed and valid"] += not validate(upstream(case.schema).schema, document)
        calls = upstream(case.schema).calls(document, case.variables, case.operation_name)
        seen["allowed with arguments"] += any(call.arguments for call in calls)
        seen["allowed below the root"] += len({call.type_name for call in calls}) > 1

    count()

    assert seen["allowed"] >= 0.2 * seen["all"]
    assert seen["refused"] >= 0.2 * seen["all"]
    assert seen["allowed and valid"] >= 0.5 * seen["allowed"]
    assert seen["allowed with arguments"] >= 0.1 * seen["allowed"]
    assert seen["allowed below the root"] >= 0.1 * seen["allowed"]
    assert all(seen[schema] for schema in SCHEMAS)
    assert all(seen[reason] for reason in ("field_closed", "keys_only", "scope_missing", "not_own_data", "not_own_app"))
