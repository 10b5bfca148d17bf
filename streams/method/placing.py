"""Placing: which pools count in a window, and where their hashrate is (method.md 4 to 6). Pure.

No I/O, no clock, no Kafka, no Redis. Hashrates are means over the window in H/s.
"""

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
"""H/s."""
Ratio: TypeAlias = float
"""0..1. Only a coverage can be larger, where pools report more than the network's hashrate."""
Prior: TypeAlias = "Mapping[str, float]"
"""A declared distribution: weight by place, in any scale."""

ELIGIBLE: Final[Ratio] = 0.5
"""The part of a window's minutes that a source must have a value for (method.md 4)."""

ROUNDING: Final[Ratio] = 1e-12
"""Remainders below this fraction of the total are floating-point error and count as zero."""


# --- beliefs: what interprets the messages --------------------------------------------------------


class Rule(NamedTuple):
    """A relabelling: hashrate at ``place`` belongs to the country's other subdivisions.

    ``applies_to`` is pool slugs, or ``None`` for every pool.
    """

    id: str
    place: str
    applies_to: frozenset[str] | None


@dataclass(frozen=True)
class Beliefs:
    """Priors by pool, one for the pools without their own, and the rules in order."""

    priors: Mapping[str, Prior] = field(default_factory=dict)
    default_prior: Prior | None = None
    rules: Sequence[Rule] = ()

    def prior_of(self, pool: str) -> Prior | None:
        """Return the pool's own prior, or the default one."""
        return self.priors.get(pool, self.default_prior)

    def without_rules(self) -> Beliefs:
        """Return the beliefs that ``adjust=none`` asks for."""
        return Beliefs(self.priors, self.default_prior)


# --- the cohort -----------------------------------------------------------------------------------


class Kinds(NamedTuple):
    """A hashrate (H/s) split by how its place is known."""

    measured: Hashrate = 0.0
    estimated: Hashrate = 0.0
    prior: Hashrate = 0.0

    def plus(self, other: Kinds) -> Kinds:
        """Return the sum, kind by kind."""
        return Kinds(
            self.measured + other.measured,
            self.estimated + other.estimated,
            self.prior + other.prior,
        )


KindsByPlace: TypeAlias = dict[str, Kinds]
"""Hashrate by a place's code, split by kind."""


@dataclass(frozen=True)
class Member:
    """A pool that counts in the window, represented by one source. Means in H/s."""

    pool: str
    source: str
    total: Hashrate
    places: Places
    simulated: bool = False

    @cached_property
    def located(self) -> Hashrate:
        """The part of the total that has a place.

        Summed over the countries, so that floating-point error never gives one country more than
        the whole.
        """
        return sum(sum(kinds) for kinds in self.by_country.values())

    @cached_property
    def measured(self) -> Hashrate:
        """The part of the total whose place is measured."""
        return sum(kinds.measured for kinds in self.by_country.values())

    @cached_property
    def by_country(self) -> KindsByPlace:
        """The hashrate by country, subdivisions rolled up."""
        return _by_place((country_of(code), kind, h) for (code, kind), h in self.places.items())

    def by_subdivision(self, country: str) -> KindsByPlace:
        """Return the hashrate by those subdivisions of the country that the pool lists."""
        inside = f"{country}-"
        return _by_place(
            (code, kind, h) for (code, kind), h in self.places.items() if code.startswith(inside)
        )


@dataclass(frozen=True)
class Cohort:
    """The pools that count in a window, why others do not, and the network's hashrate (H/s)."""

    members: Sequence[Member]
    excluded: Mapping[str, str]
    network: Hashrate | None
    network_source: str | None
    simulated: bool


def _by_place(located: Iterable[tuple[str, Kind, Hashrate]]) -> KindsByPlace:
    rows: dict[str, list[Hashrate]] = {}
    for code, kind, hashrate in located:
        rows.setdefault(code, [0.0] * len(KINDS))[KINDS.index(kind)] += hashrate
    return {code: Kinds(*row) for code, row in rows.items()}


# --- who counts (method.md 4) ---------------------------------------------------------------------


