"""The sources of the simulated world: all that are on by default, each with its own ``example``."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collector.registry import discover
from collector.sources.base import NetworkReading, PoolSource, Reading
from launch.simulation import chain
from miningmap.messages import Located
from miningmap.places import country_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Locating, Source
    from launch.simulation.world import World

_DAY: Final = timedelta(days=1)
# A mean takes a sample for each hour, because a pool's hashrate varies over hours: at least 4, so
# that a short mean follows an event that begins within it, and at most 24, because more would cost
# time and hardly change a mean over days.
_MIN_SAMPLES: Final = 4
_MAX_SAMPLES: Final = 24


def simulated_sources() -> list[Source]:
    """Return the sources that the simulation serves; the collector needs no others."""
    return [source for source in discover() if source.default]


def is_up(world: World, source: Source, start: datetime, end: datetime) -> bool:
    """Return whether the source's server responds all the time over ``[start, end]``."""
    pool = source.pool if isinstance(source, PoolSource) else None
    return pool is None or world.is_up_over(pool, start, end)


def bodies(
    world: World, source: Source, at: datetime, length: timedelta = timedelta(0)
) -> Sequence[bytes]:
    """Return the bodies that the source's server sends at ``at``, in the order of its requests.

    Args:
        world: the world.
        source: one of :func:`simulated_sources`.
        at: the time of the responses.
        length: the time over which figures are averaged, if longer than the source declares. The
            history passes the length of each claim, because its polls can be an hour apart; live
            servers pass none.
    """
    if source.example is None:
        raise TypeError(f"{source.path} has no example")
    span = max(length, timedelta(seconds=source.averaging_s))
    return source.example(_readings(world, source, at, span), at)


def _readings(
    world: World, source: Source, at: datetime, span: timedelta
) -> Sequence[Reading | NetworkReading]:
    if not isinstance(source, PoolSource):
        return [NetworkReading(chain.estimated_network(world, at, span))]
    if source.pool is None:
        return _by_blocks(world, at, max(span, _DAY))
    samples = max(_MIN_SAMPLES, min(_MAX_SAMPLES, span // timedelta(hours=1)))
    located = world.mean_located(source.pool, at, span, samples)
    places = _places(located, source.locates) if source.locates else ()
    return [Reading(source.pool, math.fsum(located.values()), places)]


def _by_blocks(world: World, at: datetime, span: timedelta) -> list[Reading]:
    """Return a reading of each pool that found blocks; unknown finders are one pool."""
    found = chain.blocks_by_pool(world, at, span)
    network = chain.estimated_network(world, at, span)
    return [
        Reading(pool, blocks / found.total() * network, blocks=blocks)
        for pool, blocks in sorted(found.items())
    ]


def _places(located: dict[str, float], locating: Locating) -> tuple[Located, ...]:
    places: dict[str, float] = {}
    for code, hashrate in located.items():
        place = country_of(code) if locating.granularity == "country" else code
        places[place] = places.get(place, 0.0) + hashrate
    return tuple(Located(code, hashrate, locating.kind) for code, hashrate in places.items())
