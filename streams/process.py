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

from miningmap.kafka import PublishError, Record
from miningmap.messages import InvalidMessageError, Message, decode
from miningmap.times import rfc3339
from miningmap.topics import DEAD_LETTERS
from streams.cells import TooLateError, claims_of
from streams.store import horizon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from miningmap.settings import Retention
    from streams.cells import Claim, Horizon
    from streams.metrics import Metrics
    from streams.store import Store

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RawMessage:
    """A message as it came from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class DeadLetter:
    """A message that cannot be used, and why."""

    raw: RawMessage
    reason: str
    error: str


@dataclass
class Sorted:
    """A batch, told apart."""

    good: list[tuple[Message, Sequence[Claim]]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)


def sort(batch: Sequence[RawMessage], kept: Horizon) -> Sorted:
    """Tell what can be used from what cannot. Pure; no message stops another."""
    result = Sorted()
    for raw in batch:
        try:
            message = decode(raw.value or b"")
            result.good.append((message, claims_of(message, kept)))
        except InvalidMessageError as error:
            result.dead.append(DeadLetter(raw, error.reason, str(error)))
        except TooLateError as error:
            result.dead.append(DeadLetter(raw, "too_late", str(error)))
        except Exception as error:  # noqa: BLE001 - our own fault must not stop the stream either
            _log.exception("message failed", topic=raw.topic, offset=raw.offset)
            result.dead.append(DeadLetter(raw, "failed", repr(error)))
    return result


def dead_letter_record(letter: DeadLetter, at: datetime) -> Record:
    """The bytes as they came, with headers that say whence and why."""
    raw = letter.raw
    headers = {
        "reason": letter.reason,
        "error": letter.error[:1000],
        "topic": raw.topic,
        "partition": str(raw.partition),
        "offset": str(raw.offset),
        "at": rfc3339(at),
    }
    encoded = tuple((name, value.encode()) for name, value in headers.items())
    return Record(DEAD_LETTERS, raw.key, raw.value or b"", encoded)


def _passing(error: Exception) -> bool:
    return isinstance(error, PublishError) and error.again


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
        result = sort(batch, horizon(self._retention, self._now()))
        await self._write(result)
        await self._bury(result.dead)

    async def _write(self, result: Sorted) -> None:
        async for attempt in stamina.retry_context(on=RedisError, attempts=None, timeout=None):
            with attempt:
                try:
                    await self._store.write(result.good)
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
        records = [dead_letter_record(letter, self._now()) for letter in dead]
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