def cohort_of(
    pools: Mapping[str, Mapping[str, Observation]],
    network: Mapping[str, Cell],
    minutes: int,
    beliefs: Beliefs,
) -> Cohort:
    """Return the cohort of a window with its hashrate located, and the network's hashrate.

    Args:
        pools: by pool and source: what is known of it.
        network: by source: the sum over the window.
        minutes: N, the minutes that the window covers.
        beliefs: priors and rules.
    """
    members, excluded = [], {}
    for pool, sources in sorted(pools.items()):
        source = representative(sources, minutes)
        if source is not None:
            members.append(_member(pool, source, sources, beliefs))
        elif any(seen.window.minutes for seen in sources.values()):
            excluded[pool] = "thin"
        elif any(seen.seen_before for seen in sources.values()):
            excluded[pool] = "stale"
    name = _network_source(network, minutes)
    mean = network[name].total / network[name].minutes if name is not None else None
    simulated = any(m.simulated for m in members) or any(c.simulated for c in network.values())
    return Cohort(members, excluded, mean, name, simulated)


def representative(sources: Mapping[str, Observation], minutes: int) -> str | None:
    """Return the source that represents a pool: best kind, then most minutes, then first name.

    ``None`` if no source has a value for enough of the window's minutes.
    """
    eligible = [s for s, seen in sources.items() if _eligible(seen.window, minutes)]
    return min(
        eligible,
        key=lambda s: (_best_kind(sources[s].window), -sources[s].window.minutes, s),
        default=None,
    )


def _network_source(network: Mapping[str, Cell], minutes: int) -> str | None:
    eligible = [s for s, cell in network.items() if _eligible(cell, minutes) and cell.total > 0]
    return min(eligible, key=lambda s: (-network[s].minutes, s), default=None)


def _eligible(cell: Cell, minutes: int) -> bool:
    return cell.minutes > 0 and cell.minutes >= ELIGIBLE * minutes


def _best_kind(cell: Cell) -> int:
    """Return 0 for measured, and so on; a source without places comes last."""
    return min((KINDS.index(kind) for _, kind in cell.places), default=len(KINDS))


# --- where its hashrate is (method.md 5 and 6) ----------------------------------------------------


def _member(pool: str, source: str, sources: Mapping[str, Observation], beliefs: Beliefs) -> Member:
    cell = sources[source].window
    total = cell.total / cell.minutes
    reported = {key: value / cell.minutes for key, value in cell.places.items()}
    located = locate(total, reported, profile_of(sources), beliefs.prior_of(pool))
    for rule in beliefs.rules:
        if rule.applies_to is None or pool in rule.applies_to:
            located = relabel(located, rule.place)
    simulated = any(s.window.simulated or s.profile.simulated for s in sources.values())
    return Member(pool, source, total, located, simulated)


def profile_of(sources: Mapping[str, Observation]) -> dict[str, Hashrate]:
    """Return the pool's measured hashrate by place over the profile days; empty if it has none."""
    best: tuple[int, str] | None = None
    chosen: dict[str, Hashrate] = {}
    for source, seen in sources.items():
        cell = seen.profile
        measured = {c: h for (c, kind), h in cell.places.items() if kind == "measured"}
        if sum(measured.values()) > 0 and (best is None or (-cell.minutes, source) < best):
            best, chosen = (-cell.minutes, source), measured
    return chosen


def locate(
    total: Hashrate, reported: Places, profile: Mapping[str, Hashrate], prior: Prior | None
) -> Places:
    """Return the reported places, with the remainder spread by the profile, else by the prior.

    Without either the remainder stays out: it is ``UNKNOWN``, and in no share's denominator.
    """
    places = dict(reported)
    remainder = total - sum(reported.values())
    kind: Kind = "estimated" if profile else "prior"
    weights = profile or prior or {}
    whole = sum(weights.values())
    if remainder > ROUNDING * total:
        for code, weight in weights.items():
            if weight > 0:  # a listed 0 would mean that a report in the window named the place
                places[code, kind] = places.get((code, kind), 0.0) + remainder * weight / whole
    return places


def relabel(places: Places, emptied: str) -> Places:
    """Move the hashrate at ``emptied`` to the country's other subdivisions, in proportion.

    Nothing is moved for a pool that lists no other subdivision with hashrate. The country's total
    stays the same.
    """
    inside = f"{country_of(emptied)}-"
    others = sum(h for (c, _), h in places.items() if c.startswith(inside) and c != emptied)
    if others <= 0:
        return places
    moved = sum(h for (c, _), h in places.items() if c == emptied)
    # Each grows by the one factor 1 + moved / others, written so that no division overflows.
    return {
        (code, kind): h + moved * (h / others) if code.startswith(inside) else h
        for (code, kind), h in places.items()
        if code != emptied
    }
