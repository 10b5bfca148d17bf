"""Cells that were read from Redis, for windows that slide on, as those of a history. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from streams.method.cells import NOTHING, DaySums

if TYPE_CHECKING:
    from streams.method.cells import Cell, Series
    from streams.method.windows import Span
    from streams.redis.loaded_cells import LoadedCells, SeriesCells


class SlidingCells:
    """Reads cells as :class:`streams.redis.loaded_cells.LoadedCells` does, with the same digits.

    Each day is decoded once and sliding days are added up with few additions. Of other sums only
    those are remembered that the next window needs.
    """

    def __init__(self, cells: LoadedCells) -> None:
        self.series = cells.series
        self.first = cache(cells.first)
        self._sliding = {series: _Sliding(known) for series, known in cells.by_series.items()}

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span that was read."""
        return self._sliding[series].sum(span)


class _Sliding:
    """The newest sums of one series: over one bucket, and over several."""

    def __init__(self, cells: SeriesCells) -> None:
        self._cells = cells
        self._day = cache(cells.day)
        self._days = DaySums(self._day)
        self._newest: dict[bool, tuple[Span, Cell]] = {}

    def sum(self, span: Span) -> Cell:
        is_one = len(span.buckets) == 1
        known = self._newest.get(is_one)
        if known is None or known[0] != span:
            known = self._newest[is_one] = span, self._sum(span)
        return known[1]

    def _sum(self, span: Span) -> Cell:
        if span.tier != "day":
            return self._cells.sum(span)
        if len(span.buckets) == 1:  # which would interrupt the sliding
            return self._day(span.buckets.start) or NOTHING
        return self._days.sum(span.buckets)
