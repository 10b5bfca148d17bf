"""A worker that makes no progress ends itself, however it is stuck; one that waits does not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import pytest

from miningmap.redis_client import connect
from streams.method.cells import Series
from streams.redis.store import Store
from tests.servers import ROOT
from tests.streams.fixtures import network, report
from tests.streams.processes import DEADLINE_S, processed, publish, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from miningmap.settings import Settings
    from tests.servers import KafkaServer, RedisServer

pytestmark = pytest.mark.usefixtures("clean_kafka")

STALLED_S: Final = 4.0
WEDGES: Final = {
    "python": "event_loop_blocked",
    "c": "Timeout (",
    "redis": "stall_detected",
    "uncancelled": "stall_detected",
    "consumer": "the consumer ended by itself",
    "fetch": "stall_detected",
    "watchdog": "the consumer's progress is unknown",
}
SHORT: Final = ("c", "redis", "consumer", "watchdog")
long = pytest.mark.skipif("SLOW" not in os.environ, reason="many ways to wedge: set SLOW=1")


class Process:
    """A streams service, and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    async def says(self, text: str) -> None:
        async def is_said() -> bool:
            return text in self.log()

        await until(is_said)


@asynccontextmanager
async def wedged(
    how: str, settings: Settings, tmp_path: Path, *, stalled_s: float = STALLED_S
) -> AsyncIterator[Process]:
    log = tmp_path / "log"
    environment = os.environ | {
        "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "MININGMAP_KAFKA__GROUP": settings.kafka.group,
        "MININGMAP_KAFKA__SESSION_TIMEOUT_S": "6",
        "MININGMAP_REDIS__URL": settings.redis.url.get_secret_value(),
        "MININGMAP_RETENTION__MINUTES_H": "10000000",
        "MININGMAP_RETENTION__HOURS_D": "400000",
        "MININGMAP_STREAMS__METRICS_PORT": "0",
        "MININGMAP_STREAMS__STALLED_S": str(stalled_s),
    }
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.wedged", how, "streams"),
            cwd=ROOT,
            env=environment,
            stderr=stderr,
        )
    try:
        yield Process(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    "how", [how if how in SHORT else pytest.param(how, marks=long) for how in WEDGES]
)
async def test_a_wedged_worker_ends_itself(how: str, settings: Settings, tmp_path: Path) -> None:
    await publish(settings, [report(hashrate=1), network(2)])
    async with wedged(how, settings, tmp_path) as worker:
        await worker.says("service_started")
        started = monotonic()
        async with asyncio.timeout(DEADLINE_S):
            assert await worker.process.wait() == 1
        assert monotonic() - started < 30, "it took too long"
        assert WEDGES[how] in worker.log()


async def test_a_watchdog_whose_client_hangs_once_takes_another(
    settings: Settings, tmp_path: Path
) -> None:
    # On a machine that is busy with other tests, the next client needs longer than STALLED_S.
    async with wedged("watchdog-once", settings, tmp_path, stalled_s=30) as worker:
        await publish(settings, [report(hashrate=1), network(2)])
        await processed(settings)
        await worker.says("the next client works")
        await asyncio.to_thread(worker.process.send_signal, signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await worker.process.wait() == 0
        assert "stall_detected" not in worker.log()


async def test_a_worker_that_waits_for_redis_goes_on(
    settings: Settings, redis: RedisServer, tmp_path: Path
) -> None:
    """It waits for several times as long as it may be stalled, and is not restarted."""
    async with wedged("nothing", settings, tmp_path) as worker:
        await publish(settings, [report(hashrate=1)])
        await processed(settings)
        with redis.frozen():
            await publish(settings, [report("b", hashrate=1)])
            await worker.says("redis_unavailable")
            waiting = asyncio.create_task(worker.process.wait())
            await asyncio.wait({waiting}, timeout=3 * STALLED_S)
            assert not waiting.done(), worker.log()
        await processed(settings)
        async with connect(settings.redis) as client:
            cells = await Store(client, settings.retention).cells.read([])
        assert Series("b", "own") in set(cells.series())
        worker.process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await waiting == 0


@long
async def test_a_worker_whose_writes_redis_refuses_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    """Redis answers PING all the time, so only the attempts say that the worker waits for it."""
    async with wedged("nothing", settings, tmp_path) as worker, connect(settings.redis) as client:
        await publish(settings, [report(hashrate=1)])
        await processed(settings)
        await client.config_set("maxmemory", "1mb")
        try:
            await publish(settings, [report("b", hashrate=1)])
            waiting = asyncio.create_task(worker.process.wait())
            await asyncio.wait({waiting}, timeout=3 * STALLED_S)
            assert not waiting.done(), worker.log()
        finally:
            await client.config_set("maxmemory", "0")
        await processed(settings)
        worker.process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await waiting == 0


@long
async def test_a_worker_that_waits_for_kafka_goes_on(
    settings: Settings, clean_kafka: KafkaServer, tmp_path: Path
) -> None:
    async with wedged("nothing", settings, tmp_path) as worker:
        await publish(settings, [report(hashrate=1)])
        await processed(settings)
        with clean_kafka.frozen():
            await worker.says("kafka_unavailable")
            waiting = asyncio.create_task(worker.process.wait())
            await asyncio.wait({waiting}, timeout=3 * STALLED_S)
            assert not waiting.done(), worker.log()
        await publish(settings, [report("b", hashrate=1)])
        await processed(settings)
        worker.process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await waiting == 0
