"""The publisher on a real Kafka: records are acknowledged, or there is an error."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewTopic
from structlog.testing import capture_logs

from launch.local.embedded import free_port
from miningmap.dependencies import Dependency
from miningmap.kafka import producer
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.clients import admin_client
from miningmap.kafka.close import ABANDON_S, FLUSH_S
from miningmap.kafka.errors import START_BROKER, BrokerError
from miningmap.kafka.producer import MAX_RECORD_BYTES, Publisher, Record, record_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES
from miningmap.messages import Located, Network, Report, decode, encode
from miningmap.settings import Kafka, SettingsError
from tests.servers import delete_topics, kafka_at, recreate_topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import KafkaServer

DEADLINE_S = 30
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
CLAIM: dict[str, Any] = {
    "source": "toy",
    "start": NOW - timedelta(minutes=1),
    "end": NOW,
    "hold_s": 300,
    "hashrate": 1e18,
    "fetched_at": NOW,
    "simulated": True,
}
TOPICS = frozenset({REPORTS, DEAD_LETTERS})


def record(value: bytes = b"value") -> Record:
    return Record(REPORTS, b"key", value)


async def received(kafka: KafkaServer, topic: str, until: bytes) -> list[Any]:
    """The records of a topic up to the one with the value ``until``."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not found or found[-1].value != until:
                found.append(await consumer.getone())
    finally:
        await consumer.stop()
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a log has no event to wait for
            await asyncio.sleep(0.01)


def tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def publisher(kafka: KafkaServer, *topics: str, timeout_s: float = DEADLINE_S) -> Publisher:
    settings = Kafka(bootstrap_servers=kafka.bootstrap_servers)
    return Publisher(settings, frozenset(topics) or TOPICS, timeout_s=timeout_s)


def test_a_report_is_written_to_reports_with_its_pool_as_key() -> None:
    message = Report(pool="ocean", places=(), **CLAIM)
    made = record_of(message)
    assert (made.topic, made.key, made.headers) == (REPORTS, b"ocean", ())
    assert decode(made.value) == message


def test_a_network_message_is_written_to_network_with_bitcoin_as_key() -> None:
    message = Network(**CLAIM)
    made = record_of(message)
    assert (made.topic, made.key, made.headers) == (NETWORK, b"bitcoin", ())
    assert decode(made.value) == message


async def test_publishing_without_a_broker_fails_within_the_time_limit() -> None:
    unreachable = Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")
    with capture_logs() as logs:
        async with Publisher(unreachable, TOPICS, timeout_s=0.2) as unconnected:
            for _ in range(2):
                with pytest.raises(BrokerError, match="Unable to bootstrap") as caught:
                    await unconnected.publish([record()])
                text = str(caught.value)
                assert text.startswith(f"Kafka at {unreachable.bootstrap_servers}: ")
                assert text.endswith(f"; {START_BROKER}")
                assert caught.value.retriable
    assert [log["event"] for log in logs] == ["kafka_unavailable"]


async def test_published_records_are_in_the_topic_with_key_and_headers_in_order(
    clean_kafka: KafkaServer,
) -> None:
    letters = [
        Record(DEAD_LETTERS, b"ocean", b"first", (("reason", b"schema"), ("error", "…".encode()))),
        Record(DEAD_LETTERS, None, b"second"),
        Record(DEAD_LETTERS, b"ocean", b"", (("reason", b"undecodable"),)),
        Record(DEAD_LETTERS, b"ocean", b"last"),
    ]
    with capture_logs() as logs:
        async with publisher(clean_kafka) as connected:
            await connected.connected()
            await connected.publish(letters[:3])
            await connected.publish([])
            await connected.publish(letters[3:])
    found = await received(clean_kafka, DEAD_LETTERS, b"last")
    assert [(one.key, one.value, one.headers) for one in found] == [
        (letter.key, letter.value, letter.headers) for letter in letters
    ]
    assert logs == []


async def test_publishing_without_idempotence(
    clean_kafka: KafkaServer,
) -> None:
    settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers, idempotent=False)
    async with Publisher(settings, TOPICS) as connected:
        await connected.publish([record(b"plain")])
    assert len(await received(clean_kafka, REPORTS, b"plain")) == 1


