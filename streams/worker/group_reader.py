"""The group reader: reads topics as a member of a consumer group, and hands messages on in fetches.

An offset is committed when its fetch is done, at most once in :data:`COMMIT_S`, and when Kafka
takes the partitions away. What was fetched before that is not committed after it: another process
may have the partition, or this one reads the same messages again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from miningmap.kafka.close import close_consumer
from miningmap.kafka.errors import CONNECT_S, BrokerError, broker_errors
from miningmap.kafka.header_names import tolerate_header_names
from miningmap.kafka.security import client_options, connecting
from miningmap.tasks import raise_if_cancelled
from streams.redis.generations import Range
from streams.worker.messages import raw_of
from streams.worker.unread import Unread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from aiokafka.structs import ConsumerRecord

    from miningmap.settings import Kafka
    from streams.redis.generations import Partition
    from streams.worker.messages import RawMessage
    from streams.worker.unread import Records

COMMIT_S: Final = 1.0
"""How often what was processed is committed, in seconds."""
LAST_COMMIT_S: Final = 1.0
"""How long a commit may take before partitions are given back, in seconds."""
_HELD_MS: Final = 50
"""How long the broker holds back a fetch of partitions that have nothing new. aiokafka sends no
other one meanwhile, so as long may messages wait in the partitions that were read last."""
_PARTITION_BYTES: Final = 512 * 1024
"""How much of one partition Kafka sends at once: some 1,500 reports of 20 places."""
_ALL_BYTES: Final = 4 * 1024 * 1024
"""How much Kafka sends at once. All of it is unpacked in one turn of the event loop."""
_ANY_TIME_MS: Final = 86_400_000
"""How long a batch may take before Kafka gives its partitions to another process: it waits while
Redis is unavailable or is being filled again, which can take hours. What ends a process that is
stuck is the stall watchdog."""


class Fetch(NamedTuple):
    """Messages that are processed at once.

    Attributes:
        messages: by partition, and in order of their offsets.
        ranges: the offsets of each partition.
        assignment: the number of the assignment that they belong to.
    """

    messages: Sequence[RawMessage]
    ranges: dict[Partition, Range]
    assignment: int


class GroupReader:
    """Reads topics as a member of a group."""

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        topics: Iterable[str],
        *,
        limit: int,
        between_fetches: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        """Prepare a reader.

        Args:
            kafka: how to reach the broker.
            group: the consumer group. A new one reads all messages in Kafka, so that an empty Redis
                is filled.
            topics: what is read.
            limit: the most messages of a fetch.
            between_fetches: a block in which no fetch is processed, and before which the current
                one may finish. Partitions are given back in it, and Kafka waits as long.
        """
        self._kafka = kafka
        self._group = group
        self._topics = list(topics)
        self._unread = Unread(limit)
        self._news = asyncio.Event()  # messages are unread, or no more are read
        self._between_fetches = between_fetches
        self._consumer: AIOKafkaConsumer | None = None
        self._assignment = 0
        # Since the assignment, by partition: the offset up to which messages were processed, and
        # the one up to which that is committed.
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that this process reads; none before it is a member of the group."""
        if self._consumer is None:
            return frozenset()
        return frozenset((each.topic, each.partition) for each in self._consumer.assignment())

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Be a member of the group during the block; at its end, commit what is done.

        Raises:
            BrokerError: the broker cannot be reached, or refuses the group.
        """
        tolerate_header_names()
        session_ms = round(self._kafka.session_timeout_s * 1000)
        consumer = AIOKafkaConsumer(
            **client_options(self._kafka),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_HELD_MS,
            fetch_max_bytes=_ALL_BYTES,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            max_poll_interval_ms=_ANY_TIME_MS,
            session_timeout_ms=session_ms,
            # Two heartbeats may be lost before the session expires.
            heartbeat_interval_ms=session_ms // 3,
        )
        consumer.subscribe(self._topics, listener=_Revocations(self._revoked))
        self._consumer = consumer
        try:
            # Joining can take until the session of a member that has ended runs out.
            async with connecting(self._kafka, CONNECT_S + self._kafka.session_timeout_s):
                await consumer.start()
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._reading_ended)
            try:
                yield
            finally:
                self._reading.cancel()
                await asyncio.wait({self._reading})
        finally:
            await self._commit_at_last()
            self._consumer = None
            await close_consumer(consumer)

    async def fetches(self) -> AsyncIterator[Fetch]:
        """Yield what is read, as soon as there is anything, and of a backlog a portion.

        Raises:
            BrokerError: the broker refuses what the group reads or commits.
        """
        while True:
            await self._news.wait()
            if self._reading.done():
                self._reading.result()
            if self._unread:
                yield self._fetch(self._unread.take(self._joined.assignment()))
            else:
                self._news.clear()

    def urgent(self) -> Fetch | None:
        """Return what may go before the fetches that were yielded and are not done; or ``None``.

        These are the messages of current partitions, which have none in those fetches.
        """
        records = self._unread.take_current()
        return self._fetch(records) if records else None

    async def _read(self) -> NoReturn:
        """Read what Kafka has, and commit now and then what is done.

        What is fetched waits here and not in aiokafka, which fetches nothing of a broker while it
        has anything unread of it.
        """
        clock = asyncio.get_running_loop().time
        committed_at = clock()
        while True:
            if clock() - committed_at >= COMMIT_S:
                await self._commit()
                committed_at = clock()
            if fetched := await self._fetched():
                self._unread.add(fetched)
                self._pause()
                self._news.set()

    def _reading_ended(self, reading: asyncio.Task[NoReturn]) -> None:
        """Let :meth:`fetches` raise its error; asyncio is not to report it if nobody iterates."""
        if not reading.cancelled():
            reading.exception()
        self._news.set()

    async def _fetched(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        async with broker_errors(self._kafka.bootstrap_servers, timeout_s=None):
            fetched: dict[TopicPartition, list[ConsumerRecord]] = await self._joined.getmany(
                timeout_ms=round(COMMIT_S * 1000)
            )
        raise_if_cancelled()
        return fetched

    def _pause(self) -> None:
        """Let only those partitions be fetched of which not enough is unread."""
        consumer = self._joined
        enough = self._unread.enough(consumer.assignment())
        paused = consumer.paused()
        consumer.pause(*enough - paused)
        consumer.resume(*paused - enough)

    def _fetch(self, taken: Records) -> Fetch:
        self._pause()
        return Fetch(
            [raw_of(record) for records in taken.values() for record in records],
            {
                (each.topic, each.partition): Range(records[0].offset, records[-1].offset + 1)
                for each, records in taken.items()
            },
            self._assignment,
        )

    def is_current(self, fetch: Fetch) -> bool:
        """Return whether this process still has the partitions of a fetch, since it was made."""
        return fetch.assignment == self._assignment

    def done(self, fetch: Fetch) -> None:
        """Let a fetch be committed, unless its partitions were taken away meanwhile."""
        if self.is_current(fetch):
            done = {TopicPartition(*each): held.after for each, held in fetch.ranges.items()}
            self._done |= done
            self._unread.processed(done)

    @property
    def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("no member of the group; use joined()")
        return self._consumer

    async def _revoked(self) -> None:
        async with self._between_fetches():
            await self._commit_at_last()
            self._assignment += 1
            self._unread.clear()
            self._done.clear()
            self._committed.clear()

    async def _commit(self) -> None:
        offsets = dict(self._done.items() - self._committed.items())
        if not offsets:
            return
        assignment = self._assignment
        async with broker_errors(self._kafka.bootstrap_servers, timeout_s=None):
            try:
                await self._joined.commit(offsets)
            except (CommitFailedError, IllegalStateError):
                return  # the group is about to be divided anew, or was; then this is done once more
        if assignment == self._assignment:
            self._committed |= offsets

    async def _commit_at_last(self) -> None:
        """Commit before partitions are given back. Without, the same messages are read again."""
        with suppress(TimeoutError, BrokerError):
            async with asyncio.timeout(LAST_COMMIT_S):
                await self._commit()


class _Revocations(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Tells before the group takes partitions away, if only to give them back."""

    def __init__(self, revoked: Callable[[], Awaitable[None]]) -> None:
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if revoked:
            await self._revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Do nothing: the consumer goes on from what the group has committed."""
