"""Headers of Kafka messages whose names are no text, which aiokafka itself cannot read."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as aiokafka_producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import DEAD_LETTERS, REPORTS
from tests.servers import kafka_at
from tests.streams.fixtures import report
from tests.streams.processes import processed, publish, streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from miningmap.settings import Settings
    from tests.servers import KafkaServer


class Name(str):
    """A name that is sent as bytes that are no UTF-8, as librdkafka sends whatever it is given."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe" + super().encode()


@pytest.fixture(autouse=True)
def _any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the builder in Python calls encode().
    for module in (message_accumulator, aiokafka_producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)


@asynccontextmanager
async def producer(servers: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    made = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=200, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def read(name: str) -> str:
    """A name as it is read."""
    return "\N{REPLACEMENT CHARACTER}" * 2 + name if isinstance(name, Name) else name


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_a_batch_with_such_a_name_is_read_as_it_is(
    clean_kafka: KafkaServer, compression: str | None
) -> None:
    servers = clean_kafka.bootstrap_servers
    sent: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
        (b"a", b"1", [("plain", b"1")]),
        (None, b"2", []),
        (b"b", b"3", [("first", None), (Name("x"), b"\xff"), (Name("x"), b"")]),
        (b"", None, [("plain", b"\xfe")]),
        (b"c", b"5", [(Name(""), None)]),
    ]
    async with producer(servers, compression_type=compression) as made:
        futures = [
            await made.send(REPORTS, key=key, value=value, headers=headers, partition=0)
            for key, value, headers in sent
        ]
        for future in futures:
            await future
        await made.send_and_wait(REPORTS, value=b"a later batch", partition=0)
    async with open_reader(kafka_at(servers), [REPORTS]) as reader:
        found = [record async for records in reader.records() for record in records]
    assert [each.offset for each in found] == list(range(6))
    as_text = [
        (key, value, tuple((read(name), each) for name, each in headers))
        for key, value, headers in sent
    ]
    assert [(each.key, each.value, tuple(each.headers)) for each in found[:-1]] == as_text


async def test_the_service_goes_on_after_such_names_and_headers_without_a_value(
    settings: Settings, clean_kafka: KafkaServer
) -> None:
    async with streams(settings):
        async with producer(clean_kafka.bootstrap_servers) as made:
            for topic in (REPORTS, DEAD_LETTERS):
                for headers in ([(Name("x"), b"1")], [("at", None), ("reason", None)]):
                    await made.send_and_wait(topic, key=b"a", value=b"x", headers=headers)
        await publish(settings, [report(hashrate=1)])
        await processed(settings)
