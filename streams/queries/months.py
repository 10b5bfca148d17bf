"""Calendar months that are over: their shares, and the tables that they were published as."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.cbeci.monthly_tables import FIRST_MONTH, located
from miningmap.times import DAY_S, add_months, bucket, bucket_start
from streams.method import shares
from streams.method.cells import Series
from streams.method.observations import observe, spans_of
from streams.method.windows import parse_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from miningmap.messages import Published
    from streams.method.cells import Places
    from streams.method.shares import Beliefs, Cohort, Member, Share
    from streams.method.windows import Window
    from streams.redis.store import Sheet, Store, Tables

AT_ONCE: Final = 12
"""Months that are read, and computed, in one go: their cells are in memory together."""
SAME: Final = 1e-9
"""Hashrates that differ by a smaller part of themselves differ by the rounding of sums."""


class Month(NamedTuple):
    """One month: when it began, its shares, the network's hashrate (H/s), and a table.

    ``inside`` has the shares of subdivisions, by country. ``published`` is the table as it was
    printed, where the cohort is nothing but that; else empty.
    """

    start: datetime
    countries: Sequence[Share]
    inside: Mapping[str, Sequence[Share]]
    network: float | None
    simulated: bool
    published: tuple[Published, ...]


async def ask_months(
    store: Store, now: datetime, beliefs: Beliefs, inside: Sequence[str]
) -> list[Month]:
    """Every month that is over at ``now`` and in which somebody counts, in the order of time.

    Args:
        store: the cells and tables.
        now: UTC.
        beliefs: priors and rules.
        inside: the countries of whose subdivisions the shares are wanted.
    """
    tables = await store.published()
    starts = list(_starts(await store.read([]), now))
    found: list[Month] = []
    for n in range(0, len(starts), AT_ONCE):
        windows = {at: parse_window(f"{at:%Y-%m}", now) for at in starts[n : n + AT_ONCE]}
        sheet = await store.read(spans_of(windows.values()))
        # Not on the event loop: it is arithmetic over a year of days.
        found += await asyncio.to_thread(_months, sheet, tables, windows, beliefs, inside)
    return found


def _starts(known: Sheet, now: datetime) -> Iterator[datetime]:
    """The months from the first day of which anything is known; none before Bitcoin."""
    days = [day for series in known.series() if (day := known.first(series, "day")) is not None]
    if not days:
        return
    first = max(min(days), bucket(FIRST_MONTH, DAY_S))
    at = bucket_start(first, DAY_S).replace(day=1)
    while (following := add_months(at, 1)) <= now:
        yield at
        at = following


def _months(
    sheet: Sheet,
    tables: Mapping[Series, Tables],
    windows: Mapping[datetime, Window],
    beliefs: Beliefs,
    inside: Sequence[str],
) -> list[Month]:
    months = []
    for start, window in windows.items():
        cohort = shares.cohort_of(*observe(sheet, window), window.span.minutes, beliefs)
        if cohort.members:
            split = {country: shares.subdivision_shares(cohort, country) for country in inside}
            table = _published(start, cohort, tables)
            every = shares.country_shares(cohort)
            months.append(Month(start, every, split, cohort.network, cohort.simulated, table))
    return months


def _published(
    start: datetime, cohort: Cohort, tables: Mapping[Series, Tables]
) -> tuple[Published, ...]:
    """The table that the cohort is.

    With another pool in it, a rule applied to it, or some of its days replaced, the cohort says
    something else than the table does.
    """
    if len(cohort.members) != 1:
        return ()
    (member,) = cohort.members
    own = tables.get(Series(member.pool, member.source), {})
    table = own.get(bucket(start, DAY_S), ())
    return table if table and _says(member, located(table)) else ()


def _says(member: Member, hashrates: Mapping[str, float]) -> bool:
    wanted: Places = {(code, "measured"): hashrate for code, hashrate in hashrates.items()}
    return member.places.keys() == wanted.keys() and all(
        math.isclose(hashrate, wanted[place], rel_tol=SAME)
        for place, hashrate in member.places.items()
    )
