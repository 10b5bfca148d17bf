from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from aiohttp.test_utils import TestClient, TestServer

from collector.polling.reports import parse_readings
from collector.registry import load
from collector.sources.base import NetworkSource, PoolSource, Reading
from launch.simulation import World, history, simulated_sources
from launch.simulation.partner import PUSHED_POOL, daily_rows
from launch.simulation.servers import make_app
from launch.simulation.world import hour_means
from miningmap.cbeci import contribution_rows as partner_rows
from miningmap.messages import Message, Network, Report, decode, encode
from miningmap.places import country_of
from miningmap.times import DAY_S, HOUR_S, MINUTE_S, bucket
from streams.method.beliefs import Beliefs
from streams.method.cells import MemoryCells
from streams.method.windows import ROLLING
from streams.queries.parameters import SharesParameters
from streams.queries.shares import answer_from

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def polled_slugs() -> set[str]:
    """The slugs of the pool sources that the history has reports of."""
    return {source.slug for source in simulated_sources() if isinstance(source, PoolSource)}


def by_length(messages: Iterable[Message], length: timedelta) -> list[Message]:
    return [message for message in messages if message.end - message.start == length]


def reports_of(messages: Iterable[Message], source: str, length: timedelta) -> list[Report]:
    return [
        message
        for message in by_length(messages, length)
        if isinstance(message, Report) and message.source == source
    ]


def test_the_history_is_the_same_each_time(texas: World, origin: datetime) -> None:
    first = list(history(texas, origin, days=2, minutes_h=1))
    hour_means.cache_clear()  # so that it is computed again
    again = history(World(texas.seed, origin, texas.scenario), origin, days=2, minutes_h=1)
    assert list(again) == first


def test_another_seed_has_another_history(texas: World, origin: datetime) -> None:
    one = list(history(texas, origin, days=1, minutes_h=1))
    other = list(history(World(2, origin, texas.scenario), origin, days=1, minutes_h=1))
    assert one != other


def test_every_message_is_valid_and_simulated(past: list[Message]) -> None:
    for message in past:
        assert decode(encode(message)) == message
        assert message.simulated


def test_reports_have_the_basis_of_their_source(past: list[Message]) -> None:
    found = {(message.source, message.basis) for message in past if isinstance(message, Report)}
    declared = {(s.slug, s.basis) for s in simulated_sources() if isinstance(s, PoolSource)}
    assert found == declared | {("partner", "reported")}


def test_the_history_is_small_enough_to_be_published_at_start(past: list[Message]) -> None:
    assert 10_000 < len(past) < 25_000


def test_messages_are_in_the_order_of_fetching_and_not_from_the_future(
    past: list[Message], origin: datetime
) -> None:
    fetched = [message.fetched_at for message in past]
    assert fetched == sorted(fetched)
    assert fetched[-1] <= origin
    assert all(MINUTE >= m.fetched_at - m.end > timedelta(0) for m in past if m.source != "partner")


def test_minutes_are_held_and_hours_and_days_are_not(past: list[Message]) -> None:
    for message in past:
        long = message.length_s >= HOUR_S
        assert (message.hold_s == 0) == long


def test_every_source_reports_each_hour_of_thirty_days_except_in_outages(
    past: list[Message], origin: datetime
) -> None:
    last = bucket(origin, HOUR_S)
    all_hours = set(range(last - 720, last))
    for source in sorted(polled_slugs() - {"ocean"}):
        hours = {bucket(r.start, HOUR_S) for r in reports_of(past, source, HOUR)}
        assert hours == all_hours, source
    silent = all_hours - {bucket(r.start, HOUR_S) for r in reports_of(past, "ocean", HOUR)}
    assert silent == set(range(last - 50, last - 43))
    assert {bucket(m.start, HOUR_S) for m in by_length(past, HOUR) if isinstance(m, Network)} == (
        all_hours
    )


def test_every_source_reports_each_minute_of_the_last_hours(
    past: list[Message], origin: datetime
) -> None:
    last = bucket(origin, MINUTE_S)
    for source in sorted(polled_slugs()):
        minutes = {bucket(r.start, MINUTE_S) for r in reports_of(past, source, MINUTE)}
        assert minutes == set(range(last - 180, last)), source


def test_the_network_is_known_in_every_minute_of_the_last_hour(
    past: list[Message], origin: datetime
) -> None:
    recent = [m for m in past if isinstance(m, Network) and m.length_s < HOUR_S]
    for n in range(60):
        at = origin - n * MINUTE
        assert any(m.start <= at < m.end + timedelta(seconds=m.hold_s) for m in recent)


def test_the_network_and_the_pools_are_over_the_same_blocks(
    past: list[Message], origin: datetime
) -> None:
    cells = MemoryCells()
    for message in past:
        cells.add(message)
    for window in ROLLING:
        query = SharesParameters(window=window).query(origin)
        network = answer_from(cells, query, Beliefs()).network
        assert network is not None
        assert network.source == "blocks_24h", window


def test_partners_report_thirty_days_each(past: list[Message], origin: datetime) -> None:
    pushed = reports_of(past, "partner", DAY)
    days = Counter(report.pool for report in pushed)
    assert set(days.values()) == {30}
    assert set(days) == {"foundryusa", "f2pool", "viabtc", "luxor", "braiinspool"}
    today = bucket(origin, DAY_S)
    newest = {report.pool: today - bucket(report.start, DAY_S) for report in pushed}
    assert newest == {"foundryusa": 2, "luxor": 2, "f2pool": 1, "viabtc": 1, "braiinspool": 1}


