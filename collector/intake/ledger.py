"""The ledger: all rows that partners have sent, so that several requests add up to one report.

It is in Redis:

=======================================  =========================================================
``mm:intake:{POOL}:turn``                the version of the pool's latest report, a time (RFC 3339)
``mm:intake:{POOL}:PARTNER:NAME:START``  hash: place -> H/s; NAME and START are of the period
=======================================  =========================================================

Every key expires :data:`KEPT` after it was last written. The braces keep a pool's keys in one slot
of a Redis Cluster.

Concurrent requests are ordered by optimistic locking. Each takes a *version*, a time later than all
versions of its pool before it, whatever the clocks of several collectors say; it is also the
``fetched_at`` of the reports that the request publishes. A request that finds, when it writes, that
a later version was taken starts over, because the later one has read the ledger without its rows.
So every version has read what was written before it, and the report with the later ``fetched_at``
has all rows of the earlier one (docs/adr/0007-ledger.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import WatchError

from miningmap.times import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from collector.intake.partners import Partner
    from miningmap.cbeci.contribution_rows import Period, Rows

KEPT: Final = timedelta(days=400)
"""Single rows can be corrected for a year, and for a month more if an error is noticed late."""

_TICK: Final = timedelta(microseconds=1)  # the resolution of times in messages


class Ledger:
    """The partners' ledger in one Redis. Every method raises ``redis.RedisError`` if that fails."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def next_version(self, pool: str, now: datetime) -> datetime:
        """Take a version later than all before it: ``now``, or just after the latest one."""
        key = _version_key(pool)

        async def take(pipe: Pipeline) -> datetime:
            latest = await _get_time(pipe, key)
            version = now if latest is None else max(now, latest + _TICK)
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.set(key, rfc3339(version), ex=KEPT)
            return version

        version: datetime = await self._redis.transaction(take, key, value_from_callable=True)
        return version

    async def read(self, partner: Partner, periods: Iterable[Period]) -> dict[Period, Rows]:
        """Return a partner's rows of these periods as H/s by place; empty where there are none."""
        wanted = list(periods)
        async with self._redis.pipeline(transaction=False) as pipe:
            for period in wanted:
                pipe.hgetall(_rows_key(partner, period))
            found = await pipe.execute()
        return {
            period: {place.decode(): float(hashrate) for place, hashrate in rows.items()}
            for period, rows in zip(wanted, found, strict=True)
        }

    async def write(self, partner: Partner, rows: Mapping[Period, Rows], version: datetime) -> bool:
        """Add a partner's rows, all or none; return whether ``version`` still is the latest one.

        If it is not, nothing is written.
        """
        key = _version_key(partner.pool)
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            if await _get_time(pipe, key) != version:
                return False
            pipe.multi()  # type: ignore[no-untyped-call]
            for period, places in rows.items():
                name = _rows_key(partner, period)
                # repr() keeps every bit of a float.
                pipe.hset(name, mapping={place: repr(value) for place, value in places.items()})
                pipe.expire(name, KEPT)
            try:
                await pipe.execute()
            except WatchError:
                return False
        return True


async def _get_time(pipe: Pipeline, key: str) -> datetime | None:
    value = cast("bytes | None", await pipe.get(key))
    return None if value is None else parse_rfc3339(value.decode())


def _version_key(pool: str) -> str:
    return f"mm:intake:{{{pool}}}:turn"


def _rows_key(partner: Partner, period: Period) -> str:
    return f"mm:intake:{{{partner.pool}}}:{partner.name}:{period.name}:{period.start_date}"
