"""Histories from Redis: what is kept of them equals what is computed anew, after any message."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.times import DAY_S, bucket
from streams.method.beliefs import Beliefs
from streams.method.cells import claims_of
from streams.queries.history import HistoryParameters
from streams.queries.parameters import SharesParameters
from streams.queries.snapshot import compute_answer
from streams.queries.stamped_cache import StampedCache
from streams.queries.stored_history import StoredHistories
from streams.redis.day_stamps import DayStamps, SeriesStamps
from streams.redis.store import Store
from tests.examples import examples
from tests.streams import worlds
from tests.streams.fixtures import NOON, at_once, empty, report
from tests.streams.worlds import MIDNIGHT, Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from redis.asyncio import Redis

    from miningmap.api.models import Answer, Histories, History
    from miningmap.messages import Message
    from streams.method.windows import Span, Window
    from streams.redis.loaded_cells import LoadedCells

NOW = MIDNIGHT + timedelta(days=1, hours=2, minutes=30)
DAY = timedelta(days=1)
# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
HISTORIES: list[dict[str, Any]] = [
    {"code": "*,CN-*", "step": "hour", "from": "2026-11-30T18:00:00Z"},
    {"code": "US", "step": "day", "from": "2026-11-25"},
    {"code": "CN", "step": "month", "from": "2026-10", "adjust": "none"},
]
WINDOWS: list[dict[str, Any]] = [
    {"window": "2026-11", "level": "subdivision", "country": "CN"},
    {"window": "24h", "as_of": "2026-12-01T06:30:00Z"},
    {"window": "1h", "as_of": "2026-12-01T01:30:00Z", "prior": "none"},
]


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


class Asker:
    """Asks the same questions again and again, with a memory or without."""

    def __init__(self, store: Store, beliefs: Beliefs) -> None:
        self.store = store
        self.beliefs = beliefs
        self.histories = StoredHistories(store.cells, beliefs)
        self.answers: StampedCache[Answer] = StampedCache(1000)

    async def ask(self) -> list[History | Histories | Answer]:
        known = await self.store.cells.read(())
        found: list[History | Histories | Answer] = [
            await self.histories.compute(HistoryParameters.parse(each).query(NOW), known, at_once)
            for each in HISTORIES
        ]
        for each in WINDOWS:
            query = SharesParameters.parse(each).query(NOW)
            found.append(await compute_answer(self.store.cells, query, self.beliefs, self.answers))
        return found

    def without_memory(self) -> Asker:
        return Asker(self.store, self.beliefs)


async def write(store: Store, messages: Iterable[Message]) -> None:
    await store.writer.write([(message, claims_of(message)) for message in messages])


async def as_older_versions_write(redis: Redis, store: Store, messages: Sequence[Message]) -> None:
    """Write messages without stamps of days."""
    names = [key async for key in redis.scan_iter("*:stamps")]
    before: dict[Any, Any] = {name: await redis.hgetall(name) for name in names}
    await write(store, messages)
    async for name in redis.scan_iter("*:stamps"):
        await redis.delete(name)
        if name in before:
            await redis.hset(name, mapping=before[name])


async def lose(redis: Redis, _: Store, __: Sequence[Message]) -> None:
    """Lose all, as Redis can; what was kept is then of another generation."""
    await empty(redis)


async def remove_old(redis: Redis, _: Store, messages: Sequence[Message]) -> None:
    """Remove old minutes and hours, as the worker does once they are old enough."""
    later = DAY * (2 + 12 * len(messages))
    await Store(redis, config.Retention()).writer.remove_expired(MIDNIGHT + later)


async def as_usual(_: Redis, store: Store, messages: Sequence[Message]) -> None:
    await write(store, messages)


CHANGES = st.sampled_from([*[as_usual] * 6, as_older_versions_write, remove_old, lose])


@pytest.mark.integration
@examples(25, "REDIS_EXAMPLES")
@given(worlds.scenes(), st.data())
def test_what_is_kept_equals_what_is_computed_anew(
    redis_url: str, scene: Scene, data: st.DataObject
) -> None:
    """After messages of any time in any order, old ones too, and after what can become of Redis."""

    async def run() -> None:
        async with connect(config.Redis(url=SecretStr(redis_url))) as client:
            await empty(client)
            store = Store(client, FOR_EVER)
            remembers = Asker(store, worlds.beliefs_of(scene.world))
            messages = data.draw(worlds.repeated(scene.world.messages))
            while messages:
                number = data.draw(st.integers(1, 4))
                change, some, messages = data.draw(CHANGES), messages[:number], messages[number:]
                await change(client, store, some)
                for _ in range(2):  # the second time nothing has changed
                    assert await remembers.ask() == await remembers.without_memory().ask()

    asyncio.run(run())


class Counting:
    """A source that counts the cells that are read."""

    def __init__(self, store: Store) -> None:
        self._store = store.cells
        self.read_cells: list[int] = []

    async def read(self, spans: Iterable[Span], earlier: LoadedCells | None = None) -> LoadedCells:
        cells = await self._store.read(spans, earlier)
        self.read_cells.append(len(cells.keys))
        return cells

    async def day_stamps(self, windows: Iterable[Window]) -> DayStamps:
        return await self._store.day_stamps(windows)


@pytest.mark.integration
async def test_only_buckets_of_days_with_new_messages_are_read_again(connection: Redis) -> None:
    await empty(connection)
    store = Store(connection, FOR_EVER)
    days = [NOON - n * DAY for n in range(60)]
    await write(store, [report(start=day, end=day + timedelta(hours=1)) for day in days])
    source = Counting(store)
    histories = StoredHistories(source, Beliefs())
    asked = {"code": "US", "step": "day", "from": "2026-09-24", "to": "2026-11-22"}
    query = HistoryParameters.parse(asked).query(NOON + DAY)

    async def computed() -> list[int]:
        source.read_cells.clear()
        await histories.compute(query, await store.cells.read(()), at_once)
        return list(source.read_cells)

    assert await computed() == [89]  # the days, and the 30 before the first
    assert await computed() == []
    await write(store, [report(start=days[10] + timedelta(hours=2))])
    # That day, and the 10 days in whose profile it is; a month of days before each.
    assert await computed() == [40]
    await write(store, [report(start=days[0] + DAY)])
    assert await computed() == []


@pytest.mark.integration
async def test_what_changes_while_it_is_read_is_not_kept(connection: Redis) -> None:
    await empty(connection)
    store = Store(connection, FOR_EVER)
    midnight = NOON.replace(hour=0)
    await write(store, [report("a", {"US": 1e18}, start=midnight, end=midnight + DAY)])

    class Interrupted(Counting):
        async def read(
            self, spans: Iterable[Span], earlier: LoadedCells | None = None
        ) -> LoadedCells:
            cells = await super().read(spans, earlier)
            await write(store, [report("b", {"DE": 1e18}, start=midnight, end=midnight + DAY)])
            return cells

    histories = StoredHistories(Interrupted(store), Beliefs())
    query = HistoryParameters.parse({"code": "US,", "step": "day", "from": "2026-11-22"})
    shares = []
    for _ in range(2):
        known = await store.cells.read(())
        found: Any = await histories.compute(query.query(NOON + DAY), known, at_once)
        shares.append(found.series[0].points[0].share)
    assert shares == [1.0, 0.5]


@pytest.mark.integration
async def test_the_cells_of_a_long_history_are_read_a_few_at_a_time(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.queries.stored_history.CELLS_AT_ONCE", 200)
    await empty(connection)
    store = Store(connection, FOR_EVER)
    for pool in "abcd":
        await write(store, [report(pool, {"US": 1e18}, start=NOON - n * DAY) for n in range(100)])
    source = Counting(store)
    query = HistoryParameters.parse({"code": "*", "step": "day", "from": "2026-08-15"})
    histories = [
        await StoredHistories(each, Beliefs()).compute(
            query.query(NOON + DAY), await store.cells.read(()), at_once
        )
        for each in (source, store.cells)
    ]
    assert max(source.read_cells) <= 200 // 4
    assert len(source.read_cells) > 4
    monkeypatch.undo()
    whole = await StoredHistories(store.cells, Beliefs()).compute(
        query.query(NOON + DAY), await store.cells.read(()), at_once
    )
    assert histories == [whole, whole]


# --- stamps ---------------------------------------------------------------------------------------

DAY_NUMBER = bucket(NOON, DAY_S)


@pytest.mark.integration
async def test_every_write_of_a_day_changes_its_stamp_and_no_other(connection: Redis) -> None:
    await empty(connection)
    store = Store(connection, FOR_EVER)
    windows = [
        HistoryParameters.parse({"code": "US", "step": "day", "from": f"2026-11-{day}"})
        .query(NOON + DAY)
        .buckets[0]
        .window
        for day in (10, 20)
    ]

    async def stamps() -> list[bytes]:
        found = await store.cells.day_stamps(windows)
        return [found.of(window) for window in windows]

    seen = [await stamps()]
    for hours in (1, 2, 3):
        start = NOON - 5 * DAY + timedelta(hours=hours)
        await write(store, [report(start=start), report(start=start + timedelta(hours=5))])
        seen.append(await stamps())
    first, second = zip(*seen, strict=True)
    assert len(set(first)) == 1
    assert len(set(second)) == len(seen)


def test_a_damaged_block_counts_as_never_stamped() -> None:
    for damaged in (b"", b"x" * 511, b"x" * 513):
        stamps = SeriesStamps(b"s", b"s", b"b" * 16, {3: damaged}, None, None, {})
        assert stamps.block(3) == b"b" * 512
    assert SeriesStamps(b"s" * 40, b"old", b"b" * 16, {}, None, None, {}).block(3) == b"s" * 512
