"""Placing: where the hashrate is that no report locates (method.md 5). Pure.

Everything here is about one window. The steps of section 5.1 come one after the other, each for all
pools at once, and each takes from what the steps before it left of a pool: its remainder.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from miningmap.messages import KINDS
from miningmap.places import OTHER, country_of
from streams.method.relabelling import relabelled_table
from streams.method.tables import (
    CODES,
    NUMBER_OF_KIND,
    Rows,
    Table,
    code_numbers,
    floats,
    joined,
    names_of,
    sum_by,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from miningmap.messages import Kind
    from streams.method.beliefs import (
        Amount,
        BeliefsInForce,
        ClaimGroup,
        Distribution,
        Hashrate,
        Ratio,
        Rule,
        Weights,
    )
    from streams.method.cells import Places
    from streams.method.cohort import Cohort, Member
    from streams.method.tables import Floats, Ints

ByCode: TypeAlias = "Mapping[str, Hashrate]"
"""Hashrate by the code of a place, kinds added up."""

REMAINDER_TOLERANCE: Final[Ratio] = 1e-12
"""Remainders below this fraction of the total are floating-point error and count as zero."""

_EVIDENCE_FOR_ANY_POOL: Final[tuple[Kind, ...]] = ("measured", "estimated")
_EVIDENCE: Final[tuple[Kind, ...]] = (*_EVIDENCE_FOR_ANY_POOL, "declared")


class Placed(NamedTuple):
    """What one belief placed, in H/s."""

    kind: Kind
    hashrate: Hashrate


@dataclass(frozen=True)
class PlacedPool:
    """A pool of the cohort, as far as it is placed. Hashrates are means, in H/s.

    Attributes:
        member: what its source reports.
        located: where it is.
        remainder: the part of its total that has no place.
    """

    member: Member
    located: Rows
    remainder: Hashrate

    @cached_property
    def places(self) -> Places:
        """Where it is, by place and kind."""
        return self.located.by_place()


@dataclass(frozen=True)
class Placement:
    """The cohort with its hashrate located.

    Attributes:
        cohort: the pools and what their reports locate.
        table: where the hashrate of the pools is, which are numbered in the order of the cohort.
        remainders: the hashrate of each pool that has no place.
        beliefs: what each belief placed, by its id.
        before_network_prior: the hashrate by place that steps 0 to 4 located.
        remainder: the hashrate that they did not.
        network_ratios: for each network prior in force, how it spreads the remainder.
    """

    cohort: Cohort
    table: Table
    remainders: Floats
    beliefs: Mapping[str, Placed]
    before_network_prior: ByCode
    remainder: Hashrate
    network_ratios: Mapping[str, Weights]

    @cached_property
    def pools(self) -> Sequence[PlacedPool]:
        """The pools, in alphabetical order of their slugs."""
        members = self.cohort.members.values()
        located = self.table.by_pool(len(members))
        return list(map(PlacedPool, members, located, self.remainders.tolist()))


def place(
    cohort: Cohort,
    beliefs: BeliefsInForce,
    rules: Sequence[Rule],
    prior: str | None,
    *,
    keep: bool = False,
) -> Placement:
    """Return the cohort with its hashrate located.

    Args:
        cohort: the pools and what their reports locate.
        beliefs: those in force on the day of the window.
        rules: the relabellings to apply.
        prior: the id of the network prior for what nothing else locates; ``None`` for none.
        keep: whether to keep with each pool what its profile places, for the next cohort with it.
    """
    placing = _Placing(cohort, tuple(rules))
    for pools in placing.waves:
        placing.spread_profiles(pools, keep=keep)
        placing.spread_own(pools, beliefs.declared, "declared")
    evidence = placing.table
    for group in beliefs.claims:
        placing.place_claims(group, evidence)
    for pools in placing.waves:
        placing.spread_own(pools, beliefs.priors, "prior")
    before = placing.located()
    remainder = float(placing.remainders.sum())
    ratios = placing.network_ratios(beliefs.network, remainder)
    if prior in ratios:
        placing.spread_network(prior, ratios[prior], remainder)
    table = placing.table.in_order()
    return Placement(cohort, table, placing.remainders, placing.beliefs, before, remainder, ratios)


class _Placing:
    """A cohort that is being placed. Its pools are numbered in its order.

    Attributes:
        remainders: of each pool, what has no place yet.
        beliefs: what each belief has placed; each of them places once.
        waves: the pools in the order in which they are spread; those of one at the same time. Parts
            come before the pools that contain them.
    """

    def __init__(self, cohort: Cohort, rules: tuple[Rule, ...]) -> None:
        self._cohort = cohort
        self._rules = rules
        self._members = list(cohort.members.values())
        self._numbers = {slug: number for number, slug in enumerate(cohort.members)}
        number = len(self._members)
        self._totals = floats((member.total for member in self._members), number)
        reported = table_of([member.located for member in self._members])
        self.remainders = _more(
            self._totals - sum_by(reported.pools, reported.hashrates, number), self._totals
        )
        self._tables = [relabelled_table(reported, list(self._numbers), rules)]
        self.beliefs: dict[str, Placed] = {}
        wholes = sorted(
            (n for n, m in enumerate(self._members) if m.parts), key=self._number_of_parts
        )
        self.waves = [
            [n for n, m in enumerate(self._members) if not m.parts],
            *([n] for n in wholes),
        ]

    def _number_of_parts(self, number: int) -> int:
        return len(self._members[number].parts)

    @property
    def table(self) -> Table:
        """All that is located so far."""
        if len(self._tables) > 1:
            self._tables = [joined(self._tables)]
        return self._tables[0]

    def located(self) -> dict[str, Hashrate]:
        """Return what is located so far, by code."""
        codes = self.table.codes
        return _by_code(codes, sum_by(codes, self.table.hashrates))

    def _add_all(self, ratios: Floats, hashrates: Mapping[str, Hashrate], kind: Kind) -> None:
        """Add hashrates at some places to the pools, each multiplied by the ratio of the pool."""
        pools = np.flatnonzero(ratios > 0)
        codes = code_numbers(tuple(hashrates))
        there = np.outer(ratios[pools], floats(hashrates.values(), len(codes))).ravel()
        of_pools, of_codes = np.repeat(pools, len(codes)), np.tile(codes, len(pools))
        self._tables.append(_some_of(of_pools, of_codes, kind, there))

    # --- distributions ---

    def spread_profiles(self, pools: Iterable[int], *, keep: bool) -> None:
        """Place what is left of the pools that have a profile.

        If a pool has no parts, this depends on nothing but the pool and the rules, so it can be
        kept.
        """
        some = [n for n in self._with_remainder(pools) if len(self._members[n].profile.places)]
        if not keep:
            self._place(some, self._by_profiles(some))
            return
        new = [n for n in some if self._rules not in self._members[n].by_profile]
        found = dict(zip(new, self._by_profiles(new).by_pool(len(new)), strict=True))
        for n in some:
            kept = self._members[n].by_profile
            if n not in found:
                found[n] = kept[self._rules]
            elif not self._members[n].parts:
                kept[self._rules] = found[n].alone()
        self._place(some, table_of([found[n] for n in some]))

    def _by_profiles(self, some: Sequence[int]) -> Table:
        """Return what profiles place of some pools, numbered by their positions."""
        profiles = table_of([self._members[n].profile for n in some])
        slugs = [self._members[n].pool for n in some]
        rows, places, hashrates = relabelled_table(profiles, slugs, self._rules)
        totals = sum_by(rows, hashrates, len(some))
        weights = _Weights(rows, places // len(KINDS), hashrates / totals[rows])
        return self._placed(some, weights, "estimated")

    def spread_own(self, pools: Iterable[int], own: Mapping[str, Distribution], kind: Kind) -> None:
        """Place what is left of the pools that have a distribution of their own."""
        found = {
            n: distribution
            for n in (self._with_remainder(pools) if own else ())
            if (distribution := own.get(self._members[n].pool))
        }
        for n, distribution in found.items():
            self.beliefs[distribution.id] = Placed(kind, float(self.remainders[n]))
        weights = _Weights.of([each.weights for each in found.values()])
        self._place(list(found), self._placed(list(found), weights, kind))

    def _with_remainder(self, pools: Iterable[int]) -> Iterator[int]:
        remainders = self.remainders.tolist()
        return (n for n in pools if remainders[n] > 0)

    def _placed(self, some: Sequence[int], weights: _Weights, kind: Kind) -> Table:
        """Return where all that is left of some pools is, each by a distribution of the whole pool.

        What is already located, at the pool and at its parts, counts towards the whole.

        Args:
            some: the numbers of the pools; in the result their numbers are the positions.
            weights: of the distributions.
            kind: of what is placed.
        """
        if not some:
            return table_of([])
        pools = np.array(some, np.intp)
        # A pool is not spread together with its parts, so each pool counts towards one at most.
        row_of = np.full(len(self._members), -1)
        row_of[pools] = np.arange(len(pools))
        for n in some:
            for part in self._members[n].parts:
                row_of[self._numbers[part]] = row_of[n]
        rows = row_of[self.table.pools]
        located = self.table._replace(pools=rows).where(rows >= 0)
        wholes = floats((self._members[n].reported_total for n in some), len(some))
        ratios = _missing(weights, wholes, located)
        remainders = self.remainders[pools][weights.rows]
        return _some_of(weights.rows, weights.codes, kind, ratios * remainders)

    def _place(self, some: Sequence[int], placed: Table) -> None:
        """Add where all that is left of some pools is; their numbers there are the positions."""
        if some:
            pools = np.array(some, np.intp)
            self._tables.append(placed._replace(pools=pools[placed.pools]))
            self.remainders[pools] = 0.0

    def network_ratios(
        self, priors: Iterable[Distribution], remainder: Hashrate
    ) -> dict[str, Weights]:
        """Return how each network prior spreads the remainders: one distribution for all pools.

        Each pool counts as large as it usually is, because a published distribution tells what the
        network looked like over weeks, not at this minute.
        """
        if remainder <= 0:  # then they are ratios of nothing
            return {prior.id: prior.weights for prior in priors}
        growth = floats((member.growth for member in self._members), len(self._members))
        whole = float((self._totals * growth).sum())
        table = self.table
        located = sum_by(table.codes, table.hashrates * growth[table.pools])
        by_code = _by_code(table.codes, located)
        return {prior.id: missing(prior.weights, whole, by_code) for prior in priors}

    def spread_network(self, id_: str, ratios: Weights, remainder: Hashrate) -> None:
        """Place what is left of all pools by a network prior."""
        if remainder > 0:
            self._add_all(self.remainders, ratios, "prior")
            self.remainders = np.zeros_like(self.remainders)
            self.beliefs[id_] = Placed("prior", remainder)

    # --- claims ---

    def place_claims(self, group: ClaimGroup, evidence: Table) -> None:
        """Place what the claims of one group add to what is known of the pools that they name.

        Args:
            group: the claims.
            evidence: what was located before the first group.
        """
        chosen = np.full(len(self._members), group.pools is None)
        for slug in group.pools or ():
            if slug in self._numbers:
                chosen[self._numbers[slug]] = True
        remainders = np.where(chosen, self.remainders, 0.0)
        remainder = float(remainders.sum())
        if remainder <= 0:
            return
        amounts = group.amounts
        if group.pools is None:
            ratio = self._seen_ratio()
            amounts = [a._replace(hashrate=a.hashrate * ratio) for a in amounts]
        # The sites that a pool declares as its own are other machines than those at any pool.
        kinds = _EVIDENCE_FOR_ANY_POOL if group.pools is None else _EVIDENCE
        known = _located_by(evidence.where(chosen[evidence.pools]), kinds)
        least = REMAINDER_TOLERANCE * float(self._totals[chosen].sum())
        wanted = {a: h for a, h in _wanted(amounts, known).items() if h > least}
        total = sum(wanted.values())
        if total <= 0:
            return
        taken_ratio = min(1.0, remainder / total)
        for claim, hashrate in wanted.items():
            self.beliefs[claim.id] = Placed("declared", hashrate * taken_ratio)
        parts = remainders / remainder * taken_ratio
        self._add_all(parts, _by_place(wanted), "declared")
        self.remainders = np.where(
            chosen, _more(self.remainders - total * parts, self._totals), self.remainders
        )

    def _seen_ratio(self) -> Ratio:
        """Return the part of the network that the cohort is, for claims on machines at any pool."""
        cohort = self._cohort
        network = cohort.usual_network if cohort.network is None else cohort.network
        return min(1.0, float(self._totals.sum()) / network) if network else 0.0


def _some_of(pools: Ints, codes: Ints, kind: Kind, hashrates: Floats) -> Table:
    """Return those rows of one kind that have hashrate."""
    # Skip 0: a place with 0 H/s means that a report measured none there.
    some = hashrates > 0
    places = codes[some] * len(KINDS) + NUMBER_OF_KIND[kind]
    return Table(pools[some], places, hashrates[some])


def _by_code(codes: Ints, hashrates: Floats) -> dict[str, Hashrate]:
    """Return the hashrate of each code that is one of ``codes``.

    Args:
        codes: numbers of codes.
        hashrates: by the number of the code.
    """
    listed = np.flatnonzero(np.bincount(codes))
    return dict(zip(names_of(listed), hashrates[listed].tolist(), strict=True))


# --- distributions --------------------------------------------------------------------------------


class _Weights(NamedTuple):
    """The weights of some distributions, one after the other.

    Attributes:
        rows: the number of the distribution of each weight.
        codes: the number of the code.
        weights: the fraction of the whole there.
    """

    rows: Ints
    codes: Ints
    weights: Floats

    @classmethod
    def of(cls, distributions: Sequence[Weights]) -> _Weights:
        """Return distributions, numbered in their order."""
        sizes = np.array([len(each) for each in distributions], np.intp)
        codes = code_numbers(tuple(chain.from_iterable(distributions)))
        weights = chain.from_iterable(each.values() for each in distributions)
        return cls(np.repeat(np.arange(len(sizes)), sizes), codes, floats(weights, len(codes)))


def missing(weights: Weights, whole: Hashrate, located: ByCode) -> Weights:
    """Return the distribution of what a distribution of the whole says of the part not located.

    Args:
        weights: the fraction of the whole at each place.
        whole: the hashrate that they describe, in H/s.
        located: what is located of it, in H/s.
    """
    codes = code_numbers(tuple(located))
    table = Table(
        np.zeros(len(codes), np.intp), codes * len(KINDS), floats(located.values(), len(codes))
    )
    ratios = _missing(_Weights.of([weights]), np.array([whole]), table)
    return dict(zip(weights, ratios.tolist(), strict=True))


def _missing(weights: _Weights, wholes: Floats, located: Table) -> Floats:
    """Return for each weight the ratio of what its distribution says of the part not located.

    Args:
        weights: of distributions.
        wholes: the hashrate that each of these describes.
        located: what is located of it; the number of a pool is that of the distribution.
    """
    whole = wholes[weights.rows]
    lacking = weights.weights * whole - _counted(weights, wholes, located)
    lacking[lacking <= REMAINDER_TOLERANCE * whole] = 0.0
    total = sum_by(weights.rows, lacking, len(wholes))[weights.rows]
    return np.divide(lacking, total, out=weights.weights.copy(), where=total > 0)


def _counted(weights: _Weights, wholes: Floats, located: Table) -> Floats:
    """Return how much of what is located counts towards each weight, in H/s.

    It is computed in cells: one for each distribution and each code that occurs in any.
    """
    other = CODES[OTHER]
    countries = CODES.countries
    width, column = _columns(countries, weights.codes, located.codes, np.array([other]))

    def cell(rows: Ints, codes: Ints | int) -> Ints:
        return rows * width + column[codes]

    size = len(wholes) * width
    at, at_country = (
        cell(weights.rows, codes) for codes in (weights.codes, countries[weights.codes])
    )
    has_weight = np.zeros(size, np.bool_)
    has_weight[at] = True
    weight = sum_by(at, weights.weights, size)
    inner = np.where(at == at_country, 0.0, weights.weights)
    inner_sum = sum_by(at_country, inner, size)

    # Each located code counts towards its own weight, else that of its country, else OTHER's. What
    # is known no finer than a country without a weight is counted there, for its subdivisions.
    code, country = (
        cell(located.pools, codes) for codes in (located.codes, countries[located.codes])
    )
    is_of_inner = (code == country) & (inner_sum[country] > 0)
    towards_country = has_weight[country] | is_of_inner
    towards = np.where(towards_country, country, cell(located.pools, other))
    towards = np.where(has_weight[code], code, towards)
    counted = sum_by(towards, located.hashrates, size)

    # What a country has over its weight counts towards its subdivisions, in their proportions.
    of_country = weight[at_country] * wholes[weights.rows]
    excess = np.maximum(counted[at_country] - of_country, 0.0)
    ratio = np.divide(inner, inner_sum[at_country], out=np.zeros_like(inner), where=inner > 0)
    found: Floats = counted[at] + excess * ratio
    return found


def _columns(countries: Ints, *codes: Ints) -> tuple[int, Ints]:
    """Return how many columns some codes and their countries need, and the column of each code.

    Args:
        countries: of all codes, by their numbers.
        codes: the numbers of those that need a column.
    """
    used = np.zeros(len(countries), np.bool_)
    for each in codes:
        used[each] = True
    used[countries[used]] = True
    columns = np.cumsum(used) - 1
    return int(columns[-1]) + 1, columns


def _more(hashrates: Floats, wholes: Floats) -> Floats:
    """Return differences of hashrates; 0 if negative or floating-point error of their wholes."""
    return np.where(hashrates > REMAINDER_TOLERANCE * wholes, hashrates, 0.0)


# --- claims ---------------------------------------------------------------------------------------


def _located_by(table: Table, kinds: Iterable[Kind]) -> dict[str, Hashrate]:
    """Return the hashrate of these kinds that is located at exactly each place."""
    some = table.where(np.isin(table.kinds, [NUMBER_OF_KIND[kind] for kind in kinds]))
    return _by_code(some.codes, sum_by(some.codes, some.hashrates))


def _by_place(wanted: Mapping[Amount, Hashrate]) -> dict[str, Hashrate]:
    """Return what claims want, added up by place."""
    sums: defaultdict[str, Hashrate] = defaultdict(float)
    for claim, hashrate in wanted.items():
        sums[claim.place] += hashrate
    return sums


def _wanted(amounts: Sequence[Amount], known: Mapping[str, Hashrate]) -> dict[Amount, Hashrate]:
    """Return what each claim adds: only what nothing located can already be (method.md 5.1)."""
    claimed: defaultdict[str, Hashrate] = defaultdict(float)
    for amount in amounts:
        claimed[amount.place] += amount.hashrate
    at_place: dict[str, Hashrate] = {}
    for country in {country_of(place) for place in claimed}:
        at_place |= _wanted_in(country, claimed, known)
    return {
        amount: at_place[amount.place] * amount.hashrate / claimed[amount.place]
        for amount in amounts
        if claimed[amount.place] > 0
    }


def _wanted_in(
    country: str, claimed: Mapping[str, Hashrate], known: Mapping[str, Hashrate]
) -> dict[str, Hashrate]:
    inside = {
        code
        for code in (*claimed, *known)
        if country_of(code) == country and code not in {country, f"{country}-{OTHER}"}
    }
    more = {code: max(0.0, claimed.get(code, 0.0) - known.get(code, 0.0)) for code in inside}
    lacking = sum(more.values())
    surplus = sum(max(0.0, known.get(code, 0.0) - claimed.get(code, 0.0)) for code in inside)
    anywhere = known.get(country, 0.0) + known.get(f"{country}-{OTHER}", 0.0)
    ratio = max(0.0, lacking - anywhere) / lacking if lacking > 0 else 0.0
    wanted = {code: hashrate * ratio for code, hashrate in more.items()}
    left_anywhere = max(0.0, anywhere - lacking)
    wanted[country] = max(0.0, claimed.get(country, 0.0) - surplus - left_anywhere)
    return wanted
