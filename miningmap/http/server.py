"""Serve an HTTP application on a port; the small application of each service for Prometheus."""

from __future__ import annotations

import errno
import resource
import socket
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from miningmap.http.connections import MONITORING, Connections
from miningmap.http.listener import Listener, bind
from miningmap.http.metrics import ConnectionMetrics, accepted_format
from miningmap.http.problems import SERVER_NAME, problem_middleware, readiness
from miningmap.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from miningmap.http.connections import Limits
    from miningmap.http.metrics import HttpMetrics
    from miningmap.series import Series

SHUTDOWN_S: Final = 1.5
"""How long requests in flight may take at the end, in seconds. Those that ignore their cancellation
get the same time once more from aiohttp."""

# The machine has no such address, the host is a multicast one, or the machine has no IPv6.
_ERRORS_OF_HOST: Final = (errno.EADDRNOTAVAIL, errno.EINVAL, errno.EAFNOSUPPORT)

RESERVED: Final = 256
"""How many files no listener may use up: those for monitoring, and for Kafka, Redis and sources."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(
    app: web.Application,
    host: str,
    port: int,
    setting: str,
    *,
    limits: Limits = MONITORING,
    metrics: ConnectionMetrics | None = None,
    reuse_port: bool = False,
) -> AsyncIterator[None]:
    """Serve an application while the block runs.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port to listen on; 0 for any free one. The event ``listening`` has its number.
        setting: the setting of the port without its prefix, such as ``ENDPOINT__PORT``. The one of
            the host has ``HOST`` in place of ``PORT``.
        limits: how many connections there may be, and how long each part of a request may take.
        metrics: where connections are counted.
        reuse_port: share the port with other processes that set this too; the operating system
            divides the connections among them.

    Raises:
        SettingsError: the host is not an address of this machine, or the port cannot be listened
            on.
    """
    limits = replace(limits, connections=most_connections(limits.connections))
    metrics = metrics or ConnectionMetrics(CollectorRegistry())
    app.on_response_prepare.append(_name_no_version)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    listener: Listener | None = None
    try:
        try:
            sockets = await bind(host, port, reuse_port=reuse_port)
        except (OSError, ValueError) as error:  # a name that no host can have is a ValueError
            raise _listen_error(error, host, port, PREFIX + setting) from None
        connections = Connections(_name_of(setting), limits, metrics)
        listener = Listener(sockets, _server_of(runner), connections, metrics)
        address, number = sockets[0].getsockname()[:2]
        _log.info(
            "listening",
            url=url_of(address, number),
            setting=PREFIX + setting,
            connections=limits.connections,
        )
        yield
    finally:
        if listener is not None:
            await listener.close()
        await runner.cleanup()
        if listener is not None:
            listener.abort()


def _name_of(setting: str) -> str:
    """Return the name of a listener in metrics and log: ``endpoint`` for ``ENDPOINT__PORT``."""
    return setting.lower().replace("__", "_").removesuffix("_port")


def _server_of(runner: web.AppRunner) -> web.Server:
    if runner.server is None:  # pragma: no cover - for the type checker: setup() has made it
        raise RuntimeError("the runner is not set up")
    return runner.server


async def _name_no_version(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = SERVER_NAME


def _listen_error(error: Exception, host: str, port: int, setting: str) -> SettingsError:
    """The error of a server that cannot listen, with the name of the setting to change."""
    is_of_host = isinstance(error, (socket.gaierror, ValueError)) or (
        isinstance(error, OSError) and error.errno in _ERRORS_OF_HOST
    )
    where = f"cannot listen at {url_of(host, port).removeprefix('http://')}"
    if is_of_host:
        name = setting.removesuffix("PORT") + "HOST"
        return SettingsError(
            f"{name}: {where}: {host!r} is not an address of this machine; expected one, such as "
            "127.0.0.1, or 0.0.0.0 for all"
        )
    return SettingsError(f"{setting}: {where}: {getattr(error, 'strerror', None) or error}")


def url_of(host: str, port: int) -> str:
    """Return the address of a server on a host, which may be an IPv6 address."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def allow_many_connections() -> int:
    """Raise the limit of open files to what the operating system allows this process.

    The usual limit of 1024 exists for programs that use select(); a connection needs one each.

    Returns:
        The limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS reports "unlimited" and allows less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def most_connections(wanted: int) -> int:
    """Return how many connections a listener can have at a time.

    Each takes a file, and some files are kept for the service itself.

    Args:
        wanted: how many it should have.
    """
    files = allow_many_connections()
    return min(wanted, max(files - min(RESERVED, files // 2), 1))


def _nothing() -> Sequence[str]:
    return ()


def monitoring_app(
    registry: CollectorRegistry,
    http: HttpMetrics,
    reasons: Callable[[], Sequence[str]],
    notes: Callable[[], Sequence[str]] = _nothing,
    series: Sequence[Series] = (),
) -> web.Application:
    """An application with ``/metrics``, ``/healthz`` and ``/readyz``.

    ``/healthz`` says only that the process is alive.

    Args:
        registry: the metrics.
        http: counts the requests.
        reasons: returns why the service is not ready; nothing if it is.
        notes: returns what does not work although the service is ready.
        series: metrics that have many series, which are not in the registry.
    """

    async def metrics(request: web.Request) -> web.Response:
        chosen = accepted_format(request)
        headers = {hdrs.CONTENT_TYPE: chosen.content_type}
        response = web.Response(body=chosen.encode_all(registry, series), headers=headers)
        response.enable_compression()
        return response

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        return readiness(reasons(), notes())

    app = web.Application(middlewares=[http.middleware, problem_middleware])
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
