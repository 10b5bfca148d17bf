"""Pools that a real collector polls, their one server, and the services that use their figures."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from aiohttp import web

import collector.service
from benchmarks.running import command, services, until_ready
from collector.sources.base import PoolSource, Request
from launch.cli import main as command_line
from launch.local.embedded import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from benchmarks.running import Service
    from collector.sources.base import Reading
    from tests.servers import KafkaServer, RedisServer

SERVICES: Final = ("streams", "endpoint")


def source(slug: str, poll_s: int, parse: Callable[[Sequence[bytes]], list[Reading]]) -> PoolSource:
    """Return the declaration of a pool with a host of its own."""
    return PoolSource(
        slug=slug,
        name=slug,
        home="https://pool.example",
        docs="https://pool.example",
        terms="none",
        requests=(Request(f"https://{slug}.example/hashrate"),),
        poll_s=poll_s,
        poll_reason="a benchmark",
        averaging_s=60,
        hold_s=300,
        least=1.0,
        confidence="high",
        default=True,
        pool=slug,
        parse=parse,
    )


def collect(sources: Sequence[PoolSource], over_s: float | None = None) -> None:
    """Be the collector, which has these sources and no others, until a signal ends it.

    Args:
        sources: all of them.
        over_s: the time over which the first polls are spread, if the collector is not to choose.
    """
    collector.service.discover = lambda: list(sources)  # type: ignore[attr-defined]
    if over_s is not None:
        collector.service.start_spread_s = lambda source_count: over_s  # type: ignore[attr-defined] # noqa: ARG005
    command_line(["collector"], prog_name="miningmap")


@asynccontextmanager
async def system(
    kafka: KafkaServer,
    redis: RedisServer,
    collecting: Sequence[str],
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    more: Mapping[str, str],
) -> AsyncIterator[tuple[str, list[Service]]]:
    """Run the three services until the block ends; they are ready when it begins.

    Args:
        kafka: has the topics.
        redis: for all of them.
        collecting: the command that runs the collector, see :func:`collect`.
        answer: the pools' answer to a poll.
        more: settings of all services.

    Yields:
        The URL of the API, and the services.
    """
    commands = {"collector": collecting, **{name: command(name) for name in SERVICES}}
    port = free_port()
    async with _answering(answer) as upstream:
        env = {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "MININGMAP_REDIS__URL": redis.url,
            "MININGMAP_COLLECTOR__UPSTREAM": upstream,
            "MININGMAP_COLLECTOR__ALLOW_PRIVATE": "true",
            "MININGMAP_INTAKE__PORT": str(free_port()),
            "MININGMAP_ENDPOINT__PORT": str(port),
            **more,
        }
        with TemporaryDirectory() as folder, services(env, Path(folder), commands) as running:
            await until_ready(running, Path(folder))
            yield f"http://{LOOPBACK}:{port}", running


@asynccontextmanager
async def _answering(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Serve all hosts of all pools; yield the URL that a collector has as its upstream."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
