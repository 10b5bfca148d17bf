"""``redrive``: refused messages come back as they were, each once, whatever interrupts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from launch.cli import redrive as command
from miningmap.kafka.dead_letters import DeadLetter, record_of
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES
from miningmap.redis_client import connect
from miningmap.times import utc_now
from streams.method.cells import Series
from streams.redis.store import Store
from streams.worker import group_reader
from streams.worker import messages as worker_messages
from tests.servers import ROOT
from tests.streams.fixtures import NOON, report
from tests.streams.processes import processed, publish, streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.structs import ConsumerRecord

    from miningmap.settings import Settings
    from tests.cli.conftest import Run
    from tests.servers import KafkaServer

TOPICS: Final = frozenset({REPORTS, NETWORK, SHARES, DEAD_LETTERS})
# So that it takes seconds, and is killed in the middle of them.
IN_SMALL_BATCHES: Final = """
from launch.cli import main, redrive

redrive.BATCH = 3
main()
"""
HEADERS: Final = (("traceparent", b"00-a"), ("b", b"\xff"))


@pytest.fixture
def broker(clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> KafkaServer:
    monkeypatch.setenv("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", clean_kafka.bootstrap_servers)
    return clean_kafka


class Topics:
    """What a test writes to Kafka and finds there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def refuse(
        self, count: int, reason: str = "failed", topic: str = REPORTS, **origin: Any
    ) -> list[ConsumerRecord]:
        """Publish messages of a minute each and a dead letter of each; return the messages."""
        at = [round(NOON.timestamp() * 1000) + n * 60_000 for n in range(count)]
        sent = asyncio.run(self._send(topic, at))
        letters = [
            record_of(
                DeadLetter(
                    key=each.key,
                    value=each.value or b"",
                    reason=reason,
                    error="x",
                    at=utc_now(),
                    **{
                        "topic": each.topic,
                        "partition": each.partition,
                        "offset": each.offset,
                        **origin,
                    },
                )
            )
            for each in sent
        ]
        self.write(letters)
        return sent

    async def _send(self, topic: str, at: Sequence[int]) -> list[ConsumerRecord]:
        producer = AIOKafkaProducer(bootstrap_servers=self._settings.kafka.bootstrap_servers)
        await producer.start()
        try:
            for n, timestamp in enumerate(at):
                await producer.send_and_wait(
                    topic,
                    key=f"pool{n % 3}".encode(),
                    value=b"message %d" % n,
                    timestamp_ms=timestamp,
                    headers=list(HEADERS),
                )
        finally:
            await producer.stop()
        return (
            (await self._read(topic))[-len(at) :] if topic != REPORTS else await self._read(topic)
        )

    def write(self, records: Sequence[Record]) -> None:
        async def write() -> None:
            async with Publisher(self._settings.kafka, TOPICS) as publisher:
                await publisher.publish(records)

        asyncio.run(write())

    def read(self, topic: str) -> list[ConsumerRecord]:
        return asyncio.run(self._read(topic))

    async def _read(self, topic: str) -> list[ConsumerRecord]:
        async with open_reader(self._settings.kafka, [topic]) as reader:
            return [record async for records in reader.records() for record in records]


@pytest.fixture
def topics(settings: Settings, broker: KafkaServer) -> Topics:
    del broker  # its topics are empty
    return Topics(settings)


def as_sent(record: ConsumerRecord) -> tuple[object, ...]:
    """All that a message has but its offset and what redrive adds."""
    headers = [each for each in record.headers if each[0] != "redriven"]
    return (record.topic, record.partition, record.key, record.value, record.timestamp, *headers)


def origin_of(record: ConsumerRecord) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def redriven(records: Sequence[ConsumerRecord]) -> list[str]:
    return [value.decode() for r in records for name, value in r.headers if name == "redriven"]


def counts(result: Any) -> dict[tuple[str, str], dict[str, int]]:
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {
        (line.pop("reason"), line.pop("topic")): {k: v for k, v in line.items() if v}
        for line in lines
    }


