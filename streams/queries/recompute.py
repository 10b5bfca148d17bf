"""Recompute: answers from messages alone, without Kafka or Redis, to check published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.messages import InvalidMessageError, decode
from streams.method.cells import MemoryCells
from streams.method.observations import observe
from streams.queries.shares import answer, cohort_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.api.models import Answer
    from streams.method.placing import Beliefs
    from streams.queries.parameters import SharesQuery


class LineError(ValueError):
    """A line is not a valid message; the text has the number of the line and the reason."""


def read_cells(lines: Iterable[bytes]) -> MemoryCells:
    """Return the cells of messages, one message per line; empty lines are skipped.

    Raises:
        LineError: a line is not a valid message.
    """
    cells = MemoryCells()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            cells.add(decode(line))
        except InvalidMessageError as error:
            raise LineError(f"line {number}: {error.reason}: {error}") from None
    return cells


def recompute(cells: MemoryCells, query: SharesQuery, beliefs: Beliefs) -> Answer:
    """Return the answer to a query from cells in memory."""
    cohort = cohort_for(query, *observe(cells, query.window), beliefs)
    return answer(query, cohort, (rule.id for rule in beliefs.rules))
