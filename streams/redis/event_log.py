"""Events: what ``/api/v1/stream`` tells, as entries of one log in Redis. Pure.

The log gives every event its place and its id, so all that read it tell the same in the same order.
An entry has a field ``event`` with the event's name, and one field for each body, compressed: by
window where those who listen choose one, else the one field ``all``.
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
"""How long an event is kept, to be told again to those who were cut off."""

_NAME: Final = b"event"
_ALL: Final = b"all"
_LEVEL: Final = 1  # a tenth larger than the default level makes it, in a third of the time
_ID: Final = re.compile(r"(\d{1,20})-(\d{1,20})")


class EventId(NamedTuple):
    """An event's place in the log: milliseconds of Redis' clock, and a number among those."""

    at_ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that a text is.

        Raises:
            ValueError: it is none.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(f"no event id {text[:48]!r}")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.number}"


@dataclass(frozen=True, eq=False)
class Event:
    """One event; its bodies stay compressed until somebody wants one."""

    id: EventId
    name: str
    packed: Mapping[bytes, bytes]

    def body(self, window: str) -> bytes | None:
        """The JSON for those who chose a window; ``None`` if there is nothing for them."""
        packed = self.packed.get(window.encode(), self.packed.get(_ALL))
        return None if packed is None else zlib.decompress(packed)


def shares_fields(snapshots: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """The entry that tells of a snapshot: each rolling window's answer by country."""
    answers = {window: snapshots.get(f"{window}/country") for window in ROLLING}
    bodies = {
        window.encode(): zlib.compress(answer, _LEVEL)
        for window, answer in answers.items()
        if answer is not None
    }
    return {_NAME: SHARES.encode(), **bodies}


def event_of(entry: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """An entry of the log, read."""
    bodies = {name: packed for name, packed in fields.items() if name != _NAME}
    return Event(EventId.parse(entry.decode()), fields[_NAME].decode(), bodies)
