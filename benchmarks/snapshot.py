"""The cost of a snapshot: by pools, by history, and by changes since the last one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import chain
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final

from benchmarks.fixtures import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Pool,
    begins,
    network,
    pools,
    print_table,
    redis_on_one_core,
    report,
    whole,
    write,
)
from launch.cli.common import collect_garbage_seldom
from miningmap.settings import Retention
from streams.beliefs import BeliefOptions, load
from streams.method.observations import spans_of
from streams.method.windows import ROLLING, parse_window
from streams.queries.snapshot import Snapshots, take_snapshot
from streams.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence
    from datetime import datetime

    from redis.asyncio import Redis

    from miningmap.messages import Message

PLACES: Final = 40
POOLS: Final = (10, 50, 100)
HISTORY_D: Final = (15, 30, 60)
DAYS_ONLY_D: Final = 365
MINUTES: Final = 2 * HOUR
RUNS: Final = 5
EVERY: Final = timedelta(seconds=5)
FOLLOWED: Final = 3 * MINUTE
# Longer than the default, so that the longest history consists of hours only.
KEPT: Final = Retention(hours_d=max(HISTORY_D) + 1)
BELIEFS: Final = load(BeliefOptions())

CHANGED_POOLS: Final = (100, 1000)
TURNS: Final = 9
TICK_S: Final = 0.001

CHANGES_HEAD: Final = ("pools", "changes", "CPU", "the loop's longest standstill")
HEAD: Final = ("pools", "history", "first: read", "first: in all", "next", "next, new minute")


async def main() -> None:
    collect_garbage_seldom()  # as streams does
    rows = []
    async with redis_on_one_core() as redis:
        for number in POOLS:
            await redis.flushall()
            store, some, now = Store(redis, KEPT), pools(number, PLACES), NOW
            for days, older in _histories(some):
                await write(store, older, KEPT)
                rows.append((number, f"{days} d", *await _times(store, some, now)))
                now += FOLLOWED
        print_table(f"Snapshots, ms: pools of {PLACES} places, all windows", HEAD, rows)
        changes = [await _changes(redis, number) for number in CHANGED_POOLS]
        title = f"Changes, ms: pools of {PLACES} places, a twelfth of which has reported"
        print_table(title, CHANGES_HEAD, changes)


async def _changes(redis: Redis, number: int) -> tuple[object, ...]:
    """Return a row of CHANGES_HEAD: what each snapshot costs when some pools have reported."""
    await redis.flushall()
    store, some = Store(redis, KEPT), pools(number, PLACES)
    day, minute = whole(NOW, DAY), whole(NOW, MINUTE)
    for starts, length in (
        (begins(day - 2 * DAY, day, DAY), DAY),
        (begins(minute - 70 * MINUTE, minute, 10 * MINUTE), 10 * MINUTE),
    ):
        await write(store, _messages(some, starts, length), KEPT)
    snapshots = Snapshots(store.cells, BELIEFS)
    await snapshots.take(NOW)
    took: list[float] = []
    cpu: list[float] = []
    still: list[float] = []
    for turn in range(TURNS):
        await write(store, [report(pool, NOW - MINUTE, MINUTE) for pool in some[turn::12]], KEPT)
        longest = asyncio.create_task(_longest_standstill())
        await asyncio.sleep(0)
        began = process_time()
        took.append(await _seconds(snapshots.take_changes(NOW)))
        cpu.append(process_time() - began)
        longest.cancel()
        still.append(await longest)
    return (number, *(f"{1000 * each:.0f}" for each in (median(took), median(cpu), max(still))))


async def _longest_standstill() -> float:
    """Return for how long the loop stood still at most, in seconds, once this is cancelled."""
    longest = 0.0
    while True:
        before = perf_counter()
        try:
            await asyncio.sleep(TICK_S)
        except asyncio.CancelledError:
            return longest
        longest = max(longest, perf_counter() - before - TICK_S)


def _histories(some: Sequence[Pool]) -> Iterator[tuple[int, Iterator[Message]]]:
    """Yield longer and longer histories: their days, and the messages to add to the one before."""
    hour, day = whole(NOW, HOUR), whole(NOW, DAY)
    minutes = begins(whole(NOW, MINUTE) - MINUTES, NOW, MINUTE)
    end = hour
    for days in HISTORY_D:
        first = hour - days * DAY
        hours = begins(first, end, HOUR)
        yield days, chain(_messages(some, minutes, MINUTE), _messages(some, hours, HOUR))
        minutes, end = [], first
    # Reports that are older than the kept hours are stored in days.
    older = begins(day - DAYS_ONLY_D * DAY, day - KEPT.hours_d * DAY, DAY)
    yield DAYS_ONLY_D, _messages(some, older, DAY)


def _messages(
    some: Sequence[Pool], starts: Sequence[datetime], length: timedelta
) -> Iterator[Message]:
    """Yield messages pool by pool, which is the fastest to write; the order changes no cell."""
    for start in starts:
        yield network(start, length)
    for pool in some:
        for start in starts:
            yield report(pool, start, length)


async def _times(store: Store, some: Sequence[Pool], now: datetime) -> list[str]:
    """Return the medians of HEAD, in milliseconds."""
    reads, firsts = await _first(store, now)
    within, at_minute = await _next(store, some, now)
    each = (reads, firsts, within, at_minute)
    return [f"{1000 * median(times):.0f}" for times in each]


async def _first(store: Store, now: datetime) -> tuple[list[float], list[float]]:
    """Return the seconds of snapshots without a cache: for reading, and in total."""
    spans = spans_of(parse_window(name, now) for name in ROLLING)
    reads = [await _seconds(store.cells.read(spans)) for _ in range(RUNS)]
    return reads, [await _seconds(take_snapshot(store.cells, BELIEFS, now)) for _ in range(RUNS)]


async def _next(
    store: Store, some: Sequence[Pool], now: datetime
) -> tuple[list[float], list[float]]:
    """Return the seconds of consecutive snapshots: within a minute, and when one begins.

    Each pool reports once a minute, so a few of them between any two snapshots.
    """
    snapshots, turns = Snapshots(store.cells, BELIEFS), MINUTE // EVERY
    await snapshots.take(now)
    within: list[float] = []
    at_minute: list[float] = []
    for turn in range(FOLLOWED // EVERY):
        now += EVERY
        reports = [report(pool, now - MINUTE, MINUTE) for pool in some[turn % turns :: turns]]
        await write(store, reports, KEPT)
        took = await _seconds(snapshots.take(now))
        (within if whole(now, MINUTE) == whole(now - EVERY, MINUTE) else at_minute).append(took)
    return within, at_minute


async def _seconds(awaited: Awaitable[object]) -> float:
    started = perf_counter()
    await awaited
    return perf_counter() - started


if __name__ == "__main__":
    asyncio.run(main())
