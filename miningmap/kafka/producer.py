"""Publish records to Kafka; return once all in-sync replicas have them, else raise BrokerError.

The connection is made in the background, and replaced when it breaks, so a service can start while
the broker is unavailable. A record may arrive twice; that changes no cell (method.md 3).
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError

from miningmap import messages
from miningmap.dependencies import Dependency
from miningmap.kafka.close import close_producer
from miningmap.kafka.errors import (
    CHECK_REPLICAS,
    CREATE_TOPICS,
    BrokerError,
    broker_errors,
)
from miningmap.kafka.security import RefusedError, client_options, connecting
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Message, Report
from miningmap.settings import SERVERS_SETTING, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from prometheus_client import Histogram

    from miningmap.settings import Kafka

TIMEOUT_S: Final = 10.0
"""How long :meth:`Publisher.publish` waits for an acknowledgement, in seconds."""
SLOW_S: Final = 5.0
"""How long an acknowledgement may take, in seconds, before the log says kafka_unavailable."""
PROBE_S: Final = 5.0
"""How often the broker is asked for its topics, and how long its answer may take, in seconds."""
TOPICS_S: Final = 3.0
"""How long topics may be missing at the start, in seconds: a broker that starts lists none. As long
may it refuse this client, whose password can be newer than what the broker has read so far."""
MAX_RECORD_BYTES: Final = 2 * 1024 * 1024
"""Room for a dead letter: a message of the broker's largest size, and its headers."""
# The pause between two attempts to connect doubles from the first to the longest.
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0

_log = structlog.get_logger(__name__)


class MissingTopicsError(BrokerError):
    """The broker is available and lacks a topic."""


class RefusedTimestampError(BrokerError):
    """The broker takes no record with this timestamp."""


