"""The newest snapshots and the last hour of events, cached in memory.

One task follows the event log in Redis and reads the snapshots after each event. It also compares
their time once a second while the log is quiet, so a lost event delays nothing for long.
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

    from endpoint.data.gateway import Gateway
    from endpoint.http.representation import Representation
    from streams.redis.event_log import Event

POLL_S: Final = 1.0
"""The interval at which Redis is polled while the log is quiet."""
CONFIRMED_S: Final = 3.0
"""For so long after Redis confirmed the cached snapshots, they count as the newest."""

_RETRY_S: Final = 0.5
_LONG_RETRY_S: Final = 10.0
# An hour of events is some 30 MB, so it is read in pages.
_PAGE: Final = 50
# Other requests get a turn each time this many listeners were woken.
_WOKEN_AT_ONCE: Final = 10
_START: Final = EventId(0, 0)

_log = structlog.get_logger(__name__)


class CachedSnapshots:
    """The snapshots of one moment, and the representations rendered from them so far.

    Args:
        snapshots: as :meth:`streams.redis.store.Store.snapshots` returns them.
    """

    def __init__(self, snapshots: Mapping[str, bytes]) -> None:
        self._snapshots = snapshots
        self._rendered: dict[tuple[str, Callable[[bytes], Representation]], Representation] = {}
        self.stamp = snapshots.get(AT)
        self.at = None if self.stamp is None else parse_rfc3339(self.stamp.decode())

    def representation(
        self, name: str, render: Callable[[bytes], Representation]
    ) -> Representation | None:
        """Return a snapshot rendered by ``render``, or ``None`` if there is none of that name."""
        found = self._rendered.get((name, render))
        if found is None and name in self._snapshots:
            found = self._rendered[name, render] = render(self._snapshots[name])
        return found


class EventLog:
    """The events of the last hour, in order."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        # The newest expired event or, before any expired, the position before the first event.
        self._floor = _START
        self.last = _START

    def add(self, events: Sequence[Event]) -> None:
        """Append events, and drop those that are an hour older than the newest."""
        if not events:
            return
        if self.last == _START:
            self._floor = _before(events[0].id)
        self._events.extend(events)
        self.last = self._events[-1].id
        expired = bisect_right(
            self._events, self.last.at_ms - KEPT_S * 1000, key=lambda event: event.id.at_ms
        )
        if expired:
            self._floor = self._events[expired - 1].id
            del self._events[:expired]

    def reaches(self, after: EventId) -> bool:
        """Return whether the log has every event since ``after``."""
        return self._floor <= after <= self.last

    def start(self) -> EventId | None:
        """Return the position before the newest shares, where new clients begin."""
        events = reversed(self._events)
        return next((_before(event.id) for event in events if event.name == SHARES), None)

    def next(self, after: EventId) -> Event | None:
        """Return the first event after a position."""
        if after >= self.last:
            return None
        return self._events[bisect_right(self._events, after, key=lambda event: event.id)]


class SnapshotCache:
    """The cache of one Redis; :meth:`follow` keeps it up to date.

    Args:
        gateway: to that Redis.
        fresh_s: the age in seconds up to which snapshots are served while Redis is unavailable.
        now: the clock, UTC.
    """

    def __init__(self, gateway: Gateway, *, fresh_s: float, now: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._fresh_s = fresh_s
        self._now = now
        self._snapshots: CachedSnapshots | None = None
        self._confirmed_until = -math.inf
        self._listeners: set[asyncio.Event] = set()
        self.log = EventLog()
        self._caught_up = asyncio.Event()
        self.closed = False

    def newest(self) -> CachedSnapshots | None:
        """Return the cached snapshots if they may be served without asking Redis.

        They may while Redis has confirmed them recently and, while it is unavailable, until they
        are no longer fresh.
        """
        cached = self._snapshots
        if cached is None or monotonic() < self._confirmed_until or self._is_fresh(cached):
            return cached
        return None

    def _is_fresh(self, cached: CachedSnapshots) -> bool:
        return cached.at is not None and (self._now() - cached.at).total_seconds() < self._fresh_s

    async def has_caught_up(self, within_s: float) -> bool:
        """Wait up to ``within_s`` until the log has been read to its end once; return whether."""
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
        """Yield an event that is set whenever the log has grown and when the cache is closed."""
        news = asyncio.Event()
        self._listeners.add(news)
        try:
            yield news
        finally:
            self._listeners.discard(news)

    async def close(self) -> None:
        """Stop following, and wake all listeners so that they end."""
        self.closed = True
        await self._wake()

    async def follow(self) -> None:
        """Keep the cache up to date until it is closed.

        Cancelling is not enough to stop it: redis-py can swallow a cancellation while it connects.
        """
        while not self.closed:
            try:
                await self._step()
            except UnavailableError:
                await asyncio.sleep(_RETRY_S)
            except Exception:  # noqa: BLE001 - any error: the cache must recover from bad data
                # Meanwhile the cached snapshots become stale, and requests read Redis themselves.
                _log.exception("snapshot_cache_failed", retry_s=_LONG_RETRY_S)
                await asyncio.sleep(_LONG_RETRY_S)

    async def _step(self) -> None:
        """Read what is new, after waiting a while for it."""
        if self._snapshots is None:
            await self._refresh(changed=False)
        events = await self._gateway.events(self.log.last, most=_PAGE, wait_s=self._wait_s())
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
            await self._wake()

    def _wait_s(self) -> float:
        # The first read does not wait: a client may already wait for the cache to catch up.
        return POLL_S if self._caught_up.is_set() else 0.0

    async def _refresh(self, *, changed: bool) -> None:
        """Read the snapshots if an event announced new ones, or if their time has changed."""
        cached = self._snapshots
        if changed or cached is None or await self._gateway.snapshot(AT) != cached.stamp:
            self._snapshots = CachedSnapshots(await self._gateway.snapshots())
        self._confirmed_until = monotonic() + CONFIRMED_S

    async def _log_was_replaced(self) -> bool:
        """Return whether Redis' newest event is older than ours, as after a data loss."""
        last = await self._gateway.last_event()
        return (last or _START) < self.log.last

    async def _wake(self) -> None:
        for number, news in enumerate(list(self._listeners), start=1):
            news.set()
            if number % _WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)


def _before(event: EventId) -> EventId:
    return event._replace(number=event.number - 1)
