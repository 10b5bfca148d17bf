"""Cells that were read from Redis, in memory: the input of answers. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.messages import MAX_BLOCKS, MAX_HOLD_S
from miningmap.times import DAY_MIN, DAY_S, bucket
from streams.method.cells import NOTHING, Cell, add_up, cell_keys, sum_of_days
from streams.method.windows import TIER_MINUTES
from streams.redis.encoding import checked, decode_cell, decoded
from streams.redis.sliding_cells import SlidingCells

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from streams.method.cells import CellKey, Series
    from streams.method.windows import Span, Tier
    from streams.redis.encoding import CheckedCell

STAMP: Final = "stamp"
"""The field of a series' meta data that changes with every change of its cells."""

_STAMP: Final = STAMP.encode()
_MAX_DAY: Final = int(datetime.max.replace(tzinfo=UTC).timestamp()) // DAY_S
_NEWEST: Final = 10
"""How many of the newest minutes of a span are added up anew when one of them has changed."""
_HOLD_DAYS: Final = -(-MAX_HOLD_S // DAY_S)


@dataclass(frozen=True)
class LastReport:
    """The last report of a series.

    ``blocks`` is the number of blocks from which its hashrate was estimated, or ``None`` if the
    pool itself reported the hashrate.
    """

    end: datetime
    fetched_at: datetime
    simulated: bool
    blocks: int | None


@dataclass(frozen=True)
class SeriesCells:
    """The encoded cells of one series, and the sums that were computed from them so far."""

    meta: Mapping[bytes, bytes]
    cells: dict[CellKey, bytes]
    stamp_after: bytes | None
    """The stamp after the cells were read. It differs from the one in ``meta`` if they changed
    meanwhile."""
    sums: dict[Span, Cell] = field(default_factory=dict)
    begun: dict[Span, Cell] = field(default_factory=dict)
    """Of spans of minutes, the sums without the newest ones, which the next report changes."""
    decoded: dict[CellKey, Cell] = field(default_factory=dict)
    """Those of the cells that are kept decoded, too."""

    @cached_property
    def digest(self) -> str:
        """The digest of its meta data that ``changed.lua`` compares.

        If Redis returns the same fields in another order, they only seem to have changed.
        """
        words = b"\0".join(chain.from_iterable(self.meta.items()))
        # Nobody gains by meta data with the same digest; it is not used for security.
        return hashlib.sha1(words, usedforsecurity=False).hexdigest()

    def new(self, earlier: SeriesCells | None) -> AbstractSet[CellKey]:
        """Return the keys of the cells that an earlier reading did not have, or had otherwise."""
        if earlier is None:
            return self.cells.keys()
        before = earlier.cells
        return {key for key, raw in self.cells.items() if before.get(key) != raw}

    def check(self, new: Collection[CellKey], *, keep: bool) -> None:
        """Check what was read, so that later code can use it without a thought.

        Args:
            new: the keys of the cells that were not checked before.
            keep: whether to keep the cells decoded, too.

        Raises:
            ValueError: some of it is not what messages can have made of it.
        """
        last_report(self.meta)
        for tier in TIER_MINUTES:
            first(self.meta, tier)
        # A report that is held, or that covers many hours, has made cells that are equal.
        distinct = {(tier, self.cells[tier, number]): number for tier, number in new}
        valid: list[CheckedCell] = []
        for (tier, raw), number in distinct.items():
            try:
                valid.append(checked(raw, tier))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"the {tier} {number}: {error}") from None
        if keep:
            found = dict(zip(distinct, decoded(valid), strict=True))
            self.decoded.update((key, found[key[0], self.cells[key]]) for key in new)

    def with_meta(self, meta: Mapping[bytes, bytes]) -> SeriesCells:
        """Return the same cells, with other meta data of the same stamp."""
        return self if meta == self.meta else replace(self, meta=meta)

    def cell(self, key: CellKey) -> Cell | None:
        """Return a cell, or ``None`` if there is none or it was not read."""
        if key in self.decoded:
            return self.decoded[key]
        raw = self.cells.get(key)
        return None if raw is None else decode_cell(raw)

    def day(self, number: int) -> Cell | None:
        """Return the cell of a day, as :meth:`cell` does."""
        return self.cell(("day", number))

    def sum(self, span: Span) -> Cell:
        """Return the sum of the cells over a span."""
        keys = cell_keys(span)
        if len(keys) == 1:  # nothing is to be added up, as in each bucket of a history
            return self.cell(keys[0]) or NOTHING
        if span.tier == "day":
            return sum_of_days(span.buckets, self.day)
        if span.tier == "hour" or len(keys) <= _NEWEST:
            return add_up(map(self.cell, keys))
        if span not in self.begun:
            self.begun[span] = add_up(map(self.cell, keys[:-_NEWEST]))
        return add_up(map(self.cell, keys[-_NEWEST:]), self.begun[span])

    def reuse(self, earlier: SeriesCells, keys: frozenset[CellKey], spans: frozenset[Span]) -> None:
        """Add those cells and sums of an earlier reading that are still needed."""
        self.cells.update((key, cell) for key, cell in earlier.cells.items() if key in keys)
        self.decoded.update((key, cell) for key, cell in earlier.decoded.items() if key in keys)
        self.sums.update((span, cell) for span, cell in earlier.sums.items() if span in spans)
        self.begun.update((span, sums) for span, sums in earlier.begun.items() if span in spans)

    def reuse_sums(
        self, earlier: SeriesCells, new: AbstractSet[CellKey], needed: Iterable[SpanCells]
    ) -> None:
        """Add the sums of an earlier reading over spans whose cells are still the same.

        A report changes the newest cells, and most windows end before these.

        Args:
            earlier: the earlier reading.
            new: the keys of the cells that it did not have, or had otherwise.
            needed: the spans that are needed.
        """
        changed = new | (earlier.cells.keys() - self.cells.keys())
        for span, keys, begun in needed:
            if span in earlier.sums and changed.isdisjoint(keys):
                self.sums[span] = earlier.sums[span]
            if span in earlier.begun and changed.isdisjoint(begun):
                self.begun[span] = earlier.begun[span]


