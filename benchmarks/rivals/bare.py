"""A plain loop over aiokafka: fetch, decode, write, commit."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from benchmarks.rivals.cells import SETTINGS, Cells
from miningmap.kafka.security import client_options
from miningmap.kafka.topics import REPORTS
from streams.worker.messages import raw_of

AT_ONCE = 500


async def main() -> None:
    cells = Cells()
    consumer = AIOKafkaConsumer(
        REPORTS,
        **client_options(SETTINGS.kafka),
        group_id=SETTINGS.kafka.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    while True:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=AT_ONCE)
        if batch := [raw_of(record) for records in fetched.values() for record in records]:
            await cells.write(batch)
            await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())
