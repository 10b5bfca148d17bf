"""Shares: who counts, where their hashrate is, and how sure that is (method.md 4 to 8). Pure.

No I/O, no clock, no Kafka, no Redis. Hashrates are means over the window in H/s, shares are ratios.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, repeat, starmap
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from miningmap.messages import KINDS
from miningmap.places import country_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from miningmap.messages import Kind
    from streams.method.cells import Cell, Places

Hashrate: TypeAlias = float
"""H/s."""
Ratio: TypeAlias = float
"""0..1, but for a coverage of more than is there."""
Prior: TypeAlias = "Mapping[str, float]"
"""A declared distribution: weight by place, in any scale."""

ELIGIBLE: Final[Ratio] = 0.5
"""The part of a window's minutes that a source must have a value for."""

ROUNDING: Final[Ratio] = 1e-12
"""A rest that is a smaller part of the total is what adding floats up leaves: it is nothing."""


class Rule(NamedTuple):
    """A relabelling: what stands at ``place`` belongs to the country's other subdivisions.

    ``applies_to`` is pool slugs, or ``None`` for every pool.
    """

    id: str
    place: str
    applies_to: frozenset[str] | None


@dataclass(frozen=True)
class Beliefs:
    """What interprets the messages: priors by pool, one for the rest, and the rules."""

    priors: Mapping[str, Prior] = field(default_factory=dict)
    default_prior: Prior | None = None
    rules: Sequence[Rule] = ()

    def prior_of(self, pool: str) -> Prior | None:
        """The pool's declared prior, or the default one."""
        return self.priors.get(pool, self.default_prior)

    def without_rules(self) -> Beliefs:
        """``adjust=none``."""
        return Beliefs(self.priors, self.default_prior)


@dataclass(frozen=True)
class Observed:
    """What is known of one source of a pool: sums over the window and over its profile days."""

    window: Cell
    profile: Cell
    seen_before: bool
    """Whether it has a value before the window, in the window's tier."""


class Kinds(NamedTuple):
    """A hashrate (H/s) split by how its place is known."""

    measured: Hashrate = 0.0
    estimated: Hashrate = 0.0
    prior: Hashrate = 0.0

    def plus(self, other: Kinds) -> Kinds:
        """The sum, kind by kind."""
        return Kinds(
            self.measured + other.measured,
            self.estimated + other.estimated,
            self.prior + other.prior,
        )


Table: TypeAlias = dict[str, Kinds]
"""Hashrate by place."""


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
        """What of its total has a place; added up so that no country has more than the whole."""
        return sum(sum(kinds) for kinds in self.by_country.values())

    @cached_property
    def measured(self) -> Hashrate:
        """What of its total has a measured place."""
        return sum(kinds.measured for kinds in self.by_country.values())

    @cached_property
    def by_country(self) -> Table:
        """Its hashrate by country, subdivisions rolled up."""
        return _table((country_of(code), kind, h) for (code, kind), h in self.places.items())

    def by_subdivision(self, country: str) -> Table:
        """Its hashrate by the country's subdivisions that it lists."""
        inside = f"{country}-"
        return _table((c, kind, h) for (c, kind), h in self.places.items() if c.startswith(inside))


@dataclass(frozen=True)
class Cohort:
    """The pools that count in a window, why others do not, and the network's hashrate (H/s)."""

    members: Sequence[Member]
    excluded: Mapping[str, str]
    network: Hashrate | None
    network_source: str | None
    simulated: bool


@dataclass(frozen=True)
class Share:
    """One place's line of an answer."""

    code: str
    share: Ratio
    share_of_country: Ratio | None
    low: Ratio | None
    high: Ratio | None
    sensitivity: tuple[Ratio, Ratio] | None
    kinds: Kinds


# --- who counts (method.md 4) ---------------------------------------------------------------------


