"""What is in Kafka and in Redis after a run, read without the services' own readers."""

from __future__ import annotations

import re
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis

from miningmap.kafka.clients import admin_client
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from tests.servers import kafka_at
from tests.torture.model import Name, Value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from aiokafka import ConsumerRecord

READ: Final = (REPORTS, NETWORK, DEAD_LETTERS)

_RANK: Final = struct.calcsize(">ddddd")
_KINDS: Final = {"m": "measured", "d": "declared", "e": "estimated", "p": "prior"}
_TIERS: Final = {"m": "minute", "h": "hour", "d": "day"}
_KEY: Final = re.compile(
    r"mm:(?:(?P<generation>\d+):)?\{(?:n|p:(?P<pool>[^}]+))\}:(?P<source>[^:]+)"
    r":(?:(?P<tier>[mh]):(?P<number>-?\d+)|(?P<days>d))"
)

_decode = msgspec.msgpack.Decoder(dict[str, object]).decode


@dataclass(frozen=True)
class Stored:
    """A record in Kafka; ``at`` is its timestamp in seconds."""

    topic: str
    partition: int
    offset: int
    at: float
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]

    @property
    def position(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return self.topic, self.partition, self.offset

    @property
    def origin(self) -> tuple[str, int, int] | None:
        """Where a dead letter came from; ``None`` if it never was in Kafka."""
        if "offset" not in self.headers:
            return None
        header = self.headers
        return header["topic"].decode(), int(header["partition"]), int(header["offset"])


@dataclass(frozen=True)
class Log:
    """All of Kafka: the records, the ends of the partitions, and what the group has committed."""

    records: Sequence[Stored]
    ends: Mapping[tuple[str, int], int]
    committed: Mapping[tuple[str, int], int]


async def read_positions(servers: str, group: str) -> Log:
    """Read the ends and what the group has committed, without any record."""
    async with _consumer(servers) as consumer:
        return await _positions(consumer, servers, group)


async def read_log(servers: str, group: str) -> Log:
    """Read the topics of messages and dead letters from their beginning to their end."""
    async with _consumer(servers) as consumer:
        positions = await _positions(consumer, servers, group)
        ends = {TopicPartition(*partition): end for partition, end in positions.ends.items()}
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        records: list[Stored] = []
        while [p for p, end in ends.items() if await consumer.position(p) < end]:
            for found in (await consumer.getmany(timeout_ms=1000)).values():
                records += map(_stored, found)
    return replace(positions, records=records)


@asynccontextmanager
async def _consumer(servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def _positions(consumer: AIOKafkaConsumer, servers: str, group: str) -> Log:
    async with admin_client(kafka_at(servers)) as admin:
        partitions = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics(list(READ))
            for partition in topic["partitions"]
        ]
        committed = await admin.list_consumer_group_offsets(group, partitions=partitions)
    ends = await consumer.end_offsets(partitions)
    return Log(
        [],
        {tuple(partition): end for partition, end in ends.items()},
        {tuple(partition): max(0, each.offset) for partition, each in committed.items()},
    )


def _stored(record: ConsumerRecord) -> Stored:
    return Stored(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp / 1000,
        record.key,
        record.value or b"",
        dict(record.headers),
    )


async def read_cells(url: str) -> dict[Name, Value]:
    """Read every value of every cell that readers of Redis see."""
    async with Redis.from_url(url) as redis:
        current = _text(await redis.hget("mm:{positions}", "generation"))
        cells: dict[Name, Value] = {}
        keys = [key async for key in redis.scan_iter("mm:*", count=1000, _type="hash")]
        for key in keys:
            found = _KEY.fullmatch(_text(key))
            if found and (found["generation"] or "") == current:
                fields = cast("Mapping[bytes, bytes]", await redis.hgetall(key))
                cells.update(_cells_of(found, fields))
        return cells


def _text(raw: bytes | str | None) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw or ""


def _cells_of(key: re.Match[str], fields: Mapping[bytes, bytes]) -> Iterator[tuple[Name, Value]]:
    tier = _TIERS[key["days"] or key["tier"]]
    for field, raw in fields.items():
        text = field.decode()
        if tier == "minute":
            number, form = int(key["number"]) * 60 + int(text), "claim"
        elif text[0] in "cr":
            number = int(text[1:]) + (int(key["number"]) * 24 if tier == "hour" else 0)
            form = "claim" if text[0] == "c" else "sum"
        else:
            continue  # what is remembered of the ranks of a day's hours
        yield (
            Name(key["pool"], key["source"], tier, number, form),
            _value(raw[_RANK:] if form == "claim" else raw),
        )


def _value(raw: bytes) -> Value:
    packed = msgspec.convert(_decode(raw), _Packed)
    places = {}
    for name, value in packed.p.items():
        code, _, kind = name.partition("/")
        places[code, _KINDS[kind]] = value
    return Value(packed.n, packed.t, places)


class _Packed(msgspec.Struct):
    n: int
    t: float
    p: dict[str, float] = {}
