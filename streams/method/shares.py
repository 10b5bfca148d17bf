"""Shares of the located hashrate by place, and how certain they are (method.md 7 and 8). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, starmap
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np

from miningmap.messages import KINDS
from miningmap.places import OTHER_SUFFIX
from streams.method.cohort import SAME
from streams.method.tables import (
    CODES,
    NUMBER_OF_KIND,
    code_numbers,
    floats,
    names_of,
    sum_by,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from miningmap.messages import Kind
    from streams.method.beliefs import Hashrate, Ratio, Weights
    from streams.method.placing import PlacedPool, Placement
    from streams.method.tables import Floats, Ints, Table

T = TypeVar("T")

MIN_EVIDENCE: Final[Ratio] = 0.5
"""A place with less evidence has no sensitivity: leaving out pools that share one assumption
measures nothing."""

Part: TypeAlias = "Callable[[Floats], Floats]"
"""Returns a part of hashrates that are given by kind, in the last axis."""


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

    @cached_property
    def total(self) -> Hashrate:
        """The cohort's hashrate."""
        return sum(member.total for member in self.placement.cohort.members.values())

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
        evidence = self._sum(_evidence)
        return min(1.0, evidence / self._located) if self._located > 0 else None

    @property
    def measured_coverage(self) -> Ratio | None:
        """The part of the network with a measured place."""
        return self._coverage_of(_measured)

    @property
    def declared_coverage(self) -> Ratio | None:
        """The part of the network with a measured or a declared place."""
        return self._coverage_of(_stated)

    def _coverage_of(self, part: Part) -> Ratio | None:
        """Return a part of the coverage, which rounding errors must not make larger than that."""
        return self.network and min(self._sum(part), self.total) / self.network

    def _sum(self, part: Part) -> Hashrate:
        return float(part(self._by_country.kinds).sum())

    # --- sums ---

    @property
    def _table(self) -> Table:
        return self.placement.table

    @property
    def _number(self) -> int:
        """The number of pools in the cohort."""
        return len(self.placement.cohort.members)

    @cached_property
    def _codes(self) -> Ints:
        """The number of the code in each row of the table."""
        return self._table.codes

    @cached_property
    def _countries(self) -> Ints:
        """The number of the code's country in each row of the table."""
        return CODES.countries[self._codes]

    @cached_property
    def _located_without(self) -> Floats:
        """What is located of all pools but one, for each that is left out."""
        return _sums_without(self._of_pools(self._table.hashrates))

    @cached_property
    def _by_code(self) -> _Sums:
        """The cohort's hashrate at exactly each place."""
        return _Sums.of(self._codes, self._table.kinds, self._table.hashrates)

    @cached_property
    def _by_country(self) -> _Sums:
        """The cohort's hashrate by country, including that of its subdivisions."""
        codes, kinds = self._by_code
        countries = np.repeat(CODES.countries[codes], len(KINDS))
        return _Sums.of(countries, np.tile(np.arange(len(KINDS)), len(codes)), kinds.ravel())

    @cached_property
    def _located(self) -> Hashrate:
        return float(self._by_country.kinds.sum())

    @property
    def divided(self) -> list[str]:
        """The countries of which a subdivision is listed, in alphabetical order."""
        codes = self._by_code.codes
        countries = CODES.countries[codes]
        return sorted(names_of(np.unique(countries[countries != codes])))

    # --- places ---

    def countries(self, only: Collection[str] | None = None) -> list[Share]:
        """Return each country's share, in the order of the answer; empty if nothing is located.

        Args:
            only: the countries that are wanted; by default all. What is not wanted is not computed.
        """
        return self._rows(self._by_country, None, only)

    def subdivisions(self, country: str, only: Collection[str] | None = None) -> list[Share]:
        """Return the share of each subdivision of a country that is listed, in the same order.

        Hashrate that is known only by country is assumed to be distributed like the rest of it.
        """
        number = CODES[country]
        codes = self._by_code.codes
        inside = (CODES.countries[codes] == number) & (codes != number)
        return self._rows(self._by_code.where(inside), number, only)

    def _rows(
        self, listed: _Sums, country: int | None, only: Collection[str] | None
    ) -> list[Share]:
        """Return the shares of what is listed: countries, or subdivisions of a country."""
        total = float(listed.kinds.sum())
        if total <= 0:
            return []
        wanted = listed
        if only is not None:
            wanted = listed.where(np.isin(listed.codes, code_numbers(tuple(sorted(only)))))
        scale = 1.0
        if country is not None:
            scale = _scale(self._located, float(self._by_country.at(country).sum()))
        shares = np.minimum(1.0, wanted.kinds.sum(axis=1) / total)
        columns = (
            names_of(wanted.codes),
            (shares * scale).tolist(),
            _unknown(wanted) if country is None else shares.tolist(),
            _known(wanted.evidence),
            *self._bounds(wanted, country, _measured),
            *self._bounds(wanted, country, _stated),
            self._leave_one_out(wanted, country),
            self._belief_ranges(wanted, country),
            list(starmap(HashrateByKind, wanted.kinds.tolist())),
        )
        rows = starmap(Share, zip(*columns, strict=True))
        return in_order(rows, lambda row: row.share, lambda row: row.code)

    # --- how sure ---

    def _bounds(
        self, wanted: _Sums, country: int | None, part: Part
    ) -> tuple[Sequence[Ratio | None], Sequence[Ratio | None]]:
        """Return what holds for each place whatever is assumed about the hashrate outside ``part``.

        Unknown if the network's hashrate is.
        """
        if self.network is None:
            return _unknown(wanted), _unknown(wanted)
        # An estimate of the network can be too small; what was seen cannot.
        network = max(self.network, self.total)
        unknown = max(0.0, 1 - self._sum(part) / network)
        low = np.minimum(1.0, part(wanted.kinds) / network)
        anywhere = 0.0 if country is None else self._anywhere(wanted, country, part)
        return low.tolist(), np.minimum(1.0, low + unknown + anywhere / network).tolist()

    def _anywhere(self, wanted: _Sums, country: int, part: Part) -> Floats:
        """Return what is known to be in the country, and may be in each subdivision of it."""
        other = CODES[CODES.by_number[country] + OTHER_SUFFIX]
        exactly, elsewhere = part(self._by_code.at(country)), part(self._by_code.at(other))
        return np.where(wanted.codes == other, exactly, exactly + elsewhere)

    def _leave_one_out(
        self, wanted: _Sums, country: int | None
    ) -> Sequence[tuple[Ratio, Ratio] | None]:
        """Return the smallest and the largest share over all cohorts without one pool.

        Only of the places for which there is enough evidence.
        """
        found: list[tuple[Ratio, Ratio] | None] = [*_unknown(wanted)]
        known = np.flatnonzero(wanted.evidence >= MIN_EVIDENCE * (1 - SAME))
        if not len(known) or self._number < 2:  # noqa: PLR2004 - without its only pool a cohort is empty
            return found
        if country is None:
            totals, scales = self._located_without, np.ones(self._number)
            at_places = self._at_places(self._countries, wanted.codes[known])
        else:
            inside = np.where(self._countries == country, self._table.hashrates, 0.0)
            listed = np.where(self._codes != country, inside, 0.0)
            totals = _sums_without(self._of_pools(listed))
            scales = _scales(self._located_without, _sums_without(self._of_pools(inside)))
            at_places = self._at_places(self._codes, wanted.codes[known])
        # A cohort without any place of the answer has no shares.
        kept = totals > 0
        if not kept.any():
            return found
        shares = _sums_without(at_places)
        if not kept.all():
            shares, scales, totals = shares[kept], scales[kept], totals[kept]
        shares *= (scales / totals)[:, np.newaxis]
        lowest, highest = shares.min(axis=0), np.minimum(1.0, shares.max(axis=0))
        for number, *ends in zip(known.tolist(), lowest.tolist(), highest.tolist(), strict=True):
            found[number] = ends[0], ends[1]
        return found

    def _of_pools(self, hashrates: Floats) -> Floats:
        """Return the sum of each pool, of hashrates that are given for each row of the table."""
        return sum_by(self._table.pools, hashrates, self._number)

    def _at_places(self, codes: Ints, wanted: Ints) -> Floats:
        """Return the hashrate of each pool (down) at each place that is wanted (across).

        Args:
            codes: the numbers of the code that each row of the table counts at.
            wanted: the numbers of codes.
        """
        column = np.full(len(CODES.countries), -1)
        column[wanted] = np.arange(len(wanted))
        columns = column[codes]
        some = columns >= 0
        pools, width = self._number, len(wanted)
        cells = self._table.pools[some] * width + columns[some]
        sums = sum_by(cells, self._table.hashrates[some], pools * width)
        return sums.reshape(pools, width)

    def _belief_ranges(
        self, wanted: _Sums, country: int | None
    ) -> Sequence[tuple[Ratio, Ratio] | None]:
        """Return the smallest and the largest share of each place over all priors of the network.

        Unknown if there is nothing to compare.
        """
        priors = self.placement.network_ratios.values()
        if not self.compare_beliefs or len(priors) < 2:  # noqa: PLR2004 - one is no comparison
            return _unknown(wanted)
        tables = [_shares_in(self._under(ratios), country, wanted.codes) for ratios in priors]
        lowest, highest = np.min(tables, axis=0), np.max(tables, axis=0)
        return list(zip(lowest.tolist(), highest.tolist(), strict=True))

    def _under(self, ratios: Weights) -> Floats:
        """Return the hashrate at exactly each place under a prior, by the number of the code."""
        before = self.placement.before_network_prior
        numbers = code_numbers((*before, *ratios))
        assumed = (self.placement.remainder * ratio for ratio in ratios.values())
        hashrates = floats(chain(before.values(), assumed), len(numbers))
        return sum_by(numbers, hashrates, len(CODES.countries))


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


