"""A ledger that Redis has lost is read from Kafka again: on a real Kafka and a real Redis."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from structlog.testing import capture_logs

from collector.intake import follower as following
from collector.intake.app import intake_app
from collector.intake.follower import Follower
from collector.intake.ledger import Ledger
from collector.intake.partners import Partner, Partners
from collector.intake.rate_limit import RateLimiter
from collector.metrics import Metrics
from collector.outbox import MessagePublisher
from miningmap import messages as wire
from miningmap import settings as config
from miningmap.cbeci.contribution import PATH
from miningmap.cbeci.contribution_rows import Period
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Located, Report
from miningmap.plausibility import KnownFigures
from miningmap.redis_client import connect
from tests.collector.intake.fakes import daily_row as row
from tests.servers import kafka_at, recreate_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from redis.asyncio import Redis

    from collector.outbox import Outgoing, ReportWithRows
    from tests.servers import KafkaServer

pytestmark = pytest.mark.integration

POOL = "foundryusa"
DAY = Period(datetime(2026, 11, 1, tzinfo=UTC), "daily")
KEY = f"mm:intake:{{{POOL}}}:ledger"
DEADLINE_S = 60
PARTNERS = [Partner("partner-1", POOL, 1), Partner("partner-2", "viabtc", 2)]


async def nothing_known() -> KnownFigures:
    return KnownFigures()


class Collector:
    """An intake with all that it needs, from its start to its end."""

    def __init__(self, servers: str, redis_url: str, hours_d: int = 35) -> None:
        self.store: Redis = connect(config.Redis(url=SecretStr(redis_url)), patient=False)
        self.ledger = Ledger(self.store)
        self.pools = {POOL}
        self.follower = Follower(kafka_at(servers), self.ledger, lambda: self.pools, hours_d)
        kafka = config.Kafka(bootstrap_servers=servers)
        self.publisher = MessagePublisher(kafka, acknowledged=lambda _: None)
        self.dies_after_kafka = False
        tokens = [(each, hashlib.sha256(each.name.encode()).hexdigest()) for each in PARTNERS]
        app = intake_app(
            Partners(tokens).authenticate,
            self._publish,
            self.ledger,
            RateLimiter([]),
            follows=self.follower,
            known=nothing_known,
            retention=config.Retention(),
            metrics=Metrics(CollectorRegistry()),
            simulated=False,
        )
        self.server = TestServer(app)

    async def _publish(self, messages: Sequence[Outgoing | ReportWithRows]) -> None:
        await self.publisher.publish(messages)
        if self.dies_after_kafka:
            raise ConnectionResetError

    async def answer(self, *rows: object, partner: int = 1) -> tuple[int, Any, str | None]:
        headers = {"Authorization": f"Bearer partner-{partner}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.server.make_url(PATH), json={"data": rows}, headers=headers
            ) as response,
        ):
            return response.status, await response.json(), response.headers.get("Retry-After")

    async def push(self, *rows: object, partner: int = 1) -> int:
        return (await self.answer(*rows, partner=partner))[0]


@asynccontextmanager
async def running(collector: Collector) -> AsyncIterator[Collector]:
    async with (
        asyncio.timeout(DEADLINE_S),
        collector.store,
        collector.publisher,
        collector.server,
        asyncio.TaskGroup() as tasks,
    ):
        task = tasks.create_task(collector.follower.run())
        yield collector
        task.cancel()


@pytest.fixture
async def make(clean_kafka: KafkaServer, redis_url: str) -> Callable[..., Collector]:
    return lambda **options: Collector(clean_kafka.bootstrap_servers, redis_url, **options)


@pytest.fixture
async def collector(make: Callable[..., Collector]) -> AsyncIterator[Collector]:
    async with running(make()) as collector:
        yield collector


@pytest.fixture
async def second(make: Callable[..., Collector]) -> AsyncIterator[Collector]:
    async with running(make()) as collector:
        yield collector


async def reports(kafka: KafkaServer) -> list[Report]:
    async with open_reader(kafka_at(kafka.bootstrap_servers), [REPORTS]) as reader:
        messages = [wire.decode(value) async for values in reader.batches() for value in values]
    return [message for message in messages if isinstance(message, Report)]


async def shown(kafka: KafkaServer, pool: str = POOL) -> dict[str, float]:
    """The day's report that the map shows: the one with the latest ``fetched_at``."""
    of_the_day = [r for r in await reports(kafka) if (r.start, r.pool) == (DAY.start, pool)]
    latest = max(of_the_day, key=lambda report: report.fetched_at)
    return {place.code: place.hashrate for place in latest.places}


