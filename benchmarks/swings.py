"""The cost of evaluating swings: at a first start, minute after minute, and after a stop.

It is the processor time of the process, which other work on the machine hardly changes. That of
Redis is not in it.
"""

from __future__ import annotations

import asyncio
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from benchmarks.fixtures import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    begins,
    pools,
    print_table,
    redis_on_one_core,
    report,
    whole,
    write,
)
from miningmap.settings import Retention
from miningmap.times import DAY_MIN, HOUR_MIN, MINUTE_S, bucket
from streams.beliefs import BeliefOptions, load
from streams.method.swings import SwingSettings
from streams.metrics import Metrics
from streams.redis.store import Store
from streams.worker.swing_evaluator import Evaluator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from redis.asyncio import Redis

    from benchmarks.fixtures import Pool
    from miningmap.messages import Message

PLACES: Final = 40
POOLS: Final = (10, 50, 100)
HISTORY: Final = 15 * DAY
MINUTES: Final = 3 * HOUR
LIVE: Final = 10
"""The minutes that are evaluated live."""
MISSED: Final = HOUR_MIN
"""The minutes that are evaluated after a stop."""
KEPT: Final = Retention()
BELIEFS: Final = load(BeliefOptions())

HEAD: Final = ("pools", "first start, s", "a minute live, ms", "a missed minute, ms", "a day, s")


async def main() -> None:
    rows = []
    async with redis_on_one_core() as redis:
        for number in POOLS:
            await redis.flushall()
            some = pools(number, PLACES)
            await write(Store(redis, KEPT), _history(some), KEPT)
            rows.append((number, *await _times(redis, some)))
    print_table(f"Swings: pools of {PLACES} places, a report a minute", HEAD, rows)


def _history(some: Sequence[Pool]) -> Iterator[Message]:
    """Yield reports of hours, and of the minutes of the last hours."""
    minute, hour = whole(NOW, MINUTE), whole(NOW, HOUR)
    hours = begins(hour - HISTORY, hour, HOUR)
    minutes = begins(minute - MINUTES, minute, MINUTE)
    for pool in some:
        yield from (report(pool, start, HOUR) for start in hours)
        yield from (report(pool, start, MINUTE) for start in minutes)


async def _times(redis: Redis, some: Sequence[Pool]) -> list[str]:
    """Return the figures of HEAD."""
    store = Store(redis, KEPT)
    now = whole(NOW, MINUTE)
    first = await _seconds(_evaluator(store), now - MISSED * MINUTE)
    missed = await _seconds(_evaluator(store), now) / MISSED
    evaluator = _evaluator(store)
    await _seconds(evaluator, now)
    live = []
    for minute in begins(now, now + LIVE * MINUTE, MINUTE):
        await write(store, [report(pool, minute, MINUTE) for pool in some], KEPT)
        live.append(await _seconds(evaluator, minute + MINUTE))
    figures = first, 1000 * median(live), 1000 * missed, DAY_MIN * missed
    return [f"{figures[0]:.1f}", *(f"{figure:.0f}" for figure in figures[1:])]


def _evaluator(store: Store) -> Evaluator:
    return Evaluator(
        store,
        BELIEFS,
        settings=SwingSettings(),
        retention=KEPT,
        metrics=Metrics(CollectorRegistry()),
    )


async def _seconds(evaluator: Evaluator, until: datetime) -> float:
    """Return the processor time that it takes to evaluate all minutes up to a time."""
    started = process_time()
    while await evaluator.evaluate(bucket(until, MINUTE_S)):
        pass
    return process_time() - started


if __name__ == "__main__":
    asyncio.run(main())