@dataclass(frozen=True)
class Record:
    """A record and the topic that it is written to.

    Attributes:
        topic: its topic.
        key: records with the same key stay in order.
        value: its content.
        headers: what describes the content.
        timestamp_ms: the time of the record, in milliseconds since the epoch; ``None`` for the time
            at which it is sent.
        partition: of the topic; ``None`` to let the key decide.
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None
    partition: int | None = None


def record_of(message: Message) -> Record:
    """Return the record of a message; its key keeps all messages of one pool in order."""
    topic = REPORTS if isinstance(message, Report) else NETWORK
    return Record(topic, messages.key(message), messages.encode(message))


@dataclass(frozen=True, eq=False)
class _Connection:
    """A connected producer, and the deliveries that wait for its acknowledgements.

    Attributes:
        servers: of the broker.
        producer: aiokafka's producer.
        broken: set when the connection has to be replaced.
        deliveries: the scopes of the deliveries in progress; :meth:`close` ends them.
    """

    servers: str
    producer: AIOKafkaProducer
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    deliveries: set[asyncio.Timeout] = field(default_factory=set)

    async def deliver(self, records: Sequence[Record]) -> None:
        """Send the records, and return when the broker has acknowledged all of them.

        Raises:
            BrokerError: the connection was closed before that.
            KafkaError: the producer gave up a record.
        """
        scope = asyncio.timeout(None)  # expires only if close() makes it
        self.deliveries.add(scope)
        try:
            async with scope:
                await _send(self.producer, records)
        except TimeoutError:
            raise BrokerError.at(self.servers, "the connection broke") from None
        finally:
            self.deliveries.discard(scope)

    async def close(self) -> None:
        """Close the producer, and end the deliveries that it has not acknowledged.

        aiokafka may never resolve their futures, so they would wait for ever.
        """
        try:
            await close_producer(self.producer, self.servers)
        finally:
            for scope in self.deliveries:
                scope.reschedule(0)


class Publisher:
    """A producer, idempotent unless the setting turns that off, that reconnects by itself."""

    def __init__(
        self,
        kafka: Kafka,
        topics: frozenset[str],
        *,
        timeout_s: float = TIMEOUT_S,
        state: Dependency | None = None,
        durations: Histogram | None = None,
    ) -> None:
        """Prepare a publisher; it connects inside ``async with``.

        Args:
            kafka: how to reach the broker.
            topics: the topics that will be written to; they must exist.
            timeout_s: how long :meth:`publish` waits for an acknowledgement, in seconds.
            state: shows whether the broker is available and has the topics.
            durations: where the time until the broker has answered is shown, by operation.
        """
        self._kafka = kafka
        self._servers = kafka.bootstrap_servers
        self._topics = topics
        self._timeout_s = timeout_s
        self._state = state or Dependency("kafka")
        self._durations = durations
        # Why there is no connection, what is wrong with it, and why deliveries fail or are slow.
        self._connection_error: BrokerError | None = None
        self._probe_error: BrokerError | None = None
        self._delivery_error: BrokerError | None = None
        self._deliveries: dict[object, float] = {}  # the start of each delivery in progress
        self._start_is_decided = asyncio.Event()  # connected, or wrong for long
        self._tasks = asyncio.TaskGroup()
        self._connect_task: asyncio.Task[NoReturn]
        self._connection: asyncio.Future[_Connection]

    async def __aenter__(self) -> Self:
        self._connection = asyncio.get_running_loop().create_future()
        await self._tasks.__aenter__()
        self._connect_task = self._tasks.create_task(self._keep_connected())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connect_task.cancel()
        if not isinstance(exc, asyncio.CancelledError):
            # A task group would wrap the block's own exception in an ExceptionGroup, so only a
            # cancellation is passed on to it.
            exc_type = exc = traceback = None
        await self._tasks.__aexit__(exc_type, exc, traceback)

    async def connected(self) -> None:
        """Wait until the broker is connected and all topics exist.

        Raises:
            SettingsError: at the start, the broker lacks a topic or refuses this client. Later
                that only makes it unavailable.
        """
        await self._start_is_decided.wait()
        if isinstance(self._connection_error, MissingTopicsError):
            raise SettingsError(f"{SERVERS_SETTING}: {self._connection_error}")
        if isinstance(self._connection_error, RefusedError):
            raise self._connection_error
        await asyncio.shield(self._connection)

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when the broker has acknowledged all records.

        Raises:
            BrokerError: it has not in time; some of the records may have arrived, or arrive later.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.deliver(records)
        except TimeoutError:
            if self._connection_error is not None:
                raise BrokerError(str(self._connection_error)) from None
            problem = f"no acknowledgement within {self._timeout_s:g} s"
            raise BrokerError.at(self._servers, problem, CHECK_REPLICAS) from None

    async def deliver(self, records: Sequence[Record]) -> None:
        """Publish the records, waiting for as long as the broker is unavailable.

        Raises:
            BrokerError: a record is too large, or the connection broke. The next call uses a new
                connection.
        """
        loop = asyncio.get_running_loop()
        slow = loop.call_later(SLOW_S, self._record_slow_delivery)
        self._deliveries[slow] = loop.time()
        try:
            connection = await asyncio.shield(self._connection)
            with self._timed("publish"):
                await connection.deliver(records)
        except KafkaError as error:
            # An idempotent producer retries by itself. A record that it gives up leaves a gap in
            # its sequence numbers, and the broker refuses everything after a gap.
            self._replace(connection)
            raise self._failed_delivery(error) from error
        finally:
            del self._deliveries[slow]
            slow.cancel()
        self._delivery_error = None
        if not isinstance(self._probe_error, MissingTopicsError):
            self._probe_error = None
        self._show()

    def _timed(self, operation: str) -> AbstractContextManager[object]:
        if self._durations is None:
            return nullcontext()
        return self._durations.labels(operation).time()

    def _failed_delivery(self, error: KafkaError) -> BrokerError:
        if isinstance(error, MessageSizeTooLargeError):
            problem, remedy = f"a record is too large: {error}", "send a smaller one"
            return BrokerError.at(self._servers, problem, remedy, retriable=False)
        kind = RefusedTimestampError if isinstance(error, InvalidTimestampError) else BrokerError
        self._delivery_error = kind.at(self._servers, error)
        self._show()
        return self._delivery_error

    def _replace(self, connection: _Connection) -> None:
        if not connection.broken.is_set():
            connection.broken.set()
            self._connection = asyncio.get_running_loop().create_future()

    async def _keep_connected(self) -> NoReturn:
        """Connect, and connect again whenever the connection breaks, until cancelled."""
        while True:
            connection = _Connection(self._servers, await self._connect())
            try:
                self._connection.set_result(connection)
                await self._probe(connection)
            finally:
                await connection.close()

    async def _probe(self, connection: _Connection) -> None:
        """Ask every few seconds whether the broker has all topics, until the connection breaks."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await connection.broken.wait()
                    return
            try:
                with self._timed("topics"):
                    await _require_topics(connection.producer, self._servers, self._topics)
            except BrokerError as error:
                self._probe_error = error
            else:
                self._probe_error = None
                if not self._is_slow():
                    self._delivery_error = None
            self._show()

    async def _connect(self) -> AIOKafkaProducer:
        wait_s = FIRST_WAIT_S
        clock = asyncio.get_running_loop().time
        wrong_since: float | None = None
        while True:
            try:
                producer = await _start(self._kafka, self._topics)
            except BrokerError as error:
                is_wrong = isinstance(error, MissingTopicsError | RefusedError)
                wrong_since = (wrong_since or clock()) if is_wrong else None
                self._connection_error = error
                self._show()
                if wrong_since is not None and clock() - wrong_since >= TOPICS_S:
                    self._start_is_decided.set()
            else:
                self._connection_error = self._probe_error = self._delivery_error = None
                self._start_is_decided.set()
                self._show()
                return producer
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _record_slow_delivery(self) -> None:
        problem = f"no acknowledgement for {SLOW_S:g} s"
        self._delivery_error = BrokerError.at(self._servers, problem, CHECK_REPLICAS)
        self._show()

    def _is_slow(self) -> bool:
        """Whether a delivery is waiting for longer than :data:`SLOW_S`."""
        now = asyncio.get_running_loop().time()
        return any(now - started >= SLOW_S for started in self._deliveries.values())

    def _show(self) -> None:
        """Record whether the broker is available, and log it if it is news."""
        error = self._connection_error or self._probe_error or self._delivery_error
        if error is None:
            if self._state.found():
                _log.info("kafka_available", servers=self._servers)
        elif self._state.lost(str(error)):
            _log.warning("kafka_unavailable", servers=self._servers, error=str(error))


