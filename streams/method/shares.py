"""Shares of the located hashrate by place, and how certain they are (method.md 7 and 8). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, repeat, starmap
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from streams.method.placing import HashrateByKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.method.placing import Cohort, Hashrate, HashrateByPlace, Ratio


@dataclass(frozen=True)
class Share:
    """The share of one place, with its bounds and its sensitivity; ``None`` if unknown."""

    code: str
    share: Ratio
    share_of_country: Ratio | None
    low: Ratio | None
    high: Ratio | None
    sensitivity: tuple[Ratio, Ratio] | None
    kinds: HashrateByKind


# --- coverage -------------------------------------------------------------------------------------


def coverage(cohort: Cohort) -> Ratio | None:
    """Return the cohort's part of the network; ``None`` if the network's hashrate is unknown."""
    return cohort.network and sum(m.total for m in cohort.members) / cohort.network


def located(cohort: Cohort) -> Ratio | None:
    """Return the part of the cohort's hashrate that has a place; ``None`` if it has no hashrate.

    Limited to 1: the places of a message may add up to more than its total by a rounding error.
    """
    total = sum(m.total for m in cohort.members)
    return min(1.0, sum(m.located for m in cohort.members) / total) if total > 0 else None


def measured_coverage(cohort: Cohort) -> Ratio | None:
    """Return the part of the network with a measured place; ``None`` if its hashrate is unknown.

    Limited to the coverage, of which it is a part; both are above 1 if pools report more than the
    network has.
    """
    covered = coverage(cohort)
    if covered is None:
        return None
    return cohort.network and min(covered, sum(m.measured for m in cohort.members) / cohort.network)


# --- shares, bounds and sensitivity ---------------------------------------------------------------


def country_shares(cohort: Cohort) -> list[Share]:
    """Return each country's share, the largest first, then by code; empty if nothing is located."""
    tables = [m.by_country for m in cohort.members]
    return _shares(cohort, tables, parts=None)


def subdivision_shares(cohort: Cohort, country: str) -> list[Share]:
    """Return the share of each subdivision of a country that pools list, in the same order.

    Hashrate that is known only by country is assumed to be distributed like the rest of it.
    """
    tables = [m.by_subdivision(country) for m in cohort.members]
    parts = [_CountryPart(m.located, sum(m.by_country.get(country, ()))) for m in cohort.members]
    return _shares(cohort, tables, parts)


class _CountryPart(NamedTuple):
    """One pool's located hashrate, and the part of it in the country concerned."""

    located: Hashrate
    country: Hashrate


def _shares(
    cohort: Cohort, tables: Sequence[HashrateByPlace], parts: Sequence[_CountryPart] | None
) -> list[Share]:
    merged = _merge(tables)
    total = sum(sum(kinds) for kinds in merged.values())
    scale: Ratio | None = 1.0
    if parts is not None:
        scale = _scale(sum(p.located for p in parts), sum(p.country for p in parts))
    if total <= 0 or scale is None:
        return []
    ranges = _leave_one_out(tables, parts)
    covered = measured_coverage(cohort)
    rows = []
    for code, kinds in merged.items():
        share = sum(kinds) / total
        low = high = None
        if cohort.network is not None and covered is not None:
            low = min(1.0, kinds.measured / cohort.network)
            high = min(1.0, low + max(0.0, 1 - covered))
        rows.append(
            Share(
                code=code,
                share=share * scale,
                share_of_country=None if parts is None else share,
                low=low,
                high=high,
                sensitivity=ranges.get(code),
                kinds=kinds,
            )
        )
    return sorted(rows, key=lambda row: (-row.share, row.code))


def _scale(located: Hashrate, country: Hashrate) -> Ratio | None:
    """Return the country's share, by which the shares of its subdivisions are multiplied.

    Limited to 1, which a floating-point error could exceed. ``None`` if nothing is located.
    """
    return min(1.0, country / located) if located > 0 else None


def _leave_one_out(
    tables: Sequence[HashrateByPlace], parts: Sequence[_CountryPart] | None
) -> dict[str, tuple[Ratio, Ratio]]:
    """Return the smallest and the largest share of each place over all cohorts without one pool."""
    if len(tables) < 2:  # noqa: PLR2004 - without its only pool a cohort is empty
        return {}
    codes = sorted({code for table in tables for code in table})
    hashrates = [{code: sum(kinds) for code, kinds in table.items()} for table in tables]
    rows = [[hashrate.get(code, 0.0) for code in codes] for hashrate in hashrates]
    scales = repeat(1.0) if parts is None else starmap(_scale, _sums_without(parts))
    shares = []
    for remaining, scale in zip(_sums_without(rows), scales, strict=False):
        total = sum(remaining)
        if total > 0 and scale is not None:
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


def _merge(tables: Iterable[HashrateByPlace]) -> HashrateByPlace:
    result: HashrateByPlace = {}
    for table in tables:
        for code, kinds in table.items():
            result[code] = result.get(code, HashrateByKind()).plus(kinds)
    return result
