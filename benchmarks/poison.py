"""What messages that cannot be used cost the others: the whole service, on real Kafka and Redis.

``python -m benchmarks.poison [MESSAGES [ROUNDS]]``
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import timeit
import uuid
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog
from pydantic import SecretStr

from benchmarks.fixtures import MINUTE, NOW, begins, pools, print_table, report, whole
from miningmap import settings as config
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.topics import DEAD_LETTERS, REPORTS
from miningmap.messages import Report, decode, encode
from streams.service import run
from streams.worker import group_reader
from tests.servers import KafkaServer, RedisServer, recreate_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from miningmap.kafka.lag import Lag

MESSAGES: Final = 40_000
ROUNDS: Final = 3
POOLS: Final = 100
PLACES: Final = 20
PARTS: Final = (0.0, 0.01, 0.1)
POLL_S: Final = 0.1
_AT_ONCE: Final = 1000
_CALLS: Final = 2000
_DECODER: Final = msgspec.json.Decoder(Report)


class _Run(NamedTuple):
    """How many messages a second were processed, and what CPU one took in this process, in µs."""

    rate: float
    cpu_us: float


async def main(count: int, rounds: int) -> None:
    _decoding()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    vars(group_reader)["COMMIT_S"] = 0.1  # so that the end is seen when it is there
    kafka, redis = KafkaServer.launch(), RedisServer.launch()
    try:
        runs: dict[float, list[_Run]] = {part: [] for part in PARTS}
        await _measured(kafka, redis, _records(count, 0.0))  # warms up
        for _ in range(rounds):
            for part in PARTS:  # in turn, so that all meet the same machine
                redis.flush()
                runs[part].append(await _measured(kafka, redis, _records(count, part)))
        title = f"Poison: {count:,} messages of {PLACES} places, medians of {rounds} runs in turn"
        head = ("poison", "messages/s", "of those without", "CPU µs a message", "of that without")
        print_table(title, head, [_row(part, runs[part], runs[0.0]) for part in PARTS])
    finally:
        redis.close()
        kafka.close()


def _row(part: float, found: Sequence[_Run], clean: Sequence[_Run]) -> tuple[str, ...]:
    """Return the medians; the ratios are to the run of the same round, with lowest and highest."""
    rates = [run.rate / without.rate for run, without in zip(found, clean, strict=True)]
    costs = [run.cpu_us / without.cpu_us for run, without in zip(found, clean, strict=True)]
    return (
        f"{part:.0%}",
        f"{median(run.rate for run in found):,.0f}",
        _spread(rates),
        f"{median(run.cpu_us for run in found):.0f}",
        _spread(costs),
    )


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _decoding() -> None:
    """Print what it costs to see that a message has one meaning, beside decoding it."""
    (pool,) = pools(1, PLACES)
    message = report(pool, whole(NOW, MINUTE), MINUTE)
    canonical = encode(message)
    spaced = json.dumps(json.loads(canonical)).encode()
    escaped = spaced.replace(b"pool", rb"p\u006fol", 1)
    rows = [
        ("msgspec alone", _microseconds(lambda: _DECODER.decode(canonical))),
        ("decode, as encode() writes it", _microseconds(lambda: decode(canonical))),
        ("decode, as other libraries do", _microseconds(lambda: decode(spaced))),
        ("decode, with an escape in it", _microseconds(lambda: decode(escaped))),
    ]
    print_table(f"Decoding: a report of {PLACES} places", ("what", "µs"), rows)


def _microseconds(call: Callable[[], object]) -> str:
    return f"{min(timeit.repeat(call, number=_CALLS, repeat=7)) / _CALLS * 1e6:.1f}"


def _records(count: int, part: float) -> list[Record]:
    """Return reports of the last hour by the minute, some of which cannot be used."""
    some = pools(POOLS, PLACES)
    at = begins(whole(NOW, MINUTE) - 60 * MINUTE, whole(NOW, MINUTE), MINUTE)
    times = (at * (1 + count // (len(at) * POOLS)))[: -(-count // POOLS)]
    records = [record_of(report(pool, start, MINUTE)) for start in times for pool in some][:count]
    every = round(1 / part) if part else count + 1
    return [_poison(r, n // every) if n % every == every - 1 else r for n, r in enumerate(records)]


def _poison(record: Record, number: int) -> Record:
    """Return one of the kinds of messages that cannot be used, in turn."""
    value = record.value
    kinds = (
        Record(record.topic, record.key, value[:-1]),
        Record(record.topic, record.key, value.replace(b"report/1", b"report/9")),
        Record(record.topic, record.key, value.replace(b'"hashrate":', b'"hashrate":-', 1)),
        Record(record.topic, record.key, value.replace(b'"pool":', b'"pool":"x","pool":')),
        Record(record.topic, record.key, value.replace(b'"end":"2', b'"end":"9')),
        Record(record.topic, b"another", value),
        Record(record.topic, record.key, b"\xff\xfe"),
    )
    return kinds[number % len(kinds)]


async def _measured(kafka: KafkaServer, redis: RedisServer, records: Sequence[Record]) -> _Run:
    """Let the service make cells or dead letters of messages."""
    await recreate_topics(kafka.bootstrap_servers)
    settings = config.load().model_copy(
        update={
            "kafka": config.Kafka(
                bootstrap_servers=kafka.bootstrap_servers, group=f"poison-{uuid.uuid4().hex}"
            ),
            "redis": config.Redis(url=SecretStr(redis.url)),
            "streams": config.Streams(metrics_port=0),
        }
    )
    async with Publisher(settings.kafka, frozenset({REPORTS})) as publisher:
        for start in range(0, len(records), _AT_ONCE):
            await publisher.publish(records[start : start + _AT_ONCE])
    stop = asyncio.Event()
    service = asyncio.create_task(run(settings, stop))
    try:
        return await _rate(settings.kafka, len(records))
    finally:
        stop.set()
        await service


async def _rate(kafka: config.Kafka, count: int) -> _Run:
    topics = [REPORTS, DEAD_LETTERS]
    async with lag_of(kafka, kafka.group, topics) as read:
        first: tuple[float, float, int] | None = None
        while True:
            try:
                lag = await read()
            except BrokerError:  # the group has no coordinator yet
                await asyncio.sleep(POLL_S)
                continue
            done = count - _left(lag)
            if first is None and done:
                first = perf_counter(), process_time(), done
            if first and not any(progress.lag for progress in lag.values()):
                began, cpu_s, before = first
                number = count - before
                cost_us = (process_time() - cpu_s) / number * 1e6
                return _Run(number / (perf_counter() - began), cost_us)
            await asyncio.sleep(POLL_S)


def _left(lag: Lag) -> int:
    return sum(progress.lag for (topic, _), progress in lag.items() if topic == REPORTS)


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:3]]
    asyncio.run(main(*given, *(MESSAGES, ROUNDS)[len(given) :]))
