"""CBECI's paths under ``/cbeci/api``: clients of CBECI only have to change the base address.

All bodies are computed together, from the months that are over, because years of months are too
much work for each request. They are cached for as long as clients may cache them, or until a table
is imported.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from endpoint.cbeci_tables import CHARTS, COUNTRIES_WITH_SUBDIVISIONS, DOWNLOADS, TABLES, bodies
from endpoint.errors import BusyError
from endpoint.http.connection import still_connected
from endpoint.http.representation import Representation
from miningmap.licences import licence_of
from streams.queries.cost import months_cost
from streams.queries.months import months_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from endpoint.data.gateway import Gateway
    from endpoint.data.heavy_questions import HeavyQuestions
    from miningmap.licences import Licence
    from streams.queries.pieces import Worker

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

    def is_fresh(self, now: datetime) -> bool:
        """Return whether clients may still cache the bodies, and so may this process."""
        return timedelta(0) <= now - self.at < MAX_AGE


class Cbeci:
    """Handlers of CBECI's paths. Query parameters such as ``file_type`` are ignored.

    Args:
        gateway: computes the months.
        heavy: where they are computed.
        now: the clock, UTC.
    """

    def __init__(
        self, gateway: Gateway, heavy: HeavyQuestions, *, now: Callable[[], datetime]
    ) -> None:
        self._gateway = gateway
        self._heavy = heavy
        self._now = now
        self._tables: _Tables | None = None

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
        tables = await self._newest(request)
        response = tables.by_path[path].respond(request)
        response.headers.update(tables.headers)
        return response

    async def _newest(self, request: web.Request) -> _Tables:
        # Read before the months, so that an import in between is noticed at the next request.
        now, import_version = self._now(), await self._gateway.import_version()
        cached = self._tables
        if cached is not None and cached.import_version == import_version and cached.is_fresh(now):
            return cached
        known = await self._gateway.known()

        async def compute(work: Worker) -> _Tables:
            months = await self._gateway.months(now, COUNTRIES_WITH_SUBDIVISIONS, known, work)
            computed = await work(partial(bodies, months), 0.0)
            headers = SIMULATED if any(month.simulated for month in months) else {}
            licence = licence_of({pool for month in months for pool in month.pools})
            by_path = {p: _representation(p, body, licence) for p, body in computed.items()}
            self._tables = _Tables(now, import_version, headers, by_path)
            return self._tables

        try:
            # Concurrent requests wait for the same result, which costs none of them anything.
            return await self._heavy.answer(
                (PREFIX, import_version),
                months_cost(len(months_until(known, now))),
                compute,
                is_wanted=still_connected(request),
            )
        except BusyError:
            if cached is None or cached.import_version != import_version:
                raise
            return cached  # months that are over hardly change


def _representation(path: str, body: bytes, licence: Licence) -> Representation:
    content_type = _JSON if path.startswith("charts/") else _CSV
    return Representation(body, content_type, _CACHE_CONTROL, licence)
