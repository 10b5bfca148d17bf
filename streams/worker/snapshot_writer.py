"""The snapshot writer: takes a snapshot every few seconds and writes it to Redis and Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn
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
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Streams
    from streams.method.beliefs import Beliefs
    from streams.metrics import Metrics
    from streams.redis.store import Store

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
        await store.write_snapshot(snapshot)
        if newest.full():
            newest.get_nowait()
        newest.put_nowait(snapshot)

    process = uuid4().hex
    snapshots = Snapshots(store, beliefs)
    state = state or Dependency("snapshots")
    clock = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_publish(newest, publisher, settings.publish_s))
        while True:
            started = clock()
            try:
                if await store.renew_leadership(process, for_s=3 * settings.snapshot_s):
                    with metrics.snapshot_duration.time():
                        await take()
            except RebuildingError as error:  # the rewinder says in the log how far that is
                state.reason = f"no snapshot can be taken: {error}"
            except RedisError as error:
                if state.lost(f"no snapshot can be taken: {error}"):
                    _log.warning("snapshots_unavailable", error=str(error))
            else:
                if state.found():
                    _log.info("snapshots_available")
            raise_if_cancelled()
            await asyncio.sleep(max(0.0, started + settings.snapshot_s - clock()))


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
