"""Pools: the state of each pool, for ``/api/v1/pools``. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeAlias, get_args

from msgspec import Meta

from miningmap.api.models import Gap, KindSplit, PoolList, PoolState, SourceState, State
from miningmap.messages import BASES
from miningmap.pool_names import pool_name
from miningmap.times import DAY_MIN
from streams.method.cohort import representative_source
from streams.method.shares import kinds_of
from streams.queries.parameters import Parameters, one_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from miningmap.api.models import Refusal
    from miningmap.messages import Basis
    from streams.method.cells import Series
    from streams.method.cohort import Member
    from streams.method.observations import Observation
    from streams.method.placing import Placement
    from streams.method.shares import HashrateByKind
    from streams.redis.loaded_cells import LastReport

    Pools: TypeAlias = Mapping[str, Mapping[str, Observation]]


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """The facts from which the states of the pools are derived.

    Attributes:
        last: the last report of each series.
        now: the placed cohort of the window ``now``.
        month: the placed cohort of the window ``30d``.
        observed_now: the observations in the window ``now``, by pool and source.
        observed_day: the observations in the window ``24h``, by pool and source.
        observed_month: the observations in the window ``30d``, by pool and source.
        rejected: the newest rejected reading of each pool.
        damaged: the series that cannot be read, and are left out of all else here.
    """

    last: Mapping[Series, LastReport]
    now: Placement
    month: Placement
    observed_now: Pools
    observed_day: Pools
    observed_month: Pools
    rejected: Mapping[str, Refusal]
    damaged: Mapping[Series, str] = field(default_factory=dict)


DAMAGED: Final = "left out, because its data in Redis is damaged (run miningmap rebuild):"
"""What the reason of a pool with a damaged source begins with; the sources follow."""
_NOTHING_USED: Final = "nothing that was said of it could be used"
_REASONS: Final[dict[State, str]] = {
    "thin": "too few minutes in the window to count",
    "stale": "no report covers the window",
    "off": "no report for more than 30 days",
}
# A pool that reports whole days is off up to a day before its last report is that old.
_OFF_AFTER: Final = timedelta(days=29)


class PoolsParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/pools``."""

    state: Annotated[
        str | None,
        one_of(get_args(State)),
        Meta(
            description="The state of the pools. Without it, all are listed but those that are "
            "`off`: they have not reported for 30 days. Their past is still in histories."
        ),
    ] = None


def pool_list(facts: PoolFacts) -> PoolList:
    """Return the state of each pool that is not off, the one with most hashrate first.

    Pools that reported once, or were made up, would otherwise be listed for ever. One of which a
    reading was rejected is listed nevertheless.

    The state of a pool that reports minutes follows from the window ``now``, that of a pool which
    reports only whole days from ``30d``.
    """
    damaged = {series.pool for series in facts.damaged if series.pool is not None}
    by_pool: dict[str, list[SourceState]] = {pool: [] for pool in {*facts.rejected, *damaged}}
    for series, report in facts.last.items():
        if series.pool is not None:
            source = SourceState(
                series.source,
                report.end,
                report.simulated,
                _mean(facts.observed_now, series.pool, series.source),
                _basis(facts, series.pool, series.source),
                report.blocks,
            )
            by_pool.setdefault(series.pool, []).append(source)
    now, month = _by_slug(facts.now), _by_slug(facts.month)
    pools = [_pool(pool, sources, facts, now, month) for pool, sources in by_pool.items()]
    shown = [pool for pool in pools if pool.reason != _REASONS["off"] or pool.refused]
    return PoolList(tuple(sorted(shown, key=lambda p: (-(p.hashrate or 0.0), p.pool))))


def off_pools(
    last: Mapping[Series, LastReport], listed: Iterable[PoolState], now: datetime
) -> PoolList:
    """Return the pools that are off, by name.

    Args:
        last: the last report of each series.
        listed: the pools of the snapshot: those that are not off.
        now: UTC.
    """
    others = {pool.pool for pool in listed}
    sources: dict[str, list[SourceState]] = {}
    for series, report in last.items():
        if series.pool is not None and series.pool not in others:
            source = SourceState(
                series.source, report.end, report.simulated, None, None, report.blocks
            )
            sources.setdefault(series.pool, []).append(source)
    pools = (_off(pool, of_pool) for pool, of_pool in sorted(sources.items()))
    # Those that began to report after the snapshot are not listed in it either.
    return PoolList(tuple(pool for pool in pools if _is_old(pool, now)))


