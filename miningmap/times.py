"""Times: always UTC, RFC 3339 with ``Z`` on the wire, numbered minutes, hours and days inside.

Minutes, hours and days are numbered from the Unix epoch (``int``), so buckets are compared, ranged
over and stored without a calendar. Only months need one.
"""

from __future__ import annotations

import math
from calendar import monthrange
from datetime import UTC, datetime
from typing import Final

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
HOUR_MIN = 60
DAY_H = 24
DAY_MIN = DAY_H * HOUR_MIN

FIRST_BLOCK: Final = datetime(2009, 1, 3, tzinfo=UTC)
"""The day of Bitcoin's first block. No hashrate has an earlier time."""


def utc_now() -> datetime:
    """The current time in UTC. Pure code gets it as an argument."""
    return datetime.now(UTC)


def bucket(at: datetime, seconds: int) -> int:
    """The number of the bucket of ``seconds`` that contains ``at``."""
    return int(at.timestamp() // seconds)


def bucket_range(start: datetime, end: datetime, seconds: int) -> range:
    """The numbers of the buckets of ``seconds`` that overlap ``[start, end)``."""
    return range(bucket(start, seconds), math.ceil(end.timestamp() / seconds))


def bucket_start(number: int, seconds: int) -> datetime:
    """The start of the bucket ``number`` of ``seconds``."""
    return datetime.fromtimestamp(number * seconds, UTC)


def month_days(year: int, month: int) -> range:
    """The numbers of the days of a calendar month in UTC.

    Raises:
        ValueError: the month does not exist.
    """
    first = bucket(datetime(year, month, 1, tzinfo=UTC), DAY_S)
    return range(first, first + monthrange(year, month)[1])


def add_months(at: datetime, months: int) -> datetime:
    """The same day and time ``months`` later, or the month's last day if it is shorter."""
    index = at.year * 12 + at.month - 1 + months
    year, month = divmod(index, 12)
    for day in range(at.day, 27, -1):
        try:
            return at.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return at.replace(year=year, month=month + 1)


def rfc3339(at: datetime) -> str:
    """The time as ``2026-11-22T15:00:00Z``, with a fraction of a second only if it has one."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_utc(at: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        ValueError: it has no time zone, or in UTC it is before the year 1 or after 9999.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{at.isoformat()} is out of range") from None


def parse_rfc3339(text: str) -> datetime:
    """Parse an RFC 3339 time; the result is in UTC.

    Raises:
        ValueError: not a time, without a time zone, or in UTC before the year 1 or after 9999.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write UTC as 2026-11-22T15:00:00Z")
    return as_utc(at)
