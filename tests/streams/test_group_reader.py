"""The group reader on a real Kafka: what is committed, and what another member reads again."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Record
from miningmap.kafka.topics import REPORTS
from streams.worker import group_reader
from streams.worker.group_reader import GroupReader
from streams.worker.unread import ENOUGH, PORTION, RECORD
from tests.servers import kafka_at
from tests.streams.processes import DEADLINE_S, publish, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from miningmap.settings import Settings
    from streams.worker.group_reader import Fetch
    from streams.worker.unread import Unread

pytestmark = pytest.mark.usefixtures("clean_kafka")


@pytest.fixture(autouse=True)
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.05)
    settings.kafka.session_timeout_s = 6


class Member:
    """A member of the group that takes fetches, and is done with them when a test says so."""

    def __init__(
        self, settings: Settings, *, patience_s: float = DEADLINE_S, limit: int = 3
    ) -> None:
        self._patience_s = patience_s
        self.idle = asyncio.Event()
        self.idle.set()
        self.fetches: asyncio.Queue[Fetch] = asyncio.Queue()
        self.reader = GroupReader(
            settings.kafka,
            settings.kafka.group,
            [REPORTS],
            limit=limit,
            between_fetches=self._between_fetches,
        )

    @asynccontextmanager
    async def _between_fetches(self) -> AsyncIterator[None]:
        await asyncio.wait({asyncio.create_task(self.idle.wait())}, timeout=self._patience_s)
        yield

    async def _read(self) -> None:
        async for fetch in self.reader.fetches():
            await self.fetches.put(fetch)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        async with self.reader.joined():
            reading = asyncio.create_task(self._read())
            try:
                yield
            finally:
                reading.cancel()
                await asyncio.wait({reading})

    async def take(self) -> Fetch:
        """Wait for a fetch and begin to process it."""
        async with asyncio.timeout(DEADLINE_S):
            fetch = await self.fetches.get()
        self.idle.clear()
        return fetch

    def finish(self, fetch: Fetch) -> None:
        self.reader.done(fetch)
        self.idle.set()


def records(count: int) -> list[Record]:
    return [Record(REPORTS, b"a", b"%d" % n) for n in range(count)]


def values(fetch: Fetch) -> list[bytes | None]:
    return [message.value for message in fetch.messages]


async def committed(settings: Settings) -> int:
    """Return how many messages the group has committed, of all partitions."""
    kafka = settings.kafka
    async with lag_of(kafka_at(kafka.bootstrap_servers), kafka.group, [REPORTS]) as read_lag:
        try:
            return sum(progress.committed for progress in (await read_lag()).values())
        except BrokerError:  # the group has no coordinator yet
            return 0


async def test_a_fetch_is_committed_when_it_is_done_and_not_before(settings: Settings) -> None:
    member = Member(settings)
    await publish(settings, [], *records(5))
    async with member.joined():
        first, second = await member.take(), await member.take()
        assert [*values(first), *values(second)] == [b"0", b"1", b"2", b"3", b"4"]
        ((_, (start, after)),) = second.ranges.items()
        assert (start, after) == (3, 5)
        assert await committed(settings) == 0
        member.reader.done(first)
        await until(lambda: _is(settings, 3))
    # The end of the block commits nothing that was not done.
    assert await committed(settings) == 3
    async with (other := Member(settings)).joined():
        assert values(await other.take()) == [b"3", b"4"]


async def test_what_is_done_is_committed_when_the_block_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_reader, "COMMIT_S", 3600.0)
    await publish(settings, [], *records(2))
    async with (member := Member(settings)).joined():
        member.finish(await member.take())
    assert await committed(settings) == 2


async def test_partitions_are_given_back_after_the_fetch_that_is_being_processed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_reader, "COMMIT_S", 3600.0)  # only the revocation commits
    first, second = Member(settings), Member(settings)
    await publish(settings, [], *records(3))
    async with first.joined():
        fetch = await first.take()
        joining = asyncio.create_task(_joined_for_a_while(second))
        await asyncio.wait({joining}, timeout=1)
        assert not joining.done()
        first.finish(fetch)
        async with asyncio.timeout(DEADLINE_S):
            await joining
        assert await committed(settings) == 3
        assert second.fetches.empty()


async def test_a_backlog_is_read_in_portions_and_other_partitions_go_before_it(
    settings: Settings,
) -> None:
    count = 2 * ENOUGH // RECORD + PORTION
    backlog = [Record(REPORTS, b"a", b"%d" % n, partition=0) for n in range(count)]
    await publish(settings, [], *backlog)
    reader = Member(settings, limit=count).reader
    async with reader.joined(), asyncio.timeout(DEADLINE_S):
        fetches = reader.fetches()
        portions = [await anext(fetches), await anext(fetches)]
        assert [len(each.messages) for each in portions] == [PORTION, PORTION]
        await publish(settings, [], Record(REPORTS, b"b", b"now", partition=1))
        urgent = await _urgent(reader)
        assert values(urgent) == [b"now"]
        # It is committed by itself, and what was read before it is not.
        reader.done(urgent)
        await until(lambda: _is(settings, 1))
        while sum(len(each.messages) for each in portions) < count:
            portions.append(await anext(fetches))
        read = [value for each in portions for value in values(each)]
        assert read == [record.value for record in backlog]
        for each in portions:
            reader.done(each)
        await until(lambda: _is(settings, count + 1))


async def test_no_more_is_read_than_is_processed_soon(settings: Settings) -> None:
    """A backlog is not taken into memory as a whole while Redis is away."""
    length = 1000
    enough = ENOUGH // (RECORD + length)
    values_of_a = (os.urandom(length) for _ in range(3 * enough))  # which cannot be compressed
    await publish(settings, [], *(Record(REPORTS, b"a", v, partition=0) for v in values_of_a))
    async with (reader := Member(settings).reader).joined():
        unread = reader._unread
        await until(lambda: _holds(unread, enough))
        # Kafka sends what is in other partitions all the same.
        await publish(settings, [], Record(REPORTS, b"b", b"now", partition=1))
        urgent = await _urgent(reader)
        assert values(urgent) == [b"now"]
        assert len(unread) < 2 * enough


async def test_a_fetch_that_takes_too_long_is_read_again_and_not_committed(
    settings: Settings,
) -> None:
    first, second = Member(settings, patience_s=0.1), Member(settings)
    await publish(settings, [], *records(3))
    async with first.joined():
        late = await first.take()
        async with second.joined():
            # One of the two has the partition now; the fetch is of neither.
            again = await _first_of(first, second)
            assert values(again) == values(late)
            assert not first.reader.is_current(late)
            first.finish(late)
            await asyncio.wait({asyncio.create_task(_is(settings, 1))}, timeout=0.5)
            assert await committed(settings) == 0


async def _joined_for_a_while(member: Member) -> None:
    async with member.joined():
        await asyncio.wait({asyncio.create_task(member.fetches.get())}, timeout=1)


async def _first_of(*members: Member) -> Fetch:
    waiting = {asyncio.create_task(member.fetches.get()) for member in members}
    done, left = await asyncio.wait(
        waiting, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
    )
    for each in left:
        each.cancel()
    return done.pop().result()


async def _urgent(reader: GroupReader) -> Fetch:
    async with asyncio.timeout(DEADLINE_S):
        while (fetch := reader.urgent()) is None:  # noqa: ASYNC110 - Kafka makes it true
            await asyncio.sleep(0.01)
        return fetch


async def _holds(unread: Unread, count: int) -> bool:
    return len(unread) >= count


async def _is(settings: Settings, count: int) -> bool:
    return await committed(settings) == count
