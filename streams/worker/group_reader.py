"""The group reader: reads topics as a member of a consumer group, one whole fetch after the other.

An offset is committed when its fetch is done, at most once in :data:`COMMIT_S`, and when Kafka
takes the partitions away. What was fetched before that is not committed after it: another process
may have the partition, or this one reads the same messages again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from miningmap.kafka.close import close_consumer
from miningmap.kafka.errors import CONNECT_S, BrokerError, broker_errors
from miningmap.kafka.header_names import tolerate_header_names
from miningmap.kafka.security import client_options, connecting
from miningmap.tasks import raise_if_cancelled
from streams.redis.generations import Range
from streams.worker.messages import raw_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from aiokafka.structs import ConsumerRecord

    from miningmap.settings import Kafka
    from streams.redis.generations import Partition
    from streams.worker.messages import RawMessage

COMMIT_S: Final = 1.0
"""How often what was processed is committed, in seconds."""
LAST_COMMIT_S: Final = 1.0
"""How long a commit may take before partitions are given back, in seconds."""
_HELD_MS: Final = 50
"""How long the broker holds back a fetch of partitions that have nothing new. aiokafka sends no
other one meanwhile, so as long may messages wait in the partitions that were read last."""
_PARTITION_BYTES: Final = 256 * 1024
"""How much of one partition a fetch has: some 750 reports of 20 places, or 50 to 100 ms. As long
do messages of other partitions wait for one that has a backlog. Where all partitions have one, a
fetch has as much of each, so batches are still large."""
_ANY_TIME_MS: Final = 86_400_000
"""How long a batch may take before Kafka gives its partitions to another process: it waits while
Redis is unavailable or is being filled again, which can take hours. What ends a process that is
stuck is the stall watchdog."""


class Fetch(NamedTuple):
    """Messages that Kafka gave at once.

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
        self._limit = limit
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
            yield
        finally:
            await self._commit_at_last()
            self._consumer = None
            await close_consumer(consumer)

    async def fetches(self) -> AsyncIterator[Fetch]:
        """Yield what Kafka has, as soon as it has anything, and commit now and then what is done.

        Raises:
            BrokerError: the broker refuses what the group reads or commits.
        """
        clock = asyncio.get_running_loop().time
        committed_at = clock()
        while True:
            if clock() - committed_at >= COMMIT_S:
                await self._commit()
                committed_at = clock()
            if fetched := await self._fetched():
                yield self._fetch(fetched)

    async def _fetched(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        async with broker_errors(self._kafka.bootstrap_servers, timeout_s=None):
            fetched: dict[TopicPartition, list[ConsumerRecord]] = await self._joined.getmany(
                timeout_ms=round(COMMIT_S * 1000), max_records=self._limit
            )
        raise_if_cancelled()
        return fetched

    def _fetch(self, fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> Fetch:
        return Fetch(
            [raw_of(record) for records in fetched.values() for record in records],
            {
                (each.topic, each.partition): Range(records[0].offset, records[-1].offset + 1)
                for each, records in fetched.items()
            },
            self._assignment,
        )

    def is_current(self, fetch: Fetch) -> bool:
        """Return whether this process still has the partitions of a fetch, since it was made."""
        return fetch.assignment == self._assignment

    def done(self, fetch: Fetch) -> None:
        """Let a fetch be committed, unless its partitions were taken away meanwhile."""
        if self.is_current(fetch):
            self._done |= {TopicPartition(*each): held.after for each, held in fetch.ranges.items()}

    @property
    def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("no member of the group; use joined()")
        return self._consumer

    async def _revoked(self) -> None:
        async with self._between_fetches():
            await self._commit_at_last()
            self._assignment += 1
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
