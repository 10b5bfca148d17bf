"""Publishing to Kafka, for callers that wait for the acknowledgement and for those that do not.

:meth:`MessagePublisher.publish` is for the intake, whose client waits for a response: it has a time
limit. :class:`Outbox` is for pollers: it keeps their messages while the broker is unavailable, so
that polling continues.
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

    from prometheus_client import Histogram

    from miningmap.dependencies import Dependency
    from miningmap.kafka.producer import Record
    from miningmap.messages import Message
    from miningmap.settings import Kafka

Outgoing: TypeAlias = "Message | DeadLetter"
"""A message to publish, or a rejected reading in its place."""

# How many polls are kept while the broker is unavailable; above that the oldest are dropped.
CAPACITY: Final = 5_000
# The pause before a failed delivery is retried.
RETRY_S: Final = 0.5

_log = structlog.get_logger(__name__)


class MessagePublisher:
    """A connection to Kafka for reports, network messages and dead letters."""

    def __init__(
        self,
        settings: Kafka,
        *,
        acknowledged: Callable[[Sequence[Outgoing]], None],
        timeout_s: float = producer.TIMEOUT_S,
        state: Dependency | None = None,
        durations: Histogram | None = None,
    ) -> None:
        """Prepare a publisher; it connects in the background inside ``async with``.

        Args:
            settings: how to reach the broker.
            acknowledged: called with what the broker has acknowledged.
            timeout_s: how long :meth:`publish` waits for the broker, in seconds.
            state: shows whether the broker is available and has the topics.
            durations: where the time until the broker has answered is shown, by operation.
        """
        topics = frozenset({REPORTS, NETWORK, DEAD_LETTERS})
        self._kafka = producer.Publisher(
            settings, topics, timeout_s=timeout_s, state=state, durations=durations
        )
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

    async def require_topics(self) -> None:
        """Wait for ever, unless the broker lacks a topic at the start.

        Raises:
            SettingsError: it does.
        """
        await self._kafka.connected()
        await asyncio.Event().wait()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Return when the broker has acknowledged all messages.

        Raises:
            BrokerError: it has not in time; some of the messages may have arrived, or arrive later.
        """
        await self._kafka.publish(list(map(_record, messages)))
        self._acknowledged(messages)

    async def deliver(self, messages: Sequence[Outgoing]) -> None:
        """Like :meth:`publish`, but wait for as long as the broker is unavailable.

        Raises:
            BrokerError: a message is too large, or the connection broke. The next call uses a new
                connection.
        """
        await self._kafka.deliver(list(map(_record, messages)))
        self._acknowledged(messages)


def _record(outgoing: Outgoing) -> Record:
    if isinstance(outgoing, DeadLetter):
        return dead_letters.record_of(outgoing)
    return producer.record_of(outgoing)


class Outbox:
    """A bounded queue of pollers' messages on their way to Kafka."""

    def __init__(
        self, deliver: Callable[[Sequence[Outgoing]], Awaitable[None]], capacity: int = CAPACITY
    ) -> None:
        """Create an empty outbox.

        Args:
            deliver: returns when the broker has acknowledged the messages of one poll.
            capacity: how many polls are kept.
        """
        self._deliver = deliver
        self._polls: asyncio.Queue[Sequence[Outgoing]] = asyncio.Queue(capacity)
        self._dropping = False

    def put(self, messages: Sequence[Outgoing]) -> None:
        """Enqueue the messages of one poll without waiting; a full outbox drops its oldest poll."""
        if self._polls.full():
            self._polls.get_nowait()
            self._polls.task_done()
            if not self._dropping:
                self._dropping = True
                _log.error("outbox_full", capacity=self._polls.maxsize)
        self._polls.put_nowait(messages)

    async def run(self) -> None:
        """Deliver one poll after the other until cancelled."""
        while True:
            await self._deliver_with_retries(await self._polls.get())
            self._dropping = False
            self._polls.task_done()

    async def join(self) -> None:
        """Wait until everything that was put is delivered or dropped."""
        await self._polls.join()

    async def _deliver_with_retries(self, messages: Sequence[Outgoing]) -> None:
        """Deliver the messages of one poll, or drop them if no further attempt can help."""
        while True:
            try:
                await self._deliver(messages)
            except Exception as error:  # noqa: BLE001 - logged, if it is not retried
                # Besides what Kafka never accepts, these messages may meet a fault of this
                # software, which must not end the collector.
                if not (isinstance(error, BrokerError) and error.retriable):
                    _log.exception("messages_dropped", messages=len(messages))
                    return
            else:
                return
            await asyncio.sleep(RETRY_S)
