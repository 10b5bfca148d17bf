"""Rows of several requests become one report: on a real Redis, with two collectors and failures."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from collector.intake.app import intake_app
from collector.intake.ledger import Entry, Known, Ledger
from collector.intake.partners import Partner, Partners
from collector.intake.rate_limit import RateLimiter
from collector.metrics import Metrics
from collector.outbox import ReportWithRows
from miningmap import settings as config
from miningmap.cbeci.contribution import PATH
from miningmap.cbeci.contribution_rows import Period
from miningmap.kafka.errors import BrokerError
from miningmap.messages import Report
from miningmap.plausibility import KnownFigures
from miningmap.redis_client import connect
from tests.collector.intake.fakes import daily_row as row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from redis.asyncio import Redis
    from structlog.typing import EventDict

    from miningmap.messages import Message
    from tests.servers import RedisServer

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
DAY = Period(datetime(2026, 11, 1, tzinfo=UTC), "daily")
MONTH = Period(datetime(2026, 10, 1, tzinfo=UTC), "monthly")
POOL = "foundryusa"
ONE = Partner("partner-1", POOL, 1)
OTHER = Partner("partner-2", POOL, 2)
NOTHING = Known()
DEADLINE_S = 20


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
async def store(redis_settings: config.Redis) -> AsyncIterator[Redis]:
    client = connect(redis_settings, patient=False)
    yield client
    await client.aclose()


class Kafka:
    """Holds what was published; ``first`` is awaited before that, ``then`` after it."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.first: Callable[[], Awaitable[object]] | None = None
        self.then: Callable[[], Awaitable[object]] | None = None

    async def publish(self, messages: Sequence[Message | ReportWithRows]) -> None:
        if first := self.first:
            self.first = None
            await first()
        reports = [m.report if isinstance(m, ReportWithRows) else m for m in messages]
        self.reports += [report for report in reports if isinstance(report, Report)]
        if then := self.then:
            self.then = None
            await then()

    def shown(self) -> dict[str, float]:
        """The day's report that the map shows: the one with the latest ``fetched_at``."""
        of_the_day = [report for report in self.reports if report.start == DAY.start]
        times = [report.fetched_at for report in of_the_day]
        assert len(set(times)) == len(times)
        latest = max(of_the_day, key=lambda report: report.fetched_at)
        return {place.code: place.hashrate for place in latest.places}


async def nothing_known() -> KnownFigures:
    return KnownFigures()


class Collector:
    """An intake over real HTTP."""

    def __init__(
        self, store: Redis, kafka: Kafka, partners: Sequence[Partner] = (ONE,), now: datetime = NOW
    ) -> None:
        tokens = [
            (partner, hashlib.sha256(partner.name.encode()).hexdigest()) for partner in partners
        ]
        app = intake_app(
            Partners(tokens).authenticate,
            kafka.publish,
            Ledger(store),
            RateLimiter([]),
            known=nothing_known,
            retention=config.Retention(),
            metrics=Metrics(CollectorRegistry()),
            simulated=False,
            now=lambda: now,
        )
        self.server = TestServer(app)

    async def push(self, *rows: object, partner: Partner = ONE) -> int:
        headers = {"Authorization": f"Bearer {partner.name}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.server.make_url(PATH), json={"data": rows}, headers=headers
            ) as response,
        ):
            if response.status == 503:
                assert int(response.headers["Retry-After"]) > 0
            return response.status


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
async def collector(store: Redis, kafka: Kafka) -> AsyncIterator[Collector]:
    collector = Collector(store, kafka)
    async with collector.server:
        yield collector


@pytest.fixture
async def second(redis_settings: config.Redis, kafka: Kafka) -> AsyncIterator[Collector]:
    """Another collector with the same Kafka and Redis, whose clock is an hour behind."""
    client = connect(redis_settings, patient=False)
    collector = Collector(client, kafka, now=NOW - timedelta(hours=1))
    async with collector.server:
        yield collector
    await client.aclose()


# --- rows of several requests ---------------------------------------------------------------------


