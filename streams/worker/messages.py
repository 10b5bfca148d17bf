"""Messages as they were read from Kafka, and what a batch of them becomes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from miningmap.kafka.dead_letters import DeadLetter
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.messages import InvalidMessageError, Message, check_key, decode
from miningmap.plausibility import rejected
from miningmap.retention import TooLateError, horizon
from streams.method.cells import claims_of
from streams.metrics import FAILED
from streams.redis.cell_writer import Applied
from streams.worker.rejections import add_rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiokafka.structs import ConsumerRecord

    from miningmap.api.models import Refusal
    from miningmap.settings import Retention
    from streams.method.cells import Claim
    from streams.redis.generations import Partition, Range

TOPICS: Final = (REPORTS, NETWORK, DEAD_LETTERS)
"""The topics that are applied to Redis."""

_log = structlog.get_logger(__name__)


class RawMessage(NamedTuple):
    """A message as it was read from Kafka.

    ``written_s`` is the time at which it was written, in seconds since the Unix epoch, by its
    producer's clock; ``None`` if the message does not say it.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    written_s: float | None = None


@dataclass
class DecodedBatch:
    """A batch, split into claims, new dead letters and consumed dead letters.

    Attributes:
        claimed: the valid messages, with their claims.
        raw: the valid messages as they were read.
        dead_letters: the messages that cannot be used, with the reason.
        rejected: the newest rejected reading of each pool, from the consumed dead letters.
    """

    claimed: list[tuple[Message, Sequence[Claim]]] = field(default_factory=list)
    raw: list[RawMessage] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    rejected: dict[str, Refusal] = field(default_factory=dict)


def time_of(raw: RawMessage, now: datetime) -> datetime:
    """Return the time that decides what a message can still change, UTC.

    It is the message's own time and not the clock's, so that a message becomes the same cells when
    it is read again a year later. No message is from the future.
    """
    return datetime.fromtimestamp(min(_written_s(raw), now.timestamp()), UTC)


def _written_s(raw: RawMessage) -> float:
    return raw.written_s if raw.written_s and raw.written_s > 0 else inf


def decode_batch(batch: Sequence[RawMessage], retention: Retention, now: datetime) -> DecodedBatch:
    """Decode and validate a batch; a bad message never affects another one.

    Args:
        batch: the messages in the order in which they were read.
        retention: how long cells are kept.
        now: the clock, UTC: the time of new dead letters, and of messages that have none.
    """
    result = DecodedBatch()
    decode_into(result, batch, retention, now)
    return result


def decode_into(
    result: DecodedBatch, batch: Iterable[RawMessage], retention: Retention, now: datetime
) -> None:
    """Decode messages as :func:`decode_batch` does, and add them to what was decoded before."""
    for raw in batch:
        if raw.topic == DEAD_LETTERS:
            add_rejection(raw.key, raw.headers, result.rejected, now)
            continue
        at = time_of(raw, now)
        try:
            message = decode(raw.value or b"")
            if rejection := rejected(message, at):
                result.dead_letters.append(dead_letter(raw, *rejection, now))
            else:
                check_key(message, raw.key)
                result.claimed.append((message, claims_of(message, horizon(retention, at))))
                result.raw.append(raw)
        except InvalidMessageError as error:
            result.dead_letters.append(dead_letter(raw, error.reason, str(error), now))
        except TooLateError as error:
            result.dead_letters.append(dead_letter(raw, "too_late", str(error), now))
        except Exception as error:  # noqa: BLE001 - a bug must not stop all processing
            _log.exception("message_failed", topic=raw.topic, offset=raw.offset)
            result.dead_letters.append(dead_letter(raw, FAILED, repr(error), now))


def dead_letter(raw: RawMessage, reason: str, error: str, at: datetime) -> DeadLetter:
    """Return the dead letter that a message becomes at a time."""
    return DeadLetter(
        key=raw.key,
        value=raw.value or b"",
        reason=reason,
        error=error,
        at=at,
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
    )


def applied_by(
    batch: Sequence[RawMessage], now: datetime, ranges: Mapping[Partition, Range]
) -> Applied:
    """Return what is applied once a batch is written, which has these offsets of partitions."""
    oldest = min(batch, key=_written_s, default=None)
    return Applied(ranges, now if oldest is None else time_of(oldest, now))


def headers_of(
    headers: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]] | None,
) -> tuple[tuple[str, bytes], ...]:
    """Return headers, each name once; one may have no value, which is read as an empty one."""
    if not headers:
        return ()
    return tuple((name, value or b"") for name, value in dict(headers).items())


def raw_of(record: ConsumerRecord) -> RawMessage:
    """Return a message as aiokafka has read it."""
    return RawMessage(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        headers_of(record.headers),
        None if record.timestamp is None else record.timestamp / 1000,
    )
