"""The gateway to Redis: every read of this service, with a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from redis import RedisError

from endpoint.errors import UnavailableError
from miningmap.cbeci.monthly_tables import POOL, SOURCE
from miningmap.dependencies import Dependency
from miningmap.redis_client import is_refusal, record_answer, record_loss
from streams.method.cells import Series
from streams.queries.months import compute_months
from streams.queries.snapshot import (
    compute_answer,
    compute_contributions,
    compute_off_pools,
)
from streams.queries.stamped_cache import StampedCache
from streams.queries.stored_history import StoredHistories
from streams.queries.swing_list import compute_swings
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence
    from datetime import datetime

    from miningmap.api.models import (
        Answer,
        Contributions,
        Histories,
        History,
        PoolList,
        PoolState,
    )
    from miningmap.swing_list import SwingList
    from miningmap.swings import SwingStatus
    from streams.method.beliefs import Beliefs
    from streams.method.windows import Span, Window
    from streams.queries.contributions import ContributionsQuery
    from streams.queries.history import HistoryQuery
    from streams.queries.months import Month
    from streams.queries.parameters import SharesQuery
    from streams.queries.pieces import Worker
    from streams.queries.swing_list import SwingsQuery
    from streams.redis.day_stamps import DayStamps
    from streams.redis.event_log import Event, EventId
    from streams.redis.loaded_cells import LoadedCells
    from streams.redis.store import Store

T = TypeVar("T")

_UNAVAILABLE: Final = "Redis, which stores all figures, is unavailable; try again later"

EVENTS_DEADLINE_S: Final = 2.0
"""Deadline of reading events, in addition to the time for which the read waits for one."""
DEADLINE_S: Final = 5.0
"""Deadline of most reads."""
LONG_DEADLINE_S: Final = 10.0
"""Deadline of reads of years of cells."""
ANSWERS_KEPT: Final = 20_000
"""How many figures of places are kept of answers about the past; each takes about 1 kB."""


class Gateway:
    """Reads the store with deadlines, and logs once when Redis becomes unavailable or available.

    Every method raises :class:`UnavailableError` if Redis fails or exceeds the deadline, and those
    that need cells :class:`streams.redis.generations.RebuildingError` while these are rebuilt.

    Args:
        store: the cells, the snapshot and the events.
        beliefs: for answers that are computed on request.
        redis: shows whether Redis is available.
    """

    def __init__(self, store: Store, beliefs: Beliefs, redis: Dependency | None = None) -> None:
        self._store = store
        self._beliefs = beliefs
        self._redis = redis or Dependency("redis")
        self._histories = StoredHistories(self, beliefs)
        self._answers: StampedCache[Answer] = StampedCache(ANSWERS_KEPT)

    async def snapshot_part(self, name: str) -> bytes | None:
        """Return one part of the snapshot as it was written, or ``None`` if there is none."""
        return await self._read(self._store.snapshots.part(name))

    async def snapshot(self) -> dict[str, bytes]:
        """Return all parts of the snapshot by name; empty before the first snapshot."""
        return await self._read(self._store.snapshots.read())

    async def check_cells(self) -> None:
        """Raise :class:`streams.redis.generations.RebuildingError` if no cells may be read."""
        await self._read(self._store.cells.check_cells())

    async def events(self, after: EventId, *, limit: int, wait_s: float) -> list[Event]:
        """Return up to ``limit`` events after a position; wait up to ``wait_s`` for the first."""
        reading = self._store.snapshots.events(after, limit=limit, wait_s=wait_s)
        return await self._read(reading, wait_s + EVENTS_DEADLINE_S)

    async def last_event(self) -> EventId | None:
        """Return the id of the newest event of the log, or ``None`` if there is none."""
        return await self._read(self._store.snapshots.last_event())

    async def shares(self, query: SharesQuery) -> Answer:
        """Compute shares from the cells."""
        computing = compute_answer(self._store.cells, query, self._beliefs, self._answers)
        return await self._read(computing)

    async def known(self) -> LoadedCells:
        """Return what is known of all series without reading a cell."""
        return await self.read(())

    async def history(
        self, query: HistoryQuery, known: LoadedCells, work: Worker
    ) -> History | Histories:
        """Compute a history from the cells.

        Args:
            query: the question.
            known: as :meth:`known` returns it.
            work: computes the pieces of the answer.
        """
        return await self._histories.compute(query, known, work)

    async def off_pools(self, listed: Iterable[PoolState], now: datetime) -> PoolList:
        """Return the pools that are off: those that are neither listed nor new at ``now``."""
        return await self._read(compute_off_pools(self._store.cells, listed, now))

    async def contributions(self, query: ContributionsQuery) -> Contributions:
        """Compute the contributions to a place's share from the cells."""
        return await self._read(compute_contributions(self._store.cells, query, self._beliefs))

    async def months(
        self, now: datetime, split: Sequence[str], known: LoadedCells, work: Worker
    ) -> list[Month]:
        """Compute every month that is over at ``now``.

        Args:
            now: UTC.
            split: the countries whose subdivisions get shares too.
            known: as :meth:`known` returns it.
            work: computes the pieces of the answer.
        """
        while True:
            tables = await self._read(self._store.cells.published())
            found = await compute_months(
                self.read, work, known, tables, now=now, beliefs=self._beliefs, split=split
            )
            if found is not None:
                return found
            known = await self.known()

    async def swings(self, query: SwingsQuery) -> SwingList:
        """Return swings; those that cannot be decoded are left out."""
        return await self._read(compute_swings(self._store.swings, query))

    async def swing_status(self) -> SwingStatus | None:
        """Return what swings now; ``None`` before the first evaluation, or if it is damaged."""
        return await self._read(self._store.swings.status())

    async def import_version(self) -> bytes | None:
        """Return a value that changes whenever a CBECI table is imported."""
        return await self._read(self._store.cells.stamp(Series(POOL, SOURCE)))

    async def read(self, spans: Iterable[Span], earlier: LoadedCells | None = None) -> LoadedCells:
        """Read the cells over some spans; those that ``earlier`` has, if they have not changed."""
        # Each cell is needed once, so it is decoded when it is checked.
        cells = self._store.cells.read(spans, earlier, keep_decoded=True)
        return await self._read(cells, LONG_DEADLINE_S)

    async def day_stamps(self, windows: Iterable[Window]) -> DayStamps:
        """Return the stamps of the days from which windows are computed."""
        return await self._read(self._store.cells.day_stamps(windows))

    async def _read(self, reading: Awaitable[T], deadline_s: float = DEADLINE_S) -> T:
        try:
            async with asyncio.timeout(deadline_s):
                result = await reading
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            record_loss(self._redis, error)
            if is_refusal(error):
                text = f"Redis, which stores all figures, refuses a command: {error}"
                raise UnavailableError(text) from error
            raise UnavailableError(_UNAVAILABLE) from error
        except RebuildingError:  # Redis has answered, but has no cells that may be read
            record_answer(self._redis)
            raise
        record_answer(self._redis)
        return result
