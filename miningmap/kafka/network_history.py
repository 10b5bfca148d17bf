"""What Kafka knows of the network's past, to compare pools with the network of their own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import NETWORK
from miningmap.messages import InvalidMessageError, decode

if TYPE_CHECKING:
    from miningmap.plausibility import KnownFigures


async def add_network_history(servers: str, known: KnownFigures) -> int:
    """Add every valid network message that is in Kafka now, and return how many there are.

    Raises:
        BrokerError: the broker cannot be reached, or the topic does not exist.
    """
    added = 0
    async with open_reader(servers, [NETWORK]) as topic:
        async for values in topic.batches():
            for value in values:
                try:
                    known.add(decode(value))
                except InvalidMessageError:  # a dead letter, which says nothing here either
                    continue
                added += 1
    return added
