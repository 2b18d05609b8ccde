"""What is counted: plain integers on the way of a request, made into Prometheus families only when they are scraped.

No label holds anything that a client can choose: outcomes, reasons, regions and caches are closed sets, and keys are
named only once they were proven, and so many at most.
"""

import platform
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.core.decision import TABLE, Reason

# From the fastest answer of an upstream nearby to the longest time-out; each step 2 to 2.5 times the one before.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FAILED_FROM: Final = 500  # the status from which the fault is ours or the upstream's, not the client's


class Histogram:
    """Durations in seconds, counted by upper bound. Observing one costs a bisection and two additions."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds with how many durations stayed within them, as Prometheus wants them: cumulative."""
        bounds = [*map(str, SECONDS), "+Inf"]
        return [(bound, sum(self.counts[: index + 1])) for index, bound in enumerate(bounds)]


class Memory(Protocol):
    """Whatever remembers answers and counts how often it knew one, and how often not."""

    hits: int
    misses: int


@dataclass(slots=True)
class NoticeCounts:
    """How tries to tell people ended, of how much there was nobody to be told, and since when the oldest notice that is
    not settled has been waiting (UTC milliseconds), as the gateway saw it that looked last."""

    sent: int = 0
    waiting: int = 0
    failed: int = 0
    nobody: int = 0
    oldest_waiting_at: int | None = None


