"""The part of Redis that one pool may take: measured in a real Redis, and what exceeds it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis as library
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from structlog.testing import capture_logs

from miningmap import settings as config
from miningmap.api.models import Refusal
from miningmap.kafka.topics import REPORTS
from miningmap.messages import encode
from miningmap.places import all_places, is_locatable, outermost
from miningmap.redis_client import connect
from miningmap.sizes import values_of
from miningmap.times import utc_now
from streams.method.cells import claims_of, series_of
from streams.metrics import Metrics
from streams.redis import pool_quota
from streams.redis.keys import Generation
from streams.redis.pool_quota import PoolQuota
from streams.redis.pool_sizes import PoolSizes
from streams.redis.store import Store
from streams.worker.messages import RawMessage
from streams.worker.processor import Processor
from tests.clock import Clock
from tests.streams.fixtures import NOON, network, process, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from redis.asyncio import Redis

    from miningmap.kafka.producer import Record
    from miningmap.messages import Message

KEPT = config.Retention()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = utc_now().replace(second=0, microsecond=0)  # Redis expires keys by its own clock
TODAY = NOW.replace(hour=0, minute=0)
CODES = [p.code for p in all_places() if is_locatable(p.code) and outermost(p.code) == p.code]
MB = 10**6
REJECTED = {"b": Refusal(NOW, "own", "implausible", "a jump")}


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(config.Redis(url=SecretStr(redis_url))) as client:
        yield client


def places(number: int) -> dict[str, float]:
    return dict.fromkeys(CODES[:number], 1e15)


def raw(*messages: Message) -> list[RawMessage]:
    return [
        RawMessage(REPORTS, 0, n, str(series_of(each).pool).encode(), encode(each))
        for n, each in enumerate(messages)
    ]


async def current(store: Store) -> Generation:
    filled = await store.generations.current()
    assert filled is not None
    return Generation(filled.number)


async def test_a_pool_is_as_large_as_its_keys(client: Redis) -> None:
    sizes = PoolSizes(client)
    store = Store(client, KEPT)
    await store.writer.write([], rejected=REJECTED)  # begins a generation
    generation = await current(store)
    assert await sizes.bytes_of(generation, "a", NOW) == 0
    # Redis guesses the size of a key by five of its fields, so those of a source are alike here.
    messages: list[Message] = [
        report("a", places(300), start=NOW - MINUTE, hold_s=7200),
        report("a", places(200), source="partner", start=TODAY - 20 * DAY, end=TODAY),
        report("a", places(9), source="rows", start=TODAY - 300 * DAY, end=TODAY - 200 * DAY),
        report("b", places(500), start=TODAY - 20 * DAY, end=TODAY),
        network(1e21, start=NOW - MINUTE, hold_s=7200),
    ]
    for message in messages:
        await store.writer.write([(message, claims_of(message))])
    expected = 0
    async for key in client.scan_iter(match="mm:*:{p:a}:*"):
        expected += await client.memory_usage(key, samples=0) or 0
    found = await sizes.bytes_of(generation, "a", NOW)
    assert found == pytest.approx(expected, rel=0.05)
    assert 1 * MB < found < await sizes.bytes_of(generation, "b", NOW) < 20 * MB
    assert 1_000 < await sizes.bytes_of(generation, None, NOW) < 100_000


class Letters:
    """The dead letters that would be in Kafka."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        self.records += records


