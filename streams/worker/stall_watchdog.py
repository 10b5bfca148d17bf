"""Is the consumer alive? A worker whose agent died stays up, so Kafka's own count is asked."""

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
READ: Final = (REPORTS, NETWORK, DEAD_LETTERS)
"""What the consumer reads."""

_log = structlog.get_logger(__name__)


class StalledError(Exception):
    """Messages wait, and none was committed for too long."""


class Stall:
    """Notices partitions in which messages wait and nothing is committed."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: dict[tuple[str, int], tuple[int, float]] = {}

    def see(self, lag: Lag, at: float) -> None:
        """Take a look at ``at`` (seconds of any steady clock).

        Raises:
            StalledError: a partition has not moved for the limit although messages wait.
        """
        for where, progress in lag.items():
            committed, since = self._since.get(where, (-1, at))
            if progress.lag <= 0 or progress.committed != committed:
                self._since[where] = (progress.committed, at)
            elif at - since > self._limit_s:
                topic, partition = where
                raise StalledError(
                    f"{progress.lag} messages wait in {topic}/{partition} and none was committed "
                    f"for {at - since:.0f} s"
                )


async def watch(settings: Settings, metrics: Metrics) -> None:
    """Keep the lag metric, until the consumer stalls.

    Raises:
        StalledError: it has; the process should end and be started anew.
    """
    stall = Stall(settings.streams.stalled_s)
    clock = asyncio.get_running_loop().time
    lost = False
    while True:
        try:
            kafka = settings.kafka
            async with lag_of(kafka.bootstrap_servers, kafka.group, READ) as ask:
                while True:
                    lag = await ask()
                    lost = False
                    for (topic, partition), progress in lag.items():
                        metrics.lag.labels(topic, str(partition)).set(progress.lag)
                    stall.see(lag, clock())
                    await asyncio.sleep(PERIOD_S)
        except BrokerError as error:
            if not lost:
                lost = True
                _log.warning("lag unknown", error=str(error))
            await asyncio.sleep(PERIOD_S)
