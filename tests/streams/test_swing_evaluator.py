"""The evaluator of swings on a real Redis: what it fills in, and where it begins."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog
from pydantic import SecretStr

from miningmap import settings as config
from miningmap.metrics import new_registry
from miningmap.redis_client import connect
from miningmap.swings import decode_swing
from miningmap.times import MINUTE_S, bucket
from streams import service
from streams.method.annotations import Annotation
from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells, claims_of
from streams.method.comparison import PAIRS
from streams.method.swings import SwingSettings
from streams.metrics import Metrics
from streams.queries.swings import comparisons_over
from streams.redis import keys
from streams.redis.store import Store
from streams.redis.swing_store import SwingStore
from streams.worker.swing_evaluator import Evaluator
from tests.notify.events import pool
from tests.streams.fixtures import NOON, empty, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LAST = bucket(NOON, MINUTE_S)
THIS_HOUR = LAST // 60


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    await empty(client)
    yield client
    await client.aclose()


def evaluator(redis: Redis, retention: config.Retention = FOR_EVER, **more: Any) -> Evaluator:
    return Evaluator(
        Store(redis, FOR_EVER),
        Beliefs(),
        settings=SwingSettings(),
        retention=retention,
        metrics=Metrics(new_registry()),
        **more,
    )


async def evaluate(evaluator: Evaluator, last: int) -> None:
    while await evaluator.evaluate(last):
        pass


async def test_an_hour_is_evaluated_at_once_where_nothing_is_remembered(redis: Redis) -> None:
    one = evaluator(redis)
    assert one.is_due(LAST)
    assert await one.evaluate(LAST) == 1  # up to the end of the hour that the first minute is in
    assert await one.evaluate(LAST) == 0
    assert not one.is_due(LAST)
    assert (await SwingStore(redis, FOR_EVER).memory()).minute == LAST


async def test_past_hours_are_filled_in_as_far_as_their_windows_are_whole(redis: Redis) -> None:
    await evaluate(evaluator(redis, config.Retention()), LAST)
    hours, damage = await SwingStore(redis, FOR_EVER).hours()
    assert not damage
    assert sorted(hours) == list(range(THIS_HOUR - 168, THIS_HOUR + 1))
    both, (_, long) = {pair.name for pair in PAIRS}, PAIRS
    assert {hour for hour in hours if hours[hour].keys() == both} == {
        *range(THIS_HOUR - 48, THIS_HOUR + 1)
    }
    assert all(long.name in deltas for deltas in hours.values())


async def test_the_deltas_that_are_filled_in_are_those_of_the_cells(redis: Redis) -> None:
    cells = MemoryCells()
    reports = [
        report(
            pool, hashrate=50.0 + n % 7, start=NOON - n * HOUR / 2, end=NOON - (n - 1) * HOUR / 2
        )
        for n in range(1, 400)
        for pool in "ab"
    ]
    for each in reports:
        cells.add(each)
    await Store(redis, FOR_EVER).writer.write([(each, claims_of(each)) for each in reports])
    await evaluate(evaluator(redis), LAST)
    hours, _ = await SwingStore(redis, FOR_EVER).hours()
    comparisons = comparisons_over(cells, Beliefs())
    for hour in (THIS_HOUR, THIS_HOUR - 1, THIS_HOUR - 100):
        for pair in PAIRS:
            at = NOON - (THIS_HOUR - hour) * HOUR
            assert hours[hour][pair.name] == comparisons.at(at, pair).deltas


async def test_a_damaged_hour_is_computed_again_and_the_others_are_not(redis: Redis) -> None:
    await evaluate(evaluator(redis), LAST)
    for hour in (THIS_HOUR - 3, THIS_HOUR - 2):
        await redis.hset(keys.SWING_HOURS, str(hour), '{"1h/24h":{"pools":{"a":{"own":1}}}}')
    await redis.hset(keys.SWING_HOURS, str(THIS_HOUR - 2), "{")
    await evaluate(evaluator(redis), LAST + 1)
    hours, damage = await SwingStore(redis, FOR_EVER).hours()
    assert not damage
    assert hours[THIS_HOUR - 2].keys() == {pair.name for pair in PAIRS}
    assert hours[THIS_HOUR - 3]["1h/24h"].pools == {"a": {"own": 1.0}}


async def test_hours_are_kept_as_long_as_they_tell_the_noise(redis: Redis) -> None:
    one = evaluator(redis)
    await evaluate(one, LAST)
    await evaluate(one, LAST + 180)
    hours, _ = await SwingStore(redis, FOR_EVER).hours()
    assert sorted(hours) == list(range(THIS_HOUR + 3 - 168, THIS_HOUR + 4))


@pytest.mark.parametrize(("ahead", "begins"), [(10, LAST + 11), (1500, LAST - 59)])
async def test_a_minute_of_the_future_is_waited_for_unless_it_is_too_far(
    redis: Redis, ahead: int, begins: int
) -> None:
    await redis.hset(keys.SWINGS, "minute", LAST + ahead)
    one = evaluator(redis)
    await one.evaluate(LAST)
    memory = await SwingStore(redis, FOR_EVER).memory()
    if begins > LAST:
        assert memory.minute == LAST + ahead
        assert one.is_due(begins)
        assert not one.is_due(begins - 1)
    else:
        assert memory.minute == LAST - 1  # the end of the hour in which it begins


async def test_a_clock_that_was_far_ahead_is_not_waited_for(redis: Redis) -> None:
    one = evaluator(redis)
    await evaluate(one, LAST + 1500)
    assert not one.is_due(LAST + 1500)
    assert not one.is_due(LAST + 61)
    assert one.is_due(LAST)
    await evaluate(one, LAST)
    assert (await SwingStore(redis, FOR_EVER).memory()).minute == LAST


def test_the_service_warns_of_least_changes_for_pools_that_nobody_knows(redis: Redis) -> None:
    settings = config.load()
    settings.swings.overrides = {"US-TX": 0.03, "foundryusa": 0.2, "foundry-usa": 0.2}
    store = Store(redis, FOR_EVER)
    with structlog.testing.capture_logs() as log:
        service._evaluator(settings, store, Beliefs(), Metrics(new_registry()))
    (told,) = log
    assert told["event"] == "swings_name_unknown_pools"
    (error,) = told["errors"]
    assert "'foundry-usa'" in error
    assert "foundryusa" in error


def test_the_service_shows_annotations_and_mutes_those_of_the_settings(redis: Redis) -> None:
    settings = config.load()
    settings.swings.muted = ["annotations/a", "annotations/unknown"]
    annotation = Annotation("annotations/a", UTC, pools=frozenset({"foundryusa"}))
    with structlog.testing.capture_logs() as log:
        made = service._evaluator(
            settings,
            Store(redis, FOR_EVER),
            Beliefs(annotations=[annotation]),
            Metrics(new_registry()),
        )
    (told,) = log
    assert told["event"] == "muted_annotations_unknown"
    assert "'annotations/unknown'" in told["errors"][0]
    shown = made._annotate(decode_swing(pool("foundryusa")), None)
    assert (shown.annotations, shown.muted) == (("annotations/a",), True)
    other = decode_swing(pool("antpool"))
    assert made._annotate(other, None) == other
    # What follows an event that was not muted is not muted either.
    assert made._annotate(decode_swing(pool("foundryusa", minute=5)), other).muted is msgspec.UNSET
