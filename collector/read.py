"""Bodies to readings to messages, all pure: what no adapter may get wrong, in one place."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collector.source import PermanentError, Reading, SourceError
from miningmap import messages as wire
from miningmap.messages import Message, Network, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.source import NetworkReading, Source

# A hundred times the whole network of 2026: no figure, but a wrong unit.
MAX_HASHRATE: Final = 1e23
# Other people's clocks are off by so much without anything being wrong.
MAX_AHEAD: Final = timedelta(minutes=2)
# Who polls less often than a source declares must not see its pools flicker between two polls.
HELD_POLLS: Final = 2


def read(
    source: Source, bodies: Sequence[bytes], fetched_at: datetime
) -> Sequence[Reading | NetworkReading]:
    """What the source says; empty where it says that it does not know.

    Raises:
        SourceError: one of the three kinds, with the source's slug.
    """
    try:
        readings = source.parse(bodies, fetched_at)
        for reading in readings:
            _check(reading, fetched_at)
    except SourceError as error:
        error.source = source.slug
        raise
    except Exception as error:
        # An adapter that trips over a body has met a shape that it does not know; that is no
        # reason to stop polling the others.
        text = f"the adapter failed: {error!r}"
        raise PermanentError(text, reason="shape", source=source.slug) from error
    return readings


def to_messages(
    source: Source,
    readings: Sequence[Reading | NetworkReading],
    *,
    fetched_at: datetime,
    poll_s: float,
    simulated: bool,
) -> list[Message]:
    """The messages that claim ``[observed - poll interval, observed)`` for each reading.

    Args:
        source: whose readings they are.
        readings: what :func:`read` returned.
        fetched_at: when the answer was here; the time of the figure where it has none of its own.
        poll_s: the interval at which the source is polled, in seconds, less than an hour.
        simulated: whether all this is made up.

    Raises:
        PermanentError: a reading breaks a rule of method.md 2, and nobody could use it.
    """
    try:
        made = [
            _message(source, reading, fetched_at=fetched_at, poll_s=poll_s, simulated=simulated)
            for reading in readings
        ]
        # Only decoding checks all rules: so that nothing made here is a dead letter later.
        return [wire.decode(wire.encode(message)) for message in made]
    except ValueError as error:
        text = f"implausible: {error}"
        raise PermanentError(text, reason="implausible", source=source.slug) from None


def _check(reading: Reading | NetworkReading, fetched_at: datetime) -> None:
    """Plausibility, after parsing.

    Raises:
        PermanentError: negative, not finite, too much, or from the future.
    """
    if not 0 <= reading.hashrate <= MAX_HASHRATE:  # NaN is neither
        raise PermanentError(f"implausible: {reading.hashrate:g} H/s", reason="implausible")
    at = reading.observed_at
    if at is not None and at > fetched_at + MAX_AHEAD:
        text = f"implausible: observed at {at.isoformat()}, which is in the future"
        raise PermanentError(text, reason="implausible")


def _message(
    source: Source,
    reading: Reading | NetworkReading,
    *,
    fetched_at: datetime,
    poll_s: float,
    simulated: bool,
) -> Message:
    observed = min(reading.observed_at or fetched_at, fetched_at)
    start = observed - timedelta(seconds=poll_s)
    hold_s = max(source.hold_s, math.ceil(HELD_POLLS * poll_s))
    if isinstance(reading, Reading):
        return Report(
            pool=reading.pool,
            source=source.slug,
            start=start,
            end=observed,
            hold_s=hold_s,
            hashrate=reading.hashrate,
            places=reading.places,
            blocks=reading.blocks,
            fetched_at=fetched_at,
            simulated=simulated,
        )
    return Network(
        source=source.slug,
        start=start,
        end=observed,
        hold_s=hold_s,
        hashrate=reading.hashrate,
        fetched_at=fetched_at,
        simulated=simulated,
    )
