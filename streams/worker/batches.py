"""Batches of messages, one of which is decoded while the one before it is written.

New messages, those that Redis has lost and those of a rebuild take the same way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from miningmap.precedence import Precedence
from streams.redis.generations import Range
from streams.worker.messages import DecodedBatch, applied_by, decode_into, raw_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from miningmap.kafka.partitions import PartitionReader
    from miningmap.settings import Retention
    from streams.redis.cell_writer import Applied, CellWriter
    from streams.redis.generations import Partition
    from streams.redis.written import Written
    from streams.worker.messages import RawMessage

T = TypeVar("T")

_AT_ONCE: Final = 50
"""How many messages are decoded before others may use the event loop: a few milliseconds."""


@dataclass(frozen=True)
class Batch:
    """Messages that are written together.

    Attributes:
        raw: as they were read.
        decoded: what they become.
        applied: what is applied once they are written.
    """

    raw: Sequence[RawMessage]
    decoded: DecodedBatch
    applied: Applied


async def decoded(
    raw: Sequence[RawMessage],
    ranges: Mapping[Partition, Range],
    retention: Retention,
    now: datetime,
    precedence: Precedence,
) -> Batch:
    """Decode messages, and let others use the event loop meanwhile.

    Args:
        raw: messages in the order in which they were read.
        ranges: by partition, the offsets that are applied with them.
        retention: how long cells are kept.
        now: the clock, UTC.
        precedence: of what goes before decoding.
    """
    result = DecodedBatch()
    for start in range(0, len(raw), _AT_ONCE):
        decode_into(result, raw[start : start + _AT_ONCE], retention, now)
        await precedence.give_way()
    return Batch(raw, result, applied_by(raw, now, ranges))


async def read_again(
    reader: PartitionReader,
    partition: Partition,
    offsets: Range,
    *,
    limit: int,
    retention: Retention,
    now: Callable[[], datetime],
) -> AsyncIterator[Batch]:
    """Yield the messages of a partition that Kafka still holds, for :func:`write_again`.

    Args:
        reader: of partitions, without the group.
        partition: its topic and its number.
        offsets: what is read; the last batch reaches to their end.
        limit: the most messages in a batch.
        retention: how long cells are kept.
        now: the clock, UTC.

    Raises:
        BrokerError: the broker sent nothing for the time limit.
    """
    first = offsets.first
    async for records, after in reader.batches(partition, *offsets, limit=limit):
        raw = [raw_of(record) for record in records]
        ranges = {partition: Range(first, after)}
        yield await decoded(raw, ranges, retention, now(), Precedence())
        first = after


async def write_again(writer: CellWriter, batch: Batch, generation: int | None = None) -> Written:
    """Write a batch whose messages were processed before: nothing becomes a dead letter again.

    Args:
        writer: of cells.
        batch: of messages that are not read again if writing them fails half-way.
        generation: which is written to; ``None`` for the current one.

    Raises:
        redis.RedisError: Redis is unavailable; what was applied counts.
    """
    applied = replace(batch.applied, generation=generation, repeatable=False)
    return await writer.write(batch.decoded.claimed, applied, rejected=batch.decoded.rejected)


async def in_turn(items: AsyncIterator[T], use: Callable[[T], Awaitable[object]]) -> None:
    """Use items one after the other, and get the next one meanwhile.

    At most two are in memory, and none waits for one that is not there yet.

    Raises:
        Exception: the first error of either.
    """

    async def following() -> T | None:
        return await anext(items, None)

    getting = asyncio.create_task(following())
    try:
        while (item := await getting) is not None:
            getting = asyncio.create_task(following())
            await use(item)
    finally:
        getting.cancel()
        await asyncio.wait({getting})
