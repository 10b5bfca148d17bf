"""The simulated history: the messages that a collector would have published in the past."""

from __future__ import annotations

import heapq
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import msgspec

from collector.polling.plausibility import Plausibility
from collector.polling.reports import Poll, check_readings, parse_readings
from collector.sources.base import NetworkSource
from launch.simulation import partner
from launch.simulation.pools import MEASURED
from launch.simulation.sources import bodies, is_up, simulated_sources
from miningmap.times import DAY_S, HOUR_S, MINUTE_S, bucket, bucket_start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from collector.sources.base import Source
    from launch.simulation.world import World
    from miningmap.messages import Message

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# How long after the end of a claim its message is fetched.
_FETCH_DELAY: Final = timedelta(seconds=1)
_PARTNER_DELAY: Final = timedelta(minutes=1)


def history(world: World, until: datetime, days: int = 30, minutes_h: int = 3) -> Iterator[Message]:
    """Return all messages that were fetched up to ``until``, in the order of ``fetched_at``.

    Args:
        world: the world.
        until: the end; nothing is fetched after it.
        days: how many days back the hourly reports and the partners' daily rows reach.
        minutes_h: how many hours back the reports of single minutes reach, live rows included.
    """
    by_hour = _polled(world, until, HOUR_S, days * _DAY)
    by_minute = _polled(world, until, MINUTE_S, minutes_h * _HOUR)
    by_day = _pushed(world, until, days)
    live = _live(world, until, minutes_h * _HOUR)
    return heapq.merge(by_hour, by_minute, by_day, *live, key=attrgetter("fetched_at"))


def _polled(world: World, until: datetime, every_s: int, reach: timedelta) -> Iterator[Message]:
    """Yield the sources' messages at each whole hour or minute over the last ``reach``."""
    sources = simulated_sources()
    last = bucket(until - _FETCH_DELAY, every_s)
    for n in range(last - int(reach.total_seconds()) // every_s + 1, last + 1):
        end = bucket_start(n, every_s)
        for source in sources:
            length = _length(source, every_s)
            is_due = bucket(end, MINUTE_S) % max(1, length // _MINUTE) == 0
            if is_due and is_up(world, source, end - length, end):
                yield from _messages(world, source, end, length)


def _length(source: Source, every_s: int) -> timedelta:
    """Return the length of the source's claims where polls are ``every_s`` apart.

    In the history pools are polled each minute, so that each minute has its own figure, and the
    network as often as its sources declare.
    """
    poll_s = source.poll_s if isinstance(source, NetworkSource) else MINUTE_S
    return timedelta(seconds=max(every_s, poll_s))


def _messages(world: World, source: Source, end: datetime, length: timedelta) -> Iterator[Message]:
    """Yield the messages that the collector makes from the source's bodies at ``end``.

    A collector claims less than an hour at a time, so for an hour this takes the messages of a
    poll at its end and sets their interval to the whole hour.
    """
    readings = parse_readings(source, bodies(world, source, end, length), end)
    hourly = length >= _HOUR
    every_s = source.poll_s if hourly else length.total_seconds()
    checked = check_readings(Poll(source, end, every_s, simulated=True), readings, Plausibility())
    for letter in checked.rejected:
        raise ValueError(f"{source.path}: its example is not plausible: {letter.error}")
    whole_hour = {"start": end - length, "end": end, "hold_s": 0} if hourly else {}
    for message in checked.messages:
        yield msgspec.structs.replace(message, fetched_at=end + _FETCH_DELAY, **whole_hour)


def _live(world: World, until: datetime, reach: timedelta) -> tuple[Iterator[Message], ...]:
    """Return the reports of the live rows of the partner that pushes such.

    Like those of the sources they are of whole hours, of those of today, which no daily row covers
    yet, and of the minutes over the last ``reach``.
    """
    midnight = bucket_start(bucket(until, DAY_S), DAY_S)
    return (
        _live_reports(world, midnight, until, HOUR_S),
        _live_reports(world, until - reach, until, MINUTE_S),
    )


def _live_reports(
    world: World, since: datetime, until: datetime, length_s: int
) -> Iterator[Message]:
    """Yield the reports of live rows of one length that arrived up to ``until``."""
    pool = partner.PUSHED_POOL
    for n in range(bucket(since, length_s), bucket(until - _FETCH_DELAY, length_s)):
        start, end = bucket_start(n, length_s), bucket_start(n + 1, length_s)
        row = partner.live_row(world, pool, start, end)
        yield partner.live_report(pool, row, end + _FETCH_DELAY)


def _pushed(world: World, until: datetime, days: int) -> Iterator[Message]:
    """Yield the reports of the partners' rows, day by day, each with its partner's delay."""
    today = bucket(until, DAY_S)
    for arrival in range(today - days + 1, today + 1):
        fetched_at = bucket_start(arrival, DAY_S) + _PARTNER_DELAY
        if fetched_at > until:
            return
        for pool in MEASURED:
            day = arrival - (pool.measured_lag_d or 0)
            rows = partner.daily_rows(world, pool.slug, bucket_start(day, DAY_S).date())
            yield partner.report(pool.slug, rows, fetched_at)
