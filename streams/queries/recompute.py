"""Cells from messages alone, without Kafka or Redis, to recompute published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.messages import decode_lines
from miningmap.plausibility import impossible
from streams.method.cells import MemoryCells

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_cells(lines: Iterable[bytes]) -> tuple[MemoryCells, int]:
    """Return the cells of messages, one message per line, and how many messages are left out.

    Empty lines are skipped. Left out are messages that become no cell at any time, such as totals
    of 0, which are dead letters in the live system. The future is not, because what was the future
    when a message arrived may be the past now.

    Raises:
        miningmap.messages.LineError: a line is not a valid message.
    """
    cells, left_out = MemoryCells(), 0
    for message in decode_lines(lines):
        if impossible(message):
            left_out += 1
        else:
            cells.add(message)
    return cells, left_out
