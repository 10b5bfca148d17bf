"""``python -m tests.wedged HOW NAME``: a service that wedges in one way once it has begun to work.

The watchdogs wait for seconds instead of minutes; all else is as in production.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from launch.cli import main
from miningmap import loop_watchdog, redis_client
from miningmap.kafka import lag, producer
from streams.redis.cell_writer import CellWriter
from streams.worker import consumer, faust_app, stall_watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import ModuleType

WAITS_S: Final[dict[ModuleType, dict[str, float]]] = {
    producer: {"PROBE_S": 0.5, "SLOW_S": 0.5, "LONGEST_WAIT_S": 0.5},
    redis_client: {"PERIOD_S": 0.25, "DEADLINE_S": 0.5},
    stall_watchdog: {"PERIOD_S": 0.25, "HUNG_S": 1.0},
    loop_watchdog: {"BLOCKED_S": 4.0, "TICK_S": 0.25, "GRACE_S": 1.0, "END_S": 5.0},
    faust_app: {"COMMIT_S": 0.2},
}
FOR_EVER_S: Final = 1e6


def in_python() -> None:
    """Block the event loop, and let other threads run."""
    time.sleep(FOR_EVER_S)


def in_c() -> None:
    """Block the event loop and every other thread: this match never releases the interpreter."""
    re.match(r"(x+x+)+y", "x" * 64)


def block(how: Callable[[], None]) -> None:
    async def write(*_: object, **__: object) -> None:
        how()

    CellWriter.write = write  # type: ignore[assignment, method-assign]


def hang_in_redis() -> None:
    async def write(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    CellWriter.write = write  # type: ignore[assignment, method-assign]


def hang_uncancelled() -> None:
    """Hang in a batch that does not let itself be cancelled."""

    async def write(*_: object, **__: object) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    CellWriter.write = write  # type: ignore[assignment, method-assign]


def lose_the_agent() -> None:
    """The agent ends as if all was well; Faust goes on without it."""
    build = faust_app.build_app

    def without(settings: Any, _: object) -> Any:
        async def end(_: object) -> None:
            raise asyncio.CancelledError

        return build(settings, end)

    vars(consumer)["build_app"] = without


def lose_the_thread() -> None:
    """Faust's consumer thread ends at its first fetch."""

    async def getmany(self: AIOKafkaConsumerThread, *_: object, **__: object) -> object:
        self.thread_loop.call_soon_threadsafe(self.thread_loop.stop)
        return await asyncio.Event().wait()

    AIOKafkaConsumerThread.getmany = getmany  # type: ignore[method-assign, assignment]


def block_the_thread() -> None:
    """Faust's consumer thread is stuck for ever, and cannot be joined either."""

    async def getmany(self: AIOKafkaConsumerThread, *_: object, **__: object) -> object:
        self.thread_loop.call_soon_threadsafe(time.sleep, FOR_EVER_S)
        return await asyncio.Event().wait()

    AIOKafkaConsumerThread.getmany = getmany  # type: ignore[method-assign, assignment]


def hang_the_watchdog() -> None:
    """The watchdog's own client of Kafka never connects, beside a batch that hangs."""

    @asynccontextmanager
    async def lag_of(*_: object) -> AsyncIterator[None]:
        forever = asyncio.Event()
        while not forever.is_set():
            with suppress(asyncio.CancelledError):
                await forever.wait()
        yield

    vars(stall_watchdog)["lag_of"] = lag_of
    hang_in_redis()


def hang_the_watchdog_once() -> None:
    """The watchdog's first client hangs; the next one works."""
    calls: list[object] = []

    @asynccontextmanager
    async def lag_of(*given: Any) -> AsyncIterator[object]:
        calls.append(given)
        if len(calls) == 1:
            await asyncio.Event().wait()
        async with lag.lag_of(*given) as read:
            yield read

    vars(stall_watchdog)["lag_of"] = lag_of


def nothing() -> None:
    """Work as always."""


HOW: Final[dict[str, Callable[[], None]]] = {
    "python": lambda: block(in_python),
    "c": lambda: block(in_c),
    "redis": hang_in_redis,
    "uncancelled": hang_uncancelled,
    "agent": lose_the_agent,
    "thread": lose_the_thread,
    "blocked-thread": block_the_thread,
    "watchdog": hang_the_watchdog,
    "watchdog-once": hang_the_watchdog_once,
    "nothing": nothing,
}

if __name__ == "__main__":
    for module, waits in WAITS_S.items():
        for name, seconds in waits.items():
            assert getattr(module, name) > seconds, name
            setattr(module, name, seconds)
    HOW[sys.argv.pop(1)]()
    main(prog_name="miningmap")
