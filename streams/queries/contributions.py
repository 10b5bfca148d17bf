"""Contributions: the pools that a place's share is made of, also against another window. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from msgspec import Meta

from miningmap.api.models import Contributions, KindSplit, PoolContribution, WindowShare
from miningmap.places import name_of
from miningmap.pool_names import pool_name
from streams.method.observations import observe
from streams.method.shares import HashrateByKind, in_order, kinds_at
from streams.method.windows import parse_window
from streams.queries.parameters import (
    DEFAULT_PRIOR,
    DEFAULT_WINDOW,
    WINDOW,
    AdjustParameter,
    AsOfParameter,
    Parameters,
    PriorParameter,
    WindowParameter,
)
from streams.queries.place_selection import ONE_PLACE, PLACE, parent_of
from streams.queries.shares import rows_of, shares_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from miningmap.api.models import Adjust
    from streams.method.beliefs import Beliefs, Ratio
    from streams.method.observations import CellReader
    from streams.method.placing import Placement
    from streams.method.shares import Share
    from streams.method.windows import Window


@dataclass(frozen=True, kw_only=True)
class ContributionsQuery:
    """A query for what pools contribute to a place's share; ``against`` is the other window."""

    code: str
    window: Window
    against: Window | None = None
    as_of: datetime
    adjust: Adjust = "published"
    prior: str = DEFAULT_PRIOR

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows that the query is about."""
        return (self.window,) if self.against is None else (self.window, self.against)


class ContributionsParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/contributions``."""

    code: Annotated[str, PLACE, Meta(description=ONE_PLACE, examples=["US", "CN-SC"])]
    window: WindowParameter = DEFAULT_WINDOW
    against: Annotated[
        str | None,
        WINDOW,
        Meta(
            description="Another window, with which the contributions are compared: any that "
            "`window` can be. If left out, there is no comparison.",
            examples=["30d", "2026-10"],
        ),
    ] = None
    adjust: AdjustParameter = "published"
    prior: PriorParameter = DEFAULT_PRIOR
    as_of: AsOfParameter = None

    def query(self, now: datetime) -> ContributionsQuery:
        """Return the query at ``now`` (UTC)."""
        # In whole minutes: a response that has not changed keeps its ETag for that long.
        as_of = self.as_of or now.replace(second=0, microsecond=0)
        return ContributionsQuery(
            code=self.code,
            window=parse_window(self.window, as_of),
            against=None if self.against is None else parse_window(self.against, as_of),
            as_of=as_of,
            adjust=self.adjust,
            prior=self.prior,
        )


def contributions(cells: CellReader, query: ContributionsQuery, beliefs: Beliefs) -> Contributions:
    """Return what each pool contributes to the share of a place, from cells that were read."""
    found, *others = [_in_window(cells, window, query, beliefs) for window in query.windows]
    other = others[0] if others else None
    return Contributions(
        code=query.code,
        name=name_of(query.code),
        window=query.window.name,
        as_of=query.as_of,
        adjust=query.adjust,
        prior=query.prior,
        simulated=any(each.simulated for each in (found, *others)),
        share=found.share,
        against=other and WindowShare(other.window, other.share),
        delta=_difference(found.share, other and other.share),
        pools=_rows(found, other),
    )


class _Contribution(NamedTuple):
    """A pool's part of the place's share, and its hashrate there."""

    share: Ratio
    kinds: HashrateByKind


_NONE: Final = _Contribution(0.0, HashrateByKind())


class _PlaceInWindow(NamedTuple):
    """The place in one window.

    Attributes:
        window: the name of the window.
        share: the share of the place; ``None`` if it is not listed.
        contributions: those of the pools that have hashrate there; empty if it is not listed.
        sources: the sources that represent the pools of the cohort.
        simulated: whether any figure of the cohort is simulated.
    """

    window: str
    share: Ratio | None
    contributions: Mapping[str, _Contribution]
    sources: Mapping[str, str]
    simulated: bool

    def of(self, pool: str) -> _Contribution:
        """Return what a pool contributes: nothing, if it is not in the cohort or not there."""
        return self.contributions.get(pool, _NONE)


def _in_window(
    cells: CellReader, window: Window, query: ContributionsQuery, beliefs: Beliefs
) -> _PlaceInWindow:
    observed = observe(cells, window)
    shares = shares_of(window, observed, beliefs, adjust=query.adjust, prior=query.prior)
    rows = rows_of(shares, parent_of(query.code))
    row = next((row for row in rows if row.code == query.code), None)
    cohort = shares.placement.cohort
    return _PlaceInWindow(
        window=window.name,
        share=None if row is None else row.share,
        contributions=_divided(row, shares.placement) if row is not None else {},
        sources={pool: member.source for pool, member in cohort.members.items()},
        simulated=cohort.simulated,
    )


def _divided(row: Share, placement: Placement) -> dict[str, _Contribution]:
    """Return the share of a place, divided between pools in proportion to their hashrate there."""
    at_place = {pool.member.pool: kinds_at(pool, row.code) for pool in placement.pools}
    return {
        pool: _Contribution(row.share * (sum(kinds) / sum(row.kinds)), kinds)
        for pool, kinds in at_place.items()
        if sum(kinds) > 0
    }


def _rows(found: _PlaceInWindow, other: _PlaceInWindow | None) -> tuple[PoolContribution, ...]:
    if found.share is None:
        return ()
    pools = found.contributions.keys() | (other.contributions.keys() if other else set())
    rows = [_row(pool, found, other) for pool in pools]
    return tuple(in_order(rows, lambda row: row.share, lambda row: row.pool))


def _row(pool: str, found: _PlaceInWindow, other: _PlaceInWindow | None) -> PoolContribution:
    share, kinds = found.of(pool)
    share_against = None
    if other is not None and other.share is not None:
        share_against = other.of(pool).share
    return PoolContribution(
        pool=pool,
        name=pool_name(pool),
        source=found.sources.get(pool),
        share=share,
        share_against=share_against,
        delta=_difference(share, share_against),
        kinds=KindSplit(*kinds),
    )


def _difference(share: Ratio | None, other: Ratio | None) -> Ratio | None:
    return None if share is None or other is None else share - other
