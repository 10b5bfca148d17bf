"""What each partner has said so far, by period: Redis, so that its rows add up to one report.

=======================================  =========================================================
``mm:intake:{POOL}:turn``                when the last report of this pool was begun, RFC 3339
``mm:intake:{POOL}:PARTNER:NAME:START``  hash: place -> H/s; NAME and START are of the period
=======================================  =========================================================

All of them expire :data:`KEPT` after they were last written. The braces keep a pool's keys in one
slot of a cluster.

Nobody holds a lock. A *turn* is a time later than those of all turns before it, whatever the clocks
of several collectors say, and the ``fetched_at`` of the reports that are made in it. Whoever reads
in a turn and finds, when it writes, that another one has begun has lost and begins anew. So what
was written was read by every later turn, and the later report has all that the earlier one had
(docs/adr/0007-ledger.md).
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
"""A year that may be corrected row by row, and a month to notice."""

_TICK: Final = timedelta(microseconds=1)  # what a time in a message can tell apart


class Ledger:
    """The partners' ledger in one Redis. Every method raises ``redis.RedisError`` without it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin(self, pool: str, now: datetime) -> datetime:
        """A turn: ``now``, or later than that if it has to be to come after all others."""
        key = _turn(pool)

        async def take(pipe: Pipeline) -> datetime:
            last = await _time(pipe, key)
            turn = now if last is None else max(now, last + _TICK)
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.set(key, rfc3339(turn), ex=KEPT)
            return turn

        turn: datetime = await self._redis.transaction(take, key, value_from_callable=True)
        return turn

    async def read(self, partner: Partner, periods: Iterable[Period]) -> dict[Period, Rows]:
        """What a partner has said of these periods; empty of those that it has not."""
        wanted = list(periods)
        async with self._redis.pipeline(transaction=False) as pipe:
            for period in wanted:
                pipe.hgetall(_key(partner, period))
            found = await pipe.execute()
        return {
            period: {place.decode(): float(hashrate) for place, hashrate in said.items()}
            for period, said in zip(wanted, found, strict=True)
        }

    async def write(self, partner: Partner, said: Mapping[Period, Rows], turn: datetime) -> bool:
        """Add what a partner says now, all or nothing; not, and false, if the turn is over."""
        key = _turn(partner.pool)
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            if await _time(pipe, key) != turn:
                return False
            pipe.multi()  # type: ignore[no-untyped-call]
            for period, places in said.items():
                name = _key(partner, period)
                pipe.hset(name, mapping={place: repr(value) for place, value in places.items()})
                pipe.expire(name, KEPT)
            try:
                await pipe.execute()
            except WatchError:
                return False
        return True


async def _time(pipe: Pipeline, key: str) -> datetime | None:
    value = cast("bytes | None", await pipe.get(key))
    return None if value is None else parse_rfc3339(value.decode())


def _turn(pool: str) -> str:
    return f"mm:intake:{{{pool}}}:turn"


def _key(partner: Partner, period: Period) -> str:
    return f"mm:intake:{{{partner.pool}}}:{partner.name}:{period.name}:{period.start:%Y-%m-%d}"
