"""The cohort: which pools count in a window, by which source (method.md 4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from miningmap.messages import KINDS
from streams.method.beliefs import Hashrate
from streams.method.tables import NO_ROWS, NUMBER_OF_KIND, Rows, floats, sum_by, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.method.beliefs import Beliefs, Ratio, Rule
    from streams.method.cells import Cell, Places
    from streams.method.observations import Observation, Observations, ObservedPools
    from streams.method.tables import Table

MIN_COVERED_RATIO: Final[Ratio] = 0.5
"""An eligible source has values for at least this fraction of a window's minutes."""

SAME: Final[Ratio] = 1e-9
"""Numbers that differ by less than this fraction count as equal in every order and comparison: so
much the order of additions can change."""

MIN_PROFILE_RATIO: Final[Ratio] = 0.2
"""A profile locates at least this fraction of the total of its source: a site or two say nothing of
the rest."""


class Member(msgspec.Struct, frozen=True, dict=True):
    """A pool that counts in the window, as its source reports it. Hashrates are means, in H/s.

    Attributes:
        pool: its slug.
        source: the source that represents it.
        reported_total: its total, parts included.
        total: its total without the pools of the cohort that are part of it.
        located: what its reports locate.
        profile: the places measured over the profile days; empty without a usable profile.
        growth: its total over the profile days by that in the window, by the same source; 1 if
            there is none.
        parts: the slugs of the pools of the cohort that are part of it, theirs included.
        simulated: whether a value of it, or of a source that could have represented it, is.
    """

    pool: str
    source: str
    reported_total: Hashrate
    total: Hashrate
    located: Rows
    profile: Rows = NO_ROWS
    growth: float = 1.0
    parts: frozenset[str] = frozenset()
    simulated: bool = False

    @cached_property
    def by_profile(self) -> dict[tuple[Rule, ...], Rows]:
        """What its profile places of it, by the rules that were applied, if that is kept."""
        return {}

    @cached_property
    def places(self) -> Places:
        """What its reports locate, by place and kind."""
        return self.located.by_place()


@dataclass(frozen=True)
class Cohort:
    """The pools that count in a window, and the network's hashrate.

    Attributes:
        members: by slug, in alphabetical order.
        excluded: the reason, ``thin`` or ``stale``, for each pool that does not count.
        network: its hashrate in the window; ``None`` without an eligible source.
        network_source: the source of ``network``.
        usual_network: its hashrate over the profile days; ``None`` if unknown.
        simulated: whether any of this is.
    """

    members: Mapping[str, Member]
    excluded: Mapping[str, str]
    network: Hashrate | None
    network_source: str | None
    usual_network: Hashrate | None
    simulated: bool


class Earlier(NamedTuple):
    """A cohort that was made before, and the observations that it was made from."""

    observed: ObservedPools
    members: Mapping[str, Member]

    def member(self, pool: str, source: str, sources: Mapping[str, Observation]) -> Member | None:
        """Return a pool as it was, if its observations are still the same and it has no parts."""
        member = self.members.get(pool)
        if member is None or member.source != source or member.parts:
            return None
        return member if self.observed[pool] == sources else None


_NOTHING_EARLIER: Final = Earlier({}, {})


def cohort_of(
    observed: Observations, minutes: int, beliefs: Beliefs, earlier: Earlier = _NOTHING_EARLIER
) -> Cohort:
    """Return the cohort of a window.

    Args:
        observed: the observations of all sources in the window.
        minutes: the number of minutes that the window covers; a window of none has no cohort.
        beliefs: of which only ``part_of`` is used.
        earlier: a cohort by the same beliefs, whose pools are used again where that is right.
    """
    if minutes == 0:
        return Cohort({}, {}, None, None, None, simulated=False)
    chosen, excluded = {}, {}
    for pool, sources in sorted(observed.pools.items()):
        source = representative_source(sources, minutes)
        if source is not None:
            chosen[pool] = source
        elif any(observation.window_sum.minutes for observation in sources.values()):
            excluded[pool] = "thin"
        elif any(observation.seen_before for observation in sources.values()):
            excluded[pool] = "stale"
        # A pool whose first value is after the window is not listed: it has not stopped reporting.
    network = _network_source(observed.network, minutes)
    mean = None if network is None else _mean(observed.network[network].window_sum)
    members = members_of(observed.pools, chosen, beliefs, earlier)
    # A simulated source that is not used counts too, because it took part in the choice.
    simulated = any(member.simulated for member in members.values()) or any(
        observation.simulated for observation in observed.network.values()
    )
    usual = _usual_network(observed.network)
    return Cohort(members, excluded, mean, network, usual, simulated)


# --- which source counts --------------------------------------------------------------------------


def representative_source(sources: Mapping[str, Observation], minutes: int) -> str | None:
    """Return the source that represents a pool, ``None`` if no source is eligible.

    It is the one with the best kind, then the best basis, then most minutes, then the first name.
    """
    eligible = [source for source in sources if is_eligible(sources[source].window_sum, minutes)]
    if len(eligible) == 1:
        return eligible[0]

    def order(source: str) -> tuple[int, int, int, str]:
        cell = sources[source].window_sum
        return _kind_rank(cell), cell.basis, -cell.minutes, source

    return min(eligible, key=order, default=None)


def _network_source(network: Mapping[str, Observation], minutes: int) -> str | None:
    sums = {source: observation.window_sum for source, observation in network.items()}
    eligible = [s for s, cell in sums.items() if is_eligible(cell, minutes) and cell.total > 0]
    return min(eligible, key=lambda s: (-sums[s].minutes, s), default=None)


