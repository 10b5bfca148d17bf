"""From cells to what a question needs of them. Pure: the cells are in memory, or were read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from streams.method.shares import Observed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.method.cells import Cell, Series
    from streams.method.windows import Span, Tier, Window


Known: TypeAlias = "tuple[dict[str, dict[str, Observed]], dict[str, Cell]]"
"""What is known in a window: by pool, by source; and by source of the network's hashrate."""


class Reader(Protocol):
    """The cells of every series: in memory (offline), or read from Redis."""

    def series(self) -> Iterable[Series]:
        """Every (pool, source) that was ever heard of."""

    def sum(self, series: Series, span: Span) -> Cell:
        """The sum of a series' cells over a span."""

    def first(self, series: Series, tier: Tier) -> int | None:
        """The first bucket of a tier in which the series ever had a value."""


def spans_of(windows: Iterable[Window]) -> set[Span]:
    """The spans whose cells answer all of these windows."""
    return {span for window in windows for span in (window.span, window.profile)}


def observe(reader: Reader, window: Window) -> Known:
    """What is known of each source of each pool, and of each source of the network's hashrate."""
    pools: dict[str, dict[str, Observed]] = {}
    network: dict[str, Cell] = {}
    for series in reader.series():
        cell = reader.sum(series, window.span)
        if series.pool is None:
            network[series.source] = cell
            continue
        first = reader.first(series, window.span.tier)
        before = first is not None and first < window.span.buckets.start
        profile = reader.sum(series, window.profile)
        pools.setdefault(series.pool, {})[series.source] = Observed(cell, profile, before)
    return pools, network
