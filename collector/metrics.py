"""The collector's Prometheus metrics: base units, and labels from bounded sets only.

Sources, hosts and partners are those that the settings and the file of partners name. With some
thousand sources their metrics have many series (:mod:`miningmap.series`): a histogram by source
would have a dozen for each, so the one of how long requests take is of all sources together.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miningmap.http.metrics import HttpMetrics
from miningmap.kafka.topics import DEAD_LETTERS, REPORTS
from miningmap.metrics import kafka_durations, pool_bound, redis_durations
from miningmap.plausibility import FUTURE, IMPLAUSIBLE, TOO_LARGE
from miningmap.series import Counters, Gauges, Series, Summaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.disk import Disk
    from collector.outbox import LossReason, Outbox
    from miningmap.kafka.producer import Record

# From a response of a nearby cache to the time limit of a request, 20 s.
_DURATIONS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


class Metrics:
    """All metrics of one collector, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.http = HttpMetrics(registry)
        self.redis_durations = redis_durations(registry)
        self.kafka_durations = kafka_durations(registry)
        # Sources of many pools name the pools themselves.
        self.pools = pool_bound()
        self.pool_up = Gauges(
            "miningmap_pool_up",
            "1 if the last poll of the source gave an accepted hashrate for the pool, else 0. The "
            "pool is 'bitcoin' for a network source, and empty for a source of many pools that has "
            "not answered yet. If too many pools have an unknown name, 'other' stands for the "
            "rest.",
            ["pool", "source"],
        )
        self.requests = Counters(
            "miningmap_source_requests", "HTTP requests sent to a source.", ["source"]
        )
        self.failures = Counters(
            "miningmap_source_request_failures",
            "Polls and readings that gave no accepted hashrate, by reason.",
            ["source", "reason"],
        )
        self.host_open = Gauges(
            "miningmap_source_host_open",
            "1 while a host is not asked because it failed too often in a row, else 0.",
            ["host"],
        )
        self._duration = Summaries(
            "miningmap_source_request_duration_seconds",
            "Time from sending a request to the last byte of the response, by source.",
            ["source"],
        )
        self._durations = Histogram(
            "miningmap_poll_request_duration_seconds",
            "Time from sending a request to the last byte of the response, of all sources "
            "together.",
            buckets=_DURATIONS_S,
            registry=registry,
        )
        self.reports = Counters(
            "miningmap_reports",
            "Reports that Kafka acknowledged, by pool; 'other' as in miningmap_pool_up.",
            ["pool"],
        )
        self.series: Final[Sequence[Series]] = (
            self.pool_up,
            self.requests,
            self.failures,
            self.host_open,
            self._duration,
            self.reports,
        )
        """What is not in the registry, because it has many series."""
        self.dead_letters = Counter(
            "miningmap_dead_letters_total",
            "Rejected readings that Kafka acknowledged as dead letters, by reason.",
            ["reason"],
            registry=registry,
        )
        # From 0 on, so that the first one is an increase.
        for reason in (FUTURE, IMPLAUSIBLE, TOO_LARGE):
            self.dead_letters.labels(reason)
        self.polled_lost = Counter(
            "miningmap_outbox_lost_total",
            "Messages of polls that never reach Kafka, by reason: there was no room for them while "
            "Kafka was unavailable (full), or Kafka never accepts them (refused). Those that are "
            "lost when the process ends are in its log.",
            ["reason"],
            registry=registry,
        )
        reasons: tuple[LossReason, ...] = ("full", "refused")
        for loss in reasons:
            self.polled_lost.labels(loss)
        self.outbox_messages = Gauge(
            "miningmap_outbox_messages",
            "Messages of polls that wait in memory until Kafka has acknowledged them.",
            registry=registry,
        )
        self.spool_messages = Gauge(
            "miningmap_spool_messages",
            "Messages of polls on the disk, which Kafka has not acknowledged in time.",
            registry=registry,
        )
        self.spool_bytes = Gauge(
            "miningmap_spool_bytes",
            "Their size, which MININGMAP_COLLECTOR__SPOOL_MB limits.",
            registry=registry,
        )
        self.ledger_complete = Gauge(
            "miningmap_ledger_complete_ratio",
            "Part of the reports in Kafka that is read for the ledger of partners' rows: 1 while "
            "it is complete; until then partners get a 503.",
            registry=registry,
        )
        self.intake_requests = Counter(
            "miningmap_intake_requests_total",
            "Requests with a valid partner token, by status of the response.",
            ["partner", "status"],
            registry=registry,
        )
        self.failed_logins = Counter(
            "miningmap_intake_failed_logins_total",
            "Requests without a valid partner token, by status of the response: 401, or 429 for an "
            "address that sent too many.",
            ["status"],
            registry=registry,
        )
        for status in (401, 429):  # from 0 on, so that the first one is an increase
            self.failed_logins.labels(status)
        self.intake_rows = Counter(
            "miningmap_intake_rows_total",
            "Rows that partners sent, by result: accepted or rejected.",
            ["partner", "result"],
            registry=registry,
        )

    @contextmanager
    def request(self, source: str) -> Iterator[None]:
        """Count and time the request in the block, which may fail."""
        self.requests.add((source,))
        started = perf_counter()
        try:
            yield
        finally:
            took_s = perf_counter() - started
            self._duration.observe((source,), took_s)
            self._durations.observe(took_s)

    def lost(self, reason: LossReason, messages: int) -> None:
        """Count messages of polls that never reach Kafka."""
        self.polled_lost.labels(reason).inc(messages)

    def show_outbox(self, outbox: Outbox, disk: Disk | None) -> None:
        """Show how many messages wait, in memory and on the disk."""
        self.outbox_messages.set_function(lambda: outbox.messages)
        if disk is not None:
            self.spool_messages.set_function(lambda: disk.messages)
            self.spool_bytes.set_function(lambda: disk.size)

    def count(self, acknowledged: Sequence[Record]) -> None:
        """Count the reports and dead letters that Kafka has acknowledged."""
        for record in acknowledged:
            if record.topic == REPORTS:
                self.reports.add((self.pools.label((record.key or b"").decode()),))
            elif record.topic == DEAD_LETTERS:
                self.dead_letters.labels(dict(record.headers)["reason"].decode()).inc()
