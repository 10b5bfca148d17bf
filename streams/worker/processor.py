"""The processor: turns a batch of raw messages into cells and dead letters.

First Redis acknowledges the cells, then Kafka acknowledges the dead letters, then the caller
commits. A batch that is interrupted is processed again, which changes no cell.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import stamina
import structlog
from redis import RedisError

from miningmap.dependencies import Dependency
from miningmap.kafka.dead_letters import record_of
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import DEAD_LETTERS
from miningmap.plausibility import TOO_LARGE
from miningmap.precedence import Precedence
from miningmap.redis_client import record_answer, record_loss
from miningmap.redis_errors import cause_of
from miningmap.times import DAY_S, bucket_start
from streams.metrics import OVER_QUOTA
from streams.worker.attempts import Attempts
from streams.worker.batches import decoded
from streams.worker.messages import dead_letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from miningmap.kafka.dead_letters import DeadLetter
    from miningmap.kafka.producer import Record
    from miningmap.settings import Retention
    from streams.metrics import Metrics
    from streams.redis.cell_writer import CellWriter
    from streams.redis.generations import Partition, Range
    from streams.redis.written import Written
    from streams.worker.batches import Batch
    from streams.worker.messages import RawMessage
    from streams.worker.rewinder import Rewinder

_log = structlog.get_logger(__name__)


def _late_days(days: Sequence[int]) -> str:
    first = bucket_start(min(days), DAY_S)
    more = f" and {len(days) - 1} more days" if len(days) > 1 else ""
    return (
        f"hours of {first:%Y-%m-%d}{more} are not kept; a part of them had a report that this one "
        "does not outrank"
    )


def _is_temporary(error: Exception) -> bool:
    return isinstance(error, BrokerError) and error.retriable


class Processor:
    """Writes batches, and retries for as long as Redis or Kafka is unavailable."""

    def __init__(
        self,
        store: CellWriter,
        deliver: Callable[[Sequence[Record]], Awaitable[None]],
        retention: Retention,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        redis: Dependency | None = None,
        rewinder: Rewinder | None = None,
        attempts: Attempts | None = None,
        precedence: Precedence | None = None,
    ) -> None:
        """Prepare a processor.

        Args:
            store: the cells.
            deliver: publishes records, and returns when Kafka has acknowledged them.
            retention: how long cells are kept.
            metrics: where messages are counted.
            now: the clock, UTC.
            redis: shows whether Redis is available.
            rewinder: applies what Redis has lost; without it, nobody asks whether it has.
            attempts: shows whether a batch waits for a server.
            precedence: of what goes before decoding; without it, nothing does.
        """
        self._rewinder = rewinder
        self._attempts = attempts or Attempts()
        self._precedence = precedence or Precedence()
        self._redis = redis or Dependency("redis")
        self._store = store
        self._deliver = deliver
        self._retention = retention
        self._metrics = metrics
        self._now = now

    async def decode(self, raw: Sequence[RawMessage], ranges: Mapping[Partition, Range]) -> Batch:
        """Decode messages, which have these offsets of their partitions."""
        return await decoded(raw, ranges, self._retention, self._now(), self._precedence)

    async def write(self, batch: Batch) -> None:
        """Write a batch; return when each message is stored in cells or as a dead letter.

        Raises:
            BrokerError: Kafka rejected a dead letter permanently.
        """
        now = self._now()
        with self._metrics.batch_duration.time():
            written = await self._write(batch)
            raw = batch.decoded.raw
            late = {number: _late_days(days) for number, days in written.too_late.items()}
            refused = (
                ("too_late", late),
                (TOO_LARGE, written.too_large),
                (OVER_QUOTA, written.over_quota),
            )
            dead_letters = batch.decoded.dead_letters + [
                dead_letter(raw[number], reason, error, now)
                for reason, errors in refused
                for number, error in sorted(errors.items())
            ]
            await self._publish(dead_letters)
        self._count(batch.raw, dead_letters, [raw[number].topic for number in written.damaged])

    def _count(
        self,
        raw: Sequence[RawMessage],
        dead_letters: Sequence[DeadLetter],
        damaged_topics: Sequence[str],
    ) -> None:
        self._metrics.batch_size.observe(len(raw))
        dead = Counter(letter.topic for letter in dead_letters)
        damaged = Counter(damaged_topics)
        for topic, number in Counter(each.topic for each in raw).items():
            used = "read" if topic == DEAD_LETTERS else "stored"
            self._metrics.messages.labels(topic, used).inc(number - dead[topic] - damaged[topic])
            self._metrics.messages.labels(topic, "dead_letter").inc(dead[topic])
            if damaged[topic]:
                self._metrics.messages.labels(topic, "damaged").inc(damaged[topic])

    async def _write(self, batch: Batch) -> Written:
        async for attempt in stamina.retry_context(on=RedisError, attempts=None, timeout=None):
            with attempt:
                try:
                    written = await self._write_once(batch)
                except RedisError as error:
                    self._attempts.failed(error)
                    record_loss(self._redis, error)
                    if cause_of(error) == "read_only":
                        await self._store.reconnect()
                    raise
        record_answer(self._redis)
        now = self._now()
        self._metrics.report_ages.observe_all(
            max(0.0, (now - message.end).total_seconds()) for message, _ in batch.decoded.claimed
        )
        return written

    async def _write_once(self, batch: Batch) -> Written:
        """Write a batch; if Redis lacks messages before it, apply them and write it again."""
        claimed, rejected, applied = batch.decoded.claimed, batch.decoded.rejected, batch.applied
        while True:
            if self._rewinder is None:
                return await self._store.write(claimed, rejected=rejected)
            written = await self._store.write(claimed, applied, rejected=rejected)
            if not written.not_advanced:
                self._rewinder.expect(applied.ranges)
                return written
            await self._rewinder.catch_up({each: r.first for each, r in applied.ranges.items()})

    async def _publish(self, dead_letters: Sequence[DeadLetter]) -> None:
        if not dead_letters:
            return
        records = list(map(record_of, dead_letters))
        async for attempt in stamina.retry_context(on=_is_temporary, attempts=None, timeout=None):
            with attempt:
                try:
                    await self._deliver(records)
                except BrokerError as error:
                    self._attempts.failed(error)
                    raise
        for letter in dead_letters:
            self._metrics.dead_letters.labels(letter.reason).inc()
        last = dead_letters[-1]
        _log.warning(
            "dead_letters_published",
            count=len(dead_letters),
            reason=last.reason,
            error=last.error,
        )
