"""Annotations: calendars of what is known to move hashrate, shown on swings. Pure.

An annotation changes no figure, and lowers nothing. An operator can mute it: then the events that
it concerns say so, and whoever alerts can leave them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from miningmap.places import country_of
from miningmap.swings import PoolSwing
from streams.method.swings import subject_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import date, datetime, tzinfo

    from miningmap.swings import Swing
    from streams.method.comparison import Subject


class DayOfYear(NamedTuple):
    """A day of every year."""

    month: int
    day: int


class Season(NamedTuple):
    """Days of every year, both included; past New Year if the first comes after the last."""

    first: DayOfYear
    last: DayOfYear

    def contains(self, day: DayOfYear) -> bool:
        """Return whether a day is in the season."""
        if self.first <= self.last:
            return self.first <= day <= self.last
        return day >= self.first or day <= self.last


class Hours(NamedTuple):
    """Hours of every day, the last one excluded; past midnight if they begin after they end."""

    start: int
    until: int

    def contains(self, hour: int) -> bool:
        """Return whether the hour that begins at ``hour`` is among them."""
        if self.start < self.until:
            return self.start <= hour < self.until
        return hour >= self.start or hour < self.until


@dataclass(frozen=True)
class Annotation:
    """A calendar, and what it concerns.

    Attributes:
        id: of the annotation.
        zone: the local time in which the rest is written.
        places: the codes of the places that it concerns; a country includes its subdivisions.
        pools: the slugs of the pools that it concerns.
        season: the days of the year; ``None`` for all.
        hours: the hours of the day; ``None`` for all.
        weekdays: the days of the week, 0 for Monday; ``None`` for all.
        start: the first day on which it counts, if there is one.
        until: the day from which on it does not, if there is one.
    """

    id: str
    zone: tzinfo
    places: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()
    season: Season | None = None
    hours: Hours | None = None
    weekdays: frozenset[int] | None = None
    start: date | None = None
    until: date | None = None

    def names_place(self, code: str) -> bool:
        """Return whether it concerns a place."""
        return code in self.places or country_of(code) in self.places

    def names_pool(self, pool: str) -> bool:
        """Return whether it concerns a pool."""
        return pool in self.pools

    def is_on(self, at: datetime) -> bool:
        """Return whether a time is in the calendar.

        Each part of the calendar is compared with the clock on the wall. So an hour that the end of
        summer time repeats counts both times.
        """
        try:
            local = at.astimezone(self.zone)
        except OverflowError:  # the year would be 0 or 10000
            return False
        return self.counts_on(local.date()) and (
            self.hours is None or self.hours.contains(local.hour)
        )

    def counts_on(self, day: date) -> bool:
        """Return whether the calendar has a day, at some hour."""
        return (
            (self.start is None or self.start <= day)
            and (self.until is None or day < self.until)
            and (self.season is None or self.season.contains(DayOfYear(day.month, day.day)))
            and (self.weekdays is None or day.weekday() in self.weekdays)
        )


Ids: TypeAlias = "tuple[str, ...]"


def concerning(event: Swing, at: datetime, annotations: Iterable[Annotation]) -> Ids:
    """Return the ids of the annotations that concern the subject of an event at a time.

    Args:
        event: of a place or a pool.
        at: the time, in any zone.
        annotations: all that there are; their order is kept.
    """
    return tuple(each.id for each in annotations if _names(each, event) and each.is_on(at))


def annotated(
    event: Swing,
    annotations: Iterable[Annotation],
    muted: Collection[str] = (),
    previous: Swing | None = None,
) -> Swing:
    """Return an event with the annotations that concern it, and whether one of them is muted.

    What concerns a swing is decided anew for each of its events, by the time of that event: a
    curtailment that lasts longer than the calendar knows is not muted for ever. But once an event
    of a swing was not muted, none that follows is: whoever was told of it is told how it goes on.
    The end of a swing, which may be after the hours of the calendar, has the annotations of the
    event before it too, and is muted if that was.

    The live evaluation of a minute passes each of its events through this before it stores them,
    with the newest event of the same swing before it.

    Args:
        event: as it was detected.
        annotations: all that there are.
        muted: the ids of those that the operator mutes.
        previous: the event of the same swing before this one, as this function returned it. Without
            it, that of the start of the swing stands in for it.
    """
    annotations = tuple(annotations)
    ids = concerning(event, event.at, annotations)
    is_muted = not set(muted).isdisjoint(ids)
    if event.state != "firing":
        if previous is None:
            started = msgspec.structs.replace(event, state="firing", at=event.started)
            previous = annotated(started, annotations, muted)
        seen = {*ids, *_ids_of(previous)}
        ids = tuple(each.id for each in annotations if each.id in seen)
        is_muted = previous.muted is True
    elif previous is not None:
        is_muted = is_muted and previous.muted is True
    return _with(event, ids, is_muted=is_muted)


def annotated_in_order(
    events: Iterable[Swing], annotations: Iterable[Annotation], muted: Collection[str] = ()
) -> Iterator[Swing]:
    """Yield events as :func:`annotated` returns them, all events of each swing included.

    Args:
        events: in the order of time, from a state in which nothing fires.
        annotations: all that there are.
        muted: the ids of those that the operator mutes.
    """
    annotations = tuple(annotations)
    firing: dict[Subject, Swing] = {}
    for event in events:
        subject = subject_of(event)
        shown = annotated(event, annotations, muted, firing.pop(subject, None))
        if shown.state == "firing":
            firing[subject] = shown
        yield shown


def _with(event: Swing, ids: Ids, *, is_muted: bool) -> Swing:
    return msgspec.structs.replace(
        event, annotations=ids or msgspec.UNSET, muted=is_muted or msgspec.UNSET
    )


def _names(annotation: Annotation, event: Swing) -> bool:
    if isinstance(event, PoolSwing):
        return annotation.names_pool(event.pool)
    return annotation.names_place(event.place)


def _ids_of(event: Swing) -> Ids:
    return () if event.annotations is msgspec.UNSET else event.annotations
