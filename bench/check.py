"""What makes a figure believable: the right answer before the load, and a log line for each request after it."""

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from message import ANSWER_TYPE, REQUEST_PATH, answer_body, request_body
from process import BenchError

_PROBE_SECONDS = 10


@dataclass(slots=True)
class Sent:
    """How many requests a server has answered, and how many more it may have seen when a run of wrk was cut off."""

    answered: int = 0
    cut_off: int = 0

    def add(self, answered: int, cut_off: int = 0) -> None:
        """Counts one run."""
        self.answered += answered
        self.cut_off += cut_off


def probe(name: str, port: int, token: str) -> None:
    """Sends the request once, and raises unless exactly the upstream's answer comes back."""
    headers = {"Content-Type": ANSWER_TYPE, "Authorization": f"Bearer {token}"}
    status, body = _exchange(port, "POST", REQUEST_PATH, request_body(), headers)
    if status != HTTPStatus.OK or body != answer_body():
        raise BenchError(f"{name} answered {status} with {body[:500]!r} instead of the upstream's answer.")


def check_metrics(admin_port: int, sent: Sent) -> None:
    """Raises unless the gateway's metrics have counted every answered request as allowed."""
    _, body = _exchange(admin_port, "GET", "/metrics")
    allowed = sum(
        float(line.rpartition(" ")[2])
        for line in body.decode().splitlines()
        if line.startswith("gateway_requests_total{") and 'outcome="allowed"' in line
    )
    if allowed < sent.answered:
        raise BenchError(
            f"The gateway answered {sent.answered} requests, but its metrics count {allowed:.0f} as allowed."
        )


def check_log(name: str, log: Path, good: dict[str, object], sent: Sent) -> None:
    """Raises unless the log has a line with these members for every answered request, and no others to speak of."""
    lines = matching = 0
    for line in _lines(log):
        lines += 1
        matching += good.items() <= line.items()
    if matching < sent.answered or lines > sent.answered + sent.cut_off:
        raise BenchError(
            f"{name} answered {sent.answered} requests (and {sent.cut_off} at most were cut off), but its log has"
            f" {lines} lines of requests, {matching} of them as they should be."
        )


def _exchange(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _lines(log: Path) -> Iterator[dict[str, object]]:
    with log.open(encoding="utf-8") as file:
        for line in file:
            fields = json.loads(line)
            if fields.get("event") == "request":
                yield fields
