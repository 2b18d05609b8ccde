"""The measurements: what is measured against what, in which order, and held to which goal."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from check import Sent, probe
from figures import DIRECT, ENVOY, GATEWAY, PEER, SHARED, Figure, Goal, Row, compared, figure, ratio
from load import CONNECTIONS, RATE, Generator, Latency, Throughput
from process import BenchError, Server
from relay import ANSWER_BYTES, relay_slowly
from servers import Gateway

Run = TypeVar("Run", Throughput, Latency)

_MB = 1e6
# Far more than one run can send: each run of new documents counts from a number of its own.
_NUMBERS_A_RUN = 10_000_000

_AS_FAST_AS_ENVOY = Goal(">=", 1.0)
_NEW_DOCUMENTS = Goal(">=", 0.07)
_MEMORY_MB = Goal("<=", 80)
_ADDED_LATENCY = Goal("<=", 1.3)
_RELAY_GROWTH_MB = Goal("<", 10)
_AS_FAST_AS_SQLITE = Goal(">=", 0.95)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many rounds of how many seconds, after one round that does not count, and how long the slow client takes."""

    rounds: int
    seconds: int
    relay_seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The measurements over servers that run; `sent` tells what each has answered."""

    plan: Plan
    generator: Generator
    upstream: Server
    envoy: Server
    gateway: Gateway
    peer: Server | None
    shared: Gateway | None = None
    sent: dict[str, Sent] = field(default_factory=dict)

    def probe(self) -> None:
        """Raises unless every server passes on exactly the upstream's answer."""
        servers = {DIRECT: self.upstream, ENVOY: self.envoy, GATEWAY: self.gateway.server}
        if self.peer is not None:
            servers[PEER] = self.peer
        for name, server in servers.items():
            probe(name, server.port, self.generator.token)
            self._count(name, 1)
        if self.shared is not None:
            probe(SHARED, self.shared.server.port, self.shared.token)
            self._count(SHARED, 1)

    def same_document(self) -> list[Row]:
        """Requests a second of one operation that everybody sends, and the memory that is held after them."""
        servers = {ENVOY: self.envoy, GATEWAY: self.gateway.server}
        if self.peer is not None:
            servers[PEER] = self.peer
        runs = self._rounds("same document", {name: self._wrk(name, server) for name, server in servers.items()})
        memory = {name: figure([server.rss() / _MB]) for name, server in servers.items()}
        return [
            compared("throughput", "requests/s", _each(runs, lambda run: run.per_second), goal=_AS_FAST_AS_ENVOY),
            compared("cpu", "processor time a request, µs", _each(runs, lambda run: run.cpu_us), 1),
            compared("busy_p50", f"p50 with {CONNECTIONS} connections, ms", _each(runs, lambda run: run.p50_ms), 2),
            compared("busy_p99", f"p99 with {CONNECTIONS} connections, ms", _each(runs, lambda run: run.p99_ms), 2),
            Row("rss", "RSS after these, MB", memory, 1, goal=_MEMORY_MB),
        ]

    def new_documents(self) -> list[Row]:
        """Requests a second when no document was ever seen before; Envoy, which does not look, is the measure."""
        loads = {ENVOY: self._wrk(ENVOY, self.envoy), GATEWAY: self._wrk(GATEWAY, self.gateway.server, new=True)}
        runs = self._rounds("new documents", loads)
        memory = {GATEWAY: figure([self.gateway.server.rss() / _MB])}
        return [
            compared(
                "new_documents",
                "requests/s, every document new",
                _each(runs, lambda run: run.per_second),
                goal=_NEW_DOCUMENTS,
            ),
            Row("new_documents_rss", "RSS after these, MB", memory, 1),
        ]

    def fixed_rate(self) -> list[Row]:
        """How long an answer takes at a rate that leaves every server idle most of the time, and who adds how much."""
        servers = {DIRECT: self.upstream, ENVOY: self.envoy, GATEWAY: self.gateway.server}
        runs = self._rounds("fixed rate", {name: self._h2load(name, server) for name, server in servers.items()})
        shares: dict[str, Callable[[Latency], float]] = {
            "p50": lambda run: run.p50_us,
            "p90": lambda run: run.p90_us,
            "p99": lambda run: run.p99_us,
        }
        measured = {share: _each(runs, value) for share, value in shares.items()}
        rows = [Row(share, f"{share} at {RATE:,} requests/s, µs", figures) for share, figures in measured.items()]
        return [*rows, *(self._added(share, measured[share]) for share in measured)]

    def slow_client(self) -> list[Row]:
        """What it costs to relay a long answer to a client that takes it slowly."""
        gateway = self.gateway
        done = relay_slowly(gateway.server, gateway.slow_port, gateway.slow_token, self.plan.relay_seconds)
        self._count(GATEWAY, 1)
        _say(f"slow client: {ANSWER_BYTES / _MB:.0f} MB in {done.seconds:.1f} s")
        growth, ahead = figure([done.growth / _MB]), figure([done.ahead / _MB])
        what = f"{ANSWER_BYTES / _MB:.0f} MB to a slow client"
        return [
            Row("relay_growth", f"{what}: growth of the RSS, MB", {GATEWAY: growth}, 1, goal=_RELAY_GROWTH_MB),
            Row("relay_ahead", f"{what}: upstream ahead of it, kernel buffers included, MB", {GATEWAY: ahead}, 1),
        ]

    def shared_store(self) -> list[Row]:
        """Requests a second of a gateway whose store is Redis, by those of the one whose store is SQLite."""
        if self.shared is None:
            raise BenchError("There is no gateway on Redis to measure.")
        generator = self.generator.presenting(self.shared.token)
        loads = {
            GATEWAY: self._wrk(GATEWAY, self.gateway.server),
            SHARED: self._wrk(SHARED, self.shared.server, generator=generator),
        }
        runs = self._rounds("store", loads)
        rates = _each(runs, lambda run: run.per_second)
        by_sqlite = ratio(rates[SHARED], rates[GATEWAY])
        return [
            Row("redis", "requests/s with Redis as store", {GATEWAY: rates[SHARED]}),
            Row("redis_ratio", "the same, by those with SQLite", {GATEWAY: by_sqlite}, 2, goal=_AS_FAST_AS_SQLITE),
        ]

    def _added(self, share: str, measured: dict[str, Figure]) -> Row:
        direct = measured[DIRECT].values
        added = {
            name: figure(via - straight for via, straight in zip(measured[name].values, direct, strict=True))
            for name in (ENVOY, GATEWAY)
        }
        goal = _ADDED_LATENCY if share == "p50" else None
        return compared(f"added_{share}", f"added {share} at {RATE:,} requests/s, µs", added, goal=goal)

    def _rounds(self, title: str, loads: dict[str, Callable[[int], Run]]) -> dict[str, list[Run]]:
        """One run of each in turn, again and again; the first round warms up and does not count."""
        runs: dict[str, list[Run]] = {name: [] for name in loads}
        for number in range(self.plan.rounds + 1):
            this_round = {name: load(number) for name, load in loads.items()}
            _say(f"{title}, {f'round {number}' if number else 'warm-up'}: {_summary(this_round)}")
            if number:
                for name, run in this_round.items():
                    runs[name].append(run)
        return runs

    def _wrk(
        self, name: str, server: Server, new: bool = False, generator: Generator | None = None
    ) -> Callable[[int], Throughput]:
        def load(number: int) -> Throughput:
            run = (generator or self.generator).throughput(
                server, self.plan.seconds, number * _NUMBERS_A_RUN if new else None
            )
            self._count(name, run.requests, CONNECTIONS)
            return run

        return load

    def _h2load(self, name: str, server: Server) -> Callable[[int], Latency]:
        def load(_: int) -> Latency:
            run = self.generator.latency(server, self.plan.seconds)
            self._count(name, run.requests)
            return run

        return load

    def _count(self, name: str, answered: int, cut_off: int = 0) -> None:
        self.sent.setdefault(name, Sent()).add(answered, cut_off)


def _each(runs: dict[str, list[Run]], value: Callable[[Run], float]) -> dict[str, Figure]:
    return {name: figure(map(value, of_one)) for name, of_one in runs.items()}


def _summary(this_round: Mapping[str, Throughput | Latency]) -> str:
    return ", ".join(f"{name} {run.summary}" for name, run in this_round.items())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