# --- losses ---------------------------------------------------------------------------------------


async def test_a_correction_after_redis_has_lost_all_removes_no_row(
    collector: Collector, clean_kafka: KafkaServer
) -> None:
    assert await collector.push(row("US", 5), row("CA", 1)) == 200
    await collector.store.flushall()
    assert await collector.push(row("US", 6)) == 200
    assert await shown(clean_kafka) == {"US": 6e18, "CA": 1e18}
    assert (await collector.ledger.read(POOL, [DAY]))[DAY] == {"US": 6e18, "CA": 1e18}


async def test_a_correction_by_a_new_process_on_an_empty_redis_removes_no_row(
    make: Callable[..., Collector], clean_kafka: KafkaServer
) -> None:
    async with running(make()) as first:
        assert await first.push(row("US", 5), row("CA", 1)) == 200
        await first.store.flushall()
    with capture_logs() as logs:
        async with running(make()) as next_one:
            assert await next_one.push(row("US", 6)) == 200
    assert await shown(clean_kafka) == {"US": 6e18, "CA": 1e18}
    assert [log["event"] for log in logs if log["event"].startswith("ledger_")] == [
        "ledger_rebuilding",
        "ledger_complete",
    ]


async def test_a_loss_is_noticed_without_a_request(collector: Collector) -> None:
    assert await collector.push(row("US", 5)) == 200
    await collector.store.delete(KEY)
    async with asyncio.timeout(DEADLINE_S):
        while not (await collector.ledger.read(POOL, [DAY]))[DAY]:
            pass
    assert (await collector.ledger.read(POOL, [DAY]))[DAY] == {"US": 5e18}


async def test_an_older_copy_of_redis_removes_no_row(
    collector: Collector, second: Collector, clean_kafka: KafkaServer
) -> None:
    assert await collector.push(row("US", 5)) == 200
    copy = await collector.store.dump(KEY)
    assert copy is not None
    assert await second.push(row("CA", 1)) == 200
    assert await collector.push(row("KZ", 2)) == 200
    await collector.store.restore(KEY, 0, copy, replace=True)
    assert await collector.push(row("US", 6)) == 200
    assert await shown(clean_kafka) == {"US": 6e18, "CA": 1e18, "KZ": 2e18}


async def test_an_older_copy_of_redis_is_made_up_for_by_a_new_process(
    make: Callable[..., Collector], clean_kafka: KafkaServer
) -> None:
    async with running(make()) as first:
        assert await first.push(row("US", 5)) == 200
        copy = await first.store.dump(KEY)
        assert copy is not None
        assert await first.push(row("CA", 1)) == 200
        await first.store.restore(KEY, 0, copy, replace=True)
    async with running(make()) as next_one:
        assert await next_one.push(row("US", 6)) == 200
    assert await shown(clean_kafka) == {"US": 6e18, "CA": 1e18}


async def test_two_collectors_lose_no_row_while_redis_loses_all_again_and_again(
    collector: Collector, second: Collector, clean_kafka: KafkaServer
) -> None:
    codes = ["US", "CA", "KZ", "RU", "CN", "IR", "MY", "NO", "SE", "PY", "BR", "DE"]

    async def push_until_accepted(which: Collector, code: str) -> None:
        while await which.push(row(code)) != 200:
            pass

    async def lose() -> None:
        for _ in range(4):
            await asyncio.sleep(0.3)
            await collector.store.flushall()

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(lose())
        for number, code in enumerate(codes):
            tasks.create_task(push_until_accepted((collector, second)[number % 2], code))
    assert set(await shown(clean_kafka)) == set(codes)
    assert await second.push(row("US", 2)) == 200
    assert await shown(clean_kafka) == dict.fromkeys(codes, 1e18) | {"US": 2e18}