def test_a_message_comes_back_as_it_was_and_once(run: Run, topics: Topics) -> None:
    sent = topics.refuse(5)
    dry = run("redrive", "--dry-run")
    assert (dry.exit_code, counts(dry)) == (0, {("failed", REPORTS): {"redriven": 5}})
    assert dry.stderr.endswith("5 messages would be redriven\n")
    assert len(topics.read(REPORTS)) == 5
    done = run("redrive")
    assert (done.exit_code, counts(done)) == (0, {("failed", REPORTS): {"redriven": 5}})
    assert done.stderr.endswith("5 messages redriven\n")
    found = topics.read(REPORTS)
    assert Counter(map(as_sent, found)) == Counter([*map(as_sent, sent), *map(as_sent, sent)])
    assert sorted(redriven(found)) == sorted(map(origin_of, sent))
    again = run("redrive")
    assert counts(again) == {("failed", REPORTS): {"before": 5}}
    assert again.stderr.endswith("0 messages redriven\n")
    assert len(topics.read(REPORTS)) == 10


def test_without_a_dead_letter_nothing_is_done(run: Run, topics: Topics) -> None:
    topics.read(DEAD_LETTERS)
    result = run("redrive")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("0 messages redriven\n")


def test_a_reason_selects_its_letters(run: Run, topics: Topics) -> None:
    topics.refuse(2, "too_late", NETWORK)
    topics.refuse(3, "failed")
    assert counts(run("redrive", "--reason", "failed")) == {("failed", REPORTS): {"redriven": 3}}
    assert counts(run("redrive")) == {
        ("failed", REPORTS): {"before": 3},
        ("too_late", NETWORK): {"redriven": 2},
    }
    assert len(topics.read(NETWORK)) == 4


