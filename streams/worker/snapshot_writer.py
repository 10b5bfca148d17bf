"""The snapshot writer: takes a snapshot every few seconds and writes it to Redis and Kafka."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from redis import RedisError

from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import Record
from miningmap.kafka.topics import SHARES
from miningmap.times import utc_now
from streams.queries.snapshot import Snapshots, answers_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Streams
    from streams.method.beliefs import Beliefs
    from streams.metrics import Metrics
    from streams.redis.store import Store

_log = structlog.get_logger(__name__)


async def write_snapshots(
    settings: Streams, store: Store, beliefs: Beliefs, publisher: Publisher, metrics: Metrics
) -> None:
    """Take snapshots until cancelled, whenever no other process takes them."""
    process = uuid4().hex
    snapshots = Snapshots(store, beliefs)
    period = settings.snapshot_s
    clock = asyncio.get_running_loop().time
    published = -math.inf
    unavailable = False
    while True:
        started = clock()
        try:
            if await store.renew_leadership(process, for_s=3 * period):
                with metrics.snapshot_duration.time():
                    snapshot = await snapshots.take(utc_now())
                    await store.write_snapshot(snapshot)
                if started - published >= settings.publish_s:
                    await publisher.publish(_records(snapshot))
                    published = started
            if unavailable:
                unavailable = False
                _log.info("snapshots_available")
        except (RedisError, BrokerError) as error:
            if not unavailable:
                unavailable = True
                _log.warning("snapshots_unavailable", error=str(error))
        await asyncio.sleep(max(0.0, started + period - clock()))


def _records(snapshot: Mapping[str, bytes]) -> list[Record]:
    """Return a snapshot's answers for Kafka, with ``WINDOW/LEVEL[/COUNTRY]`` as their keys."""
    answers = answers_in(snapshot)
    return [Record(SHARES, name.encode(), answer) for name, answer in answers.items()]
