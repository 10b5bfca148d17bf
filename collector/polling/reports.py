"""Turn response bodies into readings and these into messages: pure, the same for all sources."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from collector.polling.plausibility import invalid
from collector.sources.base import (
    PermanentError,
    PoolSource,
    Reading,
    SourceError,
    TransientError,
    subject_of,
)
from miningmap.inputs import in_words, without_mark
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Network, Report
from miningmap.plausibility import IMPLAUSIBLE, Rejection, is_future
from miningmap.times import FIRST_BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from collector.polling.plausibility import Plausibility
    from collector.sources.base import NetworkReading, Source
    from miningmap.messages import Message

# An operator may poll a source more rarely than it declares; without this its pools would drop out
# between two polls.
HELD_POLLS: Final = 2
UNKNOWN_VALUE: Final = "unknown_value"
UNEXPECTED: Final = "unexpected"


@dataclass(frozen=True)
class Poll:
    """What the messages of one poll have in common.

    Attributes:
        source: the source that was polled.
        fetched_at: when its response arrived; the time of a figure that has none of its own.
        interval_s: the interval at which the source is polled, in seconds, less than an hour.
        simulated: whether the source is simulated.
    """

    source: Source
    fetched_at: datetime
    interval_s: float
    simulated: bool


@dataclass(frozen=True)
class CheckedReadings:
    """The readings of one poll: the accepted ones as messages, the rejected ones as dead letters.

    Both are in the order of the readings.
    """

    messages: list[Message] = field(default_factory=list)
    rejected: list[DeadLetter] = field(default_factory=list)


@contextmanager
def errors_of(source: Source) -> Iterator[None]:
    """Raise every error of the block as an error of this source alone.

    What a server sends can meet a fault of this software. That must end neither the polling of the
    other sources nor the intake, which share the process.

    Raises:
        SourceError: one of the three kinds, with the source's slug. An exception of another class
            is the cause of a transient error with the reason ``unexpected``: whether the next
            response meets the same fault is not known.
    """
    try:
        yield
    except SourceError as error:
        error.source = source.slug
        raise
    except Exception as error:
        text = f"a fault of this software: {error!r}; report it with the response"
        raise TransientError(text, reason=UNEXPECTED, source=source.slug) from error


def parse_readings(
    source: Source, bodies: Sequence[bytes], fetched_at: datetime | None = None
) -> Sequence[Reading | NetworkReading]:
    """Return the readings in a source's response bodies; none if the source knows no figure.

    Args:
        source: the source.
        bodies: of the responses, in the order of the requests.
        fetched_at: when they arrived, if that is known.

    Raises:
        SourceError: one of the three kinds, with the source's slug.
    """
    with errors_of(source):
        unmarked = list(map(without_mark, bodies))
        if source.parse_at is not None and fetched_at is not None:
            readings = source.parse_at(unmarked, fetched_at)
        else:
            readings = source.parse(unmarked)
        return [
            replace(reading, observed_at=_known_time(reading.observed_at)) for reading in readings
        ]


def _known_time(at: datetime | None) -> datetime | None:
    """Return the time of a figure, or ``None`` if no figure can have it.

    Servers write an unset time as the first one that they can write: 1970, or the year 1 (Go). The
    figure beside it is current, so it is as of the time when it was fetched.
    """
    if at is None:
        return None
    if at.tzinfo is None:
        raise PermanentError("observed at a time without a zone", reason="shape")
    return at if at >= FIRST_BLOCK else None


def check_readings(
    poll: Poll, readings: Sequence[Reading | NetworkReading], plausibility: Plausibility
) -> CheckedReadings:
    """Turn readings into messages that claim ``[observed - poll interval, observed)``.

    A reading that is implausible, or whose message breaks a rule of method.md 2, is rejected by
    itself: its dead letter holds the message that it would have been.
    """
    checked = CheckedReadings()
    for reading in readings:
        fields = _fields(poll, reading)
        outcome = _checked(poll, reading, fields, plausibility)
        if isinstance(outcome, Rejection):
            checked.rejected.append(_dead_letter(poll, reading, fields, outcome))
        else:
            checked.messages.append(outcome)
    return checked


def _checked(
    poll: Poll,
    reading: Reading | NetworkReading,
    fields: dict[str, object],
    plausibility: Plausibility,
) -> Message | Rejection:
    if rejection := invalid(reading, poll.fetched_at):
        return rejection
    try:
        message = _message(reading, fields)
    except msgspec.ValidationError as error:
        return Rejection(IMPLAUSIBLE, in_words(error))
    return plausibility.check(poll.source, message) or message


def _fields(poll: Poll, reading: Reading | NetworkReading) -> dict[str, object]:
    """Return the fields of a reading's message in their order, not validated."""
    observed = reading.observed_at or poll.fetched_at
    if not is_future(observed, poll.fetched_at):
        observed = min(observed, poll.fetched_at)
    common = {
        "source": poll.source.slug,
        "start": observed - timedelta(seconds=poll.interval_s),
        "end": observed,
        "hold_s": max(poll.source.hold_s, math.ceil(HELD_POLLS * poll.interval_s)),
        "hashrate": reading.hashrate,
        "fetched_at": poll.fetched_at,
        "simulated": poll.simulated,
    }
    if not isinstance(reading, Reading):
        return {"schema": "network/1", **common}
    basis = {"basis": poll.source.basis} if isinstance(poll.source, PoolSource) else {}
    blocks = {} if reading.blocks is None else {"blocks": reading.blocks}
    # As dictionaries, because convert() takes a struct as it is, without validating its fields.
    places = [msgspec.structs.asdict(place) for place in reading.places]
    return {
        "schema": "report/1",
        "pool": reading.pool,
        "places": places,
        **basis,
        **blocks,
        **common,
    }


def _message(reading: Reading | NetworkReading, fields: dict[str, object]) -> Message:
    """Return the message with these fields.

    Raises:
        msgspec.ValidationError: a rule of method.md 2 is broken, by which the readers of Kafka
            would reject the message.
    """
    if isinstance(reading, Reading):
        return msgspec.convert(fields, Report)
    return msgspec.convert(fields, Network)


def _dead_letter(
    poll: Poll, reading: Reading | NetworkReading, fields: dict[str, object], rejection: Rejection
) -> DeadLetter:
    return DeadLetter(
        key=subject_of(reading).encode(),
        value=msgspec.json.encode(fields),
        reason=rejection.reason,
        error=rejection.error,
        at=poll.fetched_at,
        topic=REPORTS if isinstance(reading, Reading) else NETWORK,
        source=poll.source.slug,
    )
