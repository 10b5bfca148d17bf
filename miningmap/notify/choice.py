"""Which events are sent. Pure.

What is chosen is the events of swings that fire. The end of a swing is sent if and only if the
receiver was told that it fires, whatever its own driver is: no alert stays open for ever, and
nothing ends of which nobody knows. So it has to be remembered which swings were told. That is
stored with the position in the topic, in Kafka, so the two always belong together.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from miningmap.notify.events import Event
    from miningmap.swings import Driver, SwingSubject

MAX_TOLD: Final = 500
"""The number of swings that are remembered: Kafka stores 4096 bytes with a position."""

_MARK_CHARS: Final = 8
_MARK_BYTES: Final = 6
_COMPLETE, _INCOMPLETE = "1", "0"


@dataclass(frozen=True)
class Choice:
    """The swings that the receiver wants to know of.

    Attributes:
        subject: of places or of pools only; ``None`` for both.
        driver: of places, those that they or that others moved; ``None`` for both.
        muted: also those of muted annotations.
    """

    subject: SwingSubject | None = None
    driver: Driver | None = "own"
    muted: bool = False

    def takes(self, event: Event) -> bool:
        """Return whether an event of a swing that fires is chosen."""
        is_by_driver = event.subject == "pool" or self.driver in {None, event.driver}
        return self.takes_end(event) and is_by_driver

    def takes_end(self, event: Event) -> bool:
        """Return whether the end of a swing is chosen of which it is not known if it was told."""
        return self.subject in {None, event.subject} and (self.muted or not event.is_muted)


@dataclass(frozen=True)
class Told:
    """The swings that fire and of which the receiver was told.

    Attributes:
        marks: a short mark of each swing.
        is_complete: whether there are no others. There can be if there were too many, or if
            somebody else has set the position in the topic.
    """

    marks: frozenset[str] = frozenset()
    is_complete: bool = True

    def after(self, event: Event) -> Told:
        """Return what was told once an event is delivered."""
        mark = _mark(event.swing)
        if event.is_end:
            return Told(self.marks - {mark}, self.is_complete)
        if len(self.marks) == MAX_TOLD and mark not in self.marks:
            return Told(self.marks, is_complete=False)
        return Told(self.marks | {mark}, self.is_complete)

    def wants(self, event: Event, choice: Choice) -> bool:
        """Return whether an event is to be sent."""
        if not event.is_end:
            return choice.takes(event)
        if _mark(event.swing) in self.marks:
            return True
        return not self.is_complete and choice.takes_end(event)

    def encoded(self) -> str:
        """Return a text that is stored with the position in the topic."""
        return (_COMPLETE if self.is_complete else _INCOMPLETE) + "".join(sorted(self.marks))

    @classmethod
    def decoded(cls, text: str) -> Self:
        """Return what such a text says; of any other text, that nothing is known."""
        marks = text[1:]
        if text[:1] not in {_COMPLETE, _INCOMPLETE} or len(marks) % _MARK_CHARS:
            return cls(is_complete=False)
        starts = range(0, len(marks), _MARK_CHARS)
        return cls(
            frozenset(marks[start : start + _MARK_CHARS] for start in starts),
            is_complete=text[0] == _COMPLETE,
        )


def _mark(swing: str) -> str:
    digest = hashlib.sha256(swing.encode()).digest()
    return urlsafe_b64encode(digest[:_MARK_BYTES]).decode()
