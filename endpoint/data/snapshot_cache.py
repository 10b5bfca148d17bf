"""The newest snapshot and the last hour of events, cached in memory.

One task follows the event log in Redis and reads the snapshot after each event. While no event
arrives it compares the snapshot's time with Redis every second, so that a missed event delays a
snapshot by a second at most.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, bisect_right
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from endpoint.errors import UnavailableError
from streams.queries.snapshot import TAKEN_AT, decode_taken_at
from streams.redis.event_log import KEPT_S, SHARES, EventId, settled_before, superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from endpoint.data.gateway import Gateway
    from endpoint.http.representation import Representation
    from streams.redis.event_log import Event

POLL_S: Final = 1.0
"""The interval at which Redis is polled while no event arrives."""
CONFIRMED_S: Final = 3.0
"""Seconds for which the cached snapshot counts as the newest after Redis confirmed it."""

_RETRY_S: Final = 0.5
_LONG_RETRY_S: Final = 10.0
# An hour of events has about 30 MB, so it is read in pages of this many events.
_PAGE: Final = 50
# Other requests get a turn each time this many listeners have been woken.
_WAKE_BATCH: Final = 10
_START: Final = EventId(0, 0)

_log = structlog.get_logger(__name__)


class CachedSnapshot:
    """One snapshot, and the representations of its parts that were rendered so far.

    Args:
        parts: by name, as :meth:`streams.redis.snapshot_store.SnapshotStore.read` returns them.
        earlier: the one before it; what was rendered of parts that are the same is kept.
    """

    def __init__(self, parts: Mapping[str, bytes], earlier: CachedSnapshot | None = None) -> None:
        self.parts = parts
        self._rendered: dict[tuple[str, Callable[[bytes], Representation]], Representation] = {}
        if earlier is not None:
            self._rendered = earlier.rendered_of_same(parts)
        self.raw_taken_at = parts.get(TAKEN_AT)
        self.taken_at = decode_taken_at(self.raw_taken_at)

    def rendered_of_same(
        self, parts: Mapping[str, bytes]
    ) -> dict[tuple[str, Callable[[bytes], Representation]], Representation]:
        """Return what was rendered of those parts that are the same in another snapshot."""
        return {
            (name, render): rendered
            for (name, render), rendered in self._rendered.items()
            if parts.get(name) == self.parts[name]
        }

    def representation(
        self, name: str, render: Callable[[bytes], Representation]
    ) -> Representation | None:
        """Return a part rendered by ``render``, or ``None`` if there is none of that name.

        Representations are cached by ``render`` too, so it must be a function or a method: a new
        ``lambda`` in each call would add one in each call.
        """
        cached = self._rendered.get((name, render))
        if cached is None and name in self.parts:
            cached = self._rendered[name, render] = render(self.parts[name])
        return cached


class EventLog:
    """The events of the last hour, in order, without those that Redis has removed meanwhile."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._settled_ms = 0
        # The newest expired event or, before any has expired, the position before the first event.
        self._oldest_position = _START
        self.last = _START

    def add(self, events: Sequence[Event]) -> None:
        """Append events, and remove those that are an hour older than the newest."""
        if not events:
            return
        if self.last == _START:
            self._oldest_position = _before(events[0].id)
        self._events.extend(events)
        self.last = self._events[-1].id
        expired = bisect_right(
            self._events, self.last.at_ms - KEPT_S * 1000, key=lambda event: event.id.at_ms
        )
        if expired:
            self._oldest_position = self._events[expired - 1].id
            del self._events[:expired]
        self._remove_superseded()

    def _remove_superseded(self) -> None:
        """Remove what :class:`streams.redis.event_log.RecentEvents` removes from Redis."""
        settled_ms = settled_before(self.last.at_ms)
        first, end = (
            bisect_left(self._events, at_ms, key=lambda event: event.id.at_ms)
            for at_ms in (self._settled_ms, settled_ms)
        )
        part = self._events[first:end]
        gone = set(superseded((event.id, event.compressed) for event in part))
        self._events[first:end] = [event for event in part if event.id not in gone]
        self._settled_ms = settled_ms

    def reaches(self, after: EventId) -> bool:
        """Return whether the log has every event since ``after``."""
        return self._oldest_position <= after <= self.last

    def start(self, window: str) -> EventId | None:
        """Return the position before the newest shares in a window, where its new clients begin."""
        events = reversed(self._events)
        newest = (e.id for e in events if e.name == SHARES and e.has_body(window))
        return next(map(_before, newest), None)

    def next(self, after: EventId) -> Event | None:
        """Return the first event after a position, or ``None`` if there is none yet."""
        if after >= self.last:
            return None
        return self._events[self._index(after)]

    def next_newest(self, after: EventId, window: str) -> Event | None:
        """Return the first event after a position, without shares that later ones replace.

        Args:
            after: the position.
            window: of the shares that the client wants.
        """
        events = self._events[self._index(after) :]
        shares = (e for e in reversed(events) if e.name == SHARES and e.has_body(window))
        newest = next(shares, None)
        return next((e for e in events if e.name != SHARES or e is newest), None)

    def _index(self, after: EventId) -> int:
        return bisect_right(self._events, after, key=lambda event: event.id)


