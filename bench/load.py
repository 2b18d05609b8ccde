"""The two load generators: wrk for what a server can do, h2load for how long it takes at a fixed rate."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from message import ANSWER_TYPE, request_body
from process import BenchError, Server, pinned

CONNECTIONS = 32
RATE = 1000
# h2load keeps time in whole milliseconds: fewer clients of a higher rate would fall into step and send in bursts.
_CLIENTS = 50
_STAGGER_MS = 11
_RAMP_SECONDS = 1
_GRACE_SECONDS = 30
_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run of wrk: what it counted, and the processor time the server took for it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    @property
    def summary(self) -> str:
        """The run in a few words."""
        return f"{self.per_second:,.0f} requests/s"

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's processor time a request."""
        return self.cpu_seconds / self.requests * 1e6


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles at the fixed rate, in microseconds, and how many requests were sent in all."""

    requests: int
    p50_us: float
    p90_us: float
    p99_us: float

    @property
    def summary(self) -> str:
        """The run in a few words."""
        return f"p50 {self.p50_us:,.0f} µs"


@dataclass(frozen=True, slots=True)
class Generator:
    """Sends the request of the bench, with one token, from one core."""

    core: int
    token: str
    directory: Path

    def presenting(self, token: str) -> "Generator":
        """The same with another token."""
        return replace(self, token=token)

    def throughput(self, server: Server, seconds: int, first: int | None = None) -> Throughput:
        """As many requests as the server answers; with `first`, each with another document, numbered from there."""
        environment = {"BENCH_BODY": request_body().decode(), "BENCH_TOKEN": self.token}
        if first is not None:
            environment["BENCH_FIRST"] = str(first)
        before = server.cpu_seconds()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(_SCRIPT), server.url]
        counted = json.loads(self._run(command, seconds, environment).splitlines()[-1])
        spent = server.cpu_seconds() - before
        if counted["refused"] or counted["broken"] or not counted["requests"]:
            raise BenchError(f"wrk against {server.name}, which must answer every request with success: {counted}")
        milliseconds = counted["p50_us"] / 1e3, counted["p99_us"] / 1e3
        return Throughput(counted["requests"], counted["seconds"], *milliseconds, spent)

    def latency(self, server: Server, seconds: int) -> Latency:
        """Percentiles of the answers to requests that are sent at the fixed rate."""
        body, log = self.directory / "request.json", self.directory / "h2load.log"
        body.write_bytes(request_body())
        log.unlink(missing_ok=True)
        requests = RATE * (seconds + _RAMP_SECONDS)
        command = ["h2load", "--h1", "-n", str(requests), "-c", str(_CLIENTS), f"--rps={RATE // _CLIENTS}"]
        command += ["-r", "1", f"--rate-period={_STAGGER_MS}ms", "-d", str(body), f"--log-file={log}"]
        command += ["-H", f"Content-Type: {ANSWER_TYPE}", "-H", f"Authorization: Bearer {self.token}", server.url]
        self._run(command, seconds, {})
        return _percentiles(server.name, log.read_text(), requests, seconds)

    def _run(self, command: Sequence[str], seconds: int, environment: Mapping[str, str]) -> str:
        try:
            done = subprocess.run(
                pinned(self.core, command),
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=seconds + _GRACE_SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{command[0]} had not ended {_GRACE_SECONDS} s after its time.") from None
        except subprocess.CalledProcessError as error:
            raise BenchError(f"{command[0]} failed: {error.stdout}{error.stderr}") from error
        return done.stdout


def _percentiles(name: str, log: str, requests: int, seconds: int) -> Latency:
    """From h2load's rows of start, status and duration, those of the seconds in which all clients were sending."""
    rows = [tuple(map(int, line.split("\t")[:3])) for line in log.splitlines()]
    bad = sum(status != HTTPStatus.OK for _, status, _ in rows)
    if bad or len(rows) != requests:
        raise BenchError(f"h2load against {name}: {len(rows)} answers to {requests} requests, {bad} of them not 200.")
    first = min(start for start, _, _ in rows) + _RAMP_SECONDS * 1_000_000
    taken = sorted(duration for start, _, duration in rows if first <= start < first + seconds * 1_000_000)
    if len(taken) < RATE * seconds * 0.98:
        raise BenchError(f"h2load against {name} sent {len(taken) / seconds:.0f} requests/s instead of {RATE}.")
    return Latency(requests, *(float(taken[int(len(taken) * share)]) for share in (0.5, 0.9, 0.99)))
