"""``/healthz`` and ``/readyz``, and all other paths while Redis is unavailable."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

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

NEEDS_REDIS = ["/api/v1/shares", "/api/v1/shares.csv", "/api/v1/pools", "/metrics", "/readyz"]


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
