"""Times: UTC always, RFC 3339 with ``Z`` outside, whole minutes, hours and days inside.

A minute, an hour and a day are numbered from the Unix epoch (``int``), so that buckets are
compared, ranged over and stored without a calendar. Months are the only thing that needs one.
"""

from __future__ import annotations

import math
from calendar import monthrange
from datetime import UTC, datetime

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
HOUR_MIN = 60
DAY_H = 24
DAY_MIN = DAY_H * HOUR_MIN


def utc_now() -> datetime:
    """The wall clock, in UTC. The only place that asks it on behalf of pure code's callers."""
    return datetime.now(UTC)


def bucket(at: datetime, seconds: int) -> int:
    """The number of the bucket of ``seconds`` that contains ``at``."""
    return int(at.timestamp() // seconds)


def bucket_range(start: datetime, end: datetime, seconds: int) -> range:
    """The buckets of ``seconds`` that ``[start, end)`` touches."""
    return range(bucket(start, seconds), math.ceil(end.timestamp() / seconds))


def bucket_start(number: int, seconds: int) -> datetime:
    """When bucket ``number`` of ``seconds`` begins."""
    return datetime.fromtimestamp(number * seconds, UTC)


def month_days(year: int, month: int) -> range:
    """The days of a calendar month, UTC.

    Raises:
        ValueError: there is no such month.
    """
    first = bucket(datetime(year, month, 1, tzinfo=UTC), DAY_S)
    return range(first, first + monthrange(year, month)[1])


def add_months(at: datetime, months: int) -> datetime:
    """The same day and time ``months`` later; a day the month lacks becomes its last one."""
    index = at.year * 12 + at.month - 1 + months
    year, month = divmod(index, 12)
    for day in range(at.day, 27, -1):
        try:
            return at.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return at.replace(year=year, month=month + 1)


def rfc3339(at: datetime) -> str:
    """``2026-11-22T15:00:00Z``; fractions of a second only where there are some."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_utc(at: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        ValueError: it has no zone, or in UTC it is before the year 1 or after 9999.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{at.isoformat()} is out of range") from None


def parse_rfc3339(text: str) -> datetime:
    """An aware time in UTC.

    Raises:
        ValueError: not a time, one without a zone, or one that UTC has no year for.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write UTC as 2026-11-22T15:00:00Z")
    return as_utc(at)