def report_of_places(number: int) -> Report:
    codes = ("US-TX", "US-GA", "US-NY", "CA", "RU", "KZ", "CN-SC", "CN-XJ", "NO", "PY")
    places = tuple(Located(code, 1e16 + number * 1e13, "measured") for code in codes)
    return Report(pool="toy", places=places, **{**CLAIM, "hashrate": 1e18 + number})


async def test_reports_are_compressed_and_read_as_they_were_sent(clean_kafka: KafkaServer) -> None:
    reports = [report_of_places(number) for number in range(20)]
    stored = {}
    for compression in ("none", "gzip"):
        await recreate_topics(clean_kafka.bootstrap_servers)
        settings = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers, compression=compression)
        async with Publisher(settings, TOPICS) as connected:
            await connected.publish([record_of(each) for each in reports])
        found = await received(clean_kafka, REPORTS, encode(reports[-1]))
        assert [decode(each.value) for each in found] == reports
        stored[compression] = clean_kafka.log_bytes(REPORTS)
    assert Kafka().compression == "gzip"
    assert stored["gzip"] < stored["none"] / 3


async def test_a_missing_topic_is_logged_once_and_awaited(clean_kafka: KafkaServer) -> None:
    topic = f"late-{uuid4().hex}"
    late = Record(topic, None, b"late")
    why = f"no topic {topic}; run `miningmap topics`"
    with capture_logs() as logs:
        async with publisher(clean_kafka, topic, REPORTS) as waiting:
            delivery = asyncio.create_task(waiting.deliver([late]))
            await until(lambda: logs)
            assert not delivery.done()
            with pytest.raises(BrokerError, match=why):
                async with publisher(clean_kafka, topic, timeout_s=1) as impatient:
                    await impatient.publish([late])
            async with admin_client(kafka_at(clean_kafka.bootstrap_servers)) as client:
                assert topic not in await client.list_topics()
                await client.create_topics([NewTopic(topic, 1, 1)])
            async with asyncio.timeout(DEADLINE_S):
                await delivery
    assert [log["event"] for log in logs] == [
        "kafka_unavailable",
        "kafka_unavailable",
        "kafka_available",
    ]
    assert logs[0]["error"].endswith(why)
    assert len(await received(clean_kafka, topic, b"late")) == 1


async def test_a_record_too_large_is_not_retriable_and_the_next_one_is_published(
    clean_kafka: KafkaServer,
) -> None:
    with capture_logs() as logs:
        async with publisher(clean_kafka) as connected:
            # The broker checks sequence numbers from the second batch on.
            await connected.publish([record(b"first")])
            # A record that the broker rejects, and one that the client rejects; neither is smaller
            # when it is compressed.
            for size in (MAX_RECORD_BYTES - 10_000, MAX_RECORD_BYTES + 10_000):
                with pytest.raises(BrokerError, match="a record is too large") as caught:
                    await connected.publish([record(os.urandom(size))])
                assert not caught.value.retriable
                await connected.publish([record(b"%d" % size)])
    found = await received(clean_kafka, REPORTS, b"%d" % (MAX_RECORD_BYTES + 10_000))
    assert len(found) == 3
    assert logs == []


async def test_a_record_that_the_broker_refuses_is_an_error_with_a_fitting_remedy(
    clean_kafka: KafkaServer,
) -> None:
    without_key = Record(SHARES, None, b"value")  # a compacted topic needs keys
    async with publisher(clean_kafka, SHARES) as connected:
        with pytest.raises(BrokerError) as caught:
            await connected.publish([without_key])
    assert str(caught.value).endswith(
        "the broker answers, but refuses this: its log has the details"
    )


