"""The HTTP service: its routes, what every answer carries, and its life from start to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from endpoint.data.gateway import Reader
from endpoint.data.snapshot_cache import Feed
from endpoint.http.middleware import framed, not_allowed, not_found, options
from endpoint.http.rate_limit import Clients, Limiter, RateLimit
from endpoint.routes import page
from endpoint.routes.api import PREFIX, Api
from endpoint.routes.cbeci import Cbeci
from endpoint.routes.health import Health
from endpoint.routes.metrics import Metrics, own_registry
from endpoint.routes.openapi import OpenApi
from endpoint.routes.stream import Stream
from miningmap.http.server import allow_many_connections, serving
from miningmap.redis_client import connect
from miningmap.settings import SettingsError
from miningmap.times import utc_now
from streams import beliefs as files
from streams.redis import store as cells

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from miningmap.settings import Endpoint as EndpointSettings
    from miningmap.settings import Settings
    from streams.method.placing import Beliefs
    from streams.redis.store import Store

SNAPSHOT_S: Final = 5.0


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until told to stop. Redis need not be there yet: ``/readyz`` says when it is.

    Raises:
        SettingsError: a file of priors or rules, the Redis URL or the address is unusable.
    """
    try:
        beliefs = files.load(settings.method)
    except files.BeliefsError as error:
        raise SettingsError(str(error)) from None
    allow_many_connections()
    redis = connect(settings.redis, patient=False)
    try:
        app = application(
            cells.Store(redis, settings.retention),
            beliefs,
            settings.endpoint,
            snapshot_s=settings.streams.snapshot_s,
        )
        served = settings.endpoint
        async with serving(
            app, served.host, served.port, "ENDPOINT__PORT", reuse_port=served.reuse_port
        ):
            await stop.wait()
    finally:
        await redis.aclose()


def application(
    store: Store,
    beliefs: Beliefs,
    served: EndpointSettings,
    *,
    snapshot_s: float = SNAPSHOT_S,
    now: Callable[[], datetime] = utc_now,
) -> web.Application:
    """The whole service, to be run on a port.

    Args:
        store: the cells and snapshots; only read.
        beliefs: priors and rules, for the answers that no snapshot has.
        served: how fresh, to how many, how often.
        snapshot_s: seconds between snapshots; so long an answer may be kept.
        now: the clock, UTC.
    """
    own = own_registry()
    reader = Reader(store, beliefs)
    feed = Feed(reader, fresh_s=served.fresh_s, now=now)
    health = Health(reader, fresh_s=served.fresh_s, now=now)
    stream = Stream(feed, most_clients=served.stream_clients, registry=own)
    routes: dict[str, Handler] = {
        **page.routes(),
        **Api(reader, feed, snapshot_s=snapshot_s, now=now).routes(),
        **Cbeci(reader, now=now).routes(),
        f"{PREFIX}/stream": stream.serve,
        "/metrics": Metrics(reader, own).scrape,
        "/healthz": health.alive,
        "/readyz": health.ready,
    }
    routes |= OpenApi(routes).routes()
    limit = None
    if served.rate_limit:
        clients = Clients(served.trusted_proxies, loopback=served.limit_loopback)
        limit = RateLimit(Limiter(served.rate_limit), clients, own)
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, framed(handler, limit))
        app.router.add_options(path, framed(options, limit))
        app.router.add_route("*", path, framed(not_allowed, limit))
    app.router.add_route("*", "/{path:.*}", framed(not_found, limit))
    app.cleanup_ctx.append(_following(feed))
    app.on_shutdown.append(_closing(feed))
    return app


def _following(feed: Feed) -> Callable[[web.Application], AsyncIterator[None]]:
    async def follow(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(feed.follow())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return follow


def _closing(feed: Feed) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_app: web.Application) -> None:
        await feed.close()

    return close
