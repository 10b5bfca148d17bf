"""The evaluator of swings: reads the cells of minutes, evaluates them and writes what was found.

What it keeps in memory is what it has written. After any error it reads that again from Redis.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from miningmap.retention import horizon
from miningmap.swings import swing_id, swing_subject
from miningmap.times import DAY_H, DAY_MIN, HOUR_MIN, HOUR_S, MINUTE_S, bucket_start
from streams.method.comparison import PAIRS
from streams.method.observations import spans_of
from streams.method.windows import parse_window
from streams.queries.swings import LiveDetector, comparisons_over, deltas_of
from streams.redis.swing_store import EvaluatedMinute, Memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
    from datetime import datetime

    from miningmap.retention import Horizon
    from miningmap.settings import Retention
    from miningmap.swings import Swing
    from streams.method.beliefs import Beliefs
    from streams.method.comparison import Comparisons, HourDeltas, Pair
    from streams.method.swings import SwingSettings
    from streams.method.windows import Span, Window
    from streams.metrics import Metrics
    from streams.queries.swings import Evaluation
    from streams.redis.loaded_cells import LoadedCells
    from streams.redis.store import Store
    from streams.redis.swing_store import Found

FIRST_MINUTES: Final = HOUR_MIN
"""The minutes that are evaluated at once where nothing is remembered, so that a swing that is under
way is found at once."""
MAX_BEHIND: Final = DAY_MIN
"""After more minutes than these without an evaluation, nothing is remembered any more."""
_HOURS_AT_ONCE: Final = 6
"""The hours whose cells are read together, to fill in the noise: their minutes take memory."""
_DAMAGE_SHOWN: Final = 5

_log = structlog.get_logger(__name__)


class _OtherProcessError(Exception):
    """Another process has written a minute."""


@dataclass
class _Begun:
    """The state between two minutes.

    Attributes:
        detector: evaluates the next minute.
        written: what is in Redis.
        next_minute: the one to evaluate next.
        new_hours: the deltas of past hours that are not written yet.
    """

    detector: LiveDetector
    written: Memory
    next_minute: int
    new_hours: dict[int, HourDeltas] = field(default_factory=dict)


class Evaluator:
    """Evaluates minutes in order, each once, also if other processes do the same."""

    def __init__(
        self,
        store: Store,
        beliefs: Beliefs,
        *,
        settings: SwingSettings,
        retention: Retention,
        metrics: Metrics,
        annotate: Callable[[Swing, Swing | None], Swing] = lambda event, _: event,
        first_minutes: int = FIRST_MINUTES,
        published: Callable[[], Awaitable[Iterable[Swing]]] | None = None,
    ) -> None:
        """Prepare an evaluator; it reads Redis when it first evaluates.

        Args:
            store: the cells, and where swings are stored.
            beliefs: of all days.
            settings: when swings fire, resolve and are lost.
            retention: how long cells are kept.
            metrics: where events and durations are counted.
            annotate: returns an event with what an operator should know about it. It is called once
                for each event, before anything is written, and is given the newest event of the
                same swing before it, if there is one.
            first_minutes: how many minutes are evaluated at once where nothing is remembered.
            published: returns the events that are in Kafka, the oldest first. What fires by these
                is lost where Redis remembers nothing, so that nobody believes that it fires.
        """
        self._published = published
        self._cells = store.cells
        self._swings = store.swings
        self._beliefs = beliefs
        self._settings = settings
        self._retention = retention
        self._metrics = metrics
        self._annotate = annotate
        self._first_minutes = first_minutes
        self._begun: _Begun | None = None
        self._read: LoadedCells | None = None

    def is_due(self, minute: int) -> bool:
        """Return whether a minute may have to be evaluated, as far as this process knows."""
        return self._begun is None or minute >= self._begun.next_minute or self._is_ahead(minute)

    def _is_ahead(self, minute: int) -> bool:
        """Return whether minutes after this one were evaluated, by a clock that was far ahead."""
        return self._begun is not None and self._begun.next_minute - minute > MAX_BEHIND

    async def evaluate(self, last: int) -> int:
        """Evaluate the next minutes up to ``last``, at most those of one hour.

        If another process has evaluated them meanwhile, this forgets what it knew, and the next
        call reads Redis again.

        Returns:
            How many minutes are left, as far as this process knows.

        Raises:
            redis.RedisError: Redis is unavailable. The next call continues after the last minute
                that was written.
        """
        if self._is_ahead(last):
            self._begun = None
        try:
            begun = self._begun = self._begun or await self._begin(last)
            end_of_hour = begun.next_minute // HOUR_MIN * HOUR_MIN + HOUR_MIN
            await self._evaluate(begun, range(begun.next_minute, min(last + 1, end_of_hour)))
        except _OtherProcessError:
            self._begun = None
            return 1
        except BaseException:
            self._begun = None
            raise
        return max(0, last + 1 - begun.next_minute)

    async def _evaluate(self, begun: _Begun, minutes: range) -> None:
        """Evaluate minutes of the same hour: these have the same long windows."""
        if not minutes:
            return
        compared = {bucket_start(minute, MINUTE_S): PAIRS for minute in minutes}
        self._read = await self._cells.read(_spans(compared), self._read)
        comparisons = comparisons_over(self._read, self._beliefs)
        for minute in minutes:
            with self._metrics.swing_duration.time():
                # In a thread: with many pools and places the arithmetic takes a while.
                found = await asyncio.to_thread(begun.detector.evaluate, minute, comparisons)
                await self._write(begun, minute, found)

    async def _write(self, begun: _Begun, minute: int, found: Evaluation) -> None:
        """Write what was found in a minute.

        Raises:
            _OtherProcessError: another process has written a minute.
        """
        hours = dict(begun.new_hours)
        if found.deltas is not None:
            hours[minute // HOUR_MIN] = found.deltas
        evaluated = EvaluatedMinute(
            minute,
            begun.detector.tracks,
            found.status,
            found.events,
            hours,
            first_hour=minute // HOUR_MIN - self._settings.noise_hours,
        )
        damage = await self._swings.write(evaluated, begun.written)
        if damage is None:
            raise _OtherProcessError
        _warn_of(damage)
        begun.written = Memory(minute, stored=b"%d" % minute)
        begun.next_minute = minute + 1
        begun.new_hours = {}
        for event in found.events:
            self._metrics.swings.labels(swing_subject(event), event.state).inc()
            _log.info("swing_event", swing=swing_id(event), state=event.state)

    # --- what is remembered ---

    async def _begin(self, last: int) -> _Begun:
        """Return the state after the last minute that was evaluated, or an empty one."""
        memory = await self._swings.memory()
        hours, damaged_hours = await self._swings.hours()
        continues = memory.minute is not None and abs(last - memory.minute) <= MAX_BEHIND
        if memory.minute is not None and not continues:
            _log.warning("swings_begin_anew", minutes=last - memory.minute)
        remembered = continues and not memory.damage
        listed = await (self._firing(memory) if remembered else self._swings.firing())
        _warn_of([*memory.damage, *damaged_hours, *listed.damage])
        events = [history[-1] for history in listed.swings]
        if memory.minute is None and not memory.damage and not events:
            events = await self._firing_in_kafka()
        first = last - self._first_minutes + 1
        if continues and memory.minute is not None:
            first = memory.minute + 1
        new_hours = await self._missing_hours(first, hours.keys())
        detector = LiveDetector(
            self._settings,
            memory.tracks if remembered else (),
            events if remembered else (),
            hours | new_hours,
            forgotten=() if remembered else events,
            annotate=self._annotate,
        )
        return _Begun(detector, memory, first, new_hours)

    async def _firing(self, memory: Memory) -> Found:
        """Return the swings that fire by what is remembered."""
        return await self._swings.swings([t.swing_id for t in memory.tracks if t.swing_id])

    async def _firing_in_kafka(self) -> list[Swing]:
        """Return the newest event of each swing that fires by what was published."""
        if self._published is None:
            return []
        newest = {swing_id(event): event for event in await self._published()}
        firing = [event for event in newest.values() if event.state == "firing"]
        if firing:
            _log.warning("swings_forgotten", swings=sorted(map(swing_id, firing)))
        return firing

    async def _missing_hours(self, first: int, known: Container[int]) -> dict[int, HourDeltas]:
        """Return the deltas of the hours before a minute that are not known yet.

        Where nothing was evaluated, the cells still tell of some hours, so that the usual noise is
        known sooner. They are computed once; what cannot be told is missing.
        """
        next_hour = math.ceil(first / HOUR_MIN)
        past = range(next_hour - self._settings.noise_hours, next_hour)
        hours = [hour for hour in past if hour not in known]
        kept = horizon(self._retention, bucket_start(first, MINUTE_S))
        deltas: dict[int, HourDeltas] = {}
        for start in range(0, len(hours), _HOURS_AT_ONCE):
            some = hours[start : start + _HOURS_AT_ONCE]
            pairs = {hour: _whole_pairs(hour, kept) for hour in some}
            compared = {bucket_start(hour, HOUR_S): of_hour for hour, of_hour in pairs.items()}
            self._read = await self._cells.read(_spans(compared), self._read)
            comparisons = comparisons_over(self._read, self._beliefs)
            deltas |= await asyncio.to_thread(_deltas, comparisons, pairs)
        if hours:
            _log.info("swing_noise_filled_in", hours=sum(map(bool, deltas.values())))
        return deltas


def _warn_of(damage: Sequence[str]) -> None:
    if damage:
        _log.warning("swings_damaged", count=len(damage), problems=list(damage[:_DAMAGE_SHOWN]))


def _spans(compared: Mapping[datetime, Iterable[Pair]]) -> set[Span]:
    """Return what has to be read for the pairs that are compared at each time."""
    return {
        span
        for at, pairs in compared.items()
        for pair in pairs
        for span in spans_of(_windows(pair, at))
    }


def _windows(pair: Pair, at: datetime) -> tuple[Window, Window]:
    return parse_window(pair.short, at), parse_window(pair.long, at)


# --- past hours -----------------------------------------------------------------------------------


def _whole_pairs(hour: int, kept: Horizon) -> list[Pair]:
    """Return the pairs of which both windows are still whole, as seen at the start of an hour."""
    at = bucket_start(hour, HOUR_S)
    return [p for p in PAIRS if all(_is_whole(window.span, kept) for window in _windows(p, at))]


def _is_whole(span: Span, kept: Horizon) -> bool:
    """Return whether all cells of the span of a window are still kept."""
    oldest = {
        "minute": kept.minutes_from_hour * HOUR_MIN,
        "hour": kept.hours_from_day * DAY_H,
        "day": 0,
    }
    return span.buckets.start >= oldest[span.tier]


def _deltas(comparisons: Comparisons, pairs: Mapping[int, Iterable[Pair]]) -> dict[int, HourDeltas]:
    return {
        hour: deltas_of(comparisons.at(bucket_start(hour, HOUR_S), pair) for pair in of_hour)
        for hour, of_hour in pairs.items()
    }
