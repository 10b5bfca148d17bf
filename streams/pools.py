"""Pools: how each one is doing, the shape of ``/api/v1/pools``. Pure."""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from miningmap.pool_names import pool_name
from streams.answers import KindSplit
from streams.shares import Kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.cells import Series
    from streams.shares import Cohort, Member
    from streams.store import LastReport

State: TypeAlias = Literal["live", "stale", "thin", "off"]


class SourceState(msgspec.Struct, frozen=True):
    """What one source of a pool said last, and whether it was simulated."""

    source: str
    last_report: datetime
    simulated: bool


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """One pool. Hashrates in H/s; unknown is null.

    ``live``: it counts. ``thin``: it has too few minutes to count. ``stale``: it had some before.
    ``off``: nothing of it is kept but that it was there once.
    """

    pool: str
    name: str
    state: State
    reason: str | None
    source: str | None
    last_report: datetime
    hashrate: float | None
    located: float | None
    kinds: KindSplit | None
    simulated: bool
    sources: tuple[SourceState, ...]


class PoolList(msgspec.Struct, frozen=True):
    """Every pool that was ever heard of, by hashrate, then name."""

    pools: tuple[PoolState, ...]


_REASONS: Final[dict[State, str]] = {
    "thin": "too few minutes in the window to count",
    "stale": "no report covers the window",
    "off": "no report for more than 30 days",
}


def pool_list(last: Mapping[Series, LastReport], now: Cohort, month: Cohort) -> PoolList:
    """How each pool is doing.

    A pool that reports by the minute is judged by the window ``now``; one that only sends whole
    days by ``30d``.

    Args:
        last: by series, what was heard last.
        now: the cohort of ``now``.
        month: the cohort of ``30d``.
    """
    by_pool: dict[str, list[SourceState]] = {}
    for series, report in last.items():
        if series.pool is not None:
            source = SourceState(series.source, report.end, report.simulated)
            by_pool.setdefault(series.pool, []).append(source)
    pools = [_pool(pool, sources, now, month) for pool, sources in by_pool.items()]
    return PoolList(tuple(sorted(pools, key=lambda p: (-(p.hashrate or 0.0), p.pool))))


def _pool(pool: str, sources: list[SourceState], now: Cohort, month: Cohort) -> PoolState:
    by_minute = pool in now.excluded or _member(pool, now) is not None
    member = _member(pool, now if by_minute else month)
    state: State = "live"
    if member is None:
        excluded = (now if by_minute else month).excluded.get(pool)
        gone = _member(pool, month) is None and month.excluded.get(pool, "stale") == "stale"
        state = "off" if gone else "thin" if excluded == "thin" else "stale"
    kinds = None
    if member is not None:
        kinds = KindSplit(*reduce(Kinds.plus, member.by_country.values(), Kinds()))
    return PoolState(
        pool=pool,
        name=pool_name(pool),
        state=state,
        reason=_REASONS.get(state),
        source=member.source if member else None,
        last_report=max(source.last_report for source in sources),
        hashrate=member.total if member else None,
        located=member.located if member else None,
        kinds=kinds,
        simulated=any(source.simulated for source in sources),
        sources=tuple(sorted(sources, key=lambda source: source.source)),
    )


def _member(pool: str, cohort: Cohort) -> Member | None:
    return next((member for member in cohort.members if member.pool == pool), None)
