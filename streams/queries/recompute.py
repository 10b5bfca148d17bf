"""Answers from messages alone, without broker or Redis: how anyone checks a published number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.messages import InvalidMessageError, decode
from streams.method.cells import Cells
from streams.method.observations import observe
from streams.queries.shares import answer, cohort_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.api.models import Answer
    from streams.method.shares import Beliefs
    from streams.queries.parameters import SharesQuery


class LineError(ValueError):
    """A line is no message; the text names it and says why."""


def read_cells(lines: Iterable[bytes]) -> Cells:
    """The cells of messages, one a line; empty lines are passed over.

    Raises:
        LineError: a line is not a message that keeps the rules.
    """
    cells = Cells()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            cells.take(decode(line))
        except InvalidMessageError as error:
            raise LineError(f"line {number}: {error.reason}: {error}") from None
    return cells


def recompute(cells: Cells, question: SharesQuery, beliefs: Beliefs) -> Answer:
    """The answer to a question from all cells there are."""
    cohort = cohort_for(question, *observe(cells, question.window), beliefs)
    return answer(question, cohort, (rule.id for rule in beliefs.rules))
