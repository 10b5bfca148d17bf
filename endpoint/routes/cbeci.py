"""CBECI's paths under ``/cbeci/api``: clients of CBECI only have to change the base address.

All bodies are computed together, from the months that are over, because years of months are too
much work for each request. They are cached for as long as clients may cache them, or until a table
is imported.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from endpoint.cbeci_tables import CHARTS, COUNTRIES_WITH_SUBDIVISIONS, DOWNLOADS, TABLES, bodies
from endpoint.http.representation import Representation
from miningmap.licences import licence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from endpoint.data.gateway import Gateway
    from miningmap.licences import Licence

PREFIX: Final = "/cbeci/api"
MAX_AGE: Final = timedelta(seconds=300)
SIMULATED: Final = {"X-Simulated": "true"}
"""Marks responses with a simulated month, because CBECI's formats have no field for that."""

_CACHE_CONTROL: Final = f"public,max-age={MAX_AGE.seconds}"
_JSON: Final = "application/json"
_NO_VERSION: Final = b'{"error":"Not Implemented"}'
_CSV: Final = "text/csv; charset=utf-8"


class _Tables(NamedTuple):
    """All bodies by path, the time and the import that they are based on, and common headers."""

    at: datetime
    import_version: bytes | None
    headers: Mapping[str, str]
    by_path: Mapping[str, Representation]


class Cbeci:
    """Handlers of CBECI's paths. Query parameters such as ``file_type`` are ignored.

    Args:
        gateway: computes the months.
        now: the clock, UTC.
    """

    def __init__(self, gateway: Gateway, *, now: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._now = now
        self._tables: _Tables | None = None
        self._computing = asyncio.Lock()

    def routes(self) -> dict[str, Handler]:
        """Return the handlers by path."""
        return {
            **{f"{PREFIX}/charts/{name}": partial(self.chart, name) for name in CHARTS},
            **{
                f"{PREFIX}/{{version}}/download/{name}": partial(self.download, name)
                for name in DOWNLOADS
            },
        }

    async def chart(self, name: str, request: web.Request) -> web.Response:
        """Answer with the points of a chart."""
        return await self._respond(f"charts/{name}", request)

    async def download(self, name: str, request: web.Request) -> web.Response:
        """Answer with a table in one version's format, or CBECI's 404 for an unknown version."""
        path = f"{request.match_info['version']}/download/{name}"
        if path not in TABLES:
            return web.Response(
                body=_NO_VERSION, status=HTTPStatus.NOT_FOUND, content_type=_JSON, charset="utf-8"
            )
        response = await self._respond(path, request)
        response.headers["Content-Disposition"] = "attachment; filename=export.csv"
        return response

    async def _respond(self, path: str, request: web.Request) -> web.Response:
        tables = await self._newest()
        response = tables.by_path[path].respond(request)
        response.headers.update(tables.headers)
        return response

    async def _newest(self) -> _Tables:
        cached = await self._cached()
        if cached is not None:
            return cached
        async with self._computing:  # concurrent requests wait for the same result
            cached = await self._cached()
            if cached is not None:
                return cached
            # Read before the months, so that an import in between is noticed at the next request.
            now, import_version = self._now(), await self._gateway.import_version()
            months = await self._gateway.months(now, COUNTRIES_WITH_SUBDIVISIONS)
            computed = await asyncio.to_thread(bodies, months)
            headers = SIMULATED if any(month.simulated for month in months) else {}
            licence = licence_of({pool for month in months for pool in month.pools})
            by_path = {p: _representation(p, body, licence) for p, body in computed.items()}
            self._tables = _Tables(now, import_version, headers, by_path)
            return self._tables

    async def _cached(self) -> _Tables | None:
        """Return the cached bodies unless they have expired."""
        import_version = await self._gateway.import_version()
        tables = self._tables
        if tables is None or tables.import_version != import_version:
            return None
        return tables if timedelta(0) <= self._now() - tables.at < MAX_AGE else None


def _representation(path: str, body: bytes, licence: Licence) -> Representation:
    content_type = _JSON if path.startswith("charts/") else _CSV
    return Representation(body, content_type, _CACHE_CONTROL, licence)
