"""A Redis Cluster whose slots move to other nodes, or whose nodes end, while it is used.

Nothing is lost, nothing counts twice, and no reader sees less than it has seen before.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis import RedisError
from redis.crc import key_slot

from endpoint.service import application
from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.redis_cluster import SlotUnavailableError
from miningmap.times import MINUTE_S, bucket, rfc3339, utc_now
from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells, Series, claims_of
from streams.method.windows import Span
from streams.rebuild import rebuild
from streams.redis import keys
from streams.redis.cell_writer import Applied
from streams.redis.generations import Range, RebuildingError
from streams.redis.store import Store
from tests.streams import golden, model
from tests.streams.fixtures import NOON, network, report
from tests.streams.processes import DEADLINE_S, StreamsProcess, processed, publish, until
from tests.streams.test_model import in_floats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from miningmap.settings import Settings
    from tests.cluster_servers import ClusterNode, RedisClusterServers
    from tests.servers import KafkaServer

# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
POOLS = "abcdefgh"
MINUTES = 600
SPAN = Span("minute", range(bucket(NOON, MINUTE_S), bucket(NOON, MINUTE_S) + MINUTES))
DAY = Span("hour", range(bucket(NOON, 3600), bucket(NOON, 3600) + MINUTES // 60))
PARTITION = ("topic", 0)


def of_minute(minute: int) -> list[Message]:
    """What all pools report of one minute."""
    start = NOON + timedelta(minutes=minute)
    reports = [report(pool, {"US": 3.0, "CN-SC": 1.0 + minute}, start=start) for pool in POOLS]
    return [*reports, network(100.0, start=start)]


def memory(messages: Sequence[Message]) -> MemoryCells:
    cells = MemoryCells()
    for message in messages:
        cells.add(message)
    return cells


@pytest.fixture
async def client(cluster_settings: config.Redis) -> AsyncIterator[Redis]:
    async with connect(cluster_settings) as client:
        yield client


class Load:
    """Messages that are written without a pause, and what was written so far."""

    def __init__(self, client: Redis) -> None:
        self.store = Store(client, FOR_EVER)
        self.messages: list[Message] = []
        self.snapshots = 0
        self.reads = 0
        self.stopping = False

    async def write(self) -> None:
        """Write minute after minute; what fails is written again, as the service does."""
        for minute in range(MINUTES):
            sent = of_minute(minute)
            claimed = [(message, claims_of(message)) for message in sent]
            applied = Applied({PARTITION: Range(minute, minute + 1)}, NOON)
            written = await repeated(partial(self.store.writer.write, claimed, applied))
            assert not written.not_advanced
            self.messages += sent
            if self.stopping:
                return

    async def write_snapshots(self) -> None:
        while not self.stopping:
            parts = {"now/country": b"%d" % self.snapshots}
            await repeated(partial(self.store.snapshots.write, parts))
            self.snapshots += 1

    async def read(self) -> None:
        """Read all the time; what was seen once is there the next time."""
        seen: dict[Series, int] = {}
        earlier = None
        while not self.stopping:
            loaded = await repeated(partial(self.store.cells.read, [SPAN, DAY], earlier))
            earlier = loaded
            for series, minutes in seen.items():
                assert loaded.sum(series, SPAN).minutes >= minutes
            seen = {series: loaded.sum(series, SPAN).minutes for series in loaded.series()}
            self.reads += 1


async def repeated(act: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await act()
            except RedisError:
                await asyncio.sleep(0.05)


async def move(cluster: RedisClusterServers, key: str, load: Load) -> None:
    """Move the slot of a key, some of its keys at a time, with reads in between."""
    with cluster.moving(key) as move_some:
        for _ in range(3):
            await asyncio.to_thread(move_some)
            await until(partial(has_read, load, load.reads + 2))
    await until(partial(has_written, load, len(load.messages) + 1))


async def has_read(load: Load, number: int) -> bool:
    return load.reads >= number


async def has_written(load: Load, number: int) -> bool:
    return len(load.messages) >= number


async def test_moving_slots_under_load_loses_nothing(
    redis_cluster: RedisClusterServers, client: Redis
) -> None:
    load = Load(client)
    await load.store.generations.begin({PARTITION: Range(0, 0)})
    current = await load.store.generations.current()
    assert current
    generation = keys.Generation(current.number)
    moved = [
        generation.meta(Series("a", "own")),
        generation.meta(Series(None, "mempool")),
        keys.POSITIONS,
        generation.series,
        keys.SNAPSHOTS,
    ]
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(load.write())
        tasks.create_task(load.write_snapshots())
        tasks.create_task(load.read())
        await until(partial(has_read, load, 2))
        for key in moved:
            await move(redis_cluster, key, load)
        assert not writing.done()
        load.stopping = True
    await check(load, client)
    # No node has a key of another one's slot.
    for node in redis_cluster.nodes:
        with node.client() as direct:
            for key in direct.scan_iter("*"):
                assert redis_cluster.owner(key_slot(key)) is node


async def test_positions_wait_for_cells_that_a_moving_slot_does_not_take(
    redis_cluster: RedisClusterServers, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miningmap.redis_cluster.WAIT_S", 0.2)
    store = Store(client, FOR_EVER)
    await store.generations.begin({PARTITION: Range(0, 0)})

    async def write(minute: int) -> int:
        claimed = [(message, claims_of(message)) for message in of_minute(minute)]
        applied = Applied({PARTITION: Range(minute, minute + 1)}, NOON)
        return (await store.writer.write(claimed, applied)).changed

    async def position() -> int:
        current = await store.generations.current()
        assert current
        return current.positions[PARTITION]

    await write(0)
    with redis_cluster.moving("{p:a}") as move_some:
        await asyncio.to_thread(move_some)
        with pytest.raises(SlotUnavailableError):
            await write(1)
        assert await position() == 1
    assert await write(1) == 1  # those of all other pools were written before
    assert await position() == 2


async def check_cells(client: Redis, sent: Sequence[Message]) -> None:
    """All cells are those of the messages."""
    loaded, wanted = await Store(client, FOR_EVER).cells.read([SPAN, DAY]), memory(sent)
    assert set(loaded.series()) == set(wanted.series())
    for series in wanted.series():
        for span in (SPAN, DAY):
            assert loaded.sum(series, span) == wanted.sum(series, span)


async def check(load: Load, client: Redis) -> None:
    """All that was written is there once."""
    await check_cells(client, load.messages)
    store = Store(client, FOR_EVER)  # which remembers nothing
    current = await store.generations.current()
    assert current
    assert current.positions == {PARTITION: len(load.messages) // len(of_minute(0))}
    log = await client.xinfo_stream(keys.EVENTS)  # of which some may have been removed by now
    assert log["entries-added"] == load.snapshots
    assert await store.snapshots.part("now/country") == b"%d" % (load.snapshots - 1)


# --- the services ---------------------------------------------------------------------------------


@pytest.fixture
def on_cluster(
    settings: Settings, cluster_settings: config.Redis, clean_kafka: KafkaServer
) -> Settings:
    del clean_kafka
    settings.redis = cluster_settings
    settings.retention = FOR_EVER
    return settings


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[StreamsProcess]:
    async with StreamsProcess(settings, MININGMAP_REDIS__CLUSTER="true") as running:
        yield running
        assert await running.end(signal.SIGTERM) == 0


def others_with_pools(cluster: RedisClusterServers) -> list[ClusterNode]:
    """The nodes that have cells of pools, but not the positions; at least one."""
    positions = cluster.owner(key_slot(keys.POSITIONS.encode()))
    owners = [cluster.owner(key_slot(f"{{p:{pool}}}".encode())) for pool in POOLS]
    nodes = [node for node in cluster.nodes if node in owners and node is not positions]
    assert nodes
    return nodes


async def test_what_one_node_has_lost_is_written_again(
    redis_cluster: RedisClusterServers, on_cluster: Settings, client: Redis
) -> None:
    sent = [message for minute in range(60) for message in of_minute(minute)]
    half = len(sent) // 2

    async def is_complete() -> bool:
        try:
            await check_cells(client, sent)
        except (AssertionError, RedisError, RebuildingError):
            return False
        return True

    async with process(on_cluster):
        await publish(on_cluster, sent[:half])
        await processed(on_cluster)
        first, *others = others_with_pools(redis_cluster)
        log = first.copy_of_log()
        await publish(on_cluster, sent[half:])
        await processed(on_cluster)
        before = await client.hgetall(keys.POSITIONS)
        first.return_to(log)  # it lacks its newest writes
        await asyncio.to_thread(redis_cluster.start)
        await until(is_complete)
        assert await client.hgetall(keys.POSITIONS) == before  # nothing else was made anew
        for node in (first, *others):
            node.flush()  # it lacks everything
            await until(is_complete)


async def test_a_redis_that_has_become_a_cluster_goes_on_with_its_cells(client: Redis) -> None:
    store = Store(client, FOR_EVER)
    claimed = [(message, claims_of(message)) for message in of_minute(0)]
    await store.generations.begin({PARTITION: Range(0, 0)})
    await store.writer.write(claimed, Applied({PARTITION: Range(0, 1)}, NOON))
    before = await store.generations.current()
    assert before
    for copy in keys.copies(before.number):  # a single Redis has none
        await client.delete(copy)
    assert await store.generations.current() == before
    written = await Store(client, FOR_EVER).writer.write(
        [], Applied({PARTITION: Range(1, 2)}, NOON)
    )
    assert not written.not_advanced
    after = await store.generations.current()
    assert after
    assert (after.number, after.positions) == (before.number, {PARTITION: 2})
    assert all([await client.exists(copy) for copy in keys.copies(before.number)])


async def check_answers(client: Redis, sent: Sequence[Message]) -> None:
    """The endpoint answers over HTTP what the brute-force model computes."""
    app = application(Store(client, FOR_EVER), Beliefs(), config.Endpoint())
    as_of = NOON + timedelta(hours=2, minutes=1)
    async with TestClient(TestServer(app)) as http:
        for country, level in ((None, {}), ("CN", {"level": "subdivision", "country": "CN"})):
            asked = {"window": "1h", "as_of": rfc3339(as_of), **level}
            response = await http.get("/api/v1/shares", params=asked)
            assert response.status == 200, await response.text()
            want = in_floats(model.answer(model.World(sent), "1h", as_of, country))
            assert want["shares"]
            golden.assert_same(await response.json(), want)


async def test_services_on_a_cluster_answer_as_the_model_while_slots_move_and_a_node_ends(
    redis_cluster: RedisClusterServers, on_cluster: Settings, client: Redis
) -> None:
    sent = [message for minute in range(120) for message in of_minute(minute)]
    third = len(sent) // 3
    async with process(on_cluster):
        await publish(on_cluster, sent[:third])
        with redis_cluster.moving(keys.POSITIONS) as move_some:
            await asyncio.to_thread(move_some)
            await publish(on_cluster, sent[third : 2 * third])
            with redis_cluster.moving(keys.Generation(1).meta(Series("a", "own"))) as more:
                await asyncio.to_thread(more)
        await processed(on_cluster)
        redis_cluster.nodes[1].stop(signal.SIGKILL)
        await publish(on_cluster, sent[2 * third :])
        await asyncio.to_thread(redis_cluster.start)
        await processed(on_cluster)
        await check_cells(client, sent)
        await check_answers(client, sent)
        rebuilt = await rebuild(on_cluster, Store(client, FOR_EVER).writer, utc_now)
        assert rebuilt.messages == len(sent)
        assert rebuilt.removed > len(POOLS)
        await check_cells(client, sent)
