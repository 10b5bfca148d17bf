"""Quix Streams with a sink that writes batches.

Its documentation tunes sinks by the checkpoint: each partition's messages since the last one are a
batch, and the offsets are committed when all of them are written. The more messages, the more
seldom Redis adds up the same hours; other numbers than the one below were not compared.
"""

from __future__ import annotations

import asyncio

from quixstreams import Application
from quixstreams.sinks.base import BatchingSink, SinkBatch

from benchmarks.rivals.cells import SETTINGS, Cells
from miningmap.kafka.topics import REPORTS
from streams.worker.messages import RawMessage, headers_of

AT_ONCE = 10_000


class RedisSink(BatchingSink):  # type: ignore[misc]  # in another environment
    """Writes the messages of a partition since the last checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self._cells = Cells()
        self._runner = asyncio.Runner()

    def write(self, batch: SinkBatch) -> None:
        """Write them; return when Redis has acknowledged them."""
        raw = [
            RawMessage(
                batch.topic,
                batch.partition,
                item.offset,
                item.key,
                item.value,
                headers_of(item.headers),
                item.timestamp / 1000,
            )
            for item in batch
        ]
        self._runner.run(self._cells.write(raw))


def main() -> None:
    app = Application(
        broker_address=SETTINGS.kafka.bootstrap_servers,
        consumer_group=SETTINGS.kafka.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_every=AT_ONCE,
        commit_interval=1.0,
        loglevel="WARNING",
    )
    topic = app.topic(REPORTS, value_deserializer="bytes", key_deserializer="bytes")
    app.dataframe(topic).sink(RedisSink())
    app.run()


if __name__ == "__main__":
    main()
