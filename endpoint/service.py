"""The HTTP service: its routes, what every answer carries, and its life from start to stop."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from endpoint import assets
from endpoint.api import Api
from endpoint.cbeci import Cbeci
from endpoint.faults import fault_middleware
from endpoint.health import Health
from endpoint.metrics import Metrics
from endpoint.openapi import OpenApi
from endpoint.reader import Reader
from endpoint.representation import NO_STORE
from miningmap.problems import problem_middleware
from miningmap.redis import connect
from miningmap.serving import serving
from miningmap.settings import SettingsError
from miningmap.times import utc_now
from streams import beliefs as files
from streams import store as cells

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from miningmap.settings import Settings
    from streams.shares import Beliefs
    from streams.store import Store

SNAPSHOT_S: Final = 5.0

_METHODS: Final = "GET, HEAD, OPTIONS"
# On every answer, errors included: anyone may read it from any page, and no browser guesses at it.
_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After",
    "Cache-Control": NO_STORE,
    "Content-Security-Policy": assets.CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until told to stop. Redis need not be there yet: ``/readyz`` says when it is.

    Raises:
        SettingsError: a file of priors or rules, the Redis URL or the address is unusable.
    """
    try:
        beliefs = files.load(settings.method)
    except files.BeliefsError as error:
        raise SettingsError(str(error)) from None
    redis = connect(settings.redis, patient=False)
    try:
        app = application(
            cells.Store(redis, settings.retention),
            beliefs,
            fresh_s=settings.endpoint.fresh_s,
            snapshot_s=settings.streams.snapshot_s,
        )
        async with serving(app, settings.endpoint.host, settings.endpoint.port, "ENDPOINT__PORT"):
            await stop.wait()
    finally:
        await redis.aclose()


def application(
    store: Store,
    beliefs: Beliefs,
    *,
    fresh_s: float,
    snapshot_s: float = SNAPSHOT_S,
    now: Callable[[], datetime] = utc_now,
) -> web.Application:
    """The whole service, to be run on a port.

    Args:
        store: the cells and snapshots; only read.
        beliefs: priors and rules, for the answers that no snapshot has.
        fresh_s: the age in seconds from which on a snapshot is not fit to serve.
        snapshot_s: seconds between snapshots; so long an answer may be kept.
        now: the clock, UTC.
    """
    reader = Reader(store, beliefs)
    health = Health(reader, fresh_s=fresh_s, now=now)
    routes: dict[str, Handler] = {
        **assets.routes(),
        **Api(reader, max_age_s=snapshot_s, now=now).routes(),
        **Cbeci(reader, now=now).routes(),
        "/metrics": Metrics(reader).scrape,
        "/healthz": health.alive,
        "/readyz": health.ready,
    }
    routes |= OpenApi(routes).routes()
    app = web.Application(middlewares=[problem_middleware, fault_middleware])
    for path, handler in routes.items():
        app.router.add_get(path, handler)
        app.router.add_options(path, _options)
    app.on_response_prepare.append(_add_headers)
    return app


async def _options(_request: web.Request) -> web.Response:
    """What may be asked here, for browsers that ask first (CORS preflight)."""
    return web.Response(
        status=HTTPStatus.NO_CONTENT,
        headers={
            "Allow": _METHODS,
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": "*",
            "Access-Control-Max-Age": "86400",
        },
    )


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "miningmap"  # the library and its version are nobody's business