async def test_each_hour_of_a_day_adds_up_by_itself(collector: Collector, kafka: Kafka) -> None:
    def hour(number: int, country: str) -> dict[str, object]:
        return row(country, period="hourly", period_start_date=f"2026-11-22T{number:02}")

    for sent in (hour(5, "US"), hour(6, "NO"), hour(5, "CA"), row("KZ")):
        assert await collector.push(sent) == 200
    shown = [(report.start.hour, [p.code for p in report.places]) for report in kafka.reports]
    assert shown == [(5, ["US"]), (6, ["NO"]), (5, ["CA", "US"]), (0, ["KZ"])]


async def test_earlier_rows_are_kept_and_a_row_sent_again_is_replaced(
    collector: Collector, kafka: Kafka
) -> None:
    assert await collector.push(row("US", 5), row("CA", 1)) == 200
    assert await collector.push(row("KZ", 2), row("Canada", 3)) == 200
    assert kafka.shown() == {"US": 5e18, "CA": 3e18, "KZ": 2e18}
    assert kafka.reports[-1].hashrate == 10e18
    assert await collector.push(row("US", 0)) == 200
    assert kafka.shown() == {"US": 0, "CA": 3e18, "KZ": 2e18}


async def test_a_retry_adds_nothing(collector: Collector, kafka: Kafka) -> None:
    for _ in range(3):
        assert await collector.push(row("US", 5), row("CA", 1)) == 200
    assert kafka.shown() == {"US": 5e18, "CA": 1e18}


async def test_overlapping_periods_are_separate_reports(collector: Collector, kafka: Kafka) -> None:
    for day in ("2026-10-01", "2026-10-02"):
        assert await collector.push(row("US", period_start_date=day)) == 200
    assert await collector.push(
        row("CA", period="monthly", period_start_date="2026-10-01"),
        row("KZ", period_start_date="2026-10-01"),
    )
    lengths = [
        (report.start.day, (report.end - report.start).days, [p.code for p in report.places])
        for report in kafka.reports
    ]
    assert lengths == [
        (1, 1, ["US"]),
        (2, 1, ["US"]),
        (1, 1, ["KZ", "US"]),
        (1, 31, ["CA"]),
    ]


async def test_a_bad_row_leaves_the_ledger_unchanged(
    collector: Collector, kafka: Kafka, store: Redis
) -> None:
    assert await collector.push(row("US", 5)) == 200
    assert await collector.push(row("CA", 1), row("Chnia", 1)) == 422
    assert await Ledger(store).read(POOL, [DAY]) == {DAY: {"US": 5e18}}
    assert len(kafka.reports) == 1


async def test_a_pools_next_partner_adds_to_its_rows(store: Redis, kafka: Kafka) -> None:
    """The map has one report of the pool: a renamed partner must not remove the rest of it."""
    collector = Collector(store, kafka, [ONE, OTHER])
    async with collector.server:
        assert await collector.push(row("US", 5)) == 200
        assert await collector.push(row("CA", 1), partner=OTHER) == 200
    assert kafka.shown() == {"US": 5e18, "CA": 1e18}


async def test_places_that_share_a_code_are_separate_rows(
    collector: Collector, kafka: Kafka
) -> None:
    assert await collector.push(row("Channel Islands", 5), row("Other", 1)) == 200
    assert await collector.push(row("Other *", 2)) == 200
    assert kafka.shown() == {"OTHER": 7e18}


# --- concurrent requests --------------------------------------------------------------------------


async def test_concurrent_requests_lose_no_row(
    collector: Collector, second: Collector, kafka: Kafka
) -> None:
    codes = ["US", "CA", "KZ", "RU", "CN", "IR", "MY", "NO", "SE", "PY"]
    async with asyncio.timeout(DEADLINE_S):
        statuses = await asyncio.gather(
            *((collector, second)[i % 2].push(row(code)) for i, code in enumerate(codes))
        )
    assert set(statuses) == {200}
    assert set(kafka.shown()) == set(codes)


async def test_a_concurrent_collector_costs_another_attempt_and_no_row(
    collector: Collector, second: Collector, kafka: Kafka
) -> None:
    kafka.first = lambda: second.push(row("CA", 1))
    assert await collector.push(row("US", 5)) == 200
    assert kafka.shown() == {"US": 5e18, "CA": 1e18}
    assert len(kafka.reports) == 3


