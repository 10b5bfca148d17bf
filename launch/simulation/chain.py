"""The simulated block chain: a block about every ten minutes, and the pool that found it.

Sources that count blocks derive the hashrates of all pools from it, also of pools that report
nothing themselves.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from launch.simulation.noise import noise, uniform
from launch.simulation.pools import POOLS
from launch.simulation.world import hour_means, network_mean
from miningmap.times import HOUR_S, bucket

if TYPE_CHECKING:
    from launch.simulation.world import World

BLOCK_S: Final = 600
# Slots of ten minutes are numbered from the epoch. The offset makes heights realistic: the real
# block 973413 was found around 2026-10-27.
_SLOT_0: Final = 2_015_019

# Real finds are a Poisson process: over 144 blocks a pool of 10 % would vary by a quarter, and most
# swings of a demonstration would be luck. So finders are drawn with the golden ratio's sequence,
# which is as even as possible, and a little randomness is added.
_GOLDEN: Final = 0.6180339887498949
_LUCK: Final = 0.004
# The largest relative error of the network's hashrate as estimated from blocks and difficulty.
_ESTIMATE_ERROR: Final = 0.01


def height(world: World, at: datetime) -> int:
    """Return the height of the newest block."""
    newest = bucket(at, BLOCK_S) - _SLOT_0
    return newest if found_at(world, newest) <= at else newest - 1


def found_at(world: World, block: int) -> datetime:
    """Return when the block of that height was, or will be, found."""
    slot = block + _SLOT_0
    return datetime.fromtimestamp((slot + uniform(world.seed, "found", slot)) * BLOCK_S, UTC)


def finder(world: World, block: int) -> str:
    """Return the pool that found the block of that height; larger pools are more likely."""
    luck = _LUCK * (2 * uniform(world.seed, "luck", block) - 1)
    draw = (block * _GOLDEN + uniform(world.seed, "first draw", 0) + luck) % 1.0
    cumulative = _cumulative_hashrates(world, bucket(found_at(world, block), HOUR_S))
    return POOLS[min(bisect_right(cumulative, draw * cumulative[-1]), len(POOLS) - 1)].slug


def blocks_by_pool(world: World, at: datetime, length: timedelta) -> Counter[str]:
    """Return how many blocks each pool found in ``(at - length, at]``; pools without are absent."""
    after, newest = height(world, at - length), height(world, at)
    return Counter(finder(world, block) for block in range(after + 1, newest + 1))


def estimated_network(world: World, at: datetime, length: timedelta) -> float:
    """Return the network's mean hashrate (H/s) as estimated from blocks: nearly the true one.

    Args:
        world: the world.
        at: the end; the estimate reaches back from the last whole hour before it.
        length: rounded down to whole hours, at least one.
    """
    truth = network_mean(world, bucket(at, HOUR_S) - 1, max(1, length // timedelta(hours=1)))
    error = noise(world.seed, f"estimate {length}", at.timestamp(), 3 * HOUR_S)
    return truth * (1 + _ESTIMATE_ERROR * error)


@lru_cache(maxsize=960)
def _cumulative_hashrates(world: World, hour: int) -> list[float]:
    """Return the cumulative sums of the pools' hashrates in that hour."""
    means = hour_means(world, hour)
    return list(accumulate(math.fsum(means[pool.slug].values()) for pool in POOLS))
