"""The shutdown of the consumer takes no longer than it may, whatever Faust does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from miningmap.settings import Settings
from streams.worker import consumer

if TYPE_CHECKING:
    import faust

    from streams.worker.processor import Processor


def make_consumer() -> consumer.Consumer:
    return consumer.Consumer(Settings(), cast("Processor", None))


class StuckFaust:
    """An app whose stop ignores its first cancellation, as Faust's does while Kafka is away."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def start(self) -> None:
        """Start at once."""

    async def stop(self) -> None:
        with suppress(asyncio.CancelledError):
            await self.released.wait()
        await self.released.wait()


async def test_a_faust_that_ignores_its_cancellation_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer, "STOP_S", 0.1)
    app = StuckFaust()
    running = make_consumer()
    try:
        async with asyncio.timeout(5):
            async with consumer._running(cast("faust.App", app), running):
                pass
    finally:
        app.released.set()


async def test_an_error_of_the_stop_is_raised() -> None:
    class FailingFaust(StuckFaust):
        async def stop(self) -> None:
            raise RuntimeError("broken")

    running = make_consumer()
    with pytest.raises(RuntimeError, match="broken"):
        async with consumer._running(cast("faust.App", FailingFaust()), running):
            pass
