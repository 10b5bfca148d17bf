"""Dead letters: messages that cannot be used, kept with their origin and the reason.

Every service writes them in the same form, so that they can be inspected, counted and republished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from miningmap.kafka.producer import Record
from miningmap.kafka.topics import DEAD_LETTERS
from miningmap.times import rfc3339

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_ERROR: Final = 1000
"""The most characters of an error that a header carries."""


@dataclass(frozen=True)
class DeadLetter:
    """A message that cannot be used.

    Attributes:
        key: of the message: the slug of its pool, where it has one.
        value: the bytes that arrived, or that would have been sent.
        reason: one of a short list, so that it can label a metric.
        error: an explanation for people.
        at: when the message was rejected.
        topic: where it came from, or where it would have been sent.
        partition: where it came from; ``None`` if it never was in Kafka.
        offset: likewise.
        source: slug of the source; ``None`` if only the value could tell.
    """

    key: bytes | None
    value: bytes
    reason: str
    error: str
    at: datetime
    topic: str
    partition: int | None = None
    offset: int | None = None
    source: str | None = None


def record_of(letter: DeadLetter) -> Record:
    """The record that is written to the dead-letter topic; unknown fields have no header."""
    headers = {
        "reason": letter.reason,
        "error": letter.error[:LONGEST_ERROR],
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "source": letter.source,
        "at": rfc3339(letter.at),
    }
    known = ((name, _text(value)) for name, value in headers.items() if value is not None)
    return Record(DEAD_LETTERS, letter.key, letter.value, tuple(known))


def _text(value: object) -> bytes:
    # A source's text may have characters that UTF-8 cannot encode (lone surrogates).
    return str(value).encode(errors="backslashreplace")
