"""Messages to Kafka, from those who have to know that they arrived and those who need not wait.

:meth:`Publisher.publish` is for a caller who answers somebody (the intake): it gives up after a
while. :class:`Outbox` is for pollers: it keeps what they said while the broker is away, so that
polling goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import structlog

from miningmap.kafka import dead_letters, producer
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from miningmap.kafka.producer import Record
    from miningmap.messages import Message
    from miningmap.settings import Kafka

Outgoing: TypeAlias = "Message | DeadLetter"
"""What goes to Kafka: what a source said, or what may not be believed of it."""

# Polls that wait for a broker that is away; the oldest go first.
CAPACITY: Final = 5_000
# After a failure that another attempt can mend.
RETRY_S: Final = 0.5

_log = structlog.get_logger(__name__)


class Publisher:
    """A connection to Kafka for reports, network messages and dead letters."""

    def __init__(
        self,
        settings: Kafka,
        *,
        acknowledged: Callable[[Sequence[Outgoing]], None],
        timeout_s: float = producer.TIMEOUT_S,
    ) -> None:
        """Nothing is done before ``async with``, and that does not wait for the broker.

        Args:
            settings: how to reach the broker.
            acknowledged: called with what the broker has acknowledged.
            timeout_s: after this :meth:`publish` gives up, in seconds.
        """
        topics = frozenset({REPORTS, NETWORK, DEAD_LETTERS})
        self._kafka = producer.Publisher(settings, topics, timeout_s=timeout_s)
        self._acknowledged = acknowledged

    async def __aenter__(self) -> Self:
        await self._kafka.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._kafka.__aexit__(exc_type, exc, traceback)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Return when the broker has acknowledged all messages.

        Raises:
            BrokerError: it has not; some of the messages may have arrived, or arrive later.
        """
        await self._kafka.publish(list(map(_record, messages)))
        self._acknowledged(messages)

    async def deliver(self, messages: Sequence[Outgoing]) -> None:
        """Like :meth:`publish`, but wait for as long as the broker is away.

        Raises:
            BrokerError: the connection failed for good; the next call gets a new one.
        """
        await self._kafka.deliver(list(map(_record, messages)))
        self._acknowledged(messages)


def _record(outgoing: Outgoing) -> Record:
    if isinstance(outgoing, DeadLetter):
        return dead_letters.record_of(outgoing)
    return producer.record_of(outgoing)


class Outbox:
    """What pollers said, on its way to Kafka: kept while the broker is away."""

    def __init__(
        self, deliver: Callable[[Sequence[Outgoing]], Awaitable[None]], capacity: int = CAPACITY
    ) -> None:
        self._deliver = deliver
        self._waiting: asyncio.Queue[Sequence[Outgoing]] = asyncio.Queue(capacity)
        self._dropping = False

    def put(self, messages: Sequence[Outgoing]) -> None:
        """Take messages to be delivered. Never waits; a full outbox drops its oldest."""
        if self._waiting.full():
            self._waiting.get_nowait()
            self._waiting.task_done()
            if not self._dropping:
                self._dropping = True
                _log.error("outbox full: dropping the oldest", polls=self._waiting.maxsize)
        self._waiting.put_nowait(messages)

    async def run(self) -> None:
        """Deliver, one poll after the other, until cancelled."""
        while True:
            await self._deliver_in_the_end(await self._waiting.get())
            self._dropping = False
            self._waiting.task_done()

    async def empty(self) -> None:
        """Wait until all that was put is delivered."""
        await self._waiting.join()

    async def _deliver_in_the_end(self, messages: Sequence[Outgoing]) -> None:
        while True:
            try:
                await self._deliver(messages)
            except BrokerError as error:
                if not error.retriable:
                    _log.exception("report dropped: Kafka will never take it")
                    return
            else:
                return
            await asyncio.sleep(RETRY_S)