def cohort_of(
    pools: Mapping[str, Mapping[str, Observed]],
    network: Mapping[str, Cell],
    minutes: int,
    beliefs: Beliefs,
) -> Cohort:
    """The cohort of a window, located, and the network's hashrate.

    Args:
        pools: by pool, by source: what is known of it.
        network: by source: the sum over the window.
        minutes: N, the minutes that the window covers.
        beliefs: priors and rules.
    """
    members, excluded = [], {}
    for pool, sources in sorted(pools.items()):
        source = representing(sources, minutes)
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


def representing(sources: Mapping[str, Observed], minutes: int) -> str | None:
    """The source that stands for a pool: best kind, then most minutes, then first name."""
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
    """0 for measured, and so on; a source without places comes last."""
    return min((KINDS.index(kind) for _, kind in cell.places), default=len(KINDS))


# --- where it is (method.md 5 and 6) --------------------------------------------------------------


def _member(pool: str, source: str, sources: Mapping[str, Observed], beliefs: Beliefs) -> Member:
    cell = sources[source].window
    total = cell.total / cell.minutes
    said = {key: value / cell.minutes for key, value in cell.places.items()}
    located = locate(total, said, profile_of(sources), beliefs.prior_of(pool))
    for rule in beliefs.rules:
        if rule.applies_to is None or pool in rule.applies_to:
            located = relabel(located, rule.place)
    simulated = any(s.window.simulated or s.profile.simulated for s in sources.values())
    return Member(pool, source, total, located, simulated)


def profile_of(sources: Mapping[str, Observed]) -> dict[str, Hashrate]:
    """Where the pool's measured hashrate was over the profile days; empty if nowhere."""
    best: tuple[int, str] | None = None
    chosen: dict[str, Hashrate] = {}
    for source, seen in sources.items():
        cell = seen.profile
        measured = {c: h for (c, kind), h in cell.places.items() if kind == "measured"}
        if sum(measured.values()) > 0 and (best is None or (-cell.minutes, source) < best):
            best, chosen = (-cell.minutes, source), measured
    return chosen


def locate(
    total: Hashrate, said: Places, profile: Mapping[str, Hashrate], prior: Prior | None
) -> Places:
    """What a pool says of its places, and the rest spread by its profile, else its prior.

    What neither locates stays out: it is ``UNKNOWN``, and no share has it in its denominator.
    """
    places = dict(said)
    rest = total - sum(said.values())
    kind: Kind = "estimated" if profile else "prior"
    weights = profile or prior or {}
    whole = sum(weights.values())
    if rest > ROUNDING * total:
        for code, weight in weights.items():
            if weight > 0:  # a place that gets nothing is not listed: no report named it with 0
                places[code, kind] = places.get((code, kind), 0.0) + rest * weight / whole
    return places


def relabel(places: Places, emptied: str) -> Places:
    """What is at ``emptied`` goes to the country's other subdivisions, in proportion.

    A pool that lists no other subdivision with hashrate is left alone. Country totals stay.
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


# --- shares and how sure they are (method.md 7 and 8) ---------------------------------------------


def coverage(cohort: Cohort) -> Ratio | None:
    """The part of the network that the cohort is; null without the network's hashrate."""
    return cohort.network and sum(m.total for m in cohort.members) / cohort.network


def located(cohort: Cohort) -> Ratio | None:
    """The part of the cohort's hashrate that has a place; null without hashrate."""
    total = sum(m.total for m in cohort.members)
    return sum(m.located for m in cohort.members) / total if total > 0 else None


def measured_coverage(cohort: Cohort) -> Ratio | None:
    """The part of the network whose place is measured; null without the network's hashrate."""
    return cohort.network and sum(m.measured for m in cohort.members) / cohort.network


def country_shares(cohort: Cohort) -> list[Share]:
    """Every country's share of what is located. Ordered by share, then code; empty without any."""
    tables = [m.by_country for m in cohort.members]
    return _shares(cohort, tables, slices=None)