class Metrics:
    """The counters of one process. Counting a request costs about a microsecond and cannot fail.

    `caches`, `log_lines_dropped`, `key_expiries` (seconds by key id), `deaf` and `issuer_ages` (how many seconds ago
    the keys of each issuer were fetched) are asked at each scrape; `in_flight`, `client_aborts`, `report_mode`,
    `unreplicated` and the counts of deletions and of records in leak reports are the owner's to set.
    """

    __slots__ = (
        "_allowed", "_caches", "_deaf", "_garbled", "_issuer_ages", "_key_expiries", "_lag", "_log_lines_dropped",
        "_refused", "_registry", "_reported", "_seconds", "_upstream_seconds", "client_aborts", "deletions_delayed",
        "deletions_open", "in_flight", "leak_records", "leak_records_skipped", "notices", "report_mode", "unreplicated",
    )  # fmt: skip

    def __init__(
        self,
        regions: Iterable[str],
        *,
        caches: Mapping[str, Callable[[], Memory]],
        log_lines_dropped: Callable[[], int],
        key_expiries: Callable[[], Mapping[str, float]],
        deaf: Callable[[], bool],
        issuer_ages: Callable[[], Mapping[str, float]] = dict,
        report_mode: bool = False,
    ) -> None:
        self.in_flight = 0
        self.client_aborts = 0
        self.unreplicated = 0
        self.deletions_delayed = 0
        self.deletions_open = 0
        self.notices = NoticeCounts()
        self.leak_records = 0
        self.leak_records_skipped = 0
        self.report_mode = report_mode
        self._caches = caches
        self._allowed = 0
        self._refused = dict.fromkeys(Reason, 0)
        self._reported = {reason: 0 for reason, row in TABLE.items() if row.reportable}
        self._seconds = Histogram()
        self._upstream_seconds = {region: Histogram() for region in regions}
        self._lag = Histogram()
        self._garbled = 0
        self._log_lines_dropped = log_lines_dropped
        self._key_expiries = key_expiries
        self._deaf = deaf
        self._issuer_ages = issuer_ages
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Families(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def allowed(self, seconds: float) -> None:
        """Count a request that was forwarded and answered, and how long it took."""
        self._allowed += 1
        self._seconds.observe(seconds)

    def refused(self, reason: Reason, seconds: float) -> None:
        """Count a request that was refused or failed, by the first of its reasons, and how long it took."""
        self._refused[reason] += 1
        self._seconds.observe(seconds)

    def reported(self, reason: Reason, seconds: float) -> None:
        """Count a request that passed in report mode only, by the first of its (reportable) reasons."""
        self._reported[reason] += 1
        self._seconds.observe(seconds)

    def upstream(self, region: str, seconds: float) -> None:
        """Count how long an upstream of the region took, from the forwarded request to the end of its answer."""
        self._upstream_seconds[region].observe(seconds)

    def heard(self, seconds: float) -> None:
        """Count how old an end that others made was when it was heard of."""
        self._lag.observe(seconds)

    def garbled(self) -> None:
        """Count a message of ends that others made which could not be read."""
        self._garbled += 1

    def exposition(self) -> bytes:
        """Everything counted, in Prometheus' text format."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """The gateway's own metric families as they stand now."""
        yield self._requests()
        yield _histogram("gateway_request_seconds", "From a request's first byte to its end.", [([], self._seconds)])
        by_region = [([region], histogram) for region, histogram in self._upstream_seconds.items()]
        yield _histogram("gateway_upstream_seconds", "From forwarding to the answer's end.", by_region, ["region"])
        yield GaugeMetricFamily("gateway_in_flight", "Requests being served.", self.in_flight)
        yield from self._cache_families()
        yield GaugeMetricFamily(
            "gateway_report_mode", "1 while refusals of the policy are only reported.", int(self.report_mode)
        )
        yield CounterMetricFamily(
            "gateway_log_lines_dropped", "Lines that the log could not take.", self._log_lines_dropped()
        )
        yield CounterMetricFamily("gateway_client_aborts", "Clients that left before their answer.", self.client_aborts)
        yield from self._notice_families()
        yield from self._store_families()
        yield CounterMetricFamily("gateway_leak_records", "Records in signed leak reports.", self.leak_records)
        yield CounterMetricFamily(
            "gateway_leak_records_skipped", "Records in signed leak reports that were none.", self.leak_records_skipped
        )
        yield self._issuers()
        yield _build_info()

    def _requests(self) -> Metric:
        family = CounterMetricFamily("gateway_requests", "Requests by outcome.", labels=["outcome", "reason"])
        family.add_metric(["allowed", ""], self._allowed)
        for reason, count in self._refused.items():
            family.add_metric(["failed" if TABLE[reason].status >= _FAILED_FROM else "refused", reason.value], count)
        for reason, count in self._reported.items():
            family.add_metric(["reported", reason.value], count)
        return family

    def _cache_families(self) -> Iterator[Metric]:
        hits = CounterMetricFamily("gateway_cache_hits", "Answers that a memory knew.", labels=["cache"])
        misses = CounterMetricFamily("gateway_cache_misses", "Answers that a memory did not know.", labels=["cache"])
        for name, memory in self._caches.items():
            hits.add_metric([name], memory().hits)
            misses.add_metric([name], memory().misses)
        yield hits
        yield misses

    def _issuers(self) -> Metric:
        family = GaugeMetricFamily(
            "gateway_issuer_keys_age_seconds", "Since the keys of an issuer were fetched.", labels=["issuer"]
        )
        for issuer, seconds in self._issuer_ages().items():
            family.add_metric([issuer], seconds)
        return family

    def _notice_families(self) -> Iterator[Metric]:
        counts = self.notices
        tries = CounterMetricFamily(
            "gateway_notices", "Tries to tell people of keys that end or leaked.", labels=["outcome"]
        )
        for outcome in ("sent", "waiting", "failed"):
            tries.add_metric([outcome], getattr(counts, outcome))
        yield tries
        yield CounterMetricFamily(
            "gateway_notices_to_nobody", "Keys and incidents of which there is nobody to be told.", counts.nobody
        )
        waiting_at = counts.oldest_waiting_at
        yield GaugeMetricFamily(
            "gateway_notices_oldest_waiting_seconds",
            "Since the first try of the oldest notice that was not sent yet; 0: there is none.",
            0 if waiting_at is None else max(0.0, time.time() - waiting_at / 1000),
        )

    def _store_families(self) -> Iterator[Metric]:
        yield _histogram(
            "gateway_revocation_lag_seconds", "How old an end was when it was heard of.", [([], self._lag)]
        )
        yield CounterMetricFamily(
            "gateway_revocations_garbled", "Messages of ends that could not be read.", self._garbled
        )
        yield GaugeMetricFamily(
            "gateway_store_deaf", "1 while ends may go unheard, and every credential is looked up.", int(self._deaf())
        )
        yield CounterMetricFamily(
            "gateway_unreplicated", "Revocations that no replica of the store confirmed.", self.unreplicated
        )
        yield CounterMetricFamily(
            "gateway_deletions_delayed", "Deleted users whom the store could not end at once.", self.deletions_delayed
        )
        yield GaugeMetricFamily(
            "gateway_deletions_open", "Deleted users who wait for the store to end them.", self.deletions_open
        )
        expiries = GaugeMetricFamily(
            "gateway_key_expiry_seconds", "Until a key ends, of keys that were proven here.", labels=["key"]
        )
        for key_id, seconds in self._key_expiries().items():
            expiries.add_metric([key_id], seconds)
        yield expiries


class _Families(Collector):
    """What prometheus_client asks for at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


def _histogram(
    name: str, documentation: str, histograms: Iterable[tuple[list[str], Histogram]], labels: Sequence[str] = ()
) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for values, histogram in histograms:
        family.add_metric(values, histogram.buckets(), histogram.total)
    return family


def _build_info() -> Metric:
    family = GaugeMetricFamily("gateway_build_info", "What runs here.", labels=["version", "python"])
    family.add_metric([__version__, platform.python_version()], 1)
    return family
