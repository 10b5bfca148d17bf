"""CBECI's addresses under ``/cbeci/api``: a client of theirs works with a new base address.

All bodies are made together from the months that are over, and kept for as long as clients may
keep them, or until a table is imported: years of months are too much work for each request.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from endpoint.cbeci_tables import CHARTS, DOWNLOADS, INSIDE, SERVED, bodies
from endpoint.http.representation import Representation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from endpoint.data.gateway import Reader

PREFIX: Final = "/cbeci/api"
MAX_AGE: Final = timedelta(seconds=300)
SIMULATED: Final = {"X-Simulated": "true"}
"""Goes with what has a month of made-up figures in it: CBECI's shapes have no place to say so."""

_CACHE: Final = f"public,max-age={MAX_AGE.seconds}"
_JSON: Final = "application/json"
_NO_VERSION: Final = b'{"error":"Not Implemented"}'
_CSV: Final = "text/csv; charset=utf-8"


class _Made(NamedTuple):
    """All bodies, when and after which import they were made, and what their answers say beside."""

    at: datetime
    imported: bytes | None
    headers: Mapping[str, str]
    by_path: Mapping[str, Representation]


class Cbeci:
    """Handlers of the paths. What parameters a request has (``file_type``) makes no difference.

    Args:
        reader: where the figures are.
        now: the clock, UTC.
    """

    def __init__(self, reader: Reader, *, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._now = now
        self._made: _Made | None = None
        self._making = asyncio.Lock()

    def routes(self) -> dict[str, Handler]:
        """Handlers by path."""
        return {
            **{f"{PREFIX}/charts/{name}": partial(self.chart, name) for name in CHARTS},
            **{
                f"{PREFIX}/{{version}}/download/{name}": partial(self.download, name)
                for name in DOWNLOADS
            },
        }

    async def chart(self, name: str, request: web.Request) -> web.Response:
        """One chart's points."""
        return await self._answer(f"charts/{name}", request)

    async def download(self, name: str, request: web.Request) -> web.Response:
        """One table in the form of one version; CBECI's own 404 for versions that it has not."""
        path = f"{request.match_info['version']}/download/{name}"
        if path not in SERVED:
            return web.Response(
                body=_NO_VERSION, status=HTTPStatus.NOT_FOUND, content_type=_JSON, charset="utf-8"
            )
        answer = await self._answer(path, request)
        answer.headers["Content-Disposition"] = "attachment; filename=export.csv"
        return answer

    async def _answer(self, path: str, request: web.Request) -> web.Response:
        made = await self._newest()
        answer = made.by_path[path].answer(request)
        answer.headers.update(made.headers)
        return answer

    async def _newest(self) -> _Made:
        held = await self._held()
        if held is not None:
            return held
        async with self._making:  # whoever comes while it is made waits for it
            held = await self._held()
            if held is not None:
                return held
            # Asked before the months are: what is imported meanwhile is seen the next time.
            now, imported = self._now(), await self._reader.imported()
            months = await self._reader.months(now, INSIDE)
            made = await asyncio.to_thread(bodies, months)
            headers = SIMULATED if any(month.simulated for month in months) else {}
            by_path = {path: _represented(path, body) for path, body in made.items()}
            self._made = _Made(now, imported, headers, by_path)
            return self._made

    async def _held(self) -> _Made | None:
        """What was made, if it would be made alike now."""
        imported = await self._reader.imported()
        made = self._made
        if made is None or made.imported != imported:
            return None
        return made if timedelta(0) <= self._now() - made.at < MAX_AGE else None


def _represented(path: str, body: bytes) -> Representation:
    return Representation(body, _JSON if path.startswith("charts/") else _CSV, _CACHE)
