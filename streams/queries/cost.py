"""What questions cost to answer, known before they are. Pure.

The unit is one request, such as one for shares of the snapshot. The rate limit counts in it, and
what is in progress at a time is limited by it. A unit of a history takes about 20 ms of one core
with twenty pools, and more with more pools. ``adjust`` and ``prior`` change nothing about it.

A history costs 1, and for each of its buckets that can have data so many fortieths of a unit: 6 for
the shares in the bucket, 2 for each level (countries, or the subdivisions of one country), 3 for
each ``*`` or ``XX-*``, whose places fill the answer. These are the ratios that were measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from streams.queries.place_selection import PlaceSelection

Cost: TypeAlias = int
"""In requests, at least 1."""

_BUCKET: Final = 6
_LEVEL: Final = 2
_EVERY_PLACE: Final = 3
_UNIT: Final = 40


def history_cost(buckets: int, places: PlaceSelection) -> Cost:
    """Return the cost of a history.

    Args:
        buckets: the number of its buckets that can have data; all others cost nothing.
        places: what it is about.
    """
    parts = _BUCKET + _LEVEL * len(places.all_parents) + _EVERY_PLACE * len(places.parents)
    return 1 - (-buckets * parts // _UNIT)


def months_cost(months: int) -> Cost:
    """Return the cost of so many months in Cambridge's formats: countries and two subdivisions."""
    return 1 - (-months * (_BUCKET + 3 * _LEVEL) // _UNIT)
