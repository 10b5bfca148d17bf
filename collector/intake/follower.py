"""Keep the partners' ledger in Redis up to date with the reports in Kafka.

A collector reads the reports as long as it runs. It looks only at those of partners' pools, and
applies them to the ledger (:mod:`collector.intake.ledger`). So the ledger is complete also if a
collector was killed between Kafka and Redis, if another program has published a report of a
partner, and if Redis has lost all or was set back. A request waits until everything that Kafka had
when it came is applied.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from redis.exceptions import RedisError

from collector.intake.ledger import Entry, Known
from miningmap.cbeci import contribution_rows
from miningmap.kafka.clients import groupless_consumer
from miningmap.kafka.errors import CONNECT_S, BrokerError, broker_errors
from miningmap.kafka.reader import partitions_of
from miningmap.kafka.topics import REPORTS
from miningmap.messages import InvalidMessageError, Report, decode
from miningmap.plausibility import rejected
from miningmap.rows import SOURCE
from miningmap.tasks import raise_if_cancelled
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.structs import ConsumerRecord

    from collector.intake.ledger import Entries, Ledger, Positions
    from miningmap.cbeci.contribution_rows import Period
    from miningmap.settings import Kafka

WAIT_S: Final = 10.0
"""How long a request waits for the ledger, in seconds, before its partner is asked to retry."""
CHECK_S: Final = 1.0
"""How often Redis is asked whether it still has the ledger, in seconds."""
KEEP_POSITIONS_S: Final = 10.0
"""How often positions are written if there is nothing else to write, in seconds."""
FORGET_S: Final = 3600.0
RETRY_S: Final = 1.0
"""The pause before Kafka and Redis are asked again after an error, in seconds."""
SPARE_DAYS: Final = 2
"""Rows of hours are kept so much longer than rows about such a time are accepted."""

_MAX_RECORDS: Final = 2000
_ANSWER_S: Final = 5.0
_PAUSE_S: Final = 0.1
_NOT_READ: Final = "the ledger of partners' rows has not been read yet"
# A report from so far ahead would leave no later version, and no clock is so wrong.
_MAX_AHEAD: Final = timedelta(days=366)

_log = structlog.get_logger(__name__)


class LedgerNotReadyError(Exception):
    """The ledger is not complete yet; the text says why, for the partner."""


class _LostError(Exception):
    """Redis or Kafka does not have what it had before."""


class Follows(Protocol):
    """Says up to where the ledger is complete."""

    async def known(self, pool: str) -> Known:
        """Return what Redis has to have, once all reports that Kafka has now are applied.

        Raises:
            LedgerNotReadyError: they are not within :data:`WAIT_S`.
        """

    def written(self, pool: str, version: datetime) -> None:
        """Note that rows with this version were written."""

    def doubt(self, pool: str) -> None:
        """Note that Redis has less than what is known."""


class FollowsNothing:
    """For an intake without Kafka: whatever Redis has is complete."""

    async def known(self, pool: str) -> Known:  # noqa: ARG002 - as declared
        """Return that nothing is known."""
        return Known()

    def written(self, pool: str, version: datetime) -> None:
        """Do nothing."""

    def doubt(self, pool: str) -> None:
        """Do nothing."""


class Follower:
    """Follows the reports of all pools that have a partner."""

    def __init__(
        self, kafka: Kafka, ledger: Ledger, pools: Callable[[], Collection[str]], hours_d: int
    ) -> None:
        """Prepare to follow.

        Args:
            kafka: how to reach the broker.
            ledger: in Redis.
            pools: returns the slugs of the pools that have a partner now.
            hours_d: days for which rows of hours are accepted.
        """
        self._kafka = kafka
        self._ledger = ledger
        self._pools = pools
        self._hours_d = hours_d
        self._readers: dict[str, _Reader] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Follow until cancelled; a pool whose first partner comes later is read by itself."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._start(self._pools())
            await asyncio.Event().wait()

    def _start(self, pools: Collection[str]) -> None:
        if pools and self._tasks is not None:
            reader = _Reader(self._kafka, self._ledger, frozenset(pools), self._hours_d)
            self._readers.update(dict.fromkeys(pools, reader))
            self._tasks.create_task(reader.run())

    async def known(self, pool: str) -> Known:
        """Return what Redis has to have, once all reports that Kafka has now are applied."""
        if pool not in self._readers:
            self._start([pool])
        reader = self._readers.get(pool)
        if reader is None:
            raise LedgerNotReadyError("the service is starting")
        try:
            async with asyncio.timeout(WAIT_S):
                return await reader.known(pool)
        except TimeoutError:
            raise LedgerNotReadyError(reader.note or "Kafka does not answer") from None

    def written(self, pool: str, version: datetime) -> None:
        """Note that rows with this version were written."""
        if reader := self._readers.get(pool):
            reader.raise_turn(pool, version)

    def doubt(self, pool: str) -> None:
        """Note that Redis has less than what is known, before the reader notices it."""
        if reader := self._readers.get(pool):
            reader.doubt()

    def notes(self) -> list[str]:
        """Return what to say in ``/readyz`` while a ledger is not complete."""
        return sorted({reader.note for reader in self._readers.values() if reader.note})

    def complete_ratio(self) -> float:
        """Return which part of the reports is read; 1 while the ledger is complete."""
        return min((reader.ratio for reader in self._readers.values()), default=1.0)


class _Reader:
    """Reads the reports of some pools, first those that Redis lacks, then new ones.

    Attributes:
        note: why the ledger of these pools is not complete; ``None`` if it is.
        ratio: which part of the reports that have to be read is read.
    """

    def __init__(self, kafka: Kafka, ledger: Ledger, pools: frozenset[str], hours_d: int) -> None:
        self._kafka = kafka
        self._servers = kafka.bootstrap_servers
        self._ledger = ledger
        self._pools = {pool.encode(): pool for pool in pools}
        self._hours_d = hours_d
        self._questions: AIOKafkaConsumer | None = None
        self._partitions: list[TopicPartition] = []
        self._applied: dict[int, int] = {}
        self._known: dict[str, Known] = {}
        self._moved = asyncio.Condition()
        self._asking = asyncio.Lock()
        self._is_complete = False
        self._is_in_doubt = False
        self._failing = False
        self.note: str | None = _NOT_READ
        self.ratio = 0.0

    async def run(self) -> None:
        """Read until cancelled, from anew after each error and each loss."""
        while True:
            try:
                await self._read()
            except _LostError as error:
                _log.warning("ledger_read_again", error=str(error))
            except (BrokerError, RedisError, OSError) as error:
                self.note = f"the ledger of partners' rows cannot be read: {error}"
                if not self._failing:
                    self._failing = True
                    _log.warning("ledger_unavailable", error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # noqa: BLE001 - logged, and tried again
                # A fault of this software, which must end neither polling nor live rows.
                self.note = f"the ledger of partners' rows cannot be read: {error!r}"
                _log.exception("ledger_failed")
                await asyncio.sleep(RETRY_S)
            finally:
                self._is_complete = False
                self._questions = None
                self.note, self.ratio = self.note or _NOT_READ, 0.0
            async with self._moved:
                self._moved.notify_all()
            raise_if_cancelled()

    def raise_turn(self, pool: str, version: datetime) -> None:
        """Note that Redis has rows with this version."""
        if (known := self._known.get(pool)) and known.turn < version:
            self._known[pool] = known._replace(turn=version)

    def doubt(self) -> None:
        """Ask for a check; until then the ledger counts as incomplete."""
        self._is_in_doubt = True
        self._is_complete = False

    async def known(self, pool: str) -> Known:
        """Return what Redis has, once all that Kafka has now is applied."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self._is_complete)
            questions = self._questions
            if questions is None:  # as a type checker cannot know, never while it is complete
                raise LedgerNotReadyError("the service is starting")
            with suppress(BrokerError):
                await self._reach(questions, await self._ends(questions))
                if self._is_complete and self._questions is questions:
                    return self._known[pool]
            raise_if_cancelled()
            await asyncio.sleep(_PAUSE_S)

    async def _ends(self, questions: AIOKafkaConsumer) -> Positions:
        """Return the offsets after the newest messages.

        Raises:
            BrokerError: Kafka does not answer in time.
        """
        async with self._asking:
            is_open = self._questions is questions
            if not is_open:
                return {}
            async with broker_errors(self._servers, _ANSWER_S):
                return _by_number(await questions.end_offsets(self._partitions))

    async def _reach(self, questions: AIOKafkaConsumer, wanted: Positions) -> None:
        """Wait until these positions are applied, or everything is read anew."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: self._questions is not questions or self._has(wanted)
            )

    def _has(self, wanted: Positions) -> bool:
        return all(self._applied.get(number, 0) >= end for number, end in wanted.items())

    # --- reading ----------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read until something fails, or is lost.

        Raises:
            _LostError: Redis or Kafka lacks what it had.
            BrokerError: Kafka is unavailable.
            RedisError: Redis is.
        """
        self._is_in_doubt = False
        # The broker answers the requests of a connection one after the other, and waits half a
        # second for new reports before it answers to a fetch. So questions have their own.
        async with (
            groupless_consumer(self._kafka) as consumer,
            groupless_consumer(self._kafka) as questions,
        ):
            async with broker_errors(self._servers):
                self._partitions = await partitions_of(self._kafka, [REPORTS], CONNECT_S)
                begins = _by_number(await consumer.beginning_offsets(self._partitions))
                ends = _by_number(await consumer.end_offsets(self._partitions))
            starts, building = await self._starts(begins, ends)
            consumer.assign(self._partitions)
            for partition in self._partitions:
                consumer.seek(partition, starts[partition.partition])
            self._applied = dict(starts)
            try:
                await self._follow(consumer, questions, starts, ends, building)
            finally:
                self._is_complete = False
                self._questions = None
                async with self._asking:  # a closed client would connect again, and stay connected
                    pass

    async def _starts(
        self, begins: Positions, ends: Positions
    ) -> tuple[dict[int, int], dict[str, str]]:
        """Return from where to read, and the pools that are built anew, with the id for that."""
        starts = dict(ends)
        building = {}
        for pool in self._pools.values():
            state = await self._ledger.state(pool)
            positions = dict(state.positions)
            is_ahead = any(positions.get(number, 0) > end for number, end in ends.items())
            if not positions or is_ahead or state.hours_d < self._hours_d:
                building[pool] = uuid.uuid4().hex
                await self._ledger.start_building(pool, building[pool])
                positions = {}
                _log.info("ledger_rebuilding", pool=pool, is_ahead=is_ahead)
            self._known[pool] = Known(positions)
            for number, begin in begins.items():
                starts[number] = min(starts[number], max(begin, positions.get(number, begin)))
        return starts, building

    async def _follow(
        self,
        consumer: AIOKafkaConsumer,
        questions: AIOKafkaConsumer,
        starts: Positions,
        targets: Positions,
        building: dict[str, str],
    ) -> None:
        write_at, forget_at, begun_at = 0.0, 0.0, time.monotonic()
        while True:
            wait_s = CHECK_S if self._is_complete or not self._has(targets) else 0.0
            async with broker_errors(self._servers, timeout_s=None):
                fetched = await consumer.getmany(
                    timeout_ms=round(wait_s * 1000), max_records=_MAX_RECORDS
                )
                positions = {tp.partition: await consumer.position(tp) for tp in self._partitions}
            self._check_kafka(consumer, positions)
            now = time.monotonic()
            is_due = now >= write_at
            await self._apply(fetched.values(), positions, building, is_due=is_due)
            write_at = now + KEEP_POSITIONS_S if is_due else write_at
            self._applied = positions
            self._show_progress(starts, targets)
            if not self._is_complete and self._has(targets):
                await self._finish(building, positions)
                self._completed(starts, positions, time.monotonic() - begun_at)
                self._questions = questions
                write_at = 0.0
            async with self._moved:
                self._moved.notify_all()
            if self._is_complete and now >= forget_at:
                forget_at = now + FORGET_S
                await self._forget()
            raise_if_cancelled()

    def _check_kafka(self, consumer: AIOKafkaConsumer, positions: Positions) -> None:
        if any(positions[number] < before for number, before in self._applied.items()):
            raise _LostError("Kafka has lost reports")
        if len(consumer.partitions_for_topic(REPORTS) or self._partitions) > len(self._partitions):
            raise _LostError("the topic has more partitions")
        if self._is_in_doubt:
            raise _LostError("Redis has lost rows")

    async def _apply(
        self,
        fetched: Iterable[Sequence[ConsumerRecord]],
        positions: Positions,
        building: Mapping[str, str],
        *,
        is_due: bool,
    ) -> None:
        """Add what was read to the ledgers, and the positions if they are due or rows are added."""
        entries = self._entries(record for records in fetched for record in records)
        for pool in self._pools.values():
            found = entries.get(pool, {})
            if pool in building:
                kept = not found or await self._ledger.build(pool, building[pool], found)
            else:
                kept = await self._add(pool, found, positions if found or is_due else {})
            if not kept:
                raise _LostError(f"Redis has lost rows of {pool}")

    async def _add(self, pool: str, entries: Entries, positions: Positions) -> bool:
        known = self._known[pool]
        before = known.positions
        later = {number: max(at, before.get(number, 0)) for number, at in positions.items()}
        if not await self._ledger.follow(pool, entries, known, later):
            return False
        self._known[pool] = self._known[pool]._replace(positions={**before, **later})
        for entry in entries.values():
            self.raise_turn(pool, entry.version)
        return True

    async def _finish(self, building: dict[str, str], positions: Positions) -> None:
        for pool, process in building.items():
            if not await self._ledger.finish(pool, process, positions, self._hours_d):
                raise _LostError(f"Redis has lost rows of {pool}, or another collector was faster")
            self._known[pool] = Known(dict(positions))
        building.clear()

    def _completed(self, starts: Positions, positions: Positions, seconds: float) -> None:
        self._is_complete = True
        self._failing = False
        self.note, self.ratio = None, 1.0
        read = sum(positions[number] - start for number, start in starts.items())
        _log.info("ledger_complete", messages=read, seconds=round(seconds, 1))

    def _show_progress(self, starts: Positions, targets: Positions) -> None:
        if self._is_complete:
            return
        total = sum(max(0, targets[number] - start) for number, start in starts.items())
        done = sum(self._applied[number] - start for number, start in starts.items())
        self.ratio = min(done / total, 1.0) if total else 0.0
        self.note = f"the ledger of partners' rows is read from Kafka: {self.ratio:.0%} done"

    async def _forget(self) -> None:
        before = utc_now() - timedelta(days=self._hours_d + SPARE_DAYS)
        for pool in self._pools.values():
            await self._ledger.forget_hours(pool, before)

    def _entries(self, records: Iterable[ConsumerRecord]) -> dict[str, dict[Period, Entry]]:
        """Return the latest rows of each pool and period that these reports have."""
        entries: dict[str, dict[Period, Entry]] = {}
        for record in records:
            pool = self._pools.get(record.key or b"")
            if pool is None or (found := _entry_of(record, pool)) is None:
                continue
            period, entry = found
            of_pool = entries.setdefault(pool, {})
            if period not in of_pool or of_pool[period].version < entry.version:
                of_pool[period] = entry
        return entries


def _entry_of(record: ConsumerRecord, pool: str) -> tuple[Period, Entry] | None:
    """Return the rows of a partner's report; ``None`` for what no row can be added to."""
    if SOURCE.encode() not in (record.value or b""):
        return None  # most reports are polled, and decoding costs more
    try:
        report = decode(record.value)
    except InvalidMessageError:
        return None
    if not isinstance(report, Report) or (report.pool, report.source) != (pool, SOURCE):
        return None
    now = utc_now()
    # First what cannot be true: there is no month after December 9999.
    if rejected(report, now) or report.fetched_at > now + _MAX_AHEAD:
        return None
    period = contribution_rows.period_of(report)
    if period is None:
        return None
    return period, Entry(report.fetched_at, contribution_rows.rows_of(report, record.headers))


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}
