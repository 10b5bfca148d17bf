"""What Kafka knows of the past, to compare figures with what is known of their own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import NETWORK
from miningmap.messages import InvalidMessageError, decode_keyed
from miningmap.plausibility import rejected, too_large
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.structs import ConsumerRecord

    from miningmap.plausibility import KnownFigures
    from miningmap.settings import Kafka


async def add_network_history(kafka: Kafka, known: KnownFigures) -> int:
    """Add every network message that is in Kafka now, and return how many were added.

    Raises:
        BrokerError: the broker cannot be reached, or the topic does not exist.
    """
    added = 0
    async with open_reader(kafka, [NETWORK]) as topic:
        async for records in topic.records():
            added += add_figures(records, known)
    return added


def add_figures(records: Iterable[ConsumerRecord], known: KnownFigures) -> int:
    """Add the figures of messages, and return how many there are without those left out.

    Dead letters say nothing here either: messages that are invalid or cannot be true.
    """
    now, added = utc_now(), 0
    for record in records:
        try:
            message = decode_keyed(record.value, record.key)
        except InvalidMessageError:
            continue
        if rejected(message, now) or too_large(message.hashrate):
            continue
        known.add(message)
        added += 1
    return added
