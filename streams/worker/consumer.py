"""The consumer: runs the Faust app, and at shutdown lets the current batch finish."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
from faust.exceptions import ConsumerNotStarted

from miningmap.kafka.access import Access, require_access
from miningmap.kafka.topics import DEAD_LETTERS, SHARES, SWINGS
from miningmap.tasks import run_until_first_ends
from streams.worker.faust_app import build_app
from streams.worker.messages import TOPICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import faust

    from miningmap.kafka.producer import Publisher
    from miningmap.settings import Settings
    from streams.redis.generations import Partition
    from streams.worker.messages import RawMessage
    from streams.worker.processor import Processor
    from streams.worker.rewinder import Rewinder

LAST_BATCH_S: Final = 2.0
"""At shutdown, the longest wait for the current batch; after it, the next process repeats it."""
STOP_S: Final = 3.0
"""The longest time for the shutdown of the consumer, its last batch included: Faust can hang while
Kafka is unavailable. The producer's shutdown comes after it, and both end within 10 s."""

_log = structlog.get_logger(__name__)


async def consume(
    settings: Settings, publisher: Publisher, processor: Processor, rewinder: Rewinder
) -> None:
    """Process batches from Kafka until cancelled.

    Raises:
        SettingsError: Kafka lacks a topic, or does not allow its use.
        Exception: a batch failed permanently, or Faust ended by itself.
    """
    reads = frozenset({*TOPICS, SWINGS})
    writes = frozenset({DEAD_LETTERS, SHARES, SWINGS})
    await require_access(settings.kafka, Access(reads, writes, settings.kafka.group))
    await publisher.connected()
    batches = _Batches(processor)
    app = build_app(settings, batches.process)
    async with _running(app, batches):
        _log.info("service_started", servers=settings.kafka.bootstrap_servers)
        await run_until_first_ends(
            batches.failed(),
            app.wait_until_stopped(),
            rewinder.watch(lambda: _assigned(app), batches.busy),
        )
        raise app.crash_reason or RuntimeError("Faust ended by itself")


class _Batches:
    """Passes batches to the processor and remembers the error of the first one that fails.

    Faust only logs an agent's exception: it continues after that batch and never commits again.

    Attributes:
        busy: held while a batch is processed.
    """

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.busy = asyncio.Lock()

    async def process(self, batch: Sequence[RawMessage]) -> None:
        """Process one batch."""
        async with self.busy:
            try:
                await self._processor.process(batch)
            except Exception as error:
                if not self._failure.done():
                    self._failure.set_exception(error)
                raise

    async def failed(self) -> None:
        """Wait until a batch fails, and raise its error."""
        await self._failure

    async def finish(self) -> None:
        """Wait for the current batch, and let no other batch begin.

        A batch that takes too long is interrupted. The next process repeats it, which is harmless.
        """
        try:
            async with asyncio.timeout(LAST_BATCH_S):
                await self.busy.acquire()
        except TimeoutError:
            _log.warning("batch_interrupted", seconds=LAST_BATCH_S)


def _assigned(app: faust.App) -> set[Partition]:
    """Return the partitions that this process reads; none while its consumer starts or stops."""
    try:
        return {(each.topic, each.partition) for each in app.consumer.assignment()}
    except ConsumerNotStarted:
        return set()


@asynccontextmanager
async def _running(app: faust.App, batches: _Batches) -> AsyncIterator[None]:
    """Run a Faust app during the block."""
    # A start that is cancelled half-way would leave a thread behind that keeps the process alive.
    starting = asyncio.create_task(app.start())
    try:
        await asyncio.shield(starting)
        yield
    finally:
        # Not by asyncio.timeout, which cancels once: Faust can ignore that, and go on waiting.
        stopping = asyncio.create_task(_stop(app, batches, starting))
        await asyncio.wait({stopping}, timeout=STOP_S)
        if stopping.done():
            stopping.result()
        else:
            stopping.cancel()
            starting.cancel()
            _log.warning("faust_stop_timed_out", seconds=STOP_S)
            # What is left of Faust is cancelled when the loop ends, and would log each cancellation
            # as a crash, with its traceback.
            for library in ("faust", "mode"):
                logging.getLogger(library).setLevel(logging.CRITICAL)


async def _stop(app: faust.App, batches: _Batches, starting: asyncio.Task[object]) -> None:
    await batches.finish()
    await asyncio.wait({starting})
    await app.stop()
