"""What the metrics of all services share: the registry, bounds for labels, times of round trips.

Every series costs the process, each scrape and Prometheus for as long as it exists. So the values
of a label come from a set that this software or the operator defines. A value that comes from
elsewhere, such as the pool in a message, passes a :class:`Bound` first.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from miningmap import __version__
from miningmap.messages import SLUG
from miningmap.pool_names import is_known_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric

OTHER: Final = "other"
"""The value of a label in place of all values that have no series of their own."""
MOST_POOLS: Final = 200
"""How many pools have series that :mod:`miningmap.pool_names` does not name, such as those of
partners; a map has a few of them."""
MOST_SOURCES: Final = 20
"""How many sources of one pool have series; a pool has a few of them."""

# From a server on this machine to the time after which a command is given up, 10 s.
_REDIS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10)
# Kafka answers after all replicas have a record: never at once, and after 10 s at the latest.
_KAFKA_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)

_SLUG: Final = re.compile(SLUG)


# Without this every counter has a second series, the time of its creation. The switch is for the
# whole process, and the library does not annotate it.
disable_created_metrics()  # type: ignore[no-untyped-call]


def new_registry() -> CollectorRegistry:
    """Return a registry with what every service shows: its version, its process and its Python."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build_info = Gauge(
        "miningmap_build_info",
        "The running version, as a label; the value is always 1.",
        ["version"],
        registry=registry,
    )
    build_info.labels(__version__).set(1)
    return registry


def redis_durations(registry: CollectorRegistry) -> Histogram:
    """Return the histogram for :func:`miningmap.redis_client.connect`."""
    return Histogram(
        "miningmap_redis_request_duration_seconds",
        "Time until Redis has answered a command, or all commands of a pipeline or transaction. "
        "Commands that wait for an event are left out.",
        ["operation"],
        buckets=_REDIS_S,
        registry=registry,
    )


def kafka_durations(registry: CollectorRegistry) -> Histogram:
    """Return the histogram for :class:`miningmap.kafka.producer.Publisher` and for lags."""
    return Histogram(
        "miningmap_kafka_request_duration_seconds",
        "Time until Kafka has answered: acknowledged a batch of records (publish), listed its "
        "topics (topics) or said how far the consumer group is (lag).",
        ["operation"],
        buckets=_KAFKA_S,
        registry=registry,
    )


def consumer_lag(registry: CollectorRegistry) -> Gauge:
    """Return the gauge of how far a consumer group is behind."""
    return Gauge(
        "miningmap_consumer_lag",
        "Messages in Kafka that the consumer group has not committed yet.",
        ["topic", "partition"],
        registry=registry,
    )


class Distribution:
    """How many figures are up to each bound, and the sum of them.

    For what is counted thousands of times a second: the library takes two locks for each figure,
    and compares it with one bound after the other.

    Attributes:
        sum: of all figures.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._numbers = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, figure: float) -> None:
        """Count a figure."""
        self._numbers[bisect_left(self._bounds, figure)] += 1
        self.sum += figure

    def buckets(self) -> list[tuple[str, float]]:
        """Return the bounds, and how many figures are no higher."""
        bounds = map(floatToGoString, (*self._bounds, math.inf))
        return list(zip(bounds, accumulate(self._numbers), strict=True))


class QuickHistogram(Collector):
    """A histogram without labels of a :class:`Distribution`, for one thread."""

    def __init__(
        self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._figures = Distribution(bounds)
        registry.register(self)

    def observe_all(self, figures: Iterable[float]) -> None:
        """Count figures."""
        for figure in figures:
            self._figures.add(figure)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        metric = HistogramMetricFamily(self._name, self._documentation)
        metric.add_metric([], self._figures.buckets(), self._figures.sum)
        yield metric


class Bound:
    """Keeps the number of values of a label within a limit; the values are slugs.

    Args:
        most: how many values are admitted that are not known.
        is_known: whether a value is one of a finite set, all of which are admitted.
    """

    def __init__(self, most: int, is_known: Callable[[str], bool] = lambda _: False) -> None:
        self._most = most
        self._is_known = is_known
        self._known: set[str] = set()
        self._admitted: set[str] = set()

    def know(self, value: str) -> None:
        """Admit a value that the operator or this software defines, whatever the limit is."""
        self._known.add(value)

    def admits(self, value: str) -> bool:
        """Return whether a value may have series of its own.

        What is admitted stays so until the process ends: otherwise series would come and go, and
        there would be no limit over time.
        """
        if value in self._known or value in self._admitted or self._is_known(value):
            return True
        if len(self._admitted) >= self._most or not _SLUG.match(value):
            return False
        self._admitted.add(value)
        return True

    def label(self, value: str) -> str:
        """Return the value if it is admitted, else :data:`OTHER`."""
        return value if self.admits(value) else OTHER


def pool_bound() -> Bound:
    """Return a bound for slugs of pools."""
    return Bound(MOST_POOLS, is_known_pool)


class PoolSeries:
    """Which pools of a snapshot, and which of their sources, have series."""

    def __init__(self) -> None:
        self._pools = pool_bound()
        self._sources: dict[str, Bound] = {}

    def has_pool(self, pool: str) -> bool:
        """Return whether a pool has series."""
        return self._pools.admits(pool)

    def has_source(self, pool: str, source: str) -> bool:
        """Return whether a source of a pool has series."""
        if not self.has_pool(pool):
            return False
        return self._sources.setdefault(pool, Bound(MOST_SOURCES)).admits(source)
