"""How far behind Kafka a consumer group is, by Kafka's own count."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence


class Progress(NamedTuple):
    """How far a group is in one partition: what is committed, and how many messages are left."""

    committed: int
    lag: int


Lag: TypeAlias = dict[tuple[str, int], Progress]
"""By topic and partition."""


class LagError(Exception):
    """Kafka could not be asked."""


@asynccontextmanager
async def lag_of(
    servers: str, group: str, topics: Sequence[str]
) -> AsyncIterator[Callable[[], Awaitable[Lag]]]:
    """A function that asks Kafka for the group's lag; it raises :class:`LagError` where it can't.

    Raises:
        LagError: no connection.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    # No group of its own: it only asks where the partitions end.
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)

    async def ask() -> Lag:
        try:
            partitions = await _partitions(admin, topics)
            # What is committed first: asked the other way round, it could be beyond the end.
            done = await admin.list_consumer_group_offsets(group, partitions=partitions)
            starts = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        except KafkaError as error:
            raise LagError(repr(error)) from error
        # While the coordinator still loads, it answers so, and aiokafka hands out an empty answer.
        if not done.keys() >= set(partitions):
            raise LagError(f"the coordinator of {group} is not ready")
        result: Lag = {}
        for tp in partitions:
            committed = max(done[tp].offset, starts[tp])
            # The embedded broker's ends can lag behind what it let us commit.
            result[tp.topic, tp.partition] = Progress(committed, max(0, ends[tp] - committed))
        return result

    try:
        try:
            await admin.start()
            await consumer.start()
        except KafkaError as error:
            raise LagError(repr(error)) from error
        yield ask
    finally:
        await consumer.stop()
        await admin.close()


async def _partitions(
    admin: AIOKafkaAdminClient, topics: Sequence[str]
) -> Sequence[TopicPartition]:
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in await admin.describe_topics(list(topics))
        for partition in topic["partitions"]
    ]
