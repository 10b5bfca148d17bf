"""Connected aiokafka clients that are closed when their block ends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from miningmap.kafka.close import close_consumer
from miningmap.kafka.errors import CONNECT_S
from miningmap.kafka.header_names import tolerate_header_names
from miningmap.kafka.security import client_options, connecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from miningmap.settings import Kafka

LONG_POLL_MS: Final = 500
"""How long the broker holds back a fetch of a consumer that waits for new messages."""
MOMENT_MS: Final = 20
"""The same for a consumer that reads what is there: one partition after the other."""

tolerate_header_names()


@asynccontextmanager
async def admin_client(
    kafka: Kafka, *, timeout_s: float = CONNECT_S
) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected administration client.

    Raises:
        RefusedError: the settings do not let this client in.
        BrokerError: the broker cannot be reached within ``timeout_s`` seconds.
    """
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        async with connecting(kafka, timeout_s):
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
    kafka: Kafka, *, timeout_s: float = CONNECT_S, wait_ms: int = LONG_POLL_MS
) -> AsyncIterator[AIOKafkaConsumer]:
    """A connected consumer that belongs to no group, so it commits nothing and moves no partition.

    Args:
        kafka: how to reach the broker.
        timeout_s: how long that may take, in seconds.
        wait_ms: how long the broker may hold a fetch back until there is a message. A consumer that
            is assigned other partitions sends no fetch for them before it has that answer.

    Raises:
        RefusedError: the settings do not let this client in.
        BrokerError: the broker cannot be reached within ``timeout_s`` seconds.
    """
    consumer = AIOKafkaConsumer(
        **client_options(kafka),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=wait_ms,
    )
    try:
        async with connecting(kafka, timeout_s):
            await consumer.start()
        yield consumer
    finally:
        await close_consumer(consumer)
