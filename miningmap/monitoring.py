"""Each service's own small HTTP server for Prometheus and health checks."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import CollectorRegistry


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="alive\n")


@asynccontextmanager
async def monitored(registry: CollectorRegistry, host: str, port: int) -> AsyncIterator[None]:
    """Serve ``/metrics`` and ``/healthz`` while the block runs.

    Raises:
        OSError: the port is taken.
    """
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    app.router.add_get("/healthz", _alive)
    async with serving(app, host, port):
        yield


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[web.AppRunner]:
    """Serve an application while the block runs; open requests get two seconds at the end.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner
    finally:
        await runner.cleanup()
