"""Located hashrate: the parts that a source places, summed by place."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from miningmap.messages import Kind, Located

if TYPE_CHECKING:
    from collections.abc import Iterable


def by_place(parts: Iterable[tuple[str | None, float | None]], kind: Kind) -> tuple[Located, ...]:
    """Return the hashrate (H/s) at each place, sorted by code.

    Parts whose place or hashrate is ``None`` stay unlocated.
    """
    totals = defaultdict[str, float](float)
    for code, hashrate in parts:
        if code is not None and hashrate is not None:
            totals[code] += hashrate
    return tuple(Located(code, totals[code], kind) for code in sorted(totals))
