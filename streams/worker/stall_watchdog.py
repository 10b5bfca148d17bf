"""The stall watchdog: ends the service if its consumer makes no progress.

A worker whose agent or whose thread has died keeps running, so progress is measured by what Kafka
has committed. A consumer that waits for Redis or Kafka is not stalled: it goes on by itself. Nor is
one that is slow, and has not got to a partition yet: a restart would only cost it time.
:mod:`miningmap.loop_watchdog` watches the event loop in which this one runs.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from miningmap.dependencies import Dependency
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.loop_watchdog import end_soon
from miningmap.tasks import raise_if_cancelled
from streams.worker.attempts import Attempts
from streams.worker.messages import TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from miningmap.kafka.lag import Lag
    from miningmap.settings import Settings
    from streams.metrics import Metrics

PERIOD_S: Final = 5.0
RETRY_S: Final = 0.5
"""How long after an error Kafka is asked again: a new one has no coordinator for a moment."""
HUNG_S: Final = 60.0
"""How long Kafka may be asked for the lag without an answer or an error, in seconds."""
LATE_S: Final = 30.0
"""How long messages may wait while none is committed before the service is not ready."""

_log = structlog.get_logger(__name__)


class StalledError(Exception):
    """Messages are waiting, but none was committed for too long."""


class StallDetector:
    """Detects that messages are waiting, that none is committed, and that nothing else is done."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: dict[tuple[str, int], tuple[int, float]] = {}
        self._replayed = 0
        self._processed = 0
        self._processed_at = self._committed_at = -math.inf
        # Of each partition that had a backlog: what was committed.
        self._backlog: dict[tuple[str, int], int] = {}

    def check(
        self,
        lag: Lag,
        at: float,
        excuse: str | None = None,
        *,
        replayed: int = 0,
        processed: int = 0,
        own: Collection[tuple[str, int]] = (),
    ) -> str | None:
        """Compare the lag with earlier ones, and describe a wait of over :data:`LATE_S`.

        Args:
            lag: of each partition.
            at: the time in seconds of a monotonic clock.
            excuse: the server that the consumer waits for, if there is one. A restart would mend
                nothing, so the time begins anew when there is none any more.
            replayed: how many messages were processed again so far because Redis had lost them.
                Meanwhile nothing is committed, and that is progress too.
            processed: how many messages this process has processed so far.
            own: the partitions that this process reads. Without any it may have failed to become a
                member of the group, and is to blame for all.

        Raises:
            StalledError: messages are waiting in a partition of this process, none was committed
                in the limit, and it has not worked through another partition in that time.
        """
        is_working = self._is_working(lag, at, processed)
        if replayed != self._replayed:
            self._replayed = replayed
            self._since.clear()
        late: str | None = None
        for topic_partition, progress in lag.items():
            committed, since = self._since.get(topic_partition, (-1, at))
            if excuse or progress.lag <= 0 or progress.committed != committed:
                self._since[topic_partition] = (progress.committed, at)
            elif at - since > min(LATE_S, self._limit_s):
                topic, partition = topic_partition
                late = (
                    f"{progress.lag} messages are waiting in {topic}/{partition} and none was "
                    f"committed for {at - since:.0f} s"
                )
                is_own = not own or topic_partition in own
                if is_own and at - since > self._limit_s and not is_working:
                    raise StalledError(late)
        return late

    def _is_working(self, lag: Lag, at: float, processed: int) -> bool:
        """Return whether this process gets through a backlog.

        What is committed can be the work of other processes, and what is processed can lack its
        commit, so it takes both.
        """
        if processed != self._processed:
            self._processed, self._processed_at = processed, at
        if any(each in lag and lag[each].committed != n for each, n in self._backlog.items()):
            self._committed_at = at
        self._backlog = {each: now.committed for each, now in lag.items() if now.lag > 0}
        return at - min(self._processed_at, self._committed_at) <= self._limit_s


