"""Which hashes of minutes and hours no message can change any more, and are removed. Pure.

Redis does not expire them by its clock: a roll-up needs all minutes of its hour and all hours of
its day, and a message can be processed long after it was written, when ``streams`` was away or
Redis is filled anew. So they are removed by the time of the messages that are processed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.retention import horizon

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.settings import Retention
    from streams.method.cells import Series
    from streams.redis.keys import Generation

OLDEST_MINUTES: Final = "oldest:minutes"
"""The field of the meta data with the oldest hour of which there may be a hash of minutes."""
OLDEST_HOURS: Final = "oldest:hours"
"""The field of the meta data with the oldest day of which there may be a hash of hours."""

_SPARE_HOURS: Final = 2
_SPARE_DAYS: Final = 1
# More are removed with later messages: one command cannot name any number of keys.
_MOST: Final = 1000


class Oldest(NamedTuple):
    """The oldest hashes of a series that there may be; ``None`` if there are none."""

    minutes: int | None
    hours: int | None


class Expired(NamedTuple):
    """What is removed of a series: the keys, and the new values of the fields of its meta data."""

    keys: list[str]
    fields: dict[str, int]


def first_kept(retention: Retention, at: datetime) -> Oldest:
    """Return the oldest hour and day whose hashes a message of ``at`` or later can change.

    Messages are not quite in the order of their times, so a little more is kept.
    """
    kept = horizon(retention, at)
    return Oldest(kept.minutes_from_hour - _SPARE_HOURS, kept.hours_from_day - _SPARE_DAYS)


def expired(generation: Generation, series: Series, oldest: Oldest, kept: Oldest) -> Expired | None:
    """Return what is to be removed of a series; ``None`` if nothing is.

    Args:
        generation: names the keys.
        series: whose hashes these are.
        oldest: the first hashes that there may be.
        kept: the first ones that are kept.
    """
    minutes = _before(oldest.minutes, kept.minutes)
    hours = _before(oldest.hours, kept.hours)
    if not minutes and not hours:
        return None
    names = [
        *(generation.minutes(series, hour) for hour in minutes),
        *(generation.hours(series, day) for day in hours),
    ]
    fields = {}
    if minutes:
        fields[OLDEST_MINUTES] = minutes.stop
    if hours:
        fields[OLDEST_HOURS] = hours.stop
    return Expired(names, fields)


def _before(oldest: int | None, kept: int | None) -> range:
    if oldest is None or kept is None:
        return range(0)
    return range(oldest, min(kept, oldest + _MOST))
