"""The simulated pools' HTTP servers in one: ``/HOST/PATH`` responds as ``https://HOST/PATH``.

The routes are the requests that the sources declare, and the bodies are their own examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from yarl import URL

from launch.simulation.sources import bodies, is_up, simulated_sources
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from collector.sources.base import Source
    from launch.simulation.world import World

    Handler = Callable[[web.Request], Awaitable[web.Response]]
    Clock = Callable[[], datetime]


class _Endpoint(NamedTuple):
    """One declared request: its query, its source, and its number among the source's requests."""

    query: frozenset[tuple[str, str]]
    source: Source
    number: int


def make_app(world: World, clock: Clock = utc_now) -> web.Application:
    """Return the application that serves all simulated sources, as of the time of ``clock``.

    A wrong host or path is a 404. A query without the parameters that the source declares is a 400.
    A pool in an outage is a 503.
    """
    endpoints: dict[tuple[str, str], list[_Endpoint]] = {}
    for source in simulated_sources():
        for number, request in enumerate(source.requests):
            url = URL(request.url)
            route = request.method, f"/{url.host}{url.path}"
            endpoint = _Endpoint(frozenset(url.query.items()), source, number)
            endpoints.setdefault(route, []).append(endpoint)
    app = web.Application()
    for (method, path), at_path in endpoints.items():
        app.router.add_route(method, path, _handler(world, clock, at_path))
    return app


def _handler(world: World, clock: Clock, endpoints: Sequence[_Endpoint]) -> Handler:
    """Return the handler of one path, whose endpoints differ in their queries."""

    async def handle(request: web.Request) -> web.Response:
        query = set(request.query.items())
        matching = [endpoint for endpoint in endpoints if endpoint.query <= query]
        if not matching:
            expected = " or ".join(str(URL().with_query(sorted(e.query))) for e in endpoints)
            raise web.HTTPBadRequest(text=f"expected the query {expected}")
        # Several sources may make the same request; the first of them responds for all.
        _, source, number = max(matching, key=lambda endpoint: len(endpoint.query))
        at = clock()
        if not is_up(world, source, at, at):
            raise web.HTTPServiceUnavailable
        body = bodies(world, source, at)[number]
        return web.Response(body=body, content_type="application/json")

    return handle
