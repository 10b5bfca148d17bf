"""Swings in a range of time, from messages in memory."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from miningmap.times import HOUR_MIN, HOUR_S, MINUTE_S, bucket, bucket_start
from streams.method.cells import add_up
from streams.method.comparison import PAIRS, Comparisons
from streams.method.swings import Detector, SwingSettings, sigma_of
from streams.method.windows import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from miningmap.settings import Swings
    from miningmap.swings import Swing
    from streams.method.beliefs import Beliefs, Ratio
    from streams.method.cells import Cell, PlaceKind, Series
    from streams.method.comparison import Deltas, Subject
    from streams.method.observations import SumReader

CHUNK_MIN: Final = 10
"""The minutes of a chunk, which is added up once for all windows that contain it."""
MAX_SUMS: Final = 20_000
"""The number of sums that are kept: those of some hours of a thousand series."""

DEFAULT_SETTINGS: Final = SwingSettings()


def swing_settings(swings: Swings) -> SwingSettings:
    """Return what the configuration says of swings, for the detector."""
    return SwingSettings(
        minutes=swings.minutes,
        place=swings.place,
        pool=swings.pool,
        noise=swings.noise,
        resolved=swings.resolved,
        lost_after=swings.lost_after,
        noise_hours=swings.noise_hours,
        overrides=swings.overrides,
    )


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
    comparisons = Comparisons(_CachedSums(cells), beliefs)
    noise = _Noise(comparisons, settings.noise_hours)
    detector = Detector(settings)
    for minute in minutes:
        at = bucket_start(minute, MINUTE_S)
        noise.present_hour(minute // HOUR_MIN)
        yield from detector.evaluate(at, [comparisons.at(at, pair) for pair in PAIRS], noise.sigma)


class _Noise:
    """The usual noise, by comparisons at whole hours.

    Each of these is made once, and only when a sigma is asked for: most minutes need none.
    """

    def __init__(self, comparisons: Comparisons, hours: int) -> None:
        self._comparisons = comparisons
        self._hours = hours
        self._deltas: dict[tuple[str, int], Deltas] = {}
        self._sigmas: dict[Subject, Ratio] = {}
        self._present = 0

    def present_hour(self, hour: int) -> None:
        """Set the hour before which all is past."""
        if hour != self._present:
            self._present = hour
            self._sigmas.clear()

    def sigma(self, subject: Subject) -> Ratio:
        """Return the standard deviation of a subject's deltas in the hours before the present."""
        if subject not in self._sigmas:
            hours = range(self._present - self._hours, self._present)
            past = [self._at_hour(hour, subject.pair) for hour in hours]
            self._sigmas[subject] = sigma_of(subject, past)
        return self._sigmas[subject]

    def _at_hour(self, hour: int, pair: str) -> Deltas:
        key = pair, hour
        if key not in self._deltas:
            at = bucket_start(hour, HOUR_S)
            self._deltas[key] = self._comparisons.at(at, _PAIRS[pair]).deltas
        return self._deltas[key]


_PAIRS: Final = {pair.name: pair for pair in PAIRS}


class _CachedSums:
    """Reads cells, and keeps the sums that the windows of several minutes share."""

    def __init__(self, cells: SumReader) -> None:
        self.series = cells.series
        self._kept = lru_cache(MAX_SUMS)(cells.sum)

    def sum(self, series: Series, span: Span) -> Cell:
        if span.tier != "minute":
            return self._kept(series, span)
        sums = (self._kept(series, chunk) for chunk in _chunks(span.buckets))
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
