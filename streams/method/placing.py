"""Placing: which pools count in a window, and where their hashrate is (method.md 4 to 6). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from miningmap.messages import KINDS
from miningmap.places import country_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from miningmap.messages import Kind
    from streams.method.cells import Cell, Places
    from streams.method.observations import Observation

Hashrate: TypeAlias = float
"""H/s, the mean over the window."""
Ratio: TypeAlias = float
"""A fraction, 0 to 1. Only a coverage can exceed 1: if pools report more than the network has."""
Prior: TypeAlias = "Mapping[str, float]"
"""A declared distribution: the weight of each place, in any unit."""

MIN_COVERED_RATIO: Final[Ratio] = 0.5
"""An eligible source has values for at least this fraction of a window's minutes (method.md 4)."""

REMAINDER_TOLERANCE: Final[Ratio] = 1e-12
"""Remainders below this fraction of the total are floating-point error and count as zero."""


# --- beliefs: how messages are interpreted --------------------------------------------------------


class Rule(NamedTuple):
    """A relabelling: hashrate at ``place`` belongs to the country's other subdivisions.

    ``applies_to``: the slugs of the pools that the rule applies to, or ``None`` for all pools.
    """

    id: str
    place: str
    applies_to: frozenset[str] | None


@dataclass(frozen=True)
class Beliefs:
    """Priors by pool, a default prior, and the rules in the order in which they are applied."""

    priors: Mapping[str, Prior] = field(default_factory=dict)
    default_prior: Prior | None = None
    rules: Sequence[Rule] = ()

    def prior_of(self, pool: str) -> Prior | None:
        """Return the pool's own prior, else the default prior."""
        return self.priors.get(pool, self.default_prior)

    def without_rules(self) -> Beliefs:
        """Return the beliefs for ``adjust=none``: the same priors, and no rules."""
        return Beliefs(self.priors, self.default_prior)


# --- the cohort -----------------------------------------------------------------------------------


class HashrateByKind(NamedTuple):
    """A hashrate (H/s), split by how its place is known."""

    measured: Hashrate = 0.0
    estimated: Hashrate = 0.0
    prior: Hashrate = 0.0

    def plus(self, other: HashrateByKind) -> HashrateByKind:
        """Return the sum, kind by kind."""
        return HashrateByKind(
            self.measured + other.measured,
            self.estimated + other.estimated,
            self.prior + other.prior,
        )


HashrateByPlace: TypeAlias = dict[str, HashrateByKind]
"""Hashrate by the code of a place, split by kind."""


@dataclass(frozen=True)
class Member:
    """A pool that counts in the window, represented by one source."""

    pool: str
    source: str
    total: Hashrate
    places: Places
    simulated: bool = False

    @cached_property
    def located(self) -> Hashrate:
        """The part of the total that has a place.

        Summed in the same order as the countries, so that rounding cannot make a single country's
        share exceed 1.
        """
        return sum(sum(kinds) for kinds in self.by_country.values())

    @cached_property
    def measured(self) -> Hashrate:
        """The part of the total whose place is measured."""
        return sum(kinds.measured for kinds in self.by_country.values())

    @cached_property
    def by_country(self) -> HashrateByPlace:
        """The hashrate by country, including that of its subdivisions."""
        return _by_place((country_of(code), kind, h) for (code, kind), h in self.places.items())

    def by_subdivision(self, country: str) -> HashrateByPlace:
        """Return the hashrate by those subdivisions of the country that the pool lists."""
        prefix = f"{country}-"
        return _by_place(
            (code, kind, h) for (code, kind), h in self.places.items() if code.startswith(prefix)
        )


@dataclass(frozen=True)
class Cohort:
    """The pools that count in a window, and the network's hashrate.

    ``excluded`` has the reason, ``thin`` or ``stale``, for each pool that does not count.
    """

    members: Sequence[Member]
    excluded: Mapping[str, str]
    network: Hashrate | None
    network_source: str | None
    simulated: bool


def _by_place(located: Iterable[tuple[str, Kind, Hashrate]]) -> HashrateByPlace:
    rows: dict[str, list[Hashrate]] = {}
    for code, kind, hashrate in located:
        rows.setdefault(code, [0.0] * len(KINDS))[KINDS.index(kind)] += hashrate
    return {code: HashrateByKind(*row) for code, row in rows.items()}


# --- which pools count (method.md 4) --------------------------------------------------------------


