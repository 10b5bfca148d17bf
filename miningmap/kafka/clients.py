"""Connected aiokafka clients that are closed when their block ends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from miningmap.kafka.close import close_consumer
from miningmap.kafka.errors import CONNECT_S, broker_errors
from miningmap.kafka.header_names import tolerate_header_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

tolerate_header_names()


@asynccontextmanager
async def admin_client(
    servers: str, *, timeout_s: float = CONNECT_S
) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected administration client.

    Raises:
        BrokerError: the broker cannot be reached within ``timeout_s`` seconds.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    try:
        async with broker_errors(servers, timeout_s):
            await admin.start()
        yield admin
    finally:
        await admin.close()


async def partitions_of_topics(admin: AIOKafkaAdminClient) -> dict[str, list[int]]:
    """Return the numbers of the partitions of every topic, in order."""
    # All topics: some brokers create a topic that is requested by name.
    return {
        topic["topic"]: sorted(partition["partition"] for partition in topic["partitions"])
        for topic in await admin.describe_topics()
    }


@asynccontextmanager
async def groupless_consumer(
    servers: str, *, timeout_s: float = CONNECT_S
) -> AsyncIterator[AIOKafkaConsumer]:
    """A connected consumer that belongs to no group, so it commits nothing and moves no partition.

    Raises:
        BrokerError: the broker cannot be reached within ``timeout_s`` seconds.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        async with broker_errors(servers, timeout_s):
            await consumer.start()
        yield consumer
    finally:
        await close_consumer(consumer)
