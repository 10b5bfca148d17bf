"""Read all messages that topics hold at one moment, as bytes, partition by partition.

The order is fixed (topics as given, partitions by number, messages by offset), so the same topics
give the same bytes every time, whichever broker answers first.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from miningmap.kafka.clients import (
    MOMENT_MS,
    admin_client,
    groupless_consumer,
    partitions_of_topics,
)
from miningmap.kafka.errors import CONNECT_S, CREATE_TOPICS, TIMEOUT_S, BrokerError, broker_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from aiokafka.structs import ConsumerRecord

    from miningmap.settings import Kafka

_PROBE_MS: Final = 100


class _Part(NamedTuple):
    """The messages of one partition with offsets from ``start`` up to, not including, ``end``."""

    partition: TopicPartition
    start: int
    end: int


class TopicReader:
    """The messages that topics held when :func:`open_reader` was called."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        servers: str,
        parts: Sequence[_Part],
        timeout_s: float,
        until: datetime | None,
    ) -> None:
        self._consumer = consumer
        self._servers = servers
        self._parts = parts
        self._timeout_s = timeout_s
        self._until = until

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        """The end of each partition that has messages, by topic and number."""
        return {(part.partition.topic, part.partition.partition): part.end for part in self._parts}

    def only_from(self, starts: Mapping[tuple[str, int], int]) -> None:
        """Read only these partitions, each from an offset on."""
        self._parts = [
            part._replace(start=min(part.end, max(part.start, start)))
            for part in self._parts
            if (start := starts.get((part.partition.topic, part.partition.partition))) is not None
        ]

    @property
    def size(self) -> int:
        """The number of messages, from the start of the range of times to the end of the topics."""
        return sum(part.end - part.start for part in self._parts)

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """The values of all messages, in batches; a message without a value is ``b""``.

        Raises:
            BrokerError: the broker sent nothing for the time limit.
        """
        async for records in self.records():
            yield [record.value or b"" for record in records]

    async def records(self) -> AsyncIterator[list[ConsumerRecord]]:
        """All messages with their keys, headers and times, in batches.

        Raises:
            BrokerError: the broker sent nothing for the time limit.
        """
        for partition, start, end in self._parts:
            self._consumer.assign([partition])
            self._consumer.seek(partition, start)
            position = start
            while position < end:
                fetched, position = await self._fetch(partition)
                if self._is_over(fetched[0]):
                    break
                yield [record for record in fetched if record.offset < end]

    def _is_over(self, record: ConsumerRecord) -> bool:
        return self._until is not None and record.timestamp >= _ms(self._until)

    async def _fetch(self, partition: TopicPartition) -> tuple[list[ConsumerRecord], int]:
        """The next messages, and the position after them."""
        wait_ms = round(self._timeout_s * 1000)
        async with broker_errors(self._servers, timeout_s=None):
            fetched = await self._consumer.getmany(partition, timeout_ms=wait_ms)
            if not fetched:
                problem = f"no messages of {partition.topic} within {self._timeout_s:g} s"
                raise BrokerError.at(self._servers, problem)
            position = await self._consumer.position(partition)
        return fetched[partition], position


@asynccontextmanager
async def open_reader(
    kafka: Kafka,
    topics: Sequence[str],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    timeout_s: float = TIMEOUT_S,
) -> AsyncIterator[TopicReader]:
    """A reader of everything that the topics hold now; it can be used inside the block.

    ``since`` and ``until`` are times of arrival that save reading the rest of a large topic. They
    are not exact: some messages outside of the range are read too.

    Args:
        kafka: how to reach the broker.
        topics: in the order in which they are read.
        since: what arrived before is left out, as far as the broker can tell.
        until: a partition is read no further than to the batch that reaches this time.
        timeout_s: how long the broker may be silent, in seconds.

    Raises:
        BrokerError: the broker cannot be reached, or a topic does not exist.
    """
    connect_s = min(timeout_s, CONNECT_S)
    servers = kafka.bootstrap_servers
    async with groupless_consumer(kafka, timeout_s=connect_s, wait_ms=MOMENT_MS) as consumer:
        async with broker_errors(servers, timeout_s):
            partitions = await partitions_of(kafka, topics, timeout_s)
            parts = await held_parts(consumer, partitions)
            if since:
                parts = await _later(consumer, parts, since)
        yield TopicReader(consumer, servers, parts, timeout_s, until)


async def partitions_of(
    kafka: Kafka, topics: Sequence[str], timeout_s: float
) -> list[TopicPartition]:
    """The partitions of the topics, in order.

    Raises:
        BrokerError: a topic does not exist.
    """
    async with admin_client(kafka, timeout_s=timeout_s) as admin:
        partitions = await partitions_of_topics(admin)
    if missing := [topic for topic in topics if topic not in partitions]:
        raise BrokerError.at(
            kafka.bootstrap_servers, f"no topic {', '.join(missing)}", CREATE_TOPICS
        )
    return [TopicPartition(topic, number) for topic in topics for number in partitions[topic]]


async def held_parts(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> list[_Part]:
    """What each partition holds now; empty partitions are left out."""
    starts = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    filled = [p for p in partitions if starts[p] < ends[p]]
    # end_offsets() is too low on the embedded broker (Tansu 0.6), which counts the last batch as
    # one message. The high-water mark that comes with a fetched message is right.
    consumer.assign(filled)
    for partition in filled:
        consumer.seek(partition, ends[partition] - 1)
    while any(consumer.highwater(p) is None for p in filled):
        await consumer.getmany(timeout_ms=_PROBE_MS)
    return [_Part(p, starts[p], max(ends[p], consumer.highwater(p))) for p in filled]


async def _later(
    consumer: AIOKafkaConsumer, parts: Sequence[_Part], since: datetime
) -> list[_Part]:
    """The parts without what arrived before a time."""
    if not parts:
        return []
    found = await consumer.offsets_for_times({part.partition: _ms(since) for part in parts})
    # The embedded broker answers offset 0 where Kafka answers None: then all of it is read.
    return [
        part._replace(start=max(part.start, first.offset))
        for part in parts
        if (first := found[part.partition])
    ]


def _ms(time: datetime) -> int:
    return max(0, round(time.timestamp() * 1000))