def cohort_of(
    pools: Mapping[str, Mapping[str, Observation]],
    network: Mapping[str, Cell],
    minutes: int,
    beliefs: Beliefs,
) -> Cohort:
    """Return the cohort of a window with its hashrate located, and the network's hashrate.

    Args:
        pools: the observations, by pool and source.
        network: the sum over the window, by source.
        minutes: the number of minutes that the window covers.
        beliefs: priors and rules.
    """
    members, excluded = [], {}
    for pool, sources in sorted(pools.items()):
        source = representative_source(sources, minutes)
        if source is not None:
            members.append(_member(pool, source, sources, beliefs))
        elif any(observation.window_sum.minutes for observation in sources.values()):
            excluded[pool] = "thin"
        elif any(observation.seen_before for observation in sources.values()):
            excluded[pool] = "stale"
        # A pool whose first value is after the window is not listed: it has not stopped reporting.
    network_source = _network_source(network, minutes)
    mean = None
    if network_source is not None:
        mean = network[network_source].total / network[network_source].minutes
    # A simulated source that is not used counts too, because it took part in the choice.
    simulated = any(m.simulated for m in members) or any(c.simulated for c in network.values())
    return Cohort(members, excluded, mean, network_source, simulated)


def representative_source(sources: Mapping[str, Observation], minutes: int) -> str | None:
    """Return the source that represents a pool, ``None`` if no source is eligible.

    It is the one with the best kind, then most minutes, then the first in alphabetical order.
    """
    sums = {source: observation.window_sum for source, observation in sources.items()}
    eligible = [source for source, cell in sums.items() if _is_eligible(cell, minutes)]
    return min(eligible, key=lambda s: (_kind_rank(sums[s]), -sums[s].minutes, s), default=None)


def _network_source(network: Mapping[str, Cell], minutes: int) -> str | None:
    eligible = [s for s, cell in network.items() if _is_eligible(cell, minutes) and cell.total > 0]
    return min(eligible, key=lambda s: (-network[s].minutes, s), default=None)


def _is_eligible(cell: Cell, minutes: int) -> bool:
    return cell.minutes > 0 and cell.minutes >= MIN_COVERED_RATIO * minutes


def _kind_rank(cell: Cell) -> int:
    """Return the index in ``KINDS`` of the best kind; a source without places comes last."""
    return min((KINDS.index(kind) for _, kind in cell.places), default=len(KINDS))


# --- where a member's hashrate is (method.md 5 and 6) ---------------------------------------------


def _member(pool: str, source: str, sources: Mapping[str, Observation], beliefs: Beliefs) -> Member:
    cell = sources[source].window_sum
    total = cell.total / cell.minutes
    reported = {key: value / cell.minutes for key, value in cell.places.items()}
    located = locate(total, reported, profile_of(sources), beliefs.prior_of(pool))
    for rule in beliefs.rules:
        if rule.applies_to is None or pool in rule.applies_to:
            located = relabel(located, rule.place)
    # A simulated source that is not used counts too, because it took part in the choice.
    simulated = any(
        observation.window_sum.simulated or observation.profile_sum.simulated
        for observation in sources.values()
    )
    return Member(pool, source, total, located, simulated)


def profile_of(sources: Mapping[str, Observation]) -> Mapping[str, float]:
    """Return the places measured over the profile days as weights (H/s x minutes).

    They come from the source with most minutes of those that measured hashrate; empty without one.
    """
    measured = {
        source: {
            code: weight
            for (code, kind), weight in observation.profile_sum.places.items()
            if kind == "measured"
        }
        for source, observation in sources.items()
    }
    usable = [source for source, weights in measured.items() if sum(weights.values()) > 0]
    best = min(usable, key=lambda s: (-sources[s].profile_sum.minutes, s), default=None)
    return {} if best is None else measured[best]


def locate(
    total: Hashrate, reported: Places, profile: Mapping[str, float], prior: Prior | None
) -> Places:
    """Return the reported places, with the remainder spread by the profile, else by the prior.

    Without either, the remainder gets no place: it is ``UNKNOWN`` and not part of any share.
    """
    places = dict(reported)
    remainder = total - sum(reported.values())
    kind: Kind = "estimated" if profile else "prior"
    weights = profile or prior or {}
    weight_sum = sum(weights.values())
    if remainder > REMAINDER_TOLERANCE * total:
        for code, weight in weights.items():
            # Skip weights of 0: a place with 0 H/s means that a report measured none there.
            if weight > 0:
                places[code, kind] = places.get((code, kind), 0.0) + remainder * weight / weight_sum
    return places


def relabel(places: Places, rule_place: str) -> Places:
    """Return the places with the hashrate at ``rule_place`` moved to the country's other ones.

    The other subdivisions that the pool lists grow in proportion, and the country's total stays the
    same. If none of them has hashrate, nothing is moved.
    """
    prefix = f"{country_of(rule_place)}-"
    others = sum(h for (c, _), h in places.items() if c.startswith(prefix) and c != rule_place)
    if others <= 0:
        return places
    moved = sum(h for (c, _), h in places.items() if c == rule_place)
    # Each grows by the factor 1 + moved / others. Written like this, no intermediate overflows.
    return {
        (code, kind): h + moved * (h / others) if code.startswith(prefix) else h
        for (code, kind), h in places.items()
        if code != rule_place
    }
