"""The lag of a consumer group, on a real Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from launch.local.embedded import free_port
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import Progress, lag_of
from miningmap.kafka.topics import NETWORK, REPORTS
from tests.servers import kafka_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from miningmap.kafka.lag import Lag
    from tests.servers import KafkaServer

DEADLINE_S = 30


async def first(current_lag: Callable[[], Awaitable[Lag]]) -> Lag:
    """The lag, once the broker has loaded the group's offsets."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await current_lag()
            except BrokerError as error:
                if "oordinator" not in str(error):
                    raise
                await asyncio.sleep(0.05)


async def test_the_lag_is_the_number_of_uncommitted_messages(clean_kafka: KafkaServer) -> None:
    servers, group = clean_kafka.bootstrap_servers, f"test-{uuid4().hex}"
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        for _ in range(5):
            await producer.send_and_wait(REPORTS, b"value", partition=2)
    async with lag_of(kafka_at(servers), group, (REPORTS, NETWORK)) as current_lag:
        before = await first(current_lag)
        # Else its close commits the end of the partition, if it knows that by then.
        async with AIOKafkaConsumer(
            bootstrap_servers=servers, group_id=group, enable_auto_commit=False
        ) as consumer:
            partition = TopicPartition(REPORTS, 2)
            consumer.assign([partition])
            await consumer.commit({partition: 3})
        after = await current_lag()
    nothing = {(REPORTS, number): Progress(0, 0) for number in range(6)} | {
        (NETWORK, 0): Progress(0, 0)
    }
    assert before == nothing | {(REPORTS, 2): Progress(0, 5)}
    assert after == nothing | {(REPORTS, 2): Progress(3, 2)}


async def test_a_missing_topic_is_an_error_and_is_not_asked_for_by_name(
    clean_kafka: KafkaServer,
) -> None:
    """Some brokers create a topic that is requested by name, with settings of their own."""
    async with lag_of(
        kafka_at(clean_kafka.bootstrap_servers), "any", [REPORTS, "never-created"]
    ) as lag:
        with pytest.raises(BrokerError, match="no topic never-created; run `miningmap topics`"):
            await lag()


async def test_an_unavailable_broker_is_an_error_with_its_address() -> None:
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError, match=f"^Kafka at {servers}: "):
        async with lag_of(kafka_at(servers), "group", (REPORTS,)):
            pass


async def test_a_broker_that_stops_is_an_error_and_its_clients_are_closed(
    clean_kafka: KafkaServer,
) -> None:
    servers, group = clean_kafka.bootstrap_servers, f"test-{uuid4().hex}"
    async with lag_of(kafka_at(servers), group, (REPORTS,)) as current_lag:
        assert len(await first(current_lag)) == 6
        clean_kafka.stop()
        with pytest.raises(BrokerError, match=f"^Kafka at {servers}: "):
            await current_lag()
