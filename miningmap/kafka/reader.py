"""Read all messages that topics hold at one moment, as bytes, partition by partition.

The order is fixed (topics as given, partitions by number, messages by offset), so the same topics
give the same bytes every time, whichever broker answers first.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from miningmap.kafka.clients import admin_client, groupless_consumer, partitions_of_topics
from miningmap.kafka.errors import CONNECT_S, CREATE_TOPICS, TIMEOUT_S, BrokerError, broker_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_PROBE_MS: Final = 100


class _Part(NamedTuple):
    """The messages of one partition with offsets from ``start`` up to, not including, ``end``."""

    partition: TopicPartition
    start: int
    end: int


class TopicReader:
    """The messages that topics held when :func:`open_reader` was called."""

    def __init__(
        self, consumer: AIOKafkaConsumer, servers: str, parts: Sequence[_Part], timeout_s: float
    ) -> None:
        self._consumer = consumer
        self._servers = servers
        self._parts = parts
        self._timeout_s = timeout_s

    @property
    def size(self) -> int:
        """The number of messages."""
        return sum(part.end - part.start for part in self._parts)

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """The values of all messages, in batches; a message without a value is ``b""``.

        Raises:
            BrokerError: the broker sent nothing for the time limit.
        """
        for partition, start, end in self._parts:
            self._consumer.assign([partition])
            self._consumer.seek(partition, start)
            position = start
            while position < end:
                fetched, position = await self._fetch(partition)
                yield [value or b"" for offset, value in fetched if offset < end]

    async def _fetch(self, partition: TopicPartition) -> tuple[list[tuple[int, bytes | None]], int]:
        """The next messages with their offsets, and the position after them."""
        wait_ms = round(self._timeout_s * 1000)
        async with broker_errors(self._servers, timeout_s=None):
            fetched = await self._consumer.getmany(partition, timeout_ms=wait_ms)
            if not fetched:
                problem = f"no messages of {partition.topic} within {self._timeout_s:g} s"
                raise BrokerError.at(self._servers, problem)
            position = await self._consumer.position(partition)
        return [(record.offset, record.value) for record in fetched[partition]], position


@asynccontextmanager
async def open_reader(
    servers: str, topics: Sequence[str], *, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[TopicReader]:
    """A reader of everything that the topics hold now; it can be used inside the block.

    Args:
        servers: of the broker, ``HOST:PORT``.
        topics: in the order in which they are read.
        timeout_s: how long the broker may be silent, in seconds.

    Raises:
        BrokerError: the broker cannot be reached, or a topic does not exist.
    """
    connect_s = min(timeout_s, CONNECT_S)
    async with groupless_consumer(servers, timeout_s=connect_s) as consumer:
        async with broker_errors(servers, timeout_s):
            partitions = await _partitions(servers, topics, timeout_s)
            parts = await _parts(consumer, partitions)
        yield TopicReader(consumer, servers, parts, timeout_s)


async def _partitions(
    servers: str, topics: Sequence[str], timeout_s: float
) -> list[TopicPartition]:
    """The partitions of the topics, in order.

    Raises:
        BrokerError: a topic does not exist.
    """
    async with admin_client(servers, timeout_s=timeout_s) as admin:
        partitions = await partitions_of_topics(admin)
    if missing := [topic for topic in topics if topic not in partitions]:
        raise BrokerError.at(servers, f"no topic {', '.join(missing)}", CREATE_TOPICS)
    return [TopicPartition(topic, number) for topic in topics for number in partitions[topic]]


async def _parts(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> list[_Part]:
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
