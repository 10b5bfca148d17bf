"""The Prometheus metrics of the streams service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from miningmap import __version__

# From a polled report, which is written at once, to a partner's report about a whole month.
_AGES_S = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 86_400, 31 * 86_400)
_SNAPSHOT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # The switch is global to the process, and the library has no annotation for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.dead_letters = Counter(
            "miningmap_dead_letters_total",
            "Messages that were published as dead letters, by reason.",
            ["reason"],
            registry=registry,
        )
        self.report_age = Histogram(
            "miningmap_report_age_seconds",
            "Time from the end of a report until its cells are in Redis, in seconds.",
            buckets=_AGES_S,
            registry=registry,
        )
        self.lag = Gauge(
            "miningmap_consumer_lag",
            "Messages in Kafka that the consumer group has not committed yet.",
            ["topic", "partition"],
            registry=registry,
        )
        self.snapshot_duration = Histogram(
            "miningmap_snapshot_duration_seconds",
            "Time that a snapshot of all windows takes, in seconds.",
            buckets=_SNAPSHOT_S,
            registry=registry,
        )
        build_info = Gauge(
            "miningmap_build_info",
            "The running version, as a label; the value is always 1.",
            ["version"],
            registry=registry,
        )
        build_info.labels(__version__).set(1)