async def _start(kafka: Kafka, topics: frozenset[str]) -> AIOKafkaProducer:
    """Return a connected producer.

    Raises:
        BrokerError: the broker cannot be reached, or a topic does not exist.
    """
    servers = kafka.bootstrap_servers
    producer = AIOKafkaProducer(
        **client_options(kafka),
        enable_idempotence=kafka.idempotent,
        compression_type=None if kafka.compression == "none" else kafka.compression,
        acks="all",
        client_id="miningmap",
        max_request_size=MAX_RECORD_BYTES,
    )
    try:
        async with connecting(kafka):
            await producer.start()
        await _require_topics(producer, servers, topics)
    except BaseException:
        await close_producer(producer, servers)
        raise
    return producer


async def _require_topics(producer: AIOKafkaProducer, servers: str, topics: frozenset[str]) -> None:
    """Ask the broker whether all topics exist.

    Raises:
        MissingTopicsError: one does not.
        BrokerError: the broker does not answer in time.
    """
    async with broker_errors(servers, PROBE_S):
        # All topics: some brokers create a topic that is requested by name.
        existing = (await producer.client.fetch_all_metadata()).topics()
    if missing := topics - existing:
        problem = f"no topic {', '.join(sorted(missing))}"
        raise MissingTopicsError.at(servers, problem, CREATE_TOPICS)


async def _send(producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
    """Send the records, and return when the broker has acknowledged all of them."""
    sent: list[asyncio.Future[object]] = []
    try:
        for record in records:
            sent.append(  # noqa: PERF401 - keeps the futures so far, so that none is left unawaited
                await producer.send(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    partition=record.partition,
                    timestamp_ms=record.timestamp_ms,
                    headers=list(record.headers),
                )
            )
        await asyncio.gather(*sent)
    finally:
        for future in sent:
            future.cancel()
