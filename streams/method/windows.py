"""Windows: which minutes, hours or days a query covers (method.md 4 and 5). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from miningmap.times import DAY_H, DAY_MIN, DAY_S, HOUR_MIN, HOUR_S, MINUTE_S, bucket, month_days

if TYPE_CHECKING:
    from collections.abc import Callable

Tier: TypeAlias = Literal["minute", "hour", "day"]
"""The length of a cell's bucket."""

TIER_MINUTES: Final[dict[Tier, int]] = {"minute": 1, "hour": HOUR_MIN, "day": DAY_MIN}

ROLLING: Final = ("now", "1h", "24h", "7d", "30d")
PROFILE_DAYS: Final = 30
ALLOWED: Final = f"{', '.join(ROLLING)}, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDTHH"


class WindowError(ValueError):
    """The name of a window is unknown; the text lists the valid ones."""


@dataclass(frozen=True)
class Span:
    """Consecutive buckets of one tier, numbered from the Unix epoch."""

    tier: Tier
    buckets: range

    @property
    def minutes(self) -> int:
        """The number of minutes that the span covers (N in method.md 4)."""
        return len(self.buckets) * TIER_MINUTES[self.tier]


_PER_DAY: Final[dict[Tier, int]] = {"minute": DAY_MIN, "hour": DAY_H, "day": 1}


@dataclass(frozen=True)
class Window:
    """A window at one ``as_of``: the buckets that it covers, and those of its profile."""

    name: str
    span: Span
    profile: Span
    """The days whose measured places locate the remainder of the hashrate in the window."""

    @property
    def day(self) -> int | None:
        """The day of the last minute that the window covers; ``None`` if it covers none."""
        return self.days[-1] if self.days else None

    @property
    def days(self) -> range:
        """The days that the window covers, if only in part."""
        buckets, per_day = self.span.buckets, _PER_DAY[self.span.tier]
        return range(buckets.start // per_day, -(-buckets.stop // per_day)) if buckets else range(0)


def parse_window(name: str, as_of: datetime) -> Window:
    """Return the window ``name`` as seen at ``as_of``.

    Raises:
        WindowError: no window has that name.
    """
    if name in ROLLING:
        return _rolling(name, as_of)
    for pattern, window_of in _CALENDAR:
        if match := pattern.fullmatch(name):
            try:
                return window_of(name, as_of, *map(int, match.groups()))
            except (ValueError, OverflowError):
                break
    raise WindowError(f"unknown window {name[:32]!r}; expected one of: {ALLOWED}")


def _rolling(name: str, as_of: datetime) -> Window:
    minute, hour = bucket(as_of, MINUTE_S), bucket(as_of, HOUR_S)
    spans: dict[str, Span] = {
        "now": Span("minute", range(minute, minute + 1)),
        "1h": Span("minute", range(minute - 60, minute)),
        "24h": Span("hour", range(hour - 24, hour)),
        "7d": Span("hour", range(hour - 168, hour)),
        "30d": Span("hour", range(hour - 720, hour)),
    }
    return Window(name, spans[name], _days_before(bucket(as_of, DAY_S)))


def _month(name: str, as_of: datetime, year: int, month: int) -> Window:
    days = month_days(year, month)
    past = range(days.start, max(days.start, min(days.stop, bucket(as_of, DAY_S))))
    return Window(name, Span("day", past), Span("day", past))


def _day(name: str, as_of: datetime, year: int, month: int, day: int) -> Window:
    """Return the window of a day; if the day is not over, the window covers its past whole hours.

    A day that is over is read from its own cell, which is kept longer than the cells of its hours.
    """
    number = bucket(datetime(year, month, day, tzinfo=UTC), DAY_S)
    if number < bucket(as_of, DAY_S):
        return Window(name, Span("day", range(number, number + 1)), _days_before(number))
    start = number * DAY_H
    past = range(start, max(start, bucket(as_of, HOUR_S)))
    return Window(name, Span("hour", past), _days_before(number))


def _hour(  # noqa: PLR0917 - the numbers are the groups of the pattern
    name: str, as_of: datetime, year: int, month: int, day: int, hour: int
) -> Window:
    """Return the window of an hour, which covers nothing before the hour is over."""
    at = datetime(year, month, day, hour, tzinfo=UTC)
    number = bucket(at, HOUR_S)
    past = range(number, number + (number < bucket(as_of, HOUR_S)))
    return Window(name, Span("hour", past), _days_before(bucket(at, DAY_S)))


def _days_before(day: int) -> Span:
    return Span("day", range(day - PROFILE_DAYS, day))


_CALENDAR: Final[tuple[tuple[re.Pattern[str], Callable[..., Window]], ...]] = (
    (re.compile(r"([0-9]{4})-([0-9]{2})"), _month),
    (re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"), _day),
    (re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2})"), _hour),
)
