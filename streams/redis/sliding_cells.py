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

    Sliding days are added up with few additions. Of other sums over several cells only those are
    remembered that the next window needs.
    """

    def __init__(self, cells: LoadedCells) -> None:
        self.series = cells.series
        self.first = cache(cells.first)
        self._sliding = {series: _Sliding(known) for series, known in cells.by_series.items()}

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span that was read."""
        sliding = self._sliding[series]
        if len(span.buckets) == 1:  # which would interrupt the sliding
            return sliding.cells.cell((span.tier, span.buckets.start)) or NOTHING
        return sliding.sum(span)


class _Sliding:
    """One series, and its newest sum over several cells."""

    def __init__(self, cells: SeriesCells) -> None:
        self.cells = cells
        self._days = DaySums(cells.day)
        self._span: Span | None = None
        self._newest = NOTHING

    def sum(self, span: Span) -> Cell:
        if span != self._span:
            of_days = span.tier == "day"
            self._newest = self._days.sum(span.buckets) if of_days else self.cells.sum(span)
            self._span = span
        return self._newest
