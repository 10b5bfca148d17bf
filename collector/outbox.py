"""Publishing to Kafka, for callers that wait for the acknowledgement and for those that do not.

:meth:`MessagePublisher.publish` is for the intake, whose client waits for a response: it has a time
limit. :class:`Outbox` is for pollers: it keeps their messages while the broker is unavailable, so
that polling continues.

What Kafka has not acknowledged within :data:`MOMENT_S` is saved on the disk, if a folder is set. So
the disk is not used as long as Kafka answers, and a collector that is killed loses at most what it
received in that moment: hardly more than if it had been killed a moment earlier, before the
responses came. Messages that are older than that survive a kill and a power cut. They are published
once more if the collector is killed after Kafka has acknowledged them and before they are removed,
which changes no cell.

Messages are published in the order in which they were put: the saved ones first, which are older
than all others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

import structlog

from collector.disk import MAX_BYTES, MAX_MESSAGES
from miningmap.kafka import dead_letters, producer
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import RefusedTimestampError
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.spool import SpoolError
from miningmap.tasks import raise_if_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from prometheus_client import Histogram

    from collector.disk import Disk
    from miningmap.dependencies import Dependency
    from miningmap.kafka.producer import Record
    from miningmap.messages import Message, Report
    from miningmap.settings import Kafka


@dataclass(frozen=True)
class ReportWithRows:
    """A report, and the rows that it was made from, as headers of its record."""

    report: Report
    headers: tuple[tuple[str, bytes], ...]


Outgoing: TypeAlias = "Message | DeadLetter"
"""A message to publish, or a rejected reading in its place."""

LossReason: TypeAlias = Literal["full", "refused"]
"""Why a message of a poll never reaches Kafka: there was no room, or Kafka never accepts it."""

MOMENT_S: Final = 0.25
"""How long Kafka may take to acknowledge messages, in seconds, before they are saved on the disk.
It usually takes some milliseconds."""
MAX_MEMORY: Final = 32 * 1024 * 1024
"""The most bytes of messages that are kept in memory, of which each counts :data:`OVERHEAD` more;
above that the oldest are dropped. They are only that many without a disk that takes them."""
OVERHEAD: Final = 1024
RETRY_S: Final = 0.5
"""The pause before a failed delivery is tried again, in seconds."""
SLOW_DISK_S: Final = 1.0
"""How long messages may take to be saved, in seconds, before others are published meanwhile."""
DISK_RETRY_S: Final = 5.0
"""The pause before a disk that failed is tried again, in seconds."""
LAST_SAVE_S: Final = 2.0
"""How long the last messages may take to be saved at the end, in seconds."""

_log = structlog.get_logger(__name__)


class MessagePublisher:
    """A connection to Kafka for reports, network messages and dead letters."""

    def __init__(
        self,
        settings: Kafka,
        *,
        acknowledged: Callable[[Sequence[Record]], None],
        timeout_s: float = producer.TIMEOUT_S,
        state: Dependency | None = None,
        durations: Histogram | None = None,
    ) -> None:
        """Prepare a publisher; it connects in the background inside ``async with``.

        Args:
            settings: how to reach the broker.
            acknowledged: called with what the broker has acknowledged.
            timeout_s: how long :meth:`publish` waits for the broker, in seconds.
            state: shows whether the broker is available and has the topics.
            durations: where the time until the broker has answered is shown, by operation.
        """
        topics = frozenset({REPORTS, NETWORK, DEAD_LETTERS})
        self._kafka = producer.Publisher(
            settings, topics, timeout_s=timeout_s, state=state, durations=durations
        )
        self._acknowledged = acknowledged

    async def __aenter__(self) -> Self:
        await self._kafka.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._kafka.__aexit__(exc_type, exc, traceback)

    async def connected(self) -> None:
        """Wait until the broker is connected and all topics exist.

        Raises:
            SettingsError: at the start, the broker lacks a topic or refuses this client.
        """
        await self._kafka.connected()

    async def publish(self, messages: Sequence[Outgoing | ReportWithRows]) -> None:
        """Return when the broker has acknowledged all messages.

        Raises:
            BrokerError: it has not in time; some of the messages may have arrived, or arrive later.
        """
        records = list(map(record_of, messages))
        await self._kafka.publish(records)
        self._acknowledged(records)

    async def deliver(self, records: Sequence[Record]) -> None:
        """Like :meth:`publish`, but wait for as long as the broker is unavailable.

        Raises:
            BrokerError: a message is too large, or the connection broke. The next call uses a new
                connection.
        """
        await self._kafka.deliver(records)
        self._acknowledged(records)


def record_of(outgoing: Outgoing | ReportWithRows) -> Record:
    """Return the record of what is published."""
    if isinstance(outgoing, DeadLetter):
        return dead_letters.record_of(outgoing)
    if isinstance(outgoing, ReportWithRows):
        return replace(producer.record_of(outgoing.report), headers=outgoing.headers)
    return producer.record_of(outgoing)


@dataclass(eq=False)
class _Waiting:
    """A message that Kafka has not acknowledged.

    Attributes:
        record: the message.
        since: when it was put, in seconds that never go back.
        id: of the message on the disk; ``None`` while it is only in memory.
        is_in_flight: whether it is being delivered.
        is_done: whether Kafka has it, or will never take it.
    """

    record: Record
    since: float = 0.0
    id: int | None = None
    is_in_flight: bool = False
    is_done: bool = False

    @property
    def size(self) -> int:
        return len(self.record.value) + OVERHEAD


def _ignore(_reason: LossReason, _messages: int) -> None:
    """Take notice of no loss."""


class Outbox:
    """Pollers' messages on their way to Kafka, bounded in memory and on the disk."""

    def __init__(
        self,
        deliver: Callable[[Sequence[Record]], Awaitable[None]],
        disk: Disk | None = None,
        *,
        lost: Callable[[LossReason, int], None] = _ignore,
        max_memory: int = MAX_MEMORY,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Create an outbox, which begins with what is on the disk.

        Args:
            deliver: returns when the broker has acknowledged the messages.
            disk: saves messages that the broker does not acknowledge; ``None`` for none.
            lost: called with how many messages are lost from memory while the outbox runs.
            max_memory: the limit of what is kept in memory, in bytes.
            now: the wall clock, in seconds since the epoch.
        """
        self._deliver = deliver
        self._disk = disk
        self._lost = lost
        self._max_memory = max_memory
        self._now = now
        self._memory: deque[_Waiting] = deque()
        self._memory_size = 0
        self._disk_is_empty = disk is None
        self._disk_retry_at = 0.0
        self._saves = 0
        self._is_saved = asyncio.Event()  # unless messages are being saved
        self._is_saved.set()
        self._changed = asyncio.Event()
        self._saver_wakes = asyncio.Event()
        self._empty = asyncio.Event()
        self._is_dropping = False
        if disk is None:
            self._empty.set()

    @property
    def messages(self) -> int:
        """How many messages wait in memory."""
        return len(self._memory)

    def put(self, messages: Sequence[Outgoing]) -> None:
        """Enqueue the messages of one poll without waiting; a full outbox drops its oldest ones.

        Their records have the time of now. It is the time that counts for what Kafka and
        ``streams`` keep by a record's own time: a message that was in time when it was polled
        claims the same cells whenever it is published, and again when the topic is read again.
        """
        since = asyncio.get_running_loop().time()
        at_ms = int(self._now() * 1000)
        for message in messages:
            waiting = _Waiting(replace(record_of(message), timestamp_ms=at_ms), since)
            self._memory.append(waiting)
            self._memory_size += waiting.size
        if messages:
            self._limit_memory()
            self._empty.clear()
            self._changed.set()
            self._saver_wakes.set()

    async def run(self) -> None:
        """Deliver messages until cancelled, and save those that are not acknowledged."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._deliver_all())
            if self._disk is not None:
                tasks.create_task(self._save_late(self._disk))

    async def join(self) -> None:
        """Wait until Kafka has everything that was put, or that was on the disk."""
        await self._empty.wait()

    async def close(self) -> int:
        """Save what is left once :meth:`run` has ended; return how many messages are lost."""
        if self._disk is not None:
            with suppress(SpoolError, TimeoutError):  # the log says why
                async with asyncio.timeout(LAST_SAVE_S):
                    await self._disk.settle()
                    await self._save(self._disk)
                    await self._disk.close()
        return sum(waiting.id is None for waiting in self._memory)

    # --- to Kafka ---------------------------------------------------------------------------------

    async def _deliver_all(self) -> None:
        while True:
            self._changed.clear()
            if batch := await self._next():
                await self._deliver_with_retries([waiting.record for waiting in batch])
                await self._remove(batch)
            elif self._disk_is_empty:
                self._empty.set()
                await self._changed.wait()
            else:  # the disk cannot be read at the moment, or has just been written
                await _wait(self._changed, DISK_RETRY_S)
            raise_if_cancelled()

    async def _next(self) -> Sequence[_Waiting]:
        """Return the oldest messages: from the disk, or if that has none, from memory."""
        if self._disk is not None and not self._disk_is_empty and self._may_use_disk():
            # Those that are being saved would be read from the disk and from memory.
            await _wait(self._is_saved, SLOW_DISK_S)
            saves = self._saves
            try:
                saved = await self._disk.oldest()
            except SpoolError:
                self._disk_failed()
            else:
                if saved:
                    return [_Waiting(message.record, id=message.id) for message in saved]
                self._disk_is_empty = saves == self._saves
        return self._first_in_memory()

    def _first_in_memory(self) -> Sequence[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        for waiting in self._memory:
            size += len(waiting.record.value)
            if batch and (size > MAX_BYTES or len(batch) == MAX_MESSAGES):
                break
            waiting.is_in_flight = True
            batch.append(waiting)
        return batch

    async def _remove(self, batch: Sequence[_Waiting]) -> None:
        """Remove messages that Kafka has, or will never take, from memory and disk."""
        for waiting in batch:
            waiting.is_done = True
        while self._memory and self._memory[0].is_done:
            self._memory_size -= self._memory.popleft().size
        if not self._memory:
            self._is_dropping = False
        await self._remove_from_disk(batch)

    async def _remove_from_disk(self, batch: Sequence[_Waiting]) -> None:
        ids = [waiting.id for waiting in batch if waiting.id is not None]
        if ids and self._disk is not None:
            await self._disk.remove(ids)

    async def _deliver_with_retries(self, records: Sequence[Record]) -> None:
        """Deliver messages, or drop those that no further attempt can help."""
        while True:
            latest_ms = int(self._now() * 1000)  # the clock may have been set back
            try:
                await self._deliver([_not_after(record, latest_ms) for record in records])
            except RefusedTimestampError:
                # The operator's broker takes no records from the past, so these become current.
                records = [replace(record, timestamp_ms=None) for record in records]
            except Exception as error:  # noqa: BLE001 - logged, if it is not retried
                # Besides what Kafka never accepts, these messages may meet a fault of this
                # software, which must not end the collector.
                if not (isinstance(error, BrokerError) and error.retriable):
                    await self._divide_or_drop(records)
                    return
            else:
                return
            raise_if_cancelled()
            await asyncio.sleep(RETRY_S)

    async def _divide_or_drop(self, records: Sequence[Record]) -> None:
        """Deliver one by one what failed together, so that only what is wrong is dropped."""
        if len(records) > 1:
            for record in records:
                await self._deliver_with_retries([record])
        else:
            _log.exception("messages_dropped", messages=len(records))
            self._lost("refused", len(records))

    # --- to the disk ------------------------------------------------------------------------------

    async def _save_late(self, disk: Disk) -> None:
        """Save messages that are not acknowledged in time, and those that wait behind them."""
        loop = asyncio.get_running_loop()
        while True:
            self._saver_wakes.clear()
            if not self._memory:
                await self._saver_wakes.wait()
                continue
            late_at = self._memory[0].since + MOMENT_S if self._disk_is_empty else 0.0
            wait_s = max(late_at, self._disk_retry_at) - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            try:
                await self._save(disk)
            except SpoolError:
                self._disk_failed()
            raise_if_cancelled()

    async def _save(self, disk: Disk) -> None:
        """Move all messages from memory to the disk, where they stay in their order.

        Raises:
            SpoolError: they are still in memory.
        """
        chosen = [waiting for waiting in self._memory if waiting.id is None]
        if not chosen:
            return
        self._saves += 1
        self._disk_is_empty = False
        self._is_saved.clear()
        try:
            await disk.save([waiting.record for waiting in chosen], partial(_number, chosen))
            while self._memory and self._memory[0].id is not None:
                self._memory_size -= self._memory.popleft().size
            # Those that Kafka has acknowledged meanwhile.
            await self._remove_from_disk([waiting for waiting in chosen if waiting.is_done])
        finally:
            self._is_saved.set()
            self._changed.set()

    def _may_use_disk(self) -> bool:
        return asyncio.get_running_loop().time() >= self._disk_retry_at

    def _disk_failed(self) -> None:
        self._disk_retry_at = asyncio.get_running_loop().time() + DISK_RETRY_S

    def _limit_memory(self) -> None:
        """Drop the oldest messages that are not being delivered, if there are too many."""
        dropped = 0
        while self._memory_size > self._max_memory:
            index = next((i for i, w in enumerate(self._memory) if not w.is_in_flight), None)
            if index is None or index == len(self._memory) - 1:
                break
            self._memory_size -= self._memory[index].size
            del self._memory[index]
            dropped += 1
        if dropped:
            self._lost("full", dropped)
            if not self._is_dropping:
                self._is_dropping = True
                _log.error("outbox_full", bytes=self._max_memory, where="memory")


async def _wait(event: asyncio.Event, within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()


def _not_after(record: Record, latest_ms: int) -> Record:
    if record.timestamp_ms is None or record.timestamp_ms <= latest_ms:
        return record
    return replace(record, timestamp_ms=latest_ms)


def _number(messages: Sequence[_Waiting], ids: Sequence[int]) -> None:
    for waiting, id_ in zip(messages, ids, strict=True):
        waiting.id = id_
