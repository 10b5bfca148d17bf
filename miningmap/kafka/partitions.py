"""Read ranges of offsets of single partitions, without a consumer group."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

from miningmap.kafka.clients import MOMENT_MS, groupless_consumer
from miningmap.kafka.errors import CONNECT_S, TIMEOUT_S, BrokerError, broker_errors
from miningmap.kafka.reader import held_parts, partitions_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer
    from aiokafka.structs import ConsumerRecord

    from miningmap.settings import Kafka

_WAIT_S: Final = 1.0


class PartitionReader:
    """Reads ranges of offsets.

    Attributes:
        held: by topic and number, the offset of the first message that Kafka held when the reader
            was opened, and the one after the last.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        servers: str,
        held: Mapping[tuple[str, int], tuple[int, int]],
        timeout_s: float,
    ) -> None:
        self._consumer = consumer
        self._servers = servers
        self._timeout_s = timeout_s
        self.held = held

    async def batches(
        self, partition: tuple[str, int], start: int, stop: int, *, limit: int
    ) -> AsyncIterator[tuple[list[ConsumerRecord], int]]:
        """Yield the messages with offsets from ``start`` up to, not including, ``stop``.

        Args:
            partition: its topic and its number.
            start: an offset; messages that Kafka does not hold any more are left out.
            stop: likewise; what is after the end of the partition is left out.
            limit: the most messages in a batch.

        Yields:
            Some messages, and the offset up to which there are no others. The last one is ``stop``.

        Raises:
            BrokerError: the broker sent nothing for the time limit.
        """
        first, after = self.held.get(partition, (0, 0))
        position, end = max(start, first), min(stop, after)
        each = TopicPartition(*partition)
        self._consumer.assign([each])
        self._consumer.seek(each, position)
        silent_s, told = 0.0, start
        while position < end:
            async with broker_errors(self._servers, self._timeout_s):
                fetched = await self._consumer.getmany(
                    each, timeout_ms=round(_WAIT_S * 1000), max_records=limit
                )
                position = await self._consumer.position(each)
            records = [record for record in fetched.get(each, ()) if record.offset < stop]
            silent_s = 0.0 if fetched else silent_s + _WAIT_S
            if silent_s > self._timeout_s and position < end:
                problem = f"no messages of {each.topic} within {self._timeout_s:g} s"
                raise BrokerError.at(self._servers, problem)
            if records:
                told = min(position, stop)
                yield records, told
        if told < stop:
            yield [], stop


@asynccontextmanager
async def open_partitions(
    kafka: Kafka, topics: Sequence[str], *, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[PartitionReader]:
    """A reader of the partitions of these topics; it can be used inside the block.

    Raises:
        BrokerError: the broker cannot be reached, or a topic does not exist.
    """
    servers = kafka.bootstrap_servers
    connect_s = min(timeout_s, CONNECT_S)
    async with groupless_consumer(kafka, timeout_s=connect_s, wait_ms=MOMENT_MS) as consumer:
        async with broker_errors(servers, timeout_s):
            partitions = await partitions_of(kafka, topics, timeout_s)
            starts = await consumer.beginning_offsets(partitions)
            held = {(p.topic, p.partition): (starts[p], starts[p]) for p in partitions}
            for (topic, number), start, end in await held_parts(consumer, partitions):
                held[topic, number] = (start, end)
        yield PartitionReader(consumer, servers, held, timeout_s)