class SnapshotCache:
    """The cache of one Redis; :meth:`follow` keeps it up to date.

    Args:
        gateway: to that Redis.
        fresh_s: the age in seconds up to which a snapshot is served while Redis is unavailable.
        now: the clock, UTC.
    """

    def __init__(self, gateway: Gateway, *, fresh_s: float, now: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._fresh_s = fresh_s
        self._now = now
        self._snapshot: CachedSnapshot | None = None
        self._confirmed_until = -math.inf
        self._listeners: set[asyncio.Event] = set()
        self.renewed = asyncio.Event()
        """Set with each new snapshot and when the cache is closed; who waits for it clears it."""
        self.log = EventLog()
        self._caught_up = asyncio.Event()
        self.closed = False

    def newest(self) -> CachedSnapshot | None:
        """Return the cached snapshot, or ``None`` if it has to be read from Redis.

        It is returned if Redis confirmed it in the last :data:`CONFIRMED_S` seconds, or if it is
        younger than ``fresh_s``.
        """
        cached = self._snapshot
        if cached is None or monotonic() < self._confirmed_until or self._is_fresh(cached):
            return cached
        return None

    def _is_fresh(self, cached: CachedSnapshot) -> bool:
        if cached.taken_at is None:
            return False
        return (self._now() - cached.taken_at).total_seconds() < self._fresh_s

    async def has_caught_up(self, within_s: float) -> bool:
        """Return whether the log has been read to its end, after waiting up to ``within_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._caught_up.wait()
        return self._caught_up.is_set()

    @property
    def listeners(self) -> int:
        """The number of listeners."""
        return len(self._listeners)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the log has grown, and when the cache is closed.

        :meth:`wake` sets it, too.
        """
        wake_up = asyncio.Event()
        self._listeners.add(wake_up)
        try:
            yield wake_up
        finally:
            self._listeners.discard(wake_up)

    async def close(self) -> None:
        """Tell :meth:`follow` and all listeners to end; also cancel the task of :meth:`follow`."""
        self.closed = True
        self.renewed.set()
        await self.wake()

    async def follow(self) -> None:
        """Keep the cache up to date until it is closed.

        Cancelling is not enough to stop it: redis-py can swallow a cancellation while it connects.
        """
        while not self.closed:
            try:
                await self._read_next()
            except UnavailableError:
                await asyncio.sleep(_RETRY_S)
            except Exception:  # noqa: BLE001 - any error: the cache must recover from bad data
                # Meanwhile the cached snapshot becomes stale, and requests read Redis themselves.
                _log.exception("snapshot_cache_failed", retry_s=_LONG_RETRY_S)
                await asyncio.sleep(_LONG_RETRY_S)

    async def _read_next(self) -> None:
        """Wait up to ``_wait_s()`` for events, and add them."""
        if self._snapshot is None:
            await self._refresh(changed=False)
        events = await self._gateway.events(self.log.last, limit=_PAGE, wait_s=self._wait_s())
        # After a full page there may be more events, of newer snapshots: only the last one is read.
        at_end = len(events) < _PAGE
        if at_end:
            await self._refresh(changed=bool(events))
        if not events and await self._log_was_replaced():
            self.log = EventLog()
            self._caught_up.clear()
            return
        self.log.add(events)
        if at_end:
            self._caught_up.set()
        if events:
            await self.wake()

    def _wait_s(self) -> float:
        # Until the cache has caught up it does not wait: clients may be waiting for it.
        return POLL_S if self._caught_up.is_set() else 0.0

    async def _refresh(self, *, changed: bool) -> None:
        """Read the snapshot if an event announced a new one, or if its time has changed."""
        cached = self._snapshot
        if (
            changed
            or cached is None
            or await self._gateway.snapshot_part(TAKEN_AT) != cached.raw_taken_at
        ):
            self._snapshot = CachedSnapshot(await self._gateway.snapshot(), cached)
            self.renewed.set()
        self._confirmed_until = monotonic() + CONFIRMED_S

    async def _log_was_replaced(self) -> bool:
        """Return whether Redis' newest event is older than ours, as after a data loss."""
        last = await self._gateway.last_event()
        return (last or _START) < self.log.last

    async def wake(self) -> None:
        """Set the events of all listeners."""
        for number, wake_up in enumerate(list(self._listeners), start=1):
            wake_up.set()
            if number % _WAKE_BATCH == 0:
                await asyncio.sleep(0)


def _before(event: EventId) -> EventId:
    """Return the position right before an event; its number can be -1, which is only compared."""
    return event._replace(number=event.number - 1)
