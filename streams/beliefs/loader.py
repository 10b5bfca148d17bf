"""The configured beliefs as the method uses them.

A place inside another subdivision is read as the outermost one, as in messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from miningmap import places
from miningmap.pool_names import CBECI_SAMPLE, is_known_pool, named_pools, unknown_pool
from streams.beliefs import refusals
from streams.beliefs.documents import (
    SHIPPED,
    WEEKDAYS,
    BeliefsDocument,
    BeliefsError,
    merge,
    read,
)
from streams.method.annotations import Annotation, DayOfYear, Hours, Season
from streams.method.beliefs import Beliefs, Claim, Document, Entry, Rule, normalised

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from miningmap.settings import Method
    from streams.beliefs.documents import (
        NetworkDistribution,
        Relabelling,
        SeriesEntry,
        StatedAnnotation,
        StatedClaim,
    )
    from streams.beliefs.refusals import Refusal

_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True)
class BeliefOptions:
    """The beliefs to load: the same fields and defaults as ``miningmap.settings.Method``.

    For callers that run without the packages that read settings.
    """

    beliefs: Path | None = None
    shipped_beliefs: bool = True


def load(options: Method | BeliefOptions) -> Beliefs:
    """Return the beliefs that are configured: the operator's before those of this package.

    Raises:
        BeliefsError: a file cannot be read, or what it says cannot be used.
    """
    return beliefs_of(configured(options))


def load_only(path: Path) -> Beliefs:
    """Return the beliefs in a file or folder, and no others.

    Raises:
        BeliefsError: a file cannot be read, or what it says cannot be used.
    """
    return beliefs_of(read(path))


def configured(options: Method | BeliefOptions) -> BeliefsDocument:
    """Return the document of all that is configured, with its citations.

    Raises:
        BeliefsError: a file cannot be read or is not such a document, or an id occurs twice.
    """
    documents = []
    if options.beliefs:
        documents.append(read(options.beliefs))
    if options.shipped_beliefs:
        documents.append(read(SHIPPED))
    return merge(documents)


def beliefs_of(document: BeliefsDocument) -> Beliefs:
    """Return the beliefs of a document.

    Raises:
        BeliefsError: what the document says cannot be used.
    """
    claims = {claim.id: claim for claim in document.claims}
    for part in document.part_of:
        _accept("part_of", refusals.of_part(part, document.part_of))
    beliefs = Beliefs(
        network=[_document(each) for each in document.network],
        pools=[
            _document(each, pool=each.pool, declared=each.kind == "declared")
            for each in document.pools
        ],
        claims=[_claim(each) for each in document.claims],
        part_of=document.part_of,
        rules=[_rule(each) for each in sorted(document.rules, key=lambda rule: rule.id)],
        annotations=[_annotation(each) for each in document.annotations],
    )
    for claim in document.claims:
        _accept(claim.id, refusals.of_container(claim, claims))
    return beliefs


def unknown_pools(beliefs: Beliefs) -> list[str]:
    """Return an error for each pool that beliefs name and nobody knows, in alphabetical order.

    Such a belief is valid, and waits for reports of that pool; or its slug is misspelt, and it has
    no effect.
    """
    named = {document.pool for document in beliefs.pools if document.pool is not None}
    named.update(*(claim.pools or () for claim in beliefs.claims))
    named.update(beliefs.part_of, beliefs.part_of.values())
    named.update(*(rule.applies_to or () for rule in beliefs.rules))
    named.update(*(annotation.pools for annotation in beliefs.annotations))
    unknown = sorted(pool for pool in named if not is_known_pool(pool) and pool != CBECI_SAMPLE)
    return [unknown_pool(pool, named_pools()) for pool in unknown]


def unknown_annotations(beliefs: Beliefs, ids: Iterable[str]) -> list[str]:
    """Return an error for each id that no annotation has, in alphabetical order.

    Such an id mutes nothing: it is misspelt, or the annotation is no longer believed.
    """
    known = sorted(annotation.id for annotation in beliefs.annotations)
    expected = f"expected one of: {', '.join(known)}" if known else "there are none"
    return [f"unknown annotation {id_!r}; {expected}" for id_ in sorted({*ids} - {*known})]


def _document(
    cited: NetworkDistribution, *, pool: str | None = None, declared: bool = False
) -> Document:
    _accept(cited.id, refusals.of_distribution(cited))
    return Document(cited.id, [_entry(entry) for entry in cited.series], pool, declared)


def _entry(entry: SeriesEntry) -> Entry:
    until = None if entry.until is None else _day(entry.until)
    weights = places.by_outermost(entry.weights.items())
    return Entry(_day(entry.start), normalised(weights), until)


def _claim(claim: StatedClaim) -> Claim:
    _accept(claim.id, refusals.of_claim(claim))
    return claim_of(claim)


def claim_of(claim: StatedClaim) -> Claim:
    """Return a claim as the method uses it."""
    return Claim(
        id=claim.id,
        place=places.outermost(claim.place),
        at_least=claim.at_least,
        start=_day(claim.start),
        until=_day(claim.until),
        pools=None if claim.pools is None else frozenset(claim.pools),
        within=claim.within,
    )


def _rule(rule: Relabelling) -> Rule:
    _accept(rule.id, refusals.of_rule(rule))
    applies_to = None if rule.applies_to == "*" else frozenset(rule.applies_to)
    return Rule(rule.id, places.outermost(rule.place), applies_to)


def _annotation(annotation: StatedAnnotation) -> Annotation:
    _accept(annotation.id, refusals.of_annotation(annotation))
    return annotation_of(annotation)


def annotation_of(annotation: StatedAnnotation) -> Annotation:
    """Return an annotation as the method uses it."""
    first, last = annotation.first_day, annotation.last_day
    start, until = annotation.from_hour, annotation.until_hour
    days = annotation.weekdays
    return Annotation(
        id=annotation.id,
        zone=ZoneInfo(annotation.zone),
        places=frozenset(map(places.outermost, annotation.places)),
        pools=frozenset(annotation.pools),
        season=Season(_day_of_year(first), _day_of_year(last)) if first and last else None,
        hours=None if start is None or until is None else Hours(start, until),
        weekdays=None if days is None else frozenset(map(WEEKDAYS.index, days)),
        start=annotation.start,
        until=annotation.until,
    )


def _day_of_year(text: str) -> DayOfYear:
    month, day = text.split("-")
    return DayOfYear(int(month), int(day))


def _accept(id_: str, refused: Iterable[Refusal]) -> None:
    for refusal in refused:
        raise BeliefsError(f"{id_}: {refusal.text}")


def _day(day: date) -> int:
    return (day - _EPOCH).days
