"""All operations of the store work on a Redis Cluster of three nodes."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from redis.exceptions import ClusterCrossSlotError

from miningmap import redis_cluster
from miningmap import settings as config
from miningmap.api.models import Refusal
from miningmap.messages import Published
from miningmap.redis_client import connect
from miningmap.redis_cluster import SlotUnavailableError
from miningmap.swings import SwingStatus, encode_swing
from miningmap.times import DAY_S, MINUTE_S, add_months, bucket
from streams.method.cells import MemoryCells, Series, claims_of
from streams.method.comparison import Deltas
from streams.method.windows import Span, parse_window
from streams.redis import keys
from streams.redis.cell_writer import Applied, CellWriter
from streams.redis.event_log import EventId
from streams.redis.generations import (
    FIRST_NUMBER,
    NEXT,
    Filled,
    NotAdvanced,
    Range,
    RebuildingError,
)
from streams.redis.snapshot_store import SnapshotStore
from streams.redis.store import Store
from streams.redis.stored_cells import StoredCells
from streams.redis.swing_store import EvaluatedMinute, SwingStore
from streams.redis.takeover import has_unnumbered_cells, take_over
from tests.streams.fixtures import NOON, network, place_swing, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

    from miningmap.messages import Message

pytestmark = pytest.mark.integration

# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
MIDNIGHT = NOON.replace(hour=0)
JUNE = datetime(2021, 6, 1, tzinfo=UTC)
SPANS = [
    Span("minute", range(bucket(NOON, MINUTE_S) - 5, bucket(NOON, MINUTE_S) + 70)),
    Span("day", range(bucket(NOON, DAY_S) - 2, bucket(NOON, DAY_S) + 2)),
    Span("day", range(bucket(JUNE, DAY_S), bucket(JUNE, DAY_S) + 30)),
]
TABLE = msgspec.structs.replace(
    report("c", {"US": 5.0}, start=JUNE, end=add_months(JUNE, 1)),
    published=(Published("US", "1.0", "0.00"),),
)
MESSAGES: list[Message] = [
    report("a", {"US": 5.0, "CN-SC": 1.0}, hold_s=7200),
    report("b", hashrate=3.0, start=MIDNIGHT - timedelta(hours=5), end=NOON),
    TABLE,
    network(9.0),
]
REJECTION = Refusal(NOON, "api", "implausible", "too much")


@pytest.fixture
async def client(cluster_settings: config.Redis) -> AsyncIterator[Redis]:
    client = connect(cluster_settings)
    yield client
    await client.aclose()


async def write(store: Store) -> int:
    return (
        await store.writer.write([(message, claims_of(message)) for message in MESSAGES])
    ).changed


async def check_cells(store: Store) -> None:
    memory = MemoryCells()
    for message in MESSAGES:
        memory.add(message)
    assert await write(store) > 0
    await store.cells.check_cells()
    loaded = await store.cells.read(SPANS)
    late = report("b", hashrate=4.0)
    memory_then = MemoryCells()
    for message in (*MESSAGES, late):
        memory_then.add(message)
    await store.writer.write([(late, claims_of(late))])
    then = await store.cells.read(SPANS, loaded, by_script=True)
    for found, expected in ((loaded, memory), (then, memory_then)):
        assert set(found.series()) == set(expected.series())
        for series in expected.series():
            for span in SPANS:
                assert found.sum(series, span) == expected.sum(series, span)


async def check_published(store: Store) -> None:
    await write(store)
    await store.cells.check_cells()
    published = await store.cells.published()
    assert published[Series("c", "own")] == {bucket(JUNE, DAY_S): TABLE.published}


async def check_stamp(store: Store) -> None:
    await write(store)
    assert await store.cells.stamp(Series("a", "own"))
    window = parse_window("1h", NOON)
    assert len((await store.cells.day_stamps([window])).of(window)) == 16
    await store.cells.check_cells()


async def check_rejections(store: Store) -> None:
    await store.writer.write([], rejected={"a": REJECTION})
    assert await store.cells.rejections() == {"a": REJECTION}


async def check_leader(store: Store) -> None:
    assert await store.snapshots.renew_leadership("one", for_s=60)
    assert not await store.snapshots.renew_leadership("two", for_s=60)
    await store.snapshots.end_leadership("one")
    assert await store.snapshots.renew_leadership("two", for_s=60)


async def check_applied(store: Store) -> None:
    await write(store)
    assert await store.cells.applied() == await store.cells.applied()
    await store.cells.check_cells()


async def check_reconnect(store: Store) -> None:
    await store.writer.reconnect()
    assert await store.snapshots.read() == {}


async def check_snapshots(store: Store) -> None:
    await store.snapshots.write({"1h/country": b"1"})
    assert await store.snapshots.read() == {"1h/country": b"1"}
    assert await store.snapshots.part("1h/country") == b"1"
    (event,) = await store.snapshots.events(EventId(0, 0), limit=9, wait_s=0.01)
    assert (event.id, event.body("1h")) == (await store.snapshots.last_event(), b"1")
    changed = {"now/country": b"2"}
    await store.snapshots.write(changed, told=["now"], removed=["1h/country"])
    assert await store.snapshots.read() == changed
    await store.snapshots.remove_damaged()
    assert await store.snapshots.read()


async def check_expiry(store: Store) -> None:
    await write(store)
    await store.writer.remove_expired(datetime(9000, 1, 1, tzinfo=UTC))


CHECKS: dict[Callable[[Store], Awaitable[Any]], set[Callable[..., Any]]] = {
    check_cells: {CellWriter.write, StoredCells.read, StoredCells.check_cells},
    check_published: {StoredCells.published},
    check_stamp: {StoredCells.stamp, StoredCells.day_stamps, StoredCells.check_cells},
    check_rejections: {StoredCells.rejections},
    check_leader: {SnapshotStore.renew_leadership, SnapshotStore.end_leadership},
    check_applied: {StoredCells.applied},
    check_expiry: {CellWriter.remove_expired, StoredCells.metas},
    check_reconnect: {CellWriter.reconnect},
    check_snapshots: {
        SnapshotStore.write,
        SnapshotStore.read,
        SnapshotStore.part,
        SnapshotStore.events,
        SnapshotStore.last_event,
        SnapshotStore.remove_damaged,
    },
}


def test_every_method_of_the_store_is_checked() -> None:
    methods = {
        method
        for part in (CellWriter, StoredCells, SnapshotStore)
        for name, method in inspect.getmembers(part, inspect.iscoroutinefunction)
        if name[0] != "_"
    }
    assert set().union(*CHECKS.values()) == methods


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_store_works_on_a_cluster(
    client: Redis, check: Callable[[Store], Awaitable[Any]]
) -> None:
    await check(Store(client, FOR_EVER))


async def test_generations_work_on_a_cluster(client: Redis) -> None:
    store = Store(client, FOR_EVER)
    claimed = [(message, claims_of(message)) for message in MESSAGES]
    each = ("topic", 0)
    held = {each: Range(3, 7)}
    assert await store.generations.begin(held)
    assert not await store.generations.begin(held)
    first = await store.generations.current()
    assert first
    assert (first.positions, first.targets) == ({each: 3}, held)
    with pytest.raises(RebuildingError, match="0 of 4 messages"):
        await store.cells.read(SPANS)
    lacking = await store.writer.write(claimed, Applied({each: Range(4, 7)}, NOON))
    assert lacking.not_advanced == NotAdvanced(replaced=False, behind={each: 3})
    written = await store.writer.write(
        claimed, Applied({each: Range(3, 7)}, NOON, repeatable=False)
    )
    assert not written.not_advanced
    before = await store.cells.read(SPANS)
    assert await store.generations.begin(held, NEXT)
    second = await store.generations.next()
    assert second
    to_next = Applied({each: Range(3, 7)}, NOON, generation=second.number)
    assert not (await store.writer.write(claimed, to_next)).not_advanced
    assert await store.generations.swap(second.number) == first.number
    late = await store.writer.write(claimed, Applied({each: Range(7, 8)}, NOON))
    assert late.not_advanced.replaced
    assert await store.generations.remove(first.number) > 0
    after = await store.cells.read(SPANS, before)
    assert after.generation == second.number != before.generation
    for series in before.series():
        for span in SPANS:
            assert after.sum(series, span) == before.sum(series, span)
    assert [key async for key in client.scan_iter(f"*:{first.number}:*")] == []


async def test_cells_from_before_there_were_generations_are_taken_over(client: Redis) -> None:
    store = Store(client, FOR_EVER)
    await write(store)
    before = await store.cells.read(SPANS)
    generation = keys.Generation(before.generation)
    await client.sadd(keys.UNNUMBERED_SERIES, *await client.smembers(generation.series))
    async for key in client.scan_iter(f"mm:{generation.number}:*"):
        if key.endswith(b":applied") or key == generation.series.encode():
            await client.delete(key)
        else:
            await client.rename(key, b"mm:" + key.split(b":", 2)[2])
    await client.delete(keys.POSITIONS, keys.positions(generation.number))
    assert await has_unnumbered_cells(client)
    assert await take_over(store.generations, {("topic", 0): 4})
    assert not await has_unnumbered_cells(client)
    current = await store.generations.current()
    assert current == Filled(FIRST_NUMBER, {("topic", 0): 4})
    after = await store.cells.read(SPANS)
    assert set(after.series()) == set(before.series())
    for series in before.series():
        for span in SPANS:
            assert after.sum(series, span) == before.sum(series, span)


async def test_the_store_of_swings_works_on_a_cluster(client: Redis) -> None:
    store = SwingStore(client, FOR_EVER)
    minute = bucket(NOON, MINUTE_S)
    event = place_swing()
    evaluated = EvaluatedMinute(
        minute,
        (),
        SwingStatus(NOON, firing=(event,)),
        [event],
        {minute // 60: {"1h/24h": Deltas()}},
    )
    assert await store.renew_leadership("one", for_s=60)
    assert await store.write(evaluated, await store.memory()) == []
    again = msgspec.structs.replace(event, at=NOON + timedelta(days=1), severity=5)
    status = SwingStatus(again.at, firing=(again,))
    later = EvaluatedMinute(minute + 1440, (), status, [again])
    assert await store.write(later, await store.memory()) == []
    assert await store.status() == status
    assert (await store.since(NOON)).swings == (await store.firing()).swings == [(event, again)]
    await store.remove_from_outbox(await store.outbox(1))
    assert await store.outbox(9) == [encode_swing(again)]


async def test_the_cluster_rejects_transactions_that_cross_slots(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the other tests would prove nothing."""
    monkeypatch.setattr(redis_cluster, "WAIT_S", 0.1)
    with pytest.raises(ClusterCrossSlotError):
        await client.sunion([keys.Generation(1).series, keys.Generation(1).rejected])
    async with client.pipeline(transaction=True, shard_hint=keys.SNAPSHOTS) as pipe:
        pipe.delete(keys.SNAPSHOTS)
        pipe.delete(keys.POSITIONS)
        with pytest.raises(SlotUnavailableError, match="is moving"):
            await pipe.execute()
