from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.simulation import SCENARIOS, World, beliefs, chain
from launch.simulation.noise import noise
from launch.simulation.pools import BY_SLUG, MEASURED, POOLS
from launch.simulation.scenarios import Curtailment
from launch.simulation.world import day_mean, hour_means
from miningmap.places import country_of, is_locatable
from miningmap.times import DAY_S, HOUR_S, bucket
from streams.beliefs import load_only
from streams.method.beliefs import Rule
from tests.examples import examples

if TYPE_CHECKING:
    from pathlib import Path

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

times = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants naive bounds
slugs = st.sampled_from([pool.slug for pool in POOLS])
seeds = st.integers(0, 2**32)


@given(seeds, times, slugs)
def test_the_same_seed_and_time_give_the_same_world(seed: int, at: datetime, pool: str) -> None:
    assert World(seed, at).located(pool, at) == World(seed, at).located(pool, at)


def test_another_process_sees_the_same_world(texas: World, origin: datetime) -> None:
    program = (
        "import json, sys; from datetime import datetime; from launch.simulation import World;"
        "at = datetime.fromisoformat(sys.argv[1]);"
        "print(json.dumps(World(1, at).located('foundryusa', at)))"
    )
    command = [sys.executable, "-c", program, origin.isoformat()]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert json.loads(answer.stdout) == texas.located("foundryusa", origin)


def test_another_seed_gives_another_world(origin: datetime) -> None:
    assert World(1, origin).network(origin) != World(2, origin).network(origin)


@given(seeds, times)
def test_the_network_has_about_950_exahashes_and_is_the_sum_of_its_pools(
    seed: int, at: datetime
) -> None:
    world = World(seed, at, SCENARIOS["calm"])
    assert world.network(at) == pytest.approx(950e18, rel=0.15)
    assert world.network(at) == pytest.approx(
        sum(world.hashrate(pool.slug, at) for pool in POOLS), rel=1e-12
    )


@given(seeds, times, slugs)
def test_a_pool_has_about_its_share_and_its_places_add_up_to_it(
    seed: int, at: datetime, slug: str
) -> None:
    world = World(seed, at, SCENARIOS["calm"])
    located = world.located(slug, at)
    assert all(hashrate > 0 for hashrate in located.values())
    assert math.fsum(located.values()) == world.hashrate(slug, at)
    assert world.hashrate(slug, at) / world.network(at) == pytest.approx(
        BY_SLUG[slug].share, rel=0.2
    )


@given(seeds, times, slugs)
def test_without_events_hashrates_are_continuous(seed: int, at: datetime, slug: str) -> None:
    world = World(seed, at, SCENARIOS["calm"])
    before, after = world.located(slug, at), world.located(slug, at + SECOND)
    assert after == pytest.approx(before, rel=1e-4)


@given(seeds, st.floats(-1e10, 1e10), st.floats(60, 1e6))
def test_noise_stays_within_its_bounds_and_is_continuous(
    seed: int, at_s: float, grid_s: float
) -> None:
    here, near = noise(seed, "x", at_s, grid_s), noise(seed, "x", at_s + grid_s / 1e4, grid_s)
    assert -1 <= here <= 1
    assert abs(here - near) <= 4e-4


def test_noise_is_positive_and_negative() -> None:
    drawn = [noise(1, "x", n * 60.0, 60) for n in range(1000)]
    assert min(drawn) < -0.9
    assert max(drawn) > 0.9


def test_sichuan_has_more_in_the_wet_season_and_xinjiang_has_less() -> None:
    wet, dry = datetime(2026, 8, 23, tzinfo=UTC), datetime(2026, 2, 21, tzinfo=UTC)
    world = World(1, wet, SCENARIOS["calm"])
    parts = [
        {
            place: h / world.hashrate("f2pool", at)
            for place, h in world.located("f2pool", at).items()
        }
        for at in (wet, dry)
    ]
    assert parts[0]["CN-SC"] > 1.3 * parts[1]["CN-SC"]
    assert parts[0]["CN-XJ"] < 0.9 * parts[1]["CN-XJ"]


def test_the_tables_of_pools_are_complete() -> None:
    assert math.fsum(pool.share for pool in POOLS) == pytest.approx(1)
    for pool in POOLS:
        assert math.fsum(pool.places.values()) == pytest.approx(1), pool.slug
        assert all(map(is_locatable, pool.places)), pool.slug
        assert all(map(is_locatable, pool.prior or {})), pool.slug


def test_no_measured_pool_has_a_country_beside_its_subdivisions() -> None:
    for pool in MEASURED:
        parts = {country_of(code) for code in pool.places if "-" in code}
        assert not parts & set(pool.places), pool.slug


def test_beliefs_are_a_prior_for_pools_that_nobody_measures_and_a_rule(tmp_path: Path) -> None:
    path = tmp_path / "beliefs.json"
    path.write_text(json.dumps(beliefs("viabtc")))
    loaded = load_only(path)
    assert len(loaded.pools) >= 5
    assert not {pool.slug for pool in MEASURED} & {each.pool for each in loaded.pools}
    for prior in loaded.pools:
        (entry,) = prior.series
        assert prior.pool is not None
        assert not prior.declared
        assert BY_SLUG[prior.pool].prior == pytest.approx(entry.weights)
    assert loaded.rules == [Rule("cn-zhejiang", "CN-ZJ", frozenset({"viabtc"}))]
    assert (loaded.network, loaded.claims, loaded.part_of) == ([], [], {})