def kinds_of(placement: Placement) -> list[HashrateByKind]:
    """Return what is located of each pool, by kind, in the order of the cohort."""
    table, number = placement.table, len(placement.cohort.members)
    cells = table.pools * len(KINDS) + table.kinds
    sums = sum_by(cells, table.hashrates, number * len(KINDS)).reshape(-1, len(KINDS))
    return list(starmap(HashrateByKind, sums.tolist()))


def kinds_at(pool: PlacedPool, code: str) -> HashrateByKind:
    """Return what is located of a pool at a place, its subdivisions included, by kind."""
    places, hashrates = pool.located
    number, codes = CODES[code], places // len(KINDS)
    there = (codes == number) | (CODES.countries[codes] == number)
    return HashrateByKind(
        *sum_by(places[there] % len(KINDS), hashrates[there], len(KINDS)).tolist()
    )


def _of_kind(kinds: Floats, kind: Kind) -> Floats:
    found: Floats = kinds[..., NUMBER_OF_KIND[kind]]
    return found


def _measured(kinds: Floats) -> Floats:
    return _of_kind(kinds, "measured")


def _stated(kinds: Floats) -> Floats:
    return _measured(kinds) + _of_kind(kinds, "declared")


def _evidence(kinds: Floats) -> Floats:
    return _stated(kinds) + _of_kind(kinds, "estimated")


