"""What Redis has newest, held here: snapshots as they are served, and the last hour of events.

One task follows the log of events, and with each event reads the snapshots anew. It asks whether
they are others once a second even if the log is quiet, so nothing depends on one announcement.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from endpoint.errors import UnavailableError
from miningmap.times import parse_rfc3339
from streams.queries.snapshot import AT
from streams.redis.event_log import KEPT_S, SHARES, EventId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from endpoint.data.gateway import Reader
    from endpoint.http.representation import Representation
    from streams.redis.event_log import Event

CHECK_S: Final = 1.0
"""How often Redis is asked if nothing happens."""
SURE_S: Final = 3.0
"""So long what is held is taken for the newest, without an answer of Redis."""

_RETRY_S: Final = 0.5
_LONG_RETRY_S: Final = 10.0
# An hour's events are some 30 MB, so not all at once.
_PAGE: Final = 50
# Others are served in between while so many listeners are woken.
_WOKEN_AT_ONCE: Final = 10
_NOTHING: Final = EventId(0, 0)

_log = structlog.get_logger(__name__)


class Held:
    """The snapshots of one moment; what is served of them is made once.

    Args:
        snapshots: as :meth:`streams.redis.store.Store.snapshots` gives them.
    """

    def __init__(self, snapshots: Mapping[str, bytes]) -> None:
        self._snapshots = snapshots
        self._made: dict[tuple[str, Callable[[bytes], Representation]], Representation] = {}
        self.stamp = snapshots.get(AT)
        self.at = None if self.stamp is None else parse_rfc3339(self.stamp.decode())

    def made(self, name: str, make: Callable[[bytes], Representation]) -> Representation | None:
        """What ``make`` makes of a snapshot; ``None`` if there is none of that name."""
        found = self._made.get((name, make))
        if found is None and name in self._snapshots:
            found = self._made[name, make] = make(self._snapshots[name])
        return found


class EventLog:
    """The events of the last hour, in order."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        # The newest event that is no longer here, or the place before the first one that ever was.
        self._floor = _NOTHING
        self.last = _NOTHING

    def add(self, events: Sequence[Event]) -> None:
        """Append events; those that are an hour older than the newest go."""
        if not events:
            return
        if self.last == _NOTHING:
            self._floor = _before(events[0].id)
        self._events.extend(events)
        self.last = self._events[-1].id
        old = bisect_right(self._events, self.last.at_ms - KEPT_S * 1000, key=lambda e: e.id.at_ms)
        if old:
            self._floor = self._events[old - 1].id
            del self._events[:old]

    def reaches(self, after: EventId) -> bool:
        """Whether every event since ``after`` is here, so that nothing would be left out."""
        return self._floor <= after <= self.last

    def start(self) -> EventId | None:
        """Where to begin for those who have nothing: right before the newest shares, if any."""
        events = reversed(self._events)
        return next((_before(event.id) for event in events if event.name == SHARES), None)

    def next(self, after: EventId) -> Event | None:
        """The first event after a place in the log."""
        if after >= self.last:
            return None
        return self._events[bisect_right(self._events, after, key=lambda event: event.id)]


class Feed:
    """Follows one Redis.

    Args:
        reader: of that Redis.
        fresh_s: the age in seconds up to which a snapshot is served while Redis is away.
        now: the clock, UTC.
    """

    def __init__(self, reader: Reader, *, fresh_s: float, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._fresh_s = fresh_s
        self._now = now
        self._held: Held | None = None
        self._sure_until = -math.inf
        self._listeners: set[asyncio.Event] = set()
        self.log = EventLog()
        self._caught_up = asyncio.Event()
        self.closed = False

    def newest(self) -> Held | None:
        """The newest snapshots, if they may be served: ``None`` if only Redis could say.

        They may while Redis says that they are the newest; while it is away, until they are no
        longer fresh.
        """
        held = self._held
        if held is None or monotonic() < self._sure_until or self._is_fresh(held):
            return held
        return None

    def _is_fresh(self, held: Held) -> bool:
        return held.at is not None and (self._now() - held.at).total_seconds() < self._fresh_s

    async def has_caught_up(self, within_s: float) -> bool:
        """Whether the log is known as far as Redis had it at the start; waits a while for that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._caught_up.wait()
        return self._caught_up.is_set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever the log has news, and when the feed is closed."""
        news = asyncio.Event()
        self._listeners.add(news)
        try:
            yield news
        finally:
            self._listeners.discard(news)

    async def close(self) -> None:
        """Tell all listeners that it is over."""
        self.closed = True
        await self._wake()

    async def follow(self) -> None:
        """Until cancelled or closed; redis-py can swallow a cancellation while it connects."""
        while not self.closed:
            try:
                await self._step()
            except UnavailableError:
                await asyncio.sleep(_RETRY_S)
            except Exception:  # noqa: BLE001 - of whatever kind: this task must not end unseen
                # What is held gets old meanwhile, and whoever asks is sent to Redis itself.
                _log.exception("what is in Redis cannot be understood", again_in_s=_LONG_RETRY_S)
                await asyncio.sleep(_LONG_RETRY_S)

    async def _step(self) -> None:
        """Read what is new; waits for a while if nothing is."""
        if self._held is None:
            await self._refresh(told=False)
        events = await self._reader.events(self.log.last, most=_PAGE, wait_s=self._patience_s())
        await self._refresh(told=bool(events))
        if not events and await self._is_another_log():
            self.log = EventLog()
            return
        self.log.add(events)
        if len(events) < _PAGE:
            self._caught_up.set()
        if events:
            await self._wake()

    def _patience_s(self) -> float:
        # At first somebody may wait to hear that there is nothing.
        return CHECK_S if self._caught_up.is_set() else 0.0

    async def _refresh(self, *, told: bool) -> None:
        """Read the snapshots if there are others, of which an event told or not."""
        if told or self._held is None or await self._reader.snapshot(AT) != self._held.stamp:
            self._held = Held(await self._reader.snapshots())
        self._sure_until = monotonic() + SURE_S

    async def _is_another_log(self) -> bool:
        """Whether Redis has lost the log that is held here, and perhaps begun a new one."""
        last = await self._reader.last_event()
        return (last or _NOTHING) < self.log.last

    async def _wake(self) -> None:
        for number, news in enumerate(list(self._listeners), start=1):
            news.set()
            if number % _WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)


def _before(event: EventId) -> EventId:
    return event._replace(number=event.number - 1)
