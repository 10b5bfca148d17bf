"""What waits to be processed: portions of a backlog, and what goes before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
from aiokafka import TopicPartition

from streams.worker import unread
from streams.worker.unread import ENOUGH, PORTION, RECORD, Unread

if TYPE_CHECKING:
    from streams.worker.unread import Records

A, B, C = (TopicPartition("reports", number) for number in range(3))
OTHER_TOPIC = TopicPartition("network", 0)
LIMIT = 10 * PORTION


class Record(NamedTuple):
    """What matters of a record here."""

    offset: int
    value: bytes | None


def records(of: TopicPartition, start: int, stop: int, value: bytes | None = None) -> Records:
    return cast("Records", {of: [Record(offset, value) for offset in range(start, stop)]})


def offsets(taken: Records) -> dict[TopicPartition, tuple[int, int]]:
    """Return the first and the last offset of each partition, of which none may lack between."""
    numbers = {partition: [record.offset for record in each] for partition, each in taken.items()}
    assert all(each == list(range(each[0], each[-1] + 1)) for each in numbers.values())
    return {partition: (each[0], each[-1]) for partition, each in numbers.items()}


@pytest.fixture
def waiting() -> Unread:
    return Unread(LIMIT)


def test_all_is_taken_at_once_where_no_partition_is_behind(waiting: Unread) -> None:
    waiting.add(records(A, 0, PORTION) | records(B, 7, 9))
    assert waiting
    assert offsets(waiting.take({A, B, C})) == {A: (0, PORTION - 1), B: (7, 8)}
    assert not waiting


def test_no_more_is_taken_than_the_limit() -> None:
    small = Unread(3)
    small.add(records(A, 0, 2) | records(B, 0, 3))
    assert offsets(small.take({A, B})) == {A: (0, 1), B: (0, 0)}
    assert offsets(small.take({A, B})) == {B: (1, 2)}
    assert not small


def test_partitions_that_are_behind_take_turns(waiting: Unread) -> None:
    waiting.add(records(A, 0, 3 * PORTION) | records(B, 0, 3 * PORTION))
    taken = [offsets(waiting.take({A, B, C})) for _ in range(4)]
    first, second = (0, PORTION - 1), (PORTION, 2 * PORTION - 1)
    assert taken == [{A: first}, {B: first}, {A: second}, {B: second}]


def test_what_comes_later_comes_after_what_waits(waiting: Unread) -> None:
    waiting.add(records(A, 0, 2))
    waiting.add(records(A, 2, 4))
    assert offsets(waiting.take({A})) == {A: (0, 3)}


def test_current_partitions_go_before_one_that_is_behind(waiting: Unread) -> None:
    waiting.add(records(A, 0, 3 * PORTION))
    waiting.take({A, B})
    waiting.add(records(B, 4, 5))
    assert offsets(waiting.take_current()) == {B: (4, 4)}
    assert not waiting.take_current()


def test_nothing_goes_before_what_was_taken_of_its_own_partition(waiting: Unread) -> None:
    waiting.add(records(A, 0, 1))
    waiting.take({A, B})
    waiting.add(records(A, 1, 2))
    assert not waiting.take_current()
    waiting.take({A, B})
    waiting.add(records(A, 2, 3))
    waiting.processed([A])
    assert not waiting.take_current()
    waiting.processed([A])
    assert offsets(waiting.take_current()) == {A: (2, 2)}


def test_portions_are_large_where_nothing_is_current(waiting: Unread) -> None:
    waiting.add(records(A, 0, 4 * PORTION) | records(B, 0, 4 * PORTION))
    assert offsets(waiting.take({A, B, OTHER_TOPIC})) == {A: (0, 4 * PORTION - 1)}
    # Until that is processed A is not current, though nothing of it waits.
    assert offsets(waiting.take({A, B, OTHER_TOPIC})) == {B: (0, 4 * PORTION - 1)}
    waiting.processed([A])
    waiting.add(records(B, 4 * PORTION, 6 * PORTION))
    assert offsets(waiting.take({A, B, OTHER_TOPIC})) == {B: (4 * PORTION, 5 * PORTION - 1)}


def test_portions_are_small_while_messages_of_current_partitions_are_processed(
    waiting: Unread,
) -> None:
    waiting.add(records(A, 0, 1) | records(B, 0, 4 * PORTION))
    assert offsets(waiting.take_current()) == {A: (0, 0)}
    assert offsets(waiting.take({A, B})) == {B: (0, PORTION - 1)}


def test_portions_are_small_as_soon_as_a_partition_is_current(waiting: Unread) -> None:
    waiting.add(records(A, 0, PORTION) | records(B, 0, 4 * PORTION))
    waiting.take_current()
    waiting.processed([A])
    assert offsets(waiting.take({A, B})) == {B: (0, PORTION - 1)}


def test_a_partition_is_not_read_while_enough_of_it_waits(waiting: Unread) -> None:
    waiting.add(records(A, 0, 1, bytes(ENOUGH)) | records(B, 0, 1, bytes(ENOUGH // 2)))
    assert waiting.enough({A, B, C}) == {A}
    waiting.take({A, B, C})
    assert not waiting.enough({A, B, C})
    waiting.add(records(A, 1, 2, bytes(ENOUGH // 2)))
    assert not waiting.enough({A, B, C})


def test_small_messages_take_memory_too(waiting: Unread) -> None:
    waiting.add(records(A, 0, ENOUGH // RECORD))
    assert waiting.enough({A, B}) == {A}


def test_no_partition_is_read_while_enough_of_all_waits(
    waiting: Unread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "ENOUGH_OF_ALL", 5 * RECORD)
    waiting.add(records(A, 0, 5))
    assert waiting.enough({A, B}) == {A, B}
    waiting.take({A, B})
    assert not waiting.enough({A, B})


def test_nothing_is_left_after_partitions_were_given_back(waiting: Unread) -> None:
    waiting.add(records(A, 0, 2 * PORTION))
    waiting.take({A})
    waiting.add(records(B, 0, 1))
    waiting.clear()
    assert not waiting
    waiting.add(records(A, 0, 1))
    assert offsets(waiting.take_current()) == {A: (0, 0)}
