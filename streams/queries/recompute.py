"""Cells from messages alone, without Kafka or Redis, to recompute published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.messages import decode_lines
from miningmap.plausibility import empty
from streams.method.cells import MemoryCells

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_cells(lines: Iterable[bytes]) -> MemoryCells:
    """Return the cells of messages, one message per line; empty lines are skipped.

    So are totals of 0 that say nothing, which are dead letters in the live system. The future is
    not, because what was the future when a message arrived may be the past now.

    Raises:
        miningmap.messages.LineError: a line is not a valid message.
    """
    cells = MemoryCells()
    for message in decode_lines(lines):
        if empty(message) is None:
            cells.add(message)
    return cells
