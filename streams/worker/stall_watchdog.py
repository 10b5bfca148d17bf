"""The stall watchdog: ends the service if its consumer makes no progress.

A worker whose agent has died keeps running, so progress is measured by what Kafka has committed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS

if TYPE_CHECKING:
    from miningmap.kafka.lag import Lag
    from miningmap.settings import Settings
    from streams.metrics import Metrics

PERIOD_S: Final = 5.0
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

    def check(self, lag: Lag, at: float) -> None:
        """Compare the lag with earlier ones; ``at`` is the time in seconds of a monotonic clock.

        Raises:
            StalledError: messages are waiting in a partition, and none was committed in the limit.
        """
        for topic_partition, progress in lag.items():
            committed, since = self._since.get(topic_partition, (-1, at))
            if progress.lag <= 0 or progress.committed != committed:
                self._since[topic_partition] = (progress.committed, at)
            elif at - since > self._limit_s:
                topic, partition = topic_partition
                raise StalledError(
                    f"{progress.lag} messages are waiting in {topic}/{partition} and none was "
                    f"committed for {at - since:.0f} s"
                )


async def watch(settings: Settings, metrics: Metrics) -> None:
    """Update the lag metric until the consumer stalls.

    Raises:
        StalledError: the consumer has stalled; the process should end and be started again.
    """
    detector = StallDetector(settings.streams.stalled_s)
    unavailable = False
    while True:
        try:
            async with lag_of(
                settings.kafka.bootstrap_servers, settings.kafka.group, TOPICS
            ) as read_lag:
                while True:
                    lag = await read_lag()
                    if unavailable:
                        unavailable = False
                        _log.info("consumer_lag_available")
                    _check(lag, detector, metrics)
                    await asyncio.sleep(PERIOD_S)
        except BrokerError as error:
            if not unavailable:
                unavailable = True
                _log.warning("consumer_lag_unavailable", error=str(error))
            await asyncio.sleep(PERIOD_S)


def _check(lag: Lag, detector: StallDetector, metrics: Metrics) -> None:
    for (topic, partition), progress in lag.items():
        metrics.lag.labels(topic, str(partition)).set(progress.lag)
    try:
        detector.check(lag, asyncio.get_running_loop().time())
    except StalledError as error:
        _log.error("stall_detected", error=str(error))
        raise
