"""The log of events that ``/api/v1/stream`` sends, as entries of a stream in Redis. Pure.

The log gives every event its id and its place, so all endpoints send the same events in the same
order. An entry has a field ``event`` with the event's name, and compressed bodies: one for each
window where clients choose a window, otherwise a single one in the field ``all``.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from streams.method.windows import ROLLING

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARES: Final = "shares"
KEPT_S: Final = 3600
"""How many seconds an event is kept, for clients that reconnect and resume."""

_NAME: Final = b"event"
_ALL: Final = b"all"
_LEVEL: Final = 1  # a tenth larger than with the default level, in a third of the time
_ID: Final = re.compile(r"(\d{1,20})-(\d{1,20})")


class EventId(NamedTuple):
    """An event's place in the log: milliseconds of Redis' clock, and a sequence number."""

    at_ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id that a text stands for.

        Raises:
            ValueError: the text is not of the form ``MILLISECONDS-NUMBER``.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(f"invalid event id {text[:48]!r}; expected MILLISECONDS-NUMBER")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.number}"


@dataclass(frozen=True, eq=False)
class Event:
    """One event. Its bodies stay compressed until one of them is needed."""

    id: EventId
    name: str
    compressed: Mapping[bytes, bytes]

    def body(self, window: str) -> bytes | None:
        """Return the JSON for clients of a window; ``None`` if the event has none for them."""
        compressed = self.compressed.get(window.encode(), self.compressed.get(_ALL))
        return None if compressed is None else zlib.decompress(compressed)


def shares_fields(snapshots: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """Return the log's entry for a snapshot: each rolling window's answer by country."""
    answers = {window: snapshots.get(f"{window}/country") for window in ROLLING}
    bodies = {
        window.encode(): zlib.compress(answer, _LEVEL)
        for window, answer in answers.items()
        if answer is not None
    }
    return {_NAME: SHARES.encode(), **bodies}


def event_of(entry: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """Return the event of an entry of the log."""
    bodies = {name: compressed for name, compressed in fields.items() if name != _NAME}
    return Event(EventId.parse(entry.decode()), fields[_NAME].decode(), bodies)
