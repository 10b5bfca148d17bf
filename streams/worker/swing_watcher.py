"""The swing watcher: has each minute evaluated when its messages are in, and publishes the events.

A minute is evaluated once the clock shows 90 seconds more, and once the consumer has processed all
that was in Kafka by then: a consumer that is behind has filled only a part of the windows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn
from uuid import uuid4

import structlog
from redis import RedisError

from miningmap.dependencies import Dependency
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import Progress, lag_of
from miningmap.kafka.producer import Record
from miningmap.kafka.topics import REPORTS, SWINGS
from miningmap.swings import decode_swing
from miningmap.tasks import raise_if_cancelled
from miningmap.times import MINUTE_S, utc_now
from streams.method.swings import subject_of
from streams.redis.damage import is_wrong_type
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime

    from miningmap.kafka.lag import Lag
    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Kafka
    from streams.redis.generations import Generations
    from streams.redis.swing_store import SwingStore
    from streams.worker.swing_evaluator import Evaluator

DELAY_S: Final = 90
"""A minute is evaluated when the clock shows this many seconds more."""
LEASE_S: Final = 60.0
"""How long a process leads without renewing that, in seconds."""
PERIOD_S: Final = 5.0
"""How often the clock is read, in seconds."""
END_S: Final = 1.0
"""How long the end of the lead may take when the process stops, in seconds."""
POLL_S: Final = 0.25
"""How often the consumer's progress is read while a minute waits for it, in seconds."""
LATE_S: Final = 300.0
"""How long a minute may wait for the consumer before the service says so, in seconds."""
PROGRESS_S: Final = 10.0
"""How often the log says how many minutes are left, in seconds."""
_BATCH: Final = 100

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Goal:
    """What the consumer has to process before some minutes are evaluated.

    Attributes:
        minute: the last of these minutes.
        ends: the end of each partition when they were due.
        since: the time of the event loop at that time.
    """

    minute: int
    ends: Mapping[tuple[str, int], int]
    since: float

    def waiting(self, lag: Lag) -> int:
        """Return how many messages are still to be processed, of those that still exist."""
        return sum(
            max(0, min(end, lag[each].committed + lag[each].lag) - lag[each].committed)
            for each, end in self.ends.items()
        )


class _Progress:
    """Tells in the log how far a longer evaluation is."""

    def __init__(self) -> None:
        self._said_at: float | None = None

    def show(self, left: int) -> None:
        """Say how many minutes are left, now and then and when none are any more."""
        now = asyncio.get_running_loop().time()
        if left and (self._said_at is None or now - self._said_at >= PROGRESS_S):
            self._said_at = now
            _log.info("swings_catching_up", minutes_left=left)
        elif not left and self._said_at is not None:
            self._said_at = None
            _log.info("swings_caught_up")