async def test_of_two_rows_of_one_place_the_same_one_wins_in_kafka_and_ledger(
    collector: Collector, second: Collector, kafka: Kafka, store: Redis
) -> None:
    kafka.then = lambda: second.push(row("US", 1))
    assert await collector.push(row("US", 5)) == 200
    assert kafka.shown() == (await Ledger(store).read(POOL, [DAY]))[DAY] == {"US": 5e18}


async def test_later_reports_have_a_later_time_whatever_the_clocks_say(
    collector: Collector, second: Collector, kafka: Kafka
) -> None:
    assert await collector.push(row("US", 5)) == 200
    assert await second.push(row("CA", 1)) == 200  # an hour earlier by its clock
    assert await collector.push(row("KZ", 1)) == 200
    assert kafka.shown() == {"US": 5e18, "CA": 1e18, "KZ": 1e18}
    times = [report.fetched_at for report in kafka.reports]
    assert times == sorted(times)


async def begun(ledger: Ledger, pool: str = POOL, known: Known = NOTHING) -> datetime:
    """The version of a request that begins now."""
    turn = await ledger.begin(pool, NOW, [DAY], known)
    assert turn is not None
    return turn.version


async def test_an_outdated_version_writes_nothing(store: Redis) -> None:
    ledger = Ledger(store)
    early, late = await begun(ledger), await begun(ledger)
    assert early < late
    assert not await ledger.write(POOL, {DAY: {"US": 1.0}}, early, NOTHING)
    assert await ledger.read(POOL, [DAY]) == {DAY: {}}
    rows = {DAY: {"US": 1.0}, MONTH: {"CA": 0.1}}
    assert await ledger.write(POOL, rows, late, NOTHING)
    assert await ledger.read(POOL, [DAY, MONTH]) == rows
    turn = await ledger.begin(POOL, NOW, [MONTH, DAY], NOTHING)
    assert turn is not None
    assert turn.before == rows


async def test_pools_have_separate_versions(store: Redis) -> None:
    ledger = Ledger(store)
    version = await begun(ledger)
    assert await begun(ledger, "viabtc") == NOW
    assert await ledger.write(POOL, {DAY: {"US": 1.0}}, version, NOTHING)


async def test_figures_are_exact_and_do_not_expire(store: Redis) -> None:
    ledger = Ledger(store)
    rows = {DAY: {"US": 0.1 + 0.2, "CA": 1e18 / 3, "OTHER/channel islands": 5e-324}}
    assert await ledger.write(POOL, rows, await begun(ledger), NOTHING)
    assert await ledger.read(POOL, [DAY]) == rows
    (key,) = [key async for key in store.scan_iter("*")]
    assert key == b"mm:intake:{foundryusa}:ledger"
    assert await store.ttl(key) == -1


async def test_a_redis_that_has_less_than_is_known_takes_nothing(store: Redis) -> None:
    ledger = Ledger(store)
    version = await begun(ledger)
    for known in (Known({0: 1}), Known(turn=version + timedelta(microseconds=1))):
        assert await ledger.begin(POOL, NOW, [DAY], known) is None
        assert not await ledger.write(POOL, {DAY: {"US": 1.0}}, version, known)
        assert not await ledger.follow(POOL, {DAY: Entry(NOW, {"US": 1.0})}, known, {0: 5})
    assert await ledger.read(POOL, [DAY]) == {DAY: {}}
    assert await ledger.state(POOL) == ({}, 0)


async def test_what_is_built_is_complete_only_if_nothing_was_lost_meanwhile(store: Redis) -> None:
    ledger = Ledger(store)
    await ledger.start_building(POOL, "a")
    assert await ledger.build(POOL, "a", {DAY: Entry(NOW, {"US": 1.0})})
    await store.flushall()
    assert not await ledger.build(POOL, "a", {MONTH: Entry(NOW, {"US": 1.0})})
    assert not await ledger.finish(POOL, "a", {0: 5}, 35)
    await ledger.start_building(POOL, "b")
    assert await ledger.finish(POOL, "b", {0: 5, 1: 0}, 35)
    assert await ledger.state(POOL) == ({0: 5, 1: 0}, 35)


