"""``/api/v1``: shares, history, pools and places, each as JSON and as CSV with the same rows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from endpoint import table
from endpoint.faults import parameters
from endpoint.representation import Representation, public
from miningmap.answers import PlaceList, Point, PoolList, PoolState, ShareRow, SubdivisionRow
from miningmap.places import Place, all_places
from streams.history import parse_history
from streams.questions import Question, check_known, parse_question
from streams.snapshot import POOLS, snapshot_key
from streams.windows import ROLLING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from aiohttp import web
    from aiohttp.typedefs import Handler

    from endpoint.reader import Reader

JSON: Final = "application/json"
PREFIX: Final = "/api/v1"

PLACES_MAX_AGE_S: Final = 3600
"""Places change with a release of ISO 3166 only."""


class Api:
    """Handlers of the API's paths.

    Args:
        reader: where the figures are.
        max_age_s: how long an answer may be kept: as long as a snapshot is the newest.
        now: the clock, UTC.
    """

    def __init__(self, reader: Reader, *, max_age_s: float, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._cache = public(max_age_s)
        self._now = now

    def routes(self) -> dict[str, Handler]:
        """Handlers by path."""
        return {
            f"{PREFIX}/shares": self.shares,
            f"{PREFIX}/shares.csv": self.shares_csv,
            f"{PREFIX}/history": self.history,
            f"{PREFIX}/history.csv": self.history_csv,
            f"{PREFIX}/pools": self.pools,
            f"{PREFIX}/pools.csv": self.pools_csv,
            f"{PREFIX}/places": self.places,
            f"{PREFIX}/places.csv": self.places_csv,
        }

    async def shares(self, request: web.Request) -> web.Response:
        """Where the hashrate is, by country or by a country's subdivisions."""
        _, body = await self._shares(parameters(request))
        return Representation(body, JSON, self._cache).answer(request)

    async def shares_csv(self, request: web.Request) -> web.Response:
        """The rows of :meth:`shares`."""
        question, body = await self._shares(parameters(request))
        row = ShareRow if question.level == "country" else SubdivisionRow
        return self._csv(row.__struct_fields__, body, "shares").answer(request)

    async def history(self, request: web.Request) -> web.Response:
        """One place's share, bucket by bucket."""
        body = await self._history(parameters(request))
        return Representation(body, JSON, self._cache).answer(request)

    async def history_csv(self, request: web.Request) -> web.Response:
        """The points of :meth:`history`."""
        body = await self._history(parameters(request))
        return self._csv(Point.__struct_fields__, body, "points").answer(request)

    async def pools(self, request: web.Request) -> web.Response:
        """How each pool is doing."""
        body = await self._pools(parameters(request))
        return Representation(body, JSON, self._cache).answer(request)

    async def pools_csv(self, request: web.Request) -> web.Response:
        """The rows of :meth:`pools`."""
        body = await self._pools(parameters(request))
        return self._csv(PoolState.__struct_fields__, body, "pools").answer(request)

    async def places(self, request: web.Request) -> web.Response:
        """Every place that a report can name."""
        check_known(parameters(request), ())
        return self._places.answer(request)

    async def places_csv(self, request: web.Request) -> web.Response:
        """The rows of :meth:`places`."""
        check_known(parameters(request), ())
        return self._places_csv.answer(request)

    async def _shares(self, asked: Mapping[str, str]) -> tuple[Question, bytes]:
        question = parse_question(asked, self._now())
        if _has_snapshot(question, asked):
            stored = await self._reader.snapshot(snapshot_key(question))
            if stored is not None:
                return question, stored
            # No snapshot yet, or none of this country, as no pool lists a subdivision of it.
        return question, msgspec.json.encode(await self._reader.ask(question))

    async def _history(self, asked: Mapping[str, str]) -> bytes:
        question = parse_history(asked, self._now())
        return msgspec.json.encode(await self._reader.ask_history(question))

    async def _pools(self, asked: Mapping[str, str]) -> bytes:
        check_known(asked, ())
        stored = await self._reader.snapshot(POOLS)
        return stored if stored is not None else msgspec.json.encode(PoolList(()))

    @cached_property
    def _places(self) -> Representation:
        body = msgspec.json.encode(PlaceList(all_places()))
        return Representation(body, JSON, public(PLACES_MAX_AGE_S))

    @cached_property
    def _places_csv(self) -> Representation:
        names = Place.__struct_fields__
        cache = public(PLACES_MAX_AGE_S)
        return self._csv(names, self._places.body, "places", cache)

    def _csv(
        self, names: Iterable[str], body: bytes, key: str, cache: str | None = None
    ) -> Representation:
        rows = msgspec.json.decode(body)[key]
        return Representation(table.to_csv(names, rows), table.CONTENT_TYPE, cache or self._cache)


def _has_snapshot(question: Question, asked: Mapping[str, str]) -> bool:
    """Whether the newest snapshot answers this: any other moment or method has to be computed."""
    live = not asked.get("as_of") and question.window.name in ROLLING
    return live and question.adjust == "published"
