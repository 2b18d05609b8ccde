"""What is kept of a request until its end: one line, one count, and an id that nobody else has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.decision import Deny, Finding, Reason, Unavailable
from gateway.core.records import Fault
from gateway.log import RequestLog, Sink
from gateway.metrics import Metrics
from gateway.proxy.record import Record, Recorder
from gateway.proxy.respond import Shape
from gateway.proxy.upstream import Outcome


class Desk:
    """A recorder with its log and its counters."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._log = RequestLog(Sink(file))
        self.metrics = Metrics(["eu"], caches={}, log_lines_dropped=int, key_expiries=dict, deaf=bool)
        self.recorder = Recorder(self._log, self.metrics)

    def begin(self, method: str | None = "POST") -> Record:
        return self.recorder.begin(method, Shape.GRAPHQL)

    def ended(self, record: Record) -> dict[str, Any]:
        """The one line that comes of a record."""
        self.recorder.end(record)
        self.recorder.flush()
        self._log.close()
        (line,) = self._file.read_text().splitlines()
        return json.loads(line)

    def counted(self) -> set[str]:
        """The counters of requests that are not zero."""
        text = self.metrics.exposition().decode()
        return set(re.findall(r"^gateway_requests_total\{(.*)\} 1\.0$", text, re.MULTILINE))

    def close(self) -> None:
        self._log.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A recorder, its log and its counters."""
    made = Desk(tmp_path / "log")
    yield made
    made.close()


async def test_ids(desk: Desk, tmp_path: Path) -> None:
    """Two requests, even of two processes, would be one in the logs."""
    other = Recorder(RequestLog(Sink(tmp_path / "other")), desk.metrics)
    ids = {recorder.begin("POST", Shape.GRAPHQL).request_id for recorder in (desk.recorder, other) for _ in range(100)}
    assert len(ids) == 200


OUTCOMES = [
    ({}, "allow", 'outcome="allowed",reason=""', {}),
    ({"status": 500}, "allow", 'outcome="allowed",reason=""', {"status": 500}),
    (
        {"deny": Deny((Finding(Reason.SCOPE_MISSING), Finding(Reason.KEYS_ONLY), Finding(Reason.SCOPE_MISSING)))},
        "refuse",
        'outcome="refused",reason="scope_missing"',
        {"reasons": ["scope_missing", "keys_only"]},
    ),
    (
        {"reported": Deny((Finding(Reason.KEYS_ONLY),))},
        "allow_reported",
        'outcome="reported",reason="keys_only"',
        {"reasons": ["keys_only"]},
    ),
    (
        {
            "reported": Deny((Finding(Reason.KEYS_ONLY),)),
            "deny": Deny((Finding(Reason.UPSTREAM_TIMEOUT),)),
            "cause": Unavailable(Reason.UPSTREAM_TIMEOUT, "eu: no byte came"),
        },
        "refuse",
        'outcome="failed",reason="upstream_timeout"',
        {"reasons": ["upstream_timeout"], "cause": "eu: no byte came"},
    ),
    (
        {"deny": Deny((Finding(Reason.CREDENTIAL_INVALID),)), "fault": Fault.EXPIRED},
        "refuse",
        'outcome="refused",reason="credential_invalid"',
        {"credential_fault": "expired"},
    ),
    ({"aborted": True}, "allow", 'outcome="allowed",reason=""', {"aborted": True}),
    (
        {"route": "GET /a", "region": "eu", "endpoint": "a:1"},
        "allow",
        'outcome="allowed",reason=""',
        {"route": "GET /a"},
    ),
]


@pytest.mark.parametrize(("facts", "decision", "counted", "said"), OUTCOMES)
async def test_outcomes(desk: Desk, facts: dict[str, Any], decision: str, counted: str, said: dict[str, Any]) -> None:
    """Refusals would be counted as successes, or not be explained in the log."""
    record = desk.begin()
    assert desk.metrics.in_flight == 1
    for name, value in facts.items():
        setattr(record, name, value)
    line = desk.ended(record)
    assert line["decision"] == decision
    assert said.items() <= line.items()
    assert ("reasons" in line) == (decision != "allow")
    assert desk.counted() == {counted}
    assert desk.metrics.in_flight == 0
    assert desk.metrics.client_aborts == int("aborted" in facts)


async def test_what_the_upstream_took(desk: Desk) -> None:
    """An operator could not tell a slow upstream from a slow gateway."""
    record = desk.begin()
    record.region, record.endpoint, record.status = "eu", "a:1", 200
    record.outcome = Outcome(200, 780, True, False, 0.25, 0.2)
    line = desk.ended(record)
    assert (line["bytes_out"], line["upstream_ms"], line["region"], line["endpoint"]) == (780, 250.0, "eu", "a:1")
    assert b'gateway_upstream_seconds_sum{region="eu"} 0.25' in desk.metrics.exposition()


async def test_a_request_that_could_not_be_read(desk: Desk) -> None:
    """Malformed requests would leave no line in the log."""
    record = desk.begin(None)
    record.deny, record.status = Deny((Finding(Reason.REQUEST_MALFORMED),)), 400
    line = desk.ended(record)
    assert (line["method"], line["status"], line["reasons"]) == (None, 400, ["request_malformed"])
