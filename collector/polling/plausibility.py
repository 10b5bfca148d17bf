"""Plausibility, the one place for it: which readings may be believed, after parsing.

A reading that may not be is a dead letter with its reason; it neither stops the others of its
answer nor becomes a 0. A new level has to be confirmed before it counts: a unit that was mistaken
and a feed that died look the same at first, and are mended, or told of, before the map moves.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from collector.sources.base import Reading, subject_of
from miningmap.messages import SUM_TOLERANCE

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import NetworkReading, Source

MAX_HASHRATE: Final = 1e23
"""H/s, a hundred times the whole network of 2026: no figure, but a wrong unit."""
MAX_OF_NETWORK: Final = 2.0
"""More than so many times the network is no pool; estimates of the network are off by less."""
JUMP: Final = 50.0
"""By such a factor no pool changes between two polls."""
CONFIRMATIONS: Final = 2
"""So many more readings have to say the same before a jump is believed."""
MAX_AHEAD: Final = timedelta(minutes=2)
"""Other people's clocks are off by so much without anything being wrong."""
NETWORK_KEPT: Final = timedelta(days=1)
"""What a source said of the network is a measure for so long."""


class _Doubt(NamedTuple):
    """A level that was jumped to, and how many readings have confirmed it."""

    hashrate: float
    confirmed: int


class _Network(NamedTuple):
    hashrate: float
    at: datetime


_Key: TypeAlias = tuple[str, str]
"""A source's path, and the pool."""


class Plausibility:
    """What is known of all sources and pools so far: one for all, so that they can be compared.

    It remembers one figure a source and pool, and nothing of it is needed after a restart: the
    first reading is then the level that the next is compared with.
    """

    def __init__(self) -> None:
        self._level: dict[_Key, float] = {}
        self._doubts: dict[_Key, _Doubt] = {}
        self._network: dict[str, _Network] = {}

    def fault(
        self, source: Source, reading: Reading | NetworkReading, fetched_at: datetime
    ) -> str | None:
        """What is wrong with a reading; ``None`` makes it the level of its pool.

        To be asked once for each reading, in the order in which they came.
        """
        fault = (
            _unbelievable(reading, fetched_at)
            or self._more_than_network(reading, fetched_at)
            or self._jump((source.path, subject_of(reading)), reading.hashrate)
        )
        if fault is None and not isinstance(reading, Reading):
            self._network[source.path] = _Network(reading.hashrate, fetched_at)
        return fault

    def _more_than_network(
        self, reading: Reading | NetworkReading, fetched_at: datetime
    ) -> str | None:
        """Compared with the largest that any source says, so that no single one shuts pools out."""
        said = [n.hashrate for n in self._network.values() if fetched_at - n.at < NETWORK_KEPT]
        if not isinstance(reading, Reading) or not said:
            return None
        if reading.hashrate <= MAX_OF_NETWORK * max(said):
            return None
        return f"{reading.hashrate:g} H/s is more than twice the network's {max(said):g} H/s"

    def _jump(self, key: _Key, hashrate: float) -> str | None:
        level = self._level.get(key)
        if level is None or _is_near(hashrate, level):
            self._doubts.pop(key, None)
            self._level[key] = hashrate
            return None
        before = self._doubts.get(key)
        confirmed = before.confirmed + 1 if before and _is_near(hashrate, before.hashrate) else 0
        if confirmed >= CONFIRMATIONS:
            del self._doubts[key]
            self._level[key] = hashrate
            return None
        self._doubts[key] = _Doubt(hashrate, confirmed)
        return (
            f"{hashrate:g} H/s after {level:g} H/s is a jump by more than {JUMP:g} times, "
            f"confirmed by {confirmed} of {CONFIRMATIONS} polls"
        )


def _unbelievable(reading: Reading | NetworkReading, fetched_at: datetime) -> str | None:
    """What is wrong with a reading by itself."""
    if not math.isfinite(reading.hashrate):
        return f"{reading.hashrate} is no hashrate"
    if reading.hashrate < 0:
        return f"{reading.hashrate:g} H/s is negative"
    if reading.hashrate > MAX_HASHRATE:
        return f"{reading.hashrate:g} H/s is more than any network has; is the unit another one?"
    at = reading.observed_at
    if at is not None and at > fetched_at + MAX_AHEAD:
        return f"observed at {at.isoformat()}, which is in the future"
    if isinstance(reading, Reading):
        placed = sum(place.hashrate for place in reading.places)
        if not placed <= reading.hashrate * (1 + SUM_TOLERANCE):  # NaN is not
            return f"places add up to {placed:g} H/s, more than the pool's {reading.hashrate:g} H/s"
    return None


def _is_near(a: float, b: float) -> bool:
    """Whether one is no jump from the other; 0 is near 0 only."""
    low, high = sorted((a, b))
    return high <= JUMP * low
