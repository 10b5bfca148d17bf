"""Observations: the sums of each source's cells over one window. Pure: the cells are in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.method.cells import Cell, Series
    from streams.method.windows import Span, Tier, Window


@dataclass(frozen=True)
class Observation:
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

    def of(self, series: Series) -> Observation:
        """Return the observation of a source that is one of these."""
        by_source = self.network if series.pool is None else self.pools[series.pool]
        return by_source[series.source]


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


def observe(
    cells: CellReader,
    window: Window,
    known: Callable[[Series], Observation | None] = lambda _: None,
) -> Observations:
    """Return the observations of all sources in a window.

    Args:
        cells: reads their sums.
        window: the window.
        known: returns the observation of a source if it is known already.
    """
    pools: ObservedPools = {}
    network: dict[str, Observation] = {}
    for series in cells.series():
        by_source = network if series.pool is None else pools.setdefault(series.pool, {})
        by_source[series.source] = known(series) or _observation(cells, series, window)
    return Observations(pools, network)


def _observation(cells: CellReader, series: Series, window: Window) -> Observation:
    first = cells.first(series, window.span.tier)
    return Observation(
        window_sum=cells.sum(series, window.span),
        profile_sum=cells.sum(series, window.profile),
        seen_before=first is not None and first < window.span.buckets.start,
    )
