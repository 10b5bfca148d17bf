"""When a delta passed the threshold at which its swing fired."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from streams.method.comparison import PAIRS
from streams.method.swings import subject_of
from streams.queries.swings import comparisons_over

if TYPE_CHECKING:
    from streams.method.beliefs import Beliefs
    from streams.method.observations import SumReader
    from tests.stories.story import Found


def passed(found: Found, cells: SumReader, beliefs: Beliefs) -> datetime:
    """Return the first minute at which the delta was as large as when its swing fired.

    That is looked for from the firing back to where the delta was less than half as large: a delta
    that wavers around the threshold passes it when it first reaches it.
    """
    first = found.events[0]
    assert first.threshold is not None
    comparisons = comparisons_over(cells, beliefs)
    pair = next(pair for pair in PAIRS if pair.name == found.pair)
    subject = subject_of(first)
    at = earliest = found.started
    while True:
        delta = comparisons.at(at, pair).deltas.of(subject)
        moved = (delta or 0.0) * found.sign
        if moved < first.threshold / 2:
            return earliest
        if moved >= first.threshold:
            earliest = at
        at -= timedelta(minutes=1)
