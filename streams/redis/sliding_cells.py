"""Cells that were read from Redis, for windows that slide on, as those of a history. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.method.cells import Cell, DaySums, as_cell
from streams.redis.encoding import place_of

if TYPE_CHECKING:
    from streams.method.cells import Series
    from streams.method.windows import Span
    from streams.redis.encoding import EncodedCell
    from streams.redis.loaded_cells import LoadedCells, SeriesCells


class SlidingCells:
    """Reads cells as :class:`streams.redis.loaded_cells.LoadedCells` does, with the same digits.

    It remembers of each series only what the next window needs, because sums are larger than the
    encoded cells, and adds up sliding days with few additions.
    """

    def __init__(self, cells: LoadedCells) -> None:
        self.series = cells.series
        self.first = cells.first
        self._sliding = {series: _Sliding(known) for series, known in cells.by_series.items()}

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span that was read."""
        return self._sliding[series].sum(span)


class _Sliding:
    """The newest sums of one series: over one bucket, and over several."""

    def __init__(self, cells: SeriesCells) -> None:
        self._cells = cells
        self._days = DaySums(self._day)
        self._newest: dict[bool, tuple[Span, Cell]] = {}
        self._newest_day: tuple[int, EncodedCell | None] = (-1, None)

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
            one = self._day(span.buckets.start)
            return Cell() if one is None else as_cell(one, place_of)
        return self._days.sum(span.buckets).cell(place_of)

    def _day(self, number: int) -> EncodedCell | None:
        # The day of one bucket is the last one of the profile of the next.
        if self._newest_day[0] != number:
            self._newest_day = number, self._cells.day(number)
        return self._newest_day[1]
