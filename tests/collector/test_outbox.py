from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from collector.metrics import Metrics
from collector.outbox import OVERHEAD, MessagePublisher, Outbox, Outgoing, record_of
from launch.local.embedded import free_port
from miningmap import messages as wire
from miningmap.kafka import producer as connections
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import Record, RefusedTimestampError
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.messages import Located, Message, Network, Report
from miningmap.settings import Kafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.servers import KafkaServer

DEADLINE_S = 60
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


def report(pool: str, hashrate: float = 1e18) -> Report:
    return Report(
        pool=pool,
        source="toy",
        start=NOW - timedelta(minutes=1),
        end=NOW,
        hold_s=300,
        hashrate=hashrate,
        places=(Located("US", hashrate, "measured"),),
        fetched_at=NOW,
        simulated=True,
    )


def network(source: str) -> Network:
    return Network(
        source=source,
        start=NOW - timedelta(minutes=1),
        end=NOW,
        hold_s=300,
        hashrate=9e20,
        fetched_at=NOW,
        simulated=True,
    )


def hashrates(delivered: Sequence[Record]) -> list[float]:
    return [wire.decode(record.value).hashrate for record in delivered]


def ignore(_records: Sequence[Record]) -> None:
    """A callback for tests that do not look at what was acknowledged."""


class Deliveries:
    """A broker that raises each failure once, and blocks while ``available`` is not set."""

    def __init__(self, *failures: BrokerError) -> None:
        self.failures = list(failures)
        self.available = asyncio.Event()
        self.available.set()
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        await self.available.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.records += records

    @property
    def messages(self) -> list[Message]:
        return [wire.decode(record.value) for record in self.records]

    @property
    def hashrates(self) -> list[float]:
        return hashrates(self.records)


@asynccontextmanager
async def delivering(outbox: Outbox) -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        delivering = tasks.create_task(outbox.run())
        yield
        delivering.cancel()


async def test_messages_are_delivered_in_order() -> None:
    kafka = Deliveries()
    outbox = Outbox(kafka.deliver)
    async with delivering(outbox):
        outbox.put([report("a"), report("b")])
        outbox.put([report("c")])
        await outbox.join()
    assert kafka.messages == [report("a"), report("b"), report("c")]


async def test_messages_are_kept_while_the_broker_is_unavailable() -> None:
    kafka = Deliveries()
    kafka.available.clear()
    outbox = Outbox(kafka.deliver)
    async with delivering(outbox):
        for number in range(100):
            outbox.put([report("toy", number)])
        assert not kafka.messages
        kafka.available.set()
        await outbox.join()
    assert kafka.hashrates == list(range(100))


async def test_a_failed_delivery_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.outbox.RETRY_S", 0)
    kafka = Deliveries(BrokerError("broken"))
    outbox = Outbox(kafka.deliver)
    async with delivering(outbox):
        outbox.put([report("a")])
        await outbox.join()
    assert kafka.messages == [report("a")]


async def test_messages_that_kafka_never_accepts_are_dropped_alone_and_counted() -> None:
    delivered, lost = Deliveries(), Counter[str]()

    async def deliver(records: Sequence[Record]) -> None:
        if any(record.key == b"large" for record in records):
            raise BrokerError("too large", retriable=False)
        await delivered.deliver(records)

    outbox = Outbox(deliver, lost=lambda reason, n: lost.update({reason: n}))
    with capture_logs() as logs:
        async with delivering(outbox):
            outbox.put([report("small", 1), report("large"), report("small", 2)])
            outbox.put([report("small", 3)])
            await outbox.join()
    assert delivered.hashrates == [1, 2, 3]
    assert lost == {"refused": 1}
    assert [(log["event"], log["log_level"]) for log in logs] == [("messages_dropped", "error")]


async def test_a_full_outbox_drops_the_oldest_and_logs_that_once() -> None:
    kafka, lost = Deliveries(), Counter[str]()
    room = 2 * (OVERHEAD + len(wire.encode(report("toy", 4.0))))
    outbox = Outbox(kafka.deliver, lost=lambda reason, n: lost.update({reason: n}), max_memory=room)
    with capture_logs() as logs:
        for number in range(5):
            outbox.put([report("toy", float(number))])
    async with delivering(outbox):
        await outbox.join()
    assert kafka.hashrates == [3, 4]
    assert lost == {"full": 3}
    assert [(log["event"], log["bytes"]) for log in logs] == [("outbox_full", room)]


