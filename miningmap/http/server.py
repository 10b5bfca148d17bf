"""An HTTP application on a port, and the small one that each service has for Prometheus."""

from __future__ import annotations

import resource
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from miningmap.http.problems import problem_middleware
from miningmap.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import CollectorRegistry

# For requests in flight at the end; aiohttp grants it once more to those that resist.
SHUTDOWN_S: Final = 1.5

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, setting: str, *, reuse_port: bool = False
) -> AsyncIterator[None]:
    """Serve an application while the block runs.

    Args:
        app: what to serve.
        host: to listen on.
        port: to listen on; 0 for any, which the log then tells.
        setting: what sets the port, such as ``ENDPOINT__PORT``; for the error.
        reuse_port: share the port with other processes that say so too; the system gives each of
            them a part of the connections.

    Raises:
        SettingsError: it cannot listen there.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, reuse_port=reuse_port).start()
        except OSError as error:
            text = f"{PREFIX}{setting}: cannot listen at {host}:{port}: {error.strerror}"
            raise SettingsError(text) from None
        at, number = runner.addresses[0][:2]
        address = f"http://{f'[{at}]' if ':' in at else at}:{number}"
        _log.info("listening", url=address, setting=PREFIX + setting)
        yield
    finally:
        await runner.cleanup()


def allow_many_connections() -> None:
    """As many open files as the system lets this process have.

    The usual 1024 are for programs that use select(), and end a crowd's connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS says "unlimited" and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def monitoring_app(registry: CollectorRegistry) -> web.Application:
    """``/metrics``, and ``/healthz``: alive. How things are is in the metrics."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(middlewares=[problem_middleware])
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    app.router.add_get("/healthz", healthz)
    return app