async def test_publishing_fails_while_the_broker_is_unavailable_and_resumes(
    clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "SLOW_S", 0.2)
    with capture_logs() as logs:
        async with publisher(clean_kafka, timeout_s=1) as connected:
            await connected.connected()
            await connected.publish([record(b"before")])
            await asyncio.to_thread(clean_kafka.stop, signal.SIGKILL)
            with pytest.raises(BrokerError) as caught:
                await connected.publish([record(b"meanwhile")])
            assert caught.value.retriable
            assert str(caught.value) == (
                f"Kafka at {clean_kafka.bootstrap_servers}: no acknowledgement within 1 s; check "
                "that the broker is running and that its replicas are in sync"
            )
            # A delivery that waits succeeds once the broker is back, without being repeated.
            delivery = asyncio.create_task(connected.deliver([record(b"after")]))
            await until(lambda: logs)
            await asyncio.to_thread(clean_kafka.start)
            async with asyncio.timeout(DEADLINE_S):
                await delivery
    assert [log["event"] for log in logs] == ["kafka_unavailable", "kafka_available"]
    values = [one.value for one in await received(clean_kafka, REPORTS, b"after")]
    assert values[0] == b"before"
    assert set(values) <= {b"before", b"meanwhile", b"after"}


async def test_closing_takes_bounded_time_while_the_broker_is_unavailable(
    clean_kafka: KafkaServer,
) -> None:
    before = tasks()
    with capture_logs() as logs:
        async with publisher(clean_kafka) as connected:
            await connected.publish([record(b"before")])
            await asyncio.to_thread(clean_kafka.stop, signal.SIGKILL)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await connected.deliver([record(b"never")])
            started = time.monotonic()
        assert time.monotonic() - started < FLUSH_S + ABANDON_S + 1
    (closed,) = (log for log in logs if log["event"] == "kafka_closed_unacknowledged")
    assert closed["servers"] == clean_kafka.bootstrap_servers
    assert tasks() == before


async def test_a_delivery_on_a_connection_that_broke_ends_with_an_error(
    clean_kafka: KafkaServer,
) -> None:
    async with publisher(clean_kafka) as connected, asyncio.timeout(DEADLINE_S):
        await connected.publish([record(b"before")])
        await asyncio.to_thread(clean_kafka.stop, signal.SIGKILL)
        delivery = asyncio.create_task(connected.deliver([record(b"waiting")]))
        connection = await connected._connection
        await until(lambda: connection.deliveries)
        connected._replace(connection)  # like a delivery whose record aiokafka dropped
        with pytest.raises(BrokerError) as caught:
            await delivery
        assert caught.value.retriable


async def test_no_task_outlives_the_publisher(clean_kafka: KafkaServer) -> None:
    unreachable = Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")
    before = tasks()
    async with publisher(clean_kafka) as connected, Publisher(unreachable, TOPICS):
        await connected.publish([record()])
        assert tasks() > before
    assert tasks() == before


async def test_an_error_of_the_block_is_not_changed(clean_kafka: KafkaServer) -> None:
    for own in (ValueError("other"), asyncio.CancelledError()):
        with pytest.raises(type(own)) as caught:
            async with publisher(clean_kafka):
                raise own
        assert caught.value is own


async def test_an_unexpected_error_of_the_background_task_ends_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of the publisher")

    monkeypatch.setattr(producer, "_start", broken)
    unreachable = Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a fault of the publisher")):
        async with Publisher(unreachable, TOPICS) as unconnected:
            await unconnected.connected()


async def test_a_topic_that_is_missing_at_the_start_is_a_wrong_setting(
    clean_kafka: KafkaServer,
) -> None:
    why = "^MININGMAP_KAFKA__BOOTSTRAP_SERVERS: Kafka at .*: no topic nothing.here; run `miningmap"
    async with publisher(clean_kafka, "nothing.here") as waiting, asyncio.timeout(DEADLINE_S):
        with pytest.raises(SettingsError, match=why):
            await waiting.connected()


async def test_the_state_shows_a_topic_and_a_broker_that_go_away_and_come_back(
    clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "PROBE_S", 0.2)
    state = Dependency("kafka")
    servers = clean_kafka.bootstrap_servers
    settings = Kafka(bootstrap_servers=servers)
    async with Publisher(settings, frozenset({REPORTS, SHARES}), state=state) as connected:
        await connected.connected()
        assert state.reason is None
        await delete_topics(servers, SHARES)
        await until(lambda: f"no topic {SHARES}" in (state.reason or ""))
        await ensure_topics(kafka_at(servers))
        await until(lambda: state.reason is None)
        with clean_kafka.frozen():
            await until(lambda: "no answer within 0.2 s" in (state.reason or ""))
        await until(lambda: state.reason is None)
