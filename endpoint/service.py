"""The HTTP service: its routes and middlewares, its start and its stop."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from endpoint.data.gateway import Gateway
from endpoint.data.heavy_questions import HeavyQuestions
from endpoint.data.snapshot_cache import SnapshotCache
from endpoint.http.middleware import (
    add_common_headers,
    preflight,
    problem_middleware,
    rate_limit_middleware,
)
from endpoint.http.rate_limit import Limiter, RateLimit
from endpoint.routes import page
from endpoint.routes.api import PREFIX, Api
from endpoint.routes.belief_metrics import BeliefCollector
from endpoint.routes.cbeci import Cbeci
from endpoint.routes.health import Health
from endpoint.routes.metrics import Metrics
from endpoint.routes.openapi import OpenApi
from endpoint.routes.stream import Stream
from miningmap.dependencies import Dependency, show
from miningmap.http.clients import Clients
from miningmap.http.connections import Limits
from miningmap.http.metrics import HttpMetrics
from miningmap.http.server import most_connections, serving
from miningmap.metrics import new_registry, redis_durations
from miningmap.redis_access import ENDPOINT
from miningmap.redis_client import connect, watch
from miningmap.settings import SettingsError, Streams
from miningmap.tasks import run_until_first_ends
from miningmap.times import utc_now
from streams import beliefs as belief_files
from streams.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from datetime import datetime

    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client import CollectorRegistry

    from miningmap.settings import Endpoint as EndpointSettings
    from miningmap.settings import Settings
    from streams.beliefs import BeliefsDocument
    from streams.method.beliefs import Beliefs

SWITCH_S: Final = 0.001
"""How long the event loop may have to wait for the thread that computes heavy questions (s).
A request waits for it about three times, with Python's own 5 ms each. 1 ms costs the thread 4 %."""

_HTTP: Final = web.AppKey("http", HttpMetrics)
_MONITORING: Final = web.AppKey("monitoring", dict[str, "Handler"])