async def test_messages_that_meet_an_unexpected_error_are_dropped_alone() -> None:
    delivered = Deliveries()

    async def deliver(records: Sequence[Record]) -> None:
        if any(record.key == b"bad" for record in records):
            raise RuntimeError("a bug")
        await delivered.deliver(records)

    outbox = Outbox(deliver)
    outbox.put([report("bad")])
    outbox.put([report("good")])
    with capture_logs() as logs:
        async with delivering(outbox):
            await outbox.join()
    assert delivered.messages == [report("good")]
    assert [(log["event"], log["log_level"]) for log in logs] == [("messages_dropped", "error")]


async def test_a_record_has_the_time_of_its_poll_and_never_a_later_one_than_now() -> None:
    kafka, clock = Deliveries(), [1000.0]
    outbox = Outbox(kafka.deliver, now=lambda: clock[0])
    outbox.put([report("early")])
    clock[0] = 5000.0
    outbox.put([report("ahead")])
    clock[0] = 3000.0  # the clock was wrong, and is set back
    async with delivering(outbox):
        await outbox.join()
    assert [record.timestamp_ms for record in kafka.records] == [1_000_000, 3_000_000]


async def test_a_broker_that_takes_no_records_from_the_past_gets_current_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collector.outbox.RETRY_S", 0)
    kafka = Deliveries(RefusedTimestampError("too old"))
    outbox = Outbox(kafka.deliver)
    async with delivering(outbox):
        outbox.put([report("a")])
        await outbox.join()
    assert [record.timestamp_ms for record in kafka.records] == [None]


async def test_it_starts_without_a_broker_and_publishing_times_out() -> None:
    unavailable = Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")
    acknowledged: list[Record] = []
    with capture_logs() as logs:
        async with MessagePublisher(
            unavailable, acknowledged=acknowledged.extend, timeout_s=0.1
        ) as publisher:
            for _ in range(3):
                with pytest.raises(BrokerError, match=unavailable.bootstrap_servers) as caught:
                    await publisher.publish([report("toy")])
                assert caught.value.retriable
    assert not acknowledged
    assert [log["event"] for log in logs] == ["kafka_unavailable"]


