"""Stamps of days: whether any cell of any series has changed that belongs to a day. Pure.

``claim.lua`` writes them: a day of a series has the first digits of the stamp that the series got
with the last change on that day. Equal stamps of the days that a window covers, and of its profile,
mean equal cells. Only what is removed by its age gets no stamp, so the oldest hours and minutes
that are kept count too.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.times import DAY_H, HOUR_MIN
from streams.redis.encoding import encode_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from streams.method.cells import Series
    from streams.method.windows import Span, Tier, Window

LAST: Final = b"last"
BASE: Final = b"base"
BLOCK_DAYS: Final = 32
"""The days of one field."""

_DIGITS: Final = 16
_NONE: Final = b"0" * _DIGITS
_NOTHING: Final = _NONE * BLOCK_DAYS
_block: Final = Struct(f"{_DIGITS}s" * BLOCK_DAYS)


class SeriesStamps(NamedTuple):
    """What Redis has about the changes of one series.

    Attributes:
        stamp: of the whole series.
        last: the same, if each change has stamped its days.
        base: the stamp of days without one.
        blocks: the stamps of days, by the number of the block.
        oldest_minutes: the oldest hour of which there may be minutes.
        oldest_hours: the oldest day of which there may be hours.
        firsts: the first bucket of each tier in which it ever had a value.
    """

    stamp: bytes | None
    last: bytes | None
    base: bytes | None
    blocks: Mapping[int, bytes | None]
    oldest_minutes: bytes | None
    oldest_hours: bytes | None
    firsts: Mapping[Tier, bytes | None]

    def block(self, number: int) -> bytes:
        """Return the stamps of the days of a block, one after the other."""
        if self.last is None or self.last != self.stamp:
            # An older version wrote the last change, or all: any day can have changed with it.
            return _digits(self.stamp) * BLOCK_DAYS
        known = self.blocks.get(number)
        return known if known and len(known) == _block.size else _digits(self.base) * BLOCK_DAYS


def _digits(stamp: bytes | None) -> bytes:
    return ((stamp or b"") + _NONE)[:_DIGITS]


def blocks_of(windows: Iterable[Window]) -> list[int]:
    """Return the numbers of the blocks with all days from which windows are computed."""
    spans = {days for window in windows for days in _days(window)}
    return sorted({day // BLOCK_DAYS for days in spans for day in days})


def _days(window: Window) -> tuple[range, range]:
    return window.days, window.profile.buckets


class DayStamps:
    """The stamps of all series at one time.

    Args:
        generation: the number of the generation of their cells.
        by_series: what Redis has.
    """

    def __init__(self, generation: int, by_series: Mapping[Series, SeriesStamps]) -> None:
        self.generation = generation
        self._series = {
            encode_series(each): by_series[each]
            for each in sorted(by_series, key=lambda each: (each.pool or "", each.source))
        }
        self._blocks: dict[int, Sequence[bytes]] = {}
        self._over: dict[range, bytes] = {}
        self._kept: dict[tuple[Tier, int], bytes] = {}

    def of(self, window: Window, *, with_first: bool = False) -> bytes:
        """Return the stamp of a window: it is the same as long as what is computed from its cells.

        Args:
            window: all days from which it is computed must have been read.
            with_first: whether it matters too which series had a value before the window.
        """
        digest = blake2b(digest_size=16)
        digest.update(b"%d" % self.generation)
        for days in _days(window):
            digest.update(self._of_days(days))
        for number in _removable(window.span):
            digest.update(self._of_kept(window.span.tier, number))
        if with_first:
            digest.update(self._of_first(window.span))
        return digest.digest()

    def _of_days(self, days: range) -> bytes:
        if days not in self._over:
            digests = (self._days_of(day // BLOCK_DAYS)[day % BLOCK_DAYS] for day in days)
            self._over[days] = blake2b(b"".join(digests), digest_size=16).digest()
        return self._over[days]

    def _days_of(self, number: int) -> Sequence[bytes]:
        """Return a digest of the stamps of all series for each day of a block."""
        if number not in self._blocks:
            # Series without anything in a block do not count: a new one would change all blocks.
            known = {each: s.block(number) for each, s in self._series.items()}
            rows = {each: stamps for each, stamps in known.items() if stamps != _NOTHING}
            names = ",".join(rows).encode()
            columns = zip(*map(_block.unpack, rows.values()), strict=True)
            self._blocks[number] = [
                blake2b(names + b"".join(column), digest_size=16).digest() for column in columns
            ] or [b""] * BLOCK_DAYS
        return self._blocks[number]

    def _of_kept(self, tier: Tier, number: int) -> bytes:
        """Return which series may have minutes of an hour, or hours of a day."""
        key = tier, number
        if key not in self._kept:
            kept = [
                each
                for each, s in self._series.items()
                if _is_at_most(s.oldest_hours if tier == "hour" else s.oldest_minutes, number)
            ]
            self._kept[key] = _digest_of(kept)
        return self._kept[key]

    def _of_first(self, span: Span) -> bytes:
        """Return which series had a value before a span."""
        tier, start = span.tier, span.buckets.start
        return _digest_of(
            each for each, s in self._series.items() if _is_at_most(s.firsts[tier], start - 1)
        )


def _removable(span: Span) -> range:
    """Return the numbers of the hashes of minutes or hours that a span is read from."""
    if span.tier == "day" or not span.buckets:
        return range(0)
    size = DAY_H if span.tier == "hour" else HOUR_MIN
    return range(span.buckets[0] // size, span.buckets[-1] // size + 1)


def _digest_of(names: Iterable[str]) -> bytes:
    return blake2b(",".join(names).encode(), digest_size=16).digest()


def _is_at_most(value: bytes | None, number: int) -> bool:
    try:
        return value is not None and int(value) <= number
    except ValueError:
        return True  # it is damaged: then nothing is removed, and the series is left out
