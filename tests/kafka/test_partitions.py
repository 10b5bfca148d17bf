"""Ranges of offsets of single partitions, of a real Kafka."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from miningmap.kafka.clients import LONG_POLL_MS, admin_client
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.partitions import open_partitions
from miningmap.kafka.topics import REPORTS
from tests.servers import kafka_at

if TYPE_CHECKING:
    from tests.servers import KafkaServer

PARTITION = (REPORTS, 2)


async def write(servers: str, number: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for n in range(number):
            await producer.send_and_wait(REPORTS, b"%d" % n, partition=2)
    finally:
        await producer.stop()


async def read(servers: str, start: int, stop: int) -> tuple[list[bytes], list[int]]:
    """The messages of a range, and the offsets that were reached."""
    values: list[bytes] = []
    reached: list[int] = []
    async with open_partitions(kafka_at(servers), [REPORTS], timeout_s=10) as reader:
        async for records, after in reader.batches(PARTITION, start, stop, limit=3):
            values += [record.value for record in records]
            reached.append(after)
    return values, reached


async def test_a_range_is_read_in_batches_up_to_its_end(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await write(servers, 9)
    values, reached = await read(servers, 2, 7)
    assert values == [b"2", b"3", b"4", b"5", b"6"]
    assert reached == [5, 7]
    async with open_partitions(kafka_at(servers), [REPORTS]) as reader:
        assert reader.held[PARTITION] == (0, 9)
        assert reader.held[REPORTS, 0] == (0, 0)
    assert await read(servers, 4, 4) == ([], [])


async def test_what_kafka_does_not_hold_is_left_out_and_the_end_is_reached(
    clean_kafka: KafkaServer,
) -> None:
    servers = clean_kafka.bootstrap_servers
    await write(servers, 9)
    assert await read(servers, 7, 30) == ([b"7", b"8"], [9, 30])
    async with admin_client(kafka_at(servers)) as admin:
        await admin.delete_records({TopicPartition(*PARTITION): RecordsToDelete(before_offset=5)})
    assert await read(servers, 0, 7) == ([b"5", b"6"], [7])
    assert await read(servers, 0, 4) == ([], [4])


async def test_one_partition_after_the_other_is_read_without_waiting_for_new_messages(
    clean_kafka: KafkaServer,
) -> None:
    servers = clean_kafka.bootstrap_servers
    await write(servers, 1)
    turns = 10
    async with (
        open_partitions(kafka_at(servers), [REPORTS]) as reader,
        admin_client(kafka_at(servers)) as admin,
    ):
        began = time.monotonic()
        for _ in range(turns):
            async for _, after in reader.batches(PARTITION, 0, 1, limit=3):
                assert after == 1
                await admin.list_topics()  # meanwhile the reader asks for what comes after it
        # The broker would hold back the fetch after the last message of each turn for so long.
        assert time.monotonic() - began < turns * LONG_POLL_MS / 1000 / 2


async def test_a_missing_topic_is_named(clean_kafka: KafkaServer) -> None:
    with pytest.raises(BrokerError, match="no topic missing"):
        async with open_partitions(kafka_at(clean_kafka.bootstrap_servers), ["missing"]):
            pass
