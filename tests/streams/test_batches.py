"""Batches: one is prepared while the one before it is used, and never more than one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from miningmap import settings as config
from miningmap.kafka.topics import REPORTS
from miningmap.messages import encode
from miningmap.precedence import Precedence
from streams.redis.generations import Range
from streams.worker.batches import decoded, in_turn
from streams.worker.messages import RawMessage, decode_batch
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_S = 10.0


class Source:
    """Gives numbers, and knows how many it has given; it can wait or fail before one."""

    def __init__(self, count: int, *, wait_at: int = -1, fail_at: int = -1) -> None:
        self._count = count
        self._wait_at = wait_at
        self._fail_at = fail_at
        self.given = 0
        self.may_go_on = asyncio.Event()
        self.was_closed = False

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(self._count):
                if number == self._wait_at:
                    await self.may_go_on.wait()
                if number == self._fail_at:
                    raise OSError("no more")
                self.given = number + 1
                yield number
        finally:
            self.was_closed = True


async def test_the_next_item_is_there_when_one_was_used_and_not_the_one_after_it() -> None:
    source, used = Source(5), []

    async def use(number: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while source.given < min(number + 2, 5):  # noqa: ASYNC110 - another task makes it true
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert source.given == min(number + 2, 5)
        used.append(number)

    await in_turn(source.items(), use)
    assert used == [0, 1, 2, 3, 4]


async def test_an_item_is_used_at_once_though_the_next_one_is_not_there_yet() -> None:
    source, used = Source(2, wait_at=1), asyncio.Queue[int]()
    running = asyncio.create_task(in_turn(source.items(), used.put))
    async with asyncio.timeout(DEADLINE_S):
        assert await used.get() == 0
        source.may_go_on.set()
        assert await used.get() == 1
        await running


async def test_an_error_of_using_ends_it_and_what_is_being_prepared() -> None:
    source = Source(9, wait_at=1)

    async def use(_: int) -> None:
        await asyncio.sleep(0)  # the next item is waited for
        raise ValueError("cannot be used")

    with pytest.raises(ValueError, match="cannot be used"):
        await in_turn(source.items(), use)
    assert source.was_closed


async def test_what_was_prepared_before_an_error_is_used() -> None:
    source, used = Source(9, fail_at=2), asyncio.Queue[int]()
    with pytest.raises(OSError, match="no more"):
        await in_turn(source.items(), used.put)
    assert [used.get_nowait(), used.get_nowait()] == [0, 1]


async def test_it_can_be_cancelled_while_it_waits_and_while_something_is_used() -> None:
    for source in (Source(1, wait_at=0), Source(9)):
        started = asyncio.Event()

        async def use(_: int, started: asyncio.Event = started) -> None:
            started.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(in_turn(source.items(), use))
        await asyncio.wait({asyncio.create_task(started.wait())}, timeout=0.05)
        running.cancel()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(asyncio.CancelledError):
                await running


async def test_others_run_while_many_messages_are_decoded_and_the_result_is_the_same() -> None:
    raw = [
        RawMessage(REPORTS, 0, offset, b"a", encode(report(hashrate=offset + 1.0)))
        for offset in range(1000)
    ]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    kept = config.Retention()
    batch = await decoded(raw, {(REPORTS, 0): Range(0, 1000)}, kept, NOON, Precedence())
    counting.cancel()
    assert turns >= 4
    assert batch.decoded == decode_batch(raw, kept, NOON)
    assert batch.applied.ranges == {(REPORTS, 0): (0, 1000)}