async def test_a_pool_that_takes_too_much_is_refused_and_no_other(client: Redis) -> None:
    """However many messages there are in a batch, and each within its limits."""
    letters, clock = Letters(), Clock()
    sizes = PoolSizes(client)
    store = Store(client, KEPT)
    store.writer._quota = PoolQuota(sizes.bytes_of, 3 * MB, clock=clock)
    metrics = Metrics(CollectorRegistry())
    processor = Processor(store.writer, letters.deliver, KEPT, metrics, utc_now)
    days = [(TODAY - n * DAY, TODAY - (n - 1) * DAY) for n in range(1, 31)]
    heavy = [report("heavy", places(1000), start=start, end=end) for start, end in days]
    light = [report("light", places(20), start=start, end=end) for start, end in days]
    await process(
        processor, raw(*(each for both in zip(heavy, light, strict=True) for each in both))
    )

    # It may be exceeded by one message.
    assert 2.9 * MB < await sizes.bytes_of(await current(store), "heavy", NOW) < 4 * MB
    letter = dict(letters.records[0].headers)
    assert letter["reason"] == b"over_quota"
    assert (
        b"MB of Redis, and a pool may take 3.0 MB (MININGMAP_STREAMS__POOL_MB)" in letter["error"]
    )
    refused = [record.value for record in letters.records]
    assert refused == [encode(each) for each in heavy[-len(refused) :]]
    assert 10 < len(refused) < 30
    day = f"mm:*:{{p:light}}:own:h:{int(days[-1][0].timestamp()) // 86400}"
    assert [key async for key in client.scan_iter(match=day)]

    # Once there is room, its messages become cells again.
    await client.unlink(*[key async for key in client.scan_iter(match="mm:*:{p:heavy}:*:h:*")])
    letters.records.clear()
    await process(processor, raw(heavy[-1]))
    assert len(letters.records) == 1  # it is measured every ten seconds
    clock.now += pool_quota.AGAIN_S
    await process(processor, raw(heavy[-1]))
    assert len(letters.records) == 1


class Scales:
    """Measures what a test says, and counts how often it is asked."""

    def __init__(self) -> None:
        self.size = 0
        self.asked = 0

    async def measure(self, _generation: Generation, _pool: str | None, _now: datetime) -> int:
        self.asked += 1
        return self.size


async def test_a_pool_is_measured_only_when_it_may_have_grown_too_large() -> None:
    scales, clock = Scales(), Clock()
    message = report("a", places(99), start=NOW - MINUTE)
    claims = claims_of(message)
    assert values_of(message) == 100
    quota = PoolQuota(scales.measure, 100 * 100 * pool_quota.VALUE_BYTES, clock=clock)
    for _ in range(101):
        assert await quota.refusal(Generation(1), message) is None
        quota.count(Generation(1), message, claims)
    assert scales.asked == 1
    # By the estimate it is too large, but it is not.
    assert await quota.refusal(Generation(1), message) is None
    assert scales.asked == 2
    assert await quota.refusal(Generation(1), report("b", {"US": 1.0})) is None
    assert scales.asked == 3


async def test_without_a_limit_nothing_is_measured() -> None:
    scales = Scales()
    scales.size = 10**12
    quota, message = PoolQuota(scales.measure, 0), report("a", {"US": 1.0})
    assert await quota.refusal(Generation(1), message) is None
    quota.count(Generation(1), message, claims_of(message))
    assert scales.asked == 0


async def test_a_message_that_is_written_in_parts_is_counted_once() -> None:
    scales = Scales()
    message = report("a", {"US": 1.0}, start=NOON - timedelta(hours=40), end=NOON)
    (claim,) = claims_of(message)
    assert len(claim.buckets) == 40
    quota = PoolQuota(scales.measure, 2 * 40 * pool_quota.VALUE_BYTES)
    assert await quota.refusal(Generation(1), message) is None
    for part in (claim.buckets[:15], claim.buckets[15:]):
        quota.count(Generation(1), message, [claim._replace(buckets=part)])
    # That is just what is allowed.
    assert await quota.refusal(Generation(1), message) is None
    assert scales.asked == 1
    quota.count(Generation(1), message, [claim._replace(buckets=claim.buckets[:1])])
    assert await quota.refusal(Generation(1), message) is None
    assert scales.asked == 2


async def test_a_server_that_cannot_measure_has_no_quota() -> None:
    async def measure(_generation: Generation, _pool: str | None, _now: datetime) -> int:
        raise library.ResponseError("unknown command 'MEMORY'")

    quota = PoolQuota(measure, 1)
    with capture_logs() as logs:
        assert await quota.refusal(Generation(1), report("a", {"US": 1.0})) is None
    assert [log["event"] for log in logs] == ["pool_sizes_unavailable"]