def _is_old(pool: PoolState, now: datetime) -> bool:
    return pool.last_report is not None and now - pool.last_report > _OFF_AFTER


def _off(pool: str, sources: Sequence[SourceState]) -> PoolState:
    return PoolState(
        pool=pool,
        name=pool_name(pool),
        state="off",
        reason=_REASONS["off"],
        source=None,
        basis=None,
        last_report=max(source.last_report for source in sources),
        hashrate=None,
        located=None,
        kinds=None,
        gap=None,
        refused=None,
        blocks=None,
        simulated=any(source.simulated for source in sources),
        sources=tuple(sorted(sources, key=lambda source: source.source)),
    )


class _Placed(NamedTuple):
    """A pool of a placed cohort, and what is located of it."""

    member: Member
    kinds: HashrateByKind


def _pool(
    pool: str,
    sources: list[SourceState],
    facts: PoolFacts,
    now: Mapping[str, _Placed],
    month: Mapping[str, _Placed],
) -> PoolState:
    reports_minutes = pool in facts.now.cohort.excluded or pool in now
    excluded = (facts.now if reports_minutes else facts.month).cohort.excluded
    placed = (now if reports_minutes else month).get(pool)
    state: State = "live"
    if placed is None:
        is_off = pool not in month and (facts.month.cohort.excluded.get(pool, "stale") == "stale")
        state = "off" if is_off else "thin" if excluded.get(pool) == "thin" else "stale"
    by_name = {source.source: source for source in sources}
    representative = by_name.get(placed.member.source) if placed else None
    return PoolState(
        pool=pool,
        name=pool_name(pool),
        state=state,
        reason=_damage(pool, facts) or (_REASONS.get(state) if sources else _NOTHING_USED),
        source=representative.source if representative else None,
        basis=representative.basis if representative else None,
        last_report=max((source.last_report for source in sources), default=None),
        hashrate=placed.member.reported_total if placed else None,
        # The places of a message may exceed its total by a rounding error.
        located=min(sum(placed.kinds), placed.member.reported_total) if placed else None,
        kinds=KindSplit(*placed.kinds) if placed else None,
        gap=_gap(pool, sources, facts.observed_day),
        refused=facts.rejected.get(pool),
        blocks=representative.blocks if representative else None,
        simulated=any(source.simulated for source in sources),
        sources=tuple(sorted(sources, key=lambda source: source.source)),
    )


def _damage(pool: str, facts: PoolFacts) -> str | None:
    """Return what is said of a pool of which a source is left out because it is damaged."""
    sources = sorted(series.source for series in facts.damaged if series.pool == pool)
    return f"{DAMAGED} {', '.join(sources)}" if sources else None


def _gap(pool: str, sources: Sequence[SourceState], observed_day: Pools) -> Gap | None:
    """Return the gap between the hashrate that a pool reports and the one that its blocks imply.

    The most certain figures are compared: the source with the most blocks, and the representative
    one of those through which the pool itself reports. ``None`` if one of the two is missing.
    """
    counted = [source for source in sources if source.blocks and source.hashrate]
    mined = min(counted, key=lambda s: (-(s.blocks or 0), s.source), default=None)
    if mined is None or not mined.blocks or not mined.hashrate:
        return None
    reporting = {
        source: observed
        for source, observed in observed_day.get(pool, {}).items()
        if BASES[observed.window_sum.basis] == "reported"
    }
    reporter = representative_source(reporting, DAY_MIN)
    if reporter is None:
        return None
    day = reporting[reporter].window_sum
    reported = day.total / day.minutes
    return Gap(
        reported=reported,
        reported_by=reporter,
        mined=mined.hashrate,
        mined_by=mined.source,
        blocks=mined.blocks,
        ratio=reported / mined.hashrate - 1,
        error=1 / math.sqrt(mined.blocks),
    )


def _basis(facts: PoolFacts, pool: str, source: str) -> Basis | None:
    """Return the basis of a source in the newest window in which it has reports."""
    for observed in (facts.observed_now, facts.observed_day, facts.observed_month):
        cell = observed[pool][source].window_sum
        if cell.minutes:
            return BASES[cell.basis]
    return None


def _mean(observed: Pools, pool: str, source: str) -> float | None:
    cell = observed[pool][source].window_sum
    return cell.total / cell.minutes if cell.minutes else None


def _by_slug(placement: Placement) -> dict[str, _Placed]:
    members = placement.cohort.members
    return dict(zip(members, map(_Placed, members.values(), kinds_of(placement)), strict=True))
