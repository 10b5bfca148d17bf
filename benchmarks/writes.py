"""How many reports a second become cells, in batches as in the service."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final

from benchmarks.fixtures import (
    BATCH,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    batches,
    begins,
    pools,
    print_table,
    redis_on_one_core,
    report,
    whole,
)
from miningmap.kafka.topics import REPORTS
from miningmap.messages import encode
from miningmap.settings import Retention
from streams.redis.store import Store
from streams.worker.messages import RawMessage, decode_batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from miningmap.messages import Message

POOLS: Final = 100
PLACES: Final = 40
KEPT: Final = Retention()
HEAD: Final = ("what", "reports", "cells", "reports/s", "of those in CellWriter.write")


async def main() -> None:
    async with redis_on_one_core() as redis:
        store = Store(redis, KEPT)
        minute, hour, day = whole(NOW, MINUTE), whole(NOW, HOUR), whole(NOW, DAY)
        live = _in_order(minute - 30 * MINUTE, minute, MINUTE)
        hourly = _in_order(hour - 3 * DAY, hour, HOUR)
        daily = _in_order(day - 30 * DAY, day, DAY)
        rows = [
            ("minutes, 30 of them", *await _measured(store, live)),
            ("the same again", *await _measured(store, live)),
            ("hours, 3 days of them", *await _measured(store, hourly)),
            ("days, 30 of them", *await _measured(store, daily)),
        ]
        title = f"Writes: {POOLS} pools of {PLACES} places, in the order of time, {BATCH} a batch"
        print_table(title, HEAD, rows)


def _in_order(first: datetime, end: datetime, step: timedelta) -> list[Message]:
    some = pools(POOLS, PLACES)
    return [report(pool, start, step) for start in begins(first, end, step) for pool in some]


async def _measured(store: Store, messages: Sequence[Message]) -> list[str]:
    """Measure the way from Kafka's bytes to cells that Redis has acknowledged."""
    raw = [RawMessage(REPORTS, 0, 0, None, encode(message)) for message in messages]
    changed, decoding, writing = 0, 0.0, 0.0
    for batch in batches(raw):
        started = perf_counter()
        decoded = decode_batch(batch, KEPT, NOW)
        was_decoded = perf_counter()
        changed += (await store.writer.write(decoded.claimed)).changed
        decoding += was_decoded - started
        writing += perf_counter() - was_decoded
    rates = (len(raw) / (decoding + writing), len(raw) / writing)
    return [f"{len(raw):,}", f"{changed:,}", *(f"{rate:,.0f}" for rate in rates)]


if __name__ == "__main__":
    asyncio.run(main())
