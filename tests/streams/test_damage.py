"""Damage in Redis: a series that cannot be read is left out, and all others are unchanged."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

from miningmap import settings as config
from miningmap.api.models import PoolList, Refusal
from miningmap.messages import Published
from miningmap.redis_client import connect
from miningmap.times import DAY_S, HOUR_S, MINUTE_S, bucket
from streams.method.beliefs import Beliefs
from streams.method.cells import Series, claims_of
from streams.queries.contributions import ContributionsParameters
from streams.queries.history import HistoryParameters
from streams.queries.months import compute_months
from streams.queries.pools import DAMAGED
from streams.queries.snapshot import (
    POOLS,
    Snapshots,
    compute_contributions,
    take_snapshot,
)
from streams.queries.stored_history import StoredHistories
from streams.redis import keys
from streams.redis.damage import is_damage
from streams.redis.encoding import RANK
from streams.redis.store import Store
from streams.worker.rejections import add_rejection
from tests.examples import examples
from tests.streams.fixtures import NOON, at_once, network, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from redis.asyncio import Redis

    from miningmap.messages import Message

FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
NOW = NOON + timedelta(minutes=2)
MINUTE, HOUR, DAY = bucket(NOON, MINUTE_S), bucket(NOON, HOUR_S), bucket(NOON, DAY_S)
VICTIM = Series("b", "own")
G = keys.Generation(7)
BELIEFS = Beliefs()
MONTH = datetime(2026, 10, 1, tzinfo=UTC)
NEXT = datetime(2026, 11, 1, tzinfo=UTC)

LONG = ("history", "months", "contributions")
"""Answers that read other cells than the snapshot does."""

MESSAGES: list[Message] = [
    each
    for minute in range(-45, 3)
    for start in [NOON + timedelta(minutes=minute)]
    for each in (
        report("a", {"US": 3e20, "CN-SC": 1e20}, start=start),
        report("b", {"US": 1e20, "KZ": 2e20}, start=start),
        report("b", {"US": 1e20}, source="other", start=start),
        report("c", hashrate=5e19, start=start),
        network(9e20, start=start),
    )
]
MESSAGES += [
    report(pool, {"US": 2e20, "DE": 1e20}, start=MONTH, end=NEXT) for pool in ("a", "b", "c")
]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


async def filled(redis: Redis) -> Store:
    await redis.flushdb()
    await redis.hset(keys.POSITIONS, "generation", str(G.number))
    store = Store(redis, FOR_EVER)
    await store.writer.write([(message, claims_of(message)) for message in MESSAGES])
    return store


async def answers(store: Store) -> dict[str, Any]:
    """Every kind of answer that is made from cells."""
    history = HistoryParameters.parse({"code": "*", "step": "hour", "from": "2026-11-22T08:00:00Z"})
    of_us = ContributionsParameters.parse({"code": "US", "window": "1h"})
    snapshot = await take_snapshot(store.cells, BELIEFS, NOW)
    pools = msgspec.json.decode(snapshot.pop(POOLS), type=PoolList).pools
    return {
        **snapshot,
        "pools": [pool for pool in pools if pool.pool != VICTIM.pool],
        "history": await StoredHistories(store.cells, BELIEFS).compute(
            history.query(NOW), await store.cells.read([]), at_once
        ),
        "contributions": await compute_contributions(store.cells, of_us.query(NOW), BELIEFS),
        "months": await compute_months(
            store.cells.read,
            at_once,
            await store.cells.read([]),
            await store.cells.published(),
            now=NOW,
            beliefs=BELIEFS,
            split=["CN", "US"],
        ),
    }


def cell(**fields: object) -> bytes:
    good: dict[str, object] = {"n": 1, "t": 3e20, "s": False, "p": {"US/m": 1e20}, "b": 0}
    return msgspec.msgpack.encode(good | fields)


figures = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e308, 2**63, "1", None])
bad_cells = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda total: cell(t=total), figures),
    st.builds(lambda value: cell(p={"US/m": value}), figures),
    st.builds(lambda minutes: cell(n=minutes), st.sampled_from([-1, 0, 2**40, 1.5, "1"])),
    st.builds(lambda basis: cell(b=basis), st.sampled_from([-1, 3, 2**40, None])),
    st.builds(
        lambda name: cell(p={name: 1.0}),
        st.sampled_from(["", "US", "US/x", "XX/m", "US-TX-1/m", "\x00/m", "US/m/m"]),
    ),
    st.just(cell(p={"US/m": 4e20})),
    st.integers(0, 20).map(lambda n: cell()[:n]),
    st.just(b"\x91" * 5000),  # nested more deeply than any decoder goes
)
ranks = st.one_of(st.binary(max_size=40), st.just(RANK.pack(1, 9e99, 9e99, 9e99, 0)))
bad_numbers = st.one_of(
    st.binary(max_size=12).filter(lambda raw: not raw.strip().isdigit()),
    st.sampled_from([b"nan", b"inf", b"-inf", b"1e400", b"-62135596801", b"9" * 5000]),
    st.just(b"253402300800.0"),  # the year 10000
)
hashes = {
    G.minutes(VICTIM, HOUR): [b"0", b"1", b"2"],
    G.hours(VICTIM, DAY): [b"c12", b"r12", b"r11", b"c11"],
    G.days(VICTIM): [b"c%d" % (DAY - 1), b"r%d" % (DAY - 1), b"c%d" % bucket(MONTH, DAY_S)],
}
poisons = st.one_of(
    st.sampled_from(sorted(hashes)).flatmap(
        lambda key: st.tuples(
            st.just(key),
            st.sampled_from(hashes[key]),
            st.one_of(bad_cells, st.builds(lambda rank, raw: rank + raw, ranks, bad_cells)),
        )
    ),
    st.tuples(
        st.just(G.meta(VICTIM)),
        st.sampled_from(
            [b"end", b"fetched_at", b"blocks", b"first:minute", b"first:hour", b"first:day"]
        ),
        bad_numbers,
    ),
    st.tuples(st.just(G.published(VICTIM)), st.binary(max_size=8), st.binary(max_size=60)),
)
wrong_types = st.sampled_from(
    [*sorted(hashes), G.meta(VICTIM), G.published(VICTIM), G.stamps(VICTIM)]
)


@examples(60)
@given(poisons)
async def test_a_damaged_value_changes_no_answer_but_its_own_series(
    redis: Redis, poison: tuple[str, bytes, bytes]
) -> None:
    key, field, value = poison
    store = await filled(redis)
    before = await answers(store)
    await redis.hset(key, field, value)
    await has_only_others(redis, store, before)


@examples(10)
@given(wrong_types, st.sampled_from(["string", "list", "set"]))
async def test_a_key_of_another_type_changes_no_answer_but_its_own_series(
    redis: Redis, key: str, kind: str
) -> None:
    store = await filled(redis)
    before = await answers(store)
    await redis.delete(key)
    if kind == "string":
        await redis.set(key, b"x")
    elif kind == "list":
        await redis.rpush(key, b"x")
    else:
        await redis.sadd(key, b"x")
    await has_only_others(redis, store, before)


async def has_only_others(redis: Redis, store: Store, before: Mapping[str, Any]) -> None:
    """Check that each answer is as it was, or as if the poisoned series was not there."""
    with capture_logs():
        damaged = (await taken(store)).damaged
        poisoned = await answers(store)
        await redis.srem(G.series, f"{VICTIM.pool}/{VICTIM.source}")
        without = await answers(store)
    assert damaged.keys() <= {VICTIM}
    assert poisoned.keys() == without.keys()
    for name, found in poisoned.items():
        # What a query does not read may be damaged.
        assert found == without[name] or (found == before[name] and (not damaged or name in LONG))


async def taken(store: Store) -> Snapshots:
    snapshots = Snapshots(store.cells, BELIEFS)
    await snapshots.take(NOW)
    return snapshots


@examples(40)
@given(
    st.sampled_from(
        [b"end", b"fetched_at", b"simulated", b"blocks", b"first:minute", b"first:day", b"stamp"]
    ),
    bad_numbers | st.sampled_from([b"0", b"1", b"1e9", b"99"]) | st.none(),
)
async def test_meta_data_that_changes_between_two_snapshots_is_noticed(
    redis: Redis, field: bytes, value: bytes | None
) -> None:
    store = await filled(redis)
    snapshots = await taken(store)
    if value is None:
        await redis.hdel(G.meta(VICTIM), field)
    else:
        await redis.hset(G.meta(VICTIM), field, value)
    await equals_a_fresh_one(snapshots, store)


@pytest.mark.parametrize("kind", ["string", "list", None])
async def test_meta_data_that_is_replaced_between_two_snapshots_is_noticed(
    redis: Redis, kind: str | None
) -> None:
    store = await filled(redis)
    snapshots = await taken(store)
    await redis.delete(G.meta(VICTIM))
    if kind == "string":
        await redis.set(G.meta(VICTIM), b"x")
    elif kind == "list":
        await redis.rpush(G.meta(VICTIM), b"x")
    await equals_a_fresh_one(snapshots, store)
    await store.writer.write([(message, claims_of(message)) for message in MESSAGES[:9]])
    await equals_a_fresh_one(snapshots, store)


async def equals_a_fresh_one(snapshots: Snapshots, store: Store) -> None:
    with capture_logs():
        fresh = Snapshots(store.cells, BELIEFS)
        expected = await fresh.take(NOW)
        assert await snapshots.take(NOW) == expected
    assert snapshots.damaged == fresh.damaged


async def test_a_pool_with_a_damaged_source_is_listed_with_the_reason(redis: Redis) -> None:
    store = await filled(redis)
    await redis.hset(G.meta(VICTIM), "end", b"253402300800.0")  # the year 10000
    await redis.set(G.meta(Series("c", "own")), b"x")
    with capture_logs() as logs:
        snapshot = await take_snapshot(store.cells, BELIEFS, NOW)
    pools = msgspec.json.decode(snapshot[POOLS], type=PoolList).pools
    states = {pool.pool: (pool.state, pool.reason) for pool in pools}
    assert states["a"] == ("live", None)
    assert states["b"] == ("live", f"{DAMAGED} own")  # its other source is shown
    assert states["c"] == ("off", f"{DAMAGED} own")
    assert {(log["event"], log["count"]) for log in logs} == {("series_damaged", 2)}
    assert "year 10000" in logs[0]["problems"][0]


async def test_an_entry_that_is_no_series_is_left_out(redis: Redis) -> None:
    store = await filled(redis)
    before = await take_snapshot(store.cells, BELIEFS, NOW)
    await redis.sadd(G.series, b"\xff\xfe/own", b"", b"/", b"x", b"A B/own", b"a/../b", b"a/own\n")
    with capture_logs() as logs:
        assert await take_snapshot(store.cells, BELIEFS, NOW) == before
    assert logs[0]["count"] == 7


async def test_a_claim_that_meets_damage_stops_no_other_series(redis: Redis) -> None:
    """A claim reads the old value of its bucket, so damage can make the script fail."""
    store = await filled(redis)
    await redis.hset(G.minutes(VICTIM, HOUR), "1", b"x")
    late = NOON + timedelta(minutes=1)
    sent = [
        report(pool, {"US": 7e20}, start=late, end=late + timedelta(seconds=70)) for pool in "ab"
    ]
    with capture_logs():
        written = await store.writer.write([(each, claims_of(each)) for each in sent])
        assert written.changed == 1
        assert written.damaged == (1,)
        assert set((await taken(store)).damaged) == {VICTIM}
        # The value that was the cause is gone, but the claim was not made: still left out.
        await redis.hdel(G.minutes(VICTIM, HOUR), "1")
        assert set((await taken(store)).damaged) == {VICTIM}


async def test_a_set_of_all_series_of_another_type_is_made_anew(redis: Redis) -> None:
    store = await filled(redis)
    before = await redis.smembers(G.series)
    await redis.set(G.series, b"x")
    await redis.set("mm:7:{x}:y:z:meta", b"x")
    sent = report("d", {"US": 7e20})
    with capture_logs() as logs:
        await store.writer.write([(sent, claims_of(sent))])
    assert await redis.smembers(G.series) == {*before, b"d/own"}
    assert [log["event"] for log in logs] == ["redis_key_replaced"]


async def test_a_damaged_rejected_reading_counts_as_missing(redis: Redis) -> None:
    store = await filled(redis)
    reading = Refusal(NOON, "own", "future", "x")
    await redis.hset(G.rejected, mapping={b"a": b"{", b"\xff": b"{}", b"A B": b"{}"})
    await store.writer.write([], rejected={"a": reading})
    assert await store.cells.rejections() == {"a": reading}
    await redis.delete(G.rejected)
    await redis.set(G.rejected, b"x")
    assert await store.cells.rejections() == {}
    with capture_logs():
        await store.writer.write([], rejected={"a": reading})
    assert await store.cells.rejections() == {"a": reading}


def test_a_rejected_reading_from_the_future_hides_no_later_one() -> None:
    newest: dict[str, Refusal] = {}
    headers = (("at", b"9999-12-31T00:00:00Z"), ("reason", b"x"), ("error", b"x" * 9999))
    add_rejection(b"a", headers, newest, NOON)
    assert newest == {}
    add_rejection(b"a", (("at", b"2026-11-22T12:00:00Z"), *headers[1:]), newest, NOON)
    assert len(newest["a"].error) == 1000


async def test_damaged_tables_are_left_out_and_others_are_not(redis: Redis) -> None:
    store = await filled(redis)
    table = (Published("US", share="100"),)
    month = report("a", {"US": 1e20}, start=MONTH, end=NEXT)
    published = msgspec.structs.replace(month, published=table, source="table")
    await store.writer.write([(published, claims_of(published))])
    await redis.hset(G.published(VICTIM), "1", b"x")
    with capture_logs():
        tables = await store.cells.published()
    assert VICTIM not in tables
    assert tables[Series("a", "table")] == {bucket(MONTH, DAY_S): table}


async def test_keys_of_another_type_do_not_keep_snapshots_from_being_written(redis: Redis) -> None:
    store = await filled(redis)
    await redis.hset(keys.LEADER, "a", "b")
    await redis.set(keys.EVENTS, "x")
    with capture_logs() as logs:
        await store.snapshots.remove_damaged()
    assert [log["event"] for log in logs] == ["redis_key_replaced"] * 2
    assert await store.snapshots.renew_leadership("me", 10)
    await redis.set(keys.LEADER, "you")  # and for ever
    assert not await store.snapshots.renew_leadership("me", 10)
    assert 0 < await redis.pttl(keys.LEADER) <= 10_000
    await store.snapshots.write(await take_snapshot(store.cells, BELIEFS, NOW))
    assert await store.snapshots.read()


async def test_an_error_of_redis_itself_is_no_damage(redis: Redis) -> None:
    """Then the claim is made again, until Redis can."""
    store = await filled(redis)
    sent = report("d", {"US": 7e20})
    await redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(OutOfMemoryError) as raised:
            await store.writer.write([(sent, claims_of(sent))])
    finally:
        await redis.config_set("maxmemory", "0")
    assert not is_damage(raised.value)
    assert not await redis.exists(G.damaged)
