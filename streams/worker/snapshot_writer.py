"""The snapshot writer: takes a snapshot every few seconds and writes it to Redis and Kafka."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn
from uuid import uuid4

import structlog
from redis import RedisError

from miningmap.dependencies import Dependency
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import Record
from miningmap.kafka.topics import SHARES
from miningmap.tasks import raise_if_cancelled
from miningmap.times import utc_now
from streams.queries.snapshot import Snapshots, answers_in
from streams.redis.damage import is_wrong_type
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Streams
    from streams.method.beliefs import Beliefs
    from streams.metrics import Metrics
    from streams.redis.store import Store

HUNG_S: Final = 60.0
"""How long a snapshot may take, in seconds; then the next one is tried."""

_log = structlog.get_logger(__name__)


async def write_snapshots(
    settings: Streams,
    store: Store,
    beliefs: Beliefs,
    publisher: Publisher,
    metrics: Metrics,
    *,
    state: Dependency | None = None,
) -> None:
    """Take snapshots until cancelled, whenever no other process takes them, and publish them.

    While Kafka is unavailable they are still taken and served; only the newest one is published
    when it is available again.

    Args:
        settings: how often they are taken and published.
        store: where they are written to, and the cells that they are computed from.
        beliefs: of all days.
        publisher: publishes them to Kafka.
        metrics: where their duration is shown.
        state: shows whether they can be taken.
    """
    newest: asyncio.Queue[Mapping[str, bytes]] = asyncio.Queue(1)

    async def take() -> None:
        snapshot = await snapshots.take(utc_now())
        metrics.damaged_series.set(len(snapshots.damaged))
        await store.snapshots.write(snapshot)
        if newest.full():
            newest.get_nowait()
        newest.put_nowait(snapshot)

    async def take_if_leading() -> None:
        async with asyncio.timeout(HUNG_S):
            if await store.snapshots.renew_leadership(process, for_s=3 * settings.snapshot_s):
                with metrics.snapshot_duration.time():
                    await take()

    process = uuid4().hex
    snapshots = Snapshots(store.cells, beliefs)
    state = state or Dependency("snapshots")
    clock = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_publish(newest, publisher, settings.publish_s))
        while True:
            started = clock()
            try:
                await take_if_leading()
            except Exception as error:  # noqa: BLE001 - no datum in Redis may end the consumer
                if await _is_fault(error, state, store):
                    snapshots = Snapshots(
                        store.cells, beliefs
                    )  # what it remembers may be the cause
            else:
                if state.found():
                    _log.info("snapshots_available")
            raise_if_cancelled()
            await asyncio.sleep(max(0.0, started + settings.snapshot_s - clock()))


async def _is_fault(error: Exception, state: Dependency, store: Store) -> bool:
    """Record why there is no snapshot, and return whether that is a fault of this software.

    What is damaged is removed if it is the cause.
    """
    if isinstance(error, RebuildingError):  # the rewinder says in the log how far that is
        state.reason = f"no snapshot can be taken: {error}"
        return False
    is_expected = isinstance(error, (RedisError, TimeoutError))
    if not is_expected:
        _log.error("snapshot_failed", exc_info=error)
    problem = str(error) or type(error).__name__
    if state.lost(f"no snapshot can be taken: {problem}"):
        _log.warning("snapshots_unavailable", error=problem)
    if is_wrong_type(error):
        with suppress(RedisError):
            await store.snapshots.remove_damaged()
    return not is_expected


async def _publish(
    newest: asyncio.Queue[Mapping[str, bytes]], publisher: Publisher, period_s: float
) -> NoReturn:
    """Publish the newest snapshot again and again, at most every ``period_s`` seconds."""
    state = Dependency("published snapshots")  # only for the log
    while True:
        snapshot = await newest.get()
        try:
            await publisher.publish(_records(snapshot))
        except BrokerError as error:
            if state.lost(str(error)):
                _log.warning("snapshots_not_published", error=str(error))
            continue
        if state.found():
            _log.info("snapshots_published")
        await asyncio.sleep(period_s)


def _records(snapshot: Mapping[str, bytes]) -> list[Record]:
    """Return a snapshot's answers for Kafka, with ``WINDOW/LEVEL[/COUNTRY]`` as their keys."""
    answers = answers_in(snapshot)
    return [Record(SHARES, name.encode(), answer) for name, answer in answers.items()]
