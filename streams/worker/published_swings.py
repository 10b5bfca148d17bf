"""The events of swings that are in Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import SWINGS
from miningmap.swings import decode_swing

if TYPE_CHECKING:
    from miningmap.settings import Kafka
    from miningmap.swings import Swing


async def published_swings(kafka: Kafka) -> list[Swing]:
    """Return the events of swings that Kafka holds, the oldest first; what is none is left out.

    Raises:
        BrokerError: Kafka is unavailable.
    """
    events: list[Swing] = []
    async with open_reader(kafka, [SWINGS]) as reader:
        async for batch in reader.batches():
            for value in batch:
                try:
                    events.append(decode_swing(value))
                except (ValueError, RecursionError):
                    continue
    return events
