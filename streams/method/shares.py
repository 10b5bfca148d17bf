"""Shares of the located hashrate by place, and how certain they are (method.md 7 and 8). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate, compress
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from miningmap.messages import KINDS
from miningmap.places import OTHER_SUFFIX, country_of
from streams.method.cohort import SAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from streams.method.beliefs import Hashrate, Ratio, Weights
    from streams.method.cells import Places
    from streams.method.placing import PlacedPool, Placement

T = TypeVar("T")

MIN_EVIDENCE: Final[Ratio] = 0.5
"""A place with less evidence has no sensitivity: leaving out pools that share one assumption
measures nothing."""

_UNKNOWN_BOUNDS: Final = (None, None)


class HashrateByKind(NamedTuple):
    """A hashrate (H/s), split by how its place is known."""

    measured: Hashrate = 0.0
    declared: Hashrate = 0.0
    estimated: Hashrate = 0.0
    prior: Hashrate = 0.0

    @property
    def evidence(self) -> Hashrate:
        """The part for which something says that it is there."""
        return self.measured + self.declared + self.estimated

    def plus(self, other: HashrateByKind) -> HashrateByKind:
        """Return the sum, kind by kind."""
        return HashrateByKind(*map(add, self, other))


HashrateByPlace: TypeAlias = "Mapping[str, HashrateByKind]"
"""Hashrate by the code of a place, split by kind."""


@dataclass(frozen=True)
class Share:
    """The share of one place and how certain it is; ``None`` if unknown."""

    code: str
    share: Ratio
    share_of_country: Ratio | None
    evidence: Ratio | None
    low: Ratio | None
    high: Ratio | None
    declared_low: Ratio | None
    declared_high: Ratio | None
    sensitivity: tuple[Ratio, Ratio] | None
    belief: tuple[Ratio, Ratio] | None
    kinds: HashrateByKind


@dataclass(frozen=True)
class Shares:
    """The shares of a placed cohort.

    Attributes:
        placement: the cohort with its hashrate located.
        compare_beliefs: whether to compare the priors of the network; not if the query names one.
    """

    placement: Placement
    compare_beliefs: bool = True

    # --- the whole answer ---

    @property
    def network(self) -> Hashrate | None:
        """The network's hashrate; ``None`` if unknown."""
        return self.placement.cohort.network

    @property
    def total(self) -> Hashrate:
        """The cohort's hashrate."""
        return sum(pool.member.total for pool in self.placement.pools)

    @property
    def coverage(self) -> Ratio | None:
        """The cohort's part of the network, which can exceed 1."""
        return self.network and self.total / self.network

    @property
    def located(self) -> Ratio | None:
        """The part of the cohort's hashrate that has a place."""
        return min(1.0, self._located / self.total) if self.total > 0 else None

    @property
    def evidence(self) -> Ratio | None:
        """The part of what is located for which something says that it is there."""
        evidence = sum(kinds.evidence for kinds in self.by_country.values())
        return min(1.0, evidence / self._located) if self._located > 0 else None

    @property
    def measured_coverage(self) -> Ratio | None:
        """The part of the network with a measured place."""
        return self._coverage_of(_measured)

    @property
    def declared_coverage(self) -> Ratio | None:
        """The part of the network with a measured or a declared place."""
        return self._coverage_of(_stated)

    def _coverage_of(self, part: Callable[[HashrateByKind], Hashrate]) -> Ratio | None:
        """Return a part of the coverage, which rounding errors must not make larger than that."""
        return self.network and min(self._sum(part), self.total) / self.network

    # --- sums ---

    @cached_property
    def by_code(self) -> HashrateByPlace:
        """The cohort's hashrate at exactly each place."""
        return by_place(pool.places for pool in self.placement.pools)

    @cached_property
    def by_country(self) -> HashrateByPlace:
        """The cohort's hashrate by country, including that of its subdivisions."""
        result: dict[str, HashrateByKind] = {}
        for code, kinds in self.by_code.items():
            country = country_of(code)
            result[country] = result.get(country, HashrateByKind()).plus(kinds)
        return result

    @cached_property
    def _located(self) -> Hashrate:
        return sum(sum(kinds) for kinds in self.by_country.values())

    @cached_property
    def _codes_in(self) -> Mapping[str, Sequence[str]]:
        """The codes at which anything is listed, by country."""
        codes: dict[str, list[str]] = {}
        for code in self.by_code:
            codes.setdefault(country_of(code), []).append(code)
        return codes

    @cached_property
    def _located_of_pools(self) -> list[Hashrate]:
        return [sum(pool.places.values()) for pool in self.placement.pools]

    def _of_pools(self, rows: Mapping[str, Sequence[str]]) -> dict[str, list[Hashrate]]:
        """Return what is located of each pool, in their order, by row.

        Args:
            rows: for each row, the codes of the places that count in it.
        """
        row_of = {
            (code, kind): row for row, codes in rows.items() for code in codes for kind in KINDS
        }
        columns = {row: [0.0] * len(self.placement.pools) for row in rows}
        for number, pool in enumerate(self.placement.pools):
            places = pool.places
            # The shorter of the two is looked through: most questions are about one place.
            for place in row_of if len(row_of) < len(places) else places:
                if place in row_of and place in places:
                    columns[row_of[place]][number] += places[place]
        return columns

    def _sum(self, part: Callable[[HashrateByKind], Hashrate]) -> Hashrate:
        return sum(part(kinds) for kinds in self.by_country.values())

    # --- places ---

    def countries(self, only: Collection[str] | None = None) -> list[Share]:
        """Return each country's share, in the order of the answer; empty if nothing is located.

        Args:
            only: the countries that are wanted; by default all. What is not wanted is not computed.
        """
        return self._rows(self.by_country, None, only)

    def subdivisions(self, country: str, only: Collection[str] | None = None) -> list[Share]:
        """Return the share of each subdivision of a country that is listed, in the same order.

        Hashrate that is known only by country is assumed to be distributed like the rest of it.
        """
        inside = (code for code in self._codes_in.get(country, ()) if code != country)
        return self._rows({code: self.by_code[code] for code in inside}, country, only)

    def _rows(
        self, listed: HashrateByPlace, country: str | None, only: Collection[str] | None
    ) -> list[Share]:
        total = sum(sum(kinds) for kinds in listed.values())
        if total <= 0:
            return []
        wanted = {code: k for code, k in listed.items() if only is None or code in only}
        scale = 1.0 if country is None else _scale(self._located, sum(self.by_country[country]))
        ranges = self._leave_one_out(listed, wanted, country)
        beliefs = self._belief_ranges(country)
        bounds = self._bounds(wanted, country, _measured)
        declared_bounds = self._bounds(wanted, country, _stated)
        rows = []
        for code, kinds in wanted.items():
            share = min(1.0, sum(kinds) / total)
            evidence = _evidence_of(kinds)
            low, high = bounds.get(code, _UNKNOWN_BOUNDS)
            declared_low, declared_high = declared_bounds.get(code, _UNKNOWN_BOUNDS)
            rows.append(
                Share(
                    code=code,
                    share=share * scale,
                    share_of_country=None if country is None else share,
                    evidence=evidence,
                    low=low,
                    high=high,
                    declared_low=declared_low,
                    declared_high=declared_high,
                    sensitivity=ranges.get(code),
                    belief=None if beliefs is None else beliefs[code],
                    kinds=kinds,
                )
            )
        return in_order(rows, lambda row: row.share, lambda row: row.code)

    def _leave_one_out(
        self, listed: HashrateByPlace, wanted: HashrateByPlace, country: str | None
    ) -> dict[str, tuple[Ratio, Ratio]]:
        """Return the smallest and the largest share over all cohorts without one pool.

        Only of the wanted places for which there is enough evidence.
        """
        known = [
            code
            for code, kinds in wanted.items()
            if (_evidence_of(kinds) or 0.0) >= MIN_EVIDENCE * (1 - SAME)
        ]
        if not known or len(self.placement.pools) < 2:  # noqa: PLR2004 - without its only pool a cohort is empty
            return {}
        if country is None:
            tables = self._of_pools({code: self._codes_in[code] for code in known})
            return _leave_one_out(tables, self._located_of_pools, None)
        tables = self._of_pools({code: [code] for code in known})
        whole = self._of_pools({"listed": list(listed), "exactly": [country]})
        inside = list(map(add, whole["listed"], whole["exactly"]))
        return _leave_one_out(tables, whole["listed"], (self._located_of_pools, inside))

    # --- how sure ---

    def _bounds(
        self,
        listed: HashrateByPlace,
        country: str | None,
        part: Callable[[HashrateByKind], Hashrate],
    ) -> dict[str, tuple[Ratio, Ratio]]:
        """Return what holds for each place whatever is assumed about the hashrate outside ``part``.

        Empty if the network's hashrate is unknown.
        """
        if self.network is None:
            return {}
        # An estimate of the network can be too small; what was seen cannot.
        network = max(self.network, self.total)
        unknown = max(0.0, 1 - self._sum(part) / network)
        bounds = {}
        for code, kinds in listed.items():
            low = min(1.0, part(kinds) / network)
            anywhere = 0.0 if country is None else self._anywhere(code, country, part)
            bounds[code] = low, min(1.0, low + unknown + anywhere / network)
        return bounds

    def _anywhere(
        self, code: str, country: str, part: Callable[[HashrateByKind], Hashrate]
    ) -> Hashrate:
        """Return what is known to be in the country, and may be in this subdivision of it."""
        none = HashrateByKind()
        anywhere = part(self.by_code.get(country, none))
        if code != country + OTHER_SUFFIX:
            anywhere += part(self.by_code.get(country + OTHER_SUFFIX, none))
        return anywhere

    def _belief_ranges(self, country: str | None) -> dict[str, tuple[Ratio, Ratio]] | None:
        """Return the smallest and the largest share of each place over all priors of the network.

        ``None`` if there is nothing to compare.
        """
        priors = self.placement.network_ratios.values()
        if not self.compare_beliefs or len(priors) < 2:  # noqa: PLR2004 - one is no comparison
            return None
        tables = [_shares_in(self._under(ratios), country) for ratios in priors]
        codes = {code for table in tables for code in table}
        columns = {code: [table.get(code, 0.0) for table in tables] for code in codes}
        return {code: (min(column), max(column)) for code, column in columns.items()}

    def _under(self, ratios: Weights) -> dict[str, Hashrate]:
        located = dict(self.placement.before_network_prior)
        for code, ratio in ratios.items():
            located[code] = located.get(code, 0.0) + self.placement.remainder * ratio
        return located


