"""Plausibility: which parsed readings are accepted. The one place for these rules.

An implausible reading becomes a dead letter with its reason; it neither stops the other readings of
its response nor counts as 0. A sudden change has to be confirmed by further polls before it is
accepted, because a wrong unit or a broken source looks the same as a real change at first. The
delay gives the source time to correct itself before the map shows the figure.
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
"""H/s, a hundred times the whole network of 2026. More than this is a wrong unit."""
MAX_OF_NETWORK: Final = 2.0
"""The largest plausible ratio of a pool to the network; estimates of the network err by less."""
JUMP: Final = 50.0
"""The largest factor by which a pool's hashrate may change between two polls, unconfirmed."""
CONFIRMATIONS: Final = 2
"""How many further polls have to agree with a jump before it is accepted."""
MAX_AHEAD: Final = timedelta(minutes=2)
"""How far a source's clock may be ahead of this one."""
NETWORK_KEPT: Final = timedelta(days=1)
"""How long a source's figure for the network is compared with pools."""


class _Jump(NamedTuple):
    """An unconfirmed change of hashrate (H/s), and how many readings have confirmed it so far."""

    hashrate: float
    confirmations: int


class _Network(NamedTuple):
    """A source's last accepted figure for the network, in H/s, and when it was fetched."""

    hashrate: float
    fetched_at: datetime


_Key: TypeAlias = tuple[str, str]
"""A source's path and a pool's slug."""


class Plausibility:
    """The last accepted figures of all sources and pools, which new readings are compared with.

    Sources share one, because pools are compared with the network. It holds one figure for each
    source and pool in memory. After a restart the first reading is accepted as it is.
    """

    def __init__(self) -> None:
        self._accepted: dict[_Key, float] = {}
        self._jumps: dict[_Key, _Jump] = {}
        self._networks: dict[str, _Network] = {}

    def check(
        self, source: Source, reading: Reading | NetworkReading, fetched_at: datetime
    ) -> str | None:
        """Return why a reading is implausible, or ``None`` and remember it as accepted.

        Call this once for each reading, in the order in which they were fetched.
        """
        error = (
            _invalid(reading, fetched_at)
            or self._above_network(reading, fetched_at)
            or self._unconfirmed_jump((source.path, subject_of(reading)), reading.hashrate)
        )
        if error is None and not isinstance(reading, Reading):
            self._networks[source.path] = _Network(reading.hashrate, fetched_at)
        return error

    def _above_network(self, reading: Reading | NetworkReading, fetched_at: datetime) -> str | None:
        """Compare a pool with the largest figure for the network that any source gives.

        With any other choice, a single source with a figure far too low would reject all pools.
        """
        recent = [
            network.hashrate
            for network in self._networks.values()
            if fetched_at - network.fetched_at < NETWORK_KEPT
        ]
        if not isinstance(reading, Reading) or not recent:
            return None
        largest = max(recent)
        if reading.hashrate <= MAX_OF_NETWORK * largest:
            return None
        return f"{reading.hashrate:g} H/s is more than twice the network's {largest:g} H/s"

    def _unconfirmed_jump(self, key: _Key, hashrate: float) -> str | None:
        last = self._accepted.get(key)
        if last is None or _is_near(hashrate, last):
            self._jumps.pop(key, None)
            self._accepted[key] = hashrate
            return None
        jump = self._jumps.get(key)
        confirmations = jump.confirmations + 1 if jump and _is_near(hashrate, jump.hashrate) else 0
        if confirmations >= CONFIRMATIONS:
            del self._jumps[key]
            self._accepted[key] = hashrate
            return None
        self._jumps[key] = _Jump(hashrate, confirmations)
        return (
            f"{hashrate:g} H/s after {last:g} H/s is a jump by more than {JUMP:g} times, "
            f"confirmed by {confirmations} of {CONFIRMATIONS} polls"
        )


def _invalid(reading: Reading | NetworkReading, fetched_at: datetime) -> str | None:
    """Return what is wrong with a reading by itself."""
    if not math.isfinite(reading.hashrate):
        return f"{reading.hashrate} is not a hashrate"
    if reading.hashrate < 0:
        return f"{reading.hashrate:g} H/s is negative"
    if reading.hashrate > MAX_HASHRATE:
        return (
            f"{reading.hashrate:g} H/s is more than the whole network; has the source changed its "
            "unit?"
        )
    at = reading.observed_at
    if at is not None and at > fetched_at + MAX_AHEAD:
        return f"observed at {at.isoformat()}, which is in the future"
    if isinstance(reading, Reading):
        placed = sum(place.hashrate for place in reading.places)
        if not placed <= reading.hashrate * (1 + SUM_TOLERANCE):  # negated so that NaN is rejected
            return f"places add up to {placed:g} H/s, more than the pool's {reading.hashrate:g} H/s"
    return None


def _is_near(a: float, b: float) -> bool:
    """Return whether a change from one to the other is not a jump; only 0 is near 0."""
    low, high = sorted((a, b))
    return high <= JUMP * low
