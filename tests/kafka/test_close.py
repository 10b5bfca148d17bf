"""Closing aiokafka's clients; test_producer.py and test_reader.py do it with a real broker."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from miningmap.kafka import close
from miningmap.kafka.close import close_consumer, close_producer

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


class Client:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Consumer:
    """Like aiokafka's while the broker is unavailable: stop() raises a CancelledError."""

    def __init__(self) -> None:
        self._client = Client()
        self.stopping = asyncio.Event()
        self.may_end = asyncio.Event()

    async def stop(self) -> None:
        self.stopping.set()
        await self.may_end.wait()
        raise asyncio.CancelledError


def closing(consumer: Consumer) -> Any:
    return close_consumer(cast("AIOKafkaConsumer", consumer))


async def test_a_cancellation_inside_the_consumer_does_not_cancel_the_caller() -> None:
    consumer = Consumer()
    consumer.may_end.set()
    await closing(consumer)
    assert consumer._client.closed


async def test_a_cancellation_of_the_caller_is_raised() -> None:
    consumer = Consumer()
    task = asyncio.create_task(closing(consumer))
    await consumer.stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert consumer._client.closed


async def test_a_consumer_whose_fetches_drop_a_cancellation_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As aiokafka's right after an assignment: nothing ends its fetches but a second one."""
    monkeypatch.setattr(close, "ABANDON_S", 0.05)
    consumer = Consumer()
    async with asyncio.timeout(5):
        await closing(consumer)
    assert consumer._client.closed


class Producer:
    """Like aiokafka's while its client is closing: it swallows a cancellation."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def flush(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopping.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_cancellation_that_the_producer_swallowed_is_raised() -> None:
    producer = Producer()
    task = asyncio.create_task(close_producer(cast("AIOKafkaProducer", producer), "a:1"))
    await producer.stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