def in_order(rows: Iterable[T], figure: Callable[[T], float], name: Callable[[T], str]) -> list[T]:
    """Return rows by their figure, the largest first, and those with the same figure by name."""
    result: list[T] = []
    same: list[T] = []
    for row in sorted(rows, key=figure, reverse=True):
        if same and figure(row) < figure(same[0]) * (1 - SAME):
            result += sorted(same, key=name)
            same = []
        same.append(row)
    return result + sorted(same, key=name)


def kinds_of(pool: PlacedPool) -> HashrateByKind:
    """Return what is located of a pool, by kind."""
    return _by_kind(pool.places)


def kinds_at(pool: PlacedPool, code: str) -> HashrateByKind:
    """Return what is located of a pool at a place, its subdivisions included, by kind."""
    return _by_kind(
        {
            (exact, kind): hashrate
            for (exact, kind), hashrate in pool.places.items()
            if code in {exact, country_of(exact)}
        }
    )


def _by_kind(places: Places) -> HashrateByKind:
    return reduce(HashrateByKind.plus, by_place([places]).values(), HashrateByKind())


def _evidence_of(kinds: HashrateByKind) -> Ratio | None:
    """Return the part of a place's hashrate for which there is evidence; ``None`` of nothing."""
    return min(1.0, kinds.evidence / sum(kinds)) if sum(kinds) > 0 else None


