"""``miningmap dataset`` with the messages of a real Kafka."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import unused_port

from miningmap.kafka.producer import Record
from miningmap.kafka.topics import REPORTS
from miningmap.messages import encode
from tests.cli.editions import BELIEFS, contents, make, messages, write, write_beliefs
from tests.streams.fixtures import report
from tests.streams.processes import publish

if TYPE_CHECKING:
    from pathlib import Path

    from miningmap.settings import Settings
    from tests.cli.conftest import Run
    from tests.servers import KafkaServer

SERVERS = "MININGMAP_KAFKA__BOOTSTRAP_SERVERS"


@pytest.fixture
def broker(clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> KafkaServer:
    monkeypatch.setenv(SERVERS, clean_kafka.bootstrap_servers)
    return clean_kafka


@pytest.mark.usefixtures("broker")
def test_kafka_and_a_file_with_its_messages_make_the_same_edition(
    run: Run, settings: Settings, tmp_path: Path
) -> None:
    file = write(tmp_path / "messages.jsonl", messages())
    beliefs = write_beliefs(tmp_path / "given.json", BELIEFS)
    digest = make(run, tmp_path / "from-file", file, "--beliefs", beliefs)

    given = messages()[::-1]
    nothing = encode(report("ocean", hashrate=0))
    raw = [Record(REPORTS, b"ocean", value) for value in (b"{", nothing)]
    asyncio.run(publish(settings, [*given, *given[:99]], *raw))
    words = ("--from", "2025-12", "--to", "2026-03", "--beliefs", beliefs)
    result = run("dataset", *words, "-o", tmp_path / "from-kafka")
    assert (result.exit_code, result.stdout) == (0, f"{digest}\n")
    assert "1 invalid message left out\n" in result.stderr
    assert (
        "1 message left out: totals of 0, before Bitcoin's first block, or too large\n"
        in result.stderr
    )
    assert contents(tmp_path / "from-kafka") == contents(tmp_path / "from-file")

    # What is exported from Kafka makes it once more.
    exported = run("export").stdout_bytes
    archive = tmp_path / "exported.jsonl.gz"
    archive.write_bytes(gzip.compress(exported))
    assert make(run, tmp_path / "again", archive, "--beliefs", beliefs) == digest


def test_without_a_broker_nothing_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SERVERS, f"127.0.0.1:{unused_port()}")
    output = tmp_path / "edition"
    result = run("dataset", "--from", "2025-12", "--to", "2026-03", "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_demo_and_a_file_exclude_each_other(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "messages.jsonl", messages()[:1])
    words = ("--from", "2025-12", "--to", "2026-03", "-o", tmp_path / "edition")
    result = run("dataset", *words, "--messages", file, "--demo")
    assert result.exit_code == 2
    assert result.stderr.startswith("miningmap: --demo: not allowed with --messages")
