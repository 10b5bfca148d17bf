"""The part of a document that counts on some days, to be published with what rests on it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from streams.beliefs.documents import BeliefsDocument, NetworkDistribution, periods
from streams.beliefs.rows import all_rows, rows_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import date

    from miningmap.api.models import BeliefRow
    from streams.beliefs.documents import StatedClaim

D = TypeVar("D", bound=NetworkDistribution)


def believed_on(document: BeliefsDocument, days: Collection[date]) -> BeliefsDocument:
    """Return the part of a document that counts on any of these days, which it answers the same.

    So what is believed about other days does not change an edition.
    """
    return BeliefsDocument(
        network=_distributions_on(document.network, days),
        pools=_distributions_on(document.pools, days),
        claims=_claims_on(document.claims, days),
        part_of=dict(sorted(document.part_of.items())),
        rules=sorted(document.rules, key=lambda rule: rule.id),
    )


def _distributions_on(distributions: Iterable[D], days: Collection[date]) -> list[D]:
    found = []
    for each in distributions:
        # With its end as the other entries of the series set it, because some are left out.
        series = [
            msgspec.structs.replace(period.entry, until=period.until)
            for period in periods(each.series)
            if any(map(period.contains, days))
        ]
        if series:
            found.append(msgspec.structs.replace(each, series=series))
    return found


def _claims_on(claims: Sequence[StatedClaim], days: Collection[date]) -> list[StatedClaim]:
    """Return the claims that count, and those that contain them, which hold the chain together."""
    known = {claim.id: claim for claim in claims}
    wanted = set()
    for claim in claims:
        if any(claim.start <= day < claim.until for day in days):
            container: str | None = claim.id
            while container is not None:
                wanted.add(container)
                container = known[container].within
    return [claim for claim in claims if claim.id in wanted]


def rows_on_any(document: BeliefsDocument, days: Iterable[date]) -> list[BeliefRow]:
    """Return a row for everything that counts on any of these days."""
    counting = {(row.id, row.start) for day in days for row in rows_on(document, day)}
    return [row for row in all_rows(document) if (row.id, row.start) in counting]


def as_file(document: BeliefsDocument) -> dict[str, Any]:
    """Return a document in built-in types, without the fields that are empty."""
    found: dict[str, Any] = _without_empty(msgspec.to_builtins(document))
    return found


def _without_empty(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case dict():
            kept = {name: _without_empty(inner) for name, inner in value.items()}
            return {n: inner for n, inner in kept.items() if inner not in (None, "", [], {})}
        case list():
            return [_without_empty(inner) for inner in value]
        case _:
            return value