async def records(kafka: KafkaServer, topic: str, wanted: int, source_or_pool: str) -> list[Any]:
    """The first ``wanted`` different records of a topic that name a pool or source."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < wanted:
                record = await consumer.getone()
                known = {other.value for other in found}
                if source_or_pool.encode() in record.value and record.value not in known:
                    found.append(record)
    finally:
        await consumer.stop()
    return found


@pytest.mark.integration
async def test_a_published_message_is_in_its_topic_under_its_key(clean_kafka: KafkaServer) -> None:
    pool, source = f"toy-{uuid4().hex}", f"toy-{uuid4().hex}"
    acknowledged: list[Record] = []
    messages: list[Outgoing] = [report(pool, 1e18), network(source), report(pool, 2e18)]
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    async with MessagePublisher(settings, acknowledged=acknowledged.extend) as publisher:
        await publisher.publish(messages)
        assert acknowledged == list(map(record_of, messages))

        reports = await records(clean_kafka, REPORTS, 2, pool)
        assert [record.key for record in reports] == [pool.encode()] * 2
        assert [wire.decode(record.value) for record in reports] == [messages[0], messages[2]]
        (record,) = await records(clean_kafka, NETWORK, 1, source)
        assert record.key == b"bitcoin"
        assert wire.decode(record.value) == messages[1]


@pytest.mark.integration
async def test_rejected_readings_are_dead_letters_and_counted(
    clean_kafka: KafkaServer,
) -> None:
    pool = f"toy-{uuid4().hex}"
    value = f'{{"pool":"{pool}"}}'.encode()
    letter = DeadLetter(pool.encode(), value, "implausible", "too much", NOW, REPORTS, source="toy")
    metrics = Metrics(CollectorRegistry())
    for series in metrics.series:
        metrics.registry.register(series)
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    async with MessagePublisher(settings, acknowledged=metrics.count) as publisher:
        await publisher.publish([report(pool), letter])
        (record,) = await records(clean_kafka, DEAD_LETTERS, 1, pool)
    assert (record.key, record.value) == (pool.encode(), value)
    assert dict(record.headers) == {
        "reason": b"implausible",
        "error": b"too much",
        "topic": b"miningmap.reports",
        "source": b"toy",
        "at": b"2026-11-22T15:00:00Z",
    }
    count = metrics.registry.get_sample_value
    assert count("miningmap_dead_letters_total", {"reason": "implausible"}) == 1
    assert count("miningmap_reports_total", {"pool": pool}) == 1


@pytest.mark.integration
async def test_concurrent_publishing_loses_nothing(clean_kafka: KafkaServer) -> None:
    pool = f"toy-{uuid4().hex}"
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    async with MessagePublisher(settings, acknowledged=ignore) as publisher:
        await asyncio.gather(*(publisher.publish([report(pool, n)]) for n in range(200)))
    found = [wire.decode(record.value) for record in await records(clean_kafka, REPORTS, 200, pool)]
    assert sorted(message.hashrate for message in found) == list(range(200))


@pytest.mark.integration
async def test_a_message_that_is_too_large_is_rejected_and_others_are_not(
    clean_kafka: KafkaServer,
) -> None:
    pool = f"toy-{uuid4().hex}"
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    huge = msgspec.structs.replace(report(pool), source="x" * 3_000_000)
    async with MessagePublisher(settings, acknowledged=ignore) as publisher:
        with pytest.raises(BrokerError) as caught:
            await publisher.publish([huge])
        assert not caught.value.retriable
        await publisher.publish([report(pool)])
    await records(clean_kafka, REPORTS, 1, pool)


@asynccontextmanager
async def forwarding(port: int, servers: str) -> AsyncIterator[None]:
    """Forward a port to the broker inside the block."""
    host, _, target = servers.partition(":")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    async def accept(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection(host, int(target))
        await asyncio.gather(pump(source, writer), pump(reader, sink))

    async with await asyncio.start_server(accept, "127.0.0.1", port):
        yield


@pytest.mark.integration
async def test_messages_from_before_the_broker_started_arrive(clean_kafka: KafkaServer) -> None:
    pool, port = f"toy-{uuid4().hex}", free_port()
    settings = Kafka(bootstrap_servers=f"127.0.0.1:{port}")
    with capture_logs() as logs:
        async with MessagePublisher(settings, acknowledged=ignore) as publisher:
            outbox = Outbox(publisher.deliver)
            async with delivering(outbox):
                outbox.put([report(pool)])
                while not logs:  # noqa: ASYNC110 - a list has no event to wait for
                    await asyncio.sleep(0.01)
                async with forwarding(port, clean_kafka.bootstrap_servers):
                    await outbox.join()
    assert [log["event"] for log in logs] == ["kafka_unavailable", "kafka_available"]
    await records(clean_kafka, REPORTS, 1, pool)


@pytest.mark.integration
async def test_messages_from_while_the_broker_was_killed_arrive(clean_kafka: KafkaServer) -> None:
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    acknowledged: list[Record] = []
    async with MessagePublisher(settings, acknowledged=acknowledged.extend) as publisher:
        outbox = Outbox(publisher.deliver)
        async with delivering(outbox):
            outbox.put([report("toy", 1)])
            await outbox.join()
            await asyncio.to_thread(clean_kafka.stop, signal.SIGKILL)
            outbox.put([report("toy", 2)])
            outbox.put([report("toy", 3)])
            await asyncio.to_thread(clean_kafka.start)
            await outbox.join()
    found = await records(clean_kafka, REPORTS, 3, "toy")
    assert [record.value for record in found] == [record.value for record in acknowledged]
    assert hashrates(acknowledged) == [1, 2, 3]
    assert [record.timestamp for record in found] == [r.timestamp_ms for r in acknowledged]


@pytest.mark.integration
async def test_a_missing_topic_is_named_and_not_created(clean_kafka: KafkaServer) -> None:
    topic = f"miningmap.{uuid4().hex}"
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    with capture_logs() as logs:
        async with connections.Publisher(settings, frozenset({topic}), timeout_s=1) as publisher:
            with pytest.raises(BrokerError):
                await publisher.publish([Record(topic, b"key", b"value")])
    assert logs[0]["error"].endswith(f"no topic {topic}; run `miningmap topics`")
    admin = AIOKafkaAdminClient(bootstrap_servers=clean_kafka.bootstrap_servers)
    await admin.start()
    try:
        assert topic not in await admin.list_topics()
    finally:
        await admin.close()
