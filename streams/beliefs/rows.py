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
        StatedAnnotation,
        StatedClaim,
    )

_NETWORK: Final = "The network"
# Parts have no citation of their own: sources declare them.
_DECLARATIONS: Final = Citation(source="docs/sources.md", publisher="the declaration of the source")
_CITED: Final = Citation.__struct_fields__


def rows_on(document: BeliefsDocument, day: date) -> tuple[BeliefRow, ...]:
    """Return what counts on a day.

    Network priors come first, the default one before the others; then distributions of pools,
    claims, rules, parts and annotations, each of these all year round.
    """
    return (
        *(row for each in document.network for row in _distribution_on(each, day)),
        *_pools_on(document, day),
        *(_claim(claim) for claim in document.claims if claim.start <= day < claim.until),
        *(_rule(rule) for rule in sorted(document.rules, key=lambda rule: rule.id)),
        *(_part(part, whole) for part, whole in sorted(document.part_of.items())),
        *(_annotation(each) for each in document.annotations if _is_dated(each, day)),
    )


def all_rows(document: BeliefsDocument) -> tuple[BeliefRow, ...]:
    """Return everything, whenever it counts; a distribution has a row for each entry."""
    return (
        *(_entry(each, p) for each in document.network for p in periods(each.series)),
        *(_entry(each, p) for each in document.pools for p in periods(each.series)),
        *map(_claim, document.claims),
        *(_rule(rule) for rule in sorted(document.rules, key=lambda rule: rule.id)),
        *(_part(part, whole) for part, whole in sorted(document.part_of.items())),
        *map(_annotation, document.annotations),
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


def _is_dated(annotation: StatedAnnotation, day: date) -> bool:
    """Return whether a day is between the dates of an annotation, in or out of its season."""
    return (annotation.start is None or annotation.start <= day) and (
        annotation.until is None or day < annotation.until
    )


def _annotation(annotation: StatedAnnotation) -> BeliefRow:
    return _row(
        annotation,
        id=annotation.id,
        kind="annotation",
        subject=annotation.subject or ", ".join(_names(annotation)),
        pools=tuple(annotation.pools) or None,
        places=tuple(annotation.places),
        calendar=_calendar(annotation),
        text=annotation.text,
        start=annotation.start,
        until=annotation.until,
    )


def _names(annotation: StatedAnnotation) -> Iterator[str]:
    yield from map(name_of, annotation.places)
    yield from map(pool_name, annotation.pools)


def _calendar(annotation: StatedAnnotation) -> str:
    """Return when an annotation is on, in words: ``06-01 to 09-30, 15 to 19 h, ZONE``."""
    parts = [annotation.zone]
    if annotation.weekdays is not None:
        parts.insert(0, " ".join(annotation.weekdays))
    if annotation.from_hour is not None:
        parts.insert(0, f"{annotation.from_hour} to {annotation.until_hour} h")
    if annotation.first_day is not None:
        parts.insert(0, f"{annotation.first_day} to {annotation.last_day}")
    return ", ".join(parts)


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
    absent: dict[str, Any] = dict.fromkeys(
        ("place", "places", "within", "part_of", "calendar", "text", "start", "until")
    )
    cited = {name: getattr(citation, name) for name in _CITED}
    return BeliefRow(**(absent | {"figures": {}, "unit": None} | cited | fields))
