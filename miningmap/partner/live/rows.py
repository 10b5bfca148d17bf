"""Live rows from lists of miners: what a pool's hashrate is now, and how much of it is where. Pure.

A live row has the pool's whole hashrate, so that what could not be located is in it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from miningmap.times import MINUTE_S, bucket, bucket_start, rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.partner.aggregate import Aggregate, Places

SHORTEST_HOLD_S: Final = 5 * MINUTE_S
"""How long a row stands in for the next one at least: several rows may be late."""
_DIGITS: Final = 12


class Interval(NamedTuple):
    """Whole minutes ``[start, end)``."""

    start: datetime
    end: datetime


def last_interval(at: datetime, every_s: int) -> Interval:
    """Return the last whole interval before a time; they are counted from the Unix epoch."""
    number = bucket(at, every_s)
    return Interval(bucket_start(number - 1, every_s), bucket_start(number, every_s))


def live_row(found: Aggregate, shown: Places, interval: Interval) -> bytes:
    """Return a live row as a line of JSON, without the newline.

    Args:
        found: all miners of a list.
        shown: those places of it that the row may name.
        interval: the row's.
    """
    every_s = int((interval.end - interval.start).total_seconds())
    row = {
        "start": rfc3339(interval.start),
        "end": rfc3339(interval.end),
        "hold_s": max(SHORTEST_HOLD_S, 2 * every_s),
        "hashrate": _rounded(total_of(found)),
        "places": [
            {"code": code, "hashrate": _rounded(tally.hashrate)}
            for code, tally in sorted(shown.items())
        ],
    }
    return msgspec.json.encode(row)


def total_of(found: Aggregate) -> float:
    """Return the hashrate of all miners in H/s, wherever they are."""
    located = sum(tally.hashrate for tally in found.located.values())
    return located + found.unlocated.hashrate


def _rounded(hashrate: float) -> float:
    """Round as rows for other periods are: the sum stays within the tolerance of messages."""
    return float(f"{hashrate:.{_DIGITS}g}")
