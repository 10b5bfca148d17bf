"""The snapshot: the answers for all rolling windows and the pools, from one reading of the cells.

Each part of it has a name: ``WINDOW/LEVEL[/COUNTRY]`` for answers, :data:`POOLS` and
:data:`TAKEN_AT`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from miningmap.plausibility import is_future
from miningmap.times import parse_rfc3339, rfc3339
from streams.method.cohort import Earlier
from streams.method.observations import observe, observe_again, spans_of
from streams.method.windows import ROLLING, parse_window
from streams.queries.contributions import contributions
from streams.queries.parameters import SharesQuery
from streams.queries.pools import PoolFacts, off_pools, pool_list
from streams.queries.shares import answer, answer_from, check_prior, inside, shares_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from miningmap.api.models import (
        Answer,
        Contributions,
        PoolList,
        PoolState,
        Refusal,
    )
    from streams.method.beliefs import Beliefs
    from streams.method.cells import Series
    from streams.method.observations import Observations
    from streams.method.shares import Shares
    from streams.method.windows import Window
    from streams.queries.contributions import ContributionsQuery
    from streams.queries.stamped_cache import StampedCache
    from streams.queries.stored_history import CellSource
    from streams.redis.loaded_cells import LoadedCells
    from streams.redis.stored_cells import StoredCells

POOLS: Final = "pools"
TAKEN_AT: Final = "at"
UNREADABLE: Final = (
    # The second and third are what msgspec raises for bytes that are no UTF-8, and for nested ones.
    *(msgspec.DecodeError, UnicodeDecodeError, RecursionError),
    # What is JSON, but of another shape.
    *(KeyError, TypeError, AttributeError),
)
"""What reading a part of a snapshot can raise, if that is not what ``streams`` writes there."""
REJECTION_SHOWN_FOR: Final = timedelta(days=1)
"""How long a rejected reading is listed with its pool."""


ALL_READ_EVERY: Final = timedelta(minutes=1)
"""How long it may take until a pool that was off for a month is seen to report again."""
# The windows reach back for 30 days, and their profiles for 30 days before today.
_AT_REST_AFTER: Final = timedelta(days=32)
_ANY_TIME: Final = datetime.fromtimestamp(0, UTC)


def part_name(query: SharesQuery) -> str:
    """Return the name of an answer in the snapshot and in Kafka, such as ``1h/subdivision/CN``."""
    words = (query.window.name, query.level, query.country)
    return "/".join(word for word in words if word is not None)


class SnapshotError(Exception):
    """The snapshot in Redis cannot be read; the text says which part, and what to do."""

    @classmethod
    def of(cls, part: str, error: Exception) -> Self:
        """Return the error of one part."""
        return cls(
            f"the snapshot in Redis is damaged: {part}: {error}; are streams and endpoint of the "
            "same version?"
        )


def decode_taken_at(part: bytes | None) -> datetime | None:
    """Return the time of the part :data:`TAKEN_AT`; ``None`` if there is no snapshot.

    Raises:
        SnapshotError: it is not a time.
    """
    try:
        return None if part is None else parse_rfc3339(part.decode())
    except ValueError as error:
        raise SnapshotError.of(TAKEN_AT, error) from None


def answers_in(snapshot: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those parts of a snapshot that are answers, by name."""
    return {name: part for name, part in snapshot.items() if name not in (POOLS, TAKEN_AT)}


