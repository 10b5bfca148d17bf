"""The Prometheus metrics of the streams service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miningmap.http.metrics import HttpMetrics
from miningmap.messages import Reason
from miningmap.metrics import QuickHistogram, consumer_lag, kafka_durations, redis_durations
from miningmap.plausibility import FUTURE, IMPLAUSIBLE, TOO_LARGE
from miningmap.swings import SwingState, SwingSubject

if TYPE_CHECKING:
    from miningmap.redis_errors import Memory

FAILED: Final = "failed"
"""The reason of a dead letter that a fault of this software caused."""
REWIND_REASONS: Final = ("empty", "behind")
OVER_QUOTA: Final = "over_quota"
"""The reason of a dead letter whose pool takes too much of Redis."""
REASONS: Final = (*get_args(Reason), FUTURE, IMPLAUSIBLE, TOO_LARGE, OVER_QUOTA, FAILED)
"""Why a message is a dead letter: all reasons."""

# From a polled report, which is written at once, to a partner's report about a whole month.
_AGES_S = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 86_400, 31 * 86_400)
# In live operation a batch has one message or a few, in a replay as many as the setting allows.
_BATCH_MESSAGES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000)
# From one message to a batch of months of daily reports, or to a Redis that is away.
_BATCH_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)
_SNAPSHOT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.http = HttpMetrics(registry)
        self.redis_durations = redis_durations(registry)
        self.kafka_durations = kafka_durations(registry)
        self.messages = Counter(
            "miningmap_messages_total",
            "Messages from Kafka that were processed, by topic and result: stored (in cells), "
            "dead_letter (it became one), damaged (not stored, because its series is damaged in "
            "Redis), or read (a dead letter, of which the newest of each pool is kept).",
            ["topic", "result"],
            registry=registry,
        )
        self.batch_size = Histogram(
            "miningmap_batch_messages",
            "Messages in a batch, which are written to Redis together.",
            buckets=_BATCH_MESSAGES,
            registry=registry,
        )
        self.batch_duration = Histogram(
            "miningmap_batch_duration_seconds",
            "Time until Redis and Kafka have acknowledged what a decoded batch becomes.",
            buckets=_BATCH_S,
            registry=registry,
        )
        self.dead_letters = Counter(
            "miningmap_dead_letters_total",
            "Messages that were published as dead letters, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:  # from 0 on, so that the first one is an increase
            self.dead_letters.labels(reason)
        self.report_ages = QuickHistogram(
            "miningmap_report_age_seconds",
            "Time from the end of a report until its cells are in Redis, in seconds.",
            _AGES_S,
            registry,
        )
        self.lag = consumer_lag(registry)
        self.rewinds = Counter(
            "miningmap_rewinds_total",
            "How often Redis lacked what had been applied, by reason: empty (it had no cells at "
            "all), or behind (it lacked the newest messages). Kafka is processed again from there.",
            ["reason"],
            registry=registry,
        )
        for reason in REWIND_REASONS:  # from 0 on, as above
            self.rewinds.labels(reason)
        self.rewound = Counter(
            "miningmap_rewound_messages_total",
            "Messages that were processed again because Redis lacked them.",
            registry=registry,
        )
        self.rewind_left = Gauge(
            "miningmap_rewind_remaining_messages",
            "Messages that this process has to process again because Redis lacks them.",
            registry=registry,
        )
        self._memory = Gauge(
            "miningmap_redis_memory_bytes",
            "Memory of Redis that counts towards its limit, in bytes.",
            registry=registry,
        )
        self._memory_limit = Gauge(
            "miningmap_redis_memory_limit_bytes",
            "The limit of Redis' memory (maxmemory), in bytes; 0 if it has none.",
            registry=registry,
        )
        self._evicts = Gauge(
            "miningmap_redis_evicts",
            "1 if Redis would remove cells without a word when its memory limit is reached "
            "(a maxmemory-policy other than noeviction), else 0.",
            registry=registry,
        )
        self.snapshot_duration = Histogram(
            "miningmap_snapshot_duration_seconds",
            "Time that a snapshot of all windows takes, in seconds.",
            buckets=_SNAPSHOT_S,
            registry=registry,
        )
        self.damaged_series = Gauge(
            "miningmap_damaged_series",
            "Series that the last snapshot of this process leaves out because what is stored of "
            "them cannot be read.",
            registry=registry,
        )
        self.swing_duration = Histogram(
            "miningmap_swing_evaluation_duration_seconds",
            "Time that the evaluation of swings in one minute takes, in seconds.",
            buckets=_SNAPSHOT_S,
            registry=registry,
        )
        self.swings = Counter(
            "miningmap_swings_total",
            "Events of swings, by subject (place or pool) and state.",
            ["subject", "state"],
            registry=registry,
        )
        for subject in get_args(SwingSubject):  # from 0 on, as above
            for state in get_args(SwingState):
                self.swings.labels(subject, state)

    def processed(self) -> int:
        """Return how many messages from Kafka this process has processed."""
        samples = (each for family in self.messages.collect() for each in family.samples)
        return int(sum(each.value for each in samples if each.name.endswith("_total")))

    def show_memory(self, memory: Memory) -> None:
        """Show what Redis says of its memory."""
        self._memory.set(memory.used)
        self._memory_limit.set(memory.limit)
        self._evicts.set(memory.evicts)
