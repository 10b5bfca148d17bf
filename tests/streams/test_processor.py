"""The processor turns batches into cells and dead letters; here without a broker."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from redis import RedisError

from miningmap import settings as config
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.messages import encode
from miningmap.places import all_places, is_locatable, outermost
from miningmap.redis_client import connect
from miningmap.times import utc_now
from streams.metrics import Metrics
from streams.redis.cell_writer import CellWriter
from streams.redis.store import Store
from streams.redis.written import Written
from streams.worker.messages import RawMessage, applied_by, decode_batch
from streams.worker.processor import Processor
from tests.cases import all_cases
from tests.servers import ROOT
from tests.streams.fixtures import NOON, network, process, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from redis.asyncio import Redis

    from miningmap.api.models import Refusal
    from miningmap.kafka.producer import Record
    from miningmap.messages import Report
    from streams.method.cells import Claim
    from streams.redis.cell_writer import Applied

KEPT = config.Retention()
NOW = NOON + timedelta(minutes=2)
MINUTE = timedelta(minutes=1)
CODES = [p.code for p in all_places() if is_locatable(p.code) and outermost(p.code) == p.code]
YEAR_9999 = datetime(9999, 12, 31, 22, tzinfo=UTC)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


def raw(value: bytes | None, offset: int = 7, key: bytes | None = b"a") -> RawMessage:
    return RawMessage(REPORTS, 3, offset, key, value)


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
        (encode(report(hashrate=0)), "implausible"),
        (encode(network(0)), "implausible"),
        (encode(report(hashrate=1, start=NOW + 5 * MINUTE)), "future"),
        (encode(network(1, start=NOW + 5 * MINUTE)), "future"),
        (encode(report(hashrate=1, start=YEAR_9999, end=YEAR_9999 + 60 * MINUTE)), "future"),
        (encode(report(places=dict.fromkeys(CODES[:700], 1.0), hold_s=86_400)), "too_large"),
        (encode(report(places=dict.fromkeys(CODES[:2001], 1.0))), "too_large"),
    ],
)
def test_an_invalid_message_becomes_a_dead_letter_with_its_reason(
    value: bytes | None, reason: str
) -> None:
    result = decode_batch([raw(value), GOOD], KEPT, NOW)
    assert [letter.reason for letter in result.dead_letters] == [reason]
    assert result.dead_letters[0].error
    assert len(result.claimed) == 1


@all_cases(
    "message",
    [
        report(hashrate=1, start=NOW + 4 * MINUTE),
        report(places={"US": 0.0}),  # a partner that has no miner there
    ],
)
def test_what_is_slightly_ahead_and_a_place_with_0_are_valid(message: Report) -> None:
    result = decode_batch([raw(encode(message))], KEPT, NOW)
    assert result.dead_letters == []
    assert [claimed for claimed, _ in result.claimed] == [message]


@pytest.mark.parametrize(
    ("written_after_s", "reason"),
    [
        (62, None),
        (48 * 3600 - 1, None),  # however long ago that is by the clock
        (49 * 3600 + 60, "too_late"),
        (-5 * 60, "future"),
    ],
)
def test_a_message_is_judged_by_the_time_at_which_it_was_written(
    written_after_s: float, reason: str | None
) -> None:
    sent = report(hashrate=1)
    written_s = sent.start.timestamp() + written_after_s
    message = RawMessage(REPORTS, 3, 7, b"a", encode(sent), written_s=written_s)
    result = decode_batch([message], KEPT, NOW + timedelta(days=300))
    assert [letter.reason for letter in result.dead_letters] == ([reason] if reason else [])


@pytest.mark.parametrize("written_s", [None, 0.0, -1.0, 1e18, YEAR_9999.timestamp()])
def test_the_clock_judges_a_message_that_is_from_no_time_or_from_the_future(
    written_s: float | None,
) -> None:
    late, good = (
        RawMessage(REPORTS, 3, 7, b"a", each.value, written_s=written_s) for each in (OLD, GOOD)
    )
    result = decode_batch([late, good], KEPT, NOW)
    assert [letter.reason for letter in result.dead_letters] == ["too_late"]
    assert applied_by([late, good], NOW, {}).at == NOW


class FlakyWriter(CellWriter):
    """A writer that fails a number of times before it accepts a batch."""

    def __init__(self, failures: int, too_late: Mapping[int, Sequence[int]] | None = None) -> None:
        self.failures = failures
        self.too_late = too_late or {}
        self.written: list[int] = []
        self.rejected: dict[str, Refusal] = {}

    async def write(
        self,
        claimed: Sequence[tuple[Any, Sequence[Claim]]],
        applied: Applied | None = None,
        *,
        rejected: Mapping[str, Refusal] | None = None,
    ) -> Written:
        del applied
        if self.failures:
            self.failures -= 1
            raise RedisError("away")
        self.written.append(len(claimed))
        self.rejected.update(rejected or {})
        return Written(0, self.too_late)


class Broker:
    """A broker that fails a number of times before it accepts records."""

    def __init__(self, failures: int = 0, *, retriable: bool = True) -> None:
        self.failures = failures
        self.retriable = retriable
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerError("away", retriable=self.retriable)
        self.records.extend(records)


def make_processor(writer: CellWriter, broker: Broker) -> tuple[Processor, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return Processor(writer, broker.deliver, KEPT, metrics, lambda: NOW), metrics


async def test_a_dead_letter_has_the_original_bytes_their_origin_and_the_reason() -> None:
    broker = Broker()
    processor, metrics = make_processor(FlakyWriter(0), broker)
    await process(processor, [GOOD, raw(b"poison", offset=8)])
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


@pytest.mark.parametrize(
    ("days", "named"), [([20_000], "2024-10-04 are"), ([20_001, 20_000], "2024-10-04 and 1 more")]
)
async def test_a_report_that_is_too_late_for_some_days_is_a_dead_letter_too(
    days: list[int], named: str
) -> None:
    broker = Broker()
    other = raw(encode(report("b", hashrate=2)), offset=9, key=b"b")
    processor, _ = make_processor(FlakyWriter(0, {1: days}), broker)
    await process(processor, [raw(b"poison", offset=8), GOOD, other])
    _, record = broker.records
    headers = {name: value.decode() for name, value in record.headers}
    assert (record.value, headers["offset"]) == (other.value, "9")
    assert headers["reason"] == "too_late"
    assert named in headers["error"]


async def test_a_batch_is_retried_while_redis_or_kafka_is_unavailable() -> None:
    writer, broker = FlakyWriter(failures=2), Broker(failures=2)
    processor, _ = make_processor(writer, broker)
    await process(processor, [GOOD, raw(b"poison")])
    assert writer.written == [1]
    assert len(broker.records) == 1


async def test_a_consumed_dead_letter_is_recorded_and_not_published_again() -> None:
    writer, broker = FlakyWriter(0), Broker()
    processor, _ = make_processor(writer, broker)
    await process(processor, [raw(b"poison")])
    (published,) = broker.records
    returned = RawMessage(DEAD_LETTERS, 0, 1, b"a", published.value, published.headers)
    await process(processor, [returned, RawMessage(DEAD_LETTERS, 0, 2, None, None)])
    assert broker.records == [published]
    assert (writer.rejected["a"].reason, writer.rejected["a"].at) == ("undecodable", NOW)


def test_every_reason_of_a_dead_letter_is_counted_from_0() -> None:
    table = (ROOT / "docs/architecture.md").read_text().partition("Reasons of dead letters")[2]
    reasons = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    metrics = Metrics(CollectorRegistry())
    (family,) = metrics.dead_letters.collect()
    assert {sample.labels["reason"]: sample.value for sample in family.samples} == dict.fromkeys(
        reasons, 0
    )


async def test_messages_are_counted_by_topic_and_result_and_batches_by_size() -> None:
    processor, metrics = make_processor(FlakyWriter(0, {1: [20_000]}), Broker())
    letter = RawMessage(DEAD_LETTERS, 0, 1, b"a", b"")
    of_network = RawMessage(NETWORK, 0, 1, b"bitcoin", encode(network(1)))
    await process(processor, [GOOD, raw(b"poison"), GOOD, letter, of_network])
    (family,) = metrics.messages.collect()
    assert {(s.labels["topic"], s.labels["result"]): s.value for s in family.samples} == {
        (REPORTS, "stored"): 1,
        (REPORTS, "dead_letter"): 2,
        (NETWORK, "stored"): 1,
        (NETWORK, "dead_letter"): 0,
        (DEAD_LETTERS, "read"): 1,
        (DEAD_LETTERS, "dead_letter"): 0,
    }
    count = metrics.registry.get_sample_value
    assert count("miningmap_batch_messages_sum") == 5
    assert count("miningmap_batch_messages_count") == 1
    assert count("miningmap_batch_duration_seconds_count") == 1


async def test_a_permanent_error_of_kafka_is_not_retried() -> None:
    processor, _ = make_processor(FlakyWriter(0), Broker(failures=1, retriable=False))
    with pytest.raises(BrokerError):
        await process(processor, [raw(b"poison")])


async def test_no_hash_in_redis_outlives_its_tier(client: Redis) -> None:
    """A report about the year 9999 would keep its hashes until then."""
    now = utc_now().replace(second=0, microsecond=0)
    starts = [
        *(datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1970, 2009, 2100, 9999)),
        *(now + timedelta(days=days) for days in (-9, 1, 400)),
    ]
    messages = [report(hashrate=1, start=now - MINUTE, hold_s=86_400)]
    messages += [report(hashrate=1, start=start) for start in starts]
    messages += [
        report(hashrate=1, start=start, end=start.replace(month=2)) for start in starts[1:5]
    ]
    broker = Broker()
    store = Store(client, KEPT)
    processor = Processor(store.writer, broker.deliver, KEPT, Metrics(CollectorRegistry()), utc_now)
    await process(processor, [raw(encode(message)) for message in messages])
    reasons = Counter(dict(record.headers)["reason"] for record in broker.records)
    assert reasons == {b"future": 6, b"too_late": 1, b"implausible": 4}
    longest = {
        b"m": timedelta(hours=KEPT.minutes_h + 2 + 25),
        b"h": timedelta(days=KEPT.hours_d + 4),
    }
    for tier, after in longest.items():
        assert [key async for key in client.scan_iter(b"mm:*:%s:*" % tier)]
        await store.writer.remove_expired(now + after)
        assert not [key async for key in client.scan_iter(b"mm:*:%s:*" % tier)]


@pytest.mark.parametrize("found", [None, b"", b"b", b"bitcoin", b"\xff"])
def test_a_message_without_the_key_of_its_pool_is_a_dead_letter(found: bytes | None) -> None:
    result = decode_batch([raw(GOOD.value, key=found), GOOD], KEPT, NOW)
    assert [(letter.reason, letter.key) for letter in result.dead_letters] == [("key", found)]
    assert result.raw == [GOOD]
