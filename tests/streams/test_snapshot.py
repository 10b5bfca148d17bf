"""Snapshots read only what changed, and equal those that are taken without a cache."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from miningmap import settings as config
from miningmap.api.models import Step
from miningmap.precedence import Precedence
from miningmap.redis_client import connect
from streams.method.beliefs import Beliefs, Claim, Document, Entry, Rule
from streams.method.cells import MemoryCells, claims_of
from streams.method.windows import ROLLING, parse_window
from streams.metrics import Metrics
from streams.queries import snapshot
from streams.queries.contributions import ContributionsParameters, contributions
from streams.queries.history import HistoryParameters, history
from streams.queries.parameters import SharesQuery
from streams.queries.shares import answer_from
from streams.queries.snapshot import (
    Snapshots,
    answers_in,
    answers_of,
    compute_answer,
    compute_contributions,
    take_snapshot,
)
from streams.queries.stored_history import StoredHistories
from streams.redis import keys
from streams.redis.encoding import decode_cell
from streams.redis.store import Store
from streams.redis.stored_cells import StoredCells
from streams.worker.snapshot_writer import write_snapshots
from tests.examples import examples
from tests.streams.fixtures import NOON, at_once, empty, network, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from redis.asyncio import Redis

    from miningmap.kafka.producer import Publisher
    from miningmap.messages import Message

# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
NETWORK = [Document("n", [Entry(0, {"US": 0.5, "KZ": 0.5})]), Document("m", [Entry(0, {"KZ": 1})])]
POOLS = [Document("p", [Entry(0, {"CA": 0.75, "US-TX": 0.25})], "b", declared=True)]
CLAIMS = [Claim("c", "NO", 1e17, 0, 99_999)]
BELIEFS = Beliefs(NETWORK, POOLS, CLAIMS, {"a": "b"}, [Rule("zj", "CN-ZJ", None)])
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> Store:
    return Store(redis, FOR_EVER)


async def write(store: Store, messages: Sequence[Message]) -> None:
    await store.writer.write([(message, claims_of(message)) for message in messages])


async def hmgets(redis: Redis) -> int:
    """The number of commands that read cells from Redis."""
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_hmget", {"calls": 0})["calls"])


# Of the last minutes or hours, or as late as some days; sums of thirds are never exact.
hashrates = st.integers(0, 9).map(lambda n: n * 1e18 / 3)
some_places = st.dictionaries(st.sampled_from(["US", "US-TX", "CN-ZJ", "CN-SC", "KZ"]), hashrates)
a_minute = st.builds(
    lambda pool, ago, hold, places, rest: report(
        pool,
        places,
        hashrate=sum(places.values()) * (1 + 1e-12) + rest,
        start=NOON - ago * MINUTE,
        hold_s=hold,
    ),
    st.sampled_from("ab"),
    st.integers(0, 150),
    st.integers(0, 2000),
    some_places,
    hashrates,
)
some_hours = st.builds(
    lambda pool, ago, length, places, rest: report(
        pool,
        places,
        hashrate=sum(places.values()) * (1 + 1e-12) + rest,
        start=NOON - ago * HOUR,
        end=NOON - (ago - length) * HOUR,
    ),
    st.sampled_from("ab"),
    st.integers(1, 900),
    st.integers(1, 720),
    some_places,
    hashrates,
)
networks = st.builds(
    lambda ago, hashrate: network(hashrate, start=NOON - ago * HOUR, end=NOON),
    st.integers(1, 400),
    hashrates,
)
batches = st.lists(a_minute | some_hours | networks, max_size=6)
# A step: the batch that arrives, or None if the last one is lost (a failover to a replica without
# it); the message that arrives while cells are read; the time until the next snapshot.
steps = st.tuples(
    batches | st.none(),
    st.none() | a_minute | some_hours,
    st.sampled_from([timedelta(seconds=5), MINUTE, HOUR, DAY]),
)


@pytest.fixture
def reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series at rest are read at each snapshot; otherwise their reports are seen a minute late."""
    monkeypatch.setattr(snapshot, "ALL_READ_EVERY", timedelta(0))


class Racing(Store):
    """A store where one message arrives just before cells are read, and one just after."""

    before: Message | None = None
    after: Message | None = None

    def __init__(self, redis: Redis, retention: config.Retention) -> None:
        super().__init__(redis, retention)
        self.cells = RacingCells(redis, self)


