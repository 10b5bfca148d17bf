"""How much one message may claim, so that a small message does not fill Redis. Pure.

Each minute or hour that a message claims becomes a cell with all of its places, so a report of a
few hundred kilobytes can ask for hundreds of megabytes. What a message asks for is counted in
*values*: its total and each of its places, once for each minute or hour. A value takes about 20
bytes of Redis and a fifth of a microsecond of its time (docs/performance.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from miningmap.messages import Report
from miningmap.retention import kept_buckets
from miningmap.times import HOUR_S

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.messages import Message
    from miningmap.retention import Horizon

MAX_PLACES: Final = 2000
"""The most places of a message, a place of two kinds counted twice: every country, and on average
seven subdivisions of each. The sixty minutes of an hour are added up in one step of Redis, which no
other client may have to wait for longer than a blink."""
MAX_VALUES: Final = 1_000_000
"""The most values of a message, some 20 MB of Redis. A month of hours may have 1,343 places, a
minute that is held for two hours 2,000. The largest honest message that is known, a month with
every country, Chinese province and US state, has a quarter of it."""


def values_of(message: Message, horizon: Horizon | None = None) -> int:
    """Return how many values a message claims.

    Args:
        message: any.
        horizon: the oldest cells that are kept; without it, as if all were. Limits are judged
            without, so that the same message is always judged in the same way.

    Raises:
        TooLateError: none of the cells that the message could claim is kept any more.
    """
    return _values(values_in_bucket(message), message.start, message.end, message.hold_s, horizon)


def values_in_bucket(message: Message) -> int:
    """Return how many values a message claims in each minute or hour: its total and its places."""
    return 1 + _number_of_places(message)


def _number_of_places(message: Message) -> int:
    return len(message.places) if isinstance(message, Report) else 0


def excess(message: Message) -> str | None:
    """Return why a message claims too much, in words for people; ``None`` if it does not."""
    return excess_of(_number_of_places(message), message.start, message.end, message.hold_s)


def excess_of(places: int, start: datetime, end: datetime, hold_s: int = 0) -> str | None:
    """Return why a report of so many places over ``[start, end)`` would claim too much.

    Args:
        places: how many.
        start: UTC.
        end: UTC.
        hold_s: in seconds.
    """
    if places > MAX_PLACES:
        return f"{places:,} places; a report has at most {MAX_PLACES:,}"
    values = _values(places + 1, start, end, hold_s)
    if values <= MAX_VALUES:
        return None
    is_short = (end - start).total_seconds() < HOUR_S
    times = f"{values // (places + 1):,} {'minutes' if is_short else 'hours'}"
    remedy = "a shorter hold" if is_short else "shorter periods"
    return (
        f"a total and {places:,} places in {times} are {values:,} values; a report has at most "
        f"{MAX_VALUES:,}: send fewer places or {remedy}"
    )


def _values(
    in_bucket: int, start: datetime, end: datetime, hold_s: int, horizon: Horizon | None = None
) -> int:
    return in_bucket * sum(map(len, kept_buckets(start, end, hold_s, horizon)))
