"""What beliefs are refused for (method.md 5.0), one generator for each kind of belief. Pure.

The loader raises the first refusal; ``miningmap beliefs check`` lists all of them.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from miningmap import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.beliefs.documents import (
        NetworkDistribution,
        Relabelling,
        StatedAnnotation,
        StatedClaim,
    )

# In which every day of the year exists.
_LEAP_YEAR: Final = 2024


class Refusal(NamedTuple):
    """What is wrong with a belief, and the keys that lead to it inside of the belief."""

    keys: tuple[str | int, ...]
    text: str


def of_distribution(distribution: NetworkDistribution) -> Iterator[Refusal]:
    """Yield what is wrong with a distribution by itself."""
    for number, entry in enumerate(distribution.series):
        for code in entry.weights:
            yield from _of_place(code, ("series", number, "weights", code))
        if sum(entry.weights.values()) <= 0:
            yield Refusal(
                ("series", number, "weights"),
                f"the weights from {entry.start} on must add up to more than 0",
            )


def of_claim(claim: StatedClaim) -> Iterator[Refusal]:
    """Yield what is wrong with a claim by itself."""
    yield from _of_place(claim.place, ("place",))
    if claim.place.endswith(places.OTHER):
        yield Refusal(("place",), f"a claim needs a place, and {claim.place} is none")
    if claim.pools is not None and not claim.pools:
        yield Refusal(("pools",), "pools is empty; leave it out if no pool is known")


def of_rule(rule: Relabelling) -> Iterator[Refusal]:
    """Yield what is wrong with a rule."""
    if not places.is_subdivision(rule.place):
        hint = places.hint(rule.place)
        yield Refusal(("place",), f"{rule.place!r} is not a subdivision: {hint}")
    if not rule.applies_to:
        yield Refusal(
            ("applies_to",), 'applies_to is empty; expected "*" or pools; else leave the rule out'
        )


def of_annotation(annotation: StatedAnnotation) -> Iterator[Refusal]:
    """Yield what is wrong with an annotation."""
    if not annotation.text.strip():
        yield Refusal(("text",), "text is empty; write a sentence that says what happens then")
    if not annotation.places and not annotation.pools:
        yield Refusal((), "concerns nothing; name places, pools or both")
    for number, code in enumerate(annotation.places):
        yield from _of_place(code, ("places", number))
        if code.endswith(places.OTHER):
            yield Refusal(("places", number), f"an annotation needs a place, and {code} is none")
    if not _is_zone(annotation.zone):
        yield Refusal(
            ("zone",),
            f"{annotation.zone!r} is not a time zone; write one such as America/Chicago",
        )
    yield from _of_days(annotation)
    yield from _of_hours(annotation)
    if annotation.weekdays is not None and not annotation.weekdays:
        yield Refusal(("weekdays",), "weekdays is empty; leave it out if all count")


def _of_days(annotation: StatedAnnotation) -> Iterator[Refusal]:
    days = {"first_day": annotation.first_day, "last_day": annotation.last_day}
    if None in days.values() and days != {"first_day": None, "last_day": None}:
        yield Refusal((), "first_day and last_day belong together; give both or neither")
    for key, day in days.items():
        if day is not None and not _is_day(day):
            yield Refusal((key,), f"{day!r} is not a day of the year")


def _of_hours(annotation: StatedAnnotation) -> Iterator[Refusal]:
    start, until = annotation.from_hour, annotation.until_hour
    if (start is None) != (until is None):
        yield Refusal((), "from_hour and until_hour belong together; give both or neither")
    elif start is not None and start == until:
        yield Refusal(
            ("until_hour",), "from_hour and until_hour are the same; leave both out for all day"
        )


def _is_day(month_and_day: str) -> bool:
    try:
        date.fromisoformat(f"{_LEAP_YEAR}-{month_and_day}")
    except ValueError:
        return False
    return True


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path, or the name of a folder
        return False
    return True


def of_part(part: str, part_of: Mapping[str, str]) -> Iterator[Refusal]:
    """Yield what is wrong with a pool that is part of another one."""
    seen = {part}
    whole = part_of.get(part)
    while whole is not None:
        if whole in seen:
            yield Refusal((part,), f"{part} is a part of itself, by way of {whole}")
            return
        seen.add(whole)
        whole = part_of.get(whole)


def of_container(claim: StatedClaim, claims: Mapping[str, StatedClaim]) -> Iterator[Refusal]:
    """Yield what is wrong with the claims that a claim is within, by ``claims`` by their ids."""
    if claim.within is None:
        return
    container = claims.get(claim.within)
    if container is None:
        yield Refusal(("within",), f"within {claim.within}, which is not a claim")
        return
    inner, outer_place = places.outermost(claim.place), places.outermost(container.place)
    if outer_place not in {inner, places.country_of(inner)}:
        yield Refusal(
            ("within",), f"within {container.id}, but {claim.place} is not in {container.place}"
        )
    seen = {claim.id}
    outer: StatedClaim | None = container
    while outer is not None:
        if outer.id in seen:
            yield Refusal(("within",), f"is within itself, by way of {outer.id}")
            return
        seen.add(outer.id)
        outer = claims.get(outer.within) if outer.within is not None else None


def _of_place(code: str, keys: tuple[str | int, ...]) -> Iterator[Refusal]:
    if not places.is_locatable(code):
        yield Refusal(keys, f"{code!r} is not a place: {places.hint(code)}")
