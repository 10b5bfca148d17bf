"""How much of Redis the cells of one pool take, as Redis itself says (``MEMORY USAGE``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from miningmap.times import DAY_S, HOUR_S, bucket
from streams.redis.encoding import decode_series
from streams.redis.expiry import OLDEST_HOURS, OLDEST_MINUTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from redis.asyncio import Redis

    from streams.method.cells import Series
    from streams.redis.keys import Generation

_LONGEST_HOLD_H = 25
"""For how many hours after the clock minutes can be held: a day, and the minutes that a message may
be ahead of the clock."""


class PoolSizes:
    """Measures pools in one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def bytes_of(self, generation: Generation, pool: str | None, now: datetime) -> int:
        """Return about how many bytes the keys of a pool take.

        Args:
            generation: of the cells.
            pool: its slug; ``None`` for the network.
            now: the clock, UTC.

        Raises:
            redis.RedisError: Redis is unavailable, or may not be asked.
        """
        entries = cast("set[bytes]", await self._redis.smembers(generation.series))
        own = f"{pool or ''}/".encode()
        series = [decode_series(entry) for entry in entries if entry.startswith(own)]
        async with self._redis.pipeline(transaction=False) as pipe:
            for each in series:
                pipe.hmget(generation.meta(each), [OLDEST_MINUTES, OLDEST_HOURS])
            oldest = await pipe.execute()
        async with self._redis.pipeline(transaction=False) as pipe:
            for each, first in zip(series, oldest, strict=True):
                for key in _keys(generation, each, first, now):
                    pipe.memory_usage(key)
            sizes: list[Any] = await pipe.execute()
        return sum(size or 0 for size in sizes)


def _keys(
    generation: Generation, series: Series, oldest: list[bytes | None], now: datetime
) -> Iterator[str]:
    """Yield the keys that a series can have."""
    minutes, hours = oldest
    for key in (generation.meta, generation.days, generation.published, generation.stamps):
        yield key(series)
    if minutes is not None:
        for hour in range(int(minutes), bucket(now, HOUR_S) + _LONGEST_HOLD_H + 1):
            yield generation.minutes(series, hour)
    if hours is not None:
        for day in range(int(hours), bucket(now, DAY_S) + 2):
            yield generation.hours(series, day)
