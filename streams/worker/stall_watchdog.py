"""The stall watchdog: ends the service if its consumer makes no progress.

A worker whose agent has died keeps running, so progress is measured by what Kafka has committed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from miningmap.dependencies import Dependency
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from miningmap.kafka.lag import Lag
    from miningmap.settings import Settings
    from streams.metrics import Metrics

PERIOD_S: Final = 5.0
LATE_S: Final = 30.0
"""How long messages may wait while none is committed before the service is not ready."""
TOPICS: Final = (REPORTS, NETWORK, DEAD_LETTERS)
"""The topics that the consumer reads."""

_log = structlog.get_logger(__name__)


class StalledError(Exception):
    """Messages are waiting, but none was committed for too long."""


class StallDetector:
    """Detects partitions in which messages are waiting but none is committed."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: dict[tuple[str, int], tuple[int, float]] = {}
        self._replayed = 0

    def forget(self) -> None:
        """Begin anew, as if every partition had just made progress."""
        self._since.clear()

    def check(self, lag: Lag, at: float, replayed: int = 0) -> str | None:
        """Compare the lag with earlier ones, and describe a wait of over :data:`LATE_S`.

        Args:
            lag: of each partition.
            at: the time in seconds of a monotonic clock.
            replayed: how many messages were processed again so far because Redis had lost them.
                Meanwhile nothing is committed, and that is progress too.

        Raises:
            StalledError: messages are waiting in a partition, and none was committed in the limit.
        """
        if replayed != self._replayed:
            self._replayed = replayed
            self._since.clear()
        late: str | None = None
        for topic_partition, progress in lag.items():
            committed, since = self._since.get(topic_partition, (-1, at))
            if progress.lag <= 0 or progress.committed != committed:
                self._since[topic_partition] = (progress.committed, at)
            elif at - since > min(LATE_S, self._limit_s):
                topic, partition = topic_partition
                late = (
                    f"{progress.lag} messages are waiting in {topic}/{partition} and none was "
                    f"committed for {at - since:.0f} s"
                )
                if at - since > self._limit_s:
                    raise StalledError(late)
        return late


async def watch(
    settings: Settings,
    metrics: Metrics,
    consumer: Dependency | None = None,
    *,
    replayed: Callable[[], int] = lambda: 0,
    waits: Callable[[], bool] = lambda: False,
) -> NoReturn:
    """Update the lag metric until the consumer stalls.

    Args:
        settings: how to reach the broker, and how long none may be committed.
        metrics: where the lag is shown.
        consumer: shows whether the consumer makes progress.
        replayed: returns how many messages were processed again because Redis had lost them.
        waits: whether the consumer waits for another server, such as a Redis that is full. Then it
            is not stalled, however long that takes, and another process would wait as well.

    Raises:
        StalledError: the consumer has stalled; the process should end and be started again.
    """
    detector = StallDetector(settings.streams.stalled_s)
    consumer = consumer or Dependency("consumer")
    while True:
        try:
            async with lag_of(settings.kafka, settings.kafka.group, TOPICS) as read_lag:
                while True:
                    with metrics.kafka_durations.labels("lag").time():
                        lag = await read_lag()
                    if consumer.found():
                        _log.info("consumer_lag_available")
                    if waits():
                        detector.forget()
                    consumer.reason = _check(lag, detector, metrics, replayed())
                    await asyncio.sleep(PERIOD_S)
        except BrokerError as error:
            metrics.lag.clear()  # what is unknown is absent
            if consumer.lost(f"the consumer's progress is unknown: {error}"):
                _log.warning("consumer_lag_unavailable", error=str(error))
            await asyncio.sleep(PERIOD_S)


def _check(lag: Lag, detector: StallDetector, metrics: Metrics, replayed: int) -> str | None:
    for (topic, partition), progress in lag.items():
        metrics.lag.labels(topic, str(partition)).set(progress.lag)
    try:
        return detector.check(lag, asyncio.get_running_loop().time(), replayed)
    except StalledError as error:
        _log.error("stall_detected", error=str(error))
        raise
