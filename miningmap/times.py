"""Times: always UTC, RFC 3339 with ``Z`` on the wire, numbered minutes, hours and days inside.

Minutes, hours and days are numbered from the Unix epoch (``int``), so buckets are compared, ranged
over and stored without a calendar. Only months need one.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
HOUR_MIN = 60
DAY_H = 24
DAY_MIN = DAY_H * HOUR_MIN

FIRST_BLOCK: Final = datetime(2009, 1, 3, tzinfo=UTC)
"""The day of Bitcoin's first block. No hashrate has an earlier time."""

MAX_RETRY_AFTER_S: Final = 86_400.0

_TIME: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<minute>(?:[01][0-9]|2[0-3])(?::[0-9]{2})?)"
    r"(?::(?P<second>[0-5][0-9]|60)(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?P<zone>[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)
_LAST_MINUTE: Final = (23, 59)
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_EXAMPLE: Final = "2026-11-22T15:00:00Z"
_LONGEST_QUOTE: Final = 64


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
    """Parse an RFC 3339 time; the result is in UTC. The one reader of times as text.

    What servers and people write beside that standard is read too: a space in place of ``T``,
    no seconds, an offset without a colon. A leap second is read as the second after it, which has
    the same POSIX time. Fractions are rounded to microseconds.

    Raises:
        ValueError: not a time, without a time zone, or in UTC before the year 1 or after 9999.
    """
    quoted = repr(text[:_LONGEST_QUOTE])
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted} is not a time; expected one such as {_EXAMPLE}")
    if match["zone"] is None:
        raise ValueError(f"{quoted} has no time zone; write UTC as {_EXAMPLE}")
    seconds = int(match["second"] or 0)
    try:
        zone = match["zone"].upper()
        minute = datetime.fromisoformat(f"{match['day']}T{match['minute']}{zone}").astimezone(UTC)
        if seconds >= MINUTE_S and (minute.hour, minute.minute) != _LAST_MINUTE:
            raise ValueError
        return minute + timedelta(seconds=seconds, microseconds=_microseconds(match["fraction"]))
    except (ValueError, OverflowError):
        text = f"{quoted} is a time that does not exist; expected one such as {_EXAMPLE}"
        raise ValueError(text) from None


def _microseconds(fraction: str | None) -> int:
    """The digits of a fraction of a second, rounded like msgspec rounds those of messages."""
    digits = f"{fraction or '':0<7}"
    return int(digits[:6]) + (digits[6] >= "5")


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The wait that a ``Retry-After`` header asks for, in seconds; ``None`` without a valid one.

    At most a day, so that a wrong header cannot end a source for good. A date that has passed asks
    for no wait: it says only that the two clocks differ.

    Args:
        header: seconds, or a date of HTTP (RFC 9110, 5.6.7).
        now: the time that a date is compared with.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
        if at.tzinfo is None:  # "-0000": a server that does not know its zone (RFC 5322, 3.3)
            at = at.replace(tzinfo=UTC)
        wait_s = (at - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(wait_s, MAX_RETRY_AFTER_S) if wait_s > 0 else None
