"""The messages of an edition: selected by the time that they are about, sorted, each once.

A year of all sources is millions of messages, so they are sorted on disk: in parts that fit into
memory, which are then merged.
"""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from miningmap.inputs import one_line
from miningmap.plausibility import impossible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from miningmap.messages import Message

PART_BYTES: Final = 64 * 1024 * 1024
"""Lines of this size are sorted in memory at once."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_KEY_DIGITS: Final = 17


class SortedMessages:
    """Messages as lines, sorted by their start, then by their bytes.

    Attributes:
        size: how many were added, repetitions included.
        impossible: how many become no cell at any time, and were left out.
        elsewhere: how many are about another time, and were left out.
    """

    def __init__(
        self, folder: Path, since: datetime, until: datetime, part_bytes: int = PART_BYTES
    ) -> None:
        """Select messages about ``[since, until)``.

        Args:
            folder: for temporary files; whoever made it removes it.
            since: the first moment.
            until: the moment after the last one.
            part_bytes: how many bytes are sorted in memory at once.
        """
        self._folder = folder
        self._since = since
        self._until = until
        self._part_bytes = part_bytes
        self._part: list[bytes] = []
        self._bytes = 0
        self._files: list[Path] = []
        self.size = 0
        self.impossible = 0
        self.elsewhere = 0

    def add(self, message: Message, raw: bytes) -> None:
        """Add a message as it came, if it is about the time."""
        if impossible(message):
            self.impossible += 1
        elif not message.is_about(self._since, self._until):
            self.elsewhere += 1
        else:
            self.size += 1
            line = _sortable(message, raw)
            self._part.append(line)
            self._bytes += len(line)
            if self._bytes >= self._part_bytes:
                self._write_part()

    def lines(self) -> Iterator[bytes]:
        """Yield the lines in their order, each once, without its end."""
        self._write_part()
        with ExitStack() as stack:
            parts = [stack.enter_context(path.open("rb")) for path in self._files]
            previous = b""
            for line in heapq.merge(*parts):
                if line != previous:
                    yield line[_KEY_DIGITS:-1]
                    previous = line

    def _write_part(self) -> None:
        if not self._part:
            return
        path = self._folder / f"messages-{len(self._files)}"
        with path.open("wb") as file:
            file.writelines(sorted(set(self._part)))
        self._files.append(path)
        self._part = []
        self._bytes = 0


def _sortable(message: Message, raw: bytes) -> bytes:
    """Return a message as a line that begins with its start in microseconds."""
    start = (message.start - _EPOCH) // _MICROSECOND
    return b"%0*d%b\n" % (_KEY_DIGITS, start, one_line(raw))
