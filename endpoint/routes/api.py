"""``/api/v1``: each list, such as shares, history and pools, as JSON and, same rows, as CSV."""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec
from aiohttp import hdrs

from endpoint.http import csv
from endpoint.http.connection import still_connected
from endpoint.http.middleware import charge
from endpoint.http.representation import Representation, accepts_gzip, public
from miningmap.api.models import (
    Answer,
    BeliefList,
    CohortPool,
    Contributions,
    Histories,
    History,
    Level,
    PlaceList,
    PoolList,
    SubdivisionAnswer,
    Table,
)
from miningmap.licences import CC_BY, Licence, licence_of
from miningmap.places import all_places
from miningmap.swing_list import SwingList
from streams.beliefs.rows import rows_on
from streams.method.windows import ROLLING
from streams.queries.contributions import ContributionsParameters
from streams.queries.cost import history_cost
from streams.queries.history import HistoryParameters, with_data
from streams.queries.parameters import (
    DEFAULT_PRIOR,
    BeliefsParameters,
    Parameters,
    SharesParameters,
)
from streams.queries.pools import PoolsParameters
from streams.queries.snapshot import POOLS, UNREADABLE, SnapshotError, part_name
from streams.queries.swing_list import SwingsParameters, pools_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aiohttp import web
    from aiohttp.typedefs import Handler

    from endpoint.data.gateway import Gateway
    from endpoint.data.heavy_questions import HeavyQuestions
    from endpoint.data.snapshot_cache import CachedSnapshot, SnapshotCache
    from miningmap.api.models import Point
    from streams.beliefs import BeliefsDocument
    from streams.queries.pieces import Worker

JSON: Final = "application/json"
PREFIX: Final = "/api/v1"

PLACES_MAX_AGE_S: Final = 3600
"""Places change only with a release of ISO 3166."""

COMPUTED_S: Final = 5.0
"""For how long an answer that was computed on request may be cached, in seconds."""

# The number of query strings whose part of the snapshot is cached. A few dozen would be enough, but
# each can be written in any number of ways.
_MAX_QUERIES: Final = 1024
# A response may stay cached a tenth of a second too long; this saves reading the clock each time.
_CLOCK_S: Final = 0.1

Renderer: TypeAlias = "Callable[[bytes], Representation]"
"""Returns the representation of the JSON of an answer, from the snapshot or computed."""


TableRenderer: TypeAlias = "Callable[[type[Table], bytes, Licence], Representation]"
"""Returns the representation of the JSON of a table of this type, under a licence."""


class _SharesPart(NamedTuple):
    """A part of the snapshot with shares: its name and its level."""

    name: str
    level: Level


class _CacheControl(NamedTuple):
    """The ``Cache-Control`` for a snapshot, valid until a time of the monotonic clock."""

    snapshot: CachedSnapshot | None
    valid_until: float
    value: str


