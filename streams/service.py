"""The streams service: consumer, snapshots, metrics and the watch over them, in one process."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry
from redis import RedisError

from miningmap.http.server import monitoring_app, serving
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES
from miningmap.redis_client import connect
from miningmap.settings import SettingsError
from miningmap.times import utc_now
from streams.beliefs import BeliefsError
from streams.beliefs import load as load_beliefs
from streams.metrics import Metrics
from streams.queries.snapshot import AT, POOLS, Snapshots
from streams.redis.store import Store
from streams.worker.faust_app import build_app
from streams.worker.processor import Processor
from streams.worker.stall_watchdog import watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miningmap.settings import Settings
    from streams.method.shares import Beliefs
    from streams.worker.processor import RawMessage

# How long the batch under way may take at the end, before it is left to the next process.
LAST_BATCH_S: Final = 5.0
STOP_S: Final = 10.0

_log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set.

    Raises:
        SettingsError: priors or rules are unusable.
        Exception: something failed for good; the process should be started anew.
    """
    try:
        beliefs = load_beliefs(settings.method)
    except BeliefsError as error:
        raise SettingsError(str(error)) from None
    metrics = Metrics(CollectorRegistry())
    redis = connect(settings.redis)
    store = Store(redis, settings.retention)
    topics = frozenset({REPORTS, NETWORK, SHARES, DEAD_LETTERS})
    served = settings.streams
    try:
        async with (
            serving(
                monitoring_app(metrics.registry),
                served.metrics_host,
                served.metrics_port,
                "STREAMS__METRICS_PORT",
            ),
            Publisher(settings.kafka, topics) as publisher,
        ):
            processor = Processor(store, publisher.deliver, settings.retention, metrics, utc_now)
            await _first_of(
                stop.wait(),
                _consume(settings, publisher, processor),
                _snapshots(settings, store, beliefs, publisher, metrics),
                watch(settings, metrics),
            )
    finally:
        await redis.aclose()


async def _first_of(*awaitables: object) -> None:
    """Run all until one ends, end the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_S)
    for task in ended:
        task.result()


async def _consume(settings: Settings, publisher: Publisher, processor: Processor) -> None:
    """Run the Faust app until cancelled.

    Raises:
        Exception: a batch, or Faust itself, failed.
    """
    await publisher.connected()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    busy = asyncio.Lock()

    async def process(batch: Sequence[RawMessage]) -> None:
        # Faust would log an exception, go on behind the batch and never commit again.
        async with busy:
            try:
                await processor.process(batch)
            except Exception as error:
                if not failed.done():
                    failed.set_exception(error)
                raise

    app = build_app(settings, process)
    # Not to be cut off: half-started, Faust leaves a thread behind that keeps the process up.
    starting = asyncio.ensure_future(app.start())
    try:
        await asyncio.shield(starting)
        _log.info("streams started", kafka=settings.kafka.bootstrap_servers)
        await _first_of(failed, app.wait_until_stopped())
        raise app.crash_reason or RuntimeError("Faust stopped by itself")
    finally:
        # Let the batch under way be done and committed; without this it only comes again.
        try:
            async with asyncio.timeout(LAST_BATCH_S):
                await busy.acquire()
        except TimeoutError:
            _log.warning("stopping with a batch under way; it will be done again")
        await asyncio.wait([starting])
        await app.stop()


async def _snapshots(
    settings: Settings, store: Store, beliefs: Beliefs, publisher: Publisher, metrics: Metrics
) -> None:
    """Take a snapshot every few seconds, if no other process does; until cancelled."""
    me = uuid4().hex
    snapshots = Snapshots(store, beliefs)
    period = settings.streams.snapshot_s
    clock = asyncio.get_running_loop().time
    published = -math.inf
    lost = False
    while True:
        started = clock()
        try:
            if await store.lead(me, for_s=3 * period):
                with metrics.snapshot_duration.time():
                    made = await snapshots.take(utc_now())
                    await store.write_snapshots(made)
                if started - published >= settings.streams.publish_s:
                    await publisher.publish(_records(made))
                    published = started
            if lost:
                lost = False
                _log.info("snapshots back")
        except (RedisError, BrokerError) as error:
            if not lost:
                lost = True
                _log.warning("snapshots lost", error=str(error))
        await asyncio.sleep(max(0.0, started + period - clock()))


def _records(made: dict[str, bytes]) -> list[Record]:
    """The answers of a snapshot for Kafka: ``WINDOW/LEVEL[/COUNTRY]`` -> answer."""
    return [
        Record(SHARES, name.encode(), value)
        for name, value in made.items()
        if name not in (POOLS, AT)
    ]
