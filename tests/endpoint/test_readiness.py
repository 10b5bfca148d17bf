"""``/healthz`` and ``/readyz``, and all other paths while Redis is unavailable."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from streams.queries.snapshot import POOLS, TAKEN_AT
from streams.redis import keys
from streams.redis.cell_writer import Applied
from streams.redis.generations import Range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store
    from tests.endpoint.redis_proxy import RedisProxy

    Client = TestClient[web.Request, web.Application]
    Serve = Callable[..., Awaitable[Client]]
    StoreAt = Callable[[str], Store]

pytestmark = pytest.mark.integration

NEEDS_REDIS = ["/api/v1/shares", "/api/v1/shares.csv", "/api/v1/pools", "/readyz"]


@pytest.fixture
async def without_redis(serve: Serve, store_at: StoreAt, unused_tcp_port: int) -> Client:
    """The service while Redis is not running."""
    return await serve(store_at(f"redis://127.0.0.1:{unused_tcp_port}/0"))


async def unready(client: Client, path: str = "/readyz") -> Any:
    async with client.get(path) as answer:
        assert answer.status == 503
        assert answer.content_type == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        return (await answer.json(content_type=None))["detail"]


async def test_a_wrong_type_in_redis_is_told_as_that(client: Client, store: Store) -> None:
    await store.generations.redis.set(keys.SNAPSHOTS, "text")
    reason = await unready(client)
    assert "WRONGTYPE" in reason
    assert "unavailable" not in reason


async def test_while_the_cells_are_rebuilt_the_service_is_not_ready_and_says_how_far_it_is(
    client: Client, store: Store, now: datetime
) -> None:
    await store.generations.redis.flushall()
    await store.generations.begin({("topic", 0): Range(10, 50)})
    await store.writer.write([], Applied({("topic", 0): Range(10, 17)}, now))
    assert "rebuilding" in (reason := await unready(client))
    assert "7 of 40 messages" in reason
    async with client.get("/api/v1/shares?window=24h&prior=none") as answer:
        problem = await answer.json()
    assert (problem["done"], problem["total"]) == (7, 40)
    await store.writer.write([], Applied({("topic", 0): Range(17, 50)}, now))
    assert "no snapshot yet" in await unready(client)


async def test_without_a_snapshot_the_service_is_healthy_but_not_ready(client: Client) -> None:
    assert "no snapshot yet" in await unready(client)
    async with client.get("/healthz") as answer:
        assert (answer.status, (await answer.text()).strip()) == (200, "alive")


@pytest.mark.usefixtures("snapshots")
async def test_with_a_fresh_snapshot_it_is_ready(serve: Serve, store: Store, now: datetime) -> None:
    client = await serve(store, now + timedelta(seconds=59))
    async with client.get("/readyz") as answer:
        assert answer.status == 200


@pytest.mark.usefixtures("snapshots")
async def test_with_a_stale_snapshot_the_service_is_not_ready_and_gives_its_age(
    serve: Serve, store: Store, now: datetime
) -> None:
    client = await serve(store, now + timedelta(seconds=60))
    assert "60 s old" in await unready(client)


async def test_without_redis_paths_that_need_it_are_503(without_redis: Client) -> None:
    for path in NEEDS_REDIS:
        assert "Redis" in await unready(without_redis, path), path


async def test_without_redis_paths_that_do_not_need_it_are_served(without_redis: Client) -> None:
    for path in ("/healthz", "/", "/api/v1/places", "/api/v1/places.csv"):
        async with without_redis.get(path) as answer:
            assert answer.status == 200, path


async def test_without_redis_metrics_say_so_and_have_no_figures(without_redis: Client) -> None:
    async with without_redis.get("/metrics") as answer:
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    assert 'miningmap_dependency_up{dependency="redis"} 0.0' in lines
    assert not [line for line in lines if line.startswith("miningmap_snapshot_timestamp_seconds")]


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize(
    ("taken_at", "reason"),
    [
        (b"yesterday", "the snapshot in Redis is damaged: at: "),
        (b"2026-11-22T15:00:30", "the snapshot in Redis is damaged: at: "),
        (b"\xff\x00", "the snapshot in Redis is damaged: at: "),
        (b"", "the snapshot in Redis is damaged: at: "),
        (b"2027-11-22T15:00:30Z", "in the future"),
    ],
)
async def test_a_snapshot_of_no_time_is_not_ready_and_metrics_have_the_rest(
    client: Client, store: Store, taken_at: bytes, reason: str
) -> None:
    await store.generations.redis.hset(keys.SNAPSHOTS, TAKEN_AT, taken_at)
    assert reason in await unready(client)
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        assert "miningmap_share_ratio{" in await answer.text()


@pytest.mark.usefixtures("snapshots")
async def test_parts_of_the_snapshot_that_cannot_be_read_are_unknown(
    serve: Serve, store: Store, now: datetime
) -> None:
    damaged = {"1h/country": b"{", POOLS: b'{"pools": 1}', "7d/country": b"\xff"}
    for name, part in damaged.items():
        await store.generations.redis.hset(keys.SNAPSHOTS, name, part)
    client = await serve(store, now)
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    assert 'miningmap_cohort_pools{window="24h"}' in text
    assert 'miningmap_cohort_pools{window="1h"}' not in text
    assert "miningmap_pool_hashrate_hashes_per_second{" not in text
    detail = await unready(client, "/api/v1/shares.csv?window=1h")
    assert detail.startswith("the snapshot in Redis is damaged: ")


@pytest.mark.usefixtures("snapshots")
async def test_redis_unavailable_and_available_are_logged_once_each(
    serve: Serve, store_at: StoreAt, redis_proxy: RedisProxy
) -> None:
    client = await serve(store_at(redis_proxy.url))

    async def statuses() -> list[int]:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(3)))
        return [answer.status for answer in answers]

    with capture_logs() as logs:
        assert await statuses() == [200] * 3
        await redis_proxy.stop()
        assert await statuses() == [503] * 3
        await redis_proxy.start()
        assert await statuses() == [200] * 3
    assert [log["event"] for log in logs] == ["redis_unavailable", "redis_available"]


@pytest.mark.usefixtures("snapshots")
async def test_a_dead_connection_in_the_pool_fails_no_request(
    serve: Serve, store_at: StoreAt, redis_proxy: RedisProxy
) -> None:
    client = await serve(store_at(redis_proxy.url))
    for _ in range(2):
        async with client.get("/readyz") as answer:
            assert answer.status == 200
        await redis_proxy.stop()
        await redis_proxy.start()
