"""Redrive: dead letters go back to where they came from, each once, after a fix. Pure.

What is sent again is what its topic has of it: key, value, headers and time, with one more header,
:data:`REDRIVEN`, which names the message that was refused. That header is the only record of what
was done. It is written together with the message, so a redrive that is interrupted anywhere is
continued by the next one.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from miningmap.kafka.producer import Record
from miningmap.kafka.topics import NETWORK, REPORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from aiokafka.structs import ConsumerRecord

_NUMBER: Final = re.compile(r"[0-9]{1,18}")

REDRIVEN: Final = "redriven"
"""The header of a message that was sent again: ``TOPIC/PARTITION/OFFSET`` of the one refused."""
TARGETS: Final = (REPORTS, NETWORK)
"""The topics that anything is sent to: those whose messages ``streams`` refuses."""

Fate: TypeAlias = Literal["redriven", "before", "refused again", "without origin", "not its origin"]
"""What becomes of a letter.

- ``redriven``: it is sent again.
- ``before``: it was sent again before.
- ``refused again``: the message was itself sent again, and refused once more.
- ``without origin``: it was never in a topic, like a reading that the collector rejected.
- ``not its origin``: it names a topic that nothing is sent to, or a message that is another one.
"""
FATES: Final[tuple[Fate, ...]] = (
    "redriven",
    "before",
    "refused again",
    "without origin",
    "not its origin",
)


class Origin(NamedTuple):
    """Where a dead letter came from."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Group(NamedTuple):
    """Letters that are counted together."""

    reason: str
    topic: str


@dataclass
class _Letter:
    """A refused message, by its dead letter and by what its topic has of it.

    Attributes:
        group: that it is counted in.
        digests: of the key and the value of its letters; then only that of the message.
        fate: what becomes of it, as far as known.
        timestamp: the message's own, in milliseconds; ``None`` if its topic no longer has it.
        headers: likewise.
    """

    group: Group
    digests: set[int]
    fate: Fate = "redriven"
    timestamp: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Redrive:
    """What is sent again, found in three readings: letters, their topics, and letters again.

    Args:
        reason: only letters of this one; ``None`` for all.
        again: also what was refused again after it had been sent again.
    """

    reason: str | None = None
    again: bool = False
    _letters: dict[Origin, _Letter] = field(default_factory=dict)
    _others: Counter[tuple[Group, Fate]] = field(default_factory=Counter)

    # --- first reading: the dead letters ---

    def add_letters(self, records: Iterable[ConsumerRecord]) -> None:
        """Take up dead letters."""
        for record in records:
            headers = _headers(record)
            group = Group(headers.get("reason", "?"), headers.get("topic", "?"))
            if self.reason not in {None, group.reason}:
                continue
            origin = _origin(headers)
            if origin is None:
                is_foreign = "offset" in headers
                fate: Fate = "not its origin" if is_foreign else "without origin"
                self._others[group, fate] += 1
            else:  # a batch that is repeated writes its letters again
                letter = self._letters.setdefault(origin, _Letter(group, set()))
                letter.digests.add(_digest(record))

    def starts(self) -> dict[tuple[str, int], int]:
        """Return the offset from which each partition has to be read: its first refused message."""
        starts: dict[tuple[str, int], int] = {}
        for topic, partition, offset in self._letters:
            starts[topic, partition] = min(offset, starts.get((topic, partition), offset))
        return starts

    # --- second reading: their topics ---

    def keep_existing(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Leave out letters that name a message that never was.

        Args:
            ends: the end of each partition that exists.
        """
        for origin, letter in self._letters.items():
            if origin.offset >= ends.get((origin.topic, origin.partition), 0):
                letter.fate = "not its origin"

    def add_messages(self, records: Iterable[ConsumerRecord]) -> None:
        """Compare what the topics have with the letters."""
        for record in records:
            redriven = dict(record.headers).get(REDRIVEN)
            named = _named(redriven) if redriven else None
            done = self._letters.get(named) if named else None
            if done and done.fate != "not its origin":
                done.fate = "before"
            letter = self._letters.get(Origin(record.topic, record.partition, record.offset))
            if letter is None:
                continue
            letter.timestamp, letter.headers = record.timestamp, tuple(record.headers)
            is_its_own = _digest(record) in letter.digests
            letter.digests = {_digest(record)}
            if not is_its_own:
                letter.fate = "not its origin"
            elif redriven and not self.again and letter.fate == "redriven":
                letter.fate = "refused again"

    # --- third reading: the dead letters again ---

    def counts(self) -> dict[Group, Counter[Fate]]:
        """Return how many refused messages have which fate, by reason and topic."""
        counts: dict[Group, Counter[Fate]] = {}
        for letter in self._letters.values():
            counts.setdefault(letter.group, Counter())[letter.fate] += 1
        for (group, fate), number in self._others.items():
            counts.setdefault(group, Counter())[fate] += number
        return dict(sorted(counts.items()))

    @property
    def total(self) -> int:
        """How many messages are to be sent again."""
        return sum(letter.fate == "redriven" for letter in self._letters.values())

    def records(self, letters: Iterable[ConsumerRecord]) -> Iterator[Record]:
        """Yield what is sent again for dead letters, each message once."""
        for record in letters:
            headers = _headers(record)
            origin = _origin(headers)
            letter = self._letters.get(origin) if origin else None
            if origin is None or letter is None or letter.fate != "redriven":
                continue
            if _digest(record) not in letter.digests:
                continue
            del self._letters[origin]
            yield Record(
                origin.topic,
                record.key,
                record.value or b"",
                (
                    *((name, value) for name, value in letter.headers if name != REDRIVEN),
                    (REDRIVEN, str(origin).encode()),
                ),
                partition=origin.partition,
                # The letter is a little later than a message that its topic no longer has.
                timestamp_ms=record.timestamp if letter.timestamp is None else letter.timestamp,
            )


def _digest(record: ConsumerRecord) -> int:
    return hash((record.key, record.value or b""))


def _headers(record: ConsumerRecord) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in record.headers}


def _origin(headers: Mapping[str, str]) -> Origin | None:
    return _checked(headers.get("topic"), headers.get("partition"), headers.get("offset"))


def _named(redriven: bytes) -> Origin | None:
    topic, _, position = redriven.decode(errors="replace").partition("/")
    partition, _, offset = position.partition("/")
    return _checked(topic, partition, offset)


def _checked(topic: str | None, partition: str | None, offset: str | None) -> Origin | None:
    """Return the origin that these name, if it is in a topic that anything is sent to."""
    numbers = [int(text) for text in (partition, offset) if text and _NUMBER.fullmatch(text)]
    if topic is None or topic not in TARGETS or len(numbers) != 2:  # noqa: PLR2004 - partition, offset
        return None
    return Origin(topic, *numbers)
