"""What each public source says of the world, spelled and rounded as it spells and rounds.

The servers put it into their answers and the history reads it back, so both tell the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from launch.simulation import chain
from miningmap.places import OTHER

if TYPE_CHECKING:
    from datetime import datetime

    from launch.simulation.world import World

# One instance, one place: as the live collector reads the host names.
CKPOOL_HOSTS: Final = {
    "solo.ckpool.org": "US",
    "eusolo.ckpool.org": OTHER,
    "ausolo.ckpool.org": "AU",
}

# Over what time the collector takes each one's mean.
FOUNDRY_SPAN: Final = timedelta(minutes=5)
ANTPOOL_SPAN: Final = timedelta(minutes=10)
OCEAN_SPAN: Final = timedelta(minutes=5)
CKPOOL_SPAN: Final = timedelta(minutes=5)


class Plain(NamedTuple):
    """A pool that reports its own hashrate as a plain number of H/s, over ``span``."""

    source: str
    pool: str
    span: timedelta
    hold_s: int


PLAIN: Final = (
    Plain("viabtc", "viabtc", timedelta(minutes=10), 900),
    Plain("binance", "binancepool", timedelta(minutes=10), 600),
    Plain("whitepool", "whitepool", timedelta(minutes=10), 300),
    Plain("publicpool", "publicpool", timedelta(minutes=10), 900),
    Plain("solopool", "solopool", timedelta(minutes=10), 300),
    Plain("twominers", "2miners", timedelta(minutes=30), 300),
)

_MIN_SAMPLES: Final = 4
_MAX_SAMPLES: Final = 24
_CKPOOL_PREFIXES: Final = (("E", 1e18), ("P", 1e15), ("T", 1e12))


def foundry(world: World, end: datetime, length: timedelta) -> int:
    """Foundry USA's mean hashrate before ``end``, in whole GH/s."""
    return round(_mean(world, "foundryusa", end, length) / 1e9)


def antpool(world: World, end: datetime, length: timedelta) -> str:
    """AntPool's mean hashrate before ``end``: ``"173.25 EH/s"``."""
    return f"{_mean(world, 'antpool', end, length) / 1e18:.2f} EH/s"


def ocean(world: World, end: datetime, length: timedelta) -> str:
    """OCEAN's mean hashrate before ``end``, whole H/s as text."""
    return str(plain(world, "ocean", end, length))


def plain(world: World, pool: str, end: datetime, length: timedelta) -> int:
    """The pool's mean hashrate before ``end``, in whole H/s."""
    return round(_mean(world, pool, end, length))


def q_blockchain(world: World, end: datetime) -> str:
    """The network's hashrate, in GH/s as text."""
    return f"{chain.estimated_network(world, end, timedelta(days=1)) / 1e9:.1f}"


def ckpool(world: World, host: str, end: datetime, length: timedelta) -> str:
    """The mean hashrate before ``end`` of one CKPool instance, three digits: ``"126P"``."""
    located = world.mean_located("solock", end, length, _samples(length))
    hashrate = located[CKPOOL_HOSTS[host]]
    for letter, factor in _CKPOOL_PREFIXES:
        if hashrate >= factor:
            return f"{hashrate / factor:.3g}{letter}"
    return f"{hashrate:.3g}"


def _mean(world: World, pool: str, end: datetime, length: timedelta) -> float:
    return world.mean(pool, end, length, _samples(length))


def _samples(length: timedelta) -> int:
    return max(_MIN_SAMPLES, min(_MAX_SAMPLES, length // timedelta(hours=1)))
