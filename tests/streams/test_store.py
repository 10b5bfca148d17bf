"""Cells in a real Redis: equal to those in memory in any order, and within the retention."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import TYPE_CHECKING

import msgspec
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from miningmap import settings as config
from miningmap.api.models import Refusal
from miningmap.messages import BASES, KINDS, Published, Report
from miningmap.redis_client import connect
from miningmap.retention import horizon
from miningmap.times import DAY_S, HOUR_S, MINUTE_S, add_months, bucket, utc_now
from streams.method.cells import MemoryCells, Series, claims_of
from streams.method.windows import Span
from streams.redis import keys
from streams.redis.cell_writer import Applied
from streams.redis.event_log import EventId
from streams.redis.generations import Range, RebuildingError
from streams.redis.loaded_cells import LoadedCells
from streams.redis.store import Store
from tests.examples import examples
from tests.streams.fixtures import NOON, empty, network, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis

    from miningmap.messages import Message

# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
MIDNIGHT = NOON.replace(hour=0)
MINUTE, HOUR, DAY = bucket(NOON, MINUTE_S), bucket(NOON, HOUR_S), bucket(NOON, DAY_S)
SPANS = (
    Span("minute", range(MINUTE - 5, MINUTE + 90)),
    Span("hour", range(HOUR - 20, HOUR + 100)),
    Span("day", range(DAY - 1, DAY + 5)),
)
OWN = Series("a", "own")
PARTITION = ("topic", 0)


@pytest.fixture
async def redis(redis_settings: config.Redis) -> AsyncIterator[Redis]:
    client = connect(redis_settings)
    yield client
    await client.aclose()


async def write(store: Store, messages: Sequence[Message]) -> int:
    return (
        await store.writer.write([(message, claims_of(message)) for message in messages])
    ).changed


async def generation(store: Store) -> keys.Generation:
    current = await store.generations.current()
    assert current
    return keys.Generation(current.number)


a_minute = st.builds(
    lambda pool, start, length, hold, hashrate, code, kind, basis: report(
        pool,
        {code: float(hashrate)},
        hashrate=2.0 * hashrate,
        start=NOON + timedelta(seconds=30 * start),
        end=NOON + timedelta(seconds=30 * (start + length)),
        hold_s=hold,
        kind=kind,
        basis=basis,
    ),
    st.sampled_from("ab"),
    st.integers(0, 150),
    st.integers(1, 30),
    st.integers(0, 600),
    st.integers(0, 9),
    st.sampled_from(["US", "CN-SC"]),
    st.sampled_from(KINDS),
    st.sampled_from(BASES),
)
hours = st.builds(
    lambda start, length, hashrate, basis: report(
        hashrate=float(hashrate),
        start=MIDNIGHT + timedelta(hours=start),
        end=MIDNIGHT + timedelta(hours=start + length),
        basis=basis,
    ),
    st.integers(0, 40),
    st.integers(1, 60),
    st.integers(0, 9),
    st.sampled_from(BASES),
)
networks = st.builds(lambda hashrate: network(float(hashrate)), st.integers(1, 9))
many: st.SearchStrategy[list[Message]] = st.lists(a_minute | hours | networks, max_size=15)


@examples(40)
@given(many.flatmap(lambda sent: st.tuples(st.just(sent), st.permutations(sent + sent[:4]))))
async def test_redis_has_the_same_cells_as_memory_in_any_order(
    redis: Redis, both: tuple[list[Message], list[Message]]
) -> None:
    sent, again = both
    await empty(redis)
    store, memory = Store(redis, FOR_EVER), MemoryCells()
    for message in sent:
        memory.add(message)
    half = len(again) // 2
    await write(store, again[:half])
    earlier = await store.cells.read(SPANS[:2], keep_decoded=True)
    await write(store, again[half:])
    for loaded in (
        await store.cells.read(SPANS),
        await store.cells.read(SPANS, earlier, keep_decoded=True),
    ):
        assert set(loaded.series()) == set(memory.series())
        for series in memory.series():
            for span in SPANS:
                assert loaded.sum(series, span) == memory.sum(series, span)
            for tier in ("minute", "hour", "day"):
                assert loaded.first(series, tier) == memory.first(series, tier)


async def test_writing_a_message_again_changes_nothing(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    sent = report(places={"US": 5.0}, hold_s=60)
    assert await write(store, [sent]) == 2
    assert await write(store, [sent, sent]) == 0


@pytest.mark.parametrize("redis_settings", ["single"], indirect=True)
async def test_a_batch_is_one_round_trip(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await store.generations.begin({PARTITION: Range(0, 0)})
    batch = [(each, claims_of(each)) for each in (report(pool, hashrate=1) for pool in "abcdefgh")]
    # The first one loads the scripts.
    await store.writer.write(batch[:1], Applied({PARTITION: Range(0, 1)}, NOON))
    before = await _reads(redis)
    await store.writer.write(batch, Applied({PARTITION: Range(1, 9)}, NOON))
    assert await _reads(redis) - before == 2  # the batch, and this INFO itself


async def _reads(redis: Redis) -> int:
    """The number of times that Redis has read from its clients."""
    return int((await redis.info("stats"))["total_reads_processed"])


async def test_the_script_is_loaded_again_after_a_restart_of_redis(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await write(store, [report(hashrate=1)])
    await redis.script_flush()
    assert await write(store, [report(hashrate=2)]) == 1


async def test_no_cell_expires_by_the_clock_of_redis(redis: Redis) -> None:
    store = Store(redis, config.Retention())
    await write(store, [report(hashrate=1), table("1.0")])
    async for key in redis.scan_iter("mm:[0-9]*"):
        assert await redis.ttl(key) == -1


@pytest.mark.parametrize("ways", ["written", "swept"])
async def test_minutes_and_hours_that_no_message_can_change_are_removed_and_days_stay(
    redis: Redis, ways: str
) -> None:
    kept = config.Retention()
    store = Store(redis, kept)
    series = Series("a", "own")

    async def apply(at: datetime, offset: int) -> None:
        sent = report(hashrate=1, start=at - timedelta(minutes=5))
        current = await generation(store)
        await store.generations.begin_partition(current.number, PARTITION, 0)
        applied = Applied({PARTITION: Range(offset, offset + 1)}, at)
        await store.writer.write([(sent, claims_of(sent, horizon(kept, at)))], applied)

    await store.generations.begin({})
    current = await generation(store)
    await apply(NOON, 0)
    assert await redis.exists(current.minutes(series, HOUR - 1), current.hours(series, DAY)) == 2
    later = NOON + timedelta(hours=kept.minutes_h + 1)
    for n, (at, left) in enumerate(
        [
            (later, {"m", "h"}),  # a message that is a little late may still change them
            (later + timedelta(hours=2), {"h"}),
            (NOON + timedelta(days=kept.hours_d + 1), {"h"}),
            (NOON + timedelta(days=kept.hours_d + 2), set()),
        ]
    ):
        if ways == "written":
            await apply(at, n + 1)
        else:
            await store.writer.remove_expired(at)
        found = {
            tier
            for tier, key in (
                ("m", current.minutes(series, HOUR - 1)),
                ("h", current.hours(series, DAY)),
            )
            if await redis.exists(key)
        }
        assert found == left, at
    assert await redis.hexists(current.days(series), f"r{DAY}")


async def test_cells_outside_all_spans_are_dropped(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await write(store, [report(hashrate=1, hold_s=600)])
    first, second, third = (Span("minute", range(MINUTE + n, MINUTE + n + 2)) for n in range(3))
    loaded = await store.cells.read([first, second])
    assert loaded.sum(OWN, first) == loaded.sum(OWN, second)
    later = await store.cells.read([second, third], loaded)
    line = later.by_series[OWN]
    assert [*line.sums] == [second]
    assert {number for _, number in line.cells} == {MINUTE + 1, MINUTE + 2, MINUTE + 3}


async def test_a_day_claimed_directly_wins_over_its_roll_up(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    day = Span("day", range(DAY, DAY + 1))
    await write(store, [report(hashrate=1)])
    assert (await store.cells.read([day])).sum(OWN, day).minutes == 1
    sent = report(hashrate=2, start=MIDNIGHT, end=MIDNIGHT + timedelta(days=1))
    past = horizon(config.Retention(), NOON + timedelta(days=99))
    await store.writer.write([(sent, claims_of(sent, past))])
    cell = (await store.cells.read([day])).sum(OWN, day)
    assert (cell.minutes, cell.total) == (1440, 2880)


LATE = horizon(config.Retention(), NOON + timedelta(days=99))
MONTH = report(hashrate=9, start=MIDNIGHT - timedelta(days=9), end=MIDNIGHT + timedelta(days=9))
DAILY = report(hashrate=4, start=MIDNIGHT, end=MIDNIGHT + timedelta(days=1))
WEEKLY = report(hashrate=6, start=MIDNIGHT - timedelta(days=3), end=MIDNIGHT + timedelta(days=4))


def hours_from(hour: int, hashrate: float, length: int) -> Report:
    start = MIDNIGHT + timedelta(hours=hour)
    return report(hashrate=hashrate, start=start, end=start + timedelta(hours=length))


@pytest.mark.parametrize(
    ("in_time", "late", "mean", "too_late"),
    [
        pytest.param([], MONTH, 9, False, id="no value"),
        pytest.param([report(hashrate=1)], MONTH, 9, False, id="no hour claimed directly"),
        pytest.param([DAILY], MONTH, 4, False, id="outranks none of 24"),
        pytest.param([MONTH], DAILY, 4, False, id="outranks all"),
        pytest.param([hours_from(5, 3, 2)], MONTH, 3, True, id="a part, outranked"),
        pytest.param([MONTH, hours_from(5, 3, 2)], WEEKLY, None, True, id="outranks some of 24"),
        pytest.param([hours_from(0, 3, 72)], DAILY, 4, False, id="outranks a longer one"),
        pytest.param([hours_from(5, 3, 40)], DAILY, 4, False, id="outranks a part"),
        pytest.param([DAILY], DAILY, 4, False, id="the same again"),
    ],
)
async def test_past_the_hours_a_report_claims_a_day_with_the_rank_that_it_has_among_them(
    redis: Redis, in_time: list[Report], late: Report, mean: float | None, *, too_late: bool
) -> None:
    store = Store(redis, FOR_EVER)
    day = Span("day", range(DAY, DAY + 1))
    await write(store, in_time)
    before = (await store.cells.read([day])).sum(OWN, day) if in_time else None
    written = await store.writer.write([(late, claims_of(late, LATE))])
    after = (await store.cells.read([day])).sum(OWN, day)
    if mean is None:
        assert after == before
    else:
        assert after.total == mean * after.minutes
    assert (DAY in written.too_late.get(0, ())) is too_late
    # A claim that is written again changes nothing, and is refused again.
    assert await store.writer.write([(late, claims_of(late, LATE))]) == written._replace(changed=0)


async def test_late_monthly_rows_never_replace_daily_ones_in_any_order(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    day = Span("day", range(DAY, DAY + 1))
    for order in permutations([MONTH, DAILY, WEEKLY]):
        await empty(redis)
        for late in order:
            assert not (await store.writer.write([(late, claims_of(late, LATE))])).too_late
        assert (await store.cells.read([day])).sum(OWN, day).total == 4 * 1440


async def test_the_days_that_came_too_late_are_those_of_each_message(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await write(store, [hours_from(5, 3, 2), hours_from(24, 3, 2)])
    other = msgspec.structs.replace(DAILY, source="other")
    sent = [other, WEEKLY, MONTH]
    written = await store.writer.write([(message, claims_of(message, LATE)) for message in sent])
    assert written.too_late == {1: [DAY, DAY + 1], 2: [DAY, DAY + 1]}


async def test_the_last_report_is_the_one_that_ends_last(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    late = report(hashrate=1, start=NOON + timedelta(minutes=9))
    await write(store, [late, report(hashrate=1)])
    last = (await store.cells.read([])).last_report(OWN)
    assert (last.end, last.fetched_at, last.simulated) == (late.end, late.fetched_at, False)
    assert last.blocks is None


async def test_the_last_report_includes_its_number_of_blocks(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    for n, blocks in enumerate((3, 0, 7)):
        sent = report(hashrate=1, start=NOON + timedelta(minutes=n))
        await write(store, [msgspec.structs.replace(sent, blocks=blocks, basis="mined")])
        assert (await store.cells.read([])).last_report(OWN).blocks == blocks


# --- published tables -----------------------------------------------------------------------------

JUNE = datetime(2021, 6, 1, tzinfo=UTC)


def table(share: str, fetched_s: int = 0, pool: str = "a", month: int = 6) -> Report:
    """A report of a month, with its published table of one line."""
    start = JUNE.replace(month=month)
    sent = report(
        pool,
        {"US": 5.0},
        start=start,
        end=add_months(start, 1),
        fetched_at=NOON + timedelta(seconds=fetched_s),
    )
    return msgspec.structs.replace(sent, published=(Published("US", share, "0.00"),))


def first_day(month: int) -> int:
    return bucket(JUNE.replace(month=month), DAY_S)


@examples(20)
@given(
    st.lists(
        st.builds(
            table,
            st.sampled_from(["1.0", "1.00", "0"]),
            st.integers(0, 2),
            st.sampled_from("ab"),
            st.sampled_from([6, 7]),
        ),
        min_size=1,
        max_size=6,
    ).flatmap(lambda sent: st.tuples(st.just(sent), st.permutations(sent + sent[:3])))
)
async def test_tables_are_the_same_in_any_order(
    redis: Redis, both: tuple[list[Report], list[Report]]
) -> None:
    found = []
    for sent in both:
        await empty(redis)
        store = Store(redis, FOR_EVER)
        for message in sent:
            await write(store, [message])
        found.append(await store.cells.published())
    assert found[0] == found[1]


@pytest.mark.parametrize("hours_d", [35, 400_000])
async def test_the_table_that_was_fetched_last_does_not_expire(redis: Redis, hours_d: int) -> None:
    kept = config.Retention(hours_d=hours_d)
    store = Store(redis, kept)
    old, new = table("1.0"), table("1.00", fetched_s=1)
    july = table("2", month=7)
    for message in (new, old, july, new):
        await store.writer.write([(message, claims_of(message, horizon(kept, utc_now())))])
    assert await store.cells.published() == {
        OWN: {first_day(6): new.published, first_day(7): july.published}
    }
    assert await redis.ttl((await generation(store)).published(OWN)) == -1


async def test_a_table_changes_no_cell(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    with_table = table("1.0")
    without = msgspec.structs.replace(with_table, published=())
    changed = await write(store, [without])
    await empty(redis)
    assert await write(store, [with_table]) == changed
    assert await write(store, [with_table]) == 0


async def test_sources_without_a_published_table_have_none_in_redis(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await write(store, [report(hashrate=1), network(2)])
    assert await store.cells.published() == {OWN: {}, Series(None, "mempool"): {}}


# --- rejections, snapshots, events ----------------------------------------------------------------


async def test_the_newest_rejection_of_a_pool_is_kept(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    old, new = (Refusal(NOON + n * timedelta(seconds=1), None, "r", str(n)) for n in (0, 1))
    await store.writer.write([], rejected={"a": new, "b": old})
    await store.writer.write([], rejected={"a": old, "b": new, "c": old})
    assert await store.cells.rejections() == {"a": new, "b": new, "c": old}


async def test_one_process_at_a_time_takes_the_snapshots(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    assert await store.snapshots.renew_leadership("one", for_s=60)
    assert not await store.snapshots.renew_leadership("two", for_s=60)
    assert await store.snapshots.renew_leadership("one", for_s=60)
    await redis.delete(keys.LEADER)  # as if it had expired
    assert await store.snapshots.renew_leadership("two", for_s=60)


async def test_a_lease_without_an_expiry_gets_one(redis: Redis) -> None:
    """It would be held for ever by a process that is no more."""
    store = Store(redis, FOR_EVER)
    await redis.set(keys.LEADER, "somebody")
    assert not await store.snapshots.renew_leadership("one", for_s=60)
    assert 0 < await redis.pttl(keys.LEADER) <= 60_000


async def test_snapshots_replace_all_earlier_ones(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await store.snapshots.write({"1h/country": b"1", "1h/subdivision/CN": b"2"})
    await store.snapshots.write({"1h/country": b"3"})
    assert await store.snapshots.read() == {"1h/country": b"3"}
    assert await store.snapshots.part("1h/subdivision/CN") is None


async def test_what_has_changed_replaces_only_its_own_parts(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    await store.snapshots.write({"1h/country": b"1", "7d/country": b"2", "7d/subdivision/CN": b"3"})
    await store.snapshots.write({"1h/country": b"4"}, told=["1h"], removed=["7d/subdivision/CN"])
    assert await store.snapshots.read() == {"1h/country": b"4", "7d/country": b"2"}


async def test_an_event_tells_only_some_windows(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    parts = {"1h/country": b"1", "7d/country": b"2"}
    await store.snapshots.write(parts, told=["7d"])
    (event,) = await store.snapshots.events(EventId(0, 0), limit=10, wait_s=0.01)
    assert (event.body("1h"), event.body("7d")) == (None, b"2")
    await store.snapshots.write(parts, told=[])
    await store.snapshots.write({"at": b"-"}, told=["7d"], removed=[])
    assert await store.snapshots.last_event() == event.id


async def test_the_log_keeps_few_of_the_events_that_later_ones_tell_anew(redis: Redis) -> None:
    """Shares that change several times a second would fill Redis within the hour."""
    store = Store(redis, FOR_EVER)
    now_ms = int(utc_now().timestamp() * 1000) // 5000 * 5000
    first, other = now_ms - 20_000, now_ms - 15_000
    told = {first: b"now", first + 1: b"1h", first + 2: b"now", first + 3: b"7d", other: b"now"}
    for at_ms, window in told.items():
        await redis.xadd(keys.EVENTS, {"event": "shares", window: b"-"}, id=f"{at_ms}-0")
        store.snapshots._recent.add(EventId(at_ms, 0), {b"event", window})
    await store.snapshots.write({"now/country": b"1"}, told=["now"], removed=[])
    assert await redis.xlen(keys.EVENTS) == len(told) + 1
    await store.snapshots.write({"now/country": b"1"}, told=[])
    kept = [
        event.id.at_ms
        for event in await store.snapshots.events(EventId(0, 0), limit=9, wait_s=0.01)
    ]
    assert kept[:-1] == [first + 1, first + 2, first + 3, other]


async def test_what_was_applied_differs_after_each_batch(redis: Redis) -> None:
    store, partition = Store(redis, FOR_EVER), ("topic", 0)
    await store.generations.begin({partition: Range(3, 3)})
    seen = [await store.cells.applied()]
    for first in (3, 4):
        await store.writer.write([], Applied({partition: Range(first, first + 1)}, NOON))
        seen.append(await Store(redis, FOR_EVER).cells.applied())
    assert seen[0] != seen[1] != seen[2]
    assert await store.cells.applied() == seen[2]
    await redis.delete(keys.POSITIONS)
    with pytest.raises(RebuildingError):
        await store.cells.applied()


async def test_two_readings_at_once_are_of_the_same_new_generation(redis: Redis) -> None:
    """Neither may take the generation that the other has just found for that of its own replies."""
    store = Store(redis, FOR_EVER)
    await write(store, [report(places={"US": 1.0})])
    await store.writer.write([], rejected={"a": Refusal(NOON, "api", "implausible", "too much")})
    for _ in range(20):
        new = Store(redis, FOR_EVER).cells
        found = await asyncio.gather(*(new.rejections() for _ in range(4)), new.read(SPANS))
        assert all(found[:4])
        assert isinstance(found[4], LoadedCells)
        assert [*found[4].series()] == [OWN]


async def test_a_snapshots_event_has_the_answer_of_each_window(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    assert await store.snapshots.last_event() is None
    for number in (b"1", b"2"):
        await store.snapshots.write(
            {"1h/country": number, "1h/subdivision/CN": b"-", "now/country": b"n"}
        )
    first, second = await store.snapshots.events(EventId(0, 0), limit=10, wait_s=0.01)
    assert (first.name, first.body("1h"), first.body("now"), first.body("7d")) == (
        "shares",
        b"1",
        b"n",
        None,
    )
    assert second.body("1h") == b"2"
    assert first.id < second.id == await store.snapshots.last_event()
    assert [e.id for e in await store.snapshots.events(first.id, limit=10, wait_s=0.01)] == [
        second.id
    ]
    assert [e.id for e in await store.snapshots.events(EventId(0, 0), limit=1, wait_s=0.01)] == [
        first.id
    ]
    assert await store.snapshots.events(second.id, limit=10, wait_s=0.01) == []


async def test_the_event_log_keeps_an_hour(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    now_ms = int(utc_now().timestamp() * 1000)
    for age_s in (7200, 3660, 3540, 60):
        await redis.xadd(keys.EVENTS, {"event": "shares"}, id=f"{now_ms - 1000 * age_s}-0")
    await store.snapshots.write({"1h/country": b"1"})
    kept = await store.snapshots.events(EventId(0, 0), limit=10, wait_s=0.01)
    assert [round((now_ms - event.id.at_ms) / 1000, -1) for event in kept] == [3540, 60, 0]


async def test_the_hour_is_by_the_clock_of_redis(redis: Redis) -> None:
    store = Store(redis, FOR_EVER)
    with time_machine.travel(utc_now() + timedelta(hours=2)):
        for number in (b"1", b"2"):
            await store.snapshots.write({"1h/country": number})
    assert len(await store.snapshots.events(EventId(0, 0), limit=10, wait_s=0.01)) == 2


@pytest.mark.parametrize("text", ["", "1", "1-", "-1-2", "1-2-3", "1-x", f"{10**21}-0", "1-2\n"])
def test_an_invalid_event_id_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="invalid event id"):
        EventId.parse(text)
