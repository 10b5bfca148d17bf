"""Cells from messages alone, without Kafka or Redis, to recompute published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.messages import decode_lines
from streams.method.cells import MemoryCells

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_cells(lines: Iterable[bytes]) -> MemoryCells:
    """Return the cells of messages, one message per line; empty lines are skipped.

    Raises:
        miningmap.messages.LineError: a line is not a valid message.
    """
    cells = MemoryCells()
    for message in decode_lines(lines):
        cells.add(message)
    return cells
