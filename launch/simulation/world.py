"""The true hashrate by pool and place: a pure function of seed, scenario and time.

This module reads no clock and has no state except caches, so the history and the live servers agree
at every time, even in different processes.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Final

from launch.simulation.noise import noise
from launch.simulation.pools import POOLS, pool_of
from launch.simulation.scenarios import DEFAULT, SCENARIOS, Scenario
from miningmap.times import DAY_H, DAY_S, HOUR_S, bucket_start

NETWORK_HASHRATE: Final = 950e18
"""The network's approximate hashrate in H/s, before drift, seasons and events."""

_YEAR_D: Final = 365.25

# The size of each random variation, and the seconds between its changes of direction.
_NETWORK_DRIFT: Final = (0.03, 6 * DAY_S)
_NETWORK_NOISE: Final = (0.003, 20 * 60)
_POOL_NOISE: Final = (0.01, 2 * HOUR_S)
_SITE_DRIFT: Final = (0.03, 4 * DAY_S)

# Hydropower attracts miners to the south-west in the wet season; later coal and wind attract them
# to the north.
_WET_SEASON_PEAK_D: Final = 235.0
_WET_SEASON: Final = {"CN-SC": 0.30, "CN-YN": 0.30, "CN-GZ": 0.15, "CN-XJ": -0.15, "CN-NM": -0.10}

# Power is most expensive in the late afternoon: (part that switches off, hour UTC of the lowest).
_DAILY: Final = {
    "US-TX": (0.03, 22.0),
    "US-GA": (0.01, 21.0),
    "US-NY": (0.01, 22.0),
    "US-ND": (0.01, 23.0),
    "IR": (0.04, 14.0),
    "KZ": (0.02, 15.0),
}


@dataclass(frozen=True)
class World:
    """One simulated world. Hashrates are H/s, times aware; ``origin`` is where the run begins."""

    seed: int
    origin: datetime
    scenario: Scenario = field(default_factory=lambda: SCENARIOS[DEFAULT])

    @cached_property
    def _key(self) -> int:
        return hash((self.seed, self.origin, self.scenario))

    def __hash__(self) -> int:
        return self._key

    def is_up(self, pool: str, at: datetime) -> bool:
        """Return whether the pool mines and its API responds."""
        return self.is_up_over(pool, at, at)

    def is_up_over(self, pool: str, start: datetime, end: datetime) -> bool:
        """Return whether the pool is up all the time over ``[start, end]``."""
        return not any(
            outage.pool == pool
            and self.origin + outage.start <= end
            and start < self.origin + outage.end
            for outage in self.scenario.outages
        )

    def located(self, pool: str, at: datetime) -> dict[str, float]:
        """Return the pool's hashrate by place; all are 0 during an outage."""
        size = self._size(pool, at) if self.is_up(pool, at) else 0.0
        return {
            place: size * weight * self._site(pool, place, at)
            for place, weight in pool_of(pool).places.items()
        }

    def hashrate(self, pool: str, at: datetime) -> float:
        """Return the pool's total."""
        return math.fsum(self.located(pool, at).values())

    def network(self, at: datetime) -> float:
        """Return the network's hashrate: the sum of all listed pools."""
        return math.fsum(self.hashrate(pool.slug, at) for pool in POOLS)

    def mean_located(
        self, pool: str, end: datetime, length: timedelta, samples: int = 4
    ) -> dict[str, float]:
        """Return the mean of ``samples`` values of :meth:`located` over ``[end - length, end)``."""
        step = length / samples
        total: Counter[str] = Counter()
        for n in range(samples):
            total.update(self.located(pool, end - length + step * (n + 0.5)))
        return {place: hashrate / samples for place, hashrate in total.items()}

    def _size(self, pool: str, at: datetime) -> float:
        """Return the pool's hashrate without seasons and events."""
        at_s = at.timestamp()
        network = NETWORK_HASHRATE * (
            1
            + self._wander("network drift", at_s, *_NETWORK_DRIFT)
            + self._wander("network", at_s, *_NETWORK_NOISE)
        )
        wandering = 1 + self._wander(pool, at_s, *_POOL_NOISE)
        return network * pool_of(pool).share * wandering

    def _site(self, pool: str, place: str, at: datetime) -> float:
        """Return the factor of seasons and events on the pool's hashrate at one place."""
        at_s = at.timestamp()
        part = 1 + self._wander(f"{pool} in {place}", at_s, *_SITE_DRIFT)
        if place in _WET_SEASON:
            days = at_s / DAY_S - _WET_SEASON_PEAK_D
            part *= 1 + _WET_SEASON[place] * math.cos(math.tau * days / _YEAR_D)
        if place in _DAILY:
            moves, lowest = _DAILY[place]
            part *= 1 - moves * math.cos(math.tau * (at_s / HOUR_S - lowest) / DAY_H)
        for event in self.scenario.curtailments:
            if event.place == place and pool in event.pools:
                part *= event.left(at - self.origin)
        return part

    def _wander(self, name: str, at_s: float, size: float, grid_s: float) -> float:
        return size * noise(self.seed, name, at_s, grid_s)


# Many figures are means over the same hours, so 40 days of them are cached.
@lru_cache(maxsize=960)
def hour_means(world: World, hour: int) -> dict[str, dict[str, float]]:
    """Return the mean hashrate by pool and place in an hour, numbered since the epoch."""
    end = bucket_start(hour + 1, HOUR_S)
    return {pool.slug: world.mean_located(pool.slug, end, timedelta(hours=1)) for pool in POOLS}


def network_mean(world: World, last_hour: int, hours: int) -> float:
    """Return the network's mean hashrate over ``hours`` whole hours that end with ``last_hour``."""
    first = last_hour - hours + 1
    return math.fsum(_hour_mean(world, hour) for hour in range(first, last_hour + 1)) / hours


@lru_cache(maxsize=960)
def _hour_mean(world: World, hour: int) -> float:
    """Return the network's mean hashrate in an hour, numbered since the epoch."""
    return math.fsum(
        hashrate for located in hour_means(world, hour).values() for hashrate in located.values()
    )


def day_mean(world: World, pool: str, day: int) -> dict[str, float]:
    """Return the pool's mean hashrate by place over a UTC day, numbered since the epoch."""
    hours = range(day * DAY_H, (day + 1) * DAY_H)
    means = [hour_means(world, hour)[pool] for hour in hours]
    return {place: math.fsum(mean[place] for mean in means) / DAY_H for place in means[0]}
