"""All that this service reads from Redis, and the one place that knows what to do without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from redis import RedisError

from endpoint.errors import UnavailableError
from miningmap.cbeci.monthly_tables import POOL, SOURCE
from streams.method.cells import Series
from streams.queries.months import ask_months
from streams.queries.snapshot import ask, ask_history

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from datetime import datetime

    from miningmap.api.models import Answer, History
    from streams.method.placing import Beliefs
    from streams.queries.history import HistoryQuestion
    from streams.queries.months import Month
    from streams.queries.parameters import Question
    from streams.redis.event_log import Event, EventId
    from streams.redis.store import Store

T = TypeVar("T")

SHORT_PATIENCE_S: Final = 2.0
"""How long the one that follows Redis waits for it: nobody else waits for that one."""
PATIENCE_S: Final = 5.0
"""How long a request may wait for Redis."""
LONG_PATIENCE_S: Final = 30.0
"""The same for one that adds a year up."""

_log = structlog.get_logger(__name__)


class Reader:
    """Reads of one Redis. Logs when it is lost and when it is back, once each."""

    def __init__(self, store: Store, beliefs: Beliefs) -> None:
        self._store = store
        self._beliefs = beliefs
        self._lost = False

    async def snapshot(self, name: str) -> bytes | None:
        """One snapshot as it was written.

        Raises:
            UnavailableError: Redis did not answer.
        """
        return await self._read(self._store.snapshot(name))

    async def snapshots(self) -> dict[str, bytes]:
        """All snapshots, of one moment.

        Raises:
            UnavailableError: Redis did not answer.
        """
        return await self._read(self._store.snapshots())

    async def events(self, after: EventId, *, most: int, wait_s: float) -> list[Event]:
        """The next events of the log, in order; waits so long for one if there is none yet.

        Raises:
            UnavailableError: Redis did not answer.
        """
        reading = self._store.events(after, most=most, wait_s=wait_s)
        return await self._read(reading, wait_s + SHORT_PATIENCE_S)

    async def last_event(self) -> EventId | None:
        """The id of the newest event of the log.

        Raises:
            UnavailableError: Redis did not answer.
        """
        return await self._read(self._store.last_event())

    async def ask(self, question: Question) -> Answer:
        """The answer to a question, computed from the cells.

        Raises:
            UnavailableError: Redis did not answer.
        """
        return await self._read(ask(self._store, question, self._beliefs))

    async def ask_history(self, question: HistoryQuestion) -> History:
        """The history that is asked for, computed from the cells.

        Raises:
            UnavailableError: Redis did not answer.
        """
        return await self._read(ask_history(self._store, question, self._beliefs), LONG_PATIENCE_S)

    async def months(self, now: datetime, inside: Sequence[str]) -> list[Month]:
        """Every month that is over at ``now``, with what is inside of these countries.

        Raises:
            UnavailableError: Redis did not answer.
        """
        asking = ask_months(self._store, now, self._beliefs, inside)
        return await self._read(asking, LONG_PATIENCE_S)

    async def imported(self) -> bytes | None:
        """Another value whenever a table was imported: the stamp of what tables become.

        Raises:
            UnavailableError: Redis did not answer.
        """
        return await self._read(self._store.stamp(Series(POOL, SOURCE)))

    async def _read(self, reading: Awaitable[T], patience_s: float = PATIENCE_S) -> T:
        try:
            async with asyncio.timeout(patience_s):
                found = await reading
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            if not self._lost:
                _log.warning("redis_lost", error=str(error) or type(error).__name__)
            self._lost = True
            raise UnavailableError from error
        if self._lost:
            _log.info("redis_back")
        self._lost = False
        return found
