"""From Kafka to the answer over HTTP, on real Kafka and real Redis."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiokafka import AIOKafkaConsumer

from endpoint.service import application
from miningmap import settings as config
from miningmap.api.models import Answer, PoolList
from miningmap.kafka.clients import admin_client
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.topics import DEAD_LETTERS, REPORTS, SHARES
from miningmap.times import parse_rfc3339, utc_now
from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells, Series
from streams.method.windows import parse_window
from streams.redis import keys
from streams.redis.generations import NEXT, Generations
from streams.redis.store import Store
from streams.service import run
from streams.worker import group_reader
from streams.worker.messages import TOPICS as APPLIED
from streams.worker.processor import Processor
from tests.servers import kafka_at
from tests.streams import golden
from tests.streams.fixtures import NOON, network, report
from tests.streams.processes import (
    DEADLINE_S,
    TOPICS,
    StreamsProcess,
    processed,
    publish,
    streams,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from miningmap.settings import Settings
    from tests.servers import KafkaServer, RedisServer

pytestmark = pytest.mark.usefixtures("clean_kafka")

# docker-compose.yml's stop_grace_period of this service, in seconds.
GRACE_S = 30.0
# How long a service takes at most to stop, as docs/operating.md promises, in seconds.
STOP_S = 10.0
# The cases are of the past and of the future; none of their messages is too late or expires.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
SPANS = [
    parse_window("1h", NOON).span,
    parse_window("30d", NOON + timedelta(days=1)).span,
    parse_window("2026-11", NOON + timedelta(days=9)).span,
]


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with which the service in this process writes and commits without a long wait."""
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.05)
    settings.retention = FOR_EVER
    return settings


def world() -> list[Message]:
    """Reports by the minute, by the hour and by the day, of three pools, and the network."""
    messages: list[Message] = []
    for n in range(60):
        start = NOON - timedelta(minutes=60 - n)
        messages.append(report("a", {"US": 5.0 + n, "CN-SC": 3.0}, start=start, hold_s=300))
        messages.append(report("b", hashrate=4.0, source="totals", start=start, hold_s=60))
        messages.append(network(100.0, start=start, hold_s=600))
    for n in range(30):
        start = NOON.replace(hour=0) - timedelta(days=n + 1)
        day = start + timedelta(days=1)
        messages.append(report("b", {"KZ": 2.0 + n}, source="partner", start=start, end=day))
    return messages


def memory(messages: list[Message]) -> MemoryCells:
    cells = MemoryCells()
    for message in messages:
        cells.add(message)
    return cells


async def assert_cells(redis: Redis, want: MemoryCells) -> None:
    sheet = await Store(redis, FOR_EVER).cells.read(SPANS)
    assert set(sheet.series()) == set(want.series())
    for series in want.series():
        for span in SPANS:
            assert sheet.sum(series, span) == want.sum(series, span)


@pytest.mark.skipif(
    not golden.FILES, reason="golden cases skipped: none of this version of the method"
)
async def test_every_golden_case_is_answered_over_http(settings: Settings, client: Redis) -> None:
    store = Store(client, FOR_EVER)
    async with streams(settings), Publisher(settings.kafka, TOPICS) as publisher:
        for path in golden.FILES:
            case = golden.Case(path)
            await begin_anew(settings, store)
            await publisher.publish(list(map(record_of, case.messages)))
            await processed(settings)
            app = application(store, case.beliefs, config.Endpoint())
            async with TestClient(TestServer(app)) as http:
                for parameters, want in zip(case.parameters, case.expected, strict=True):
                    answer = await http.get("/api/v1/shares", params=parameters)
                    assert answer.status == 200, (path.stem, parameters, await answer.text())
                    try:
                        golden.assert_same(await answer.json(), want)
                    except AssertionError as error:
                        error.add_note(f"{path.stem}: {parameters}")
                        raise


async def test_the_cells_do_not_depend_on_kills_stops_repeats_and_late_messages(
    settings: Settings, client: Redis
) -> None:
    sent = world()
    third = len(sent) // 3
    late, rest = sent[::7], [m for n, m in enumerate(sent) if n % 7]
    async with StreamsProcess(settings) as first:
        await publish(settings, rest[:third])
        await until(lambda: _has_cells(client))
        await first.end(signal.SIGKILL)  # somewhere in the middle of the messages
    await publish(settings, rest[third:])
    async with StreamsProcess(settings) as second:
        await processed(settings)
        assert await second.end(signal.SIGTERM) == 0
    async with StreamsProcess(settings):
        await publish(settings, [*reversed(late), *rest[: third * 2]])  # late ones, and duplicates
        await processed(settings)
        await assert_cells(client, memory(sent))


async def begin_anew(settings: Settings, store: Store) -> None:
    """Let the store have no cells, and not those of the messages that are in Kafka either."""
    await processed(settings)
    kafka, number = settings.kafka, time.time_ns() // 1_000_000
    async with lag_of(kafka_at(kafka.bootstrap_servers), kafka.group, APPLIED) as read_lag:
        ends = {
            each: progress.committed + progress.lag for each, progress in (await read_lag()).items()
        }
    await store.generations.set_up(number, ends, {}, NEXT)
    await store.generations.swap(number)


async def _has_cells(redis: Redis) -> bool:
    current = await Generations(redis).current()
    return bool(current and await redis.exists(keys.Generation(current.number).series))


