"""The streams' Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from miningmap import __version__

# From a poll that is written at once to a partner's month.
_AGES_S = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 86_400, 31 * 86_400)
_SNAPSHOT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics of one streams process, in one registry; nothing is global."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # The library's one switch for the process; it forgot its annotation.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.dead_letters = Counter(
            "miningmap_dead_letters_total",
            "Messages that could not be used, by reason.",
            ["reason"],
            registry=registry,
        )
        self.report_age = Histogram(
            "miningmap_report_age_seconds",
            "From the end of a report to its cells being written.",
            buckets=_AGES_S,
            registry=registry,
        )
        self.lag = Gauge(
            "miningmap_consumer_lag",
            "Messages in Kafka that are not processed yet, by Kafka's own count.",
            ["topic", "partition"],
            registry=registry,
        )
        self.snapshot_duration = Histogram(
            "miningmap_snapshot_duration_seconds",
            "How long a snapshot of all windows took.",
            buckets=_SNAPSHOT_S,
            registry=registry,
        )
        build_info = Gauge(
            "miningmap_build_info", "The running version; always 1.", ["version"], registry=registry
        )
        build_info.labels(__version__).set(1)
