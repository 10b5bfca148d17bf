"""The service starts without Redis, logs its address, and stops with all its tasks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientError, ClientSession
from pydantic import SecretStr
from structlog.testing import capture_logs

from endpoint.data.snapshot_cache import SnapshotCache
from endpoint.service import run
from miningmap import settings as config
from miningmap.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DEADLINE_S = 10.0
ENDS_WITHIN_S = 5.0


def settings_for(
    redis_url: str, *, port: int = 0, method: config.Method | None = None
) -> config.Settings:
    sections = {
        "redis": config.Redis(url=SecretStr(redis_url)),
        "endpoint": config.Endpoint(port=port),
        "method": method or config.Method(),
    }
    return config.load().model_copy(update=sections)


@contextlib.asynccontextmanager
async def running(redis_url: str) -> AsyncIterator[str]:
    """Run the service, yield the address that it logs, and stop it within a deadline."""
    async with running_with(settings_for(redis_url)) as (url,):
        yield url


@contextlib.asynccontextmanager
async def running_with(settings: config.Settings) -> AsyncIterator[list[str]]:
    """Run the service, yield the addresses that it logs, and stop it within a deadline."""
    stop = asyncio.Event()
    with capture_logs() as logs:
        task = asyncio.create_task(run(settings, stop))
        async with asyncio.timeout(DEADLINE_S):
            while "service_started" not in [log["event"] for log in logs]:
                assert not task.done()
                await asyncio.sleep(0)
    *listening, started = logs
    assert {log["event"] for log in listening} == {"listening"}
    assert started["event"] == "service_started"
    try:
        yield [log["url"] for log in listening]
    finally:
        stop.set()
        async with asyncio.timeout(ENDS_WITHIN_S):
            await task


async def test_the_service_starts_without_redis_and_is_not_ready(unused_tcp_port: int) -> None:
    async with (
        running(f"redis://127.0.0.1:{unused_tcp_port}/0") as url,
        ClientSession(url) as session,
    ):
        async with session.get("/healthz") as answer:
            assert answer.status == 200
        async with session.get("/readyz") as answer:
            assert answer.status == 503


@pytest.mark.integration
async def test_snapshots_of_redis_are_served(redis_url: str, snapshots: dict[str, bytes]) -> None:
    async with (
        running(redis_url) as url,
        ClientSession(url) as session,
        session.get("/api/v1/shares?window=24h") as answer,
    ):
        assert await answer.read() == snapshots["24h/country"]
        assert answer.headers["Cache-Control"] == "public, max-age=0"


async def test_metrics_and_health_can_have_a_port_of_their_own(unused_tcp_port: int) -> None:
    settings = settings_for(f"redis://127.0.0.1:{unused_tcp_port}/0")
    settings.endpoint.metrics_port = 0
    settings.endpoint.rate_limit = 1
    settings.endpoint.limit_loopback = True
    async with running_with(settings) as (monitoring, public):
        for url in (monitoring, public):
            async with ClientSession(url) as session:
                statuses = [await _status(session, path) for path in ("/metrics", "/healthz")]
                assert [*statuses, await _status(session, "/readyz")] == [200, 200, 503]
        async with ClientSession(monitoring) as session:
            assert [await _status(session, "/api/v1/places") for _ in range(2)] == [404, 404]
        async with ClientSession(public) as session:
            assert [await _status(session, "/api/v1/places") for _ in range(2)] == [200, 429]
            async with session.get("/metrics") as answer:
                assert (
                    'miningmap_http_connections{listener="endpoint_metrics"}' in await answer.text()
                )


async def test_the_service_stops_in_time_with_a_request_in_flight() -> None:
    requested = asyncio.Event()
    connections = itertools.count(1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(connections) == 3:  # after those of the health check of Redis and of the cache
            requested.set()
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as redis, ClientSession() as web:
        port = redis.sockets[0].getsockname()[1]
        async with running(f"redis://127.0.0.1:{port}/0") as url:
            waiting = asyncio.create_task(_status(web, f"{url}/readyz"))
            await asyncio.wait_for(requested.wait(), DEADLINE_S)
        with pytest.raises(ClientError):
            await waiting


async def test_no_task_outlives_the_service(unused_tcp_port: int) -> None:
    async with running(f"redis://127.0.0.1:{unused_tcp_port}/0"):
        assert len(asyncio.all_tasks()) > 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_of_the_snapshot_cache_ends_the_service_with_its_error(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_cache: SnapshotCache) -> None:
        raise LookupError("a bug in the cache")

    monkeypatch.setattr(SnapshotCache, "follow", fail)
    settings = settings_for(f"redis://127.0.0.1:{unused_tcp_port}/0")
    async with asyncio.timeout(DEADLINE_S):
        with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="a bug in the cache")):
            await run(settings, asyncio.Event())


async def _status(session: ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status


async def test_an_error_names_a_port_in_use() -> None:
    async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(SettingsError, match=rf"MININGMAP_ENDPOINT__PORT.*127\.0\.0\.1:{port}"):
            await run(settings_for("redis://127.0.0.1:1/0", port=port), asyncio.Event())


async def test_an_error_names_a_missing_file_of_beliefs(tmp_path: Path) -> None:
    method = config.Method(beliefs=tmp_path / "beliefs.json")
    wrong = settings_for("redis://127.0.0.1:1/0", method=method)
    with pytest.raises(SettingsError, match=r"beliefs\.json: No such file"):
        await run(wrong, asyncio.Event())


async def test_an_error_does_not_quote_an_invalid_redis_url() -> None:
    for url in ("http://secret@127.0.0.1", "redis://:sec/ret@127.0.0.1:6379/0"):
        with pytest.raises(SettingsError, match="MININGMAP_REDIS__URL") as refused:
            await run(settings_for(url), asyncio.Event())
        assert "sec" not in str(refused.value)
