"""Histories from the cells in Redis.

Few cells are in memory at a time, and a bucket is not computed again while none of its cells has
changed: a history that goes on in time reads and computes only what is new.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from streams.method.cells import cell_keys
from streams.method.observations import spans_of
from streams.queries.history import (
    BucketShares,
    assembled,
    bucket_shares,
    with_data,
    without_data,
)
from streams.queries.pieces import pieces_of
from streams.queries.shares import check_prior
from streams.queries.stamped_cache import StampedCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from miningmap.api.models import Adjust, Histories, History
    from streams.method.beliefs import Beliefs
    from streams.method.observations import CellReader
    from streams.method.windows import Span, Window
    from streams.queries.history import Bucket, HistoryQuery
    from streams.queries.pieces import Worker
    from streams.queries.place_selection import PlaceSelection
    from streams.redis.day_stamps import DayStamps
    from streams.redis.loaded_cells import LoadedCells

Buckets: TypeAlias = dict[datetime, BucketShares]
"""Computed buckets, by their starts."""

MOST_KEPT: Final = 80_000
CELLS_AT_ONCE: Final = 20_000
"""How many cells are read at a time: they take some 30 MB with 40 places, encoded and decoded."""
SUMS_PER_PIECE: Final = 1_000
"""Sources x buckets of one piece: they take some 50 ms, for which another question may wait."""


class CellSource(Protocol):
    """Reads cells from Redis."""

    async def read(self, spans: Iterable[Span], earlier: LoadedCells | None = None) -> LoadedCells:
        """Read the cells over some spans; those that ``earlier`` has, if they have not changed."""

    async def day_stamps(self, windows: Iterable[Window]) -> DayStamps:
        """Return the stamps of the days from which windows are computed."""


class _Key(NamedTuple):
    """What the figures of a bucket depend on beside its cells."""

    window: Window
    adjust: Adjust
    prior: str
    places: PlaceSelection


class StoredHistories:
    """Computes histories from the cells in Redis, and keeps their buckets.

    Args:
        source: reads the cells.
        beliefs: all beliefs.
        most: how many figures of places are kept; each takes about 1 kB.
    """

    def __init__(self, source: CellSource, beliefs: Beliefs, most: int = MOST_KEPT) -> None:
        self._source = source
        self._beliefs = beliefs
        self._cache: StampedCache[BucketShares] = StampedCache(most)

    async def compute(
        self, query: HistoryQuery, known: LoadedCells, work: Worker
    ) -> History | Histories:
        """Compute a history.

        Args:
            query: the question.
            known: a reading of no cells: buckets that can have none are not computed.
            work: computes one piece of it elsewhere.

        Raises:
            ParameterError: the query names a network prior that is not one of the beliefs.
        """
        beliefs = self._beliefs
        check_prior(query.prior, beliefs)
        await work(_nothing, 1.0)  # questions that wait for a first turn hold no cells in memory
        while True:
            found = await self._found(query, known, work)
            if found is not None:
                break
            known = await self._source.read(())  # others took the place of those that were known
        buckets = [
            found.get(each.at) or without_data(each, query, beliefs) for each in query.buckets
        ]
        return await work(partial(assembled, query, buckets), 0.0)

    async def _found(self, query: HistoryQuery, known: LoadedCells, work: Worker) -> Buckets | None:
        """Return all buckets that can have data; ``None`` if other cells took their place."""
        wanted = with_data(query, known.days())
        if not wanted:
            return {}
        before = await self._source.day_stamps(bucket.window for bucket in wanted)
        if before.generation != known.generation:
            return None
        kept = await work(partial(self._kept, query, wanted, before), 1.0)
        missing = [bucket for bucket in wanted if bucket.at not in kept]
        computed = Buckets()
        async for cells, some in self._read(missing, known):
            if cells.generation != known.generation:
                return None
            sliding = cells.sliding()
            for piece in pieces_of(some, max(1, SUMS_PER_PIECE // _number(known))):
                left = (len(missing) - len(computed)) / len(missing)
                shares = partial(_shares_in, sliding, piece, query, self._beliefs)
                computed |= await work(shares, left)
            # At once: who asks again after the deadline finds what there was time for. What is
            # damaged can be mended without another stamp.
            if not cells.damaged:
                after = await self._source.day_stamps(bucket.window for bucket in some)
                # By the worker, as all that touches what is kept: it has one thread.
                keep = partial(self._keep, query, some, computed, before, after)
                await work(keep, (len(missing) - len(computed)) / len(missing))
        return kept | computed

    async def _read(
        self, buckets: Sequence[Bucket], cells: LoadedCells
    ) -> AsyncIterator[tuple[LoadedCells, Sequence[Bucket]]]:
        """Yield the buckets, some at a time, with their cells."""
        for some in _reads(buckets, CELLS_AT_ONCE // _number(cells)):
            cells = await self._source.read(spans_of(bucket.window for bucket in some), cells)
            yield cells, some

    def _kept(self, query: HistoryQuery, buckets: Sequence[Bucket], stamps: DayStamps) -> Buckets:
        found = (
            (each.at, self._cache.get(_key(each, query), stamps.of(each.window)))
            for each in buckets
        )
        return {at: shares for at, shares in found if shares is not None}

    def _keep(
        self,
        query: HistoryQuery,
        buckets: Sequence[Bucket],
        computed: Buckets,
        before: DayStamps,
        after: DayStamps,
    ) -> None:
        """Keep what was computed, unless it changed while its cells were read."""
        for bucket in buckets:
            stamp = before.of(bucket.window)
            if stamp == after.of(bucket.window):
                shares = computed[bucket.at]
                self._cache.put(_key(bucket, query), stamp, shares, 1 + len(shares.rows))


def _nothing() -> None:
    pass


def _number(cells: LoadedCells) -> int:
    return max(1, len(list(cells.series())))


def _key(bucket: Bucket, query: HistoryQuery) -> _Key:
    return _Key(bucket.window, query.adjust, query.prior, query.places)


def _shares_in(
    cells: CellReader, buckets: Sequence[Bucket], query: HistoryQuery, beliefs: Beliefs
) -> Buckets:
    return {bucket.at: bucket_shares(cells, bucket, query, beliefs) for bucket in buckets}


def _reads(buckets: Sequence[Bucket], most: int) -> Iterator[Sequence[Bucket]]:
    """Yield buckets in order, each time those that take up to ``most`` more cells of a source."""
    some: list[Bucket] = []
    known: set[object] = set()
    for bucket in buckets:
        keys = {key for span in spans_of([bucket.window]) for key in cell_keys(span)}
        if some and len(known | keys) > most:
            yield some
            some, known = [], set()
        some.append(bucket)
        known |= keys
    if some:
        yield some
