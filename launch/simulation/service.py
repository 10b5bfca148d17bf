"""The simulated world as a process: the pools' servers and the partner."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from launch.simulation.partner import push_daily, push_live
from launch.simulation.servers import make_app
from miningmap import live_rows
from miningmap.cbeci import contribution
from miningmap.partner.http import intake_client
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from launch.simulation.world import World

_log = structlog.get_logger(__name__)


async def serve(
    host: str,
    port: int,
    world: World,
    *,
    intake: str | None = None,
    token: str = "",
    clock: Callable[[], datetime] = utc_now,
) -> None:
    """Serve all simulated sources until SIGTERM or SIGINT.

    Args:
        host: to listen on.
        port: to listen on; 0 for any free port, which is logged.
        world: the world.
        intake: the base address of the intake, for the partner; ``None`` for no partner.
        token: the partner's token.
        clock: returns the current time.

    Raises:
        OSError: the port is in use.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Requests in flight may be dropped at the end: the collector polls again.
    runner = web.AppRunner(make_app(world, clock), access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_host, bound_port = runner.addresses[0][:2]
        _log.info("listening", url=f"http://{bound_host}:{bound_port}")
        async with _partner(intake, token, world, clock):
            await stop.wait()
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _partner(
    intake: str | None, token: str, world: World, clock: Callable[[], datetime]
) -> AsyncIterator[None]:
    """Push the partner's rows while the block runs."""
    if intake is None:
        yield
        return
    base = intake.rstrip("/")
    async with intake_client() as client, asyncio.TaskGroup() as tasks:
        pushing = [
            tasks.create_task(push(client, base + path, token, world, clock=clock))
            for push, path in ((push_daily, contribution.PATH), (push_live, live_rows.PATH))
        ]
        yield
        for task in pushing:
            task.cancel()
