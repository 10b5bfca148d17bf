"""The rewinder: notices that Redis has lost what was applied, and applies it again from Kafka.

Redis says by its positions how much of each partition it has applied. If it lacks messages before
those that the consumer group is at, they are read again without the group, which keeps its place:
nothing of the group's consumer has to be moved, also during a rebalance. A message that is applied
twice changes nothing, so two processes can do the same.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NoReturn

import structlog
from redis import RedisError

from miningmap.dependencies import Dependency
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.partitions import open_partitions
from miningmap.tasks import raise_if_cancelled
from streams.redis.generations import Range, RebuildingError
from streams.redis.takeover import has_unnumbered_cells, take_over
from streams.worker.batches import in_turn, read_again, write_again
from streams.worker.messages import TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from miningmap.kafka.lag import Lag
    from miningmap.kafka.partitions import PartitionReader
    from miningmap.settings import Settings
    from streams.metrics import Metrics
    from streams.redis.cell_writer import CellWriter
    from streams.redis.generations import Filled, Partition
    from streams.worker.batches import Batch

CHECK_S: Final = 1.0
"""How often the positions are compared while no message arrives, in seconds."""
TIDY_S: Final = 600.0
"""How often what no message can change any more is removed, in seconds."""
SAY_S: Final = 10.0
"""How often the log says how many messages are left, in seconds."""
RETRY_S: Final = 1.0
"""The pause after an error of Kafka, in seconds."""

_log = structlog.get_logger(__name__)


class _LostAgainError(Exception):
    """Redis lacks messages before the ones that were just applied, or has another generation."""


class Rewinder:
    """Applies again what Redis has lost.

    Attributes:
        replayed: how many messages it has applied so far.
        assigned: the partitions that the consumer read when Redis was last asked.
    """

    def __init__(
        self,
        settings: Settings,
        store: CellWriter,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        state: Dependency | None = None,
    ) -> None:
        """Prepare a rewinder.

        Args:
            settings: how to reach Kafka, and how long cells are kept.
            store: the cells.
            metrics: where rewinds are counted.
            now: the clock, UTC.
            state: shows whether Redis has all that was applied.
        """
        self._kafka = settings.kafka
        self._retention = settings.retention
        self._batch = settings.streams.batch
        self._store = store
        self._metrics = metrics
        self._now = now
        self._state = state or Dependency("cells")
        self._state.reason = None
        # By partition: the offset up to which messages were committed by the group when it was
        # assigned, or were applied by this process since. Redis must have applied as many.
        self._expected: dict[Partition, int] = defaultdict(int)
        self.assigned: frozenset[Partition] = frozenset()
        self._left: dict[Partition, int] = {}
        self._said_at = 0.0
        self._tidied_at: float | None = None
        self.replayed = 0

    # --- notice ---

    def expect(self, ranges: Mapping[Partition, Range]) -> None:
        """Remember that messages were applied."""
        for each, held in ranges.items():
            self._expected[each] = max(self._expected[each], held.after)

    async def watch(
        self, assigned: Callable[[], Collection[Partition]], busy: asyncio.Lock
    ) -> NoReturn:
        """Compare the positions with what was applied, every second, until cancelled.

        A Redis that loses its data on a quiet system would not be noticed otherwise.

        Args:
            assigned: returns the partitions that the consumer reads.
            busy: held while a batch is processed.
        """
        while True:
            try:
                async with busy:
                    await self._check(frozenset(assigned()))
            except (RedisError, BrokerError) as error:
                _log.warning("rewind_interrupted", error=str(error))
            except RebuildingError:
                pass  # Redis was emptied just now, which the next check notices
            raise_if_cancelled()
            await asyncio.sleep(CHECK_S)

    async def _check(self, assigned: frozenset[Partition]) -> None:
        current = await self._store.generations.current()
        if assigned != self.assigned or current is None:
            for each, progress in (await self._lag()).items():
                self._expected[each] = max(self._expected[each], progress.committed)
            self.assigned = assigned
        expected = {each: self._expected[each] for each in assigned}
        if current is None or _behind(current, expected):
            await self.catch_up(expected)
            current = await self._store.generations.current()
        self._show(current)
        clock = asyncio.get_running_loop().time()
        if self._tidied_at is None or clock - self._tidied_at >= TIDY_S:
            self._tidied_at = clock
            await self._tidy(current)

    def _show(self, current: Filled | None) -> None:
        """Show whether there are cells that may be read; other processes may be filling them."""
        progress = current.progress if current else None
        if current is None or progress:
            self._state.reason = str(RebuildingError(progress))
        else:
            self._state.reason = None

    async def _tidy(self, current: Filled | None) -> None:
        """Remove what is too old to be changed, if all messages so far were applied."""
        at = self._now()
        lag = await self._lag()
        ends = {each: progress.committed + progress.lag for each, progress in lag.items()}
        if current and not current.targets and not _behind(current, ends):
            await self._store.remove_expired(at)
        await self._store.generations.remove_unused()

    async def _lag(self) -> Lag:
        kafka = self._kafka
        async with lag_of(kafka, kafka.group, TOPICS) as read_lag:
            return await read_lag()

    # --- rewind ---

    async def catch_up(self, until: Mapping[Partition, int]) -> None:
        """Apply what Redis lacks of each partition before an offset. Errors of Kafka are retried.

        Nothing becomes a dead letter again: these messages were processed once.

        Raises:
            redis.RedisError: Redis is unavailable; what was applied counts.
        """
        while True:
            current = await self._store.generations.current()
            if current is not None and not _behind(current, until):
                return  # it is a new generation that has all of them
            try:
                async with open_partitions(self._kafka, TOPICS) as reader:
                    current = await self._current(reader)
                    if current is not None:
                        await self._replay(reader, current, until)
                        return
            except BrokerError as error:
                _log.warning("rewind_interrupted", error=str(error))
            except _LostAgainError:
                continue
            finally:
                self._left = {}
                self._metrics.rewind_left.set(0)
            raise_if_cancelled()
            await asyncio.sleep(RETRY_S)

    async def _current(self, reader: PartitionReader) -> Filled | None:
        """Return the current generation, and begin one if Redis has none.

        ``None`` while another process takes over cells from before there were generations.
        """
        generations = self._store.generations
        current = await generations.current()
        if current is not None:
            return current
        if await has_unnumbered_cells(generations.redis):
            committed = {each: progress.committed for each, progress in (await self._lag()).items()}
            renamed = await take_over(generations, committed)
            if renamed is not None:
                _log.info("cells_taken_over", keys=renamed)
        else:
            held = {each: Range(*offsets) for each, offsets in reader.held.items()}
            if await generations.begin(held):
                messages = sum(after - first for first, after in held.values())
                if messages:
                    self._metrics.rewinds.labels("empty").inc()
                    _log.warning("redis_is_empty", messages=messages)
        return await generations.current()

    async def _replay(
        self, reader: PartitionReader, current: Filled, until: Mapping[Partition, int]
    ) -> None:
        behind = _behind(current, until)
        positions = {}
        for each in behind:
            first, _ = reader.held.get(each, (0, 0))
            if each not in current.positions:
                await self._store.generations.begin_partition(current.number, each, first)
            positions[each] = current.positions.get(each, first)
            self._left[each] = max(0, behind[each] - max(first, positions[each]))
        # Without any, there are only gaps between messages, or what Kafka has deleted.
        if sum(self._left.values()) and not current.targets:
            self._metrics.rewinds.labels("behind").inc()
            _log.warning(
                "rewind_started",
                messages=sum(self._left.values()),
                partitions=sorted(f"{topic}/{number}" for topic, number in behind),
            )
        before = self.replayed
        for each, stop in behind.items():
            await self._replay_partition(reader, each, Range(positions[each], stop))
        if self.replayed > before:
            _log.info("rewind_finished", messages=self.replayed - before)

    async def _replay_partition(
        self, reader: PartitionReader, partition: Partition, lacking: Range
    ) -> None:
        async def apply(batch: Batch) -> None:
            written = await write_again(self._store, batch)
            if written.not_advanced:
                raise _LostAgainError
            self._left[partition] = lacking.after - batch.applied.ranges[partition].after
            self.replayed += len(batch.raw)
            self._metrics.rewound.inc(len(batch.raw))
            self._say()

        await in_turn(
            read_again(
                reader,
                partition,
                lacking,
                limit=self._batch,
                retention=self._retention,
                now=self._now,
            ),
            apply,
        )

    def _say(self) -> None:
        left = sum(self._left.values())
        self._metrics.rewind_left.set(left)
        self._state.reason = f"rewinding: {left} messages of Kafka have to be processed again"
        clock = asyncio.get_running_loop().time()
        if clock - self._said_at >= SAY_S:
            self._said_at = clock
            _log.info("rewind_going_on", messages_left=left)


def _behind(filled: Filled, until: Mapping[Partition, int]) -> dict[Partition, int]:
    """Return the offsets that a generation has not reached, by partition."""
    return {each: stop for each, stop in until.items() if filled.positions.get(each, -1) < stop}
