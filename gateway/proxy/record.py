"""What is remembered of one request until its end, and where it goes then: one log line and the counters."""

import os
import time
from itertools import count
from typing import Any

from gateway.core.decision import Deny, Reason
from gateway.core.operation import Operation
from gateway.core.principal import KeyPrincipal
from gateway.core.records import Fault
from gateway.log import RequestLog
from gateway.metrics import Metrics
from gateway.proxy.authenticate import Proven
from gateway.proxy.respond import Shape
from gateway.proxy.upstream import Outcome


class Record:
    """The facts of one request, filled in as it goes its way. Holds no token, no variable and no answer."""

    __slots__ = (
        "aborted",
        "bytes_in",
        "bytes_out",
        "caller",
        "cause",
        "deny",
        "endpoint",
        "expects_continue",
        "fault",
        "http10",
        "keep_alive",
        "method",
        "operation",
        "region",
        "reported",
        "request_id",
        "route",
        "shape",
        "started",
        "status",
        "upstream_seconds",
    )

    def __init__(self, method: str | None, shape: Shape, request_id: str) -> None:
        self.started = time.perf_counter()
        self.method = method
        self.shape = shape
        self.request_id = request_id
        self.keep_alive = False
        self.http10 = False
        self.expects_continue = False
        self.aborted = False
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream_seconds: float | None = None
        self.caller: Proven | None = None
        self.operation: Operation | None = None
        self.route: str | None = None
        self.region: str | None = None
        self.endpoint: str | None = None
        self.deny: Deny | None = None
        self.reported: Deny | None = None
        self.fault: Fault | None = None
        self.cause: BaseException | None = None

    def relayed(self, outcome: Outcome) -> None:
        """Take over how the exchange with the upstream went."""
        self.status = outcome.status
        self.bytes_out = outcome.bytes_out
        self.upstream_seconds = outcome.upstream_seconds
        self.keep_alive = outcome.keep_alive
        self.aborted = outcome.aborted


class Recorder:
    """Begins and ends the record of each request: ids that are unique, one line, one count."""

    def __init__(self, log: RequestLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        # As unique as a random UUID, at the cost of counting: 74 random bits for the process, a counter behind them.
        random = os.urandom(10).hex()
        self._prefix = f"{random[:8]}-{random[8:12]}-4{random[12:15]}-a{random[15:18]}-"
        self._counter = count(int.from_bytes(os.urandom(4)))

    def begin(self, method: str | None, shape: Shape) -> Record:
        """The record of a request that has just arrived."""
        self._metrics.in_flight += 1
        return Record(method, shape, f"{self._prefix}{next(self._counter):012x}")

    def end(self, record: Record) -> None:
        """The request is over, however it went."""
        seconds = time.perf_counter() - record.started
        metrics = self._metrics
        metrics.in_flight -= 1
        if record.upstream_seconds is not None and record.region is not None:
            metrics.upstream(record.region, record.upstream_seconds)
        if record.aborted:
            metrics.client_aborts += 1
        decision, reasons = self._count(record, seconds)
        self._log.add(_fields(record, decision, reasons, seconds))

    def _count(self, record: Record, seconds: float) -> tuple[str, list[Reason]]:
        deny = record.deny or record.reported
        if deny is None:
            self._metrics.allowed(seconds)
            return "allow", []
        reasons = list(dict.fromkeys(finding.reason for finding in deny.findings))
        if record.deny is None:
            self._metrics.reported(reasons[0], seconds)
            return "allow_reported", reasons
        self._metrics.refused(reasons[0], seconds)
        return "refuse", reasons


def _fields(record: Record, decision: str, reasons: list[Reason], seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request_id": record.request_id,
        "method": record.method,
        "decision": decision,
        "status": record.status,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "duration_ms": round(seconds * 1000, 3),
    }
    if record.caller is not None:
        principal = record.caller.principal
        fields["app"] = principal.app_id
        if isinstance(principal, KeyPrincipal):
            fields["key"] = principal.key_id
        else:
            fields["user"] = principal.user_id
    if record.operation is not None:
        fields["operation"] = record.operation.name
        fields["type"] = record.operation.kind
        fields["root_fields"] = record.operation.root_fields
    if record.route is not None:
        fields["route"] = record.route
    if record.region is not None:
        fields["region"] = record.region
        fields["endpoint"] = record.endpoint
    if record.upstream_seconds is not None:
        fields["upstream_ms"] = round(record.upstream_seconds * 1000, 3)
    if reasons:
        fields["reasons"] = reasons
    if record.fault is not None:
        fields["credential_fault"] = record.fault
    if record.cause is not None:
        fields["cause"] = str(record.cause)
    if record.aborted:
        fields["aborted"] = True
    return fields