_log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set.

    Redis need not be available at the start: ``/readyz`` answers 503 until it is.

    Raises:
        SettingsError: a file of beliefs, the Redis URL or the address is invalid, or Redis
            refuses the password.
    """
    try:
        documents = belief_files.configured(settings.method)
        beliefs = belief_files.beliefs_of(documents)
    except belief_files.BeliefsError as error:
        raise SettingsError(str(error)) from None
    sys.setswitchinterval(SWITCH_S)
    registry = new_registry()
    redis = connect(settings.redis, patient=False, durations=redis_durations(registry))
    state = Dependency("redis")
    try:
        app = application(
            Store(redis, settings.retention),
            beliefs,
            _without_too_many_streams(settings.endpoint),
            documents=documents,
            snapshot_s=settings.streams.snapshot_s,
            redis=state,
            registry=registry,
        )
        async with serving_endpoint(app, settings.endpoint):
            _log.info("service_started")
            await run_until_first_ends(stop.wait(), watch(settings.redis, state, access=ENDPOINT))
    finally:
        await redis.aclose()


@asynccontextmanager
async def serving_endpoint(app: web.Application, settings: EndpointSettings) -> AsyncIterator[None]:
    """Serve the application, and its metrics and health on a port of their own if it is set."""
    metrics = app[_HTTP].connections
    limits = Limits(
        connections=settings.connections,
        per_client=settings.client_connections,
        clients=_clients(settings),
    )
    async with AsyncExitStack() as stack:
        if settings.metrics_port is not None:
            monitoring = serving(
                _monitoring(app),
                settings.metrics_host,
                settings.metrics_port,
                "ENDPOINT__METRICS_PORT",
                metrics=metrics,
            )
            await stack.enter_async_context(monitoring)
        public = serving(
            app,
            settings.host,
            settings.port,
            "ENDPOINT__PORT",
            limits=limits,
            metrics=metrics,
            reuse_port=settings.reuse_port,
        )
        await stack.enter_async_context(public)
        yield


def application(
    store: Store,
    beliefs: Beliefs,
    settings: EndpointSettings,
    *,
    documents: BeliefsDocument | None = None,
    snapshot_s: float | None = None,
    now: Callable[[], datetime] = utc_now,
    redis: Dependency | None = None,
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """Return the web application of the whole service.

    Args:
        store: the cells, the snapshot and the events, which are only read.
        beliefs: for answers that are computed on request.
        settings: the freshness, the number of stream clients and the rate limit.
        documents: what the beliefs were made from, for ``/api/v1/beliefs`` and the metric of their
            ends; by default nothing.
        snapshot_s: the shortest time between two snapshots, in seconds, for which a response may
            be cached; by default that of the settings.
        now: the clock, UTC.
        redis: shows whether Redis is available.
        registry: where the metrics of the process are added; by default a new one.
    """
    registry = registry or new_registry()
    redis = redis or Dependency("redis")
    show([redis], registry)
    documents = documents or belief_files.BeliefsDocument()
    registry.register(BeliefCollector(documents, now))
    gateway = Gateway(store, beliefs, redis)
    heavy = HeavyQuestions(registry)
    cache = SnapshotCache(gateway, fresh_s=settings.fresh_s, now=now)
    health = Health(gateway, fresh_s=settings.fresh_s, now=now)
    clients = _clients(settings)
    stream = Stream(
        cache,
        max_clients=settings.stream_clients,
        max_of_address=settings.streams_per_address,
        clients=clients,
        registry=registry,
    )
    metrics = Metrics(gateway, cache, registry)
    monitoring: dict[str, Handler] = {
        "/metrics": metrics.scrape,
        "/healthz": health.alive,
        "/readyz": health.ready,
    }
    routes: dict[str, Handler] = {
        **page.routes(),
        **Api(
            gateway,
            cache,
            heavy,
            documents,
            snapshot_s=Streams().snapshot_s if snapshot_s is None else snapshot_s,
            now=now,
        ).routes(),
        **Cbeci(gateway, heavy, now=now).routes(),
        f"{PREFIX}/stream": stream.serve,
        **monitoring,
    }
    routes |= OpenApi(routes).routes()
    http = HttpMetrics(registry)
    app = web.Application(middlewares=_middlewares(settings, clients, http, registry))
    app[_HTTP], app[_MONITORING] = http, monitoring
    for path, handler in routes.items():
        app.router.add_get(path, handler)
        app.router.add_options(path, preflight)
    app.on_response_prepare.append(add_common_headers)
    app.cleanup_ctx.append(_following(cache.follow, metrics.follow, stream.follow))
    app.on_shutdown.append(_closing(cache, heavy))
    return app


def _without_too_many_streams(settings: EndpointSettings) -> EndpointSettings:
    """Return the settings with so few clients of streams that others have connections left."""
    most = most_connections(settings.connections) * 3 // 4
    clients = min(settings.stream_clients, most)
    return settings.model_copy(update={"stream_clients": clients})


def _monitoring(app: web.Application) -> web.Application:
    """Return an application with the metrics and the health of another one."""
    alone = web.Application(middlewares=[app[_HTTP].middleware, problem_middleware])
    for path, handler in app[_MONITORING].items():
        alone.router.add_get(path, handler)
    alone.on_response_prepare.append(add_common_headers)
    return alone


def _middlewares(
    settings: EndpointSettings, clients: Clients, http: HttpMetrics, registry: CollectorRegistry
) -> list[Middleware]:
    """Return the middlewares, from the outermost to the one next to the handlers."""
    outer = [http.middleware, problem_middleware]
    if not settings.rate_limit:
        return outer
    limit = RateLimit(Limiter(settings.rate_limit), clients, registry)
    return [*outer, rate_limit_middleware(limit)]


def _clients(settings: EndpointSettings) -> Clients:
    return Clients(settings.trusted_proxies, loopback=settings.limit_loopback)


def _following(
    *follow: Callable[[], Coroutine[Any, Any, None]],
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return the cleanup context in which tasks keep the cache and what depends on it up to date.

    The tasks end with the context. If one fails, its error ends the service.
    """

    async def follow_all(_app: web.Application) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            followers = [tasks.create_task(each()) for each in follow]
            yield
            for follower in followers:
                follower.cancel()

    return follow_all


def _closing(
    cache: SnapshotCache, heavy: HeavyQuestions
) -> Callable[[web.Application], Awaitable[None]]:
    """Return the shutdown handler that ends all streams and heavy questions.

    It is called before aiohttp waits for open requests.
    """

    async def close(_app: web.Application) -> None:
        await cache.close()
        await heavy.close()

    return close
