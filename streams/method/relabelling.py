"""Relabelling: corrections of places that a proxy or VPN has shifted (method.md 6). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from miningmap.messages import KINDS
from streams.method.tables import CODES, Rows, Table, sum_by, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from streams.method.beliefs import Rule
    from streams.method.cells import Places


def relabelled(places: Places, pool: str, rules: Iterable[Rule]) -> Places:
    """Return the places of a pool after the rules that apply to it, one after the other."""
    listing = [rule for rule in rules if any((rule.place, kind) in places for kind in KINDS)]
    if not listing:
        return places
    table = relabelled_table(table_of([Rows.of(places)]), [pool], listing)
    return table.by_pool(1)[0].by_place()


def relabelled_table(table: Table, pools: Sequence[str], rules: Iterable[Rule]) -> Table:
    """Return the places of some pools after the rules, one after the other.

    Args:
        table: where the pools are.
        pools: their slugs, by their numbers.
        rules: in the order in which they are applied.
    """
    for rule in rules:
        to_all = rule.applies_to is None
        applies = np.array([to_all or pool in (rule.applies_to or ()) for pool in pools], np.bool_)
        table = _relabel(table, applies, CODES[rule.place])
    return table


def _relabel(table: Table, applies: NDArray[np.bool_], place: int) -> Table:
    """Return the table with the hashrate at a place moved to the country's other subdivisions.

    Those that the pool lists grow in proportion, and the country's total stays the same. If none of
    them has hashrate, nothing is moved.

    Args:
        table: where the pools are.
        applies: whether the rule applies, by the number of the pool.
        place: the number of the place's code.
    """
    pools, codes, hashrates = table.pools, table.codes, table.hashrates
    is_place = (codes == place) & applies[pools]
    if not is_place.any():
        return table
    country = CODES.countries[place]
    is_other = (CODES.countries[codes] == country) & (codes != country) & (codes != place)
    moved = sum_by(pools, np.where(is_place, hashrates, 0.0), len(applies))[pools]
    others = sum_by(pools, np.where(is_other, hashrates, 0.0), len(applies))[pools]
    # Each grows by the factor 1 + moved / others. Written like this, no intermediate overflows.
    parts = np.divide(
        hashrates, others, out=np.zeros_like(hashrates), where=is_other & (others > 0)
    )
    return table._replace(hashrates=hashrates + moved * parts).where(~is_place | (others <= 0))
