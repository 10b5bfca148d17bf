"""The Prometheus metrics of ``miningmap notify``."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miningmap.http.metrics import HttpMetrics
from miningmap.metrics import consumer_lag

Result: TypeAlias = Literal["delivered", "refused", "left_out", "invalid"]
"""What became of an event."""
RESULTS: Final[tuple[Result, ...]] = get_args(Result)
_ANSWER_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.http = HttpMetrics(registry)
        self.notifications = Counter(
            "miningmap_notifications_total",
            "Events of swings by what became of them: delivered, refused, left_out or invalid.",
            ["result"],
            registry=registry,
        )
        for result in RESULTS:
            self.notifications.labels(result)  # each is counted from 0
        self.failures = Counter(
            "miningmap_notification_failures_total",
            "Requests to the webhook that failed, by the status of the answer, or no_answer.",
            ["reason"],
            registry=registry,
        )
        self.duration = Histogram(
            "miningmap_notification_duration_seconds",
            "Time until the webhook has answered a request, in seconds.",
            buckets=_ANSWER_S,
            registry=registry,
        )
        self.waiting = Gauge(
            "miningmap_notification_waiting_seconds",
            "How long the event that is being sent has been tried, in seconds; 0 without one.",
            registry=registry,
        )
        self.lag = consumer_lag(registry)
