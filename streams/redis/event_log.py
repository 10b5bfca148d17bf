"""The log of events that ``/api/v1/stream`` sends, as entries of a stream in Redis. Pure.

Redis gives every event its id, so all endpoints send the same events in the same order. An entry
has a field ``event`` with the name of the event, and compressed bodies: one field per window if
clients choose the window of the event, otherwise a single field ``all``.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from streams.method.windows import ROLLING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

SHARES: Final = "shares"
SWING: Final = "swing"
KEPT_S: Final = 3600
"""The number of seconds for which an event is kept, for clients that reconnect and resume."""
ALL_KEPT_S: Final = 10
"""The number of seconds for which every event is kept. After that, an event of shares is removed if
a later one in the same :data:`STEP_S` seconds has all of its windows."""
STEP_S: Final = 5

_NAME_FIELD: Final = b"event"
_ALL_FIELD: Final = b"all"
# The fastest level takes a third of the default level's time, and bodies are a tenth larger.
_COMPRESSION_LEVEL: Final = 1
_WINDOWS: Final = frozenset(window.encode() for window in ROLLING)
_STEP_MS: Final = STEP_S * 1000
_NAME: Final = re.compile(r"[a-z_]{1,32}")
_ID: Final = re.compile(r"(\d{1,20})-(\d{1,20})")


class EventId(NamedTuple):
    """The position of an event in the log: milliseconds of Redis' clock, and a sequence number."""

    at_ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id that is written as ``MILLISECONDS-NUMBER``.

        Raises:
            ValueError: the text is not of that form.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(f"invalid event id {text[:48]!r}; expected MILLISECONDS-NUMBER")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.number}"


@dataclass(frozen=True, eq=False)
class Event:
    """One event. Its bodies are kept compressed, each until it is needed."""

    id: EventId
    name: str
    compressed: Mapping[bytes, bytes]

    def has_body(self, window: str) -> bool:
        """Return whether the event is for clients that chose a window."""
        return self._compressed(window) is not None

    def _compressed(self, window: str) -> bytes | None:
        return self.compressed.get(window.encode(), self.compressed.get(_ALL_FIELD))

    def body(self, window: str) -> bytes | None:
        """Return the JSON for clients that chose a window.

        ``None`` if the event has none, or a damaged one.
        """
        compressed = self._compressed(window)
        try:
            return None if compressed is None else zlib.decompress(compressed)
        except zlib.error:
            return None


def shares_fields(
    snapshot: Mapping[str, bytes], windows: Collection[str] = ROLLING
) -> dict[bytes, bytes] | None:
    """Return the entry that announces a snapshot: the answers for some windows, by country.

    ``None`` if the snapshot has none of them.
    """
    answers = {window: snapshot.get(f"{window}/country") for window in ROLLING if window in windows}
    bodies = {
        window.encode(): zlib.compress(answer, _COMPRESSION_LEVEL)
        for window, answer in answers.items()
        if answer is not None
    }
    return {_NAME_FIELD: SHARES.encode(), **bodies} if bodies else None


def swing_fields(encoded: bytes) -> dict[bytes, bytes]:
    """Return the entry of an event of a swing, which is the same for all clients."""
    return {
        _NAME_FIELD: SWING.encode(),
        _ALL_FIELD: zlib.compress(encoded, _COMPRESSION_LEVEL),
    }


def superseded(events: Iterable[tuple[EventId, Collection[bytes]]]) -> list[EventId]:
    """Return the events all of whose windows a later event of the same step has, too.

    Args:
        events: in order, the fields of each; those of :data:`SHARES` are windows.
    """
    found: list[EventId] = []
    step, later = -1, []
    for id_, fields in reversed(list(events)):
        windows = _WINDOWS.intersection(fields)
        if id_.at_ms // _STEP_MS != step:
            step, later = id_.at_ms // _STEP_MS, list[frozenset[bytes]]()
        if windows and any(windows <= each for each in later):
            found.append(id_)
        else:
            later.append(windows)
    return found


def settled_before(now_ms: int) -> int:
    """Return the time (ms) before which no event is removed any more; a step ends there."""
    return (now_ms - ALL_KEPT_S * 1000) // _STEP_MS * _STEP_MS


class RecentEvents:
    """The events that a process has added to the log, until those superseded are removed."""

    def __init__(self) -> None:
        self._added: list[tuple[EventId, Collection[bytes]]] = []

    def add(self, id_: EventId, fields: Collection[bytes]) -> None:
        """Remember an event."""
        self._added.append((id_, frozenset(fields)))

    def superseded(self, now_ms: int) -> list[EventId]:
        """Return the events that are to be removed now, and forget them."""
        before = settled_before(now_ms)
        if not self._added or self._added[0][0].at_ms >= before:
            return []
        old = [each for each in self._added if each[0].at_ms < before]
        del self._added[: len(old)]
        return superseded(old)


def event_of(entry: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """Return the event of an entry: ``entry`` is its id.

    A damaged entry becomes an event without a body, which nobody is sent: readers have to get past
    it to the next one.
    """
    name = fields.get(_NAME_FIELD, b"").decode(errors="replace")
    bodies = {field: compressed for field, compressed in fields.items() if field != _NAME_FIELD}
    return Event(EventId.parse(entry.decode()), name, bodies if _NAME.fullmatch(name) else {})
