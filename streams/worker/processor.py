"""The processor: turns a batch of raw messages into cells and dead letters, without Faust.

First Redis acknowledges the cells, then Kafka acknowledges the dead letters, then the caller
commits. A batch that is interrupted is processed again, which changes no cell.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import stamina
import structlog
from redis import RedisError

from miningmap.dependencies import Dependency
from miningmap.kafka.dead_letters import DeadLetter, record_of
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import DEAD_LETTERS
from miningmap.messages import InvalidMessageError, Message, decode
from miningmap.plausibility import rejected
from miningmap.redis_client import record_answer, record_loss
from miningmap.retention import TooLateError, horizon
from miningmap.times import DAY_S, bucket_start
from streams.method.cells import claims_of
from streams.metrics import FAILED
from streams.worker.rejections import add_rejection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from miningmap.api.models import Refusal
    from miningmap.kafka.producer import Record
    from miningmap.retention import Horizon
    from miningmap.settings import Retention
    from streams.method.cells import Claim
    from streams.metrics import Metrics
    from streams.redis.store import Store, Written

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RawMessage:
    """A message as it was read from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class DecodedBatch:
    """A batch, split into claims, new dead letters and consumed dead letters.

    Attributes:
        claimed: the valid messages, with their claims.
        raw: the valid messages as they were read.
        dead_letters: the messages that cannot be used, with the reason.
        rejected: the newest rejected reading of each pool, from the consumed dead letters.
    """

    claimed: list[tuple[Message, Sequence[Claim]]] = field(default_factory=list)
    raw: list[RawMessage] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    rejected: dict[str, Refusal] = field(default_factory=dict)


def decode_batch(batch: Sequence[RawMessage], kept: Horizon, at: datetime) -> DecodedBatch:
    """Decode and validate a batch; a bad message never affects another one.

    Args:
        batch: the messages in the order in which they were read.
        kept: the oldest cells that are still kept.
        at: the clock, UTC: what ends later is from the future. Also the time of new dead letters.
    """
    result = DecodedBatch()
    for raw in batch:
        if raw.topic == DEAD_LETTERS:
            add_rejection(raw.key, raw.headers, result.rejected)
            continue
        try:
            message = decode(raw.value or b"")
            if rejection := rejected(message, at):
                result.dead_letters.append(_dead_letter(raw, *rejection, at))
            else:
                result.claimed.append((message, claims_of(message, kept)))
                result.raw.append(raw)
        except InvalidMessageError as error:
            result.dead_letters.append(_dead_letter(raw, error.reason, str(error), at))
        except TooLateError as error:
            result.dead_letters.append(_dead_letter(raw, "too_late", str(error), at))
        except Exception as error:  # noqa: BLE001 - a bug must not stop all processing
            _log.exception("message_failed", topic=raw.topic, offset=raw.offset)
            result.dead_letters.append(_dead_letter(raw, FAILED, repr(error), at))
    return result


def _dead_letter(raw: RawMessage, reason: str, error: str, at: datetime) -> DeadLetter:
    return DeadLetter(
        key=raw.key,
        value=raw.value or b"",
        reason=reason,
        error=error,
        at=at,
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
    )


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
        store: Store,
        deliver: Callable[[Sequence[Record]], Awaitable[None]],
        retention: Retention,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        redis: Dependency | None = None,
    ) -> None:
        self._redis = redis or Dependency("redis")
        self._store = store
        self._deliver = deliver
        self._retention = retention
        self._metrics = metrics
        self._now = now

    async def process(self, batch: Sequence[RawMessage]) -> None:
        """Write a batch; return when each message is stored in cells or as a dead letter.

        Raises:
            BrokerError: Kafka rejected a dead letter permanently.
        """
        now = self._now()
        with self._metrics.batch_duration.time():
            decoded = decode_batch(batch, horizon(self._retention, now), now)
            written = await self._write(decoded)
            late = [
                _dead_letter(decoded.raw[number], "too_late", _late_days(days), now)
                for number, days in sorted(written.too_late.items())
            ]
            dead_letters = [*decoded.dead_letters, *late]
            await self._publish(dead_letters)
        self._count(batch, dead_letters)

    def _count(self, batch: Sequence[RawMessage], dead_letters: Sequence[DeadLetter]) -> None:
        self._metrics.batch_size.observe(len(batch))
        dead = Counter(letter.topic for letter in dead_letters)
        for topic, number in Counter(raw.topic for raw in batch).items():
            used = "read" if topic == DEAD_LETTERS else "stored"
            self._metrics.messages.labels(topic, used).inc(number - dead[topic])
            self._metrics.messages.labels(topic, "dead_letter").inc(dead[topic])

    async def _write(self, decoded: DecodedBatch) -> Written:
        async for attempt in stamina.retry_context(on=RedisError, attempts=None, timeout=None):
            with attempt:
                try:
                    written = await self._store.write(decoded.claimed)
                    await self._store.write_rejections(decoded.rejected)
                except RedisError as error:
                    record_loss(self._redis, error)
                    raise
        if decoded.claimed or decoded.rejected:  # else nothing was sent to Redis
            record_answer(self._redis)
        now = self._now()
        for message, _ in decoded.claimed:
            self._metrics.report_age.observe(max(0.0, (now - message.end).total_seconds()))
        return written

    async def _publish(self, dead_letters: Sequence[DeadLetter]) -> None:
        if not dead_letters:
            return
        records = list(map(record_of, dead_letters))
        async for attempt in stamina.retry_context(on=_is_temporary, attempts=None, timeout=None):
            with attempt:
                await self._deliver(records)
        for letter in dead_letters:
            self._metrics.dead_letters.labels(letter.reason).inc()
        last = dead_letters[-1]
        _log.warning(
            "dead_letters_published",
            count=len(dead_letters),
            reason=last.reason,
            error=last.error,
        )
