"""Swings in a real Redis: written a minute at a time, each once, and read in spite of damage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.swings import PlaceStatus, SwingStatus, encode_swing, swing_id
from miningmap.times import MINUTE_S, bucket, bucket_start
from streams.method.comparison import Deltas, Subject
from streams.method.swings import Firing, Track
from streams.redis import keys
from streams.redis.event_log import EventId
from streams.redis.snapshot_store import SnapshotStore
from streams.redis.swing_store import EvaluatedMinute, Memory, SwingStore
from tests.streams.fixtures import NOON, place_swing, pool_swing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from redis.asyncio import Redis

    from miningmap.swings import Swing
    from streams.method.comparison import HourDeltas

MINUTE = bucket(NOON, MINUTE_S)
DELTAS: HourDeltas = {
    "1h/24h": Deltas({"": {"US": -0.05, "CA": 0.05}}, {"a": {"own": -0.42}}),
    "24h/7d": Deltas(),
}
TRACKS = (
    Track(Subject("1h/24h", is_pool=False, name="US"), run=-3),
    Track(
        Subject("1h/24h", is_pool=True, name="a", source="own"),
        run=-11,
        firing=Firing(-1, 25, NOON),
        simulated=True,
    ),
)


@pytest.fixture
async def redis(redis_settings: config.Redis) -> AsyncIterator[Redis]:
    client = connect(redis_settings)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> SwingStore:
    return SwingStore(redis, config.Retention())


def evaluated(
    minute: int = MINUTE,
    *events: Swing,
    firing: Sequence[Swing] = (),
    hours: Mapping[int, HourDeltas] | None = None,
    first_hour: int = 0,
) -> EvaluatedMinute:
    at = bucket_start(minute, MINUTE_S)
    places = (PlaceStatus("1h/24h", "US", -0.05),)
    status = SwingStatus(at, places, firing=tuple(firing))
    return EvaluatedMinute(minute, TRACKS, status, events, hours or {}, first_hour)


async def write(store: SwingStore, minute: EvaluatedMinute) -> None:
    assert await store.write(minute, await store.memory()) == []


# --- one minute -----------------------------------------------------------------------------------


async def test_a_minute_is_read_as_it_was_written(store: SwingStore) -> None:
    assert await store.memory() == Memory()
    assert await store.status() is None
    await write(store, evaluated(hours={MINUTE // 60: DELTAS}))
    assert await store.memory() == Memory(MINUTE, TRACKS, b"%d" % MINUTE)
    assert await store.status() == evaluated().status
    assert await store.hours() == ({MINUTE // 60: DELTAS}, [])


async def test_of_two_processes_only_one_writes_a_minute(store: SwingStore) -> None:
    one = two = await store.memory()
    event = place_swing()
    assert await store.write(evaluated(MINUTE, event), one) == []
    assert await store.write(evaluated(MINUTE, event), two) is None
    assert (await store.since(NOON)).swings == [(event,)]
    assert await store.outbox(9) == [encode_swing(event)]


async def test_a_minute_that_is_written_meanwhile_is_refused(
    store: SwingStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await store.memory()
    read = store._old_swings

    async def slow(*arguments: object) -> list[bytes]:
        await redis.hset(keys.SWINGS, "minute", MINUTE)  # after this one has compared it
        return await read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_old_swings", slow)
    assert await store.write(evaluated(MINUTE, place_swing()), before) is None
    assert await store.outbox(9) == []


async def test_one_process_at_a_time_leads(store: SwingStore, redis: Redis) -> None:
    assert await store.renew_leadership("one", for_s=60)
    assert not await store.renew_leadership("two", for_s=60)
    assert await store.renew_leadership("one", for_s=60)
    await redis.delete(keys.SWING_LEADER)  # as when it expires
    assert await store.renew_leadership("two", for_s=60)
    await store.end_leadership("one")
    assert not await store.renew_leadership("one", for_s=60)
    await store.end_leadership("two")
    assert await store.renew_leadership("one", for_s=60)


async def test_old_hours_are_removed(store: SwingStore, redis: Redis) -> None:
    await write(store, evaluated(hours=dict.fromkeys(range(100, 110), DELTAS)))
    await redis.hset(keys.SWING_HOURS, mapping={"damaged": "", "9" * 5000: "{}", "9" * 9: ""})
    await write(store, evaluated(MINUTE + 60, hours={110: DELTAS}, first_hour=108))
    assert sorted((await store.hours())[0]) == [108, 109, 110]
    assert await redis.hlen(keys.SWING_HOURS) == 3


# --- events ---------------------------------------------------------------------------------------


async def test_the_events_of_a_swing_are_kept_together_in_order(store: SwingStore) -> None:
    started, pool = place_swing(), pool_swing()
    later = NOON + timedelta(minutes=9)
    risen = place_swing(at=later, severity=5)
    await write(store, evaluated(MINUTE, started, pool))
    await write(store, evaluated(MINUTE + 9, risen))
    assert (await store.since(NOON)).swings == [(started, risen), (pool,)]
    assert (await store.since(later)).swings == [(started, risen)]
    assert (await store.since(later + timedelta(minutes=1))).swings == []
    assert (await store.swings([swing_id(pool), "unknown"])).swings == [(pool,)]
    assert (await store.firing()).swings == [(started, risen), (pool,)]
    await write(store, evaluated(MINUTE + 10, pool_swing(at=later, state="resolved")))
    assert (await store.firing()).swings == [(started, risen)]


async def test_events_are_in_the_log_of_the_stream(store: SwingStore, redis: Redis) -> None:
    events: list[Swing] = [place_swing(), pool_swing()]
    await write(store, evaluated(MINUTE, *events))
    logged = await SnapshotStore(redis).events(EventId(0, 0), limit=9, wait_s=0.01)
    assert [event.name for event in logged] == ["swing", "swing"]
    assert [event.body("7d") for event in logged] == list(map(encode_swing, events))


async def test_swings_expire_unless_they_fire(store: SwingStore, redis: Redis) -> None:
    old, firing, newer = (place_swing(place=code) for code in ("US", "CA", "CN"))
    await write(store, evaluated(MINUTE, old, firing))
    newer = msgspec.structs.replace(newer, at=NOON + timedelta(minutes=1))
    await write(store, evaluated(MINUTE + 1, newer))
    await write(store, evaluated(MINUTE + 366 * 1440, firing=[firing]))
    assert {each[0].place for each in (await store.since(NOON)).swings} == {"US", "CA", "CN"}  # type: ignore[union-attr]
    await write(store, evaluated(MINUTE + 366 * 1440 + 1, firing=[firing]))
    assert (await store.since(NOON)).swings == [(newer,), (firing,)]
    assert await redis.hlen(keys.SWING_LIST) == 2


async def test_what_two_processes_publish_is_removed_once(store: SwingStore) -> None:
    events = [place_swing(place=code) for code in ("US", "CA", "CN")]
    await write(store, evaluated(MINUTE, *events))
    both = await store.outbox(2)
    await store.remove_from_outbox(both)
    await store.remove_from_outbox(both)
    assert await store.outbox(9) == [encode_swing(events[2])]


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("minute", [b"", b"noon", b"\xff", b"9" * 30, b"-" + b"9" * 30])
async def test_a_damaged_minute_counts_as_none(
    store: SwingStore, redis: Redis, minute: bytes
) -> None:
    await redis.hset(keys.SWINGS, "minute", minute)
    memory = await store.memory()
    assert (memory.minute, memory.stored) == (None, minute)
    assert len(memory.damage) == 1
    assert keys.SWINGS in memory.damage[0]
    await write(store, evaluated())
    assert (await store.memory()).minute == MINUTE


NO_ZONE = msgspec.json.encode(TRACKS).replace(b"2026-11-22T12:00:00Z", b"2026-11-22T12:00:00")


@pytest.mark.parametrize(
    "tracks", [b"", b"[", b"{}", b"[[]]", b"\xff", b"[" * 100_000, NO_ZONE, None]
)
async def test_damaged_tracks_count_as_none(
    store: SwingStore, redis: Redis, tracks: bytes | None
) -> None:
    await write(store, evaluated())
    await redis.hdel(keys.SWINGS, "tracks")
    if tracks is not None:
        await redis.hset(keys.SWINGS, "tracks", tracks)
    memory = await store.memory()
    assert (memory.minute, memory.tracks) == (MINUTE, ())
    assert len(memory.damage) == 1


async def test_damaged_hours_and_a_damaged_status_are_left_out(
    store: SwingStore, redis: Redis
) -> None:
    await write(store, evaluated(hours={7: DELTAS}))
    await redis.hset(keys.SWINGS, "status", "{}")
    await redis.hset(keys.SWING_HOURS, mapping={"8": "[]", "nine": "{}"})
    assert await store.status() is None
    hours, damage = await store.hours()
    assert hours == {7: DELTAS}
    assert len(damage) == 2


async def test_a_damaged_swing_is_left_out_and_replaced(store: SwingStore, redis: Redis) -> None:
    event, other = place_swing(), pool_swing()
    await write(store, evaluated(MINUTE, event, other))
    await redis.hset(keys.SWING_LIST, swing_id(event), "[{}]")
    await redis.hset(keys.SWING_LIST, "empty", "[]")
    found = await store.since(NOON)
    assert found.swings == (await store.firing()).swings == [(other,)]
    assert len(found.damage) == 1
    await redis.hset(keys.SWING_LIST, swing_id(event), "{")
    later = msgspec.structs.replace(event, at=NOON + timedelta(minutes=9), severity=5)
    damage = await store.write(evaluated(MINUTE + 9, later), await store.memory())
    assert damage is not None
    assert len(damage) == 1
    assert (await store.swings([swing_id(event)])).swings == [(later,)]
