"""Observations: the sums of each source's cells over one window. Pure: the cells are in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import msgspec

from streams.method.cells import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.method.cells import Series
    from streams.method.windows import Span, Tier, Window


class Observation(msgspec.Struct, frozen=True):
    """The sums of one source of a pool, over the window and over its profile days."""

    window_sum: Cell
    profile_sum: Cell
    seen_before: bool
    """Whether the source has a value before the window, in a bucket of the window's tier."""

    @property
    def simulated(self) -> bool:
        """Whether any of these values is simulated."""
        return self.window_sum.simulated or self.profile_sum.simulated


ObservedPools: TypeAlias = "dict[str, dict[str, Observation]]"
"""The observations of each source of each pool, by pool and source."""


class Observations(NamedTuple):
    """The observations of all sources in one window.

    ``pools`` has those of pools, by pool and source; ``network`` those of the network's hashrate,
    by source.
    """

    pools: ObservedPools
    network: dict[str, Observation]


class SumReader(Protocol):
    """The sums of the cells of every series."""

    def series(self) -> Iterable[Series]:
        """Return every series that has a cell."""

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span."""


class CellReader(SumReader, Protocol):
    """The cells of every series, from messages in memory or as they were read from Redis."""

    def first(self, series: Series, tier: Tier) -> int | None:
        """Return the first bucket of a tier in which the series ever had a value."""


def spans_of(windows: Iterable[Window]) -> set[Span]:
    """Return the spans whose cells are needed to answer all of these windows."""
    return {span for window in windows for span in (window.span, window.profile)}


def observe(cells: CellReader, window: Window) -> Observations:
    """Return the observations of all sources in a window."""
    return observe_again(Observations({}, {}), cells, window, cells.series())


def observe_again(
    earlier: Observations, cells: CellReader, window: Window, changed: Iterable[Series]
) -> Observations:
    """Return the observations in a window of which some have changed.

    Args:
        earlier: those of the same window before.
        cells: reads the sums.
        window: the window.
        changed: every series that was changed or added since; none can have been removed.
    """
    pools, network = dict(earlier.pools), dict(earlier.network)
    own: set[str] = set()  # the pools whose observations were copied
    for series in changed:
        observation = _observation(cells, series, window)
        if series.pool is None:
            network[series.source] = observation
            continue
        if series.pool not in own:
            own.add(series.pool)
            pools[series.pool] = dict(pools.get(series.pool, {}))
        pools[series.pool][series.source] = observation
    return Observations(pools, network)


def _observation(cells: CellReader, series: Series, window: Window) -> Observation:
    first = cells.first(series, window.span.tier)
    return Observation(
        window_sum=cells.sum(series, window.span),
        profile_sum=cells.sum(series, window.profile),
        seen_before=first is not None and first < window.span.buckets.start,
    )
