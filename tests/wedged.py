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

from launch.cli import main
from miningmap import loop_watchdog, redis_client
from miningmap.kafka import lag, producer
from streams.redis.cell_writer import CellWriter
from streams.worker import consumer, group_reader, stall_watchdog
from streams.worker.group_reader import GroupReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import ModuleType

WAITS_S: Final[dict[ModuleType, dict[str, float]]] = {
    producer: {"PROBE_S": 0.5, "SLOW_S": 0.5, "LONGEST_WAIT_S": 0.5},
    redis_client: {"PERIOD_S": 0.25, "DEADLINE_S": 0.5},
    stall_watchdog: {"PERIOD_S": 0.25, "HUNG_S": 1.0},
    loop_watchdog: {"BLOCKED_S": 4.0, "TICK_S": 0.25, "GRACE_S": 1.0, "END_S": 5.0},
    group_reader: {"COMMIT_S": 0.2},
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


def end_the_consumer() -> None:
    """The consumer ends as if all was well."""

    async def in_turn(*_: object) -> None:
        return

    vars(consumer)["in_turn"] = in_turn


def hang_in_a_fetch() -> None:
    """Kafka gives nothing any more, though the group has its member."""

    async def fetched(_: object) -> object:
        return await asyncio.Event().wait()

    GroupReader._fetched = fetched  # type: ignore[assignment, method-assign]


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
    """The watchdog's first client hangs; the next one works, and says so."""
    calls: list[object] = []

    @asynccontextmanager
    async def lag_of(*given: Any) -> AsyncIterator[object]:
        calls.append(given)
        if len(calls) == 1:
            await asyncio.Event().wait()
        async with lag.lag_of(*given) as read:
            sys.stderr.write("the next client works\n")
            yield read

    vars(stall_watchdog)["lag_of"] = lag_of


def nothing() -> None:
    """Work as always."""


HOW: Final[dict[str, Callable[[], None]]] = {
    "python": lambda: block(in_python),
    "c": lambda: block(in_c),
    "redis": hang_in_redis,
    "uncancelled": hang_uncancelled,
    "consumer": end_the_consumer,
    "fetch": hang_in_a_fetch,
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