class SpanCells(NamedTuple):
    """The keys of the cells of a span; ``begun`` are those without the newest ones."""

    span: Span
    keys: frozenset[CellKey]
    begun: frozenset[CellKey]

    @classmethod
    def of(cls, span: Span) -> SpanCells:
        """Return the keys of the cells of a span."""
        keys = cell_keys(span)
        return cls(span, frozenset(keys), frozenset(keys[:-_NEWEST]))


class LoadedCells:
    """The cells of every series that can be read.

    Attributes:
        keys: of the cells that were read.
        by_series: the cells of each series.
        generation: the number of the generation that they were read from.
        damaged: what cannot be read and is left out, with the reason. An entry of the set of all
            series that is no series is not in it.
    """

    def __init__(
        self,
        keys: frozenset[CellKey],
        by_series: Mapping[Series, SeriesCells],
        generation: int = 0,
        damaged: Mapping[Series, str] | None = None,
    ) -> None:
        self.keys = keys
        self.by_series = by_series
        self.generation = generation
        self.damaged = damaged or {}

    def is_current(self, series: Series, meta: Mapping[bytes, bytes]) -> bool:
        """Return whether the cells of a series are unchanged, by its present meta data in Redis."""
        known = self.by_series.get(series)
        return known is not None and known.meta.get(_STAMP) == meta.get(_STAMP) == known.stamp_after

    def series(self) -> Iterable[Series]:
        """Return every series that has a cell and can be read."""
        return self.by_series.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span that was read."""
        known = self.by_series[series]
        if not known.cells and not known.sums:  # as most series are that nobody reports any more
            return NOTHING
        if span not in known.sums:
            known.sums[span] = known.sum(span)
        return known.sums[span]

    def sliding(self) -> SlidingCells:
        """Return the same cells, for windows that slide on."""
        return SlidingCells(self)

    def first(self, series: Series, tier: Tier) -> int | None:
        """Return the first bucket of a tier in which the series ever had a value."""
        return first(self.by_series[series].meta, tier)

    def has_cells(self, series: Series) -> bool:
        """Return whether a series has any cell in the spans that were read."""
        return bool(self.by_series[series].cells)

    def days(self) -> range:
        """Return the days on which any series can have a value; empty without a series."""
        firsts = [day for series in self.series() if (day := self.first(series, "day")) is not None]
        ends = [self.last_report(series).end for series in self.series()]
        if not firsts:
            return range(0)
        return range(min(firsts), bucket(max(ends), DAY_S) + 1 + _HOLD_DAYS)

    def last_report(self, series: Series) -> LastReport:
        """Return the last report of a series."""
        return last_report(self.by_series[series].meta)


def first(meta: Mapping[bytes, bytes], tier: Tier) -> int | None:
    """Return the first bucket of a tier, by the meta data of a series.

    Raises:
        ValueError: it is no bucket of a time from the epoch to the year 9999.
    """
    value = meta.get(f"first:{tier}".encode())
    number = None if value is None else int(value)
    if number is not None and not 0 <= number * TIER_MINUTES[tier] <= _MAX_DAY * DAY_MIN:
        raise ValueError(f"the first {tier} is {number}")
    return number


def last_report(meta: Mapping[bytes, bytes]) -> LastReport:
    """Return the last report, by the meta data of a series.

    Raises:
        ValueError: it has none, or what it has is none.
    """
    try:
        blocks = int(meta[b"blocks"]) if meta.get(b"blocks") else None
        if blocks is not None and not 0 <= blocks <= MAX_BLOCKS:
            raise ValueError(f"{blocks} blocks")
        return LastReport(
            datetime.fromtimestamp(float(meta[b"end"]), UTC),
            datetime.fromtimestamp(float(meta[b"fetched_at"]), UTC),
            meta[b"simulated"] == b"1",
            blocks,
        )
    except KeyError as error:
        raise ValueError(f"the last report has no {error}") from None
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"the last report: {error}") from None
