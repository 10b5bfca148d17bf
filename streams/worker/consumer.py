"""The consumer: has the processor write what the group reads; at the end a batch may finish."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from miningmap.kafka.access import Access, require_access
from miningmap.kafka.topics import DEAD_LETTERS, SHARES, SWINGS
from miningmap.tasks import run_until_first_ends
from streams.worker.batches import in_turn
from streams.worker.faust_app import build_app
from streams.worker.group_reader import GroupReader
from streams.worker.messages import TOPICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import faust

    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Settings
    from streams.redis.generations import Partition
    from streams.worker.batches import Batch
    from streams.worker.group_reader import Fetch
    from streams.worker.processor import Processor
    from streams.worker.rewinder import Rewinder

LAST_BATCH_S: Final = 2.0
"""The longest wait for the current batch at shutdown, and before partitions are given back. After
it, whoever has the partitions next repeats the batch."""
STOP_S: Final = 5.0
"""The longest time for the shutdown of the consumer, its last batch and commit included. The
producer's shutdown comes after it, and both end within 10 s."""

_log = structlog.get_logger(__name__)


async def consume(
    settings: Settings, publisher: Publisher, processor: Processor, rewinder: Rewinder
) -> None:
    """Process batches from Kafka until cancelled.

    Raises:
        SettingsError: Kafka lacks a topic, or does not allow its use.
        Exception: a batch failed permanently, or the consumer ended by itself.
    """
    reads = frozenset({*TOPICS, SWINGS})
    writes = frozenset({DEAD_LETTERS, SHARES, SWINGS})
    await require_access(settings.kafka, Access(reads, writes, settings.kafka.group))
    await publisher.connected()
    consumer = Consumer(settings, processor)
    app = build_app(settings.kafka, consumer.run)
    async with _running(app, consumer):
        _log.info("service_started", servers=settings.kafka.bootstrap_servers)
        await run_until_first_ends(
            consumer.ended(),
            app.wait_until_stopped(),
            rewinder.watch(lambda: consumer.assigned, consumer.busy),
        )
        raise app.crash_reason or RuntimeError("the consumer ended by itself")


class _Decoded(NamedTuple):
    """A fetch and the batch that it is."""

    fetch: Fetch
    batch: Batch


class Consumer:
    """Passes what the group reads to the processor, fetch by fetch.

    Attributes:
        busy: held while a batch is written.
    """

    def __init__(self, settings: Settings, processor: Processor) -> None:
        self._processor = processor
        self._reader = GroupReader(
            settings.kafka,
            settings.kafka.group,
            TOPICS,
            limit=settings.streams.batch,
            between_fetches=self._between_batches,
        )
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.busy = asyncio.Lock()

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that this process reads; none while its consumer starts or stops."""
        return self._reader.assigned

    async def run(self) -> None:
        """Process what the group reads until cancelled.

        Raises:
            BrokerError: Kafka refuses the group, what it reads, or a dead letter.
        """
        try:
            async with self._reader.joined():
                await in_turn(self._fetches(), self._write)
        except Exception as error:
            self._end(error)
            raise
        finally:
            self._end(None)  # Faust takes a task that ends, or is cancelled, for a success

    async def ended(self) -> None:
        """Wait until it ends, and raise its error if it failed."""
        await self._ended

    async def finish(self) -> None:
        """Wait for the current batch, and let no other batch begin.

        A batch that takes too long is interrupted. The next process repeats it, which is harmless.
        """
        if not await self._is_idle():
            _log.warning("batch_interrupted", seconds=LAST_BATCH_S)

    def _end(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    async def _fetches(self) -> AsyncIterator[_Decoded]:
        async for fetch in self._reader.fetches():
            yield await self._decoded(fetch)

    async def _decoded(self, fetch: Fetch) -> _Decoded:
        return _Decoded(fetch, await self._processor.decode(fetch.messages, fetch.ranges))

    async def _write(self, decoded: _Decoded) -> None:
        """Write a fetch, and before it what has come meanwhile of partitions that are current."""
        if urgent := self._reader.urgent():
            await self._write_one(await self._decoded(urgent))
        await self._write_one(decoded)

    async def _write_one(self, decoded: _Decoded) -> None:
        fetch, batch = decoded
        async with self.busy:
            # Otherwise whoever has the partitions now reads it, or this process once more.
            if self._reader.is_current(fetch):
                await self._processor.write(batch)
                self._reader.done(fetch)

    @asynccontextmanager
    async def _between_batches(self) -> AsyncIterator[None]:
        """Let no batch begin during the block, and let the current one finish before if it can."""
        is_idle = await self._is_idle()
        try:
            yield
        finally:
            if is_idle:
                self.busy.release()

    async def _is_idle(self) -> bool:
        """Wait until no batch is written, and let none begin; return whether that was in time."""
        try:
            async with asyncio.timeout(LAST_BATCH_S):
                return await self.busy.acquire()
        except TimeoutError:
            return False


@asynccontextmanager
async def _running(app: faust.App, consumer: Consumer) -> AsyncIterator[None]:
    """Run a Faust app during the block."""
    try:
        await app.start()
        yield
    finally:
        # Not by asyncio.timeout, which cancels once: a batch can ignore that, and go on waiting.
        stopping = asyncio.create_task(_stop(app, consumer))
        await asyncio.wait({stopping}, timeout=STOP_S)
        if stopping.done():
            stopping.result()
        else:
            stopping.cancel()
            _log.warning("faust_stop_timed_out", seconds=STOP_S)
            # What is left of Faust is cancelled when the loop ends, and would log each cancellation
            # as a crash, with its traceback.
            for library in ("faust", "mode"):
                logging.getLogger(library).setLevel(logging.CRITICAL)


async def _stop(app: faust.App, consumer: Consumer) -> None:
    await consumer.finish()
    await app.stop()
