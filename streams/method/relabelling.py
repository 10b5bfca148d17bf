"""Relabelling: corrections of places that a proxy or VPN has shifted (method.md 6). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.messages import KINDS
from miningmap.places import country_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.method.beliefs import Rule
    from streams.method.cells import Places


def relabelled(places: Places, pool: str, rules: Iterable[Rule]) -> Places:
    """Return the places of a pool after the rules that apply to it, one after the other."""
    for rule in rules:
        if rule.applies_to is None or pool in rule.applies_to:
            places = relabel(places, rule.place)
    return places


def relabel(places: Places, rule_place: str) -> Places:
    """Return the places with the hashrate at ``rule_place`` moved to the country's other ones.

    The other subdivisions that the pool lists grow in proportion, and the country's total stays the
    same. If none of them has hashrate, nothing is moved.
    """
    if not any((rule_place, kind) in places for kind in KINDS):
        return places
    prefix = f"{country_of(rule_place)}-"
    others = sum(h for (c, _), h in places.items() if c.startswith(prefix) and c != rule_place)
    if others <= 0:
        return places
    moved = sum(h for (c, _), h in places.items() if c == rule_place)
    # Each grows by the factor 1 + moved / others. Written like this, no intermediate overflows.
    return {
        (code, kind): h + moved * (h / others) if code.startswith(prefix) else h
        for (code, kind), h in places.items()
        if code != rule_place
    }
