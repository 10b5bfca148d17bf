"""``/api/v1``: shares, history, pools and places, each as JSON and as CSV with the same rows."""

from __future__ import annotations

from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from endpoint.http import csv
from endpoint.http.errors import parameters
from endpoint.http.representation import Representation, public
from miningmap.api.models import (
    Level,
    PlaceList,
    Point,
    PoolList,
    PoolState,
    ShareRow,
    SubdivisionRow,
)
from miningmap.places import Place, all_places
from streams.method.windows import ROLLING
from streams.queries.history import parse_history
from streams.queries.parameters import Question, check_known, parse_question
from streams.queries.snapshot import POOLS, snapshot_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from aiohttp import web
    from aiohttp.typedefs import Handler

    from endpoint.data.gateway import Reader
    from endpoint.data.snapshot_cache import Feed, Held

JSON: Final = "application/json"
PREFIX: Final = "/api/v1"

PLACES_MAX_AGE_S: Final = 3600
"""Places change with a release of ISO 3166 only."""

# Of the query strings that ask for a snapshot; there are a few dozen, and as many ways to write one
# as a client likes.
_MOST_QUERIES: Final = 1024
# The clock is not asked for each of a thousand answers in a second whose whole seconds count.
_CLOCK_S: Final = 0.1

Form: TypeAlias = "Callable[[bytes], Representation]"
"""What makes JSON of a snapshot, or of an answer, ready to be served in one form."""


class _Live(NamedTuple):
    """A snapshot of shares, by its name, and its level."""

    name: str
    level: Level


class _Kept(NamedTuple):
    """How long a snapshot may be kept; right until a moment of the monotonic clock."""

    held: Held | None
    until: float
    cache_control: str


class Api:
    """Handlers of the API's paths.

    Args:
        reader: where the figures are.
        feed: the newest of them.
        snapshot_s: seconds between two snapshots.
        now: the clock, UTC.
    """

    def __init__(
        self, reader: Reader, feed: Feed, *, snapshot_s: float, now: Callable[[], datetime]
    ) -> None:
        self._reader = reader
        self._feed = feed
        self._snapshot_s = snapshot_s
        self._cache = public(snapshot_s)
        self._now = now
        self._live: dict[str, _Live] = {}
        self._as_json: dict[Level, Form] = {"country": self._json, "subdivision": self._json}
        self._as_csv: dict[Level, Form] = {
            "country": self._countries_csv,
            "subdivision": self._subdivisions_csv,
        }
        self._kept = _Kept(None, 0.0, self._cache)

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
        return await self._shares(request, self._as_json)

    async def shares_csv(self, request: web.Request) -> web.Response:
        """The rows of :meth:`shares`."""
        return await self._shares(request, self._as_csv)

    async def history(self, request: web.Request) -> web.Response:
        """One place's share, bucket by bucket."""
        body = await self._history(parameters(request))
        return self._json(body).answer(request)

    async def history_csv(self, request: web.Request) -> web.Response:
        """The points of :meth:`history`."""
        body = await self._history(parameters(request))
        return self._csv(Point.__struct_fields__, body, "points").answer(request)

    async def pools(self, request: web.Request) -> web.Response:
        """How each pool is doing."""
        return await self._pools(request, self._json)

    async def pools_csv(self, request: web.Request) -> web.Response:
        """The rows of :meth:`pools`."""
        return await self._pools(request, self._pools_csv)

    async def places(self, request: web.Request) -> web.Response:
        """Every place that a report can name."""
        check_known(parameters(request), ())
        return self._places.answer(request)

    async def places_csv(self, request: web.Request) -> web.Response:
        """The rows of :meth:`places`."""
        check_known(parameters(request), ())
        return self._places_csv.answer(request)

    async def _shares(self, request: web.Request, forms: Mapping[Level, Form]) -> web.Response:
        live = self._live_of(request)
        if live is not None:
            form = forms[live.level]
            answer = self._held(request, live.name, form)
            if answer is not None:
                return answer
            stored = await self._reader.snapshot(live.name)
            if stored is not None:
                return form(stored).answer(request)
            # No snapshot yet, or none of this country, as no pool lists a subdivision of it.
        question = parse_question(parameters(request), self._now())
        body = msgspec.json.encode(await self._reader.ask(question))
        return forms[question.level](body).answer(request)

    async def _pools(self, request: web.Request, form: Form) -> web.Response:
        check_known(parameters(request), ())
        answer = self._held(request, POOLS, form)
        if answer is not None:
            return answer
        stored = await self._reader.snapshot(POOLS)
        return form(stored or msgspec.json.encode(PoolList(()))).answer(request)

    def _live_of(self, request: web.Request) -> _Live | None:
        """The snapshot that answers; ``None`` if another moment or method is asked for.

        Raises:
            QuestionError: a parameter is unknown or wrong.
        """
        query = request.rel_url.raw_query_string
        live = self._live.get(query)
        if live is None:
            asked = parameters(request)
            question = parse_question(asked, self._now())
            if not _has_snapshot(question, asked):
                return None
            live = _Live(snapshot_key(question), question.level)
            if len(self._live) < _MOST_QUERIES:
                self._live[query] = live
        return live

    def _held(self, request: web.Request, name: str, form: Form) -> web.Response | None:
        """The answer by a snapshot that is held; ``None`` if only Redis could give one."""
        held = self._feed.newest()
        made = None if held is None else held.made(name, form)
        if held is None or made is None:
            return None
        return made.answer(request, self._until_next(held))

    def _until_next(self, held: Held) -> str:
        """A snapshot may be kept until the next one is due."""
        kept, now = self._kept, monotonic()
        if kept.held is not held or now > kept.until:
            cache = self._cache
            if held.at is not None:
                cache = public(self._snapshot_s - (self._now() - held.at).total_seconds())
            kept = self._kept = _Kept(held, now + _CLOCK_S, cache)
        return kept.cache_control

    async def _history(self, asked: Mapping[str, str]) -> bytes:
        question = parse_history(asked, self._now())
        return msgspec.json.encode(await self._reader.ask_history(question))

    @cached_property
    def _places(self) -> Representation:
        body = msgspec.json.encode(PlaceList(all_places()))
        return Representation(body, JSON, public(PLACES_MAX_AGE_S))

    @cached_property
    def _places_csv(self) -> Representation:
        names = Place.__struct_fields__
        cache = public(PLACES_MAX_AGE_S)
        return self._csv(names, self._places.body, "places", cache)

    def _json(self, body: bytes) -> Representation:
        return Representation(body, JSON, self._cache)

    def _countries_csv(self, body: bytes) -> Representation:
        return self._csv(ShareRow.__struct_fields__, body, "shares")

    def _subdivisions_csv(self, body: bytes) -> Representation:
        return self._csv(SubdivisionRow.__struct_fields__, body, "shares")

    def _pools_csv(self, body: bytes) -> Representation:
        return self._csv(PoolState.__struct_fields__, body, "pools")

    def _csv(
        self, names: Iterable[str], body: bytes, key: str, cache: str | None = None
    ) -> Representation:
        rows = msgspec.json.decode(body)[key]
        return Representation(csv.to_csv(names, rows), csv.CONTENT_TYPE, cache or self._cache)


def _has_snapshot(question: Question, asked: Mapping[str, str]) -> bool:
    """Whether the newest snapshot answers this: any other moment or method has to be computed."""
    live = not asked.get("as_of") and question.window.name in ROLLING
    return live and question.adjust == "published"
