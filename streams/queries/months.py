"""Months: the shares of every calendar month that is over, and the tables published for them."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.cbeci.monthly_tables import FIRST_MONTH, located
from miningmap.times import DAY_S, add_months, bucket, bucket_start
from streams.method.cells import Series
from streams.method.observations import observe, spans_of
from streams.method.windows import parse_window
from streams.queries.pieces import pieces_of
from streams.queries.shares import shares_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from miningmap.messages import Published
    from streams.method.beliefs import Beliefs
    from streams.method.cells import Places
    from streams.method.placing import PlacedPool, Placement
    from streams.method.shares import Share
    from streams.method.windows import Window
    from streams.queries.pieces import Reader, Worker
    from streams.redis.loaded_cells import LoadedCells
    from streams.redis.stored_cells import Tables

MONTHS_PER_READ: Final = 12
"""The number of months that are read and computed together; it limits the cells in memory."""
RELATIVE_TOLERANCE: Final = 1e-9
"""Relative differences between hashrates up to this one are floating-point error."""


class Month(NamedTuple):
    """One calendar month.

    Attributes:
        start: when it began, UTC.
        countries: the shares of countries.
        subdivisions: the shares of subdivisions, by country.
        network: the network's hashrate (H/s), if it is known.
        simulated: whether any of its data is simulated.
        pools: those of its cohort.
        published: the table as it was published, if the cohort consists of it alone, else empty.
    """

    start: datetime
    countries: Sequence[Share]
    subdivisions: Mapping[str, Sequence[Share]]
    network: float | None
    simulated: bool
    pools: tuple[str, ...]
    published: tuple[Published, ...]


async def compute_months(
    read: Reader,
    work: Worker,
    first: LoadedCells,
    tables: Mapping[Series, Tables],
    *,
    now: datetime,
    beliefs: Beliefs,
    split: Sequence[str],
) -> list[Month] | None:
    """Compute every month that is over at ``now`` and has a cohort, in the order of time.

    Args:
        read: reads the cells over some spans.
        work: computes some months elsewhere.
        first: a reading of no cells, before that of the tables.
        tables: all that were published.
        now: UTC.
        beliefs: of all days.
        split: the countries whose subdivisions get shares too.

    Returns:
        ``None`` if other cells took the place of these meanwhile.
    """
    found: list[Month] = []
    windows = months_until(first, now)
    for n, starts in enumerate(pieces_of(list(windows), MONTHS_PER_READ)):
        some = {at: windows[at] for at in starts}
        cells = await read(spans_of(some.values()))
        if cells.generation != first.generation:
            return None
        left = 1 - n * MONTHS_PER_READ / len(windows)
        found += await work(partial(_months, cells, tables, some, beliefs, split), left)
    return found


def months_until(cells: LoadedCells, now: datetime) -> dict[datetime, Window]:
    """Return the window of each month that is over, by its start, from the first value on."""
    return {at: parse_window(f"{at:%Y-%m}", now) for at in _starts(cells, now)}


def _starts(cells: LoadedCells, now: datetime) -> Iterator[datetime]:
    """Yield the start of each month from the first day with a value on, none before Bitcoin."""
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
    split: Sequence[str],
) -> list[Month]:
    months = []
    for start, window in windows.items():
        shares = shares_of(window, observe(cells, window), beliefs)
        cohort = shares.placement.cohort
        if cohort.members:
            month = Month(
                start=start,
                countries=shares.countries(),
                subdivisions={code: shares.subdivisions(code) for code in split},
                network=cohort.network,
                simulated=cohort.simulated,
                pools=tuple(cohort.members),
                published=_published(start, shares.placement, tables),
            )
            months.append(month)
    return months


def _published(
    start: datetime, placement: Placement, tables: Mapping[Series, Tables]
) -> tuple[Published, ...]:
    """Return the table that the cohort consists of, empty if it does not consist of one.

    If there is another pool in the cohort, a rule was applied, or some of the days were replaced,
    the figures are no longer those of the table.
    """
    if len(placement.pools) != 1:
        return ()
    (pool,) = placement.pools
    series = Series(pool.member.pool, pool.member.source)
    tables_of_source = tables.get(series, {})
    table = tables_of_source.get(bucket(start, DAY_S), ())
    return table if table and _has_hashrates(pool, located(table)) else ()


def _has_hashrates(pool: PlacedPool, hashrates: Mapping[str, float]) -> bool:
    expected: Places = {(code, "measured"): hashrate for code, hashrate in hashrates.items()}
    return pool.places.keys() == expected.keys() and all(
        math.isclose(hashrate, expected[place], rel_tol=RELATIVE_TOLERANCE)
        for place, hashrate in pool.places.items()
    )
