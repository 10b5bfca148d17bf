"""New pools of a source of many: only so many a day are believed to exist. Pure.

A source that lists many pools also names them. A pool is kept for ever once it has reported, so a
faulty or hostile source that makes up names would fill Redis, lists and metrics. Pools that have a
name (:mod:`miningmap.pool_names`) are not new; hardly any others appear in a month. The excess is
refused here, before Kafka: what is in Kafka is replayed, and in a replay the messages of different
pools come in another order, so a limit after Kafka would refuse others each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.pool_names import is_known_pool
from miningmap.times import DAY_S, bucket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from collector.sources.base import Reading

NEW_POOL: Final = "new_pool"
"""The reason of a reading that is refused because its pool is one too many."""
_FORGOTTEN_AFTER_D: Final = 30  # then a pool is off, and counts as new when it returns


class Sorted(NamedTuple):
    """The readings of one poll, without those of new pools that are too many.

    Attributes:
        admitted: the readings that are used, in their order.
        refused: the slugs of the others.
        is_first: whether they are the first that are refused on this day.
    """

    admitted: list[Reading]
    refused: list[str]
    is_first: bool


class NewPools:
    """The pools of unknown name that one source lists, since this process began.

    Args:
        most: how many of them may be new on one day (UTC).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, int] = {}  # the day on which each was last listed
        self._day = 0
        self._new = 0
        self._has_refused = False

    def sort(self, readings: Iterable[Reading], at: datetime) -> Sorted:
        """Admit the readings of pools that are known, or new and not too many.

        Args:
            readings: of one poll.
            at: when it was made, UTC.
        """
        self._begin(bucket(at, DAY_S))
        found = Sorted([], [], is_first=not self._has_refused)
        for reading in readings:
            if self._admits(reading.pool):
                found.admitted.append(reading)
            else:
                found.refused.append(reading.pool)
        self._has_refused |= bool(found.refused)
        return found

    def _begin(self, day: int) -> None:
        if day == self._day:
            return
        self._day, self._new, self._has_refused = day, 0, False
        oldest = day - _FORGOTTEN_AFTER_D
        self._seen = {pool: last for pool, last in self._seen.items() if last >= oldest}

    def _admits(self, pool: str) -> bool:
        if is_known_pool(pool):
            return True
        if pool not in self._seen:
            if self._new >= self._most:
                return False
            self._new += 1
        self._seen[pool] = self._day
        return True
