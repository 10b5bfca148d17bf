"""The memory that cells need in Redis: by tier, and by how many places a pool lists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

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
from streams.redis.store import Store

if TYPE_CHECKING:
    from datetime import timedelta

    from redis.asyncio import Redis

PLACES: Final = (0, 10, 40)
POOLS: Final = 100
KEPT: Final = Retention()
YEAR: Final = 365 * DAY
SAMPLE: Final = 2  # pools that are written and measured
ALL_FIELDS: Final = 0  # otherwise MEMORY USAGE estimates

HEAD: Final = (
    "tier, as long as it is kept",
    "cells a pool",
    *(f"cell of {n} places" for n in PLACES),
    "a place and day",
    *(f"{POOLS} pools of {n}" for n in PLACES),
)


class Tier(NamedTuple):
    """One tier: a pattern for its keys, a cell's length, and how long cells are kept."""

    name: str
    keys: str
    step: timedelta
    kept: timedelta


TIERS: Final = (
    Tier("minutes, 48 h", ":m:*", MINUTE, KEPT.minutes_h * HOUR),
    Tier("hours, 35 d", ":h:*", HOUR, KEPT.hours_d * DAY),
    Tier("days, a year of them", ":d", DAY, YEAR),
)


async def main() -> None:
    async with redis_on_one_core() as redis:
        rows = [_row(tier, [await _cell(redis, tier, n) for n in PLACES]) for tier in TIERS]
    print_table("Memory in Redis, bytes; totals in MiB", HEAD, rows)


async def _cell(redis: Redis, tier: Tier, places: int) -> float:
    """Return the bytes that one cell needs, with its part of the hash and key around it."""
    await redis.flushall()
    end = whole(NOW, tier.step)
    some = pools(SAMPLE, places)
    reports = (
        report(p, at, tier.step) for p in some for at in begins(end - tier.kept, end, tier.step)
    )
    await write(Store(redis, KEPT), reports, KEPT)
    size = cells = 0
    async for key in redis.scan_iter(f"mm:*{tier.keys}"):
        size += await redis.memory_usage(key, samples=ALL_FIELDS) or 0
        cells += await redis.hlen(key)
    return size / cells


def _row(tier: Tier, sizes: list[float]) -> list[str]:
    cells = tier.kept // tier.step
    a_place = (sizes[-1] - sizes[-2]) / (PLACES[-1] - PLACES[-2])
    return [
        tier.name,
        f"{cells:,}",
        *(f"{size:.0f}" for size in sizes),
        f"{a_place * (DAY // tier.step):,.0f}",
        *(f"{POOLS * cells * size / 2**20:.0f}" for size in sizes),
    ]


if __name__ == "__main__":
    asyncio.run(main())