def _usual_network(network: Mapping[str, Observation]) -> Hashrate | None:
    """Return the network's mean over the profile days, by the source with most minutes there."""
    sums = {source: o.profile_sum for source, o in network.items() if o.profile_sum.total > 0}
    source = min(sums, key=lambda s: (-sums[s].minutes, s), default=None)
    return None if source is None else _mean(sums[source])


def is_eligible(cell: Cell, minutes: int) -> bool:
    """Return whether a source has values for enough of the minutes of a window."""
    return cell.minutes > 0 and cell.minutes >= MIN_COVERED_RATIO * minutes


def _kind_rank(cell: Cell) -> int:
    """Return the index in ``KINDS`` of the best kind that has hashrate; without any, the last."""
    places, hashrates = cell.places
    return int(np.min(places[hashrates > 0] % len(KINDS), initial=len(KINDS)))


def _mean(cell: Cell) -> Hashrate:
    return cell.total / cell.minutes


# --- what it reports ------------------------------------------------------------------------------


def members_of(
    observed: ObservedPools,
    chosen: Mapping[str, str],
    beliefs: Beliefs,
    earlier: Earlier = _NOTHING_EARLIER,
) -> dict[str, Member]:
    """Return pools as their sources report them, without those of them that are their parts.

    Args:
        observed: the observations of all sources of these pools.
        chosen: the source that represents each pool, by the pool's slug.
        beliefs: of which only ``part_of`` is used.
        earlier: as for :func:`cohort_of`.
    """
    parts: dict[str, list[str]] = {}
    nearest: dict[str, list[str]] = {}
    for part in beliefs.part_of.keys() & chosen.keys():
        wholes = [whole for whole in beliefs.wholes_of(part) if whole in chosen]
        for whole in wholes:
            parts.setdefault(whole, []).append(part)
        # The nearest one already contains what the farther ones would count again.
        for whole in wholes[:1]:
            nearest.setdefault(whole, []).append(part)
    known = {
        pool: member
        for pool, source in chosen.items()
        if pool not in parts and (member := earlier.member(pool, source, observed[pool]))
    }
    new = _without_parts(observed, {p: s for p, s in chosen.items() if p not in known})
    members = {pool: known.get(pool) or new[pool] for pool in chosen}
    totals = {part: members[part].reported_total for part in beliefs.part_of if part in members}
    for pool, of_pool in parts.items():
        total = members[pool].reported_total - sum(totals[p] for p in sorted(nearest.get(pool, ())))
        members[pool] = msgspec.structs.replace(
            members[pool],
            total=max(total, members[pool].located.total),
            parts=frozenset(of_pool),
        )
    return members


def _without_parts(observed: ObservedPools, chosen: Mapping[str, str]) -> dict[str, Member]:
    """Return pools without looking at their parts."""
    some = [observed[pool][source] for pool, source in chosen.items()]
    means = _means([each.window_sum for each in some])
    sums = sum_by(means.pools, means.hashrates, len(some)).tolist()
    located = means.by_pool(len(some))
    profiles = profiles_of([observed[pool] for pool in chosen])
    members = {}
    for n, (pool, source) in enumerate(chosen.items()):
        total = _mean(some[n].window_sum)
        members[pool] = Member(
            pool=pool,
            source=source,
            reported_total=total,
            total=max(total, sums[n]),
            located=located[n].alone(),
            profile=profiles[n].alone(),
            growth=_growth(some[n]),
            # A source that is not used counts too, because it took part in the choice.
            simulated=any(each.simulated for each in observed[pool].values()),
        )
    return members


def _means(cells: Sequence[Cell]) -> Table:
    """Return the mean hashrates of cells with values, numbered by their positions, in H/s."""
    sums = table_of([cell.places for cell in cells])
    minutes = floats((cell.minutes for cell in cells), len(cells))
    return sums._replace(hashrates=sums.hashrates / minutes[sums.pools])


def profiles_of(pools: Sequence[Mapping[str, Observation]]) -> list[Rows]:
    """Return for each pool the means of the places measured over the profile days, in H/s.

    They come from the source with most minutes of those that measured enough of their total; empty
    without one.

    Args:
        pools: for each its observations by source.
    """
    some = [
        (number, source, cell)
        for number, sources in enumerate(pools)
        for source, observation in sources.items()
        if (cell := observation.profile_sum).minutes and len(cell.places.places)
    ]
    measured = _means([cell for _, _, cell in some])
    is_measured = measured.kinds == NUMBER_OF_KIND["measured"]
    if not is_measured.all():
        measured = measured.where(is_measured)
    sums = sum_by(measured.pools, measured.hashrates, len(some)).tolist()
    best: dict[int, tuple[int, str, Rows]] = {}
    for (number, source, cell), rows, located in zip(
        some, measured.by_pool(len(some)), sums, strict=True
    ):
        if located > 0 and located >= MIN_PROFILE_RATIO * _mean(cell) * (1 - SAME):
            found = -cell.minutes, source, rows
            best[number] = min(best.get(number, found), found, key=_minutes_and_name)
    return [best[number][2] if number in best else NO_ROWS for number in range(len(pools))]


def _minutes_and_name(profile: tuple[int, str, Rows]) -> tuple[int, str]:
    return profile[:2]


def _growth(observation: Observation) -> float:
    now, usual = observation.window_sum, observation.profile_sum
    return _mean(usual) / _mean(now) if now.total > 0 and usual.total > 0 else 1.0