def answers_of(windows: Collection[str], snapshot: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those parts of a snapshot that are answers for some windows, by name."""
    return {name: part for name, part in snapshot.items() if name.partition("/")[0] in windows}


async def compute_answer(
    source: CellSource,
    query: SharesQuery,
    beliefs: Beliefs,
    cache: StampedCache[Answer] | None = None,
) -> Answer:
    """Compute the answer to a query from the cells in Redis.

    Args:
        source: reads the cells.
        query: the question.
        beliefs: all beliefs.
        cache: the answers that were computed before, by these beliefs.

    Raises:
        ParameterError: the query names a network prior that is not one of the beliefs.
    """
    check_prior(query.prior, beliefs)
    key = replace(query, as_of=_ANY_TIME)  # the window says all that the figures depend on
    before = (await source.day_stamps([query.window])).of(query.window, with_first=True)
    found = None if cache is None else cache.get(key, before)
    if found is None:
        cells = await source.read(spans_of([query.window]))
        found = answer_from(cells, query, beliefs)
        after = (await source.day_stamps([query.window])).of(query.window, with_first=True)
        if cache is not None and before == after and not cells.damaged:
            cache.put(key, before, found, 1 + len(found.shares))
    return msgspec.structs.replace(found, as_of=query.as_of)


async def compute_off_pools(
    stored: StoredCells, listed: Iterable[PoolState], now: datetime
) -> PoolList:
    """Return the pools that are off, which the snapshot does not list.

    Args:
        stored: the meta data of all series.
        listed: the pools of the snapshot.
        now: UTC.
    """
    cells = await stored.read([])
    last = {series: cells.last_report(series) for series in cells.series()}
    return off_pools(last, listed, now)


async def compute_contributions(
    stored: StoredCells, query: ContributionsQuery, beliefs: Beliefs
) -> Contributions:
    """Compute the contributions to a place's share from the cells in Redis.

    Raises:
        ParameterError: the query names a network prior that is not one of the beliefs.
    """
    check_prior(query.prior, beliefs)
    return contributions(await stored.read(spans_of(query.windows)), query, beliefs)


class Changes(NamedTuple):
    """How a snapshot differs from the one before it.

    Attributes:
        parts: that may have changed, as they are stored, by name.
        removed: the names of those that it does not have any more.
    """

    parts: Mapping[str, bytes]
    removed: Collection[str]


class Snapshots:
    """Takes one snapshot after another; each reads and computes only what has changed since.

    The state is only a cache: without it, the next snapshot reads and computes everything.
    """

    def __init__(self, stored: StoredCells, beliefs: Beliefs) -> None:
        self._stored = stored
        self._beliefs = beliefs
        self._cells: LoadedCells | None = None
        self._by_window: dict[str, _WindowAnswers] = {}
        self._observed: dict[str, _Observed] = {}
        self._changed: frozenset[str] = frozenset()
        self._resting: frozenset[Series] = frozenset()
        self._all_read_at: datetime | None = None

    @property
    def damaged(self) -> Mapping[Series, str]:
        """The series that the last snapshot leaves out because they are damaged, and why."""
        return {} if self._cells is None else self._cells.damaged

    @property
    def changed(self) -> frozenset[str]:
        """The windows whose figures the last snapshot did not have from the one before it."""
        return self._changed

    async def take(self, now: datetime) -> dict[str, bytes]:
        """Return a new snapshot as it is stored: its parts as JSON, by name.

        There are answers for all rolling windows, by country and for each country with a listed
        subdivision, and the pools.
        """
        return dict((await self._take(now, is_whole=True)).parts)

    async def take_changes(self, now: datetime) -> Changes:
        """Take a new snapshot, and return those of its parts that may differ from the last one's.

        An answer for another window is still right, although its ``as_of`` is an earlier time.
        """
        return await self._take(now, is_whole=False)

    async def _take(self, now: datetime, *, is_whole: bool) -> Changes:
        windows = [parse_window(name, now) for name in ROLLING]
        cells, rejections = await asyncio.gather(
            self._read(windows, now), self._stored.rejections()
        )
        self._cells = cells
        shown = {
            pool: each
            for pool, each in rejections.items()
            if now - each.at < REJECTION_SHOWN_FOR and not is_future(each.at, now)
        }
        # In a thread, so that messages are processed meanwhile.
        return await asyncio.to_thread(self._compute, windows, shown, now, is_whole=is_whole)

    def _compute(
        self,
        windows: Sequence[Window],
        rejections: Mapping[str, Refusal],
        now: datetime,
        *,
        is_whole: bool,
    ) -> Changes:
        assert self._cells is not None  # noqa: S101 - for mypy
        before = self._names()
        self._changed = self._answer(self._cells, windows, now)
        encoded = ROLLING if is_whole else self._changed
        return Changes(self._encode(encoded, rejections, now), before - self._names())

    def _answer(
        self, cells: LoadedCells, windows: Iterable[Window], now: datetime
    ) -> frozenset[str]:
        """Compute the answers for the windows that have changed, and return which these are."""
        changed = set()
        for window in windows:
            observed = self._observe(cells, window)
            cached = self._by_window.get(window.name)
            if cached is None or (cached.day, cached.observed) != (window.day, observed):
                query = SharesQuery(window=window, as_of=now)
                found = _answer_window(query, observed, self._beliefs, cached)
                self._by_window[window.name] = found
                if cached is None or not _are_same(found.answers, cached.answers):
                    changed.add(window.name)
        return frozenset(changed)

    def _observe(self, cells: LoadedCells, window: Window) -> Observations:
        """Return the observations in a window, those of unchanged series as they were."""
        earlier = self._observed.get(window.name)
        changed = None if earlier is None else _changed(earlier.cells, cells)
        if earlier is None or earlier.window != window or changed is None:
            observed = observe(cells, window)
        else:
            observed = observe_again(earlier.observed, cells, window, changed)
        self._observed[window.name] = _Observed(window, cells, observed)
        return observed

    def _names(self) -> frozenset[str]:
        return frozenset(name for each in self._by_window.values() for name in each.answers)

    def _encode(
        self, windows: Iterable[str], rejections: Mapping[str, Refusal], now: datetime
    ) -> dict[str, bytes]:
        """Return the parts of a snapshot with the answers for these windows."""
        assert self._cells is not None  # noqa: S101 - for mypy
        answers = {
            name: msgspec.json.encode(msgspec.structs.replace(answer, as_of=now))
            for window in windows
            for name, answer in self._by_window[window].answers.items()
        }
        facts = _facts(self._cells, self._resting, self._by_window, rejections)
        pools = msgspec.json.encode(pool_list(facts))
        return {**answers, POOLS: pools, TAKEN_AT: rfc3339(now).encode()}

    async def _read(self, windows: Sequence[Window], now: datetime) -> LoadedCells:
        """Read what has changed; of series at rest only once in :data:`ALL_READ_EVERY`.

        A map that runs for years has many series that nobody reports any more.
        """
        last, spans = self._all_read_at, spans_of(windows)
        if self._cells and last and timedelta(0) <= now - last < ALL_READ_EVERY:
            return await self._stored.read(spans, self._cells, self._resting, by_script=True)
        cells = await self._stored.read(spans, self._cells, by_script=True)
        self._resting = frozenset(s for s in cells.series() if _is_at_rest(cells, s, now))
        self._all_read_at = now
        return cells


def _is_at_rest(cells: LoadedCells, series: Series, now: datetime) -> bool:
    """Return whether a series has nothing in any window, and will not before it reports again."""
    return not cells.has_cells(series) and now - cells.last_report(series).end > _AT_REST_AFTER


async def take_snapshot(stored: StoredCells, beliefs: Beliefs, now: datetime) -> dict[str, bytes]:
    """Return a single snapshot."""
    return await Snapshots(stored, beliefs).take(now)


class _Observed(NamedTuple):
    """The observations in a window, and the cells that they were made from."""

    window: Window
    cells: LoadedCells
    observed: Observations


def _changed(earlier: LoadedCells, cells: LoadedCells) -> list[Series] | None:
    """Return the series whose cells have changed; ``None`` if a series is not there any more."""
    before, now = earlier.by_series, cells.by_series
    if not before.keys() <= now.keys():
        return None
    return [series for series, known in now.items() if before.get(series) is not known]


@dataclass(frozen=True)
class _WindowAnswers:
    """The answers for one window by name, and the input that they were computed from."""

    day: int | None
    observed: Observations
    shares: Shares
    answers: dict[str, Answer]

    @property
    def earlier(self) -> Earlier:
        """The cohort, and what it was made from."""
        return Earlier(self.observed.pools, self.shares.placement.cohort.members)


def _are_same(new: Mapping[str, Answer], old: Mapping[str, Answer]) -> bool:
    """Return whether answers are the same, at whatever times they were given."""
    return new.keys() == old.keys() and all(
        msgspec.structs.replace(answer, as_of=old[name].as_of) == old[name]
        for name, answer in new.items()
    )


def _answer_window(
    query: SharesQuery, observed: Observations, beliefs: Beliefs, cached: _WindowAnswers | None
) -> _WindowAnswers:
    """Answer all questions about a window; pools that ``cached`` has are not made again."""
    shares = shares_of(query.window, observed, beliefs, earlier=cached.earlier if cached else None)
    whole = answer(query, shares, [rule.id for rule in beliefs.rules])
    answers = {part_name(query): whole}
    for country in shares.divided:
        of_country = replace(query, level="subdivision", country=country)
        answers[part_name(of_country)] = inside(whole, of_country, shares)
    return _WindowAnswers(query.window.day, observed, shares, answers)


def _facts(
    cells: LoadedCells,
    resting: Collection[Series],
    by_window: Mapping[str, _WindowAnswers],
    rejections: Mapping[str, Refusal],
) -> PoolFacts:
    # A pool all of whose series are at rest is off, and not listed unless a reading was rejected.
    listed = {series.pool for series in cells.series() if series not in resting} | rejections.keys()
    return PoolFacts(
        last={each: cells.last_report(each) for each in cells.series() if each.pool in listed},
        now=by_window["now"].shares.placement,
        month=by_window["30d"].shares.placement,
        observed_now=by_window["now"].observed.pools,
        observed_day=by_window["24h"].observed.pools,
        observed_month=by_window["30d"].observed.pools,
        rejected=rejections,
        damaged=cells.damaged,
    )
