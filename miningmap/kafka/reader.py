"""All that topics hold by now, as the bytes that came: partition by partition, each in its order.

So the same topics give the same bytes every time, whichever broker answers first.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TIMEOUT_S: Final = 30.0
_PROBE_MS: Final = 100


class DrainError(Exception):
    """Kafka cannot be read; the text is one line and says what to do."""


class _Part(NamedTuple):
    """The messages of one partition from ``start`` on and before ``end``."""

    partition: TopicPartition
    start: int
    end: int


class Drain:
    """What stood in Kafka when it was made by :func:`drain`."""

    def __init__(
        self, consumer: AIOKafkaConsumer, parts: Sequence[_Part], timeout_s: float
    ) -> None:
        self._consumer = consumer
        self._parts = parts
        self._timeout_s = timeout_s

    @property
    def size(self) -> int:
        """How many messages that is."""
        return sum(part.end - part.start for part in self._parts)

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """The values of all messages, some at a time; of one without a value it is empty.

        Raises:
            DrainError: Kafka went away.
        """
        for partition, start, end in self._parts:
            self._consumer.assign([partition])
            self._consumer.seek(partition, start)
            while await self._consumer.position(partition) < end:
                yield [
                    value or b"" for offset, value in await self._some(partition) if offset < end
                ]

    async def _some(self, partition: TopicPartition) -> list[tuple[int, bytes | None]]:
        wait_ms = round(self._timeout_s * 1000)
        found = await self._consumer.getmany(partition, timeout_ms=wait_ms)
        if not found:
            raise DrainError(f"Kafka sent nothing of {partition.topic} for {self._timeout_s:g} s")
        return [(record.offset, record.value) for record in found[partition]]


@asynccontextmanager
async def drain(
    servers: str, topics: Sequence[str], *, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[Drain]:
    """Everything in these topics up to now, to be read inside the block.

    Args:
        servers: of Kafka, ``HOST:PORT``.
        topics: in the order in which they are read.
        timeout_s: so long a silence of Kafka is waited through.

    Raises:
        DrainError: no broker at ``servers``, or a topic is missing; or an error of Kafka's came
            out of the block.
    """
    # No group: nothing is committed, and nobody else is disturbed.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await consumer.start()
                partitions = await _partitions(servers, topics)
                parts = await _parts(consumer, partitions)
        except TimeoutError:
            raise DrainError(f"Kafka at {servers} did not answer in {timeout_s:g} s") from None
        yield Drain(consumer, parts, timeout_s)
    except KafkaError as error:
        advice = "start it, or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
        raise DrainError(f"cannot read Kafka at {servers} ({error}); {advice}") from None
    finally:
        await _close(consumer)


async def _partitions(servers: str, topics: Sequence[str]) -> list[TopicPartition]:
    """Those of the topics, in order.

    Raises:
        DrainError: a topic is missing. Asked for by name, some brokers would create it.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    try:
        await admin.start()
        described = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
    finally:
        await admin.close()
    if missing := [topic for topic in topics if topic not in described]:
        raise DrainError(f"no topic {', '.join(missing)}: run `miningmap topics`")
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(part["partition"] for part in described[topic])
    ]


async def _parts(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> list[_Part]:
    """What stands in each by now; those that are empty are left out."""
    starts = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    filled = [p for p in partitions if starts[p] < ends[p]]
    # The embedded broker (Tansu 0.6) takes the last batch for one message when it is asked where a
    # partition ends. What it says beside a fetched message is right.
    consumer.assign(filled)
    for partition in filled:
        consumer.seek(partition, ends[partition] - 1)
    while any(consumer.highwater(p) is None for p in filled):
        await consumer.getmany(timeout_ms=_PROBE_MS)
    return [_Part(p, starts[p], max(ends[p], consumer.highwater(p))) for p in filled]


async def _close(consumer: AIOKafkaConsumer) -> None:
    # While the broker is away, stop() lets out the cancellation of its own fetches: not ours, so
    # it must not come in place of the error that there was.
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait({stopping})
    try:
        stopping.result()
    except asyncio.CancelledError:
        await consumer._client.close()  # noqa: SLF001 - what stop() was to do next
