"""The consumer: current partitions go first, and its shutdown takes no longer than it may."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, cast

import pytest

from miningmap.kafka.topics import REPORTS
from miningmap.settings import Settings
from streams.redis.generations import Range
from streams.worker import consumer
from streams.worker.group_reader import Fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import faust

    from streams.redis.generations import Partition
    from streams.worker.group_reader import GroupReader
    from streams.worker.processor import Processor


def make_consumer() -> consumer.Consumer:
    return consumer.Consumer(Settings(), cast("Processor", None))


class StuckFaust:
    """An app whose stop ignores its first cancellation, as Faust's does while Kafka is away."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def start(self) -> None:
        """Start at once."""

    async def stop(self) -> None:
        with suppress(asyncio.CancelledError):
            await self.released.wait()
        await self.released.wait()


async def test_a_faust_that_ignores_its_cancellation_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer, "STOP_S", 0.1)
    app = StuckFaust()
    running = make_consumer()
    try:
        async with asyncio.timeout(5):
            async with consumer._running(cast("faust.App", app), running):
                pass
    finally:
        app.released.set()


async def test_an_error_of_the_stop_is_raised() -> None:
    class FailingFaust(StuckFaust):
        async def stop(self) -> None:
            raise RuntimeError("broken")

    running = make_consumer()
    with pytest.raises(RuntimeError, match="broken"):
        async with consumer._running(cast("faust.App", FailingFaust()), running):
            pass


class Reading:
    """A reader with a backlog, and with messages of current partitions before some of it."""

    def __init__(self, backlog: int, urgent: dict[int, int]) -> None:
        self._backlog = [fetch(n) for n in range(backlog)]
        self._urgent = {before: fetch(n) for before, n in urgent.items()}
        self._asked = 0
        self.done_with: list[Fetch] = []

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        yield

    async def fetches(self) -> AsyncIterator[Fetch]:
        for each in self._backlog:
            yield each

    def urgent(self) -> Fetch | None:
        self._asked += 1
        return self._urgent.get(self._asked - 1)

    def is_current(self, each: Fetch) -> bool:
        return each.assignment == 0

    def done(self, each: Fetch) -> None:
        self.done_with.append(each)


class Written:
    """A processor that remembers what it has written."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    async def decode(self, _: object, ranges: dict[Partition, Range]) -> int:
        (offsets,) = ranges.values()
        return offsets.first

    async def write(self, offset: int) -> None:
        self.offsets.append(offset)


def fetch(offset: int, assignment: int = 0) -> Fetch:
    return Fetch([], {(REPORTS, 0): Range(offset, offset + 1)}, assignment)


async def test_what_is_urgent_is_written_before_the_next_part_of_a_backlog() -> None:
    running, reading, written = make_consumer(), Reading(3, urgent={1: 70, 2: 80}), Written()
    running._reader = cast("GroupReader", reading)
    running._processor = cast("Processor", written)
    async with asyncio.timeout(5):
        await running.run()
    assert written.offsets == [0, 70, 1, 80, 2]
    assert reading.done_with == [fetch(offset) for offset in written.offsets]


async def test_what_is_urgent_is_not_written_once_its_partitions_are_taken_away() -> None:
    running, reading, written = make_consumer(), Reading(1, urgent={}), Written()
    reading._urgent[0] = fetch(70, assignment=-1)
    running._reader = cast("GroupReader", reading)
    running._processor = cast("Processor", written)
    async with asyncio.timeout(5):
        await running.run()
    assert written.offsets == [0]
    assert reading.done_with == [fetch(0)]
