"""Batches to cells and dead letters, without a broker."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from redis import RedisError

from miningmap import settings as config
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import DEAD_LETTERS, REPORTS
from miningmap.messages import encode
from streams.metrics import Metrics
from streams.redis.store import Store, horizon
from streams.worker.processor import Processor, RawMessage, sort
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from miningmap.api.models import Refusal
    from miningmap.kafka.producer import Record
    from streams.method.cells import Claim

KEPT = config.Retention()
NOW = NOON + timedelta(minutes=2)


def raw(value: bytes | None, offset: int = 7) -> RawMessage:
    return RawMessage(REPORTS, 3, offset, b"a", value)


GOOD = raw(encode(report(hashrate=1)))
OLD = raw(encode(report(hashrate=1, start=NOON - timedelta(days=9))))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"poison", "undecodable"),
        (b"\xff\xfe", "undecodable"),
        (b"", "undecodable"),
        (None, "undecodable"),
        (b"[]", "schema"),
        (b'{"schema":"report/9"}', "schema"),
        (b'{"schema":"report/1"}', "invalid"),
        (OLD.value, "too_late"),
    ],
)
def test_what_cannot_be_used_is_told_apart_with_its_reason(
    value: bytes | None, reason: str
) -> None:
    result = sort([raw(value), GOOD], horizon(KEPT, NOW), NOW)
    assert [letter.reason for letter in result.dead] == [reason]
    assert result.dead[0].error
    assert len(result.good) == 1


class FlakyStore(Store):
    """A store that fails a number of times before it takes what it is given."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[int] = []
        self.noted: dict[str, Refusal] = {}

    async def write(self, claimed: Sequence[tuple[Any, Sequence[Claim]]]) -> int:
        if self.failures:
            self.failures -= 1
            raise RedisError("away")
        self.written.append(len(claimed))
        return 0

    async def note_refused(self, newest: Mapping[str, Refusal]) -> None:
        self.noted.update(newest)


class Broker:
    """Takes records after a number of failures."""

    def __init__(self, failures: int = 0, *, retriable: bool = True) -> None:
        self.failures = failures
        self.retriable = retriable
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerError("away", retriable=self.retriable)
        self.records.extend(records)


def processor(store: Store, broker: Broker) -> tuple[Processor, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return Processor(store, broker.deliver, KEPT, metrics, lambda: NOW), metrics


async def test_a_dead_letter_is_the_bytes_as_they_came_with_whence_and_why() -> None:
    broker = Broker()
    made, metrics = processor(FlakyStore(0), broker)
    await made.process([GOOD, raw(b"poison", offset=8)])
    (record,) = broker.records
    assert (record.topic, record.key, record.value) == (DEAD_LETTERS, b"a", b"poison")
    headers = {name: value.decode() for name, value in record.headers}
    error = headers.pop("error")
    assert "JSON" in error
    assert headers == {
        "reason": "undecodable",
        "topic": REPORTS,
        "partition": "3",
        "offset": "8",
        "at": "2026-11-22T12:02:00Z",
    }
    count = metrics.registry.get_sample_value
    assert count("miningmap_dead_letters_total", {"reason": "undecodable"}) == 1
    assert count("miningmap_report_age_seconds_count") == 1
    assert count("miningmap_report_age_seconds_sum") == 60


async def test_while_redis_or_kafka_is_away_the_batch_waits_and_nothing_is_lost() -> None:
    store, broker = FlakyStore(failures=2), Broker(failures=2)
    made, _ = processor(store, broker)
    await made.process([GOOD, raw(b"poison")])
    assert store.written == [1]
    assert len(broker.records) == 1


async def test_a_dead_letter_that_comes_back_is_noted_and_never_buried_again() -> None:
    store, broker = FlakyStore(0), Broker()
    made, _ = processor(store, broker)
    await made.process([raw(b"poison")])
    (buried,) = broker.records
    returned = RawMessage(DEAD_LETTERS, 0, 1, b"a", buried.value, buried.headers)
    await made.process([returned, RawMessage(DEAD_LETTERS, 0, 2, None, None)])
    assert broker.records == [buried]
    assert (store.noted["a"].reason, store.noted["a"].at) == ("undecodable", NOW)


async def test_what_kafka_will_never_take_is_not_tried_for_ever() -> None:
    made, _ = processor(FlakyStore(0), Broker(failures=1, retriable=False))
    with pytest.raises(BrokerError):
        await made.process([raw(b"poison")])
