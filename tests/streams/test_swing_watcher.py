"""The live detector: the same events as offline, each minute once, whatever stops meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.swings import encode_swing, swing_id
from miningmap.times import utc_now
from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells
from streams.queries.swings import detect, minutes_between
from streams.redis import keys
from streams.redis.swing_store import SwingStore
from streams.worker.published_swings import published_swings as events_in_kafka
from tests.streams import golden
from tests.streams.fixtures import NOON, empty, report
from tests.streams.live_swings import (
    DELAY,
    do_not_wait,
    live_pipeline,
    published_swings,
    without_repeats,
)
from tests.streams.processes import StreamsProcess, publish, until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from pathlib import Path

    from miningmap.messages import Message, Report
    from miningmap.settings import Settings
    from miningmap.swings import Swing
    from tests.servers import KafkaServer, RedisServer
    from tests.streams.live_swings import LivePipeline

pytestmark = pytest.mark.usefixtures("clean_kafka")

# The cases are of the past; none of their messages is too late or expires.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# The pools of the cases report every half hour, so that a minute is only known up to half an hour
# later. Live, that is after a stop of so long.
REPORTED_EVERY = 30


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    do_not_wait(monkeypatch)
    settings.retention = FOR_EVER
    return settings


# --- the golden cases -----------------------------------------------------------------------------


@golden.parametrize(golden.SWINGS)
async def test_every_golden_case_swings_live_as_offline(settings: Settings, path: Path) -> None:
    case = golden.SwingCase(path)
    ((first, last),) = case.ranges
    async with live_pipeline(settings, case.beliefs, first, first_minutes=1) as pipeline:
        pipeline.add(case.messages)
        stored = await pipeline.run(first, last, step=REPORTED_EVERY)
        (want,) = case.expected
        published = await published_swings(settings, len(want))
    assert len(stored) == len(want)
    for event, expected in zip(published, want, strict=True):
        golden.assert_same_swing(json.loads(encode_swing(event)), expected)
        assert event in stored


# --- a pool that falls and returns ----------------------------------------------------------------

FIRST, LAST = NOON - 10 * MINUTE, NOON + 3 * HOUR
BELIEFS = Beliefs()


def a_pool_falls() -> list[Report]:
    """For a day two pools have 50 each; at noon alpha loses 40 for an hour."""
    messages = [
        report(pool, hashrate=50.0, start=NOON - hour * HOUR, end=NOON - (hour - 1) * HOUR)
        for hour in range(3, 26)
        for pool in ("alpha", "beta")
    ]
    for minute in range(-120, 182):
        falls = 0 <= minute < 60
        for pool, hashrate in (("alpha", 10.0 if falls else 50.0), ("beta", 50.0)):
            messages.append(report(pool, hashrate=hashrate, start=NOON + minute * MINUTE))
    return messages


def offline(messages: Iterable[Message], first: datetime, last: datetime) -> list[Swing]:
    cells = MemoryCells()
    for message in messages:
        cells.add(message)
    return list(detect(cells, minutes_between(first, last), BELIEFS))


@pytest.fixture(scope="module")
def expected() -> list[Swing]:
    """The events of alpha from the first minute to the last."""
    events = offline(a_pool_falls(), FIRST, LAST)
    assert [event.state for event in events] == ["firing"] * 3 + ["resolved"]
    return events


def pipeline(
    settings: Settings, at: datetime, **more: Any
) -> AbstractAsyncContextManager[LivePipeline]:
    return live_pipeline(settings, BELIEFS, at, **{"first_minutes": 1} | more)


async def test_each_minute_is_evaluated_as_it_passes(
    settings: Settings, expected: list[Swing]
) -> None:
    last = expected[-1].at
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        found: list[Swing] = []
        for minute in range((last - FIRST) // MINUTE + 1):
            await live.evaluate(FIRST + minute * MINUTE)
            stored = await live.events(FIRST)
            found += stored[len(found) :]
            assert all(event.at == FIRST + minute * MINUTE for event in stored[len(found) :])
        assert found == expected
        assert await published_swings(settings, len(expected)) == expected


async def test_a_stop_of_three_hours_changes_no_event(
    settings: Settings, expected: list[Swing]
) -> None:
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        await live.evaluate(FIRST)
        await live.watchers[0].stop()
        await live.advance(LAST + DELAY)
        live.watch()
        await live.evaluate(LAST)
        assert await live.events(FIRST) == expected
        assert await published_swings(settings, len(expected)) == expected


async def test_a_minute_waits_until_the_consumer_has_processed_its_messages(
    settings: Settings, expected: list[Swing]
) -> None:
    async with pipeline(settings, FIRST, consumes=False) as live:
        live.add(a_pool_falls())
        await live.advance(FIRST + DELAY)
        await until(live.watch().is_waiting)
        assert (await live.swings.memory()).minute is None
        live.consume()
        assert await live.run(FIRST, LAST, step=60) == expected


async def test_two_processes_that_both_believe_that_they_lead_evaluate_each_minute_once(
    settings: Settings, expected: list[Swing], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leads(*_: object) -> bool:
        return True

    monkeypatch.setattr(SwingStore, "renew_leadership", leads)
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        await live.evaluate(FIRST)
        live.watch()
        assert await live.run(FIRST, LAST, step=20) == expected
        await until(lambda: _is_empty(live.swings))
        assert sum(watcher.counted() for watcher in live.watchers) == len(expected)
    published = await published_swings(settings, len(expected))
    assert {swing_id(event) for event in published} == {swing_id(expected[0])}


async def test_only_one_of_two_processes_leads(settings: Settings, expected: list[Swing]) -> None:
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        await live.evaluate(FIRST)
        other = live.watch()
        assert await live.run(FIRST, LAST, step=20) == expected
        assert other.counted() == 0
        assert await published_swings(settings, len(expected)) == expected


async def _is_done(swings: SwingStore) -> bool:
    """Whether a swing has become as severe as it can, and all events are in Kafka."""
    severities = [history[-1].severity for history in (await swings.since(NOON)).swings]
    return 50 in severities and await _is_empty(swings)


async def _is_empty(swings: SwingStore) -> bool:
    return not await swings.outbox(1)


@pytest.mark.parametrize("published", [False, True])
async def test_an_end_after_the_transaction_loses_no_event_and_doubles_none_in_the_list(
    settings: Settings, expected: list[Swing], monkeypatch: pytest.MonkeyPatch, *, published: bool
) -> None:
    """The process ends before Kafka has an event, or before that is removed from the outbox."""
    reached = asyncio.Event()

    async def stop_here(*_: object) -> list[bytes]:
        reached.set()
        return await asyncio.Future()

    middle = expected[1].at
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        with monkeypatch.context() as patched:
            patched.setattr(SwingStore, "remove_from_outbox" if published else "outbox", stop_here)
            await live.run(FIRST, middle, step=20)
            await reached.wait()
            await live.watchers[0].stop()
        live.watch()
        assert await live.run(FIRST, LAST, step=60) == expected
        await until(lambda: _is_empty(live.swings))
    found = await published_swings(settings, len(expected))
    assert without_repeats(found) == expected
    assert (len(found) > len(expected)) is published


async def test_killed_processes_lose_no_event_and_double_none_in_the_list(
    settings: Settings,
) -> None:
    """By the real clock: a pool has fallen an hour ago, and the first process finds it at once."""
    now = utc_now().replace(second=0, microsecond=0)
    ten = 10 * MINUTE
    reports = [
        report(pool, hashrate=hashrate, start=now - n * ten, end=now - (n - 1) * ten)
        for n in range(26 * 6, 0, -1)
        for pool, hashrate in (("alpha", 10.0 if n <= 7 else 50.0), ("beta", 50.0))
    ]
    await publish(settings, reports)
    async with connect(settings.redis) as redis:
        swings = SwingStore(redis, settings.retention)

        async def is_begun() -> bool:
            return (await swings.memory()).minute is not None

        for _ in range(3):
            async with StreamsProcess(settings) as process:
                await until(is_begun)
                await process.end(signal.SIGKILL)
            await redis.delete(keys.SWING_LEADER)  # as when the lease has expired
        async with StreamsProcess(settings):
            await until(lambda: _is_done(swings))
            stored = [event for history in (await swings.since(NOON)).swings for event in history]
    assert len(stored) == len(without_repeats(stored)) > 1
    published = without_repeats(await published_swings(settings, len(stored)))
    assert sorted(published, key=repr) == sorted(stored, key=repr)


async def test_after_more_than_a_day_swings_are_lost_and_the_last_hour_is_evaluated(
    settings: Settings, expected: list[Swing]
) -> None:
    fired = expected[0].at
    again = fired + 25 * HOUR
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        await live.run(FIRST, fired, step=60)
        await live.watchers[0].stop()
        await live.advance(again + DELAY)
        live.watch(first_minutes=60)
        await live.evaluate(again)
        lost, *_ = await live.events(fired + MINUTE)
        status = await live.swings.status()
    assert (lost.state, lost.started, lost.at) == ("lost", fired, again - 59 * MINUTE)
    assert (lost.delta, lost.severity) == (None, expected[0].severity)
    assert status is not None
    assert expected[0].started not in {event.started for event in status.firing}


async def test_exactly_a_day_is_caught_up(settings: Settings, expected: list[Swing]) -> None:
    fired = expected[0].at
    async with pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        await live.run(FIRST, fired, step=60)
        await live.watchers[0].stop()
        await live.advance(fired + DELAY + 24 * HOUR)
        live.watch()
        await live.evaluate(fired + 24 * HOUR)
        assert (await live.events(FIRST))[: len(expected)] == expected


# --- damage and loss ------------------------------------------------------------------------------


async def test_damage_loses_what_fires_and_ends_nothing(
    settings: Settings, expected: list[Swing], capsys: pytest.CaptureFixture[str]
) -> None:
    fired, resolved = expected[0].at, expected[-1].at
    async with connect(settings.redis) as redis, pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        await live.run(FIRST, fired, step=60)
        await live.watchers[0].stop()
        await redis.hset(keys.SWINGS, "tracks", '[{"subject":7}]')
        await redis.hset(keys.SWING_HOURS, "noon", "[")
        await redis.rpush(keys.SWING_OUTBOX, "{")
        live.watch()
        lost, begins, *_ = await live.run(fired + MINUTE, resolved, step=60)
        await until(lambda: _is_empty(live.swings))
        found = await published_swings(settings, 3)
    assert (lost.state, lost.started, lost.at) == ("lost", fired, fired + MINUTE)
    assert (begins.state, begins.at) == ("firing", fired + 11 * MINUTE)
    # The first one is published again if the stop came before Kafka had acknowledged it.
    assert without_repeats(found) == [expected[0], lost, begins]
    assert "swings_damaged" in capsys.readouterr().out


async def test_swings_go_on_after_a_loss_of_kafka_and_of_redis(
    settings: Settings, expected: list[Swing], clean_kafka: KafkaServer, redis: RedisServer
) -> None:
    fired = expected[0].at
    async with pipeline(settings, FIRST, consumes=False) as live:
        await live.evaluate(FIRST)
        (watcher,) = live.watchers
        clean_kafka.stop(signal.SIGKILL)
        await live.clock.set(fired + DELAY + MINUTE)
        await until(watcher.is_lost)
        await asyncio.to_thread(clean_kafka.start)
        await live.evaluate(fired + MINUTE)
        redis.stop()
        await live.clock.set(fired + DELAY + 2 * MINUTE)
        await until(watcher.is_lost)
        await asyncio.to_thread(redis.start)  # empty
        async with connect(settings.redis) as client:
            await empty(client)
        await live.evaluate(fired + 2 * MINUTE)
        await until(watcher.is_found)


async def test_what_fires_when_redis_is_emptied_is_lost_for_those_who_read_kafka(
    settings: Settings, expected: list[Swing]
) -> None:
    fired = expected[0].at
    async with connect(settings.redis) as redis, pipeline(settings, FIRST) as live:
        live.add(a_pool_falls())
        live.watch(published=partial(events_in_kafka, settings.kafka))
        before = await live.run(FIRST, fired + MINUTE, step=5)
        assert [event.state for event in before][-1] == "firing"
        await until(lambda: _is_empty(live.swings))
        await redis.flushall()
        await live.evaluate(fired + 2 * MINUTE)
        await until(lambda: _is_empty(live.swings))
        after = await live.events(fired)
    published = await published_swings(settings, len(before) + 1)
    lost = published[-1]
    assert lost == after[0]
    assert (lost.state, swing_id(lost)) == ("lost", swing_id(before[-1]))


async def test_a_value_of_a_wrong_type_in_redis_is_told_and_removed(
    settings: Settings, expected: list[Swing]
) -> None:
    async with connect(settings.redis) as redis, pipeline(settings, FIRST) as live:
        await redis.set(keys.SWINGS, "text")
        live.add(a_pool_falls())
        await live.advance(FIRST + DELAY)
        watcher = live.watch()

        async def is_told() -> bool:
            return "WRONGTYPE" in (watcher.state.reason or "")

        await until(is_told)
        assert await live.run(FIRST, LAST, step=60) == expected