class RacingCells(StoredCells):
    def __init__(self, redis: Redis, store: Racing) -> None:
        super().__init__(redis)
        self._store = store

    async def _cells(self, generation: keys.Generation, fields: Any) -> Any:
        before, after = self._store.before, self._store.after
        await write(self._store, [before] if before else [])
        found = await super()._cells(generation, fields)
        await write(self._store, [after] if after else [])
        return found


@pytest.mark.usefixtures("reads_all")
@examples(60)
@given(st.lists(steps, min_size=2, max_size=6))
async def test_the_cache_changes_no_answer_if_messages_are_late_or_lost(
    redis: Redis, arriving: list[tuple[list[Message] | None, Message | None, timedelta]]
) -> None:
    await empty(redis)
    store, now = Racing(redis, FOR_EVER), NOON
    snapshots = Snapshots(store.cells, BELIEFS)
    written: list[Sequence[Message]] = []
    for messages, meanwhile, later in arriving:
        if messages is None:
            await empty(redis)
            written[-1:] = []
            for batch in written:
                await write(store, batch)
        else:
            await write(store, messages)
            written.append(messages)
        if meanwhile:
            store.before = meanwhile
            await snapshots.take(now)
            store.before = None
            written.append([meanwhile])
        else:
            assert await snapshots.take(now) == await take_snapshot(store.cells, BELIEFS, now)
        now += later
    assert await snapshots.take(now) == await take_snapshot(store.cells, BELIEFS, now)


@pytest.mark.usefixtures("reads_all")
@examples(60)
@given(st.lists(st.tuples(batches, steps), min_size=2, max_size=6))
async def test_changes_add_up_to_a_whole_snapshot(
    redis: Redis, store: Store, arriving: list[tuple[list[Message], Any]]
) -> None:
    await empty(redis)
    now, snapshots = NOON, Snapshots(store.cells, BELIEFS)
    await store.generations.begin({})
    known = await snapshots.take(now)
    for messages, (_, _, later) in arriving:
        await write(store, messages)
        now += later
        changes = await snapshots.take_changes(now)
        fresh = await take_snapshot(store.cells, BELIEFS, now)
        told = answers_of(snapshots.changed, fresh)
        assert {**told, "at": fresh["at"], "pools": fresh["pools"]} == changes.parts
        known = {**known, **changes.parts}
        for name in changes.removed:
            del known[name]
        assert _without_times(known) == _without_times(fresh)


def _without_times(parts: dict[str, bytes]) -> dict[str, object]:
    decoded = {name: msgspec.json.decode(body) for name, body in answers_in(parts).items()}
    return {name: body | {"as_of": None} for name, body in decoded.items()}


@examples(40)
@given(st.lists(a_minute | some_hours | networks, max_size=15))
async def test_the_answer_equals_the_recomputed_one_to_the_last_digit(
    redis: Redis, store: Store, sent: list[Message]
) -> None:
    await empty(redis)
    await write(store, sent)
    cells = MemoryCells()
    for message in reversed(sent):
        cells.add(message)
    for name in ROLLING:
        for country in (None, "US", "CN"):
            query = _query(name, NOON, country)
            live = await compute_answer(store.cells, query, BELIEFS)
            assert msgspec.json.encode(live) == msgspec.json.encode(
                answer_from(cells, query, BELIEFS)
            )
        for code in ("US", "CN-SC"):
            compared = ContributionsParameters(code=code, window=name, against="7d").query(NOON)
            found = await compute_contributions(store.cells, compared, BELIEFS)
            assert msgspec.json.encode(found) == msgspec.json.encode(
                contributions(cells, compared, BELIEFS)
            )


@examples(20)
@given(st.lists(a_minute | some_hours | networks, max_size=15), st.sampled_from(get_args(Step)))
async def test_histories_equal_those_from_memory_to_the_last_digit(
    redis: Redis, store: Store, sent: list[Message], step: Step
) -> None:
    await empty(redis)
    await write(store, sent)
    cells = MemoryCells()
    for message in reversed(sent):
        cells.add(message)
    query = HistoryParameters.parse({"code": "*,US-*,BR", "step": step}).query(NOON)
    known = await store.cells.read([])
    live = await StoredHistories(store.cells, BELIEFS).compute(query, known, at_once)
    assert msgspec.json.encode(live) == msgspec.json.encode(history(cells, query, BELIEFS))


def _query(window: str, as_of: datetime, country: str | None) -> SharesQuery:
    return SharesQuery(
        window=parse_window(window, as_of),
        as_of=as_of,
        level="country" if country is None else "subdivision",
        country=country,
    )