class Watchdog:
    """Watches the consumer of one process."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        consumer: Dependency | None = None,
        *,
        servers: Sequence[Dependency] = (),
        attempts: Attempts | None = None,
        replayed: Callable[[], int] = lambda: 0,
        own: Callable[[], Collection[tuple[str, int]]] = tuple,
    ) -> None:
        """Prepare a watchdog.

        Args:
            settings: how to reach the broker, and how long none may be committed.
            metrics: where the lag is shown, and messages are counted.
            consumer: shows whether the consumer makes progress.
            servers: that the consumer needs. While one of them is unavailable it is not stalled.
            attempts: of the consumer, which can fail although the server answers others.
            replayed: returns how many messages were processed again because Redis had lost them.
            own: returns the partitions that the consumer reads.
        """
        self._kafka = settings.kafka
        self._limit_s = settings.streams.stalled_s
        self._metrics = metrics
        self._consumer = consumer or Dependency("consumer")
        self._servers = servers
        self._attempts = attempts or Attempts()
        self._replayed = replayed
        self._own = own
        self._detector = StallDetector(self._limit_s)
        self._answered_at = 0.0

    async def run(self) -> NoReturn:
        """Update the lag metric until the consumer stalls.

        Raises:
            StalledError: the consumer has stalled; the process should end and be started again.
        """
        try:
            await self._run()
        except StalledError as error:
            _log.error("stall_detected", error=str(error))
            end_soon()  # what has stalled may not let itself be stopped
            raise

    async def _run(self) -> NoReturn:
        """Read the lag in a task of its own, and begin anew if that hangs.

        aiokafka's clients can hang while they connect and while they close, and then they do not
        let themselves be cancelled either.
        """
        clock = asyncio.get_running_loop().time
        self._answered_at = started_at = heard_at = clock()
        reading = asyncio.create_task(self._keep_reading())
        try:
            while True:
                await asyncio.wait({reading}, timeout=PERIOD_S)
                if reading.done():
                    reading.result()  # raises
                heard_at = max(heard_at, self._answered_at)
                if self._excuse():
                    heard_at = started_at = clock()
                silent_s = clock() - heard_at
                if silent_s > min(LATE_S, self._limit_s):
                    self._unknown(f"no answer for {silent_s:.0f} s")
                if silent_s > self._limit_s:
                    raise StalledError(f"the consumer's progress is unknown for {silent_s:.0f} s")
                if clock() - max(started_at, self._answered_at) > min(HUNG_S, self._limit_s / 2):
                    reading.cancel()  # and left alone
                    started_at = clock()
                    reading = asyncio.create_task(self._keep_reading())
        finally:
            reading.cancel()

    async def _keep_reading(self) -> NoReturn:
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with lag_of(self._kafka, self._kafka.group, TOPICS) as read_lag:
                    while True:
                        with self._metrics.kafka_durations.labels("lag").time():
                            lag = await read_lag()
                        self._answered_at = clock()
                        if self._consumer.found():
                            _log.info("consumer_lag_available")
                        self._consumer.reason = self._check(lag)
                        await asyncio.sleep(PERIOD_S)
            except BrokerError as error:
                self._answered_at = clock()
                self._unknown(str(error))
                await asyncio.sleep(min(RETRY_S, PERIOD_S))
            raise_if_cancelled()

    def _unknown(self, error: str) -> None:
        self._metrics.lag.clear()  # what is unknown is absent
        if self._consumer.lost(f"the consumer's progress is unknown: {error}"):
            _log.warning("consumer_lag_unavailable", error=error)

    def _check(self, lag: Lag) -> str | None:
        for (topic, partition), progress in lag.items():
            self._metrics.lag.labels(topic, str(partition)).set(progress.lag)
        at = asyncio.get_running_loop().time()
        return self._detector.check(
            lag,
            at,
            self._excuse(),
            replayed=self._replayed(),
            processed=self._metrics.processed(),
            own=self._own(),
        )

    def _excuse(self) -> str | None:
        """Return which server the consumer waits for, if there is one."""
        reasons = (server.reason for server in self._servers)
        return next((reason for reason in reasons if reason), None) or self._attempts.reason()
