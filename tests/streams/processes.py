"""Run the streams service in a test, and wait for its effects."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Self

from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.topics import NETWORK, REPORTS
from streams.service import run
from tests.servers import ROOT, kafka_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from miningmap.messages import Message
    from miningmap.settings import Settings

DEADLINE_S = 60.0
TOPICS = frozenset({REPORTS, NETWORK})


@asynccontextmanager
async def streams(settings: Settings) -> AsyncIterator[None]:
    """Run the service in this process during the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


class StreamsProcess:
    """The service as a separate process, which can be killed."""

    def __init__(self, settings: Settings, *, log: Path | None = None, **more: str) -> None:
        self._log = log
        kept = settings.retention
        self._env = {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "MININGMAP_KAFKA__GROUP": settings.kafka.group,
            "MININGMAP_KAFKA__SESSION_TIMEOUT_S": "6",
            "MININGMAP_REDIS__URL": settings.redis.url.get_secret_value(),
            "MININGMAP_RETENTION__MINUTES_H": str(kept.minutes_h),
            "MININGMAP_RETENTION__HOURS_D": str(kept.hours_d),
            "MININGMAP_STREAMS__METRICS_PORT": "0",
            **more,
        }
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        with self._log.open("wb") if self._log else nullcontext() as stderr:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.impatient", "streams"),
                cwd=ROOT,
                env={**os.environ, **self._env},
                stderr=stderr,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            await self.end(signal.SIGKILL)

    async def end(self, sign: signal.Signals) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(sign)
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


async def publish(settings: Settings, messages: Sequence[Message], *raw: Record) -> None:
    """Publish messages and raw records; return when Kafka has acknowledged them."""
    async with Publisher(settings.kafka, TOPICS) as publisher:
        await publisher.publish([*map(record_of, messages), *raw])


async def processed(settings: Settings) -> None:
    """Wait until the consumer group has committed every message."""
    kafka = settings.kafka
    async with lag_of(kafka_at(kafka.bootstrap_servers), kafka.group, sorted(TOPICS)) as ask:

        async def nothing_left() -> bool:
            try:
                return all(progress.lag == 0 for progress in (await ask()).values())
            except BrokerError:  # a broker that has just started has no coordinator of groups yet
                return False

        await until(nothing_left)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, up to the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.05)
