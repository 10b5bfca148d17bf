"""``/readyz`` and the exit of the collector and of streams, with real Kafka and Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import ClientConnectionError, ClientSession

from launch.local.embedded import free_port
from miningmap.kafka import producer
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.redis_client import connect
from miningmap.times import utc_now
from streams.method.cells import claims_of
from streams.queries.snapshot import TAKEN_AT
from streams.redis import keys
from streams.redis.store import Store
from tests.servers import ROOT, delete_topics
from tests.streams.fixtures import report
from tests.streams.processes import processed, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from miningmap.settings import Settings
    from tests.servers import KafkaServer, RedisServer

DEADLINE_S: Final = 60.0
SERVICES: Final = ("collector", "streams")
TOPIC_OF: Final = {"collector": NETWORK, "streams": DEAD_LETTERS}
MINUTE: Final = timedelta(minutes=1)
# How long a service takes at most to stop, as docs/operating.md promises, in seconds.
STOP_S: Final = 10.0

pytestmark = pytest.mark.usefixtures("clean_kafka")


class Service:
    """A service in a process of its own."""

    def __init__(self, name: str, settings: Settings, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self.env = {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "MININGMAP_KAFKA__GROUP": settings.kafka.group,
            "MININGMAP_REDIS__URL": settings.redis.url.get_secret_value(),
            f"MININGMAP_{name.upper()}__METRICS_PORT": str(self.port),
            "MININGMAP_INTAKE__PORT": "0",
            "MININGMAP_COLLECTOR__SOURCES": "[]",
        }
        self.process: asyncio.subprocess.Process

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the process during the block."""
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.impatient", self.name),
                cwd=ROOT,
                env={**os.environ, **self.env},
                stderr=log,
            )
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield
        finally:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()

    async def until_ready(self) -> None:
        """Wait until ``/readyz`` answers 200."""
        while await self._reason() is not None:  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.05)

    async def until_unready(self, words: str) -> None:
        """Wait until ``/readyz`` answers 503 with a reason that contains some words."""
        while words not in (await self._reason() or ""):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.05)

    async def up(self, dependency: str) -> str:
        """Return the value of ``miningmap_dependency_up``."""
        _, text = await self._get("/metrics")
        name = f'miningmap_dependency_up{{dependency="{dependency}"}} '
        return next(line for line in text.splitlines() if line.startswith(name)).split()[-1]

    def lines(self) -> list[dict[str, object]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def _reason(self) -> str | None:
        try:
            status, text = await self._get("/readyz")
        except ClientConnectionError:  # not listening yet
            assert self.process.returncode is None, self.log.read_text()
            return ""
        assert status in {200, 503}
        return None if status == 200 else json.loads(text)["detail"]

    async def _get(self, path: str) -> tuple[int, str]:
        async with (
            ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as response,
        ):
            return response.status, await response.text()


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Service:
    return Service(request.param, settings, tmp_path)


async def test_a_service_is_ready_only_while_kafka_and_redis_are_available_and_stops_without_them(
    service: Service, clean_kafka: KafkaServer, redis: RedisServer
) -> None:
    async with service.running():
        await service.until_ready()
        assert [await service.up(name) for name in ("kafka", "redis")] == ["1.0", "1.0"]
        with redis.frozen():
            await service.until_unready("Redis is unavailable: ")
            assert await service.up("redis") == "0.0"
        await service.until_ready()
        with clean_kafka.frozen():
            await service.until_unready(f"Kafka at {clean_kafka.bootstrap_servers}: ")
            assert await service.up("kafka") == "0.0"
        await service.until_ready()
        await delete_topics(clean_kafka.bootstrap_servers, REPORTS)
        await service.until_unready(f"no topic {REPORTS}; run `miningmap topics`")
        with clean_kafka.frozen(), redis.frozen():
            await service.until_unready("no answer within")
            await service.until_unready("Redis is unavailable: ")
            service.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S):
                assert await service.process.wait() == 0
    lines = service.lines()
    assert lines[-1]["event"] == "service_stopped"
    assert [line for line in lines if "exception" in line] == []


async def test_a_lasting_loss_of_kafka_is_a_few_lines_and_snapshots_go_on(
    service: Service, settings: Settings, clean_kafka: KafkaServer
) -> None:
    async with service.running():
        await service.until_ready()
        clean_kafka.stop(signal.SIGKILL)
        await service.until_unready("Kafka at ")
        if service.name == "streams":
            await change_shares(settings)  # there is nothing to publish otherwise for a minute
            await until_another_snapshot(settings)
            await until_logged(service, "snapshots_not_published")
        service.process.send_signal(signal.SIGTERM)
        assert await service.process.wait() == 0
    lines = service.lines()
    causes = Counter((line["logger"], line["event"]) for line in lines if line["level"] != "info")
    assert ("miningmap.kafka.producer", "kafka_unavailable") in causes
    assert "snapshots_unavailable" not in {line["event"] for line in lines}
    assert len(lines) < 40


