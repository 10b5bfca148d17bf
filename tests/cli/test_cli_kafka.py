"""``miningmap publish`` and ``miningmap topics``, against a real Kafka."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from launch.cli import transfer
from launch.local.embedded import free_port
from miningmap import sizes
from miningmap.kafka.topics import NETWORK, REPORTS, TOPICS
from miningmap.messages import KINDS, MAX_FIGURE, encode
from miningmap.places import all_places
from miningmap.times import utc_now
from tests.servers import recreate_topics
from tests.streams.fixtures import network, report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from miningmap.messages import Message
    from tests.cli.conftest import Run
    from tests.servers import KafkaServer

SERVERS = "MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
DEADLINE_S = 30
NAMES = [topic.name for topic in TOPICS]
LARGE = report(
    places={place.code: 1e15 for place in all_places() if "-" not in place.code},
    start=datetime(2024, 1, 1, tzinfo=UTC),
    end=datetime(2025, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def broker(clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> KafkaServer:
    monkeypatch.setenv(SERVERS, clean_kafka.bootstrap_servers)
    return clean_kafka


def records(kafka: KafkaServer) -> dict[str, list[Any]]:
    """Return all records that are in the topics of messages now."""

    async def read() -> dict[str, list[Any]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
        await consumer.start()
        try:
            partitions = [
                TopicPartition(topic.name, number)
                for topic in TOPICS
                if topic.name in {REPORTS, NETWORK}
                for number in range(topic.partitions)
            ]
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            found: dict[str, list[Any]] = {REPORTS: [], NETWORK: []}
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(sum(ends.values())):
                    record = await consumer.getone()
                    found[record.topic].append(record)
            return found
        finally:
            await consumer.stop()

    return asyncio.run(read())


def test_all_lines_are_published_with_progress_on_standard_error(
    run: Run, messages: Path, broker: KafkaServer
) -> None:
    result = run("publish", messages)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("publishing")
    assert result.stderr.endswith("3 messages published\n")
    there = records(broker)
    assert sorted(record.key for record in there[REPORTS]) == [b"foundryusa", b"ocean"]
    assert [record.key for record in there[NETWORK]] == [b"bitcoin"]
    values = {record.key: json.loads(record.value) for record in there[REPORTS]}
    assert values[b"foundryusa"]["hashrate"] == 200e18
    # The file has a UTC offset; published times end in Z.
    assert values[b"ocean"]["start"] == "2026-11-22T14:59:30Z"


def test_more_than_a_batch_arrives_in_order(run: Run, messages: Path, broker: KafkaServer) -> None:
    first = json.loads(messages.read_text().splitlines()[0])
    lines = [json.dumps(first | {"hold_s": number, "places": []}) for number in range(1100)]
    messages.write_text("\n".join(lines))
    result = run("publish", messages)
    assert result.stderr.endswith("1100 messages published\n")
    holds = [json.loads(record.value)["hold_s"] for record in records(broker)[REPORTS]]
    assert holds == list(range(1100))


def test_with_one_bad_line_nothing_is_sent(run: Run, messages: Path, broker: KafkaServer) -> None:
    with messages.open("a") as file:
        file.write("{}\n")
    result = run("publish", messages)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {messages}: line 5: schema: ")
    assert result.stderr.count("\n") == 1
    assert records(broker) == {REPORTS: [], NETWORK: []}


def test_lines_are_checked_before_the_broker_is_contacted(
    run: Run, messages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVERS, f"127.0.0.1:{free_port()}")
    messages.write_text('{"schema":"report/1"}')
    result = run("publish", messages)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"miningmap: {messages}: line 1: invalid: ")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (report(hashrate=1, start=utc_now() + timedelta(days=1)), "future: ends at "),
        (network(1, start=utc_now() + timedelta(days=400)), "future: ends at "),
        (report(hashrate=1, start=datetime(1970, 1, 1, tzinfo=UTC)), "implausible: ends at 1970-"),
        (network(1, start=datetime(2009, 1, 2, tzinfo=UTC)), "implausible: ends at 2009-01-02T"),
        (report(hashrate=0), "implausible: a total of 0 H/s says nothing"),
        (network(0), "implausible: a total of 0 H/s says nothing"),
        (LARGE, "too_large: a total and 251 places in 8,784 hours are 2,213,568 values"),
    ],
)
def test_what_cannot_be_true_is_named_before_the_broker_is_contacted(
    run: Run, messages: Path, monkeypatch: pytest.MonkeyPatch, message: Message, error: str
) -> None:
    monkeypatch.setenv(SERVERS, f"127.0.0.1:{free_port()}")
    with messages.open("ab") as file:
        file.write(encode(message))
    result = run("publish", messages)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"miningmap: {messages}: line 5: {error}")
    assert result.stderr.endswith("; nothing was published\n")


def test_pools_are_compared_with_the_network_of_their_time_in_the_file_and_in_kafka(
    run: Run, messages: Path, broker: KafkaServer
) -> None:
    autumn, winter = datetime(2019, 9, 1, tzinfo=UTC), datetime(2019, 12, 1, tzinfo=UTC)
    network_of_autumn = network(66e18, start=autumn, end=autumn + timedelta(days=30))
    in_autumn = report(hashrate=133e18, start=autumn + timedelta(days=3))
    messages.write_bytes(encode(network_of_autumn) + b"\n" + encode(in_autumn))
    too_much = "implausible: 133 EH/s is more than twice the network's 66 EH/s at that time"
    result = run("publish", messages)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"miningmap: {messages}: line 2: {too_much}; nothing was published\n"
    assert records(broker) == {REPORTS: [], NETWORK: []}

    messages.write_bytes(encode(network_of_autumn))
    assert run("publish", messages).exit_code == 0
    messages.write_bytes(encode(in_autumn))
    assert f"line 1: {too_much}" in run("publish", messages).stderr
    # Nothing is known of the winter.
    messages.write_bytes(encode(report(hashrate=133e18, start=winter)))
    assert run("publish", messages).exit_code == 0


def write(path: Path, *written: Message) -> None:
    path.write_bytes(b"\n".join(map(encode, written)))


def test_a_wrong_network_in_the_file_does_not_become_the_map(
    run: Run, messages: Path, broker: KafkaServer
) -> None:
    """A limit that the file itself sets would let each of its pools pass."""
    write(messages, network(970e18))
    assert run("publish", messages).exit_code == 0
    write(messages, network(5e22, source="aaa"), report("giant", hashrate=4e22))
    result = run("publish", messages)
    assert (result.exit_code, result.stdout) == (2, "")
    network_error = (
        f"{messages}: line 1: implausible: 50 ZH/s differs by more than 10 times from "
        "the 970 EH/s known of that time; is the unit right?\n"
    )
    assert network_error in result.stderr
    pool = "line 2: implausible: 40 ZH/s is more than twice the network's 970 EH/s at that time"
    assert pool in result.stderr
    assert result.stderr.startswith("miningmap: 2 errors, nothing was published:\n")
    # The same source may not replace its figure so either, nor several sources together.
    for sources in (("mempool",), ("aaa", "aab", "aac")):
        write(messages, *(network(5e22, source=source) for source in sources))
        assert "line 1: implausible" in run("publish", messages).stderr
    assert len(records(broker)[NETWORK]) == 1
    write(messages, network(500e18, source="aaa"), report("giant", hashrate=1900e18))
    assert run("publish", messages).exit_code == 0


def test_where_kafka_knows_nothing_the_sources_of_the_file_judge_each_other(
    run: Run, messages: Path, broker: KafkaServer
) -> None:
    right = network(960e18, source="b"), network(970e18, source="c")
    wrong = network(5e22, source="aaa")
    write(messages, *right, wrong)
    assert f"{messages}: line 3: implausible: 50 ZH/s" in run("publish", messages).stderr
    write(messages, right[0], wrong)
    result = run("publish", messages)
    assert "line 1: implausible: 960 EH/s" in result.stderr
    assert "line 2: implausible: 50 ZH/s" in result.stderr
    assert records(broker)[NETWORK] == []
    write(messages, *right, report(hashrate=500e18))
    assert run("publish", messages).exit_code == 0


def test_a_pool_is_compared_with_its_blocks_in_kafka(
    run: Run, messages: Path, broker: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = utc_now() - timedelta(hours=1)
    mined = msgspec.structs.replace(
        report(hashrate=10e18, source="counted", start=start), blocks=11, basis="mined"
    )
    write(messages, mined)
    assert run("publish", messages).exit_code == 0
    # A count in the file does not outvote what Kafka knows.
    counted = msgspec.structs.replace(mined, hashrate=1e21, blocks=1000, source="aaa")
    write(messages, report(hashrate=51e18, start=start), counted)
    result = run("publish", messages)
    assert result.exit_code == 2
    assert "line 1: implausible: 51 EH/s is more than five times the 10 EH/s" in result.stderr
    assert len(records(broker)[REPORTS]) == 1
    # What arrived days after the time of a report is not read.
    write(messages, report(hashrate=51e18, start=start - timedelta(days=3)))
    assert run("publish", messages).exit_code == 0
    monkeypatch.setattr(transfer, "MAX_READ", 0)
    write(messages, report(hashrate=51e18, start=start))
    result = run("publish", messages)
    assert result.exit_code == 0
    assert (
        "not all blocks were looked up: of Kafka's reports of these times only 0" in result.stderr
    )


def test_messages_older_than_what_is_kept_are_counted(
    run: Run, messages: Path, broker: KafkaServer
) -> None:
    now = utc_now().replace(minute=0, second=0, microsecond=0)
    day = now.replace(hour=0) - timedelta(days=40)
    write(
        messages,
        report(hashrate=1e18, start=now - timedelta(minutes=5)),
        report(hashrate=1e18, start=now - timedelta(hours=47)),
        report(hashrate=1e18, start=day, end=day + timedelta(days=1)),
        report(hashrate=1e18, start=now - timedelta(hours=50)),
    )
    result = run("publish", messages)
    kept = "older than what is kept (minutes 48 h, hours 35 days)"
    assert f"\n1 message is {kept} and will be a dead letter\n" in result.stderr
    with messages.open("ab") as file:
        file.write(b"\n" + encode(report(hashrate=1e18, start=day, end=day + timedelta(hours=1))))
    result = run("publish", messages)
    assert result.exit_code == 0
    assert f"\n2 messages are {kept} and will be dead letters\n" in result.stderr
    assert result.stderr.endswith("5 messages published\n")
    assert len(records(broker)[REPORTS]) == 9


def test_a_pool_is_compared_with_its_blocks_in_the_file(
    run: Run, messages: Path, broker: KafkaServer
) -> None:
    mined = msgspec.structs.replace(
        report(hashrate=10e18, source="counted"), blocks=11, basis="mined"
    )
    messages.write_bytes(encode(mined) + b"\n" + encode(report(hashrate=51e18)))
    result = run("publish", messages)
    assert result.exit_code == 2
    assert "line 2: implausible: 51 EH/s is more than five times the 10 EH/s" in result.stderr
    assert records(broker) == {REPORTS: [], NETWORK: []}


def test_a_message_that_the_broker_rejects_is_one_line_and_a_failure(
    run: Run, messages: Path, broker: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without these limits of ours, which keep every message below that of the broker.
    monkeypatch.setattr(sizes, "MAX_PLACES", 10**6)
    monkeypatch.setattr(sizes, "MAX_VALUES", 10**9)
    monkeypatch.setenv("MININGMAP_KAFKA__COMPRESSION", "none")
    report = json.loads(messages.read_text().splitlines()[0])
    month = {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z", "hold_s": 0}
    # Every place as published, and in every kind, with the most digits.
    figure = "1" * MAX_FIGURE
    report |= month | {
        "published": [
            {"code": place.code, "share": figure, "hashrate": figure} for place in all_places()
        ]
    }
    report["places"] = [
        {"code": place.code, "hashrate": 1.2345678901234567e-100, "kind": kind}
        for place in all_places()
        for kind in KINDS
    ]
    messages.write_text(json.dumps(report))
    result = run("publish", messages)
    assert (result.exit_code, result.stdout) == (1, "")
    last = result.stderr.splitlines()[-1]
    servers = broker.bootstrap_servers
    assert last.startswith(f"miningmap: Kafka at {servers}: a record is too large: ")
    assert "Traceback" not in result.stderr
    assert records(broker) == {REPORTS: [], NETWORK: []}


@pytest.fixture
def without_topics(broker: KafkaServer) -> Iterator[KafkaServer]:
    """A broker without topics; they are created again after the test."""
    asyncio.run(replace_topics(broker, NAMES, []))
    yield broker
    asyncio.run(recreate_topics(broker.bootstrap_servers))


async def replace_topics(kafka: KafkaServer, old: list[str], new: list[NewTopic]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(old)
        async with asyncio.timeout(DEADLINE_S):
            while set(old) & set(await admin.list_topics()):  # noqa: ASYNC110 - the broker decides
                await asyncio.sleep(0.02)
            if new:
                await admin.create_topics(new)
                names = {topic.name for topic in new}
                while not names <= set(await admin.list_topics()):  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.02)
    finally:
        await admin.close()


def states(output: str) -> dict[str, str]:
    return dict(line.split("\t") for line in output.splitlines())


def test_missing_topics_are_reported_and_created(run: Run, without_topics: KafkaServer) -> None:
    assert without_topics.running
    missing = run("topics", "--check")
    assert missing.exit_code == 1
    assert states(missing.stdout) == dict.fromkeys(NAMES, "missing")
    assert missing.stderr == "miningmap: some topics are not as expected: see the list above\n"

    created = run("topics")
    assert (created.exit_code, created.stderr) == (0, "")
    assert states(created.stdout) == dict.fromkeys(NAMES, "created")

    for again in (run("topics"), run("topics", "--check")):
        assert (again.exit_code, again.stderr) == (0, "")
        assert states(again.stdout) == dict.fromkeys(NAMES, "ok")


def test_a_topic_that_differs_is_reported_and_not_changed(
    run: Run, without_topics: KafkaServer
) -> None:
    run("topics")
    asyncio.run(replace_topics(without_topics, [REPORTS], [NewTopic(REPORTS, 2, 1)]))
    for words in (("topics",), ("topics", "--check")):
        result = run(*words)
        assert result.exit_code == 1
        output = states(result.stdout)
        assert output.pop(REPORTS).startswith("differs: 2 partitions instead of 6")
        assert set(output.values()) == {"ok"}


def test_topics_without_a_broker_is_one_line_and_a_failure(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv(SERVERS, servers)
    for words in (("topics",), ("topics", "--check")):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"miningmap: Kafka at {servers}: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(b"", "no answer within 8 s", id="silent"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "closes the connection", id="http"),
    ],
)
def test_topics_of_what_is_not_kafka_is_one_line_within_10_s(
    answer: bytes, problem: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if answer:
                self.request.sendall(answer)
            else:
                self.request.recv(1_000)
                self.request.recv(1_000)  # until the client leaves

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv(SERVERS, servers)
        started = time.monotonic()
        result = run("topics")
        assert time.monotonic() - started < 10
        server.shutdown()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"miningmap: Kafka at {servers}: ")
    assert problem in result.stderr
    assert SERVERS in result.stderr
    assert result.stderr.count("\n") == 1
