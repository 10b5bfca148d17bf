"""Observations: what the cells say of each source in one window. Pure: the cells are in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.method.cells import Cell, Series
    from streams.method.windows import Span, Tier, Window


@dataclass(frozen=True)
class Observation:
    """What is known of one source of a pool: sums over the window and over its profile days."""

    window: Cell
    profile: Cell
    seen_before: bool
    """Whether the source has a value before the window, in the window's tier."""


class Observations(NamedTuple):
    """What is known of every source in one window.

    ``pools`` has the sources by pool and name; ``network`` has the sums over the window of the
    network's hashrate, by source.
    """

    pools: dict[str, dict[str, Observation]]
    network: dict[str, Cell]


class CellReader(Protocol):
    """Gives the cells of every series, from memory (offline) or as they were read from Redis."""

    def series(self) -> Iterable[Series]:
        """Return every series that has a cell."""

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span."""

    def first(self, series: Series, tier: Tier) -> int | None:
        """Return the first bucket of a tier in which the series ever had a value."""


def spans_of(windows: Iterable[Window]) -> set[Span]:
    """Return the spans whose cells are needed to answer all of these windows."""
    return {span for window in windows for span in (window.span, window.profile)}


def observe(cells: CellReader, window: Window) -> Observations:
    """Return what the cells say of each source in a window."""
    pools: dict[str, dict[str, Observation]] = {}
    network: dict[str, Cell] = {}
    for series in cells.series():
        cell = cells.sum(series, window.span)
        if series.pool is None:
            network[series.source] = cell
            continue
        first = cells.first(series, window.span.tier)
        before = first is not None and first < window.span.buckets.start
        profile = cells.sum(series, window.profile)
        pools.setdefault(series.pool, {})[series.source] = Observation(cell, profile, before)
    return Observations(pools, network)
