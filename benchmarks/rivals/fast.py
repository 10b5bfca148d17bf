"""FastStream with a subscriber of batches, which acknowledges each one when it is written."""

from __future__ import annotations

import asyncio
import logging

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from benchmarks.rivals.cells import SETTINGS, Cells
from miningmap.kafka.topics import REPORTS
from streams.worker.messages import raw_of

AT_ONCE = 5_000

# Its documentation: without types, nothing is validated or converted a second time.
broker = KafkaBroker(
    SETTINGS.kafka.bootstrap_servers, apply_types=False, log_level=logging.DEBUG, logger=None
)
cells = Cells()


async def _undecoded(message: KafkaMessage) -> KafkaMessage:
    return message


@broker.subscriber(  # type: ignore[untyped-decorator]  # in another environment
    REPORTS,
    batch=True,
    group_id=SETTINGS.kafka.group,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.MANUAL,
    max_records=AT_ONCE,
    batch_timeout_ms=1000,
    decoder=_undecoded,
    no_reply=True,
)
async def write(message: KafkaMessage) -> None:
    await cells.write([raw_of(record) for record in message.raw_message])
    await message.ack()


if __name__ == "__main__":
    asyncio.run(FastStream(broker, logger=None).run())
