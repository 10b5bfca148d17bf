"""What is believed on a day, as rows for people and programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from miningmap.api.models import BeliefRow
from miningmap.places import name_of
from miningmap.pool_names import pool_name
from streams.beliefs.documents import Citation, PoolDistribution, periods
from streams.method.beliefs import normalised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from streams.beliefs.documents import (
        BeliefsDocument,
        NetworkDistribution,
        Period,
        Relabelling,
        StatedClaim,
    )

_NETWORK: Final = "The network"
# Parts have no citation of their own: sources declare them.
_DECLARATIONS: Final = Citation(source="docs/sources.md", publisher="the declaration of the source")
_CITED: Final = Citation.__struct_fields__


def rows_on(document: BeliefsDocument, day: date) -> tuple[BeliefRow, ...]:
    """Return what counts on a day.

    Network priors come first, the default one before the others; then distributions of pools,
    claims, rules and parts.
    """
    return (
        *(row for each in document.network for row in _distribution_on(each, day)),
        *_pools_on(document, day),
        *(_claim(claim) for claim in document.claims if claim.start <= day < claim.until),
        *(_rule(rule) for rule in sorted(document.rules, key=lambda rule: rule.id)),
        *(_part(part, whole) for part, whole in sorted(document.part_of.items())),
    )


def all_rows(document: BeliefsDocument) -> tuple[BeliefRow, ...]:
    """Return everything, whenever it counts; a distribution has a row for each entry."""
    return (
        *(_entry(each, p) for each in document.network for p in periods(each.series)),
        *(_entry(each, p) for each in document.pools for p in periods(each.series)),
        *map(_claim, document.claims),
        *(_rule(rule) for rule in sorted(document.rules, key=lambda rule: rule.id)),
        *(_part(part, whole) for part, whole in sorted(document.part_of.items())),
    )


def _pools_on(document: BeliefsDocument, day: date) -> Iterator[BeliefRow]:
    """Yield the distributions of pools; of those of one kind on one pool the first counts."""
    seen = set()
    for each in document.pools:
        for row in _distribution_on(each, day):
            if (each.pool, each.kind) not in seen:
                seen.add((each.pool, each.kind))
                yield row


def _distribution_on(distribution: NetworkDistribution, day: date) -> Iterator[BeliefRow]:
    for period in periods(distribution.series):
        if period.contains(day):
            yield _entry(distribution, period)


def _entry(distribution: NetworkDistribution, period: Period) -> BeliefRow:
    of_pool = distribution if isinstance(distribution, PoolDistribution) else None
    return _row(
        _merged(distribution, period.entry),
        id=distribution.id,
        kind=of_pool.kind if of_pool else "prior",
        subject=distribution.subject or (pool_name(of_pool.pool) if of_pool else _NETWORK),
        figures=dict(normalised(period.entry.weights)),
        unit="ratio",
        pools=(of_pool.pool,) if of_pool else None,
        start=period.start,
        until=period.until,
    )


def _claim(claim: StatedClaim) -> BeliefRow:
    return _row(
        claim,
        id=claim.id,
        kind="declared",
        subject=claim.subject or name_of(claim.place),
        figures={claim.place: claim.at_least},
        unit="H/s",
        pools=None if claim.pools is None else tuple(claim.pools),
        place=claim.place,
        within=claim.within,
        start=claim.start,
        until=claim.until,
    )


def _rule(rule: Relabelling) -> BeliefRow:
    return _row(
        rule,
        id=rule.id,
        kind="rule",
        subject=rule.subject or name_of(rule.place),
        pools=None if rule.applies_to == "*" else tuple(rule.applies_to),
        place=rule.place,
    )


def _part(part: str, whole: str) -> BeliefRow:
    return _row(
        _DECLARATIONS,
        id=f"part_of/{part}",
        kind="part",
        subject=pool_name(part),
        pools=(part,),
        part_of=whole,
    )


def _merged(whole: Citation, entry: Citation) -> Citation:
    """Return the citation of an entry, completed by that of its distribution."""
    own = {name: getattr(entry, name) for name in _CITED}
    return Citation(
        **{
            name: getattr(whole, name) if value is None or value == "" else value
            for name, value in own.items()
        }
    )


def _row(citation: Citation, **fields: Any) -> BeliefRow:  # noqa: ANN401 - fields of BeliefRow
    absent: dict[str, Any] = dict.fromkeys(("place", "within", "part_of", "start", "until"))
    cited = {name: getattr(citation, name) for name in _CITED}
    return BeliefRow(**(absent | {"figures": {}, "unit": None} | cited | fields))
