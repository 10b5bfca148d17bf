"""``/healthz`` and ``/readyz``, and what all else says while Redis is away."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from yarl import URL

from miningmap import settings as config
from miningmap.redis import connect
from streams.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    Client = TestClient[web.Request, web.Application]
    Serve = Callable[..., Awaitable[Client]]

pytestmark = pytest.mark.integration

NEEDS_REDIS = ["/api/v1/shares", "/api/v1/shares.csv", "/api/v1/pools", "/metrics", "/readyz"]


class Line:
    """A line to Redis that can be cut, and mended at the same address."""

    def __init__(self, redis_url: str) -> None:
        self._to = URL(redis_url)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return str(self._to.with_host("127.0.0.1").with_port(self._port))

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in list(self._ends):
            end.close()
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.host, self._to.port)
        self._ends |= {writer, back}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, back))
            tasks.create_task(_copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    made = Line(redis_url)
    await made.mend()
    yield made
    await made.cut()


@pytest.fixture
async def away(serve: Serve, unused_tcp_port: int) -> AsyncIterator[Client]:
    """The service in front of a Redis that is not there."""
    url = SecretStr(f"redis://127.0.0.1:{unused_tcp_port}/0")
    redis = connect(config.Redis(url=url), patient=False)
    yield await serve(Store(redis, config.Retention()))
    await redis.aclose()


async def unready(client: Client, path: str = "/readyz") -> Any:
    async with client.get(path) as answer:
        assert answer.status == 503
        assert answer.content_type == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        return (await answer.json(content_type=None))["detail"]


async def test_without_a_snapshot_it_is_alive_but_not_ready(client: Client) -> None:
    assert "no snapshot yet" in await unready(client)
    async with client.get("/healthz") as answer:
        assert (answer.status, (await answer.text()).strip()) == (200, "alive")


@pytest.mark.usefixtures("snapshots")
async def test_with_a_fresh_snapshot_it_is_ready(serve: Serve, store: Store, now: datetime) -> None:
    client = await serve(store, now + timedelta(seconds=59))
    async with client.get("/readyz") as answer:
        assert answer.status == 200


@pytest.mark.usefixtures("snapshots")
async def test_with_a_stale_snapshot_it_is_not_ready_and_says_how_old(
    serve: Serve, store: Store, now: datetime
) -> None:
    client = await serve(store, now + timedelta(seconds=60))
    assert "60 s old" in await unready(client)


@pytest.mark.parametrize("path", NEEDS_REDIS)
async def test_without_redis_what_needs_it_is_503_with_the_reason(away: Client, path: str) -> None:
    assert "Redis" in await unready(away, path)


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/v1/places", "/api/v1/places.csv"])
async def test_without_redis_what_does_not_need_it_is_served(away: Client, path: str) -> None:
    async with away.get(path) as answer:
        assert answer.status == 200


@pytest.mark.usefixtures("snapshots")
async def test_redis_lost_and_back_is_told_once_each(serve: Serve, line: Line) -> None:
    redis = connect(config.Redis(url=SecretStr(line.url)), patient=False)
    client = await serve(Store(redis, config.Retention()))

    async def statuses() -> list[int]:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(3)))
        return [answer.status for answer in answers]

    with capture_logs() as logs:
        assert await statuses() == [200] * 3
        await line.cut()
        assert await statuses() == [503] * 3
        await line.mend()
        assert await statuses() == [200] * 3
    assert [log["event"] for log in logs] == ["redis_lost", "redis_back"]
    await redis.aclose()


@pytest.mark.usefixtures("snapshots")
async def test_a_connection_that_died_in_the_pool_costs_no_answer(serve: Serve, line: Line) -> None:
    redis = connect(config.Redis(url=SecretStr(line.url)), patient=False)
    client = await serve(Store(redis, config.Retention()))
    for _ in range(2):
        async with client.get("/readyz") as answer:
            assert answer.status == 200
        await line.cut()
        await line.mend()
    await redis.aclose()
