"""The collector's Prometheus metrics (docs/contract: base units, no labels without a bound)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from miningmap import __version__
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.messages import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.outbox import Outgoing

# From a cached answer next door to the time limit of a request (20 s).
_DURATIONS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


class Metrics:
    """All metrics of one collector, in one registry; nothing is global."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # The library's one switch for the process: a second series per counter helps nobody.
        # (The library forgot its annotation.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.pool_up = Gauge(
            "miningmap_pool_up",
            "1 if the source gave a figure for the pool when last asked, else 0. The pool is "
            "'bitcoin' for a network source, empty for a source of many that never answered.",
            ["pool", "source"],
            registry=registry,
        )
        self.requests = Counter(
            "miningmap_source_requests_total",
            "HTTP requests sent to a source.",
            ["source"],
            registry=registry,
        )
        self.failures = Counter(
            "miningmap_source_request_failures_total",
            "Requests, and answers, that gave no usable figure.",
            ["source", "reason"],
            registry=registry,
        )
        self.host_open = Gauge(
            "miningmap_source_host_open",
            "1 while a host of sources is left alone because it failed again and again, else 0.",
            ["host"],
            registry=registry,
        )
        self.duration = Histogram(
            "miningmap_source_request_duration_seconds",
            "From sending a request to the last byte of its answer.",
            ["source"],
            buckets=_DURATIONS_S,
            registry=registry,
        )
        self.reports = Counter(
            "miningmap_reports_total",
            "Reports that the broker acknowledged.",
            ["pool"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "miningmap_dead_letters_total",
            "Readings that may not be believed, by reason.",
            ["reason"],
            registry=registry,
        )
        self.intake_requests = Counter(
            "miningmap_intake_requests_total",
            "Requests with a partner's token, by the status of the answer.",
            ["partner", "status"],
            registry=registry,
        )
        self.intake_rows = Counter(
            "miningmap_intake_rows_total",
            "Rows that partners sent, by what became of them.",
            ["partner", "result"],
            registry=registry,
        )
        build_info = Gauge(
            "miningmap_build_info", "The running version; always 1.", ["version"], registry=registry
        )
        build_info.labels(__version__).set(1)

    def count(self, acknowledged: Sequence[Outgoing]) -> None:
        """Count the reports and dead letters among what the broker has acknowledged."""
        for outgoing in acknowledged:
            if isinstance(outgoing, Report):
                self.reports.labels(outgoing.pool).inc()
            elif isinstance(outgoing, DeadLetter):
                self.dead_letters.labels(outgoing.reason).inc()
