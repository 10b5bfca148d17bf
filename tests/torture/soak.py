"""The soak: a hundred times the normal load, while memory, descriptors and tasks stay flat.

Normal is 50 pools with 20 places each, once a minute. Here each of them posts 100 times a minute,
about the last two hours, so the number of cells soon stays the same; readers ask the API meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from redis.asyncio import Redis

from miningmap.live_rows import PATH
from tests.torture.load import rfc3339
from tests.torture.observed import read_positions

if TYPE_CHECKING:
    from tests.torture.system import System

POOLS: Final = tuple(f"soak-{number:02}" for number in range(50))
CODES: Final = (
    *("US-TX", "US-GA", "US-NY", "US-KY", "CA", "RU", "KZ", "CN-SC", "CN-XJ", "CN-NM"),
    *("NO", "IS", "PY", "AE", "OM", "MY", "ID", "ET", "AU", "SE"),
)
NORMAL_PER_S: Final = len(POOLS) / 60
TIMES: Final = 100
READERS_PER_S: Final = 10
SAMPLE_S: Final = 5.0
WARM: Final = 0.4
"""The part of a soak after which figures have to be flat: caches fill before."""
_QUESTIONS: Final = (
    "/api/v1/shares?window=now",
    "/api/v1/shares?window=1h",
    "/api/v1/shares?window=24h&level=subdivision&country=US",
    "/api/v1/pools",
    "/metrics",
)


@dataclass
class Sample:
    """One process at one time: seconds since the start, MB, open descriptors, threads and tasks."""

    at: float
    memory_mb: float
    descriptors: int
    threads: int
    tasks: int


@dataclass
class Soaked:
    """What came of a soak.

    Attributes:
        seconds: how long it took.
        acknowledged: reports.
        refused: answers to posts that were neither 200 nor 503.
        unavailable: posts that got a 503 or no answer.
        in_kafka: messages in Kafka at the end.
        asked: questions to the API, by status of the answer.
        samples: by service.
        redis_mb: the memory of Redis, at each sample.
        restarts: how often a service had ended by itself and was started again.
    """

    seconds: float = 0.0
    acknowledged: int = 0
    refused: int = 0
    unavailable: int = 0
    in_kafka: int = 0
    asked: dict[int, int] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    redis_mb: list[float] = field(default_factory=list)
    restarts: int = 0

    def slopes(self, name: str) -> dict[str, float]:
        """By figure, how much it grows an hour, after the first part of the soak."""
        samples = [each for each in self.samples[name] if each.at >= WARM * self.seconds]
        hours = [each.at / 3600 for each in samples]
        figures = ("memory_mb", "descriptors", "threads", "tasks")
        return {
            figure: statistics.linear_regression(
                hours, [getattr(each, figure) for each in samples]
            ).slope
            for figure in figures
        }

    def growth(self, name: str) -> dict[str, float]:
        """By figure, how much its median grows from the middle of the soak to its end."""
        samples = self.samples[name]
        third = len(samples) // 3
        figures = ("memory_mb", "descriptors", "threads", "tasks")
        return {
            figure: statistics.median(getattr(each, figure) for each in samples[-third:])
            - statistics.median(getattr(each, figure) for each in samples[third : 2 * third])
            for figure in figures
        }


async def soak(system: System, seconds: float, seed: int, times: float = TIMES) -> Soaked:
    """Run the load for some seconds; the services have to be started as ``watched``."""
    result = Soaked()
    system.pools.answering.set()
    started = time.monotonic()
    stop = started + seconds
    clients = _Clients(system, result, stop, seed)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for pool in POOLS:
            tasks.create_task(clients.post(http, pool, NORMAL_PER_S * times / len(POOLS)))
        tasks.create_task(clients.ask(http))
        tasks.create_task(clients.listen(http))
        tasks.create_task(_sample(system, result, started, stop))
    result.seconds = time.monotonic() - started
    system.pools.answering.clear()
    await system.until(system.is_drained, "all messages are consumed")
    log = await read_positions(system.kafka.bootstrap_servers, system.group)
    result.in_kafka = sum(
        end for (topic, _), end in log.ends.items() if topic == "miningmap.reports"
    )
    return result


class _Clients:
    """The partners and the readers."""

    def __init__(self, system: System, result: Soaked, stop: float, seed: int) -> None:
        self._system = system
        self._result = result
        self._stop = stop
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._figures = itertools.count()

    def _is_over(self) -> bool:
        return time.monotonic() >= self._stop

    async def post(self, http: aiohttp.ClientSession, pool: str, per_s: float) -> None:
        """Post one row after the other, as a partner does."""
        headers = {"Authorization": f"Bearer {self._system.token(pool)}"}
        await asyncio.sleep(self._random.uniform(0, 1 / per_s))
        due = time.monotonic()
        while not self._is_over():
            try:
                url = self._system.intake + PATH
                async with http.post(url, json=[self._row()], headers=headers) as response:
                    status = response.status
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 0
            if status == 200:
                self._result.acknowledged += 1
            elif status in {0, 503}:
                self._result.unavailable += 1
            else:
                self._result.refused += 1
            due = max(due + 1 / per_s, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _row(self) -> dict[str, object]:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        start = now - timedelta(minutes=self._random.randint(2, 120))
        figure = int(1e18) + next(self._figures) * 10**9
        places = [{"code": code, "hashrate": figure // 32} for code in CODES]
        end = start + timedelta(minutes=1)
        times = {"start": rfc3339(start), "end": rfc3339(end), "hold_s": 60}
        return {**times, "hashrate": figure, "places": places}

    async def ask(self, http: aiohttp.ClientSession) -> None:
        """Ask the API one question after the other, and its metrics."""
        for path in itertools.cycle(_QUESTIONS):
            if self._is_over():
                return
            try:
                async with http.get(self._system.api + path) as response:
                    await response.read()
                    status = response.status
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 0
            self._result.asked[status] = self._result.asked.get(status, 0) + 1
            await asyncio.sleep(1 / READERS_PER_S)

    async def listen(self, http: aiohttp.ClientSession) -> None:
        """Be connected to the stream, and connect again every minute."""
        while not self._is_over():
            until = min(self._stop, time.monotonic() + 60)
            try:
                async with (
                    asyncio.timeout(max(0.1, until - time.monotonic())),
                    http.get(f"{self._system.api}/api/v1/stream?window=now") as response,
                ):
                    async for _ in response.content:
                        pass
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.1)


async def _sample(system: System, result: Soaked, started: float, stop: float) -> None:
    async with Redis.from_url(system.redis.url) as redis:
        while time.monotonic() < stop:
            at = time.monotonic() - started
            for name, service in system.services.items():
                if not service.running:
                    result.restarts += 1
                    service.start()
                tasks = Path(service.env["TORTURE_TASKS"])
                result.samples.setdefault(name, []).append(_sampled(at, service.pid, tasks))
            used = (await redis.info("memory"))["used_memory"]
            result.redis_mb.append(used / 2**20)
            await asyncio.sleep(SAMPLE_S)


def _sampled(at: float, pid: int, tasks: Path) -> Sample:
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    counted = tasks.read_text() if tasks.exists() else ""
    return Sample(
        at,
        int(fields["VmRSS"].split()[0]) / 1024,
        len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 - no path is needed
        int(fields["Threads"]),
        int(counted or 0),
    )