async def test_only_what_changed_is_read(redis: Redis, store: Store) -> None:
    first = [report(pool, {"US": 5.0}, start=NOON - 9 * MINUTE) for pool in "abcdefgh"]
    await write(store, first)
    snapshots = Snapshots(store.cells, BELIEFS)
    before = await hmgets(redis)
    await snapshots.take(NOON)
    of_all = await hmgets(redis) - before
    await snapshots.take(NOON)
    assert await hmgets(redis) - before == of_all
    await write(store, [report("c", {"US": 6.0})])
    before = await hmgets(redis)
    answers = await snapshots.take(NOON)
    assert 0 < await hmgets(redis) - before <= of_all / len(first) + 2  # plus two roll-ups
    assert b'"hashrate":6.0' in answers["now/country"]


async def test_of_what_is_unchanged_redis_only_tells_that_it_is_there(
    redis: Redis, store: Store
) -> None:
    async def bytes_sent() -> int:
        return int((await redis.info("stats"))["total_net_output_bytes"])

    pools = [f"pool{number}" for number in range(500)]
    await write(store, [report(pool, {"US": 5.0}) for pool in pools])
    snapshots = Snapshots(store.cells, BELIEFS)
    await snapshots.take(NOON)
    before = await bytes_sent()
    await snapshots.take(NOON)
    of_all = await bytes_sent() - before
    assert of_all < 40 * len(pools)  # an entry in the set of all series, and nothing else
    await write(store, [report("pool0", {"US": 6.0}), report("pool499", {"US": 6.0})])
    assert await snapshots.take(NOON) == await take_snapshot(store.cells, BELIEFS, NOON)


async def test_only_what_changed_is_added_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report changes the newest cells, and most windows end before these."""
    added: list[bytes] = []

    def counting(raw: bytes) -> Any:
        added.append(raw)
        return decode_cell(raw)

    monkeypatch.setattr("streams.redis.loaded_cells.decode_cell", counting)
    hours = [report(p, {"US": 5.0}, start=NOON - DAY, end=NOON - HOUR) for p in "abcd"]
    minutes = [report(p, {"US": 5.0}, start=NOON - HOUR, end=NOON) for p in "abcd"]
    await write(store, [*hours, *minutes])
    snapshots = Snapshots(store.cells, BELIEFS)
    await snapshots.take(NOON)
    of_all = len(added)
    added.clear()
    await write(store, [report("c", {"US": 6.0})])
    changes = await snapshots.take_changes(NOON)
    assert b'"hashrate":6.0' in changes.parts["now/country"]
    assert snapshots.changed == {"now"}
    assert len(added) == 1 < of_all
    await snapshots.take_changes(NOON)
    assert len(added) == 1


async def test_of_the_last_hour_only_the_newest_minutes_are_added_up_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums of the minutes before them are kept, unless a late message changes these."""
    decoded: list[bytes] = []

    def counting(raw: bytes) -> Any:
        decoded.append(raw)
        return decode_cell(raw)

    def minute(number: int, hashrate: float) -> Message:
        return report("a", {"US": hashrate}, start=NOON - HOUR + number * MINUTE)

    await write(store, [minute(number, 1.0) for number in range(60)])
    snapshots = Snapshots(store.cells, BELIEFS)
    await snapshots.take(NOON)
    monkeypatch.setattr("streams.redis.loaded_cells.decode_cell", counting)
    await write(store, [minute(59, 61.0)])
    changes = await snapshots.take_changes(NOON)
    assert b'"hashrate":2.0' in changes.parts["1h/country"]
    assert len(decoded) < 20  # with the hour and the day that are rolled up
    await write(store, [minute(0, 121.0)])
    changes = await snapshots.take_changes(NOON)
    assert b'"hashrate":4.0' in changes.parts["1h/country"]
    assert len(decoded) > 60