async def test_a_process_that_dies_between_kafka_and_redis_loses_no_row(
    collector: Collector, second: Collector, clean_kafka: KafkaServer
) -> None:
    assert await collector.push(row("US", 5)) == 200
    collector.dies_after_kafka = True
    assert await collector.push(row("CA", 1)) == 503
    assert await second.push(row("KZ", 2)) == 200
    assert await shown(clean_kafka) == {"US": 5e18, "CA": 1e18, "KZ": 2e18}


async def test_a_kafka_that_has_lost_its_reports_removes_no_row(
    make: Callable[..., Collector], clean_kafka: KafkaServer
) -> None:
    async with running(make()) as first:
        for hashrate in range(1, 6):
            assert await first.push(row("US", hashrate), row("CA", 1)) == 200
    await recreate_topics(clean_kafka.bootstrap_servers)
    async with running(make()) as next_one:
        assert await next_one.push(row("US", 6)) == 200
        assert await next_one.push(row("KZ", 6)) == 200
    assert await shown(clean_kafka) == {"US": 6e18, "CA": 1e18, "KZ": 6e18}


# --- while it is read -----------------------------------------------------------------------------


async def test_until_all_is_read_a_request_is_refused_with_the_reason(
    collector: Collector, clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await collector.push(row("US", 5), row("CA", 1)) == 200
    may_go_on = asyncio.Event()
    finish = collector.ledger.finish

    async def later(*args: Any) -> bool:
        await may_go_on.wait()
        return await finish(*args)

    monkeypatch.setattr(collector.ledger, "finish", later)
    monkeypatch.setattr(following, "WAIT_S", 0.2)
    await collector.store.flushall()
    async with asyncio.timeout(DEADLINE_S):
        while not "".join(collector.follower.notes()).endswith("100% done"):
            await collector.store.ping()
    status, document, retry_after = await collector.answer(row("US", 6))
    assert (status, retry_after) == (503, "30")
    assert "read from Kafka" in document["error"]
    (note,) = collector.follower.notes()
    assert note.startswith("the ledger of partners' rows is read from Kafka: ")
    assert len(await reports(clean_kafka)) == 1

    may_go_on.set()
    async with asyncio.timeout(DEADLINE_S):
        while await collector.push(row("US", 6)) != 200:
            pass
    assert (collector.follower.notes(), collector.follower.complete_ratio()) == ([], 1)
    assert await shown(clean_kafka) == {"US": 6e18, "CA": 1e18}


async def test_without_kafka_a_request_is_refused(
    redis_url: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "WAIT_S", 0.5)
    async with running(Collector(f"127.0.0.1:{unused_tcp_port}", redis_url)) as collector:
        while "cannot be read" not in "".join(collector.follower.notes()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        status, document, _ = await collector.answer(row("US", 6))
    assert status == 503
    assert "the ledger of partners' rows cannot be read: Kafka at" in document["error"]


async def test_a_pool_whose_partner_comes_later_is_read_by_itself(
    collector: Collector, make: Callable[..., Collector], clean_kafka: KafkaServer
) -> None:
    async with running(make()) as other:
        other.pools = {"viabtc"}
        assert await other.push(row("US", 5), row("CA", 1), partner=2) == 200
        await other.store.flushall()
    assert await collector.push(row("US", 6), partner=2) == 200
    assert await shown(clean_kafka, "viabtc") == {"US": 6e18, "CA": 1e18}
    assert await collector.push(row("US", 6)) == 200


# --- what is read ---------------------------------------------------------------------------------


async def test_rows_that_share_a_code_stay_apart(
    collector: Collector, clean_kafka: KafkaServer
) -> None:
    assert await collector.push(row("Channel Islands", 5), row("Other", 1)) == 200
    await collector.store.flushall()
    assert await collector.push(row("Other", 2)) == 200
    assert await shown(clean_kafka) == {"OTHER": 7e18}


async def test_what_another_program_has_published_is_kept(
    collector: Collector, clean_kafka: KafkaServer
) -> None:
    now = datetime.now(UTC)
    published = Report(
        pool=POOL,
        source="partner",
        start=DAY.start,
        end=DAY.end,
        hold_s=0,
        hashrate=10e18,
        places=(Located("US", 5e18, "measured"), Located("OTHER", 1e18, "measured")),
        fetched_at=now,
        simulated=False,
    )
    await collector.publisher.publish([published])
    assert await collector.push(row("CA", 1), row("Other", 2)) == 200
    (_, last) = await reports(clean_kafka)
    assert await shown(clean_kafka) == {"US": 5e18, "OTHER": 2e18, "CA": 1e18}
    assert last.hashrate == pytest.approx(12e18)  # 4e18 are not located
    assert last.fetched_at > now


async def test_no_datum_in_kafka_or_redis_stops_the_ledger(
    make: Callable[..., Collector], clean_kafka: KafkaServer
) -> None:
    """One of each kind: the last month there is, times before the epoch, no report, no JSON."""
    fields = {"schema": "report/1", "pool": POOL, "source": "partner", "hold_s": 0, "places": []}
    figures = {"hashrate": 1e18, "simulated": False, "fetched_at": "9999-12-31T23:59:59.999999Z"}
    times = [
        {"start": "9999-12-01T00:00:00Z", "end": "9999-12-31T00:00:00Z"},
        {"start": "9999-12-31T22:00:00Z", "end": "9999-12-31T23:00:00Z"},
        {"start": "0001-01-01T00:00:00Z", "end": "0001-01-02T00:00:00Z"},
        {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"},
    ]
    values = [json.dumps(fields | figures | each).encode() for each in times]
    values += [b'{"source":"partner"', b'["partner"]', b"\xff partner", b""]
    records = [Record(REPORTS, POOL.encode(), value, (("rows", b"{"),)) for value in values]
    async with Publisher(
        config.Kafka(bootstrap_servers=clean_kafka.bootstrap_servers), frozenset({REPORTS})
    ) as publisher:
        await publisher.publish(records)
    collector = make()
    await collector.store.hset(KEY, "position:x", "no number")
    async with running(collector):
        assert await collector.push(row("US", 5)) == 200
        assert (await collector.ledger.read(POOL, [DAY]))[DAY] == {"US": 5e18}


async def test_a_fault_of_this_software_is_logged_and_ends_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await collector.push(row("US", 5)) == 200
    follow = collector.ledger.follow

    async def fails(*_: Any) -> bool:
        raise RuntimeError("a bug")

    with capture_logs() as logs:
        monkeypatch.setattr(collector.ledger, "follow", fails)
        async with asyncio.timeout(DEADLINE_S):
            while "ledger_failed" not in [log["event"] for log in logs]:
                await collector.store.ping()
        monkeypatch.setattr(collector.ledger, "follow", follow)
    assert await collector.push(row("CA", 1)) == 200


async def test_rows_of_hours_that_are_accepted_again_are_read_again(
    make: Callable[..., Collector], clean_kafka: KafkaServer
) -> None:
    hour = (datetime.now(UTC) - timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    period = Period(hour, "hourly")
    sent = {"period": "hourly", "period_start_date": f"{hour:%Y-%m-%dT%H}"}
    async with running(make(hours_d=31)) as first:
        assert await first.push(row("US", 5, **sent), row("CA", 1, **sent)) == 200
        await first.follower.known(POOL)  # else it would add what it reads afterwards
        await first.ledger.forget_hours(POOL, hour + timedelta(hours=1))
        assert (await first.ledger.read(POOL, [period]))[period] == {}
    async with running(make(hours_d=400)) as longer:
        assert await longer.push(row("US", 6, **sent)) == 200
    latest = max(await reports(clean_kafka), key=lambda report: report.fetched_at)
    assert {place.code: place.hashrate for place in latest.places} == {"US": 6e18, "CA": 1e18}
