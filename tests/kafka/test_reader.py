"""Everything in topics, read from a real Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import unused_port
from aiokafka import AIOKafkaProducer

from launch.local.embedded import EmbeddedBroker
from launch.local.supervisor import Supervisor
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.reader import DrainError, drain
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS

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


async def drained(kafka: KafkaServer | EmbeddedBroker, *topics: str) -> list[bytes]:
    async with drain(kafka.bootstrap_servers, topics) as held:
        found = [value async for values in held.batches() for value in values]
        assert held.size == len(found)
        return found


async def test_topics_come_in_their_order_and_each_partition_in_its_own(
    clean_kafka: KafkaServer,
) -> None:
    numbers = range(1200)  # more than one fetch gives
    sent: list[Sent] = [(REPORTS, n % 6, b"%d" % n) for n in numbers]
    await send(clean_kafka, [(NETWORK, 0, b"network"), *sent, (DEAD_LETTERS, 0, b"not asked for")])
    found = await drained(clean_kafka, REPORTS, NETWORK)
    by_partition = sorted(numbers, key=lambda n: (n % 6, n))
    assert found == [*(b"%d" % n for n in by_partition), b"network"]
    assert await drained(clean_kafka, REPORTS, NETWORK) == found


async def test_the_embedded_broker_is_read_to_its_end_too() -> None:
    broker = EmbeddedBroker()
    async with Supervisor() as supervisor:
        await supervisor.start(broker.child)
        await ensure_topics(broker.bootstrap_servers)
        sent = [b"%d" % n for n in range(700)]
        await send(broker, [(REPORTS, 2, value) for value in sent])
        await send(broker, [(NETWORK, 0, value) for value in sent[:2]])
        assert await drained(broker, REPORTS, NETWORK) == [*sent, *sent[:2]]


async def test_empty_topics_hold_nothing(clean_kafka: KafkaServer) -> None:
    assert await drained(clean_kafka, REPORTS, NETWORK) == []


async def test_a_message_without_a_value_is_empty(clean_kafka: KafkaServer) -> None:
    await send(clean_kafka, [(REPORTS, 0, None), (REPORTS, 0, b"value")])
    assert await drained(clean_kafka, REPORTS) == [b"", b"value"]


async def test_what_comes_later_is_not_waited_for(clean_kafka: KafkaServer) -> None:
    await send(clean_kafka, [(REPORTS, 0, b"before"), (NETWORK, 0, b"before too")])
    found = []
    async with drain(clean_kafka.bootstrap_servers, [REPORTS, NETWORK]) as held:
        late: list[Sent] = [(REPORTS, n, b"after") for n in range(6)]
        await send(clean_kafka, [*late, (NETWORK, 0, b"after")])
        async for values in held.batches():
            found += values
    assert found == [b"before", b"before too"]


async def test_a_missing_topic_is_named_and_not_made(clean_kafka: KafkaServer) -> None:
    for _ in range(2):
        with pytest.raises(DrainError, match=r"^no topic nothing.here: run `miningmap topics`$"):
            await drained(clean_kafka, REPORTS, "nothing.here")


async def test_without_a_broker_the_error_says_what_to_set() -> None:
    servers = f"127.0.0.1:{unused_port()}"
    with pytest.raises(DrainError) as caught:
        async with drain(servers, [REPORTS]):
            pass
    assert str(caught.value).startswith(f"cannot read Kafka at {servers} (")
    assert "MININGMAP_KAFKA__BOOTSTRAP_SERVERS" in str(caught.value)


async def test_what_is_no_broker_is_waited_for_only_so_long() -> None:
    over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        servers = "{}:{}".format(*server.sockets[0].getsockname())
        with pytest.raises(DrainError, match=f"^Kafka at {servers} did not answer in 0.2 s$"):
            async with drain(servers, [REPORTS], timeout_s=0.2):
                pass
        over.set()


async def test_a_broker_that_goes_away_is_waited_for_only_so_long(clean_kafka: KafkaServer) -> None:
    await send(clean_kafka, [(REPORTS, 3, b"value")])
    async with drain(clean_kafka.bootstrap_servers, [REPORTS], timeout_s=1) as held:
        clean_kafka.stop()
        with pytest.raises(DrainError, match=REPORTS):
            _ = [values async for values in held.batches()]
