"""Swings: places and pools that move against their own recent past (method.md 9). Pure.

A swing fires when its delta has been large for some minutes in a row, and resolves when it has been
small for as many. What has to be remembered between two minutes is a :class:`Track`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypedDict

import msgspec

from miningmap.api.models import Instant, KindSplit
from miningmap.swings import (
    PlaceStatus,
    PlaceSwing,
    PoolDelta,
    PoolPart,
    PoolStatus,
    PoolSwing,
    SwingStatus,
    place_swing_id,
    pool_swing_id,
)
from streams.method.cohort import SAME
from streams.method.comparison import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from miningmap.swings import Driver, Swing, SwingState
    from streams.method.beliefs import Ratio
    from streams.method.comparison import Comparison, Deltas

LeastChange: TypeAlias = "Ratio | Mapping[str, Ratio]"
"""The least change that fires, for every pair or by pair."""

PLACE_SEVERITIES: Final = (1, 3, 5)
"""In percentage points."""
POOL_SEVERITIES: Final = (10, 25, 50)
"""In percent."""

PLACE_LEAST: Final[Ratio] = 0.01
"""The least change of a share that fires."""
POOL_LEAST: Final[Ratio] = 0.10
"""The least change of a pool's hashrate that fires."""

MIN_NOISE_HOURS: Final = 24
"""With fewer deltas the noise is unknown and counts as 0."""
MAD_TO_SIGMA: Final = 1.4826
"""The standard deviation of a normal distribution by its median absolute deviation."""
MIN_OWN: Final[Ratio] = 0.5
"""The least part of a delta that a place itself explains, for it to be the driver."""


@dataclass(frozen=True)
class SwingSettings:
    """When a swing fires, resolves and is lost.

    Attributes:
        minutes: how long a delta has to be large or small.
        place: the least change of a share that fires.
        pool: the least change of a pool's hashrate that fires, as a fraction of it.
        noise: how many standard deviations of its usual noise a delta has to exceed.
        resolved: the part of the threshold below which a delta is small.
        lost_after: the minutes without a delta after which a swing is lost.
        noise_hours: the hours that tell the usual noise.
        overrides: other least changes, by the code of a place or the slug of a pool.
    """

    minutes: int = 10
    place: LeastChange = PLACE_LEAST
    pool: LeastChange = POOL_LEAST
    noise: float = 4.0
    resolved: Ratio = 0.5
    lost_after: int = 60
    noise_hours: int = 168
    overrides: Mapping[str, LeastChange] = field(default_factory=dict)

    def least(self, subject: Subject) -> Ratio:
        """Return the threshold of a subject without noise: the most specific one that is set."""
        of_kind, default = (self.pool, POOL_LEAST) if subject.is_pool else (self.place, PLACE_LEAST)
        for change in (self.overrides.get(subject.name, {}), of_kind):
            found = change.get(subject.pair) if isinstance(change, Mapping) else change
            if found is not None:
                return found
        return default

    def threshold(self, subject: Subject, sigma: Ratio) -> Ratio:
        """Return the delta at which a subject fires.

        Args:
            subject: a place or a pool.
            sigma: the standard deviation of its usual deltas.
        """
        return max(self.least(subject), self.noise * sigma)


def sigma_of(subject: Subject, past: Iterable[Deltas]) -> Ratio:
    """Return the standard deviation of a subject's usual deltas, which swings hardly change.

    Args:
        subject: a place or a pool.
        past: the deltas of its pair at the starts of the last hours.
    """
    known = [delta for deltas in past if (delta := deltas.of(subject)) is not None]
    if len(known) < MIN_NOISE_HOURS:
        return 0.0
    middle = median(known)
    return MAD_TO_SIGMA * median(abs(delta - middle) for delta in known)


# --- one subject ----------------------------------------------------------------------------------


class Firing(msgspec.Struct, frozen=True):
    """A swing that is firing: the sign of its delta, how severe it became, and since when."""

    sign: int
    severity: int
    started: Instant


class Track(msgspec.Struct, frozen=True):
    """What is remembered of a subject from one minute to the next.

    Attributes:
        subject: a place or a pool.
        run: the minutes in a row with a large delta of one sign; negative if that is negative.
        calm: the minutes in a row with a small delta.
        missing: the minutes in a row without a delta.
        firing: the swing, if one is firing.
        simulated: whether the last delta was of simulated data.
    """

    subject: Subject
    run: int = 0
    calm: int = 0
    missing: int = 0
    firing: Firing | None = None
    simulated: bool = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return self.firing is None and self.run == 0

    @property
    def swing_id(self) -> str | None:
        """The id of the swing that is firing, if one is."""
        if self.firing is None:
            return None
        pair, is_pool, name, source = self.subject
        if is_pool:
            return pool_swing_id(pair, name, source, self.firing.started)
        return place_swing_id(pair, name, self.firing.started)


