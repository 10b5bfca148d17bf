"""A story: messages, what is believed, and which swings must and must not be found in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from miningmap.swings import PlaceSwing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

    from miningmap.messages import Message
    from miningmap.swings import Driver, Swing, SwingState

Json = dict[str, Any]


class Found(NamedTuple):
    """One swing: its events from the first firing to its end, or to that of the story."""

    pair: str
    subject: str
    events: Sequence[Swing]

    @property
    def is_place(self) -> bool:
        return isinstance(self.events[0], PlaceSwing)

    @property
    def sign(self) -> int:
        return 1 if (self.events[0].delta or 0) > 0 else -1

    @property
    def driver(self) -> Driver | None:
        first = self.events[0]
        return first.driver if isinstance(first, PlaceSwing) else None

    @property
    def severity(self) -> int:
        return max(event.severity for event in self.events)

    @property
    def started(self) -> datetime:
        return self.events[0].at

    @property
    def end(self) -> SwingState:
        """How it ended; ``firing`` if it did not."""
        return self.events[-1].state

    def __str__(self) -> str:
        driver = f" {self.driver}" if self.driver else ""
        at = f"{self.started:%Y-%m-%dT%H:%M}"
        delta = self.events[0].delta or 0
        return f"{self.pair} {self.subject}{driver} {delta:+.3f} from {at}, {self.end}"


@dataclass(frozen=True)
class Expected:
    """A swing that must be found.

    Attributes:
        subject: the code of a place or the slug of a pool.
        pairs: in at least one of these pairs.
        sign: whether it rises (1) or falls (-1).
        driver: of a place, what moved it when it began to fire.
        severity: the least that it has to reach.
        end: how it ends within the story; ``firing`` if it lasts.
        within: the longest time from the cause to its firing.
    """

    subject: str
    sign: int
    driver: Driver | None = None
    pairs: tuple[str, ...] = ("1h/24h",)
    severity: int = 0
    end: SwingState | None = None
    within: timedelta | None = None

    def matches(self, found: Found, cause: datetime) -> bool:
        return (
            (found.subject, found.sign, found.driver) == (self.subject, self.sign, self.driver)
            and found.pair in self.pairs
            and found.severity >= self.severity
            and self.end in {None, found.end}
            and (self.within is None or found.started - cause <= self.within)
        )


def nothing(_: Found) -> bool:
    return False


@dataclass(frozen=True)
class Story:
    """What happens, and what the detector has to make of it.

    Attributes:
        name: a few words.
        messages: makes all messages, the same ones whenever it is called.
        cause: when what happens begins.
        start: the first minute that is evaluated.
        end: the last one.
        beliefs: a document of beliefs.
        must: the swings that must be found.
        may: tells of any other swing whether it may be found too; all others are false alarms.
    """

    name: str
    messages: Callable[[], Iterable[Message]]
    cause: datetime
    start: datetime
    end: datetime
    beliefs: Json = field(default_factory=dict)
    must: tuple[Expected, ...] = ()
    may: Callable[[Found], bool] = nothing


def swings_of(events: Iterable[Swing]) -> list[Found]:
    """Return the swings that events tell of, in the order in which they began to fire."""
    by_identity: dict[tuple[object, ...], list[Swing]] = {}
    for event in events:
        is_place = isinstance(event, PlaceSwing)
        subject = (event.place,) if isinstance(event, PlaceSwing) else (event.pool, event.source)
        by_identity.setdefault((event.pair, is_place, subject, event.started), []).append(event)
    return [
        Found(str(pair), subject[0], of_one)  # type: ignore[index]
        for (pair, _, subject, _), of_one in by_identity.items()
    ]


def complaints(story: Story, swings: Sequence[Found]) -> Iterator[str]:
    """Yield what is missing, and what should not have been found."""
    for expected in story.must:
        if not any(expected.matches(found, story.cause) for found in swings):
            yield f"missing: {expected}"
    for found in false_alarms(story, swings):
        yield f"false: {found}"


def false_alarms(story: Story, swings: Iterable[Found]) -> list[Found]:
    """Return the swings that the story neither asks for nor allows."""
    return [
        found
        for found in swings
        if not any(expected.matches(found, story.cause) for expected in story.must)
        and not story.may(found)
    ]