async def test_no_message_is_lost_while_redis_or_kafka_is_unavailable(
    settings: Settings, client: Redis, clean_kafka: KafkaServer, redis: RedisServer
) -> None:
    sent = world()
    half = len(sent) // 2
    async with streams(settings):
        await publish(settings, sent[:half])
        await processed(settings)
        redis.stop()
        await publish(settings, sent[half:])
        await asyncio.to_thread(redis.start)  # empty: its cells come from Kafka again
        await processed(settings)
        clean_kafka.stop(signal.SIGKILL)
        await asyncio.to_thread(clean_kafka.start)
        await publish(settings, sent[:half])
        await processed(settings)
    await assert_cells(client, memory(sent))


async def test_partitions_that_move_while_a_batch_waits_for_redis_lose_nothing(
    settings: Settings, client: Redis, redis: RedisServer
) -> None:
    sent = world()
    half = len(sent) // 2
    async with StreamsProcess(settings), AsyncExitStack() as later:
        await publish(settings, sent[:half])
        await processed(settings)
        with redis.frozen():
            await publish(settings, sent[half:])
            await later.enter_async_context(StreamsProcess(settings))
            await until(lambda: _has_members(settings, 2))
            assert await _lag(settings) > 0
        await processed(settings)
        await assert_cells(client, memory(sent))


async def _has_members(settings: Settings, count: int) -> bool:
    async with admin_client(settings.kafka) as admin:
        (answer,) = await admin.describe_consumer_groups([settings.kafka.group])
    ((_, _, state, _, _, members, *_),) = answer.groups
    return state == "Stable" and len(members) == count


async def _lag(settings: Settings) -> int:
    kafka = settings.kafka
    async with lag_of(kafka, kafka.group, sorted(TOPICS)) as read_lag:
        return sum(progress.lag for progress in (await read_lag()).values())


async def test_the_service_stops_in_time_while_kafka_is_unavailable(
    settings: Settings, clean_kafka: KafkaServer
) -> None:
    async with StreamsProcess(settings) as process:
        await publish(settings, [report(hashrate=1)])
        await processed(settings)
        clean_kafka.stop(signal.SIGKILL)
        async with asyncio.timeout(GRACE_S):
            assert await process.end(signal.SIGTERM) == 0


async def test_the_service_stops_in_time_while_kafka_is_frozen(
    settings: Settings, clean_kafka: KafkaServer, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    async def says_unavailable() -> bool:
        return "kafka_unavailable" in log.read_text()

    async with StreamsProcess(settings, log=log) as process:
        await publish(settings, [report(hashrate=1)])
        await processed(settings)
        with clean_kafka.frozen():
            await until(says_unavailable)
            async with asyncio.timeout(STOP_S):
                assert await process.end(signal.SIGTERM) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert events[-1]["event"] == "service_stopped"
    assert [event for event in events if "exception" in event] == []


async def test_an_invalid_message_becomes_a_dead_letter_and_the_next_one_counts(
    settings: Settings, client: Redis
) -> None:
    poison = Record(REPORTS, b"a", b"poison")
    async with streams(settings):
        await publish(settings, [report(hashrate=1)], poison)
        await publish(settings, [report("b", hashrate=2)])
        await processed(settings)
        sheet = await Store(client, FOR_EVER).cells.read(SPANS)
        assert set(sheet.series()) == {Series("a", "own"), Series("b", "own")}
    (letter,) = await _read(settings, DEAD_LETTERS, count=1)
    headers = {name: value.decode() for name, value in letter.headers}
    assert letter.value == b"poison"
    assert (headers["reason"], headers["topic"]) == ("undecodable", REPORTS)


async def test_a_rejected_reading_is_shown_with_its_pool(settings: Settings, client: Redis) -> None:
    settings.streams.snapshot_s = 0.2
    store = Store(client, FOR_EVER)

    async def is_shown() -> bool:
        raw = await store.snapshots.part("pools")
        pools = msgspec.json.decode(raw, type=PoolList).pools if raw else ()
        return any(pool.pool == "a" and pool.refused is not None for pool in pools)

    async with streams(settings):
        await publish(settings, [], Record(REPORTS, b"a", b"poison"))
        await until(is_shown)


async def test_a_permanent_failure_of_a_batch_ends_the_service_with_its_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BrokerError("never", retriable=False)

    monkeypatch.setattr(Processor, "write", fail)
    await publish(settings, [report(hashrate=1)])
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(BrokerError, match="never"):
            await run(settings, asyncio.Event())


async def test_snapshots_of_all_windows_are_in_redis_and_kafka(
    settings: Settings, client: Redis
) -> None:
    settings.streams.snapshot_s = 0.2
    now = utc_now().replace(second=0, microsecond=0)
    sent: list[Message] = [
        report(places={"US": 5.0, "CN-SC": 5.0}, start=now - timedelta(minutes=n), hold_s=300)
        for n in range(60)
    ]
    store = Store(client, FOR_EVER)

    async def shown() -> bool:
        raw = await store.snapshots.part("now/country")
        return raw is not None and bool(msgspec.json.decode(raw, type=Answer).shares)

    async with streams(settings):
        await publish(settings, sent)
        await until(shown)
        published = await _read(settings, SHARES, count=5)
    names = set(await store.snapshots.read())
    for window in ("now", "1h", "24h", "7d", "30d"):
        assert f"{window}/country" in names
    assert {"now/subdivision/CN", "pools", "at"} <= names
    answers = {r.key.decode(): json.loads(r.value) for r in published}
    assert answers["now/country"]["window"] == "now"
    at = parse_rfc3339((await store.snapshots.part("at") or b"").decode())
    app = application(store, Beliefs(), config.Endpoint(), now=lambda: at)
    async with TestClient(TestServer(app)) as http:
        served = await (await http.get("/api/v1/shares?window=now")).read()
    assert served == await store.snapshots.part("now/country")


async def _read(settings: Settings, topic: str, count: int) -> list[AIOKafkaConsumer]:
    """The first records of a topic."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
