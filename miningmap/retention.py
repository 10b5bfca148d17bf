"""Which minutes, hours and days a message can still change (method.md 3). Pure.

``streams`` keeps minutes and hours for a limited time. A message about a time that is no longer
kept becomes a dead letter, so the intake refuses rows about such a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, MINUTE_S, bucket, bucket_range

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.settings import Retention

_NONE: Final = range(0)


class TooLateError(ValueError):
    """None of the cells that a message could claim is kept any more."""


@dataclass(frozen=True)
class Horizon:
    """The oldest hour whose minutes are kept, and the oldest day whose hours are.

    Only whole hours and whole days, so that a roll-up is always made from all of its parts.
    """

    minutes_from_hour: int
    hours_from_day: int


def horizon(retention: Retention, now: datetime) -> Horizon:
    """Return the oldest cells that are still kept at ``now`` (UTC).

    Minutes are never kept longer than hours, whatever the settings say: a claimed minute rolls up
    into its hour and day, and a day is rolled up from all of its hours. So no claim may touch a
    part of a day whose hours are no longer kept.
    """
    hour = bucket(now, HOUR_S)
    minutes_from_hour = hour - retention.minutes_h
    hours_from_day = hour // DAY_H - retention.hours_d
    return Horizon(max(minutes_from_hour, hours_from_day * DAY_H), hours_from_day)


class Buckets(NamedTuple):
    """The numbers of the minutes, hours and days that a message claims; at least one is not empty.

    Attributes:
        covered: the minutes that the message is about; only of one shorter than an hour.
        held: the minutes after them for which its figure stands in.
        hours: the hours of a message of an hour or more.
        days: the whole days of such a message whose hours are no longer kept.
    """

    covered: range = _NONE
    held: range = _NONE
    hours: range = _NONE
    days: range = _NONE


def kept_buckets(
    start: datetime, end: datetime, hold_s: int, horizon: Horizon | None = None
) -> Buckets:
    """Return what a message about ``[start, end)`` claims of the cells that are still kept.

    Args:
        start: UTC.
        end: UTC, after ``start``.
        hold_s: how long the message stands in for the next one, in seconds.
        horizon: the oldest cells that are kept; without it, all are.

    Raises:
        TooLateError: none of the cells that the message could claim is kept any more.
    """
    short = (end - start).total_seconds() < HOUR_S
    found = _minutes(start, end, hold_s, horizon) if short else _hours(start, end, horizon)
    if not any(found):
        tier = "minutes" if short else "hours"
        raise TooLateError(f"ended at {end.isoformat()}; {tier} that old are not kept")
    return found


def _minutes(start: datetime, end: datetime, hold_s: int, horizon: Horizon | None) -> Buckets:
    covered = bucket_range(start, end, MINUTE_S)
    held_until = max(covered.stop, math.ceil((end.timestamp() + hold_s) / MINUTE_S))
    oldest = horizon.minutes_from_hour * HOUR_MIN if horizon else covered.start
    return Buckets(
        covered=range(max(covered.start, oldest), covered.stop),
        held=range(max(covered.stop, oldest), held_until),
    )


def _hours(start: datetime, end: datetime, horizon: Horizon | None) -> Buckets:
    hours = bucket_range(start, end, HOUR_S)
    oldest = horizon.hours_from_day if horizon else hours.start // DAY_H
    # A day whose hours are no longer kept is claimed directly, if the message covers all of it.
    first_day = math.ceil(start.timestamp() / DAY_S)
    return Buckets(
        hours=range(max(hours.start, oldest * DAY_H), hours.stop),
        days=range(first_day, min(int(end.timestamp()) // DAY_S, oldest)),
    )
