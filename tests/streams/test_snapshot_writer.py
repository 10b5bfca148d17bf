"""The snapshot writer on a real Redis: when it writes what, and what it tells of that."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from redis import RedisError
from redis.asyncio import Redis

from miningmap import precedence
from miningmap import settings as config
from miningmap.dependencies import Dependency
from miningmap.kafka.errors import BrokerError
from miningmap.redis_client import connect
from streams.method.beliefs import Beliefs
from streams.method.cells import claims_of
from streams.method.windows import ROLLING
from streams.metrics import Metrics
from streams.queries.snapshot import TAKEN_AT
from streams.redis.cell_writer import Applied
from streams.redis.event_log import EventId
from streams.redis.generations import Range
from streams.redis.store import Store
from streams.worker import snapshot_writer
from streams.worker.snapshot_writer import write_snapshots
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from miningmap.kafka.producer import Publisher, Record
    from streams.redis.event_log import Event

FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
PARTITION = ("topic", 0)
DEADLINE_S = 20.0


class Kafka:
    """Takes records, unless it is unavailable."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.is_available = True

    async def publish(self, records: Sequence[Record]) -> None:
        if not self.is_available:
            raise BrokerError("away")
        self.records += records


class Clock:
    """The wall clock of the writer."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    store = Store(client, FOR_EVER)
    await store.generations.begin({PARTITION: Range(0, 0)})
    yield store
    await client.aclose()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(snapshot_writer, "utc_now", clock)
    # What these tests wait for comes from a change, and not because all is written again.
    monkeypatch.setattr(snapshot_writer, "WHOLE_S", 3600.0)
    return clock


@asynccontextmanager
async def writing(
    store: Store, kafka: Kafka | None = None, state: Dependency | None = None
) -> AsyncIterator[None]:
    settings = config.Streams(snapshot_s=0.02, publish_s=0)
    metrics = Metrics(CollectorRegistry())
    publisher = cast("Publisher", kafka or Kafka())
    task = asyncio.create_task(
        write_snapshots(settings, store, Beliefs(), publisher, metrics, state=state)
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def apply(store: Store, offset: int, hashrate: float, start: datetime = NOON) -> None:
    """Write a report, held until noon, as a worker does that has read it from Kafka."""
    message = report(
        places={"US": hashrate}, start=start, hold_s=int((NOON - start).total_seconds())
    )
    held = Applied({PARTITION: Range(offset, offset + 1)}, NOON)
    assert not (await store.writer.write([(message, claims_of(message))], held)).not_advanced


async def longest_wait(store: Store, least_s: float) -> float:
    """Ask for a turn again and again, as batches do, until one has taken so many seconds."""
    clock = asyncio.get_running_loop().time
    took = 0.0
    async with asyncio.timeout(DEADLINE_S):
        while took < least_s:
            began = clock()
            await store.writer.precedence.give_way()
            took = clock() - began
    return took


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await met():  # noqa: ASYNC110 - Redis is polled
            await asyncio.sleep(0.01)


async def shown(store: Store, window: str = "now") -> float | None:
    """The hashrate in the United States that the snapshot has."""
    part = await store.snapshots.part(f"{window}/country")
    rows = msgspec.json.decode(part)["shares"] if part else []
    return rows[0]["hashrate"] if rows else None


async def events(store: Store) -> list[Event]:
    return await store.snapshots.events(EventId(0, 0), limit=100, wait_s=0.01)


def told(event: Event) -> set[str]:
    return {window for window in ROLLING if event.body(window) is not None}


def is_shown(store: Store, hashrate: float, window: str = "now") -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await shown(store, window) == hashrate

    return check


async def test_what_any_worker_applies_is_written_and_only_its_windows_are_told(
    store: Store, clock: Clock, redis_url: str
) -> None:
    assert clock() == NOON
    other = connect(config.Redis(url=SecretStr(redis_url)))
    kafka = Kafka()
    begin = NOON - timedelta(hours=1)
    await apply(store, 0, 7.0, begin)
    await apply(store, 1, 5.0)
    async with other, writing(store, kafka):
        await until(is_shown(store, 5.0))
        await apply(Store(other, FOR_EVER), 2, 8.0, begin)
        await until(is_shown(store, 8.0, "1h"))
        assert told((await events(store))[-1]) == {"1h"}

        async def is_published() -> bool:
            return any(r.key == b"1h/country" and b"8.0" in r.value for r in kafka.records)

        await until(is_published)
        assert [record.key for record in kafka.records].count(b"7d/country") == 1
        assert set(await store.snapshots.read()) == {
            *(f"{w}/country" for w in ROLLING),
            "pools",
            "at",
        }


async def test_a_quiet_system_shows_that_its_snapshot_is_current(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_writer, "WHOLE_S", 0.05)
    async with writing(store):
        await apply(store, 0, 5.0)
        await until(is_shown(store, 5.0))
        before = await events(store)
        for seconds in (1, 2):
            clock.now = NOON + timedelta(seconds=seconds)

            async def is_current() -> bool:
                at = await store.snapshots.part(TAKEN_AT)
                return at is not None and at.startswith(b"2026-11-22T12:00:%02d" % seconds)  # noqa: B023 - awaited here

            await until(is_current)
        assert len(await events(store)) == len(before)


async def test_each_window_is_told_once_a_minute(store: Store, clock: Clock) -> None:
    await apply(store, 0, 5.0)
    async with writing(store):
        await until(is_shown(store, 5.0))
        (first,) = await events(store)
        assert told(first) == set(ROLLING)
        clock.now += timedelta(minutes=1)

        async def is_told() -> bool:
            return len(await events(store)) > 1

        await until(is_told)
        assert told((await events(store))[-1]) == set(ROLLING)


async def test_what_could_not_be_written_is_told_later(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clock() == NOON
    monkeypatch.setattr(snapshot_writer, "RETRY_S", 0.05)
    write, failures = store.snapshots.write, 0

    async def fail_once(*args: object, **options: object) -> None:
        nonlocal failures
        if b"7.0" in cast("dict[str, bytes]", args[0]).get("now/country", b"") and not failures:
            failures += 1
            raise RedisError("away")
        await write(*args, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(store.snapshots, "write", fail_once)
    async with writing(store):
        await apply(store, 0, 5.0)
        await until(is_shown(store, 5.0))
        await apply(store, 1, 7.0)
        await until(is_shown(store, 7.0))
    assert failures == 1
    assert b"7.0" in ((await events(store))[-1].body("now") or b"")


async def test_answers_that_kafka_did_not_take_are_published_later(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clock() == NOON
    monkeypatch.setattr(snapshot_writer, "RETRY_S", 0.05)
    kafka = Kafka()
    kafka.is_available = False
    await apply(store, 0, 5.0)
    async with writing(store, kafka):
        await until(is_shown(store, 5.0))
        await apply(store, 1, 6.0)
        await until(is_shown(store, 6.0))
        kafka.is_available = True

        async def are_published() -> bool:
            return {r.key for r in kafka.records} >= {f"{w}/country".encode() for w in ROLLING}

        await until(are_published)
    (newest,) = [r.value for r in kafka.records if r.key == b"now/country"]
    assert b"6.0" in newest


async def test_a_process_that_stops_lets_another_one_write_at_once(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clock() == NOON
    monkeypatch.setattr(snapshot_writer, "LEASE_S", 3600.0)
    async with writing(store):
        await apply(store, 0, 5.0)
        await until(is_shown(store, 5.0))
    assert await store.snapshots.renew_leadership("another", for_s=1)


async def test_nothing_is_read_while_nothing_changes(
    store: Store, clock: Clock, redis_url: str
) -> None:
    assert clock() == NOON
    client: Redis = connect(config.Redis(url=SecretStr(redis_url)))
    async with client, writing(store):
        await apply(store, 0, 5.0)
        await until(is_shown(store, 5.0))

        async def calls(command: str) -> int:
            stats = await client.info("commandstats")
            return int(stats[f"cmdstat_{command}"]["calls"])

        before, looked = await calls("smembers"), await calls("exists")

        async def has_looked() -> bool:
            return await calls("exists") >= looked + 5

        await until(has_looked)
        assert await calls("smembers") == before


async def test_a_process_that_leaves_the_snapshots_to_another_one_is_ready(store: Store) -> None:
    state = Dependency("snapshots")

    async def is_ready() -> bool:
        return state.reason is None

    assert await store.snapshots.renew_leadership("another process", 3600)
    async with writing(store, state=state):
        await until(is_ready)
    assert await store.snapshots.read() == {}


@pytest.mark.usefixtures("clock")
async def test_messages_wait_for_a_snapshot_but_not_for_a_redis_that_does_not_answer(
    store: Store, redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as other, writing(store):
        await apply(store, 0, 1e18)
        await until(lambda: _is_shown(store, 1e18))
        await apply(store, 1, 2e18)
        await other.client_pause(60_000, all=False)  # the snapshot can be read and not written
        try:
            # Otherwise the next snapshot would be late by what the messages of a backlog take.
            waited_s = await longest_wait(store, precedence.AT_MOST_S / 2)
        finally:
            await other.client_unpause()
        assert waited_s < DEADLINE_S / 2
        await until(lambda: _is_shown(store, 2e18))


async def _is_shown(store: Store, hashrate: float) -> bool:
    return await shown(store) == hashrate