def _measured(kinds: HashrateByKind) -> Hashrate:
    return kinds.measured


def _stated(kinds: HashrateByKind) -> Hashrate:
    return kinds.measured + kinds.declared


def by_place(tables: Iterable[Places]) -> dict[str, HashrateByKind]:
    """Return the hashrate of all tables at exactly each place, by kind."""
    sums: Places = {}
    for places in tables:
        for place, hashrate in places.items():
            sums[place] = sums.get(place, 0.0) + hashrate
    rows: dict[str, list[Hashrate]] = {}
    for (code, kind), hashrate in sums.items():
        rows.setdefault(code, [0.0] * len(KINDS))[KINDS.index(kind)] = hashrate
    return {code: HashrateByKind(*row) for code, row in rows.items()}


def _shares_in(located: Mapping[str, Hashrate], country: str | None) -> dict[str, Ratio]:
    """Return the share of each country, or of each subdivision of a country.

    Something must be located.
    """
    countries: dict[str, Hashrate] = {}
    for code, hashrate in located.items():
        countries[country_of(code)] = countries.get(country_of(code), 0.0) + hashrate
    total = sum(countries.values())
    if country is None:
        return {code: hashrate / total for code, hashrate in countries.items()}
    inner = {code: h for code, h in located.items() if code.startswith(f"{country}-")}
    listed = sum(inner.values())
    if listed <= 0:
        return {}
    return {code: h / listed * countries[country] / total for code, h in inner.items()}


