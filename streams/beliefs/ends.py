"""When beliefs cease to count. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.beliefs.documents import periods
from streams.beliefs.rows import rows_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from streams.beliefs.documents import BeliefsDocument, SeriesEntry


def ends_on(document: BeliefsDocument, day: date) -> dict[str, date]:
    """Return, by id, the day from which on a belief that counts on ``day`` does not count any more.

    The soonest come first. A belief without an end is left out, and so is an entry of a series that
    another one follows without a gap: then the belief goes on with new figures.
    """
    counting = {row.id for row in rows_on(document, day)}
    series = {each.id: each.series for each in (*document.network, *document.pools)}
    ends = {claim.id: claim.until for claim in document.claims}
    for id_, entries in series.items():
        end = _end(entries, day)
        if end is not None:
            ends[id_] = end
    return dict(
        sorted(
            ((id_, end) for id_, end in ends.items() if id_ in counting),
            key=lambda item: (item[1], item[0]),
        )
    )


def _end(series: Sequence[SeriesEntry], day: date) -> date | None:
    """Return when the entry of a day and those that follow without a gap end, if they do."""
    end: date | None = None
    for period in periods(series):
        if period.contains(day) or period.start == end:
            end = period.until
            if end is None:
                return None
    return end
