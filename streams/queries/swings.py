"""Swings in a range of time, from messages in memory."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from miningmap.times import HOUR_MIN, MINUTE_S, bucket, bucket_start
from streams.method.cells import add_up
from streams.method.comparison import PAIRS, Comparisons
from streams.method.swings import Detector, SwingSettings, sigma_of
from streams.method.windows import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from miningmap.swings import Swing
    from streams.method.beliefs import Beliefs, Ratio
    from streams.method.cells import Cell, PlaceKind, Series
    from streams.method.comparison import Comparison, Deltas, Pair, Subject
    from streams.method.observations import SumReader

CHUNK_MIN: Final = 10
"""The minutes of a chunk, which is added up once for all windows that contain it."""
MAX_SUMS: Final = 20_000
"""The number of sums that are kept: those of some hours of a thousand series."""

DEFAULT_SETTINGS: Final = SwingSettings()


def minutes_between(start: datetime, end: datetime) -> range:
    """Return the numbers of the whole minutes from ``start`` to ``end``, both included."""
    return range(math.ceil(start.timestamp() / MINUTE_S), bucket(end, MINUTE_S) + 1)


def detect(
    cells: SumReader,
    minutes: Iterable[int],
    beliefs: Beliefs,
    settings: SwingSettings = DEFAULT_SETTINGS,
) -> Iterator[Swing]:
    """Yield the events of minutes in a row, as if nothing had swung before.

    Args:
        cells: of all messages about these minutes, and about the noise and the profile before them.
        minutes: their numbers, in the order of time; each is evaluated as it begins.
        beliefs: all beliefs.
        settings: when swings fire, resolve and are lost.
    """
    history = _History(Comparisons(_CachedSums(cells), beliefs), settings.noise_hours)
    detector = Detector(settings)
    for minute in minutes:
        comparisons = [history.compare(minute, pair) for pair in PAIRS]
        yield from detector.evaluate(bucket_start(minute, MINUTE_S), comparisons, history.sigma)


class _History:
    """Makes comparisons, and tells the usual noise by those at whole hours.

    Each of these is made once. They are made when a sigma is asked for: most minutes need none.
    """

    def __init__(self, comparisons: Comparisons, noise_hours: int) -> None:
        self._comparisons = comparisons
        self._noise_hours = noise_hours
        self._deltas: dict[str, dict[int, Deltas]] = {pair.name: {} for pair in PAIRS}
        self._sigmas: dict[Subject, Ratio] = {}
        self._hour = 0

    def compare(self, minute: int, pair: Pair) -> Comparison:
        """Return the comparison of a pair at a minute, which is then the present."""
        comparison = self._comparisons.at(bucket_start(minute, MINUTE_S), pair)
        if minute // HOUR_MIN != self._hour:
            self._hour = minute // HOUR_MIN
            self._sigmas.clear()
        if minute % HOUR_MIN == 0:
            self._deltas[pair.name][self._hour] = comparison.deltas
        return comparison

    def sigma(self, subject: Subject) -> Ratio:
        """Return the usual noise of a subject, over the hours before the present one."""
        if subject not in self._sigmas:
            hours = range(self._hour - self._noise_hours, self._hour)
            past = [self._at_hour(hour, subject.pair) for hour in hours]
            self._sigmas[subject] = sigma_of(subject, past)
        return self._sigmas[subject]

    def _at_hour(self, hour: int, pair: str) -> Deltas:
        known = self._deltas[pair]
        if hour not in known:
            at = bucket_start(hour * HOUR_MIN, MINUTE_S)
            known[hour] = self._comparisons.at(at, _PAIRS[pair]).deltas
        return known[hour]


_PAIRS: Final = {pair.name: pair for pair in PAIRS}


class _CachedSums:
    """Reads cells, and keeps the sums that the windows of several minutes share."""

    def __init__(self, cells: SumReader) -> None:
        self.series = cells.series
        self._read = cells.sum
        self._kept = lru_cache(MAX_SUMS)(cells.sum)

    def sum(self, series: Series, span: Span) -> Cell:
        if span.tier != "minute":
            return self._kept(series, span)
        sums = (
            (self._kept if len(chunk.buckets) == CHUNK_MIN else self._read)(series, chunk)
            for chunk in _chunks(span.buckets)
        )
        return add_up((cell for cell in sums if cell.minutes), place_of=_itself)


def _chunks(minutes: range) -> Iterator[Span]:
    """Yield the chunks of a range; the first and the last one may be shorter."""
    start = minutes.start
    while start < minutes.stop:
        stop = min(minutes.stop, start - start % CHUNK_MIN + CHUNK_MIN)
        yield Span("minute", range(start, stop))
        start = stop


def _itself(place: PlaceKind) -> PlaceKind:
    return place
