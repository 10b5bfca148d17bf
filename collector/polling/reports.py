"""Bodies to readings to messages, all pure: what no adapter may get wrong, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources.base import PermanentError, Reading, SourceError, subject_of
from miningmap import messages as wire
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.kafka.topics import NETWORK, REPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.polling.plausibility import Plausibility
    from collector.sources.base import NetworkReading, Source
    from miningmap.messages import Message

# Who polls less often than a source declares must not see its pools flicker between two polls.
HELD_POLLS: Final = 2
IMPLAUSIBLE: Final = "implausible"


@dataclass(frozen=True)
class Poll:
    """One poll of a source, as far as its messages tell of it.

    Attributes:
        source: who was asked.
        fetched_at: when the answer was here; the time of a figure that has none of its own.
        every_s: the interval at which the source is polled, in seconds, less than an hour.
        simulated: whether all this is made up.
    """

    source: Source
    fetched_at: datetime
    every_s: float
    simulated: bool


@dataclass(frozen=True)
class Sifted:
    """Readings told apart: the messages that they make, and what may not be believed."""

    messages: list[Message] = field(default_factory=list)
    refused: list[DeadLetter] = field(default_factory=list)


def read(source: Source, bodies: Sequence[bytes]) -> Sequence[Reading | NetworkReading]:
    """What the source says; empty where it says that it does not know.

    Raises:
        SourceError: one of the three kinds, with the source's slug.
    """
    try:
        readings = source.parse(bodies)
        if any(r.observed_at and r.observed_at.tzinfo is None for r in readings):
            raise PermanentError("a time without a zone", reason="shape")
    except SourceError as error:
        error.source = source.slug
        raise
    except Exception as error:
        # An adapter that trips over a body has met a shape that it does not know; that is no
        # reason to stop polling the others.
        text = f"the adapter failed: {error!r}"
        raise PermanentError(text, reason="shape", source=source.slug) from error
    return readings


def sift(
    poll: Poll, readings: Sequence[Reading | NetworkReading], plausibility: Plausibility
) -> Sifted:
    """The messages that claim ``[observed - poll interval, observed)`` for each good reading.

    One that is implausible, or that breaks a rule of method.md 2, is a dead letter: the message
    that it would have been. It does not stop the others.
    """
    sifted = Sifted()
    for reading in readings:
        said = msgspec.json.encode(_said(poll, reading))
        error = plausibility.fault(poll.source, reading, poll.fetched_at)
        if error is None:
            try:
                # Only decoding checks all rules: so that nothing made here is a dead letter later.
                sifted.messages.append(wire.decode(said))
            except ValueError as broken:
                error = str(broken)
        if error is not None:
            sifted.refused.append(_refused(poll, reading, said, error))
    return sifted


def _refused(poll: Poll, reading: Reading | NetworkReading, said: bytes, error: str) -> DeadLetter:
    return DeadLetter(
        key=subject_of(reading).encode(),
        value=said,
        reason=IMPLAUSIBLE,
        error=error,
        at=poll.fetched_at,
        topic=REPORTS if isinstance(reading, Reading) else NETWORK,
        source=poll.source.slug,
    )


def _said(poll: Poll, reading: Reading | NetworkReading) -> dict[str, object]:
    """The message, not checked yet."""
    observed = min(reading.observed_at or poll.fetched_at, poll.fetched_at)
    common = {
        "source": poll.source.slug,
        "start": observed - timedelta(seconds=poll.every_s),
        "end": observed,
        "hold_s": max(poll.source.hold_s, math.ceil(HELD_POLLS * poll.every_s)),
        "hashrate": reading.hashrate,
        "fetched_at": poll.fetched_at,
        "simulated": poll.simulated,
    }
    if not isinstance(reading, Reading):
        return {"schema": "network/1", **common}
    blocks = {} if reading.blocks is None else {"blocks": reading.blocks}
    about = {"pool": reading.pool, "places": reading.places, **blocks}
    return {"schema": "report/1", **about, **common}