class Api:
    """Handlers of the API's paths.

    Args:
        gateway: computes answers that are not part of the snapshot.
        cache: the newest snapshot.
        heavy: answers what takes long to compute.
        documents: what is believed, with its sources.
        snapshot_s: the shortest time between two snapshots, in seconds.
        now: the clock, UTC.
    """

    def __init__(
        self,
        gateway: Gateway,
        cache: SnapshotCache,
        heavy: HeavyQuestions,
        documents: BeliefsDocument,
        *,
        snapshot_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._gateway = gateway
        self._cache = cache
        self._heavy = heavy
        self._documents = documents
        self._snapshot_s = snapshot_s
        self._public = public(max(COMPUTED_S, snapshot_s))
        self._now = now
        self._parts: dict[str, _SharesPart] = {}
        self._as_json: dict[Level, Renderer] = {
            "country": self._shares_json,
            "subdivision": self._shares_json,
        }
        self._as_csv: dict[Level, Renderer] = {
            "country": self._countries_csv,
            "subdivision": self._subdivisions_csv,
        }
        self._cache_control = _CacheControl(None, 0.0, self._public)

    def routes(self) -> dict[str, Handler]:
        """Return the handlers by path."""
        return {
            f"{PREFIX}/shares": self.shares,
            f"{PREFIX}/shares.csv": self.shares_csv,
            f"{PREFIX}/history": self.history,
            f"{PREFIX}/history.csv": self.history_csv,
            f"{PREFIX}/contributions": self.contributions,
            f"{PREFIX}/contributions.csv": self.contributions_csv,
            f"{PREFIX}/pools": self.pools,
            f"{PREFIX}/pools.csv": self.pools_csv,
            f"{PREFIX}/swings": self.swings,
            f"{PREFIX}/swings.csv": self.swings_csv,
            f"{PREFIX}/places": self.places,
            f"{PREFIX}/places.csv": self.places_csv,
            f"{PREFIX}/beliefs": self.beliefs,
            f"{PREFIX}/beliefs.csv": self.beliefs_csv,
        }

    async def shares(self, request: web.Request) -> web.Response:
        """Answer with shares by country, or by the subdivisions of a country."""
        return await self._shares(request, self._as_json)

    async def shares_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`shares`."""
        return await self._shares(request, self._as_csv)

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the shares of one place, or of several, in each bucket of a range."""
        return await self._history(request, self._table_json)

    async def history_csv(self, request: web.Request) -> web.Response:
        """Answer with the points of :meth:`history`."""
        return await self._history(request, self._csv)

    async def contributions(self, request: web.Request) -> web.Response:
        """Answer with the pools that make up the share of a place."""
        found = await self._contributions(request)
        return self._json(msgspec.json.encode(found), _licence_of(found)).respond(request)

    async def contributions_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`contributions`."""
        found = await self._contributions(request)
        body = msgspec.json.encode(found)
        return self._csv(Contributions, body, _licence_of(found)).respond(request)

    async def pools(self, request: web.Request) -> web.Response:
        """Answer with the state of each pool."""
        return await self._pools(request, self._json)

    async def pools_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`pools`."""
        return await self._pools(request, self._pools_csv)

    async def swings(self, request: web.Request) -> web.Response:
        """Answer with the swings of places and pools, the newest first."""
        return await self._swings(request, self._table_json)

    async def swings_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`swings`."""
        return await self._swings(request, self._csv)

    async def places(self, request: web.Request) -> web.Response:
        """Answer with every place that a report can name."""
        Parameters.parse(request.query)
        return self._places.respond(request)

    async def places_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`places`."""
        Parameters.parse(request.query)
        return self._places_csv.respond(request)

    async def beliefs(self, request: web.Request) -> web.Response:
        """Answer with what is believed on a day."""
        return self._json(self._beliefs(request)).respond(request)

    async def beliefs_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`beliefs`."""
        return self._csv(BeliefList, self._beliefs(request)).respond(request)

    async def _shares(
        self, request: web.Request, renderers: Mapping[Level, Renderer]
    ) -> web.Response:
        part = self._part_for(request)
        if part is not None:
            render = renderers[part.level]
            response = self._from_cache(request, part.name, render)
            if response is not None:
                return response
            stored = await self._gateway.snapshot_part(part.name)
            if stored is not None:
                return render(stored).respond(request, public(0))
            # There is no snapshot yet, or no pool lists a subdivision of this country.
        query = SharesParameters.parse(request.query).query(self._now())
        body = msgspec.json.encode(await self._gateway.shares(query))
        return renderers[query.level](body).respond(request)

    async def _pools(self, request: web.Request, render: Renderer) -> web.Response:
        state = PoolsParameters.parse(request.query).state
        if state is not None:
            found = await self._pools_in(state)
            return render(msgspec.json.encode(found)).respond(request)
        response = self._from_cache(request, POOLS, render)
        if response is not None:
            return response
        stored = await self._gateway.snapshot_part(POOLS)
        if stored is None:  # nothing is known of any pool, unless that is being rebuilt
            await self._gateway.check_cells()
        made = render(stored or msgspec.json.encode(PoolList(())))
        return made.respond(request, public(0))

    async def _pools_in(self, state: str) -> PoolList:
        """Return the pools in a state; those that are off are not in the snapshot."""
        snapshot = self._cache.newest()
        if snapshot is None:
            part = await self._gateway.snapshot_part(POOLS)
        else:
            part = snapshot.parts.get(POOLS)
        if part is None:  # as above
            await self._gateway.check_cells()
        try:
            listed = () if part is None else msgspec.json.decode(part, type=PoolList).pools
        except msgspec.DecodeError as error:
            raise SnapshotError.of(POOLS, error) from None
        found = tuple(pool for pool in listed if pool.state == state)
        if state == "off":
            others = await self._gateway.off_pools(listed, self._now())
            found = tuple(sorted((*found, *others.pools), key=lambda pool: pool.pool))
        return PoolList(found)

    async def _history(self, request: web.Request, render: TableRenderer) -> web.Response:
        parameters, now = HistoryParameters.parse(request.query), self._now()
        gzipped = accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        # Answers of one minute are equal: a bucket ends with an hour or later.
        key = (parameters, now.replace(second=0, microsecond=0), render, gzipped)
        is_wanted = still_connected(request)
        representation: Representation | None
        representation = await self._heavy.shared(key, is_wanted=is_wanted)
        if representation is None:
            # In a thread: to make a thousand buckets takes longer than others should wait.
            query = await asyncio.to_thread(parameters.query, now)
            known = await self._gateway.known()

            async def compute(work: Worker) -> Representation:
                found = await self._gateway.history(query, known, work)
                return await work(partial(_represented, found, render, gzipped=gzipped), 0.0)

            cost = history_cost(len(with_data(query, known.days())), query.places)
            representation = await self._heavy.answer(
                key, cost, compute, charge=partial(charge, request), is_wanted=is_wanted
            )
        return representation.respond(request)

    async def _swings(self, request: web.Request, render: TableRenderer) -> web.Response:
        query = SwingsParameters.parse(request.query).query(self._now())
        found = await self._gateway.swings(query)
        # In a thread: to write and compress a list of megabytes would block the event loop.
        gzipped = accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        made = await asyncio.to_thread(_represented, found, render, gzipped=gzipped)
        return made.respond(request)

    async def _contributions(self, request: web.Request) -> Contributions:
        query = ContributionsParameters.parse(request.query).query(self._now())
        return await self._gateway.contributions(query)

    def _beliefs(self, request: web.Request) -> bytes:
        day = BeliefsParameters.parse(request.query).on or self._now().date()
        return msgspec.json.encode(BeliefList(day, rows_on(self._documents, day)))

    def _part_for(self, request: web.Request) -> _SharesPart | None:
        """Return the part of the snapshot that answers a request, or ``None`` if none does.

        Raises:
            ParameterError: a parameter is unknown or invalid.
        """
        query_string = request.rel_url.raw_query_string
        part = self._parts.get(query_string)
        if part is None:
            parameters = SharesParameters.parse(request.query)
            query = parameters.query(self._now())
            if not _is_in_snapshot(parameters):
                return None
            part = _SharesPart(part_name(query), query.level)
            if len(self._parts) < _MAX_QUERIES:
                self._parts[query_string] = part
        return part

    def _from_cache(self, request: web.Request, name: str, render: Renderer) -> web.Response | None:
        """Return the response with a cached part, or ``None`` if Redis has to be read."""
        snapshot = self._cache.newest()
        if snapshot is None:
            return None
        representation = snapshot.representation(name, render)
        if representation is None:
            return None
        return representation.respond_prepared(request, self._until_next(snapshot))

    def _until_next(self, snapshot: CachedSnapshot) -> str:
        """Return the ``Cache-Control`` that expires before there can be another snapshot."""
        cached, now = self._cache_control, monotonic()
        if cached.snapshot is not snapshot or now > cached.valid_until:
            value = public(0)
            if snapshot.taken_at is not None:
                age_s = (self._now() - snapshot.taken_at).total_seconds()
                value = public(self._snapshot_s - age_s)
            cached = self._cache_control = _CacheControl(snapshot, now + _CLOCK_S, value)
        return cached.value

    @cached_property
    def _places(self) -> Representation:
        body = msgspec.json.encode(PlaceList(all_places()))
        return Representation(body, JSON, public(PLACES_MAX_AGE_S), CC_BY)

    @cached_property
    def _places_csv(self) -> Representation:
        return self._csv(PlaceList, self._places.body, cache_control=public(PLACES_MAX_AGE_S))

    def _json(self, body: bytes, licence: Licence = CC_BY) -> Representation:
        return Representation(body, JSON, self._public, licence)

    def _table_json(self, _kind: type[Table], body: bytes, licence: Licence) -> Representation:
        return self._json(body, licence)

    def _shares_json(self, body: bytes) -> Representation:
        return self._json(body, _licence_in(body))

    def _countries_csv(self, body: bytes) -> Representation:
        return self._csv(Answer, body, _licence_in(body))

    def _subdivisions_csv(self, body: bytes) -> Representation:
        return self._csv(SubdivisionAnswer, body, _licence_in(body))

    def _pools_csv(self, body: bytes) -> Representation:
        return self._csv(PoolList, body)

    def _csv(
        self,
        kind: type[Table],
        body: bytes,
        licence: Licence = CC_BY,
        cache_control: str | None = None,
    ) -> Representation:
        try:
            rows = kind.table_rows(msgspec.json.decode(body))
        except UNREADABLE as error:
            raise SnapshotError.of("a table", error) from None
        table = csv.to_csv(kind.table_fields(), rows)
        return Representation(table, csv.CONTENT_TYPE, cache_control or self._public, licence)


def _is_in_snapshot(parameters: SharesParameters) -> bool:
    """Return whether the answer is part of the snapshot: for now, all rules, the default prior."""
    live = parameters.as_of is None and parameters.window in ROLLING
    return live and parameters.adjust == "published" and parameters.prior == DEFAULT_PRIOR


def _represented(
    found: History | Histories | SwingList, render: TableRenderer, *, gzipped: bool
) -> Representation:
    """Return a list that can have megabytes, ready to be sent."""
    made = render(type(found), msgspec.json.encode(found), _licence_of(found))
    made.prepare(gzipped=gzipped)
    return made


def _licence_of(found: History | Histories | Contributions | SwingList) -> Licence:
    """Return the licence of the figures in an answer."""
    match found:
        case SwingList(swings=swings):
            return licence_of(pools_in(swings))
        case Contributions(pools=pools):
            return licence_of({one.pool for one in pools})
        case Histories(series=series):
            return _licence_of_points(series[0].points if series else ())
        case History(points=points):
            return _licence_of_points(points)


def _licence_of_points(points: Sequence[Point]) -> Licence:
    """Return the licence of a place's history; all places of an answer have the same cohorts."""
    return licence_of({pool for point in points for pool in point.pools})


class _Cohort(msgspec.Struct):
    """The cohort of an answer, without the rest."""

    cohort: tuple[CohortPool, ...] = ()


def _licence_in(body: bytes) -> Licence:
    """Return the licence of the figures in an answer of ``/shares`` (JSON).

    Raises:
        SnapshotError: the body is not such an answer.
    """
    try:
        answer = msgspec.json.decode(body, type=_Cohort)
    except UNREADABLE as error:
        raise SnapshotError.of("a table", error) from None
    return licence_of({member.pool for member in answer.cohort})
