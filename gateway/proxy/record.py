"""What is remembered of one request until its end, and where it goes then: one log line and the counters."""

import asyncio
import os
import time
from collections.abc import Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, Final

from gateway.core.decision import Deny
from gateway.core.operation import Operation
from gateway.core.records import Fault
from gateway.log import RequestLog
from gateway.metrics import Metrics
from gateway.proxy.authenticate import Proven
from gateway.proxy.respond import Shape
from gateway.proxy.upstream import Outcome

_BATCH: Final = 32  # More would make the requests of the moment wait noticeably: each takes some microseconds.
_BATCH_SECONDS: Final = 0.25


class Record:
    """The facts of one request, filled in as it goes its way. Holds no token, no variable and no answer."""

    # Defaults stand on the class, since setting each of them for every request costs more than all the rest here.
    keep_alive = False
    http10 = False
    expects_continue = False
    aborted = False
    status = 0
    bytes_in = 0
    seconds = 0.0
    ended = 0.0
    outcome: Outcome | None = None
    caller: Proven | None = None
    names: Mapping[str, str] = MappingProxyType({})  # how the log names a caller that is proven in another way
    operation: Operation | None = None
    route: str | None = None
    region: str | None = None
    endpoint: str | None = None
    deny: Deny | None = None
    reported: Deny | None = None
    fault: Fault | None = None
    cause: BaseException | None = None

    def __init__(self, method: str | None, shape: Shape, request_id: bytes) -> None:
        self.started = time.perf_counter()
        self.method = method
        self.shape = shape
        self.request_id = request_id

    def relayed(self, outcome: Outcome) -> None:
        """Take over how the exchange with the upstream went."""
        self.outcome = outcome
        self.status = outcome.status
        self.keep_alive = outcome.keep_alive
        self.aborted = outcome.aborted


class Recorder:
    """Begins and ends the record of each request: ids that are unique, one line, one count.

    Records that have ended wait until 32 of them do, or a quarter of a second has passed, and are then counted and
    written in one go: what that takes is warm in the processor's cache from one to the next, which makes it three
    times as fast as doing it between the steps of a request (measured). `flush` does it now.
    """

    def __init__(self, log: RequestLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._ended: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None
        # As unique as a random UUID, at the cost of counting: 74 random bits for the process, a counter behind them.
        random = os.urandom(10).hex()
        self._prefix = f"{random[:8]}-{random[8:12]}-4{random[12:15]}-a{random[15:18]}-".encode()
        self._counter = count(int.from_bytes(os.urandom(4)))

    def begin(self, method: str | None, shape: Shape) -> Record:
        """The record of a request that has just arrived."""
        self._metrics.in_flight += 1
        return Record(method, shape, b"%b%012x" % (self._prefix, next(self._counter)))

    def end(self, record: Record) -> None:
        """The request is over, however it went."""
        record.seconds = time.perf_counter() - record.started
        record.ended = time.time()
        self._metrics.in_flight -= 1
        self._ended.append(record)
        if len(self._ended) >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._on_timer)

    def flush(self) -> None:
        """Count and write everything that has ended."""
        ended, self._ended = self._ended, []
        for record in ended:
            self._tell(record)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()

    def _tell(self, record: Record) -> None:
        seconds = record.seconds
        metrics = self._metrics
        if record.aborted:
            metrics.client_aborts += 1
        if record.outcome is not None and record.region is not None:
            metrics.upstream(record.region, record.outcome.upstream_seconds)
        deny = record.deny or record.reported
        if deny is None:
            metrics.allowed(seconds)
            self._log.add(_fields(record, "allow", seconds), record.ended)
        else:
            self._tell_denied(record, deny, seconds)

    def _tell_denied(self, record: Record, deny: Deny, seconds: float) -> None:
        reasons = list(dict.fromkeys(finding.reason for finding in deny.findings))
        if record.deny is None:
            self._metrics.reported(reasons[0], seconds)
        else:
            self._metrics.refused(reasons[0], seconds)
        fields = _fields(record, "allow_reported" if record.deny is None else "refuse", seconds)
        fields["reasons"] = reasons
        if record.fault is not None:
            fields["credential_fault"] = record.fault
        if record.cause is not None:
            fields["cause"] = str(record.cause)
        self._log.add(fields, record.ended)


def _fields(record: Record, decision: str, seconds: float) -> dict[str, Any]:
    outcome = record.outcome
    fields: dict[str, Any] = {
        "request_id": record.request_id.decode("ascii"),
        "method": record.method,
        "decision": decision,
        "status": record.status,
        "bytes_in": record.bytes_in,
        "bytes_out": 0 if outcome is None else outcome.bytes_out,
        "duration_ms": round(seconds * 1000, 3),
    }
    if record.caller is not None:
        fields |= record.caller.names
    elif record.names:
        fields |= record.names
    if record.operation is not None:
        fields |= record.operation.names
    elif record.route is not None:
        fields["route"] = record.route
    if record.region is not None:
        fields["region"] = record.region
        fields["endpoint"] = record.endpoint
    if outcome is not None:
        fields["upstream_ms"] = round(outcome.upstream_seconds * 1000, 3)
    if record.aborted:
        fields["aborted"] = True
    return fields
