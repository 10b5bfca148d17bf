"""The live detector of swings in event time: real Kafka, the processor, real Redis, a set clock.

Messages are published as their times of fetching pass, and each minute is evaluated by the loop of
the service. So an hour of a story takes seconds.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry
from redis import RedisError

from miningmap.dependencies import Dependency
from miningmap.kafka.producer import Publisher, record_of
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SWINGS
from miningmap.redis_client import connect
from miningmap.swings import decode_swing, swing_id
from miningmap.times import MINUTE_S, bucket, bucket_start
from streams.method.swings import SwingSettings
from streams.metrics import Metrics
from streams.redis.store import Store
from streams.redis.swing_store import SwingStore
from streams.worker import group_reader, swing_watcher
from streams.worker.consumer import consume
from streams.worker.processor import Processor
from streams.worker.rewinder import Rewinder
from streams.worker.swing_evaluator import FIRST_MINUTES, Evaluator
from streams.worker.swing_watcher import DELAY_S, SwingWatcher
from tests.streams.processes import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
    from datetime import datetime

    import pytest

    from miningmap.messages import Message
    from miningmap.settings import Settings
    from miningmap.swings import Swing
    from streams.method.beliefs import Beliefs

DELAY = timedelta(seconds=DELAY_S)
TOPICS = frozenset({REPORTS, NETWORK, SWINGS, DEAD_LETTERS})


class EventClock:
    """A clock that stands still until it is set."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self.ahead = at
        """What the consumer sees: it gets messages a little before the clock is set."""
        self.sets = 0
        self.changed = asyncio.Condition()

    def now(self) -> datetime:
        return self._at

    async def set(self, at: datetime) -> None:
        async with self.changed:
            self._at = at
            self.sets += 1
            self.changed.notify_all()


class Watch:
    """A clock as one task reads it: the task sleeps until the clock was set after it had looked."""

    def __init__(self, clock: EventClock) -> None:
        self._clock = clock
        self._seen = 0

    def now(self) -> datetime:
        self._seen = self._clock.sets
        return self._clock.now()

    async def sleep(self, _: float) -> None:
        async with self._clock.changed:
            await self._clock.changed.wait_for(lambda: self._clock.sets != self._seen)