async def test_series_at_rest_are_read_once_a_minute_and_change_no_answer(
    redis: Redis, store: Store
) -> None:
    """A map that runs for years has many series that nobody reports any more."""
    then = NOON - 40 * DAY
    gone = [report(f"gone{n}", {"KZ": 5.0}, start=then, hold_s=600) for n in range(50)]
    two = [report("live", {"KZ": 5.0}, source="old", start=then)]
    await write(store, [*gone, *two, report("live", {"US": 5.0}, hold_s=600)])
    await store.cells.check_cells()  # from then on it knows the current generation
    snapshots = Snapshots(store.cells, BELIEFS)

    async def taken(now: datetime) -> tuple[int, dict[str, bytes]]:
        """Return how many series were read for a snapshot, and the snapshot."""
        await redis.config_resetstat()
        parts = await snapshots.take(now)
        stats = await redis.info("commandstats")
        return stats["cmdstat_hgetall"]["calls"] - 2, parts  # rejected readings, damaged series

    for second, number in ((0, 52), (5, 1), (10, 1), (59, 1), (60, 52), (65, 1)):
        now = NOON + timedelta(seconds=second)
        read, parts = await taken(now)
        assert read == number, second
        assert parts == await take_snapshot(store.cells, BELIEFS, now)
    pools = msgspec.json.decode(parts["pools"])["pools"]
    # The source that nobody reports any more is still listed with its pool, which is not off.
    assert [[s["source"] for s in pool["sources"]] for pool in pools] == [["old", "own"]]

    # One that returns is seen within a minute; one that is removed from Redis at once.
    await write(store, [report("gone7", {"US": 5.0}, start=NOON + MINUTE, hold_s=600)])
    _, parts = await taken(NOON + timedelta(seconds=115))
    assert b"gone7" not in parts["pools"]
    later = NOON + timedelta(seconds=120)
    _, parts = await taken(later)
    assert b"gone7" in parts["pools"]
    assert parts == await take_snapshot(store.cells, BELIEFS, later)
    await redis.flushdb()
    await write(store, [report("live", {"US": 5.0}, hold_s=600)])
    later += timedelta(seconds=5)
    _, parts = await taken(later)
    assert parts == await take_snapshot(store.cells, BELIEFS, later)


async def test_an_emptied_redis_is_detected(redis: Redis, store: Store) -> None:
    snapshots = Snapshots(store.cells, BELIEFS)
    await write(store, [report(places={"US": 5.0})])
    await snapshots.take(NOON)
    await empty(redis)
    await write(store, [report(places={"US": 6.0})])
    assert await snapshots.take(NOON) == await take_snapshot(store.cells, BELIEFS, NOON)


@pytest.mark.parametrize("later", [timedelta(seconds=5), MINUTE])
async def test_a_message_that_arrives_during_a_snapshot_is_in_the_next_one(
    redis: Redis, later: timedelta
) -> None:
    store, now = Racing(redis, FOR_EVER), NOON
    await write(store, [report(places={"US": 5.0}, start=NOON - MINUTE)])
    snapshots = Snapshots(store.cells, BELIEFS)
    for hour in range(1, 4):
        store.before = report(places={"US": 6.0}, fetched_at=NOON + hour * HOUR)
        store.after = report(places={"US": 7.0}, fetched_at=NOON + hour * HOUR + MINUTE)
        await snapshots.take(now)
        store.before = store.after = None
        now += later
        assert await snapshots.take(now) == await take_snapshot(store.cells, BELIEFS, now)


async def test_a_message_that_arrives_during_a_snapshot_and_is_lost_is_not_cached(
    redis: Redis,
) -> None:
    """A failover to a replica that has missed the last write loses it."""
    store = Racing(redis, FOR_EVER)
    kept = report(places={"US": 5.0})
    await write(store, [kept])
    snapshots = Snapshots(store.cells, BELIEFS)
    store.before = report(places={"US": 6.0}, fetched_at=NOON + HOUR)
    await snapshots.take(NOON)
    store.before = None
    await empty(redis)
    await write(store, [kept])
    assert await snapshots.take(NOON) == await take_snapshot(store.cells, BELIEFS, NOON)


async def test_a_series_without_a_cell_yet_is_left_out(redis: Redis, store: Store) -> None:
    await store.generations.begin({})
    current = await store.generations.current()
    assert current
    await redis.sadd(keys.Generation(current.number).series, "a/own")
    assert not [*(await store.cells.read([])).series()]


async def test_no_snapshots_are_taken_after_a_cancellation_that_the_client_drops() -> None:
    asked = asyncio.Event()

    class DroppingSnapshots:
        async def renew_leadership(self, *_: object, **__: object) -> bool:
            first = not asked.is_set()
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not first:
                    raise  # else dropped, as by wait_for() of Python 3.11
            return False

    writer = SimpleNamespace(precedence=Precedence())
    store = cast("Store", SimpleNamespace(cells=None, snapshots=DroppingSnapshots(), writer=writer))
    publisher = cast("Publisher", None)
    metrics = Metrics(CollectorRegistry())
    taking = asyncio.create_task(
        write_snapshots(config.Streams(), store, BELIEFS, publisher, metrics)
    )
    async with asyncio.timeout(2):
        await asked.wait()
    taking.cancel()
    await asyncio.wait({taking}, timeout=2)
    assert taking.cancelled()
