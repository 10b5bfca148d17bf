"""How far a consumer group is behind, by the offsets that the broker gives."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition

from miningmap.kafka.clients import admin_client, groupless_consumer, partitions_of_topics
from miningmap.kafka.errors import CREATE_TOPICS, BrokerError, broker_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from aiokafka.admin import AIOKafkaAdminClient

    from miningmap.settings import Kafka


class Progress(NamedTuple):
    """A group's progress in one partition: the committed offset, and the messages after it."""

    committed: int
    lag: int


Lag: TypeAlias = dict[tuple[str, int], Progress]
"""Progress by topic and partition."""


@asynccontextmanager
async def lag_of(
    kafka: Kafka, group: str, topics: Sequence[str]
) -> AsyncIterator[Callable[[], Awaitable[Lag]]]:
    """A function that returns the group's current lag; it raises :class:`BrokerError` too.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    servers = kafka.bootstrap_servers
    async with admin_client(kafka) as admin, groupless_consumer(kafka) as consumer:

        async def current_lag() -> Lag:
            async with broker_errors(servers):
                numbers = await partitions_of_topics(admin)
                if missing := sorted(set(topics) - numbers.keys()):
                    raise BrokerError.at(servers, f"no topic {', '.join(missing)}", CREATE_TOPICS)
                partitions = [TopicPartition(name, n) for name in topics for n in numbers[name]]
                lag = await _lag(admin, consumer, group, partitions)
            if lag is None:
                problem = f"the coordinator of the group {group} is not ready"
                raise BrokerError.at(servers, problem, "try again in a few seconds")
            return lag

        yield current_lag


async def _lag(
    admin: AIOKafkaAdminClient,
    consumer: AIOKafkaConsumer,
    group: str,
    partitions: Sequence[TopicPartition],
) -> Lag | None:
    """The group's lag, or ``None`` while its coordinator is loading the offsets."""
    # The committed offsets come first: read after the ends, they could be beyond them.
    offsets = await admin.list_consumer_group_offsets(group, partitions=partitions)
    starts = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    # aiokafka ignores the coordinator's error while it loads, and returns no offsets.
    if not offsets.keys() >= set(partitions):
        return None
    lag: Lag = {}
    for partition in partitions:
        committed = max(offsets[partition].offset, starts[partition])
        # The embedded broker's end can be behind the offset that it let the group commit.
        remaining = max(0, ends[partition] - committed)
        lag[partition.topic, partition.partition] = Progress(committed, remaining)
    return lag