class _Sums(NamedTuple):
    """The hashrate of a cohort by place and kind.

    Attributes:
        codes: the number of the code of each row.
        kinds: a row for each place, and in it the hashrate by the number of the kind.
    """

    codes: Ints
    kinds: Floats

    @classmethod
    def of(cls, codes: Ints, kinds: Ints, hashrates: Floats) -> _Sums:
        """Return the sums of hashrates of these codes and kinds: a row for each code."""
        rows = np.bincount(codes)
        cells = sum_by(codes * len(KINDS) + kinds, hashrates, len(rows) * len(KINDS))
        listed = np.flatnonzero(rows)
        return cls(listed, cells.reshape(-1, len(KINDS))[listed])

    @property
    def evidence(self) -> Floats:
        """The part of the hashrate of each row for which there is evidence; NaN of nothing."""
        whole = self.kinds.sum(axis=1)
        unknown = np.full_like(whole, np.nan)
        parts = np.divide(_evidence(self.kinds), whole, out=unknown, where=whole > 0)
        found: Floats = np.minimum(1.0, parts)
        return found

    def where(self, rows: NDArray[np.bool_]) -> _Sums:
        """Return some of the rows."""
        return _Sums(self.codes[rows], self.kinds[rows])

    def at(self, code: int) -> Floats:
        """Return the hashrate at a place by the number of the kind."""
        found: Floats = self.kinds[self.codes == code].sum(axis=0)
        return found


def _unknown(wanted: _Sums) -> list[None]:
    return [None] * len(wanted.codes)


def _known(ratios: Floats) -> list[Ratio | None]:
    """Return ratios, those that are not a number as ``None``."""
    return [None if math.isnan(ratio) else ratio for ratio in ratios.tolist()]


def _shares_in(located: Floats, country: int | None, wanted: Ints) -> Floats:
    """Return the share of countries, or of subdivisions of a country. Something must be located.

    Args:
        located: the hashrate at exactly each place, by the number of the code.
        country: the number of the country, or ``None``.
        wanted: the numbers of the places.
    """
    in_country = CODES.countries[: len(located)]
    countries = sum_by(in_country, located, len(located))
    shares: Floats = countries / countries.sum()
    if country is not None:
        inside = in_country == country
        inside[country] = False
        listed = float(located[inside].sum())
        shares = located / listed * shares[country] if listed > 0 else np.zeros_like(located)
    return shares[wanted]


def _scale(located: Hashrate, country: Hashrate) -> Ratio:
    """Return the country's share, by which the shares of its subdivisions are multiplied.

    Limited to 1, which a floating-point error could exceed. Something must be located.
    """
    return min(1.0, country / located)


def _scales(located: Floats, inside: Floats) -> Floats:
    """Return the country's share in each of some cohorts; 0 where nothing is located."""
    parts = np.divide(inside, located, out=np.zeros_like(inside), where=located > 0)
    return np.minimum(1.0, parts)


def _sums_without(hashrates: Floats) -> Floats:
    """Return, for each pool (down), the sum of all others.

    They are added up from both ends and not subtracted from the total, so that a place which only
    one pool lists is exactly 0 without that pool.
    """
    sums = np.empty_like(hashrates)
    sums[-1] = 0.0
    np.cumsum(hashrates[:0:-1], axis=0, out=sums[-2::-1])  # of those after each
    sums[1:] += np.cumsum(hashrates[:-1], axis=0)
    return sums