async def test_the_later_report_counts_in_whatever_order_they_are_applied(store: Redis) -> None:
    ledger = Ledger(store)
    later = NOW + timedelta(seconds=1)
    for version, hashrate in ((NOW, 1.0), (later, 2.0), (NOW, 3.0)):
        assert await ledger.follow(POOL, {DAY: Entry(version, {"US": hashrate})}, NOTHING, {})
    assert await ledger.read(POOL, [DAY]) == {DAY: {"US": 2.0}}
    assert await begun(ledger) == later + timedelta(microseconds=1)


async def test_only_rows_of_hours_are_forgotten(store: Redis) -> None:
    ledger = Ledger(store)
    hours = [Period(NOW - timedelta(hours=number), "hourly") for number in range(4)]
    rows = {period: {"US": 1.0} for period in (*hours, DAY, MONTH)}
    assert await ledger.write(POOL, rows, await begun(ledger), NOTHING)
    assert await ledger.forget_hours(POOL, NOW - timedelta(hours=1)) == 2
    kept = await ledger.read(POOL, rows)
    assert [period for period in rows if not kept[period]] == hours[2:]


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("redis_settings", ["single"], indirect=True)
async def test_without_redis_nothing_is_published(
    collector: Collector, kafka: Kafka, redis: RedisServer, logs: list[EventDict]
) -> None:
    redis.stop()
    assert await collector.push(row("US", 5)) == 503
    assert kafka.reports == []
    redis.start()
    assert await collector.push(row("US", 5)) == 200
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("intake_failed", "error"),
        ("intake_accepted", "info"),
    ]
    assert kafka.shown() == {"US": 5e18}


async def test_rows_that_kafka_did_not_acknowledge_are_not_in_the_ledger(
    collector: Collector, kafka: Kafka, store: Redis
) -> None:
    async def fail() -> None:
        raise BrokerError("no broker")

    assert await collector.push(row("US", 5)) == 200
    kafka.first = fail
    assert await collector.push(row("CA", 1)) == 503
    assert await Ledger(store).read(POOL, [DAY]) == {DAY: {"US": 5e18}}
    assert kafka.shown() == {"US": 5e18}


async def test_a_retry_repairs_a_failure_between_kafka_and_ledger(
    collector: Collector, second: Collector, kafka: Kafka, store: Redis
) -> None:
    """Like a killed process: the report is in Kafka, and the partner got no response."""

    async def die() -> None:
        raise ConnectionResetError

    assert await collector.push(row("US", 5)) == 200
    kafka.then = die
    assert await collector.push(row("CA", 1)) == 503
    assert kafka.shown() == {"US": 5e18, "CA": 1e18}
    assert await Ledger(store).read(POOL, [DAY]) == {DAY: {"US": 5e18}}
    # The retry reaches a collector whose clock is behind the first one's.
    assert await second.push(row("CA", 1)) == 200
    assert kafka.shown() == (await Ledger(store).read(POOL, [DAY]))[DAY] == {"US": 5e18, "CA": 1e18}


async def test_rows_that_were_never_acknowledged_are_replaced_by_the_next_rows(
    collector: Collector, second: Collector, kafka: Kafka
) -> None:
    async def die() -> None:
        raise ConnectionResetError

    kafka.then = die
    assert await collector.push(row("CA", 1)) == 503
    assert await second.push(row("US", 5)) == 200
    assert kafka.shown() == {"US": 5e18}


async def test_a_retry_repairs_a_redis_failure_between_kafka_and_ledger(
    collector: Collector, kafka: Kafka, store: Redis
) -> None:
    assert await collector.push(row("US", 5)) == 200
    kafka.then = lambda: store.config_set("maxmemory", "1")
    try:
        assert await collector.push(row("CA", 1), row("US", 6)) == 503
    finally:
        await store.config_set("maxmemory", "0")
    assert await Ledger(store).read(POOL, [DAY]) == {DAY: {"US": 5e18}}
    assert await collector.push(row("CA", 1), row("US", 6)) == 200
    assert kafka.shown() == (await Ledger(store).read(POOL, [DAY]))[DAY] == {"US": 6e18, "CA": 1e18}
