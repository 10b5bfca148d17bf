"""The part of Redis that one pool may take, so that no pool fills it for all others.

Whoever writes to Kafka can send any number of messages, each within its limits. What a pool takes
is measured in Redis rather than counted here: minutes and hours expire, and most claims replace
others. Between two measurements it is estimated, never too low.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from redis import RedisError

from miningmap.redis_errors import cause_of
from miningmap.sizes import values_in_bucket
from miningmap.times import utc_now
from streams.method.cells import series_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from miningmap.messages import Message
    from streams.method.cells import Claim
    from streams.redis.keys import Generation

    Measure = Callable[[Generation, str | None, datetime], Awaitable[int]]

VALUE_BYTES: Final = 40
"""More than a value takes, its part of the sums of hours and days included."""
AGAIN_S: Final = 10.0
"""How often a pool that takes too much is measured: what expires makes room."""

_MB: Final = 10**6
_MOST_POOLS: Final = 10_000

_log = structlog.get_logger(__name__)


@dataclass
class _Size:
    """What a pool takes: bytes as measured and as estimated since, and when it was measured."""

    measured: int
    at: float
    estimated: int = 0

    @property
    def total(self) -> int:
        return self.measured + self.estimated


class PoolQuota:
    """Decides which messages may become cells.

    Args:
        measure: returns how many bytes of Redis a pool takes.
        most: how many it may; 0 for no limit.
        now: the wall clock, UTC.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        measure: Measure,
        most: int,
        *,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure = measure
        self._most = most
        self._now = now
        self._clock = clock
        self._sizes: dict[tuple[Generation, str | None], _Size] = {}

    async def refusal(self, generation: Generation, message: Message) -> str | None:
        """Return why a message may not become cells; ``None`` if it may.

        Args:
            generation: of the cells.
            message: to be written next.

        Raises:
            redis.RedisError: Redis is unavailable.
        """
        if not self._most:
            return None
        pool = series_of(message).pool
        size = self._sizes.get((generation, pool))
        if size is None or (size.total > self._most and self._is_due(size)):
            if len(self._sizes) >= _MOST_POOLS:
                self._sizes.clear()
            measured = await self._measured(generation, pool)
            size = self._sizes[generation, pool] = _Size(measured, self._clock())
        if size.total > self._most:
            subject = pool or "the network"
            return (
                f"the cells of {subject} take {size.measured / _MB:,.1f} MB of Redis, and a pool "
                f"may take {self._most / _MB:,.1f} MB (MININGMAP_STREAMS__POOL_MB)"
            )
        return None

    def count(self, generation: Generation, message: Message, claims: Iterable[Claim]) -> None:
        """Count claims of a message that was not refused, which are written next.

        What is claimed is known already, and finding it out again takes some time for each message.
        """
        size = self._sizes.get((generation, series_of(message).pool))
        if size is not None:  # else there is no limit, or the pool is measured at its next message
            values = values_in_bucket(message) * sum(len(each.buckets) for each in claims)
            size.estimated += values * VALUE_BYTES

    def _is_due(self, size: _Size) -> bool:
        """Return whether to measure again: at once where it was only estimated to be too much."""
        return size.measured <= self._most or self._clock() - size.at >= AGAIN_S

    async def _measured(self, generation: Generation, pool: str | None) -> int:
        try:
            return await self._measure(generation, pool, self._now())
        except RedisError as error:
            if cause_of(error) != "refused":
                raise
            # Not all servers that speak Redis' protocol know the command, and it may be forbidden.
            _log.warning("pool_sizes_unavailable", error=str(error))
            return 0
