"""Swings: in a range of time from messages in memory, and live, minute after minute."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.times import HOUR_MIN, HOUR_S, MINUTE_S, bucket, bucket_start
from streams.method.annotations import annotated_in_order
from streams.method.cells import add_up
from streams.method.comparison import PAIRS, Comparisons
from streams.method.swings import (
    Detector,
    SwingSettings,
    lost,
    sigma_of,
    status_of,
    subject_of,
)
from streams.method.windows import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from miningmap.settings import Swings
    from miningmap.swings import Swing, SwingStatus
    from streams.method.beliefs import Beliefs, Ratio
    from streams.method.cells import Cell, Series
    from streams.method.comparison import Comparison, Deltas, HourDeltas, Subject
    from streams.method.observations import SumReader
    from streams.method.swings import Track

CHUNK_MIN: Final = 10
"""The minutes of a chunk, which is added up once for all windows that contain it."""
MAX_SUMS: Final = 20_000
"""The number of sums that are kept: those of some hours of a thousand series."""

DEFAULT_SETTINGS: Final = SwingSettings()


def _as_it_is(event: Swing, _: Swing | None) -> Swing:
    return event


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
    muted: Collection[str] = (),
) -> Iterator[Swing]:
    """Return the events of minutes in a row, as if nothing had swung before.

    Args:
        cells: of all messages about these minutes, and about the noise and the profile before them.
        minutes: their numbers, in the order of time; each is evaluated as it begins.
        beliefs: all beliefs; their annotations are shown on the events.
        settings: when swings fire, resolve and are lost.
        muted: the ids of the annotations that the operator mutes.
    """
    events = _detect(cells, minutes, beliefs, settings)
    return annotated_in_order(events, beliefs.annotations, muted)


def _detect(
    cells: SumReader, minutes: Iterable[int], beliefs: Beliefs, settings: SwingSettings
) -> Iterator[Swing]:
    comparisons = comparisons_over(cells, beliefs)
    noise = _Noise(_RecomputedHours(comparisons).deltas, settings.noise_hours)
    detector = Detector(settings)
    for block in _blocks(minutes, settings.minutes + 1):
        concerned = detector.concerns(_compared(comparisons, block[-1]))
        for minute in block if concerned else ():
            noise.present_hour(minute // HOUR_MIN)
            compared = _compared(comparisons, minute)
            yield from detector.evaluate(bucket_start(minute, MINUTE_S), compared, noise.sigma)


def _blocks(minutes: Iterable[int], length: int) -> Iterator[Sequence[int]]:
    """Yield the minutes in blocks of as many as a swing needs in a row to fire.

    If nothing is remembered when a block begins, and no delta is large at its last minute, the
    block can be left out. So many minutes in a row that end in it contain either the minute before
    it, at which nothing had been large, or its last one: nothing fires. And as no delta is large at
    its last minute, nothing is to be remembered at its end either.
    """
    left = iter(minutes)
    while block := list(islice(left, length)):
        yield block


def _compared(comparisons: Comparisons, minute: int) -> list[Comparison]:
    at = bucket_start(minute, MINUTE_S)
    return [comparisons.at(at, pair) for pair in PAIRS]


def comparisons_over(cells: SumReader, beliefs: Beliefs) -> Comparisons:
    """Return the comparisons of minutes that are near each other: they share many sums."""
    return Comparisons(_CachedSums(cells), beliefs)


# --- live -----------------------------------------------------------------------------------------


class Evaluation(NamedTuple):
    """What was found in a minute.

    Attributes:
        events: those of this minute, in their order.
        status: what swings in this minute.
        deltas: by pair, if an hour starts at this minute.
    """

    events: Sequence[Swing]
    status: SwingStatus
    deltas: HourDeltas | None


class LiveDetector:
    """Evaluates minutes as they pass; the noise is that of the hours as they were evaluated."""

    def __init__(
        self,
        settings: SwingSettings,
        tracks: Iterable[Track],
        firing: Iterable[Swing],
        hours: Mapping[int, HourDeltas],
        *,
        forgotten: Iterable[Swing] = (),
        annotate: Callable[[Swing, Swing | None], Swing] = _as_it_is,
    ) -> None:
        """Continue where another detector has ended.

        Args:
            settings: when swings fire, resolve and are lost.
            tracks: what that one remembered.
            firing: the newest event of each swing that fires by these tracks.
            hours: the deltas at the starts of hours; those of later hours are added.
            forgotten: the newest event of each swing that fired and of which nothing is remembered.
                They are lost at the first minute.
            annotate: returns an event with what an operator should know about it. It is given the
                newest event of the same swing before it, if there is one.
        """
        self._detector = Detector(settings, {track.subject: track for track in tracks})
        self._firing = {subject_of(event): event for event in firing}
        self._forgotten = {subject_of(event): event for event in sorted(forgotten, key=subject_of)}
        self._hours = dict(hours)
        self._kept_hours = settings.noise_hours
        self._noise = _Noise(self._deltas, settings.noise_hours)
        self._annotate = annotate

    @property
    def tracks(self) -> Sequence[Track]:
        """What is remembered."""
        return list(self._detector.tracks.values())

    def evaluate(self, minute: int, comparisons: Comparisons) -> Evaluation:
        """Evaluate a minute. Minutes are evaluated in the order of time, each once."""
        at = bucket_start(minute, MINUTE_S)
        hour, past = divmod(minute, HOUR_MIN)
        compared = _compared(comparisons, minute)
        self._noise.present_hour(hour)
        self._firing |= self._forgotten
        found = [lost(event, at) for event in self._forgotten.values()]
        self._forgotten = {}
        found += self._detector.evaluate(at, compared, self._noise.sigma)
        events = [self._shown(event) for event in found]
        deltas = None if past else deltas_of(compared)
        if deltas is not None:
            first = hour - self._kept_hours
            self._hours = {h: known for h, known in self._hours.items() if h >= first}
            self._hours[hour] = deltas
        return Evaluation(events, status_of(at, compared, self._firing.values()), deltas)

    def _shown(self, event: Swing) -> Swing:
        """Return an event as it is told, and remember it while its swing fires."""
        subject = subject_of(event)
        shown = self._annotate(event, self._firing.get(subject))
        if shown.state == "firing":
            self._firing[subject] = shown
        else:
            self._firing.pop(subject, None)
        return shown

    def _deltas(self, hour: int, pair: str) -> Deltas | None:
        return self._hours.get(hour, {}).get(pair)


def deltas_of(comparisons: Iterable[Comparison]) -> HourDeltas:
    """Return the deltas of comparisons at the same time."""
    return {comparison.pair.name: comparison.deltas for comparison in comparisons}


# --- the usual noise ------------------------------------------------------------------------------


class _Noise:
    """The usual noise, by the deltas at the starts of hours.

    They are asked for only when a sigma is: most minutes need none.
    """

    def __init__(self, deltas: Callable[[int, str], Deltas | None], hours: int) -> None:
        self._deltas = deltas
        self._hours = hours
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
            past = (self._deltas(hour, subject.pair) for hour in hours)
            self._sigmas[subject] = sigma_of(subject, (d for d in past if d is not None))
        return self._sigmas[subject]


class _RecomputedHours:
    """The deltas at the starts of hours by what is known now, each computed once."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons
        self._known: dict[tuple[str, int], Deltas] = {}

    def deltas(self, hour: int, pair: str) -> Deltas:
        """Return the deltas of a pair at the start of an hour."""
        key = pair, hour
        if key not in self._known:
            at = bucket_start(hour, HOUR_S)
            self._known[key] = self._comparisons.at(at, _PAIRS[pair]).deltas
        return self._known[key]


_PAIRS: Final = {pair.name: pair for pair in PAIRS}


# --- sums -----------------------------------------------------------------------------------------


class _CachedSums:
    """Reads cells, and keeps the sums that the windows of several minutes share."""

    def __init__(self, cells: SumReader) -> None:
        self.series = cells.series
        self._kept = lru_cache(MAX_SUMS)(cells.sum)

    def sum(self, series: Series, span: Span) -> Cell:
        if span.tier != "minute":
            return self._kept(series, span)
        sums = (self._kept(series, chunk) for chunk in _chunks(span.buckets))
        return add_up(cell for cell in sums if cell.minutes)


def _chunks(minutes: range) -> Iterator[Span]:
    """Yield the chunks of a range; the first and the last one may be shorter."""
    start = minutes.start
    while start < minutes.stop:
        stop = min(minutes.stop, start - start % CHUNK_MIN + CHUNK_MIN)
        yield Span("minute", range(start, stop))
        start = stop