class SwingWatcher:
    """Has minutes evaluated, whenever no other process does, and publishes the events."""

    def __init__(
        self,
        kafka: Kafka,
        evaluator: Evaluator,
        swings: SwingStore,
        publisher: Publisher,
        state: Dependency,
        *,
        generations: Generations,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare a watcher.

        Args:
            kafka: how to reach the broker, to ask for the consumer's progress.
            evaluator: evaluates minutes.
            swings: where swings are stored.
            publisher: publishes their events to Kafka.
            state: shows whether minutes can be evaluated.
            generations: tell what Redis has applied.
            now: the clock, UTC.
            sleep: waits, in seconds of that clock.
        """
        self._kafka = kafka
        self._evaluator = evaluator
        self._swings = swings
        self._publisher = publisher
        self._state = state
        self._generations = generations
        self._now = now
        self._sleep = sleep
        self._process = uuid4().hex
        self._has_events = asyncio.Event()
        self._goal: _Goal | None = None
        self._progress = _Progress()

    @property
    def is_waiting(self) -> bool:
        """Whether minutes are due that are not evaluated yet."""
        return self._goal is not None

    async def run(self) -> None:
        """Watch until cancelled. No error of Kafka, Redis or the arithmetic ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_publishing())
                await self._keep_watching()
        finally:
            with suppress(RedisError, TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._swings.end_leadership(self._process)

    async def _keep_watching(self) -> NoReturn:
        while True:
            try:
                await self._watch()
            except RebuildingError as error:  # the rewinder says in the log how far that is
                self._state.reason = f"no swings can be evaluated: {error}"
            except (RedisError, BrokerError) as error:
                self._lost(f"no swings can be evaluated: {error}")
                await self._remove_damaged(error)
            except Exception as error:  # noqa: BLE001 - a bug must not stop the snapshots
                _log.exception("swings_failed")
                self._lost(f"no swings can be evaluated: {error!r}")
            raise_if_cancelled()
            await asyncio.sleep(PERIOD_S)

    async def _watch(self) -> NoReturn:
        """Have minutes evaluated until there is an error."""
        kafka = self._kafka
        async with lag_of(kafka, kafka.group, [REPORTS]) as read_lag:
            while True:
                if await self._swings.renew_leadership(self._process, LEASE_S):
                    await self._evaluate_if_due(read_lag)
                    self._has_events.set()
                else:
                    self._goal = None
                if self._goal is None and self._state.found():
                    _log.info("swings_available")
                raise_if_cancelled()
                await (asyncio.sleep(POLL_S) if self._goal else self._sleep(PERIOD_S))

    async def _evaluate_if_due(self, read_lag: Callable[[], Awaitable[Lag]]) -> None:
        """Evaluate some of the minutes that are due, if the consumer is far enough."""
        clock = asyncio.get_running_loop().time
        if self._goal is None:
            due = int((self._now().timestamp() - DELAY_S) // MINUTE_S)
            if not self._evaluator.is_due(due):
                return
            ends = {each: p.committed + p.lag for each, p in (await read_lag()).items()}
            self._goal = _Goal(due, ends, clock())
        if waiting := self._goal.waiting(await self._applied(await read_lag())):
            if clock() - self._goal.since > LATE_S:
                self._lost(f"swings wait until the consumer has processed {waiting} messages")
            return
        left = await self._evaluator.evaluate(self._goal.minute)
        self._progress.show(left)
        if not left:
            self._goal = None

    async def _remove_damaged(self, error: Exception) -> None:
        """Remove what is damaged if an error says so: it counts as missing."""
        if is_wrong_type(error):
            with suppress(RedisError):
                await self._swings.remove_damaged()

    async def _applied(self, lag: Lag) -> Lag:
        """Return the lag by what Redis has applied: it can have lost what was committed."""
        current = await self._generations.current()
        if current is None or current.targets:
            raise RebuildingError(current.progress if current else None)
        lost = {
            each: max(0, progress.committed - current.positions.get(each, progress.committed))
            for each, progress in lag.items()
        }
        return {
            each: Progress(progress.committed - lost[each], progress.lag + lost[each])
            for each, progress in lag.items()
        }

    def _lost(self, reason: str) -> None:
        if self._state.lost(reason):
            _log.warning("swings_unavailable", error=reason)

    # --- publishing ---

    async def _keep_publishing(self) -> NoReturn:
        """Publish what is in the outbox, again and again, while this process leads.

        Only the process that leads does, so that the events stay in order. An event can be
        published twice: its place or pool, start, time and state tell that.
        """
        state = Dependency("published swings")  # only for the log
        while True:
            await self._has_events.wait()
            self._has_events.clear()
            try:
                while encoded := await self._swings.outbox(_BATCH):
                    await self._publisher.publish(list(_records(encoded)))
                    await self._swings.remove_from_outbox(encoded)
            except (RedisError, BrokerError) as error:  # the events stay in the outbox
                if state.lost(str(error)):
                    _log.warning("swings_not_published", error=str(error))
                await self._remove_damaged(error)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("swings_failed")
            else:
                if state.found():
                    _log.info("swings_published")
            raise_if_cancelled()


def _records(encoded: Iterable[bytes]) -> Iterable[Record]:
    """Yield the records of events; what is no event any more is left out."""
    for event in encoded:
        try:
            swing = decode_swing(event)
        except ValueError as error:
            _log.warning("swings_damaged", count=1, problems=[f"outbox: {error}"])
            continue
        yield Record(SWINGS, subject_of(swing).name.encode(), event)
