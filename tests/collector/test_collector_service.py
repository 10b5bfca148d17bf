"""The collector service: requests to pools, reports in Kafka, metrics, and the intake."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr
from structlog.testing import capture_logs
from yarl import URL

from collector.catalogue import TrialError, describe, try_source
from collector.intake.partners import SETTING
from collector.intake.tokens import add, revoke
from collector.outbox import Outbox
from collector.polling.network_history import NetworkHistory
from collector.registry import discover
from collector.service import LostMessagesError, _collect, run
from collector.sources.base import TransientError
from launch.local.embedded import free_port
from miningmap import __version__
from miningmap import messages as wire
from miningmap import settings as config
from miningmap.cbeci.contribution import PATH
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Report
from miningmap.settings import SettingsError, load
from tests.servers import kafka_at
from tests.streams.fixtures import network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from collector.polling.poller import Poller
    from miningmap.settings import Settings
    from tests.collector.conftest import Pools
    from tests.servers import KafkaServer

RECORDINGS = Path(__file__).parents[1] / "recordings"
DEADLINE_S = 20


def recorded(path: str) -> list[bytes]:
    case = RECORDINGS / path / "ok"
    files = sorted(case.iterdir()) if case.is_dir() else [case]
    return [file.read_bytes() for file in files]


@pytest.fixture
def recordings(pools: Pools) -> None:
    """Respond to all sources with their recordings."""
    bodies = {}
    for source in discover():
        responses = recorded(source.path)
        for request, body in zip(source.requests_for(responses), responses, strict=True):
            url = URL(request.url)
            bodies[f"/{url.host}{url.path_qs}"] = body

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bodies[request.path_qs])

    pools.handler = handler


def configured(pools: Pools, servers: str = "127.0.0.1:1", **changed: object) -> Settings:
    settings = load()
    settings.kafka.bootstrap_servers = servers
    settings.collector = pools.settings(metrics_port=free_port(), poll_s=0.5, **changed)
    settings.intake.port = free_port()
    return settings


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        service = tasks.create_task(run(settings, stop))
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield
        finally:
            stop.set()
            async with asyncio.timeout(DEADLINE_S):
                await service


async def get(url: str) -> str:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    assert response.status == 200
                    return await response.text()
            except aiohttp.ClientConnectorError:  # not listening yet
                await asyncio.sleep(0.01)


@pytest.mark.usefixtures("recordings")
async def test_it_polls_without_kafka_and_stops_within_seconds(pools: Pools) -> None:
    settings = configured(pools)
    base = f"http://127.0.0.1:{settings.collector.metrics_port}"
    lost: list[str] = []
    with capture_logs() as logs:
        try:
            async with running(settings):
                assert json.loads(await get(f"{base}/healthz")) == {"status": "ok"}
                expected = {
                    'miningmap_pool_up{pool="foundryusa",source="foundry"} 1.0',
                    'miningmap_pool_up{pool="foundryusa",source="mempool"} 1.0',
                    'miningmap_pool_up{pool="antpool",source="antpool"} 1.0',
                    'miningmap_pool_up{pool="ocean",source="ocean"} 1.0',
                    'miningmap_pool_up{pool="solock",source="ckpool"} 1.0',
                    'miningmap_pool_up{pool="bitcoin",source="mempool"} 1.0',
                    f'miningmap_build_info{{version="{__version__}"}} 1.0',
                }
                while expected - set((await get(f"{base}/metrics")).splitlines()):
                    pass
                stopping = asyncio.get_running_loop().time()
        except* LostMessagesError as group:
            lost = errors_in(group)
    assert asyncio.get_running_loop().time() - stopping < 5
    events = [log["event"] for log in logs]
    assert [event for event in events if event.startswith(("service_", "messages_"))] == [
        "service_started",
        "messages_not_acknowledged",
        "messages_lost",
    ]
    (said,) = (log["messages"] for log in logs if log["event"] == "messages_lost")
    assert [text.partition(": ")[0] for text in lost] == [
        f"{said} messages that were polled are lost"
    ]


@pytest.mark.usefixtures("recordings")
async def test_what_was_polled_without_kafka_is_published_by_the_next_process(
    pools: Pools, clean_kafka: KafkaServer, tmp_path: Path
) -> None:
    settings = configured(pools, sources=["pools/foundry"])
    settings.collector.spool = tmp_path / "spool"
    base = f"http://127.0.0.1:{settings.collector.metrics_port}"
    polled = 'miningmap_source_requests_total{source="foundry"} 4.0'
    async with running(settings):
        while polled not in (await get(f"{base}/metrics")).splitlines():
            pass
    settings.kafka.bootstrap_servers = clean_kafka.bootstrap_servers
    settings.collector.sources = []
    async with running(settings):
        while not (found := await reports_in(clean_kafka)):
            pass
        assert "miningmap_spool_messages" in await get(f"{base}/metrics")
    times = [report.fetched_at for report in found]
    assert times == sorted(times)
    assert {report.source for report in found} == {"foundry"}
    assert len(found) >= 3


class FailingPoller:
    """A poller with a bug, which fails at once or only when it is cancelled."""

    def __init__(self, error: str, *, when_cancelled: bool = False) -> None:
        self._error = RuntimeError(error)
        self._when_cancelled = when_cancelled

    async def run(self, _spread_s: float) -> None:
        try:
            if self._when_cancelled:
                await asyncio.Event().wait()
        finally:
            raise self._error


def errors_in(group: BaseExceptionGroup[BaseException]) -> list[str]:
    return [
        text
        for error in group.exceptions
        for text in (errors_in(error) if isinstance(error, ExceptionGroup) else [str(error)])
    ]


async def fail(_records: Sequence[Record]) -> None:
    raise RuntimeError("outbox")


async def errors_of_collecting(
    *pollers: FailingPoller, outbox: Outbox, stop: asyncio.Event
) -> list[str]:
    history = NetworkHistory(config.Kafka(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(DEADLINE_S):
            await _collect(cast("list[Poller]", pollers), outbox, history, stop)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return sorted(errors_in(caught.value))


async def test_errors_of_all_tasks_are_raised_together() -> None:
    pollers = FailingPoller("one"), FailingPoller("two"), FailingPoller("3", when_cancelled=True)
    errors = await errors_of_collecting(*pollers, outbox=Outbox(fail), stop=asyncio.Event())
    assert errors == ["3", "one", "two"]


async def test_errors_while_stopping_are_raised() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)  # once the pollers run
    pollers = [FailingPoller(name, when_cancelled=True) for name in ("one", "two")]
    assert await errors_of_collecting(*pollers, outbox=Outbox(fail), stop=stop) == ["one", "two"]


async def test_the_intake_is_served(pools: Pools) -> None:
    settings = configured(pools, sources=[])
    url = f"http://127.0.0.1:{settings.intake.port}/cbeci/api/contribute/miners_geo_distribution"
    async with running(settings):
        await get(f"http://127.0.0.1:{settings.collector.metrics_port}/healthz")
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.post(url, json={}) as response:
                        assert response.status == 401
                        break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.01)


async def test_an_invalid_file_of_partners_is_named(pools: Pools, tmp_path: Path) -> None:
    settings = configured(pools, sources=[])
    settings.intake.partners_file = tmp_path
    with pytest.raises(SettingsError, match=f"^{SETTING}: cannot read .*: Is a directory"):
        await run(settings, asyncio.Event())


async def push(settings: Settings, token: str, *rows: object) -> int:
    """Push rows as soon as the intake is listening, and return the status of the response."""
    url = URL.build(scheme="http", host="127.0.0.1", port=settings.intake.port, path=PATH)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.post(url, json={"data": rows}, headers=headers) as response:
                    return response.status
            except aiohttp.ClientConnectorError:  # not listening yet
                await asyncio.sleep(0.01)


@pytest.fixture
def partners(tmp_path: Path) -> Path:
    """The file of the partners, of whom there are none yet."""
    return tmp_path / "partners.json"


@pytest.fixture
def only_intake(pools: Pools, clean_kafka: KafkaServer, redis_url: str, partners: Path) -> Settings:
    """Settings of a collector that polls no source, with real Kafka and Redis for its intake."""
    settings = configured(pools, clean_kafka.bootstrap_servers, sources=[])
    settings.redis.url = SecretStr(redis_url)
    settings.intake.partners_file = partners
    return settings


def new_token(partners: Path) -> str:
    """Add a partner of the pool foundryusa to the file, and return its token."""
    token, _ = add(partners, "partner-1", "foundryusa")
    return token


def texas(hashrate: float, province: str = "Texas") -> dict[str, object]:
    return {
        "period_start_date": "2026-09-01",
        "period": "monthly",
        "country": "United States",
        "province": province,
        "average_hashrate": hashrate,
        "unit": "eh/s",
    }


async def test_rows_of_several_requests_are_one_report_in_kafka_before_the_response(
    clean_kafka: KafkaServer, only_intake: Settings, partners: Path
) -> None:
    token = new_token(partners)

    async with running(only_intake):
        assert await push(only_intake, token, texas(1), texas(2, "Ohio")) == 200
        first = await reports_in(clean_kafka)
    # The next process continues with the ledger of this one.
    async with running(only_intake):
        assert await push(only_intake, token, texas(3)) == 200
        second = await reports_in(clean_kafka)

    assert [places_of(report) for report in first] == [{"US-OH": 2e18, "US-TX": 1e18}]
    assert second[:1] == first
    assert [places_of(report) for report in second[1:]] == [{"US-OH": 2e18, "US-TX": 3e18}]
    assert first[0].fetched_at < second[1].fetched_at


async def test_partners_are_compared_with_the_network_of_their_time_in_kafka(
    only_intake: Settings, partners: Path
) -> None:
    token = new_token(partners)
    september = datetime(2026, 9, 1, tzinfo=UTC)
    past = network(950e18, start=september, end=september + timedelta(days=30))
    invalid = Record(NETWORK, b"bitcoin", b"poison")
    async with Publisher(only_intake.kafka, frozenset({NETWORK})) as publisher:
        await publisher.publish([invalid, record_of(past)])
    async with running(only_intake):
        assert await push(only_intake, token, texas(20_000)) == 422
        assert await push(only_intake, token, texas(20)) == 200


async def test_tokens_can_be_added_and_revoked_while_it_runs(
    only_intake: Settings, partners: Path
) -> None:
    async with running(only_intake):
        assert await push(only_intake, "nobody") == 401
        token = new_token(partners)
        assert await push(only_intake, token) == 200
        revoke(partners, "partner-1")
        assert await push(only_intake, token) == 401


async def test_the_rates_of_a_token_come_from_the_settings(
    pools: Pools, partners: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_INTAKE__RATES", "[[2, 3600]]")
    settings = configured(pools, sources=[])
    settings.intake.partners_file = partners
    token = new_token(partners)
    async with running(settings):
        assert [await push(settings, token) for _ in range(3)] == [200, 200, 429]


async def reports_in(kafka: KafkaServer) -> list[Report]:
    """All reports that are in Kafka now."""
    async with open_reader(kafka_at(kafka.bootstrap_servers), [REPORTS]) as reader:
        messages = [wire.decode(value) async for values in reader.batches() for value in values]
    return [message for message in messages if isinstance(message, Report)]


def places_of(report: Report) -> dict[str, float]:
    return {place.code: place.hashrate for place in report.places}


@pytest.mark.parametrize("setting", ["COLLECTOR__METRICS_PORT", "INTAKE__PORT"])
async def test_a_port_in_use_is_named(pools: Pools, setting: str) -> None:
    settings = configured(pools, sources=[])
    assert pools.server.port is not None
    if setting == "INTAKE__PORT":
        settings.intake.port = pools.server.port
    else:
        settings.collector.metrics_port = pools.server.port
    with pytest.raises(SettingsError, match=f"MININGMAP_{setting}: cannot listen at 127.0.0.1:"):
        await run(settings, asyncio.Event())


@pytest.mark.integration
@pytest.mark.usefixtures("recordings")
async def test_reports_are_published_to_kafka(pools: Pools, clean_kafka: KafkaServer) -> None:
    settings = configured(pools, clean_kafka.bootstrap_servers, simulated=True)
    expected = {"foundry", "antpool", "ocean", "ckpool", "mempool"}
    found: dict[str, Any] = {}
    consumer = AIOKafkaConsumer(REPORTS, bootstrap_servers=clean_kafka.bootstrap_servers)
    await consumer.start()
    try:
        async with running(settings):
            while not expected <= set(found):
                message = wire.decode((await consumer.getone()).value)
                found[message.source] = message
            base = f"http://127.0.0.1:{settings.collector.metrics_port}"
            metrics = await get(f"{base}/metrics")
    finally:
        await consumer.stop()
    assert all(message.simulated for message in found.values())
    assert found["foundry"].hashrate == pytest.approx(2.33712345678e20)
    assert 'miningmap_reports_total{pool="ocean"}' in metrics
    published = re.search(
        r'^miningmap_kafka_request_duration_seconds_count\{operation="publish"\} (\S+)$',
        metrics,
        re.MULTILINE,
    )
    assert published is not None
    assert float(published[1]) >= 1
    assert "_created" not in metrics


async def test_a_source_can_be_tried_with_a_recorded_response() -> None:
    (message,) = await try_source("foundry", recorded("pools/foundry"), load())
    assert message.hashrate == pytest.approx(2.33712345678e20)
    assert message.end.isoformat() == "2026-09-12T10:05:00+00:00"


@pytest.mark.parametrize(
    ("name", "path", "count"),
    [
        ("mempool", "pools/mempool", 14),
        ("network/mempool", "network/mempool", 1),
        ("ckpool", "pools/ckpool", 1),
    ],
)
async def test_a_source_can_be_tried_by_slug_or_path(name: str, path: str, count: int) -> None:
    assert len(await try_source(name, recorded(path), load())) == count


@pytest.mark.usefixtures("recordings")
async def test_a_source_can_be_tried_live(pools: Pools) -> None:
    (message,) = await try_source("ocean", None, configured(pools, simulated=True))
    assert message.hashrate == 1.41e19
    assert message.simulated


async def test_trying_a_source_raises_its_errors(pools: Pools) -> None:
    pools.answer(status=503)
    with pytest.raises(TransientError, match=r"api\.ocean\.xyz: HTTP 503"):
        await try_source("ocean", None, configured(pools))


@pytest.mark.parametrize(
    ("name", "payloads", "error"),
    [
        ("ocaen", [b""], "unknown source 'ocaen'; expected one of: antpool, .*ckpool, "),
        (
            "ckpool",
            [b""],
            "ckpool needs 6 payloads, not 1: the responses of https://solo.ckpool.org/",
        ),
    ],
)
async def test_an_invalid_trial_is_an_error(name: str, payloads: list[bytes], error: str) -> None:
    with pytest.raises(TrialError, match=error):
        await try_source(name, payloads, load())


def test_the_list_of_sources_can_be_written_as_json() -> None:
    settings = load()
    settings.collector.sources = ["ocean"]
    rows = describe(settings)
    assert json.loads(json.dumps(rows)) == rows
    assert [row["slug"] for row in rows if row["state"] == "on"] == ["ocean"]
    assert {"auth", "poll_s", "poll_reason", "locates", "terms"} <= set(rows[0])