def test_an_unknown_reason_and_no_broker_are_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = run("redrive", "--reason", "faild")
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert "expected one of: failed, future" in wrong.stderr
    monkeypatch.setenv("MININGMAP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    failed = run("redrive")
    assert (failed.exit_code, failed.stderr.count("\n")) == (1, 1)


def test_letters_are_sent_nowhere_else(run: Run, topics: Topics) -> None:
    """Whoever can write dead letters does not get to write to other topics, or other messages."""
    (message, *_) = topics.refuse(1)
    known = {"topic": REPORTS, "partition": message.partition, "offset": message.offset}
    wrong: list[dict[str, object]] = [
        {"topic": SHARES},
        {"topic": DEAD_LETTERS},
        {"topic": "__consumer_offsets"},
        {"topic": "other"},
        {"partition": 99},
        {"partition": -1},
        {"partition": "x"},
        {"offset": 10**9},
        {"offset": -1},
        {"offset": "1e3"},
        {"offset": 10**30},
    ]
    for change in wrong:
        named: Any = known | change
        letter = DeadLetter(message.key, message.value or b"", "key", "x", utc_now(), **named)
        topics.write([record_of(letter)])
    other = DeadLetter(b"pool0", b"another message", "invalid", "x", utc_now(), **known)
    rejected = DeadLetter(b"pool0", b"{}", "implausible", "x", utc_now(), REPORTS, source="api")
    topics.write([record_of(other), record_of(rejected), Record(DEAD_LETTERS, None, b"")])
    found = counts(run("redrive"))
    assert sum(line.get("not its origin", 0) for line in found.values()) == len(wrong)
    assert found["implausible", REPORTS] == {"without origin": 1}
    assert found["?", "?"] == {"without origin": 1}
    assert found["failed", REPORTS] == {"redriven": 1}
    assert len(topics.read(REPORTS)) == 2
    assert topics.read(SHARES) == []


def test_a_forged_letter_is_not_sent_and_hides_no_real_one(run: Run, topics: Topics) -> None:
    (message,) = topics.refuse(1, partition=None, offset=None)
    known: Any = {"topic": REPORTS, "partition": message.partition, "offset": message.offset}
    forged = DeadLetter(message.key, b"forged", "failed", "x", utc_now(), **known)
    real = DeadLetter(message.key, message.value or b"", "failed", "x", utc_now(), **known)
    topics.write([record_of(forged)])
    assert counts(run("redrive"))["failed", REPORTS] == {"not its origin": 1, "without origin": 1}
    topics.write([record_of(forged), record_of(real)])
    assert counts(run("redrive"))["failed", REPORTS] == {"redriven": 1, "without origin": 1}
    assert [each.value for each in topics.read(REPORTS)] == [message.value] * 2


def test_a_repeated_letter_counts_once(run: Run, topics: Topics) -> None:
    topics.refuse(2)
    topics.write(
        [Record(DEAD_LETTERS, r.key, r.value, r.headers) for r in topics.read(DEAD_LETTERS)]
    )
    assert counts(run("redrive")) == {("failed", REPORTS): {"redriven": 2}}
    assert len(topics.read(REPORTS)) == 4


def test_what_is_refused_again_is_left_alone_until_again_is_given(run: Run, topics: Topics) -> None:
    topics.refuse(1)
    assert run("redrive").exit_code == 0
    copy = topics.read(REPORTS)[-1]
    position: Any = {"topic": copy.topic, "partition": copy.partition, "offset": copy.offset}
    letter = DeadLetter(copy.key, copy.value or b"", "failed", "x", utc_now(), **position)
    topics.write([record_of(letter)])
    assert counts(run("redrive")) == {("failed", REPORTS): {"before": 1, "refused again": 1}}
    assert counts(run("redrive", "--again")) == {("failed", REPORTS): {"before": 1, "redriven": 1}}
    assert counts(run("redrive", "--again")) == {("failed", REPORTS): {"before": 2}}
    assert len(topics.read(REPORTS)) == 3


def test_after_an_error_half_way_the_next_call_sends_the_rest(
    run: Run, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = topics.refuse(7)
    batches: list[int] = []
    real = Publisher.publish

    async def fails_at_the_second(self: Publisher, records: Sequence[Record]) -> None:
        batches.append(len(records))
        if len(batches) == 2:
            raise BrokerError("lost")
        await real(self, records)

    with monkeypatch.context() as patched:
        patched.setattr(command, "BATCH", 3)
        patched.setattr(Publisher, "publish", fails_at_the_second)
        assert run("redrive").exit_code == 1
    assert counts(run("redrive")) == {("failed", REPORTS): {"before": 3, "redriven": 4}}
    assert sorted(redriven(topics.read(REPORTS))) == sorted(map(origin_of, sent))


def test_a_kill_at_any_time_loses_and_doubles_nothing(topics: Topics, broker: KafkaServer) -> None:
    sent = topics.refuse(3000)
    environment = os.environ | {"MININGMAP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}

    async def call(*, kill_at: int | None) -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", IN_SMALL_BATCHES, "redrive"), cwd=ROOT, env=environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        while kill_at is not None and process.returncode is None:
            if len(redriven(await topics._read(REPORTS))) >= kill_at:
                with suppress(ProcessLookupError):  # it has just ended
                    process.send_signal(signal.SIGKILL)
                break
        return await process.wait()

    killed = [asyncio.run(call(kill_at=number)) for number in (1, 700)]
    assert -signal.SIGKILL in killed
    assert asyncio.run(call(kill_at=None)) == 0
    assert sorted(redriven(topics.read(REPORTS))) == sorted(map(origin_of, sent))


def test_after_a_fix_the_messages_count(
    run: Run, settings: Settings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the software makes dead letters; mended, all of them become cells."""
    del topics  # they are empty
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.05)
    start = utc_now().replace(second=0, microsecond=0) - timedelta(minutes=10)
    sent = [report("a", {"US": 1e18}, start=start + timedelta(minutes=n)) for n in range(5)]

    async def with_the_fault() -> None:
        async with streams(settings):
            await publish(settings, sent, Record(REPORTS, b"a", b"poison"))
            await processed(settings)

    async def mended() -> dict[bytes, bytes]:
        async with streams(settings), connect(settings.redis) as redis:
            result = await asyncio.to_thread(run, "redrive")
            assert counts(result) == {
                ("failed", REPORTS): {"redriven": 5},
                ("undecodable", REPORTS): {"redriven": 1},
            }
            await processed(settings)
            cells = await Store(redis, settings.retention).cells.read([])
            assert set(cells.series()) == {Series("a", "own")}
            return dict(cells.by_series[Series("a", "own")].meta)

    with monkeypatch.context() as patched:
        patched.setattr(worker_messages, "claims_of", None)
        asyncio.run(with_the_fault())
    meta = asyncio.run(mended())
    assert float(meta[b"end"]) == sent[-1].end.timestamp()
    assert counts(run("redrive", "--dry-run")) == {
        ("failed", REPORTS): {"before": 5},
        ("undecodable", REPORTS): {"before": 1, "refused again": 1},
    }
