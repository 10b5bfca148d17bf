"""The reader of whole topics, on a real Kafka."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from launch.local.embedded import EmbeddedBroker, free_port
from launch.local.supervisor import Supervisor
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from tests.servers import kafka_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers import KafkaServer

Sent = tuple[str, int, bytes | None]


async def send(kafka: KafkaServer | EmbeddedBroker, records: Sequence[Sent]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    await producer.start()
    try:
        for topic, partition, value in records:
            await producer.send(topic, value, key=b"k", partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def read(kafka: KafkaServer | EmbeddedBroker, *topics: str) -> list[bytes]:
    async with open_reader(kafka_at(kafka.bootstrap_servers), topics) as reader:
        found = [value async for values in reader.batches() for value in values]
        assert reader.size == len(found)
        return found


async def test_topics_are_read_in_order_and_each_partition_by_offset(
    clean_kafka: KafkaServer,
) -> None:
    numbers = range(1200)  # more than one fetch returns
    sent: list[Sent] = [(REPORTS, n % 6, b"%d" % n) for n in numbers]
    await send(clean_kafka, [(NETWORK, 0, b"network"), *sent, (DEAD_LETTERS, 0, b"not requested")])
    found = await read(clean_kafka, REPORTS, NETWORK)
    by_partition = sorted(numbers, key=lambda n: (n % 6, n))
    assert found == [*(b"%d" % n for n in by_partition), b"network"]
    assert await read(clean_kafka, REPORTS, NETWORK) == found


async def test_the_embedded_broker_is_read_to_its_end() -> None:
    broker = EmbeddedBroker()
    async with Supervisor() as supervisor:
        await supervisor.start(broker.child)
        await ensure_topics(kafka_at(broker.bootstrap_servers))
        sent = [b"%d" % n for n in range(700)]
        await send(broker, [(REPORTS, 2, value) for value in sent])
        await send(broker, [(NETWORK, 0, value) for value in sent[:2]])
        assert await read(broker, REPORTS, NETWORK) == [*sent, *sent[:2]]


async def test_empty_topics_give_no_messages(clean_kafka: KafkaServer) -> None:
    assert await read(clean_kafka, REPORTS, NETWORK) == []


async def test_a_message_without_a_value_is_empty(clean_kafka: KafkaServer) -> None:
    await send(clean_kafka, [(REPORTS, 0, None), (REPORTS, 0, b"value")])
    assert await read(clean_kafka, REPORTS) == [b"", b"value"]


async def test_messages_that_arrive_later_are_not_read(clean_kafka: KafkaServer) -> None:
    await send(clean_kafka, [(REPORTS, 0, b"before"), (NETWORK, 0, b"before too")])
    found = []
    async with open_reader(kafka_at(clean_kafka.bootstrap_servers), [REPORTS, NETWORK]) as reader:
        late: list[Sent] = [(REPORTS, n, b"after") for n in range(6)]
        await send(clean_kafka, [*late, (NETWORK, 0, b"after")])
        async for values in reader.batches():
            found += values
    assert found == [b"before", b"before too"]


async def test_a_range_of_arrival_saves_reading_the_rest(clean_kafka: KafkaServer) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    await send_hours(clean_kafka, noon)
    assert await read_range(clean_kafka, noon + timedelta(hours=3)) == [b"3", b"4", b"5"]
    until = noon + timedelta(hours=2)
    assert await read_range(clean_kafka, noon + timedelta(hours=1), until) == [b"1"]
    assert await read_range(clean_kafka, noon + timedelta(days=1)) == []
    assert await read_range(clean_kafka, datetime(1960, 1, 1, tzinfo=UTC), until) == [b"0", b"1"]


async def test_a_range_of_arrival_loses_nothing_on_the_embedded_broker() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    broker = EmbeddedBroker()
    async with Supervisor() as supervisor:
        await supervisor.start(broker.child)
        await ensure_topics(kafka_at(broker.bootstrap_servers))
        await send_hours(broker, noon)
        assert {b"3", b"4", b"5"} <= {*await read_range(broker, noon + timedelta(hours=3))}
        until = noon + timedelta(hours=4)
        assert {b"2", b"3"} <= {*await read_range(broker, noon + timedelta(hours=2), until)}


async def send_hours(kafka: KafkaServer | EmbeddedBroker, first: datetime) -> None:
    """Send one message an hour, each to a partition of its own."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    await producer.start()
    try:
        for hour in range(6):
            ms = round((first + timedelta(hours=hour)).timestamp() * 1000)
            value = b"%d" % hour
            await producer.send_and_wait(REPORTS, value, partition=hour, timestamp_ms=ms)
    finally:
        await producer.stop()


async def read_range(
    kafka: KafkaServer | EmbeddedBroker, since: datetime, until: datetime | None = None
) -> list[bytes]:
    async with open_reader(
        kafka_at(kafka.bootstrap_servers), [REPORTS, NETWORK], since=since, until=until
    ) as reader:
        return [value async for values in reader.batches() for value in values]


async def test_a_missing_topic_is_named_and_not_created(clean_kafka: KafkaServer) -> None:
    for _ in range(2):
        with pytest.raises(BrokerError, match=r": no topic nothing.here; run `miningmap topics`$"):
            await read(clean_kafka, REPORTS, "nothing.here")


async def test_an_unavailable_broker_is_an_error_with_the_remedy() -> None:
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError) as caught:
        async with open_reader(kafka_at(servers), [REPORTS]):
            pass
    assert str(caught.value).startswith(f"Kafka at {servers}: ")
    assert "MININGMAP_KAFKA__BOOTSTRAP_SERVERS" in str(caught.value)


async def test_a_silent_server_is_an_error_after_the_time_limit() -> None:
    over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        servers = "{}:{}".format(*server.sockets[0].getsockname())
        with pytest.raises(BrokerError, match=f"^Kafka at {servers}: no answer within 0.2 s; "):
            async with open_reader(kafka_at(servers), [REPORTS], timeout_s=0.2):
                pass
        over.set()


async def test_a_broker_that_stops_is_an_error_after_the_time_limit(
    clean_kafka: KafkaServer,
) -> None:
    await send(clean_kafka, [(REPORTS, 3, b"value")])
    async with open_reader(
        kafka_at(clean_kafka.bootstrap_servers), [REPORTS], timeout_s=1
    ) as reader:
        clean_kafka.stop()
        with pytest.raises(BrokerError, match=REPORTS):
            _ = [values async for values in reader.batches()]


async def test_errors_of_the_caller_are_not_changed(clean_kafka: KafkaServer) -> None:
    """For example, a full disk is not reported as an error of Kafka."""
    full = OSError("No space left on device")
    with pytest.raises(OSError, match="No space left") as caught:
        async with open_reader(kafka_at(clean_kafka.bootstrap_servers), [REPORTS]):
            raise full
    assert caught.value is full
