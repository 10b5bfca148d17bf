"""Dead letters: what could not be used, as it was said, with whence and why.

One shape for all who refuse something, so that it can be looked at, counted and sent again.
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
"""Characters of an error that a header carries."""


@dataclass(frozen=True)
class DeadLetter:
    """Something that cannot be used.

    Attributes:
        key: of the message, the pool's slug where there is one.
        value: the bytes as they came, or would have gone.
        reason: from a short list, so that it can be a metric's label.
        error: for people.
        at: when it was refused.
        topic: where it came from, or would have gone.
        partition: there, if it was there.
        offset: likewise.
        source: who said it, where that is known without reading the value.
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
    """The letter as it goes to its topic; what is not known of it has no header."""
    headers = {
        "reason": letter.reason,
        "error": letter.error[:LONGEST_ERROR],
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "source": letter.source,
        "at": rfc3339(letter.at),
    }
    known = ((name, str(said).encode()) for name, said in headers.items() if said is not None)
    return Record(DEAD_LETTERS, letter.key, letter.value, tuple(known))
