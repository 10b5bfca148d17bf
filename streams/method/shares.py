"""Shares of the located hashrate by place, and how certain they are (method.md 7 and 8). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate, repeat, starmap
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from miningmap.messages import KINDS
from miningmap.places import OTHER_SUFFIX, country_of
from streams.method.cohort import SAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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
    def _countries_of_pools(self) -> list[dict[str, Hashrate]]:
        return [_fold(pool.places, country_of) for pool in self.placement.pools]

    @cached_property
    def _codes_of_pools(self) -> list[dict[str, Hashrate]]:
        return [_fold(pool.places, _itself) for pool in self.placement.pools]

    def _sum(self, part: Callable[[HashrateByKind], Hashrate]) -> Hashrate:
        return sum(part(kinds) for kinds in self.by_country.values())

    # --- places ---

    def countries(self) -> list[Share]:
        """Return each country's share, in the order of the answer; empty if nothing is located."""
        return self._rows(self.by_country, self._countries_of_pools, country=None)

    def subdivisions(self, country: str) -> list[Share]:
        """Return the share of each subdivision of a country that is listed, in the same order.

        Hashrate that is known only by country is assumed to be distributed like the rest of it.
        """
        prefix = f"{country}-"
        listed = {code: k for code, k in self.by_code.items() if code.startswith(prefix)}
        tables = [
            {code: h for code, h in table.items() if code in listed}
            for table in self._codes_of_pools
        ]
        return self._rows(listed, tables, country)

    def _rows(
        self, listed: HashrateByPlace, tables: Sequence[Mapping[str, Hashrate]], country: str | None
    ) -> list[Share]:
        total = sum(sum(kinds) for kinds in listed.values())
        if total <= 0:
            return []
        scale = 1.0 if country is None else _scale(self._located, sum(self.by_country[country]))
        ranges = _leave_one_out(tables, None if country is None else self._parts(country))
        beliefs = self._belief_ranges(country)
        bounds = self._bounds(listed, country, _measured)
        declared_bounds = self._bounds(listed, country, _stated)
        rows = []
        for code, kinds in listed.items():
            share = min(1.0, sum(kinds) / total)
            evidence = min(1.0, kinds.evidence / sum(kinds)) if sum(kinds) > 0 else None
            known = evidence is not None and evidence >= MIN_EVIDENCE * (1 - SAME)
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
                    sensitivity=ranges.get(code) if known else None,
                    belief=None if beliefs is None else beliefs[code],
                    kinds=kinds,
                )
            )
        return in_order(rows, lambda row: row.share, lambda row: row.code)

    def _parts(self, country: str) -> list[_CountryPart]:
        return [
            _CountryPart(sum(table.values()), table.get(country, 0.0))
            for table in self._countries_of_pools
        ]

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


class _CountryPart(NamedTuple):
    """One pool's located hashrate, and the part of it in the country concerned."""

    located: Hashrate
    country: Hashrate


_WHOLE: Final = _CountryPart(1.0, 1.0)
"""The world as a part of itself: shares of countries are not scaled."""


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


def _measured(kinds: HashrateByKind) -> Hashrate:
    return kinds.measured


def _stated(kinds: HashrateByKind) -> Hashrate:
    return kinds.measured + kinds.declared


def _itself(code: str) -> str:
    return code


def by_place(tables: Iterable[Places]) -> dict[str, HashrateByKind]:
    """Return the hashrate of all tables at exactly each place, by kind."""
    rows: dict[str, list[Hashrate]] = {}
    for places in tables:
        for (code, kind), hashrate in places.items():
            rows.setdefault(code, [0.0] * len(KINDS))[KINDS.index(kind)] += hashrate
    return {code: HashrateByKind(*row) for code, row in rows.items()}


def _fold(places: Places, place_of: Callable[[str], str]) -> dict[str, Hashrate]:
    """Return the hashrate by place, kinds added up."""
    sums: dict[str, Hashrate] = {}
    for (code, _), hashrate in places.items():
        sums[place_of(code)] = sums.get(place_of(code), 0.0) + hashrate
    return sums


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
    tables: Sequence[Mapping[str, Hashrate]], parts: Sequence[_CountryPart] | None
) -> dict[str, tuple[Ratio, Ratio]]:
    """Return the smallest and the largest share of each place over all cohorts without one pool."""
    if len(tables) < 2:  # noqa: PLR2004 - without its only pool a cohort is empty
        return {}
    codes = sorted({code for table in tables for code in table})
    rows = [[table.get(code, 0.0) for code in codes] for table in tables]
    parts_without = repeat(_WHOLE) if parts is None else starmap(_CountryPart, _sums_without(parts))
    shares = []
    for remaining, part in zip(_sums_without(rows), parts_without, strict=False):
        total = sum(remaining)
        if total > 0:
            scale = _scale(*part)
            shares.append([hashrate / total * scale for hashrate in remaining])
    columns = zip(*shares, strict=True)
    return {code: (min(c), max(c)) for code, c in zip(codes, columns, strict=False)}


def _sums_without(rows: Sequence[Sequence[float]]) -> Iterable[list[float]]:
    """Return, for each row, the column sums of all other rows.

    They are added up from both ends and not subtracted from the total, so that a place which only
    one pool lists is exactly 0 without that pool.
    """
    zero = [0.0] * len(rows[0])
    before = accumulate(rows[:-1], _plus, initial=zero)
    after = list(accumulate(reversed(rows[1:]), _plus, initial=zero))
    return (_plus(a, b) for a, b in zip(before, reversed(after), strict=True))


def _plus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return list(map(add, a, b))
