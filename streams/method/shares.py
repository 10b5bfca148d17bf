"""Shares: each place's part of what is located, and how sure that is (method.md 7 and 8). Pure.

No I/O, no clock, no Kafka, no Redis. Hashrates are means over the window in H/s, shares are ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, repeat, starmap
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from streams.method.placing import Kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.method.placing import Cohort, Hashrate, KindsByPlace, Ratio


@dataclass(frozen=True)
class Share:
    """One place's row of an answer."""

    code: str
    share: Ratio
    share_of_country: Ratio | None
    low: Ratio | None
    high: Ratio | None
    sensitivity: tuple[Ratio, Ratio] | None
    kinds: Kinds


# --- how much is seen -----------------------------------------------------------------------------


def coverage(cohort: Cohort) -> Ratio | None:
    """Return the cohort's part of the network; ``None`` without the network's hashrate."""
    return cohort.network and sum(m.total for m in cohort.members) / cohort.network


def located(cohort: Cohort) -> Ratio | None:
    """Return the part of the cohort's hashrate that has a place; ``None`` without hashrate."""
    total = sum(m.total for m in cohort.members)
    return sum(m.located for m in cohort.members) / total if total > 0 else None


def measured_coverage(cohort: Cohort) -> Ratio | None:
    """Return the part of the network whose place is measured; ``None`` without its hashrate."""
    return cohort.network and sum(m.measured for m in cohort.members) / cohort.network


# --- shares, bounds and sensitivity ---------------------------------------------------------------


def country_shares(cohort: Cohort) -> list[Share]:
    """Return every country's share of what is located, by share, then code; empty without any."""
    tables = [m.by_country for m in cohort.members]
    return _shares(cohort, tables, parts=None)


def subdivision_shares(cohort: Cohort, country: str) -> list[Share]:
    """Return the shares of those subdivisions of a country that pools list, in the same order.

    Hashrate known only by country is spread like the rest of that country.
    """
    tables = [m.by_subdivision(country) for m in cohort.members]
    parts = [_CountryPart(m.located, sum(m.by_country.get(country, ()))) for m in cohort.members]
    return _shares(cohort, tables, parts)


class _CountryPart(NamedTuple):
    """What one pool locates in all, and the part of that in the country concerned (H/s)."""

    located: Hashrate
    country: Hashrate


def _shares(
    cohort: Cohort, tables: Sequence[KindsByPlace], parts: Sequence[_CountryPart] | None
) -> list[Share]:
    whole = _merged(tables)
    inside = sum(sum(kinds) for kinds in whole.values())
    scale: Ratio | None = 1.0
    if parts is not None:
        scale = _scale(sum(p.located for p in parts), sum(p.country for p in parts))
    if inside <= 0 or scale is None:
        return []
    ranges = _leave_one_out(tables, parts)
    covered = measured_coverage(cohort)
    rows = []
    for code, kinds in whole.items():
        part = sum(kinds) / inside
        low = high = None
        if cohort.network is not None and covered is not None:
            low = min(1.0, kinds.measured / cohort.network)
            high = min(1.0, low + max(0.0, 1 - covered))
        rows.append(
            Share(
                code=code,
                share=part * scale,
                share_of_country=None if parts is None else part,
                low=low,
                high=high,
                sensitivity=ranges.get(code),
                kinds=kinds,
            )
        )
    return sorted(rows, key=lambda row: (-row.share, row.code))


def _scale(located: Hashrate, country: Hashrate) -> Ratio | None:
    """Return the country's share, by which shares inside it are multiplied.

    Cut off at 1, which floating-point error could exceed.
    """
    return min(1.0, country / located) if located > 0 else None


def _leave_one_out(
    tables: Sequence[KindsByPlace], parts: Sequence[_CountryPart] | None
) -> dict[str, tuple[Ratio, Ratio]]:
    """Return the least and the largest share of each place over the cohorts without one pool."""
    if len(tables) < 2:  # noqa: PLR2004 - without its only pool a cohort is empty
        return {}
    codes = sorted({code for table in tables for code in table})
    totals = [{code: sum(kinds) for code, kinds in table.items()} for table in tables]
    rows = [[total.get(code, 0.0) for code in codes] for total in totals]
    scales = repeat(1.0) if parts is None else starmap(_scale, _sums_without(parts))
    shares = []
    for remaining, scale in zip(_sums_without(rows), scales, strict=False):
        inside = sum(remaining)
        if inside > 0 and scale is not None:
            shares.append([hashrate / inside * scale for hashrate in remaining])
    columns = zip(*shares, strict=True)
    return {code: (min(c), max(c)) for code, c in zip(codes, columns, strict=False)}


def _sums_without(rows: Sequence[Sequence[float]]) -> Iterable[list[float]]:
    """Return for each row the column sums of all others.

    Added up from both ends instead of subtracted from the whole, so that a place which only one
    pool has is exactly 0 without that pool.
    """
    zero = [0.0] * len(rows[0])
    before = accumulate(rows[:-1], _plus, initial=zero)
    after = list(accumulate(reversed(rows[1:]), _plus, initial=zero))
    return (_plus(a, b) for a, b in zip(before, reversed(after), strict=True))


def _plus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return list(map(add, a, b))


def _merged(tables: Iterable[KindsByPlace]) -> KindsByPlace:
    result: KindsByPlace = {}
    for table in tables:
        for code, kinds in table.items():
            result[code] = result.get(code, Kinds()).plus(kinds)
    return result
