"""The snapshot writer: takes a snapshot when something has changed, writes and publishes it."""

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
from miningmap.times import MINUTE_S, bucket, utc_now
from streams.method.windows import ROLLING
from streams.queries.snapshot import Snapshots, answers_of
from streams.redis.damage import is_wrong_type
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Streams
    from streams.method.beliefs import Beliefs
    from streams.metrics import Metrics
    from streams.redis.store import Store

WHOLE_S: Final = 5.0
"""How often a snapshot is written as a whole, in seconds, also if nothing has changed: this shows
that it is current, and repairs what another process or a failover has left of it."""
LOOKED_S: Final = 0.05
"""How often it is looked whether messages were applied, by this process or by another one."""
LEASE_S: Final = 5.0
"""How long another process waits for one that has died, in seconds, before it takes snapshots."""
RENEWED_S: Final = 1.0
"""How often the lease is renewed, in seconds."""
RETRY_S: Final = 1.0
"""The pause after a snapshot that failed, in seconds."""
END_S: Final = 0.5
"""How long it may take to let another process take the snapshots, in seconds."""
REST: Final = 1.0
"""How long there is no other snapshot after one, as a multiple of the time that it took: however
much has changed, at least half of the time is left to messages."""
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

    While Kafka is unavailable they are still taken and served; only the newest answers are
    published when it is available again.

    Args:
        settings: how often they are taken and published.
        store: where they are written to, and the cells that they are computed from.
        beliefs: of all days.
        publisher: publishes them to Kafka.
        metrics: where their duration is shown.
        state: shows whether they can be taken.
    """
    state = state or Dependency("snapshots")
    unpublished = _Unpublished()
    writer = _Writer(settings, store, beliefs, metrics=metrics, unpublished=unpublished)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(unpublished.publish(publisher, settings.publish_s))
        try:
            while True:
                try:
                    async with asyncio.timeout(HUNG_S):
                        # Readers wait for a snapshot, and nobody for the messages of a backlog.
                        with store.writer.precedence.taken():
                            await writer.write_if_due()
                except Exception as error:  # noqa: BLE001 - no datum in Redis may end the consumer
                    writer.failed(forget=await _is_fault(error, state, store))
                else:
                    if writer.works and state.found():
                        _log.info("snapshots_available")
                raise_if_cancelled()
                await asyncio.sleep(min(LOOKED_S, settings.snapshot_s))
        finally:
            await writer.end()


class _Writer:
    """Writes snapshots, one after another.

    Attributes:
        works: whether the newest attempt was a success, or another process takes the snapshots.
    """

    def __init__(
        self,
        settings: Streams,
        store: Store,
        beliefs: Beliefs,
        *,
        metrics: Metrics,
        unpublished: _Unpublished,
    ) -> None:
        self._least_s = settings.snapshot_s
        self._whole_s = max(WHOLE_S, settings.snapshot_s)
        self._store = store
        self._beliefs = beliefs
        self._metrics = metrics
        self._unpublished = unpublished
        self._process = uuid4().hex
        self._clock = asyncio.get_running_loop().time
        self._snapshots = Snapshots(store.cells, beliefs)
        self._is_leading = False
        self._renewed_at = 0.0
        self._whole_at = 0.0  # when the next one is written as a whole
        self._rests_until = 0.0
        self._applied: object = None  # what was applied when the last one was begun
        self._minute: int | None = None  # in which the last one was taken
        self._untold: frozenset[str] = frozenset()
        self.works = False

    async def write_if_due(self) -> None:
        """Write a snapshot if this process takes them and something has changed.

        What changes them is what messages do to the cells, and the clock: at each new minute the
        windows cover other minutes.
        """
        if not await self._leads():
            self.works = True
            return
        if self._clock() < self._rests_until:
            return
        applied, now = await self._store.cells.applied(), utc_now()
        minute = bucket(now, MINUTE_S)
        is_whole = self._clock() >= self._whole_at
        if not is_whole and (applied, minute) == (self._applied, self._minute):
            return
        started = self._clock()
        is_new_minute = minute != self._minute
        with self._metrics.snapshot_duration.time():
            if is_new_minute:
                # Once a minute each window is told, changed or not, so that whoever listens knows
                # that what was told last is current.
                self._untold = frozenset(ROLLING)
            if is_whole or is_new_minute:
                await self._write(await self._snapshots.take(now))
            else:
                changes = await self._snapshots.take_changes(now)
                await self._write(changes.parts, changes.removed)
        ended = self._clock()
        self._applied, self._minute, self.works = applied, minute, True
        if is_whole or is_new_minute:
            self._whole_at = started + self._whole_s
        self._rests_until = max(started + self._least_s, ended + REST * (ended - started))

    async def _write(
        self, parts: Mapping[str, bytes], removed: Collection[str] | None = None
    ) -> None:
        self._metrics.damaged_series.set(len(self._snapshots.damaged))
        told = self._untold | self._snapshots.changed
        await self._store.snapshots.write(parts, told=told, removed=removed)
        self._unpublished.add(answers_of(told, parts))
        self._untold = frozenset()

    async def _leads(self) -> bool:
        """Return whether this process takes the snapshots, and renew its lease."""
        if self._clock() >= self._renewed_at + RENEWED_S:
            was_leading, self._is_leading = self._is_leading, False
            self._is_leading = await self._store.snapshots.renew_leadership(self._process, LEASE_S)
            self._renewed_at = self._clock()
            if not was_leading:
                self._whole_at = 0.0  # another process has written since
        return self._is_leading

    def failed(self, *, forget: bool) -> None:
        """Try again later, and write a whole snapshot.

        Args:
            forget: whether what is remembered may be the cause.
        """
        self.works = False
        self._whole_at = 0.0
        self._untold = frozenset(ROLLING)  # changes may have been found that were not told
        self._rests_until = self._clock() + min(RETRY_S, self._whole_s)
        if forget:
            self._snapshots = Snapshots(self._store.cells, self._beliefs)

    async def end(self) -> None:
        """Let another process take the snapshots at once."""
        if self._is_leading:
            with suppress(RedisError, TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._store.snapshots.end_leadership(self._process)


class _Unpublished:
    """The answers that Kafka does not have yet, of each the newest."""

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}
        self._added = asyncio.Event()

    def add(self, answers: Mapping[str, bytes]) -> None:
        """Add answers, by name."""
        self._answers |= answers
        if answers:
            self._added.set()

    async def publish(self, publisher: Publisher, period_s: float) -> NoReturn:
        """Publish them again and again, at most every ``period_s`` seconds."""
        state = Dependency("published snapshots")  # only for the log
        while True:
            await self._added.wait()
            self._added.clear()
            answers, self._answers = self._answers, {}
            try:
                await publisher.publish(_records(answers))
            except BrokerError as error:
                self.add(answers | self._answers)
                if state.lost(str(error)):
                    _log.warning("snapshots_not_published", error=str(error))
                await asyncio.sleep(max(period_s, RETRY_S))
                continue
            if state.found():
                _log.info("snapshots_published")
            await asyncio.sleep(period_s)


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


def _records(answers: Mapping[str, bytes]) -> list[Record]:
    """Return answers for Kafka, with ``WINDOW/LEVEL[/COUNTRY]`` as their keys."""
    return [Record(SHARES, name.encode(), answer) for name, answer in answers.items()]