async def change_shares(settings: Settings) -> None:
    """Write a report to Redis that did not come from Kafka."""
    message = report(places={"US": 1e18}, start=utc_now() - MINUTE, hold_s=300)
    async with connect(settings.redis) as redis:
        store = Store(redis, settings.retention)
        await store.writer.write([(message, claims_of(message))])


async def until_another_snapshot(settings: Settings) -> None:
    """Wait for a new snapshot, for less than a publication takes to fail.

    Without a change there is one every 5 s.
    """
    async with connect(settings.redis) as redis, asyncio.timeout(producer.TIMEOUT_S):
        before = await redis.hget(keys.SNAPSHOTS, TAKEN_AT)
        while await redis.hget(keys.SNAPSHOTS, TAKEN_AT) == before:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.02)


async def until_logged(service: Service, event: str) -> None:
    """Wait until an event is in the log."""
    while event not in service.log.read_text():
        assert service.process.returncode is None, service.log.read_text()
        await asyncio.sleep(0.05)


async def test_a_topic_that_is_missing_at_the_start_ends_the_service(
    service: Service, clean_kafka: KafkaServer
) -> None:
    topic = TOPIC_OF[service.name]
    await delete_topics(clean_kafka.bootstrap_servers, topic)
    async with service.running():
        assert await service.process.wait() == 2
    assert service.log.read_text().splitlines()[-1] == (
        "miningmap: MININGMAP_KAFKA__BOOTSTRAP_SERVERS: Kafka at "
        f"{clean_kafka.bootstrap_servers}: no topic {topic}; run `miningmap topics`"
    )


@pytest.mark.parametrize("name", [*SERVICES, "endpoint"])
async def test_a_wrong_password_at_the_start_ends_the_service(
    name: str, settings: Settings, tmp_path: Path
) -> None:
    service = Service(name, settings, tmp_path)
    service.env |= {"MININGMAP_REDIS__PASSWORD": "wrong", "MININGMAP_ENDPOINT__PORT": "0"}
    del service.env[f"MININGMAP_{name.upper()}__METRICS_PORT"]
    service.env |= {
        "MININGMAP_COLLECTOR__METRICS_PORT": "0",
        "MININGMAP_STREAMS__METRICS_PORT": "0",
    }
    async with connect(settings.redis) as redis:
        await redis.config_set("requirepass", "right")
        try:
            async with service.running():
                assert await service.process.wait() == 2
        finally:
            await redis.config_set("requirepass", "")
    log = service.log.read_text()
    assert log.splitlines()[-1].startswith(
        "miningmap: MININGMAP_REDIS__PASSWORD: Redis refuses it: "
    )
    assert "Traceback" not in log
    assert "wrong" not in log


async def pools(operator: Redis) -> set[str]:
    """Return the pools that have cells."""
    found = operator.scan_iter(match="mm:*:{p:*}:own:meta")
    return {key.decode().partition("{p:")[2].partition("}")[0] async for key in found}


async def test_a_full_redis_is_told_and_outlived_and_nothing_is_lost(
    service: Service, settings: Settings
) -> None:
    # A write is tried again after 5 s at most, so it takes that long until the backlog is less.
    service.env["MININGMAP_STREAMS__STALLED_S"] = "8"
    now = utc_now().replace(second=0, microsecond=0)
    reports = [report(f"pool{n}", {"US": 1e18}, start=now - n * MINUTE) for n in range(40)]
    async with connect(settings.redis) as operator, service.running():
        await service.until_ready()
        await operator.config_set("maxmemory", 1_000_000)
        try:
            await publish(settings, reports)
            await service.until_unready("Redis is full: give it more memory (maxmemory)")
            assert await service.up("redis") == "0.0"
            if service.name == "streams":
                # For longer than no message may be committed, snapshots go on.
                for _ in range(3):
                    await until_another_snapshot(settings)
                assert await pools(operator) == set()
            assert service.process.returncode is None
        finally:
            await operator.config_set("maxmemory", 0)
        await service.until_ready()
        if service.name == "streams":
            await processed(settings)
            assert await pools(operator) == {each.pool for each in reports}
        service.process.send_signal(signal.SIGTERM)
        assert await service.process.wait() == 0
    lines = service.lines()
    events = {line["event"] for line in lines}
    assert {"redis_full", "redis_available"} <= events
    assert not {"stall_detected", "dead_letters_published"} & events
    # On a machine that is busy with other tests, Redis may answer an impatient service too late.
    unavailable = {line["error"] for line in lines if line["event"] == "redis_unavailable"}
    assert unavailable <= {"TimeoutError"}
    assert [line for line in lines if "exception" in line] == []
