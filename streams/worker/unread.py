"""What was read from Kafka and waits to be processed, by partition. Pure.

A partition that is behind has many messages, for which nobody waits any more. It is processed in
portions, and between two of them come the messages of the partitions that are current.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from aiokafka import TopicPartition
    from aiokafka.structs import ConsumerRecord

    Records: TypeAlias = dict[TopicPartition, list[ConsumerRecord]]
    """Records in the order of their offsets, by partition."""

PORTION: Final = 500
"""The most messages of a partition that is behind in a fetch: some 30 ms. As long do those of other
partitions wait."""
ENOUGH: Final = 5 * 2**20
"""How many bytes of a partition may wait before no more of it are fetched: some 2,000 reports of 20
places, more than a worker processes until Kafka has sent the next ones."""
ENOUGH_OF_ALL: Final = 10 * ENOUGH
"""How many bytes of all partitions may wait. Most are behind then."""
RECORD: Final = 1024
"""How many bytes a record takes beside its value, at most."""


class Unread:
    """The messages that wait."""

    def __init__(self, limit: int) -> None:
        """Prepare for messages that are taken at most ``limit`` at once."""
        self._limit = limit
        self._portion = min(PORTION, limit)
        self._waiting: Records = {}
        self._bytes: Counter[TopicPartition] = Counter()  # of what waits
        # By partition, how many times messages were taken that are not processed yet.
        self._taken: Counter[TopicPartition] = Counter()
        self._late: set[TopicPartition] = set()  # those of them that were behind

    def __len__(self) -> int:
        """Return how many messages wait."""
        return sum(map(len, self._waiting.values()))

    def add(self, records: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Add messages, which come after those that wait."""
        for each, more in records.items():
            self._waiting.setdefault(each, []).extend(more)
            self._bytes[each] += _bytes(more)

    def enough(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Return the partitions of which no more need be read now."""
        if self._bytes.total() >= ENOUGH_OF_ALL:
            return set(partitions)
        return {each for each in partitions if self._bytes[each] >= ENOUGH}

    def take(self, assigned: Collection[TopicPartition]) -> Records:
        """Take what is processed at once: of a partition that is behind if there is any, or all.

        Where no partition of the same topic is current, nobody waits for a large one, which costs
        less for each message than several small ones.

        Args:
            assigned: all partitions that this process reads.
        """
        behind = next(filter(self._is_behind, self._waiting), None)
        if behind is None:
            return self._take(list(self._waiting), self._limit)
        self._late.add(behind)
        others = {each for each in assigned if each.topic == behind.topic} - self._late
        are_late = all(map(self._is_behind, others))
        return self._take([behind], self._limit if are_late else self._portion)

    def take_current(self) -> Records:
        """Take what may go before all that was taken: the messages of current partitions."""
        current = [
            each for each in self._waiting if not self._taken[each] and not self._is_behind(each)
        ]
        return self._take(current, self._limit)

    def processed(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget that messages of partitions were taken, once for each time."""
        self._taken.subtract(list(partitions))
        self._late = {each for each in self._late if self._taken[each]}

    def clear(self) -> None:
        """Forget all, also what was taken."""
        self._waiting.clear()
        self._bytes.clear()
        self._taken.clear()
        self._late.clear()

    def _is_behind(self, partition: TopicPartition) -> bool:
        return len(self._waiting.get(partition, ())) > self._portion

    def _take(self, partitions: Sequence[TopicPartition], most: int) -> Records:
        taken: Records = {}
        for each in partitions:
            if not most:
                break
            waiting = self._waiting.pop(each)
            taken[each], left = waiting[:most], waiting[most:]
            if left:
                self._waiting[each] = left  # at the end: it is the others' turn now
            self._bytes[each] -= _bytes(taken[each])
            most -= len(taken[each])
        self._taken.update(taken.keys())
        return taken


def _bytes(records: Iterable[ConsumerRecord]) -> int:
    return sum(RECORD + len(record.value or b"") for record in records)
