"""Rebuild all cells from Kafka into a new generation of keys, which then replaces the current one.

Readers and workers use the current generation meanwhile. Afterwards workers notice by the positions
what the new one still lacks, and apply it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn
from uuid import uuid4

from miningmap.kafka.partitions import open_partitions
from streams.redis.generations import NEXT, Range
from streams.worker.batches import in_turn, read_again, write_again
from streams.worker.messages import TOPICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from miningmap.kafka.partitions import PartitionReader
    from miningmap.settings import Settings
    from streams.redis.cell_writer import CellWriter
    from streams.redis.generations import Filled
    from streams.worker.batches import Batch

LEASE_S: Final = 30.0
"""How long a process that was killed keeps others from rebuilding, in seconds."""
_FEW: Final = 1000
"""With fewer new messages than these, the workers can apply the rest."""


class RebuildError(Exception):
    """The cells cannot be rebuilt now; the text is one line."""


class Rebuilt(NamedTuple):
    """What was done: the number of messages that were read, and of old keys that were removed."""

    messages: int
    removed: int


async def rebuild(
    settings: Settings,
    store: CellWriter,
    now: Callable[[], datetime],
    *,
    anew: bool = False,
    begun: Callable[[int, int], object] = lambda _done, _total: None,
    read: Callable[[int], object] = lambda _messages: None,
) -> Rebuilt:
    """Fill a new generation with all that Kafka holds, let readers use it, and remove the old one.

    A rebuild that was interrupted is continued.

    Args:
        settings: how to reach Kafka, and how long cells are kept.
        store: the cells.
        now: the clock, UTC.
        anew: do not continue one that was interrupted.
        begun: called with the number of messages that were read before, and of all.
        read: called with the number of messages that were read since the last call.

    Raises:
        RebuildError: another process is rebuilding the cells.
        BrokerError: Kafka is unavailable; the same call continues.
        redis.RedisError: Redis is unavailable; the same call continues.
    """
    async with _alone(store):
        if anew:
            await store.generations.give_up_next()
        done = 0
        while True:
            async with open_partitions(settings.kafka, TOPICS) as reader:
                filled = await _next(store, reader)
                if not done:
                    before = sum(
                        max(0, filled.positions.get(each, first) - first)
                        for each, (first, _) in reader.held.items()
                    )
                    begun(before, sum(after - first for first, after in reader.held.values()))
                new = await _fill(settings, store, reader, filled, now=now, read=read)
            done += new
            if new < _FEW:
                break
        old = await store.generations.swap(filled.number)
        removed = 0 if old is None else await store.generations.remove(old)
        return Rebuilt(done, removed)


@asynccontextmanager
async def _alone(store: CellWriter) -> AsyncIterator[None]:
    """Let no other process rebuild during the block."""
    process = uuid4().hex
    if not await store.generations.renew_building(process, LEASE_S):
        raise RebuildError(
            "another process is rebuilding the cells; if it was killed, try again in "
            f"{LEASE_S:g} seconds"
        )

    async def keep() -> NoReturn:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            if not await store.generations.renew_building(process, LEASE_S):
                raise RebuildError("another process has begun to rebuild the cells")

    try:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(keep())
            yield
            keeping.cancel()
    finally:
        await store.generations.end_building(process)


async def _next(store: CellWriter, reader: PartitionReader) -> Filled:
    """Return the generation to fill: the one that was begun, or a new one."""
    held = {each: Range(*offsets) for each, offsets in reader.held.items()}
    await store.generations.begin(held, NEXT)
    filled = await store.generations.next()
    if filled is None:
        raise RebuildError("Redis was emptied meanwhile; try again")
    return filled


async def _fill(
    settings: Settings,
    store: CellWriter,
    reader: PartitionReader,
    filled: Filled,
    *,
    now: Callable[[], datetime],
    read: Callable[[int], object],
) -> int:
    """Apply what a generation lacks of what Kafka holds; return the number of messages."""
    number = 0

    async def apply(batch: Batch) -> None:
        nonlocal number
        written = await write_again(store, batch, filled.number)
        if written.not_advanced:
            raise RebuildError("Redis has lost what was rebuilt; try again")
        number += len(batch.raw)
        read(len(batch.raw))

    for each, (first, after) in reader.held.items():
        if each not in filled.positions:
            await store.generations.begin_partition(filled.number, each, first)
        batches = read_again(
            reader,
            each,
            Range(filled.positions.get(each, first), after),
            limit=settings.streams.batch,
            retention=settings.retention,
            now=now,
        )
        await in_turn(batches, apply)
    return number