def do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the consumer commit, and the watcher see that, without long waits.

    The watcher begins before the consumer, so its first attempt fails; the next one comes soon.
    """
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.02)
    monkeypatch.setattr(swing_watcher, "POLL_S", 0.02)
    monkeypatch.setattr(swing_watcher, "PERIOD_S", 0.1)


@dataclass
class Watcher:
    """A watcher as one process would run it."""

    loop: SwingWatcher
    state: Dependency
    metrics: Metrics
    task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Stop it as a process stops."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])

    async def is_waiting(self) -> bool:
        """Whether a minute waits for the consumer."""
        return self.loop.is_waiting

    async def is_lost(self) -> bool:
        """Whether swings cannot be evaluated."""
        return self.state.reason is not None

    async def is_found(self) -> bool:
        """Whether swings can be evaluated."""
        return self.state.reason is None

    def counted(self) -> float:
        """The number of events that it has counted."""
        samples = (s for family in self.metrics.registry.collect() for s in family.samples)
        return sum(s.value for s in samples if s.name == "miningmap_swings_total")


class LivePipeline:
    """A running pipeline; :func:`live_pipeline` makes it."""

    def __init__(
        self,
        clock: EventClock,
        publisher: Publisher,
        swings: SwingStore,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        consuming: Callable[[], Coroutine[Any, Any, None]],
        watcher: Callable[..., Watcher],
    ) -> None:
        self.clock = clock
        self.swings = swings
        self.watchers: list[Watcher] = []
        self._publisher = publisher
        self._start = start
        self._consuming = consuming
        self._watcher = watcher
        self._waiting: list[Message] = []

    def consume(self) -> None:
        """Start the consumer."""
        self._start(self._consuming())

    def watch(self, **more: Any) -> Watcher:
        """Start a watcher, like another process; the arguments are those of the evaluator."""
        watcher = self._watcher(**more)
        watcher.task = self._start(watcher.loop.run())
        self.watchers.append(watcher)
        return watcher

    def add(self, messages: Iterable[Message]) -> None:
        """Add messages; each is published when the clock shows its time of fetching."""
        self._waiting = sorted([*self._waiting, *messages], key=attrgetter("fetched_at"))

    async def advance(self, at: datetime) -> None:
        """Set the clock, and publish what was fetched up to that time."""
        due = [message for message in self._waiting if message.fetched_at <= at]
        self._waiting = self._waiting[len(due) :]
        self.clock.ahead = at
        await self._publisher.publish(list(map(record_of, due)))
        await self.clock.set(at)

    async def evaluate(self, minute: datetime) -> None:
        """Let all time up to a minute pass, and return when the minute is evaluated.

        The first call starts a watcher, unless there is one.
        """
        await self.advance(minute + DELAY)
        if not self.watchers:
            self.watch()
        number = bucket(minute, MINUTE_S)
        await until(lambda: self._is_evaluated(number))

    async def _is_evaluated(self, minute: int) -> bool:
        try:
            return ((await self.swings.memory()).minute or 0) >= minute
        except RedisError:  # a story may have stopped Redis, which ends all connections
            return False

    async def run(self, first: datetime, last: datetime, *, step: int = 1) -> list[Swing]:
        """Evaluate all minutes from ``first`` to ``last``, and return their events.

        Args:
            first: where nothing is remembered, :func:`live_pipeline` decides which minutes before
                it are evaluated too.
            last: the last minute; it is included.
            step: the minutes that pass at once. With 1 each message comes before the minutes that
                it is about are evaluated, with more it can come a little earlier.
        """
        minutes = range(bucket(first, MINUTE_S), bucket(last, MINUTE_S) + 1)
        for minute in [*minutes[::step], minutes[-1]]:
            await self.evaluate(bucket_start(minute, MINUTE_S))
        return await self.events(first)

    async def events(self, since: datetime) -> list[Swing]:
        """Return the stored events at or after a time; those of one minute are in no order."""
        stored = chain.from_iterable((await self.swings.since(since)).swings)
        return sorted((event for event in stored if event.at >= since), key=attrgetter("at"))


@asynccontextmanager
async def live_pipeline(
    settings: Settings,
    beliefs: Beliefs,
    at: datetime,
    *,
    swing_settings: SwingSettings | None = None,
    first_minutes: int = FIRST_MINUTES,
    annotate: Callable[[Swing, Swing | None], Swing] = lambda event, _: event,
    consumes: bool = True,
) -> AsyncIterator[LivePipeline]:
    """Run the consumer and the watcher of swings during the block.

    Args:
        settings: of the servers; :func:`do_not_wait` makes them quick.
        beliefs: all beliefs.
        at: the time that the clock shows at first. Nothing is evaluated before it is advanced.
        swing_settings: when swings fire, resolve and are lost.
        first_minutes: how many minutes are evaluated at once where nothing is remembered.
        annotate: returns an event with what an operator should know about it.
        consumes: start the consumer, too.
    """
    clock = EventClock(at)
    async with (
        connect(settings.redis) as redis,
        Publisher(settings.kafka, TOPICS) as publisher,
        asyncio.TaskGroup() as tasks,
    ):
        store = Store(redis, settings.retention)
        swings = SwingStore(redis, settings.retention)
        parts: list[asyncio.Task[None]] = []
        if not consumes:  # then nobody else says that there are no more cells
            await store.generations.begin({})

        def start(part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            parts.append(tasks.create_task(part))
            return parts[-1]

        def consuming() -> Coroutine[Any, Any, None]:
            metrics = Metrics(CollectorRegistry())
            rewinder = Rewinder(settings, store.writer, metrics, lambda: clock.ahead)
            processor = Processor(
                store.writer,
                publisher.deliver,
                settings.retention,
                metrics,
                lambda: clock.ahead,
                rewinder=rewinder,
            )
            return consume(settings, publisher, processor, rewinder)

        def watcher(**more: Any) -> Watcher:
            metrics = Metrics(CollectorRegistry())
            given: dict[str, Any] = {"annotate": annotate, "first_minutes": first_minutes} | more
            evaluator = Evaluator(
                store,
                beliefs,
                settings=swing_settings or SwingSettings(),
                retention=settings.retention,
                metrics=metrics,
                **given,
            )
            watch, state = Watch(clock), Dependency("swings")
            loop = SwingWatcher(
                settings.kafka,
                evaluator,
                swings,
                publisher,
                state,
                generations=store.generations,
                now=watch.now,
                sleep=watch.sleep,
            )
            return Watcher(loop, state, metrics)

        await publisher.connected()
        pipeline = LivePipeline(clock, publisher, swings, start, consuming, watcher)
        if consumes:
            pipeline.consume()
        yield pipeline
        for part in parts:
            part.cancel()


async def published_swings(settings: Settings, count: int) -> list[Swing]:
    """Return the events that are in Kafka, up to the first ``count`` that differ.

    Waits until there are so many.
    """
    consumer = AIOKafkaConsumer(
        SWINGS,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    events: list[Swing] = []
    async with consumer, asyncio.timeout(DEADLINE_S):
        while len(without_repeats(events)) < count:
            record = await consumer.getone()
            events.append(decode_swing(record.value))
    return events


def without_repeats(events: Iterable[Swing]) -> list[Swing]:
    """Return events as a consumer that skips repeats sees them."""
    return list({(swing_id(event), event.at, event.state): event for event in events}.values())
