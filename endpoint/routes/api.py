"""``/api/v1``: shares, history, pools and places, each as JSON and as CSV with the same rows."""

from __future__ import annotations

from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from endpoint.http import csv
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
from streams.queries.history import HistoryParameters
from streams.queries.parameters import Parameters, SharesParameters
from streams.queries.snapshot import POOLS, snapshot_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from aiohttp import web
    from aiohttp.typedefs import Handler

    from endpoint.data.gateway import Gateway
    from endpoint.data.snapshot_cache import CachedSnapshots, SnapshotCache

JSON: Final = "application/json"
PREFIX: Final = "/api/v1"

PLACES_MAX_AGE_S: Final = 3600
"""Places change only with a release of ISO 3166."""

# Query strings whose snapshot is remembered. A few dozen are of use, but clients can write each of
# them in any number of ways.
_MOST_QUERIES: Final = 1024
# Reading the clock for each response would cost more than a tenth of a second of accuracy is worth.
_CLOCK_S: Final = 0.1

Renderer: TypeAlias = "Callable[[bytes], Representation]"
"""Turns the JSON of a snapshot or of a computed response into its representation."""


class _SnapshotOfShares(NamedTuple):
    """The name of a snapshot of shares, and its level."""

    name: str
    level: Level


class _CacheControl(NamedTuple):
    """The ``Cache-Control`` of some snapshots, valid until a time of the monotonic clock."""

    snapshots: CachedSnapshots | None
    valid_until: float
    value: str


class Api:
    """Handlers of the API's paths.

    Args:
        gateway: computes what no snapshot has.
        cache: the newest snapshots.
        snapshot_s: seconds between two snapshots.
        now: the clock, UTC.
    """

    def __init__(
        self,
        gateway: Gateway,
        cache: SnapshotCache,
        *,
        snapshot_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._gateway = gateway
        self._cache = cache
        self._snapshot_s = snapshot_s
        self._public = public(snapshot_s)
        self._now = now
        self._snapshots: dict[str, _SnapshotOfShares] = {}
        self._as_json: dict[Level, Renderer] = {"country": self._json, "subdivision": self._json}
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
            f"{PREFIX}/pools": self.pools,
            f"{PREFIX}/pools.csv": self.pools_csv,
            f"{PREFIX}/places": self.places,
            f"{PREFIX}/places.csv": self.places_csv,
        }

    async def shares(self, request: web.Request) -> web.Response:
        """Answer with shares by country, or by the subdivisions of a country."""
        return await self._shares(request, self._as_json)

    async def shares_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`shares`."""
        return await self._shares(request, self._as_csv)

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the share of one place in each bucket of a range."""
        return self._json(await self._history(request)).respond(request)

    async def history_csv(self, request: web.Request) -> web.Response:
        """Answer with the points of :meth:`history`."""
        body = await self._history(request)
        return self._csv(Point.__struct_fields__, body, "points").respond(request)

    async def pools(self, request: web.Request) -> web.Response:
        """Answer with the state of each pool."""
        return await self._pools(request, self._json)

    async def pools_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`pools`."""
        return await self._pools(request, self._pools_csv)

    async def places(self, request: web.Request) -> web.Response:
        """Answer with every place that a report can name."""
        Parameters.parse(request.query)
        return self._places.respond(request)

    async def places_csv(self, request: web.Request) -> web.Response:
        """Answer with the rows of :meth:`places`."""
        Parameters.parse(request.query)
        return self._places_csv.respond(request)

    async def _shares(
        self, request: web.Request, renderers: Mapping[Level, Renderer]
    ) -> web.Response:
        snapshot = self._snapshot_for(request)
        if snapshot is not None:
            render = renderers[snapshot.level]
            response = self._from_cache(request, snapshot.name, render)
            if response is not None:
                return response
            stored = await self._gateway.snapshot(snapshot.name)
            if stored is not None:
                return render(stored).respond(request)
            # There is no snapshot yet, or none of this country, as no pool names a subdivision.
        query = SharesParameters.parse(request.query).query(self._now())
        body = msgspec.json.encode(await self._gateway.shares(query))
        return renderers[query.level](body).respond(request)

    async def _pools(self, request: web.Request, render: Renderer) -> web.Response:
        Parameters.parse(request.query)
        response = self._from_cache(request, POOLS, render)
        if response is not None:
            return response
        stored = await self._gateway.snapshot(POOLS)
        return render(stored or msgspec.json.encode(PoolList(()))).respond(request)

    async def _history(self, request: web.Request) -> bytes:
        query = HistoryParameters.parse(request.query).query(self._now())
        return msgspec.json.encode(await self._gateway.history(query))

    def _snapshot_for(self, request: web.Request) -> _SnapshotOfShares | None:
        """Return the snapshot that answers a request, or ``None`` if the answer is computed.

        Raises:
            ParameterError: a parameter is unknown or invalid.
        """
        query_string = request.rel_url.raw_query_string
        snapshot = self._snapshots.get(query_string)
        if snapshot is None:
            parameters = SharesParameters.parse(request.query)
            query = parameters.query(self._now())
            if not _has_snapshot(parameters):
                return None
            snapshot = _SnapshotOfShares(snapshot_key(query), query.level)
            if len(self._snapshots) < _MOST_QUERIES:
                self._snapshots[query_string] = snapshot
        return snapshot

    def _from_cache(self, request: web.Request, name: str, render: Renderer) -> web.Response | None:
        """Respond with a cached snapshot; return ``None`` if it has to be read from Redis."""
        snapshots = self._cache.newest()
        if snapshots is None:
            return None
        representation = snapshots.representation(name, render)
        if representation is None:
            return None
        return representation.respond(request, self._until_next(snapshots))

    def _until_next(self, snapshots: CachedSnapshots) -> str:
        """Return the ``Cache-Control`` that expires when the next snapshots are due."""
        known, now = self._cache_control, monotonic()
        if known.snapshots is not snapshots or now > known.valid_until:
            value = self._public
            if snapshots.at is not None:
                age_s = (self._now() - snapshots.at).total_seconds()
                value = public(self._snapshot_s - age_s)
            known = self._cache_control = _CacheControl(snapshots, now + _CLOCK_S, value)
        return known.value

    @cached_property
    def _places(self) -> Representation:
        body = msgspec.json.encode(PlaceList(all_places()))
        return Representation(body, JSON, public(PLACES_MAX_AGE_S))

    @cached_property
    def _places_csv(self) -> Representation:
        names = Place.__struct_fields__
        return self._csv(names, self._places.body, "places", public(PLACES_MAX_AGE_S))

    def _json(self, body: bytes) -> Representation:
        return Representation(body, JSON, self._public)

    def _countries_csv(self, body: bytes) -> Representation:
        return self._csv(ShareRow.__struct_fields__, body, "shares")

    def _subdivisions_csv(self, body: bytes) -> Representation:
        return self._csv(SubdivisionRow.__struct_fields__, body, "shares")

    def _pools_csv(self, body: bytes) -> Representation:
        return self._csv(PoolState.__struct_fields__, body, "pools")

    def _csv(
        self, names: Iterable[str], body: bytes, key: str, cache_control: str | None = None
    ) -> Representation:
        rows = msgspec.json.decode(body)[key]
        table = csv.to_csv(names, rows)
        return Representation(table, csv.CONTENT_TYPE, cache_control or self._public)


def _has_snapshot(parameters: SharesParameters) -> bool:
    """Return whether the newest snapshot has the answer: any other time or method is computed."""
    live = parameters.as_of is None and parameters.window in ROLLING
    return live and parameters.adjust == "published"