def subdivision_shares(cohort: Cohort, country: str) -> list[Share]:
    """The shares of a country's subdivisions that pools list.

    Hashrate known only by country is spread like the rest of that country.
    """
    tables = [m.by_subdivision(country) for m in cohort.members]
    slices = [_Slice(m.located, sum(m.by_country.get(country, ()))) for m in cohort.members]
    return _shares(cohort, tables, slices)


class _Slice(NamedTuple):
    """What one pool locates in all, and of that in the country in question (H/s)."""

    located: Hashrate
    country: Hashrate


def _shares(
    cohort: Cohort, tables: Sequence[Table], slices: Sequence[_Slice] | None
) -> list[Share]:
    whole = _merged(tables)
    inside = sum(sum(kinds) for kinds in whole.values())
    scale: Ratio | None = 1.0
    if slices is not None:
        scale = _scale(sum(s.located for s in slices), sum(s.country for s in slices))
    if inside <= 0 or scale is None:
        return []
    ranges = _leave_one_out(tables, slices)
    covered = measured_coverage(cohort)
    lines = []
    for code, kinds in whole.items():
        part = sum(kinds) / inside
        low = high = None
        if cohort.network is not None and covered is not None:
            low = min(1.0, kinds.measured / cohort.network)
            high = min(1.0, low + max(0.0, 1 - covered))
        lines.append(
            Share(
                code=code,
                share=part * scale,
                share_of_country=None if slices is None else part,
                low=low,
                high=high,
                sensitivity=ranges.get(code),
                kinds=kinds,
            )
        )
    return sorted(lines, key=lambda line: (-line.share, line.code))


def _scale(located: Hashrate, country: Hashrate) -> Ratio | None:
    """The country's share, by which shares inside it are multiplied.

    No more than 1, whatever adding floats up leaves.
    """
    return min(1.0, country / located) if located > 0 else None


def _leave_one_out(
    tables: Sequence[Table], slices: Sequence[_Slice] | None
) -> dict[str, tuple[Ratio, Ratio]]:
    """The least and the largest share of each place over the cohorts with one pool removed."""
    if len(tables) < 2:  # noqa: PLR2004 - nothing is left of one
        return {}
    codes = sorted({code for table in tables for code in table})
    totals = [{code: sum(kinds) for code, kinds in table.items()} for table in tables]
    rows = [[total.get(code, 0.0) for code in codes] for total in totals]
    scales = repeat(1.0) if slices is None else starmap(_scale, _sums_without(slices))
    lines = []
    for rest, scale in zip(_sums_without(rows), scales, strict=False):
        inside = sum(rest)
        if inside > 0 and scale is not None:
            lines.append([hashrate / inside * scale for hashrate in rest])
    columns = zip(*lines, strict=True)
    return {code: (min(c), max(c)) for code, c in zip(codes, columns, strict=False)}


def _sums_without(rows: Sequence[Sequence[float]]) -> Iterable[list[float]]:
    """For each row the column sums of all others.

    Added up from both ends rather than subtracted from the whole, so that a place which only one
    pool has is exactly 0 without it.
    """
    zero = [0.0] * len(rows[0])
    before = accumulate(rows[:-1], _plus, initial=zero)
    after = list(accumulate(reversed(rows[1:]), _plus, initial=zero))
    return (_plus(a, b) for a, b in zip(before, reversed(after), strict=True))


def _plus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return list(map(add, a, b))


def _merged(tables: Iterable[Table]) -> Table:
    result: Table = {}
    for table in tables:
        for code, kinds in table.items():
            result[code] = result.get(code, Kinds()).plus(kinds)
    return result


def _table(located: Iterable[tuple[str, Kind, Hashrate]]) -> Table:
    rows: dict[str, list[Hashrate]] = {}
    for code, kind, hashrate in located:
        rows.setdefault(code, [0.0] * len(KINDS))[KINDS.index(kind)] += hashrate
    return {code: Kinds(*row) for code, row in rows.items()}
