"""Publish records to Kafka: acknowledged by all in-sync replicas, or an error that says why not.

The connection is made in the background, and replaced when it breaks, so a service can start while
the broker is away. A record may arrive twice; that changes no cell (method.md 3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from miningmap import messages
from miningmap.kafka.close import close_producer
from miningmap.kafka.errors import CREATE_TOPICS, BrokerError, broker_errors
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Message, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from miningmap.settings import Kafka

TIMEOUT_S: Final = 10.0
"""How long :meth:`Publisher.publish` waits for an acknowledgement, in seconds."""
SLOW_S: Final = 5.0
"""How long an acknowledgement may take before the log reports the broker as unavailable."""
MAX_RECORD_BYTES: Final = 2 * 1024 * 1024
"""Room for a dead letter: a message of the broker's largest size, and its headers."""
# The pause between two attempts to connect doubles from the first to the longest.
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Record:
    """One record, and the topic that it is written to."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def record_of(message: Message) -> Record:
    """The record of a message; its key keeps all messages of one pool in order."""
    topic = REPORTS if isinstance(message, Report) else NETWORK
    return Record(topic, messages.key(message), messages.encode(message))


@dataclass(frozen=True, eq=False)
class _Connection:
    producer: AIOKafkaProducer
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    deliveries: set[asyncio.Timeout] = field(default_factory=set)

    async def close(self, servers: str) -> None:
        """Close the producer, and raise a TimeoutError in the deliveries that still wait for it."""
        try:
            await close_producer(self.producer, servers)
        finally:
            for delivery in self.deliveries:
                delivery.reschedule(0)


class Publisher:
    """An idempotent producer that replaces its connection when it breaks."""

    def __init__(
        self, kafka: Kafka, topics: frozenset[str], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Prepare a publisher; it connects inside ``async with``.

        Args:
            kafka: how to reach the broker.
            topics: the topics that will be written to; they must exist.
            timeout_s: how long :meth:`publish` waits for an acknowledgement, in seconds.
        """
        self._kafka = kafka
        self._servers = kafka.bootstrap_servers
        self._topics = topics
        self._timeout_s = timeout_s
        self._outage: BrokerError | None = None
        self._tasks = asyncio.TaskGroup()
        self._connecting: asyncio.Task[NoReturn]
        self._connection: asyncio.Future[_Connection]

    async def __aenter__(self) -> Self:
        self._connection = asyncio.get_running_loop().create_future()
        await self._tasks.__aenter__()
        self._connecting = self._tasks.create_task(self._keep_connected())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connecting.cancel()
        if not isinstance(exc, asyncio.CancelledError):
            # A task group would wrap the block's own exception in an ExceptionGroup, so it is
            # passed cancellation alone.
            exc_type = exc = traceback = None
        await self._tasks.__aexit__(exc_type, exc, traceback)

    async def connected(self) -> None:
        """Wait until the broker is connected and all topics exist."""
        await asyncio.shield(self._connection)

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when the broker has acknowledged all records.

        Raises:
            BrokerError: it has not; some of the records may have arrived, or arrive later.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.deliver(records)
        except TimeoutError:
            problem = f"no acknowledgement within {self._timeout_s:g} s"
            if self._outage is None:
                raise BrokerError.at(self._servers, problem) from None
            raise BrokerError(f"{self._outage} ({problem})") from None

    async def deliver(self, records: Sequence[Record]) -> None:
        """Publish the records, waiting for as long as the broker is unavailable.

        Raises:
            BrokerError: a record is too large, or the connection broke; if it broke, the next call
                uses another one.
        """
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._report_slow)
        try:
            connection = await asyncio.shield(self._connection)
            await self._send(connection, records)
        finally:
            slow.cancel()
        self._report_available()

    async def _send(self, connection: _Connection, records: Sequence[Record]) -> None:
        try:
            async with asyncio.timeout(None) as delivery:
                connection.deliveries.add(delivery)
                await _acknowledged(connection.producer, records)
        except TimeoutError:
            raise BrokerError.at(self._servers, "the connection broke") from None
        except MessageSizeTooLargeError as error:
            problem, remedy = f"a record is too large: {error}", "send a smaller one"
            raise BrokerError.at(self._servers, problem, remedy, retriable=False) from error
        except KafkaError as error:
            # An idempotent producer retries by itself. A record that it gives up leaves a gap in
            # its sequence numbers, and the broker refuses everything after a gap.
            self._replace(connection)
            failed = BrokerError.at(self._servers, error)
            self._report_unavailable(failed)
            raise failed from error
        finally:
            connection.deliveries.discard(delivery)

    def _replace(self, broken: _Connection) -> None:
        if not broken.broken.is_set():
            broken.broken.set()
            self._connection = asyncio.get_running_loop().create_future()

    async def _keep_connected(self) -> NoReturn:
        """Connect, and connect again whenever the connection breaks, until cancelled."""
        while True:
            connection = _Connection(await self._connect())
            try:
                self._connection.set_result(connection)
                await connection.broken.wait()
            finally:
                await connection.close(self._servers)

    async def _connect(self) -> AIOKafkaProducer:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                producer = await _start(self._kafka, self._topics)
            except BrokerError as error:
                self._report_unavailable(error)
            else:
                self._report_available()
                return producer
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _report_unavailable(self, error: BrokerError) -> None:
        if self._outage is None:
            _log.warning("kafka_unavailable", servers=self._servers, error=str(error))
        self._outage = error

    def _report_slow(self) -> None:
        if self._outage is None:
            problem = f"no acknowledgement for {SLOW_S:g} s"
            self._report_unavailable(BrokerError.at(self._servers, problem))

    def _report_available(self) -> None:
        if self._outage is not None:
            self._outage = None
            _log.info("kafka_available", servers=self._servers)


async def _start(kafka: Kafka, topics: frozenset[str]) -> AIOKafkaProducer:
    """A connected producer.

    Raises:
        BrokerError: the broker cannot be reached, or a topic does not exist.
    """
    servers = kafka.bootstrap_servers
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        enable_idempotence=kafka.idempotent,
        acks="all",
        client_id="miningmap",
        max_request_size=MAX_RECORD_BYTES,
    )
    try:
        async with broker_errors(servers, timeout_s=None):
            await producer.start()
            # All topics: some brokers create a topic that is asked for by name.
            existing = (await producer.client.fetch_all_metadata()).topics()
        if missing := topics - existing:
            raise BrokerError.at(servers, f"no topic {', '.join(sorted(missing))}", CREATE_TOPICS)
    except BaseException:
        await close_producer(producer, servers)
        raise
    return producer


async def _acknowledged(producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
    """Send the records, and return when the broker has acknowledged all of them."""
    sent: list[asyncio.Future[object]] = []
    try:
        for record in records:
            sent.append(  # noqa: PERF401 - what was sent before a failure is cancelled below
                await producer.send(
                    record.topic, key=record.key, value=record.value, headers=list(record.headers)
                )
            )
        await asyncio.gather(*sent)
    finally:
        for future in sent:
            future.cancel()