def _scale(located: Hashrate, country: Hashrate) -> Ratio:
    """Return the country's share, by which the shares of its subdivisions are multiplied.

    Limited to 1, which a floating-point error could exceed. Something must be located.
    """
    return min(1.0, country / located)


def _leave_one_out(
    tables: Mapping[str, Sequence[Hashrate]],
    listed: Sequence[Hashrate],
    parts: tuple[Sequence[Hashrate], Sequence[Hashrate]] | None,
) -> dict[str, tuple[Ratio, Ratio]]:
    """Return the smallest and the largest share of each place over all cohorts without one pool.

    Args:
        tables: what each pool has at each place.
        listed: what it has at all places of the answer together.
        parts: what it has located, and what of that in the country whose subdivisions the places
            are; ``None`` for countries.
    """
    totals = _sums_without(listed)
    scales = [1.0] * len(totals)
    if parts is not None:
        located, inside = map(_sums_without, parts)
        scales = [_scale(a, b) if a > 0 else 0.0 for a, b in zip(located, inside, strict=True)]
    # A cohort without any place of the answer has no shares.
    kept = [total > 0 for total in totals]
    totals, scales = list(compress(totals, kept)), list(compress(scales, kept))
    if not totals:
        return {}
    ranges = {}
    for code, hashrates in tables.items():
        without = compress(_sums_without(hashrates), kept)
        shares = [h / t * s for h, t, s in zip(without, totals, scales, strict=True)]
        ranges[code] = min(shares), min(1.0, max(shares))
    return ranges


def _sums_without(numbers: Sequence[float]) -> list[float]:
    """Return, for each number, the sum of all others.

    They are added up from both ends and not subtracted from the total, so that a place which only
    one pool lists is exactly 0 without that pool.
    """
    before = accumulate(numbers[:-1], initial=0.0)
    after = list(accumulate(reversed(numbers[1:]), initial=0.0))
    return list(map(add, before, reversed(after)))
