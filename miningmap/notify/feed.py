"""The topic of swings, followed by a consumer group: each event is handled before it is committed.

One process of the group has the topic's partition at a time. Another one continues where it was
committed last, so the event in between can be handled twice.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from miningmap.kafka.access import Access, require_access
from miningmap.kafka.clients import admin_client, partitions_of_topics
from miningmap.kafka.close import close_consumer
from miningmap.kafka.errors import CONNECT_S, CREATE_TOPICS, BrokerError, broker_errors
from miningmap.kafka.security import RefusedError, client_options, connecting
from miningmap.kafka.topics import SWINGS
from miningmap.notify.choice import Told
from miningmap.notify.events import InvalidEventError, event_of
from miningmap.settings import SERVERS_SETTING, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

    from miningmap.dependencies import Dependency
    from miningmap.notify.choice import Choice
    from miningmap.notify.metrics import Metrics, Result
    from miningmap.notify.receiver import Receiver
    from miningmap.settings import Kafka

Start: TypeAlias = Literal["beginning", "now"]

WAIT_MS: Final = 500
"""The longest wait for the next events, after which it is looked whether to stop."""
RETRY_S: Final = 2.0
PROBE_S: Final = 5.0
TOPICS_S: Final = 3.0
"""How long the topic may be missing at the start, in seconds: a broker that starts lists none. As
long may it refuse this client."""

# A receiver may be away for days, and the same process shall then go on. Whether the process lives
# is told by its heartbeats, which stop if it hangs.
_ANY_TIME_MS: Final = 2**31 - 1

_log = structlog.get_logger(__name__)


class Feed:
    """Sends what is chosen of the topic's events, and commits what is done."""

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        *,
        start: Start,
        choice: Choice,
        receiver: Receiver,
        metrics: Metrics,
        state: Dependency,
    ) -> None:
        """Prepare to follow the topic.

        Args:
            kafka: how to reach the broker.
            group: the consumer group.
            start: where a group begins that has committed nothing yet.
            choice: which events are sent.
            receiver: to which they are sent.
            metrics: where events are counted, and the lag is shown.
            state: shows whether the broker is available.
        """
        self._kafka = kafka
        self._servers = kafka.bootstrap_servers
        self._group = group
        self._start = start
        self._choice = choice
        self._receiver = receiver
        self._metrics = metrics
        self._state = state
        self._consumer: AIOKafkaConsumer | None = None  # while it is connected
        self._told: dict[TopicPartition, Told] = {}  # of the partitions that are being followed
        self._committed: dict[TopicPartition, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the topic until ``stop`` is set and the event in work is done.

        Raises:
            SettingsError: at the start, the topic does not exist or the broker refuses this client.
        """
        await self._require_topic(stop)
        while not stop.is_set():
            try:
                async with self._connected() as consumer:
                    while not stop.is_set():
                        await self._step(consumer, stop)
            except BrokerError as error:
                self._lost(error)
                await _wait(stop, RETRY_S)

    async def watch(self) -> NoReturn:
        """Show the lag, and whether the broker is available, also while an event waits."""
        while True:
            await asyncio.sleep(PROBE_S if self._state.reason is None else RETRY_S)
            if self._consumer is not None:
                try:
                    await self._probe(self._consumer)
                except BrokerError as error:
                    self._lost(error)

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        async with broker_errors(self._servers, PROBE_S):
            await consumer.topics()  # asks the broker, also if another process has the partition
            ends = await consumer.end_offsets(list(self._committed))
        for partition, committed in self._committed.items():
            # The embedded broker's end can be behind the offset that it let the group commit.
            lag = max(0, ends.get(partition, committed) - committed)
            self._metrics.lag.labels(*partition).set(lag)
        self._found()

    async def _require_topic(self, stop: asyncio.Event) -> None:
        wrong_since: float | None = None
        clock = asyncio.get_running_loop().time
        while not stop.is_set():
            try:
                async with admin_client(self._kafka) as admin, broker_errors(self._servers):
                    if SWINGS in await partitions_of_topics(admin):
                        break
                error = BrokerError.at(self._servers, f"no topic {SWINGS}", CREATE_TOPICS)
                wrong: SettingsError | None = SettingsError(f"{SERVERS_SETTING}: {error}")
            except BrokerError as unavailable:
                error = unavailable
                wrong = unavailable if isinstance(unavailable, RefusedError) else None
            wrong_since = (wrong_since or clock()) if wrong else None
            if wrong and wrong_since is not None and clock() - wrong_since >= TOPICS_S:
                raise wrong
            self._lost(error)
            await _wait(stop, RETRY_S)
        if not stop.is_set():
            await require_access(self._kafka, Access(reads=frozenset({SWINGS}), group=self._group))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A connected consumer, whose positions are not set yet.

        Raises:
            BrokerError: the broker cannot be reached, or refuses the group.
        """
        consumer = AIOKafkaConsumer(
            **client_options(self._kafka),
            group_id=self._group,
            enable_auto_commit=False,
            # If the committed position is no longer kept: what is left is still news.
            auto_offset_reset="earliest",
            max_poll_interval_ms=_ANY_TIME_MS,
            session_timeout_ms=round(self._kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=round(self._kafka.session_timeout_s * 1000 / 3),
        )
        consumer.subscribe([SWINGS], listener=_Revocations(self._leave))
        try:
            # Joining can take until the session of a member that has ended runs out.
            async with connecting(self._kafka, CONNECT_S + self._kafka.session_timeout_s):
                await consumer.start()
            self._consumer = consumer
            self._found()
            yield consumer
        finally:
            self._consumer = None
            self._told.clear()
            self._committed.clear()
            await close_consumer(consumer)

    async def _step(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        """Handle the events that arrive in a while."""
        await self._follow_assigned(consumer)
        async with broker_errors(self._servers, timeout_s=None):
            fetched = await consumer.getmany(timeout_ms=WAIT_MS)
        for partition, records in fetched.items():
            for record in records:
                if stop.is_set() or not self._is_followed(consumer, partition):
                    break
                await self._handle(consumer, partition, record, is_last=record is records[-1])

    def _is_followed(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> bool:
        return partition in self._told and partition in consumer.assignment()

    async def _follow_assigned(self, consumer: AIOKafkaConsumer) -> None:
        """Set the positions of partitions that this process has only now."""
        assigned = consumer.assignment()
        for partition in self._told.keys() - assigned:
            self._leave(partition)
        for partition in assigned - self._told.keys():
            async with broker_errors(self._servers, CONNECT_S):
                try:
                    self._told[partition] = await self._position(consumer, partition)
                except IllegalStateError:  # another process has it now
                    continue

    async def _position(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> Told:
        """Go where the group left off, and return what was told until there.

        The first time that is where the group begins. It is committed at once: events that arrive
        while this process is down are then after it.
        """
        stored = await self._stored(partition)
        if stored.offset >= 0:
            consumer.seek(partition, stored.offset)
            self._committed[partition] = stored.offset
            return Told.decoded(stored.metadata)
        # Not seek_to_end(): aiokafka may be asking for the beginning already, and takes its answer.
        ask = consumer.end_offsets if self._start == "now" else consumer.beginning_offsets
        told, offset = Told(), (await ask([partition]))[partition]
        consumer.seek(partition, offset)
        await consumer.commit({partition: (offset, told.encoded())})
        self._committed[partition] = offset
        return told

    async def _stored(self, partition: TopicPartition) -> OffsetAndMetadata:
        async with admin_client(self._kafka) as admin:
            found = await admin.list_consumer_group_offsets(self._group, partitions=[partition])
        if partition not in found:  # aiokafka drops the error of a group that is being loaded
            problem = f"the coordinator of the group {self._group} is not ready"
            raise BrokerError.at(self._servers, problem, "try again in a few seconds")
        return found[partition]

    async def _handle(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        record: ConsumerRecord,
        *,
        is_last: bool,
    ) -> None:
        """Send an event if it is chosen, and commit what is done.

        What is left out is committed with what follows, at the latest with the last of its fetch.
        """
        told = self._told[partition]
        result: Result = "left_out"
        try:
            event = event_of(record.value or b"")
        except InvalidEventError as error:
            result = "invalid"
            _log.error("swing_event_invalid", offset=record.offset, error=str(error))
        else:
            if told.wants(event, self._choice):
                result = "delivered" if await self._receiver.deliver(event) else "refused"
            if result == "delivered" or event.is_end:
                told = told.after(event)
        self._metrics.notifications.labels(result).inc()
        if partition not in self._told:
            return  # it was taken away meanwhile: whoever has it now goes on from the last commit
        self._told[partition] = told
        if is_last or result in {"delivered", "refused"}:
            await self._commit(consumer, partition, record.offset + 1, told)

    async def _commit(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int, told: Told
    ) -> None:
        """Commit a position."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await consumer.commit({partition: (offset, told.encoded())})
            self._committed[partition] = offset
        except (CommitFailedError, IllegalStateError):
            self._leave(partition)
        except (KafkaError, TimeoutError) as error:
            # The position stays in memory, and the next commit includes this one.
            self._lost(BrokerError.at(self._servers, error))

    def _leave(self, partition: TopicPartition) -> None:
        self._told.pop(partition, None)
        self._committed.pop(partition, None)

    def _lost(self, error: BrokerError) -> None:
        if self._state.lost(str(error)):
            _log.warning("kafka_unavailable", servers=self._servers, error=str(error))

    def _found(self) -> None:
        if self._state.found():
            _log.info("kafka_available", servers=self._servers)


class _Revocations(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Tells of partitions that the group takes away, if only to give them back."""

    def __init__(self, leave: Callable[[TopicPartition], None]) -> None:
        self._leave = leave

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            self._leave(partition)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Do nothing: positions are set where they can be awaited."""


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait some time, or until ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
