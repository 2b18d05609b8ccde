"""Metrics: what is counted arrives at the scrape, under labels that no client can choose."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.core.decision import TABLE, Reason
from gateway.metrics import Metrics

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Memory:
    """Something that remembers."""

    hits: int = 0
    misses: int = 0


def metrics_of(
    *regions: str,
    report_mode: bool = False,
    dropped: int = 0,
    deaf: bool = False,
    expiries: Mapping[str, float] = MappingProxyType({}),
) -> Metrics:
    """Metrics with nothing counted yet."""
    return Metrics(
        regions,
        caches={"principals": lambda: Memory(3, 2), "documents": Memory},
        log_lines_dropped=lambda: dropped,
        key_expiries=lambda: expiries,
        deaf=lambda: deaf,
        report_mode=report_mode,
    )


def scraped(metrics: Metrics) -> Samples:
    """All samples as Prometheus reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """One sample."""
    return scraped(metrics)[name, frozenset(labels.items())]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_counted_under_its_outcome(reason: Reason) -> None:
    """Refusals of one kind could rise without any alarm."""
    metrics = metrics_of()

    metrics.refused(reason, 0.1)
    metrics.refused(reason, 0.1)

    outcome = "failed" if TABLE[reason].status >= 500 else "refused"
    assert value(metrics, "gateway_requests_total", outcome=outcome, reason=reason.value) == 2


@pytest.mark.parametrize("reason", [reason for reason, row in TABLE.items() if row.reportable])
def test_what_report_mode_let_pass_is_counted_apart(reason: Reason) -> None:
    """An operator could not tell from the figures what enforcing would refuse."""
    metrics = metrics_of(report_mode=True)

    metrics.reported(reason, 0.1)

    assert value(metrics, "gateway_requests_total", outcome="reported", reason=reason.value) == 1
    assert value(metrics, "gateway_requests_total", outcome="refused", reason=reason.value) == 0
    assert value(metrics, "gateway_report_mode") == 1


def test_all_requests_add_up() -> None:
    """The sum over all labels would not be the number of requests, and no rate could be trusted."""
    metrics = metrics_of()

    metrics.allowed(0.1)
    metrics.allowed(0.1)
    metrics.refused(Reason.SCOPE_MISSING, 0.1)
    metrics.refused(Reason.UPSTREAM_TIMEOUT, 0.1)
    metrics.reported(Reason.KEYS_ONLY, 0.1)

    found = scraped(metrics)
    assert sum(count for (name, _), count in found.items() if name == "gateway_requests_total") == 5
    assert found["gateway_request_seconds_count", frozenset()] == 5
    assert value(metrics, "gateway_requests_total", outcome="allowed", reason="") == 2


DURATIONS = [(0.0, "0.001"), (0.001, "0.001"), (0.00101, "0.0025"), (0.7, "1.0"), (30.0, "30.0"), (31.0, "+Inf")]


@pytest.mark.parametrize(("seconds", "bound"), DURATIONS)
def test_a_duration_is_counted_from_its_bound_upwards(seconds: float, bound: str) -> None:
    """Percentiles on dashboards would be wrong."""
    metrics = metrics_of("eu", "us")

    metrics.upstream("eu", seconds)

    found = scraped(metrics)
    counts = {
        dict(labels)["le"]: count
        for (name, labels), count in found.items()
        if name == "gateway_upstream_seconds_bucket" and ("region", "eu") in labels
    }
    assert counts == {le: float(float(le) >= float(bound)) for le in counts}
    assert found["gateway_upstream_seconds_sum", frozenset({("region", "eu")})] == seconds
    assert found["gateway_upstream_seconds_count", frozenset({("region", "us")})] == 0


def test_what_the_parts_count_is_asked_for_at_the_scrape() -> None:
    """Memories that never hit, a log that loses lines, and clients that leave would not be seen."""
    metrics = metrics_of(dropped=7)
    metrics.in_flight += 2
    metrics.client_aborts += 1

    assert value(metrics, "gateway_cache_hits_total", cache="principals") == 3
    assert value(metrics, "gateway_cache_misses_total", cache="principals") == 2
    assert value(metrics, "gateway_cache_hits_total", cache="documents") == 0
    assert value(metrics, "gateway_log_lines_dropped_total") == 7
    assert value(metrics, "gateway_in_flight") == 2
    assert value(metrics, "gateway_client_aborts_total") == 1
    assert value(metrics, "gateway_report_mode") == 0


@pytest.mark.parametrize("deaf", [False, True])
def test_a_gateway_that_does_not_hear_is_seen(deaf: bool) -> None:
    """Nobody would be told that a gateway looks every credential up, and may soon not know what has ended."""
    assert value(metrics_of(deaf=deaf), "gateway_store_deaf") == float(deaf)


def test_how_old_ends_were_when_they_were_heard_of() -> None:
    """An operator could not see whether revocations hold within the second that is promised."""
    metrics = metrics_of()
    assert value(metrics, "gateway_revocation_lag_seconds_count") == 0

    metrics.heard(0.004)
    metrics.heard(2.0)

    assert value(metrics, "gateway_revocation_lag_seconds_count") == 2
    assert value(metrics, "gateway_revocation_lag_seconds_bucket", le="1.0") == 1
    assert value(metrics, "gateway_revocation_lag_seconds_sum") == 2.004


def test_messages_of_ends_that_cannot_be_read_are_counted() -> None:
    """A gateway that is older than another would forget everything at each revocation, and nobody would see why."""
    metrics = metrics_of()
    assert value(metrics, "gateway_revocations_garbled_total") == 0

    metrics.garbled()

    assert value(metrics, "gateway_revocations_garbled_total") == 1


def test_revocations_without_a_replica_are_counted() -> None:
    """Revocations that a failover may undo would pass unnoticed."""
    metrics = metrics_of()
    assert value(metrics, "gateway_unreplicated_total") == 0

    metrics.unreplicated += 1

    assert value(metrics, "gateway_unreplicated_total") == 1


def test_when_keys_end() -> None:
    """Nobody could be warned of keys that are about to end, and which ones."""
    metrics = metrics_of(expiries={"aa01020304050607": 86400.0, "bb01020304050607": 12.5})

    assert value(metrics, "gateway_key_expiry_seconds", key="aa01020304050607") == 86400.0
    assert value(metrics, "gateway_key_expiry_seconds", key="bb01020304050607") == 12.5


def test_the_version_and_the_process_are_shown() -> None:
    """Nobody could see from the figures which version runs, or that it leaks memory."""
    found = scraped(metrics_of())

    (labels,) = [dict(labels) for name, labels in found if name == "gateway_build_info"]
    assert labels["version"] == __version__
    assert ("python_gc_collections_total", frozenset({("generation", "0")})) in found


def test_labels_are_closed_sets() -> None:
    """A client that invents names could make us, and Prometheus, hold a series for each."""
    metrics = metrics_of("eu")
    before = set(scraped(metrics))

    for reason in Reason:
        metrics.refused(reason, 1.0)
    metrics.allowed(1.0)
    metrics.upstream("eu", 1.0)
    metrics.heard(1.0)

    assert set(scraped(metrics)) == before
