"""Close aiokafka's clients in bounded time, also while the broker is unavailable.

The only module that uses private parts of aiokafka (docs/adr/0008-aiokafka-private-calls.md).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from miningmap.tasks import raise_if_cancelled

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

FLUSH_S: Final = 2.0
"""How long a producer may take to deliver the records that it still has, in seconds."""
ABANDON_S: Final = 1.0
"""How long the requests in flight may take to end after that, in seconds."""

_log = structlog.get_logger(__name__)


async def close_producer(producer: AIOKafkaProducer, servers: str) -> None:
    """Deliver the remaining records if the broker takes them in time, and close the producer.

    Args:
        producer: to be closed.
        servers: of its broker, for the log.
    """
    try:
        async with asyncio.timeout(FLUSH_S):
            # First, because a stop() that is cancelled while records remain leaves a task behind.
            await producer.flush()
            await producer.stop()
    except TimeoutError:
        _log.warning("kafka_closed_unacknowledged", servers=servers, seconds=FLUSH_S)
        # The steps of stop() except the first, which waits for all records without a limit.
        producer._closed = True  # noqa: SLF001 - decision record 8
        with suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_S):
                await producer._sender.close()  # noqa: SLF001 - decision record 8
        await producer.client.close()
    raise_if_cancelled()


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close the consumer.

    While the broker is unavailable, stop() cancels its own fetches and raises their CancelledError.
    The caller would take it for its own cancellation, and the connections would stay open.

    Right after an assignment, its fetches can drop the cancellation for which stop() waits. The
    timeout cancels them once more.
    """
    try:
        async with asyncio.timeout(ABANDON_S):
            await consumer.stop()
    except (asyncio.CancelledError, TimeoutError):
        # The step of stop() that the error skipped.
        await consumer._client.close()  # noqa: SLF001 - decision record 8
    raise_if_cancelled()
