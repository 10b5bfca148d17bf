"""A batch of raw messages to cells and dead letters. Free of Faust: any loop can call it.

The order is: cells acknowledged by Redis, dead letters acknowledged by Kafka, then the caller
commits. So whatever is interrupted is done again, which changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import stamina
import structlog
from redis import RedisError

from miningmap.kafka.dead_letters import DeadLetter, record_of
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import DEAD_LETTERS
from miningmap.messages import InvalidMessageError, Message, decode
from streams.method.cells import TooLateError, claims_of
from streams.redis.store import horizon
from streams.worker.rejections import note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from miningmap.api.models import Refusal
    from miningmap.kafka.producer import Record
    from miningmap.settings import Retention
    from streams.method.cells import Claim, Horizon
    from streams.metrics import Metrics
    from streams.redis.store import Store

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RawMessage:
    """A message as it came from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Sorted:
    """A batch, told apart."""

    good: list[tuple[Message, Sequence[Claim]]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    refused: dict[str, Refusal] = field(default_factory=dict)
    """The newest dead letter of each pool, of those that came as such."""


def sort(batch: Sequence[RawMessage], kept: Horizon, at: datetime) -> Sorted:
    """Tell what can be used from what cannot. Pure; no message stops another."""
    result = Sorted()
    for raw in batch:
        if raw.topic == DEAD_LETTERS:
            note(raw.key, raw.headers, result.refused)
            continue
        try:
            message = decode(raw.value or b"")
            result.good.append((message, claims_of(message, kept)))
        except InvalidMessageError as error:
            result.dead.append(_dead(raw, error.reason, str(error), at))
        except TooLateError as error:
            result.dead.append(_dead(raw, "too_late", str(error), at))
        except Exception as error:  # noqa: BLE001 - our own fault must not stop the stream either
            _log.exception("message failed", topic=raw.topic, offset=raw.offset)
            result.dead.append(_dead(raw, "failed", repr(error), at))
    return result


def _dead(raw: RawMessage, reason: str, error: str, at: datetime) -> DeadLetter:
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


def _passing(error: Exception) -> bool:
    return isinstance(error, BrokerError) and error.retriable


class Processor:
    """Writes batches, and waits for Redis and Kafka for as long as they are away."""

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Sequence[Record]], Awaitable[None]],
        retention: Retention,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._retention = retention
        self._metrics = metrics
        self._now = now
        self._lost = False

    async def process(self, batch: Sequence[RawMessage]) -> None:
        """Return when everything in the batch is a cell or a dead letter, for good."""
        now = self._now()
        result = sort(batch, horizon(self._retention, now), now)
        await self._write(result)
        await self._bury(result.dead)

    async def _write(self, result: Sorted) -> None:
        async for attempt in stamina.retry_context(on=RedisError, attempts=None, timeout=None):
            with attempt:
                try:
                    await self._store.write(result.good)
                    await self._store.note_refused(result.refused)
                except RedisError as error:
                    self._say_lost(error)
                    raise
        self._say_back()
        now = self._now()
        for message, _ in result.good:
            self._metrics.report_age.observe(max(0.0, (now - message.end).total_seconds()))

    async def _bury(self, dead: Sequence[DeadLetter]) -> None:
        if not dead:
            return
        records = list(map(record_of, dead))
        async for attempt in stamina.retry_context(on=_passing, attempts=None, timeout=None):
            with attempt:
                await self._deliver(records)
        for letter in dead:
            self._metrics.dead_letters.labels(letter.reason).inc()
        last = dead[-1]
        _log.warning("dead letters", count=len(dead), reason=last.reason, error=last.error)

    def _say_lost(self, error: RedisError) -> None:
        if not self._lost:
            self._lost = True
            _log.warning("redis lost", error=str(error))

    def _say_back(self) -> None:
        if self._lost:
            self._lost = False
            _log.info("redis back")
