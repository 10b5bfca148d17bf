"""Which readings of polls are accepted: what figures can be true, and what polls must confirm.

The rules that hold for every figure, however it comes, are in :mod:`miningmap.plausibility`. Here
is what only polling knows: what a source said before, what it declares, and what others say now.

A rejected reading becomes a dead letter with its reason; it neither stops the other readings of its
response nor counts as 0. A figure that is much larger or smaller than expected has to be confirmed
by further polls before it is accepted, because a wrong unit or a broken source looks the same as a
real change at first. The delay gives the source time to correct itself before the map shows the
figure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from collector.sources.base import Reading
from miningmap.messages import SUM_TOLERANCE, Report, key
from miningmap.plausibility import (
    IMPLAUSIBLE,
    OFF_OTHERS,
    ZERO,
    KnownFigures,
    Rejection,
    disagreement,
    future,
    impossible,
    is_near,
    too_large,
)
from miningmap.units import format_hashrate

if TYPE_CHECKING:
    from datetime import datetime

    from collector.sources.base import NetworkReading, Source
    from miningmap.messages import Message

JUMP: Final = 50.0
"""The largest factor by which a pool's hashrate may change between two polls, unconfirmed."""
CONFIRMATIONS: Final = 2
"""How many further polls have to agree with a doubtful figure before it is accepted."""


class _Doubtful(NamedTuple):
    """An unconfirmed hashrate (H/s), and how many readings have confirmed it so far."""

    hashrate: float
    confirmations: int


_Subject: TypeAlias = tuple[str, bytes]
"""A source's path, and the key of its messages about one pool or the network."""


class Plausibility:
    """The last accepted figures of all sources and pools, which new readings are compared with.

    Sources share one, because pools are compared with the network. It holds one figure for each
    source and pool in memory, and none after a restart.
    """

    def __init__(self, known: KnownFigures | None = None) -> None:
        """Compare with what is known of the network and of mined blocks; by default nothing is."""
        self._known = known or KnownFigures()
        self._accepted: dict[_Subject, float] = {}
        self._doubtful: dict[_Subject, _Doubtful] = {}

    def check(self, source: Source, message: Message) -> Rejection | None:
        """Return why the message of a valid reading is rejected, or ``None`` and remember it.

        Call this once for each reading, in the order in which they were fetched.
        """
        rejection = (
            impossible(message)
            or self._known.rejected(message)
            or self._unconfirmed(source, message)
        )
        if rejection is None:
            self._known.add(message)
        return rejection

    def _unconfirmed(self, source: Source, message: Message) -> Rejection | None:
        subject = (source.path, key(message))
        hashrate = message.hashrate
        doubt = self._doubt(source, message, self._accepted.get(subject))
        if doubt is None:
            self._doubtful.pop(subject, None)
            self._accepted[subject] = hashrate
            return None
        last = self._doubtful.get(subject)
        confirmations = (
            last.confirmations + 1 if last and is_near(hashrate, last.hashrate, JUMP) else 0
        )
        if confirmations >= CONFIRMATIONS:
            del self._doubtful[subject]
            self._accepted[subject] = hashrate
            return None
        self._doubtful[subject] = _Doubtful(hashrate, confirmations)
        confirmed = f"confirmed by {confirmations} of {CONFIRMATIONS} polls"
        return Rejection(IMPLAUSIBLE, f"{doubt}, {confirmed}")

    def _doubt(self, source: Source, message: Message, last: float | None) -> str | None:
        """Return why polls have to confirm a figure, if they have to."""
        if last is None and message.hashrate < source.min_hashrate:
            text, least = format_hashrate(message.hashrate), format_hashrate(source.min_hashrate)
            return f"{text} is less than the {least} expected of {source.path}"
        if last is not None and not is_near(message.hashrate, last, JUMP):
            text = format_hashrate(message.hashrate)
            return f"{text} after {format_hashrate(last)} is a jump by more than {JUMP:g} times"
        # A source that was confirmed to differ from the others need not be confirmed again.
        if last is not None and is_near(message.hashrate, last, OFF_OTHERS):
            return None
        if isinstance(message, Report):
            return None
        others = disagreement(message.hashrate, self._known.other_networks(message))
        if others is None:
            return None
        differs = f"{format_hashrate(message.hashrate)} differs by more than {OFF_OTHERS:g} times"
        return f"{differs} from the {format_hashrate(others)} of other sources"


def invalid(reading: Reading | NetworkReading, fetched_at: datetime) -> Rejection | None:
    """Return what is wrong with a reading by itself."""
    if error := _not_a_figure(reading):
        return Rejection(IMPLAUSIBLE, error)
    if reading.hashrate == 0:
        return ZERO
    return too_large(reading.hashrate) or future(reading.observed_at or fetched_at, fetched_at)


def _not_a_figure(reading: Reading | NetworkReading) -> str | None:
    if not math.isfinite(reading.hashrate):
        return f"{reading.hashrate} is not a hashrate"
    if reading.hashrate < 0:
        return f"{reading.hashrate:g} H/s is negative"
    if isinstance(reading, Reading):
        placed = sum(place.hashrate for place in reading.places)
        if not placed <= reading.hashrate * (1 + SUM_TOLERANCE):  # negated so that NaN is rejected
            return f"places add up to {placed:g} H/s, more than the pool's {reading.hashrate:g} H/s"
    return None