def test_texas_is_curtailed_at_some_pools_at_the_origin(
    texas: World, calm: World, origin: datetime
) -> None:
    for pool in ("foundryusa", "luxor", "marapool"):
        with_it, without = texas.located(pool, origin), calm.located(pool, origin)
        assert with_it["US-TX"] == pytest.approx(0.1 * without["US-TX"])
        assert {p: h for p, h in with_it.items() if p != "US-TX"} == {
            p: h for p, h in without.items() if p != "US-TX"
        }
    assert texas.located("f2pool", origin) == calm.located("f2pool", origin)


def test_texas_is_not_curtailed_before_and_after_the_event(
    texas: World, calm: World, origin: datetime
) -> None:
    for since in (timedelta(hours=-2), timedelta(hours=7)):
        at = origin + since
        assert texas.located("foundryusa", at) == calm.located("foundryusa", at)


@given(st.integers(-180, 180))
def test_a_curtailment_is_limited_by_its_depth(minutes: int) -> None:
    event = Curtailment(
        "US-TX", frozenset(), timedelta(0), timedelta(hours=1), 0.8, timedelta(minutes=10)
    )
    left = event.left(timedelta(minutes=minutes))
    assert 0.2 - 1e-12 <= left <= 1
    assert (left == 1) == (not 0 < minutes < 60)


def test_a_pool_has_no_hashrate_during_an_outage(texas: World, origin: datetime) -> None:
    minutes = [origin + timedelta(minutes=n) for n in range(30)]
    up = [texas.is_up("solock", at) for at in minutes]
    assert up[0]
    assert up[-1]
    assert up.count(False) == 8
    for at, is_up in zip(minutes, up, strict=True):
        assert (texas.hashrate("solock", at) > 0) == is_up
        assert texas.is_up("foundryusa", at)


def test_an_interval_that_overlaps_an_outage_is_not_up(texas: World, origin: datetime) -> None:
    start, end = origin + timedelta(minutes=2), origin + timedelta(minutes=10)
    assert not texas.is_up_over("solock", start - DAY, end + DAY)
    assert not texas.is_up_over("solock", end - SECOND, end + SECOND)
    assert texas.is_up_over("solock", end, end + DAY)
    assert texas.is_up_over("solock", start - DAY, start - SECOND)


def test_a_days_mean_is_the_mean_of_its_hours(texas: World, origin: datetime) -> None:
    day = bucket(origin, DAY_S) - 3
    hours = [hour_means(texas, day * 24 + n)["viabtc"]["KZ"] for n in range(24)]
    assert day_mean(texas, "viabtc", day)["KZ"] == pytest.approx(sum(hours) / 24)


def test_an_hours_mean_lies_within_the_range_of_the_hour(texas: World, origin: datetime) -> None:
    hour = bucket(origin, HOUR_S) - 2  # the curtailment of Texas begins in it
    start = datetime.fromtimestamp(hour * HOUR_S, UTC)
    seen = [texas.located("foundryusa", start + n * timedelta(minutes=5)) for n in range(13)]
    for place, mean in hour_means(texas, hour)["foundryusa"].items():
        assert min(s[place] for s in seen) <= mean <= max(s[place] for s in seen)


@examples(20)
@given(times)
def test_a_day_has_about_144_blocks(at: datetime) -> None:
    world = World(1, at, SCENARIOS["calm"])
    assert 143 <= chain.blocks_by_pool(world, at, DAY).total() <= 145


def test_pools_find_blocks_in_proportion_to_their_share(calm: World, origin: datetime) -> None:
    found = chain.blocks_by_pool(calm, origin, 10 * DAY)
    for pool in POOLS:
        assert found[pool.slug] / found.total() == pytest.approx(pool.share, abs=0.01)


def test_a_pool_finds_no_block_during_an_outage(texas: World, origin: datetime) -> None:
    end = origin - timedelta(hours=44)
    out = chain.blocks_by_pool(texas, end - timedelta(hours=1), timedelta(hours=4))
    assert out["ocean"] == 0
    assert out.total() > 20


@given(times)
def test_heights_grow_with_time(at: datetime) -> None:
    world = World(1, at)
    height = chain.height(world, at)
    assert chain.found_at(world, height) <= at < chain.found_at(world, height + 1)
    assert chain.height(world, at + timedelta(minutes=20)) > height


def test_heights_are_realistic(calm: World) -> None:
    height = chain.height(calm, datetime(2026, 10, 27, tzinfo=UTC))
    assert height == pytest.approx(973_413, abs=2)


def test_an_unlisted_pool_has_a_small_hashrate(calm: World, origin: datetime) -> None:
    hashrate = calm.hashrate("a-new-pool", origin)
    assert 1e16 < hashrate < 1e-4 * calm.network(origin)
    assert calm.hashrate("a-new-pool", origin + DAY) == pytest.approx(hashrate, rel=0.2)


def test_the_estimate_of_the_network_is_accurate(calm: World, origin: datetime) -> None:
    truth = sum(calm.network(origin - n * timedelta(hours=1)) for n in range(24)) / 24
    assert chain.estimated_network(calm, origin, DAY) == pytest.approx(truth, rel=0.02)