class Change(NamedTuple):
    """A swing that starts to fire, becomes more severe, resolves or is lost."""

    state: SwingState
    swing: Firing


def step(
    track: Track, at: datetime, delta: Ratio | None, threshold: Ratio, settings: SwingSettings
) -> tuple[Track, Sequence[Change]]:
    """Return what is remembered after one more minute, and what changed in it.

    Args:
        track: what was remembered before.
        at: the minute.
        delta: of the subject; ``None`` if it is undefined.
        threshold: of this minute; without a delta it is not used.
        settings: when swings fire, resolve and are lost.
    """
    if delta is None:
        return _without_delta(track, settings)
    counted = _counted(track, delta, threshold, settings)
    firing, changes = track.firing, []
    needed = settings.minutes + 1
    if firing and (counted.calm >= needed or counted.run * firing.sign <= -needed):
        changes.append(Change("resolved", firing))
        firing = None
    if firing:
        severity = _severity(track.subject, delta * firing.sign)
        if severity > firing.severity:
            firing = Firing(firing.sign, severity, firing.started)
            changes.append(Change("firing", firing))
    elif abs(counted.run) >= needed:
        firing = Firing(_sign(delta), _severity(track.subject, abs(delta)), at)
        changes.append(Change("firing", firing))
    return msgspec.structs.replace(counted, firing=firing), changes


def _without_delta(track: Track, settings: SwingSettings) -> tuple[Track, Sequence[Change]]:
    missing = track.missing + 1
    if track.firing and missing >= settings.lost_after:
        return Track(track.subject), [Change("lost", track.firing)]
    return msgspec.structs.replace(track, run=0, calm=0, missing=missing), []


def _counted(track: Track, delta: Ratio, threshold: Ratio, settings: SwingSettings) -> Track:
    sign = _sign(delta)
    run = 0
    if _reaches(abs(delta), threshold):
        run = track.run + sign if track.run * sign > 0 else sign
    calm = 0 if _reaches(abs(delta), settings.resolved * threshold) else track.calm + 1
    return msgspec.structs.replace(track, run=run, calm=calm, missing=0)


def _sign(delta: Ratio) -> int:
    return 1 if delta > 0 else -1


def _reaches(figure: float, least: float) -> bool:
    """Return whether a figure is at least another one; rounding errors do not decide."""
    return figure >= least * (1 - SAME)


def _severity(subject: Subject, delta: Ratio) -> int:
    """Return the highest severity that a delta reaches; the lowest if thresholds are set lower."""
    levels = POOL_SEVERITIES if subject.is_pool else PLACE_SEVERITIES
    return max((level for level in levels if _reaches(delta, level / 100)), default=levels[0])


# --- all subjects ---------------------------------------------------------------------------------


@dataclass
class Detector:
    """Turns comparisons, minute by minute, into the events of swings.

    Attributes:
        settings: when swings fire, resolve and are lost.
        tracks: what is remembered of each subject that is not idle. With these, another detector
            continues where this one ends.
    """

    settings: SwingSettings = field(default_factory=SwingSettings)
    tracks: dict[Subject, Track] = field(default_factory=dict)

    def evaluate(
        self, at: datetime, comparisons: Iterable[Comparison], sigma: Callable[[Subject], Ratio]
    ) -> list[Swing]:
        """Return the events of one minute, in their order.

        Args:
            at: the minute. Minutes are evaluated in the order of time, each once.
            comparisons: of each pair of windows as seen at that minute.
            sigma: returns the standard deviation of a subject's usual deltas. It is asked only
                where that can matter.
        """
        by_pair = {comparison.pair.name: comparison for comparison in comparisons}
        events = []
        for subject in sorted(self._concerned(by_pair.values())):
            comparison = by_pair[subject.pair]
            events += self._evaluate(subject, at, comparison, sigma)
        return events

    def concerns(self, comparisons: Collection[Comparison]) -> bool:
        """Return whether a minute can change anything: if not, it need not be evaluated."""
        return bool(self._concerned(comparisons))

    def _concerned(self, comparisons: Collection[Comparison]) -> set[Subject]:
        """Return the subjects that are remembered, and those that can begin to fire."""
        pairs = {comparison.pair.name for comparison in comparisons}
        remembered = {subject for subject in self.tracks if subject.pair in pairs}
        return remembered | {
            subject
            for comparison in comparisons
            for subject, delta in comparison.deltas.subjects(comparison.pair)
            if _reaches(abs(delta), self.settings.least(subject))
        }

    def _evaluate(
        self,
        subject: Subject,
        at: datetime,
        comparison: Comparison,
        sigma: Callable[[Subject], Ratio],
    ) -> list[Swing]:
        delta = comparison.deltas.of(subject)
        threshold = 0.0
        track = self.tracks.get(subject, Track(subject))
        if delta is not None:
            threshold = self.settings.threshold(subject, sigma(subject))
            simulated = _is_simulated(subject, comparison)
            track = msgspec.structs.replace(track, simulated=simulated)
        after, changes = step(track, at, delta, threshold, self.settings)
        if after.idle:
            self.tracks.pop(subject, None)
        else:
            self.tracks[subject] = after
        figures = None if delta is None else _Figures(comparison, delta, threshold)
        return [
            _event(subject, at, change, figures, simulated=track.simulated) for change in changes
        ]


