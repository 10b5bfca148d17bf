"""Months: the shares of every calendar month that is over, and the tables published for them."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.cbeci.monthly_tables import FIRST_MONTH, located
from miningmap.times import DAY_S, add_months, bucket, bucket_start
from streams.method import placing, shares
from streams.method.cells import Series
from streams.method.observations import observe, spans_of
from streams.method.windows import parse_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from miningmap.messages import Published
    from streams.method.cells import Places
    from streams.method.placing import Beliefs, Cohort, Member
    from streams.method.shares import Share
    from streams.method.windows import Window
    from streams.redis.loaded_cells import LoadedCells
    from streams.redis.store import Store, Tables

AT_ONCE: Final = 12
"""How many months are read and computed together, which bounds the cells in memory."""
SAME: Final = 1e-9
"""Hashrates that differ by a smaller part of themselves differ by floating-point error only."""


class Month(NamedTuple):
    """One month: when it began, its shares, the network's hashrate (H/s), and a table.

    ``inside`` has the shares of subdivisions, by country. ``published`` is the table as it was
    printed, if the cohort consists of nothing else; otherwise it is empty.
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
    """Return every month that is over at ``now`` and has a cohort, in the order of time.

    Args:
        store: the cells and tables.
        now: UTC.
        beliefs: priors and rules.
        inside: the countries whose subdivisions get shares too.
    """
    tables = await store.published()
    starts = list(_starts(await store.read([]), now))
    found: list[Month] = []
    for n in range(0, len(starts), AT_ONCE):
        windows = {at: parse_window(f"{at:%Y-%m}", now) for at in starts[n : n + AT_ONCE]}
        cells = await store.read(spans_of(windows.values()))
        # Arithmetic over a year of days would block the event loop.
        found += await asyncio.to_thread(_months, cells, tables, windows, beliefs, inside)
    return found


def _starts(cells: LoadedCells, now: datetime) -> Iterator[datetime]:
    """Yield the starts of the months from the first known day on, none before Bitcoin."""
    days = [day for series in cells.series() if (day := cells.first(series, "day")) is not None]
    if not days:
        return
    first = max(min(days), bucket(FIRST_MONTH, DAY_S))
    at = bucket_start(first, DAY_S).replace(day=1)
    while (following := add_months(at, 1)) <= now:
        yield at
        at = following


def _months(
    cells: LoadedCells,
    tables: Mapping[Series, Tables],
    windows: Mapping[datetime, Window],
    beliefs: Beliefs,
    inside: Sequence[str],
) -> list[Month]:
    months = []
    for start, window in windows.items():
        cohort = placing.cohort_of(*observe(cells, window), window.span.minutes, beliefs)
        if cohort.members:
            split = {country: shares.subdivision_shares(cohort, country) for country in inside}
            table = _published(start, cohort, tables)
            every = shares.country_shares(cohort)
            months.append(Month(start, every, split, cohort.network, cohort.simulated, table))
    return months


def _published(
    start: datetime, cohort: Cohort, tables: Mapping[Series, Tables]
) -> tuple[Published, ...]:
    """Return the table that the cohort consists of, empty if it does not consist of one.

    With another pool in the cohort, a rule applied to it, or some of its days replaced, its figures
    are no longer those of the table.
    """
    if len(cohort.members) != 1:
        return ()
    (member,) = cohort.members
    own = tables.get(Series(member.pool, member.source), {})
    table = own.get(bucket(start, DAY_S), ())
    return table if table and _has_figures(member, located(table)) else ()


def _has_figures(member: Member, hashrates: Mapping[str, float]) -> bool:
    wanted: Places = {(code, "measured"): hashrate for code, hashrate in hashrates.items()}
    return member.places.keys() == wanted.keys() and all(
        math.isclose(hashrate, wanted[place], rel_tol=SAME)
        for place, hashrate in member.places.items()
    )
