"""Records to Kafka: acknowledged by all in-sync replicas, or an error that says why not.

One connection that is made in the background and made anew when it breaks, so that a service starts
while the broker is still away. A record may arrive twice; no cell changes by that (method.md 3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from miningmap import messages
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Message, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from miningmap.settings import Kafka

# How long a caller of publish() waits, and after how long the log tells of it.
TIMEOUT_S: Final = 10.0
SLOW_S: Final = 5.0
# At the end: first to deliver what the producer still holds, then to let go of it.
FLUSH_S: Final = 3.0
ABANDON_S: Final = 1.0
# A dead letter is a message of the broker's largest size, and headers.
MAX_RECORD_BYTES: Final = 2 * 1024 * 1024
# Between two attempts, doubling.
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Record:
    """One record on its way to a topic."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def record_of(message: Message) -> Record:
    """A message for its topic, keyed so that all messages of one pool stay in order."""
    topic = REPORTS if isinstance(message, Report) else NETWORK
    return Record(topic, messages.key(message), messages.encode(message))


class PublishError(Exception):
    """The broker has not acknowledged; ``again`` is whether another attempt can help."""

    def __init__(self, text: str, *, again: bool = True) -> None:
        super().__init__(text)
        self.again = again


class Publisher:
    """An idempotent producer that outlives its connections."""

    def __init__(
        self, kafka: Kafka, topics: frozenset[str], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Nothing is done before ``async with``.

        Args:
            kafka: how to reach the broker.
            topics: what will be written to; they must exist.
            timeout_s: after this :meth:`publish` gives up, in seconds.
        """
        self._kafka = kafka
        self._servers = kafka.bootstrap_servers
        self._topics = topics
        self._timeout_s = timeout_s
        self._lost = ""  # why, while it is
        self._producer: asyncio.Task[AIOKafkaProducer]

    async def __aenter__(self) -> Self:
        self._producer = asyncio.create_task(self._connect())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._producer.cancel()
        await asyncio.wait({self._producer})
        if not self._producer.cancelled():
            await _close(self._producer.result())

    async def connected(self) -> None:
        """Wait until there is a connection and all topics exist."""
        await asyncio.shield(self._producer)

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when the broker has acknowledged all records.

        Raises:
            PublishError: it has not; some of the records may have arrived, or arrive later.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.deliver(records)
        except TimeoutError:
            text = f"Kafka at {self._servers} acknowledged nothing for {self._timeout_s:g} s"
            raise PublishError(f"{text}: {self._lost}" if self._lost else text) from None

    async def deliver(self, records: Sequence[Record]) -> None:
        """Like :meth:`publish`, but wait for as long as the broker is away.

        Raises:
            PublishError: the producer failed for good; the next call gets a new one.
        """
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._say_slow)
        try:
            producer = await asyncio.shield(self._producer)
            await self._send(producer, records)
        finally:
            slow.cancel()
        self._say_back()

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        sent: list[asyncio.Future[object]] = []
        try:
            for record in records:
                sent.append(  # noqa: PERF401 - a failure half-way leaves what was sent
                    await producer.send(
                        record.topic,
                        key=record.key,
                        value=record.value,
                        headers=list(record.headers),
                    )
                )
            await asyncio.gather(*sent)
        except MessageSizeTooLargeError as error:
            text = f"a record is too large for Kafka at {self._servers}: {error}"
            raise PublishError(text, again=False) from error
        except KafkaError as error:
            # An idempotent producer retries by itself; what it gives up on leaves a gap in its
            # sequence numbers, after which the broker refuses all that follows.
            self._replace(producer)
            self._say_lost(repr(error))
            raise PublishError(f"Kafka at {self._servers}: {error!r}") from error
        finally:
            for future in sent:
                future.cancel()

    def _replace(self, broken: AIOKafkaProducer) -> None:
        if self._producer.done() and self._producer.result() is broken:
            self._producer = asyncio.create_task(self._connect(instead_of=broken))

    async def _connect(self, instead_of: AIOKafkaProducer | None = None) -> AIOKafkaProducer:
        if instead_of is not None:
            await _close(instead_of)
        wait_s = FIRST_WAIT_S
        while True:
            try:
                producer = await _start(self._kafka, self._topics)
            except KafkaError as error:
                self._say_lost(str(error))
            else:
                self._say_back()
                return producer
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _say_lost(self, why: str) -> None:
        if not self._lost:
            _log.warning("kafka lost", servers=self._servers, error=why)
        self._lost = why

    def _say_slow(self) -> None:
        self._say_lost(self._lost or f"no acknowledgement for {SLOW_S:g} s")

    def _say_back(self) -> None:
        if self._lost:
            self._lost = ""
            _log.info("kafka back", servers=self._servers)


async def _start(kafka: Kafka, wanted: frozenset[str]) -> AIOKafkaProducer:
    """A connected producer.

    Raises:
        KafkaError: no broker, or a topic is missing.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        enable_idempotence=kafka.idempotent,
        acks="all",
        client_id="miningmap",
        max_request_size=MAX_RECORD_BYTES,
    )
    try:
        await producer.start()
        # Asked for by name, a missing topic would be created with the broker's defaults.
        topics = (await producer.client.fetch_all_metadata()).topics()
        if missing := wanted - topics:
            raise KafkaError(f"no topic {', '.join(sorted(missing))}: run `miningmap topics`")
    except BaseException:
        await _close(producer)
        raise
    return producer


async def _close(producer: AIOKafkaProducer) -> None:
    """Deliver what the producer holds if the broker lets it, and let go of it in any case."""
    try:
        async with asyncio.timeout(FLUSH_S):
            await producer.stop()
    except TimeoutError:
        _log.warning("kafka: closed with records that were not acknowledged")
        try:
            async with asyncio.timeout(ABANDON_S):
                # stop() waits for the broker; aiokafka offers no way to end without it.
                await producer._sender.close()  # noqa: SLF001
        except TimeoutError:
            pass
        await producer.client.close()