def _is_simulated(subject: Subject, comparison: Comparison) -> bool:
    if subject.is_pool:
        return comparison.pools[subject.name].simulated
    return comparison.at(subject.name).simulated


# --- events ---------------------------------------------------------------------------------------


class _Figures(NamedTuple):
    """What an event tells of its minute."""

    comparison: Comparison
    delta: Ratio
    threshold: Ratio


class _Common(TypedDict):
    """The fields that events of places and pools have in common."""

    pair: str
    state: SwingState
    severity: int
    started: datetime
    at: datetime
    delta: Ratio | None
    threshold: Ratio | None
    simulated: bool


def _event(
    subject: Subject, at: datetime, change: Change, figures: _Figures | None, *, simulated: bool
) -> Swing:
    """Return the event of a change; without figures, that of a swing that is lost."""
    common = _Common(
        pair=subject.pair,
        state=change.state,
        severity=change.swing.severity,
        started=change.swing.started,
        at=at,
        delta=None if figures is None else figures.delta,
        threshold=None if figures is None else figures.threshold,
        simulated=simulated,
    )
    if subject.is_pool:
        return _pool_swing(subject, common, figures)
    return _place_swing(subject.name, common, figures)


def lost(event: Swing, at: datetime) -> Swing:
    """Return the event of a swing that is lost because nothing is remembered of it.

    Args:
        event: any of the swing's events; the newest one has its severity.
        at: when it is lost.
    """
    change = Change("lost", Firing(0, event.severity, event.started))
    return _event(subject_of(event), at, change, None, simulated=event.simulated)


def subject_of(event: Swing) -> Subject:
    """Return what the event is about."""
    if isinstance(event, PoolSwing):
        return Subject(event.pair, is_pool=True, name=event.pool, source=event.source)
    return Subject(event.pair, is_pool=False, name=event.place)


def _place_swing(place: str, common: _Common, figures: _Figures | None) -> PlaceSwing:
    if figures is None:
        return PlaceSwing(
            **common, place=place, short=None, long=None, own=None, driver=None, pools=()
        )
    move = figures.comparison.at(place).move(place)
    return PlaceSwing(
        **common,
        place=place,
        short=move.short,
        long=move.long,
        own=move.own,
        driver=driver_of(figures.delta, move.own, move.with_rest),
        pools=tuple(PoolDelta(*contribution) for contribution in move.contributions),
        kinds=KindSplit(*move.kinds),
    )


def driver_of(delta: Ratio, own: Ratio, with_rest: Ratio) -> Driver:
    """Return whether a place moved by itself, or because others did.

    Args:
        delta: the difference of its shares.
        own: what that would be, had only the hashrate at this place changed.
        with_rest: what it would be, had the hashrate that nobody located moved with its pools.
            Without it, all places with located hashrate would fall if all pools lose the same part.
    """
    explained = all(
        part * delta > 0 and _reaches(abs(part), MIN_OWN * abs(delta)) for part in (own, with_rest)
    )
    return "own" if explained else "others"


def _pool_swing(subject: Subject, common: _Common, figures: _Figures | None) -> PoolSwing:
    pool, source = subject.name, subject.source
    if figures is None:
        return PoolSwing(**common, pool=pool, source=source, short=None, long=None, places=())
    move = figures.comparison.pools[pool]
    places = tuple(PoolPart(*part) for part in move.places())
    return PoolSwing(
        **common, pool=pool, source=source, short=move.short, long=move.long, places=places
    )


# --- what swings now ------------------------------------------------------------------------------


def status_of(
    at: datetime, comparisons: Iterable[Comparison], firing: Iterable[Swing]
) -> SwingStatus:
    """Return what the evaluation of a minute found.

    Args:
        at: the minute.
        comparisons: of each pair of windows as seen at that minute.
        firing: the newest event of each swing that fires.
    """
    comparisons = list(comparisons)
    return SwingStatus(
        at,
        tuple(
            PlaceStatus(comparison.pair.name, code, delta)
            for comparison in comparisons
            for level in comparison.levels.values()
            for code, delta in level.deltas.items()
        ),
        tuple(
            PoolStatus(comparison.pair.name, pool, move.source, move.delta)
            for comparison in comparisons
            for pool, move in comparison.pools.items()
        ),
        tuple(sorted(firing, key=subject_of)),
    )
