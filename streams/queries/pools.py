"""Pools: the state of each one, for ``/api/v1/pools``. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final, TypeAlias

from miningmap.api.models import Gap, KindSplit, PoolList, PoolState, SourceState, State
from miningmap.pool_names import pool_name
from miningmap.times import DAY_MIN
from streams.method.placing import Kinds, representative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from miningmap.api.models import Refusal
    from streams.method.cells import Series
    from streams.method.observations import Observation
    from streams.method.placing import Cohort, Member
    from streams.redis.loaded_cells import LastReport

    Pools: TypeAlias = Mapping[str, Mapping[str, Observation]]


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """The facts that the states of the pools follow from.

    Attributes:
        last: by series, its last report.
        now: the cohort of ``now``.
        month: the cohort of ``30d``.
        seen_now: what is known of each source of each pool in the window ``now``.
        seen_day: the same in the window ``24h``.
        rejected: by pool, its newest rejected reading.
    """

    last: Mapping[Series, LastReport]
    now: Cohort
    month: Cohort
    seen_now: Pools
    seen_day: Pools
    rejected: Mapping[str, Refusal]


_REASONS: Final[dict[State, str]] = {
    "thin": "too few minutes in the window to count",
    "stale": "no report covers the window",
    "off": "no report for more than 30 days",
}


def pool_list(facts: PoolFacts) -> PoolList:
    """Return the state of each pool.

    A pool that reports by the minute is judged by the window ``now``, and one that only sends whole
    days by ``30d``.
    """
    by_pool: dict[str, list[SourceState]] = {pool: [] for pool in facts.rejected}
    for series, report in facts.last.items():
        if series.pool is not None:
            source = SourceState(
                series.source,
                report.end,
                report.simulated,
                _mean(facts.seen_now, series.pool, series.source),
                report.blocks,
            )
            by_pool.setdefault(series.pool, []).append(source)
    pools = [_pool(pool, sources, facts) for pool, sources in by_pool.items()]
    return PoolList(tuple(sorted(pools, key=lambda p: (-(p.hashrate or 0.0), p.pool))))


def _pool(pool: str, sources: list[SourceState], facts: PoolFacts) -> PoolState:
    now, month = facts.now, facts.month
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
        reason=_REASONS.get(state) if sources else "nothing that was said of it could be used",
        source=member.source if member else None,
        last_report=max((source.last_report for source in sources), default=None),
        hashrate=member.total if member else None,
        located=member.located if member else None,
        kinds=kinds,
        gap=_gap(pool, sources, facts.seen_day),
        refused=facts.rejected.get(pool),
        simulated=any(source.simulated for source in sources),
        sources=tuple(sorted(sources, key=lambda source: source.source)),
    )


def _gap(pool: str, sources: Sequence[SourceState], seen_day: Pools) -> Gap | None:
    """Return the gap between what a pool reports and what its blocks say, if both are known.

    Compared are the most certain figures: of the sources by blocks the one with the most blocks, of
    the others the representative one.
    """
    counted = [source for source in sources if source.blocks and source.hashrate]
    mined = min(counted, key=lambda s: (-(s.blocks or 0), s.source), default=None)
    reporting = {s.source: seen_day[pool][s.source] for s in sources if s.blocks is None}
    by = representative(reporting, DAY_MIN)
    if by is None or mined is None or not mined.blocks or not mined.hashrate:
        return None
    reported = reporting[by].window.total / reporting[by].window.minutes
    return Gap(
        reported=reported,
        reported_by=by,
        mined=mined.hashrate,
        mined_by=mined.source,
        blocks=mined.blocks,
        ratio=reported / mined.hashrate - 1,
        error=1 / math.sqrt(mined.blocks),
    )


def _mean(seen: Pools, pool: str, source: str) -> float | None:
    window = seen[pool][source].window
    return window.total / window.minutes if window.minutes else None


def _member(pool: str, cohort: Cohort) -> Member | None:
    return next((member for member in cohort.members if member.pool == pool), None)