def test_one_partner_reports_live_as_well(past: list[Message], origin: datetime) -> None:
    minutes, hours = (reports_of(past, "partner", length) for length in (MINUTE, HOUR))
    assert {report.pool for report in [*minutes, *hours]} == {PUSHED_POOL}
    last = bucket(origin, MINUTE_S)
    assert [bucket(report.start, MINUTE_S) for report in minutes] == list(range(last - 180, last))
    assert [report.start.hour for report in hours] == list(range(15))
    assert all(report.start.date() == origin.date() for report in hours)


def test_partners_locate_all_hashrate_as_measured(past: list[Message]) -> None:
    for report in (m for m in past if isinstance(m, Report) and m.source == "partner"):
        assert {place.kind for place in report.places} == {"measured"}
        assert report.hashrate == pytest.approx(sum(p.hashrate for p in report.places))


def test_countries_provinces_and_states_are_located(past: list[Message]) -> None:
    codes = {p.code for m in past if isinstance(m, Report) for p in m.places if p.hashrate > 0}
    assert {"US", "CA", "RU", "KZ", "ET", "DE", "IE", "NO", "PY", "AE", "OM"} <= {
        country_of(code) for code in codes
    }
    assert {"CN-SC", "CN-XJ", "CN-YN", "CN-NM", "CN-GZ", "CN-ZJ"} <= codes
    assert {"US-TX", "US-GA", "US-KY", "US-NY", "US-WA"} <= codes


def test_only_one_pool_reports_zhejiang(past: list[Message]) -> None:
    shown = {
        m.pool
        for m in past
        if isinstance(m, Report)
        for place in m.places
        if place.code == "CN-ZJ" and place.hashrate > 0.05 * m.hashrate
    }
    assert shown == {"viabtc"}


def test_an_implausible_example_is_an_error(
    texas: World, origin: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = replace(load("pools/ocean"), parse=lambda _bodies: [Reading("ocean", 1e25)])
    monkeypatch.setattr(sys.modules[history.__module__], "simulated_sources", lambda: [toy])
    with pytest.raises(ValueError, match="pools/ocean: its example is not plausible: 1e"):
        list(history(texas, origin, days=1, minutes_h=1))


def test_blocks_of_unknown_pools_are_not_reported_as_a_pool(past: list[Message]) -> None:
    assert "unknown" not in {m.pool for m in past if isinstance(m, Report)}


def test_the_hashrate_of_foundry_is_falling_at_the_end(past: list[Message]) -> None:
    hashrates = [report.hashrate for report in reports_of(past, "foundry", MINUTE)]
    assert all(hashrate < 0.8 * hashrates[0] for hashrate in hashrates[-60:])


def test_nothing_is_fetched_before_its_time(texas: World, origin: datetime) -> None:
    midnight = origin.replace(hour=0, minute=0, second=0)
    just_before = list(history(texas, midnight, days=2, minutes_h=1))
    just_after = list(history(texas, midnight + timedelta(minutes=5), days=2, minutes_h=1))
    yesterday = bucket(midnight, DAY_S) - 1

    def newest_row(messages: list[Message]) -> int:
        return max(bucket(r.start, DAY_S) for r in reports_of(messages, "partner", DAY))

    assert newest_row(just_before) == yesterday - 1
    assert newest_row(just_after) == yesterday
    assert max(m.end for m in by_length(just_before, HOUR)) == midnight - HOUR
    assert max(m.end for m in by_length(just_after, HOUR)) == midnight


@pytest.mark.parametrize("ago", [0, 75, 179])  # minutes: in the curtailment, its start, before
async def test_the_live_collector_reads_the_readings_of_the_history(
    texas: World, past: list[Message], origin: datetime, ago: int
) -> None:
    at = origin.replace(second=0) - ago * MINUTE
    recent = [message for message in past if message.end == at and message.length_s < HOUR_S]
    expected = {
        source: {(m.pool, m.hashrate, m.places) for m in reports_of(recent, source, MINUTE)}
        for source in polled_slugs()
    }
    networks = {m.source: m.hashrate for m in recent if isinstance(m, Network)}
    async with TestClient(TestServer(make_app(texas, lambda: at))) as client:
        for source in simulated_sources():
            bodies = []
            for request in source.requests:
                url = urlsplit(request.url)
                async with client.get(f"/{url.hostname}{url.path}?{url.query}") as response:
                    assert response.status == 200
                    bodies.append(await response.read())
            readings = parse_readings(source, bodies)
            if isinstance(source, NetworkSource):
                if bucket(at, source.poll_s) * source.poll_s == at.timestamp():
                    assert [r.hashrate for r in readings] == [pytest.approx(networks[source.slug])]
                continue
            got = {(r.pool, r.hashrate, r.places) for r in readings if isinstance(r, Reading)}
            assert got == expected[source.slug], source.slug
            assert got


def test_the_live_intake_makes_the_reports_of_the_history_from_the_rows(
    texas: World, past: list[Message]
) -> None:
    pushed = [r for r in reports_of(past, "partner", DAY) if r.pool in {"viabtc", "foundryusa"}]
    for report in pushed[-6:]:
        rows = daily_rows(texas, report.pool, report.start.date())
        ((period, read_rows),) = partner_rows.read(rows, report.fetched_at).items()
        assert report == partner_rows.report(
            period, read_rows, report.pool, fetched_at=report.fetched_at, simulated=True
        )
