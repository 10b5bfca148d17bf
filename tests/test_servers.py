"""The real servers behave as the other tests expect."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError
from click.testing import CliRunner
from redis import Redis as RedisClient
from redis.asyncio import Redis

from launch.local.embedded import free_port
from miningmap.kafka.topics import REPORTS, TOPICS
from tests import servers
from tests.conftest import LONGEST, missing
from tests.servers import (
    CACHE,
    CLASSES,
    KAFKA_POM,
    ROOT,
    KafkaServer,
    RedisServer,
    ServerError,
    UnavailableError,
    kafka_jars,
)

if TYPE_CHECKING:
    from miningmap.settings import Settings

PARTITION = TopicPartition(REPORTS, 0)


async def send(kafka: KafkaServer, value: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True, acks="all"
    ) as producer:
        await producer.send_and_wait(REPORTS, value, partition=0)


async def values(kafka: KafkaServer) -> list[bytes | None]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers) as consumer:
        consumer.assign([PARTITION])
        await consumer.seek_to_beginning(PARTITION)
        end = (await consumer.end_offsets([PARTITION]))[PARTITION]
        return [(await consumer.getone()).value for _ in range(end)]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
async def test_kafka_restarts_at_the_same_address_with_all_acknowledged_records(
    clean_kafka: KafkaServer, sign: signal.Signals
) -> None:
    await send(clean_kafka, b"before")
    clean_kafka.stop(sign)
    assert not clean_kafka.running
    clean_kafka.start()
    await send(clean_kafka, b"after")
    assert await values(clean_kafka) == [b"before", b"after"]


async def test_a_stopped_server_is_started_for_the_next_test_first(
    kafka: KafkaServer, redis: RedisServer
) -> None:
    kafka.stop()
    redis.stop()


async def test_a_stopped_server_is_started_for_the_next_test_second(
    kafka: KafkaServer, redis: RedisServer
) -> None:
    assert kafka.running
    assert redis.running


async def test_clean_kafka_has_empty_topics(clean_kafka: KafkaServer) -> None:
    await send(clean_kafka, b"left behind")
    await servers.recreate_topics(clean_kafka.bootstrap_servers)
    async with AIOKafkaConsumer(bootstrap_servers=clean_kafka.bootstrap_servers) as consumer:
        assert {topic.name for topic in TOPICS} <= await consumer.topics()
    assert await values(clean_kafka) == []


async def test_kafka_creates_no_topic_on_first_use(kafka: KafkaServer) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        (described,) = await admin.describe_topics(["never-created"])
        assert described["error_code"] == UnknownTopicOrPartitionError.errno
        assert "never-created" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_redis_is_empty_for_each_test(redis: RedisServer, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("key", "value")
    async with Redis.from_url(redis_url.replace("/0", "/1")) as client:
        await client.set("key", "value")
    redis.flush()
    async with Redis.from_url(redis_url) as client:
        assert not await client.info("keyspace")


async def test_redis_restarts_empty(redis: RedisServer) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.set("key", "value")
    redis.stop(signal.SIGKILL)
    redis.start()
    async with Redis.from_url(redis.url) as client:
        assert await client.get("key") is None


async def test_a_persistent_redis_restarts_with_its_keys(
    redis: RedisServer, tmp_path: Path
) -> None:
    del redis  # requested to skip on machines without Redis
    server = RedisServer(tmp_path, [free_port()], persistent=True)
    server.start()
    try:
        async with Redis.from_url(server.url) as client:
            await client.set("key", "value")
        server.stop(signal.SIGKILL)
        server.start()
        async with Redis.from_url(server.url) as client:
            assert await client.get("key") == b"value"
    finally:
        server.close()


def test_a_server_that_does_not_start_is_an_error_with_its_log(
    redis: RedisServer, tmp_path: Path
) -> None:
    second = RedisServer(tmp_path, redis.ports)
    with pytest.raises(ServerError, match=r"(?i)address already in use"):
        second.start()
    assert not second.running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_servers_end_when_the_test_run_is_killed(redis: RedisServer, tmp_path: Path) -> None:
    del redis  # requested to skip on machines without Redis
    script = (
        "import os, pathlib, signal, sys\n"
        "from tests.servers import RedisServer, free_port\n"
        "server = RedisServer(pathlib.Path(sys.argv[1]), [free_port()])\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    pid = int(run.stdout)
    with contextlib.suppress(ProcessLookupError):  # already ended
        ended, _, _ = select.select([os.pidfd_open(pid)], [], [], 10)
        assert ended, f"Redis, process {pid}, is still running after 10 s"


def test_kafkas_jars_are_fetched_once(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    del kafka  # fetches them
    monkeypatch.setenv("PATH", "")
    assert list(kafka_jars().glob("kafka_2.13-*.jar"))
    assert kafka_jars().is_relative_to(CACHE)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_a_broker_starts_with_the_archive_of_its_classes(kafka: KafkaServer) -> None:
    assert f"{kafka_jars().parent / CLASSES}\n" in Path(f"/proc/{kafka.pid}/maps").read_text()


def test_jars_of_another_pom_are_fetched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text(KAFKA_POM.read_text().replace("</project>", "<!-- changed --></project>"))
    monkeypatch.setattr(servers, "KAFKA_POM", pom)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="there is no mvn"):
        kafka_jars()


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [(RedisServer, "there is no redis-server"), (KafkaServer, "needs Java 17 or newer")],
)
def test_a_missing_server_is_an_error_that_names_what_to_install(
    kind: type[servers.Server], lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UnavailableError, match=f"{lacks}.*apt-get install"):
        kind.launch()


@pytest.mark.parametrize(
    ("version", "fits"), [("1.8.0_402", False), ("11.0.2", False), ("17", True)]
)
def test_an_old_java_is_rejected(
    version: str, *, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if fits:
        assert servers._java() == str(java)
    else:
        with pytest.raises(UnavailableError, match="set JAVA_HOME"):
            servers._java()


@pytest.mark.parametrize("ci", ["", "0", "false"])
def test_a_missing_server_skips(ci: str) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^no such server$"):
        raise missing("no such server", ci)


@pytest.mark.parametrize("ci", ["true", "1"])
def test_a_missing_server_fails_in_ci(ci: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"^no such server .*CI="):
        raise missing("no such server", ci)


def test_settings_point_at_the_servers_and_at_free_ports(
    settings: Settings, kafka: KafkaServer, redis: RedisServer
) -> None:
    assert settings.kafka.bootstrap_servers == kafka.bootstrap_servers
    assert settings.redis.url.get_secret_value() == redis.url
    assert settings.endpoint.port == settings.intake.port == 0
    assert settings.collector.metrics_port == settings.streams.metrics_port == 0
    assert settings.kafka.group.startswith("test-")


@pytest.fixture
def port() -> int:
    return free_port()


def test_a_development_server_prints_its_setting_and_how_to_stop_it(
    redis: RedisServer, tmp_path: Path, port: int
) -> None:
    del redis  # requested to skip on machines without Redis
    command = [sys.executable, "-m", "tests.servers", "redis", f"--port={port}"]
    with subprocess.Popen(
        [*command, f"--folder={tmp_path}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        assert f"setting: MININGMAP_REDIS__URL=redis://127.0.0.1:{port}/0" in lines
        assert f"to stop: Ctrl-C, or kill {process.pid}" in lines
        with RedisClient(port=port) as client:
            client.set("key", "value")
        process.terminate()
        assert process.wait(10) == 0
    assert list((tmp_path / "redis").rglob("*.aof"))


def test_a_development_server_without_its_port_is_an_error(
    redis: RedisServer, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        servers.main, ["redis", f"--port={redis.ports[0]}", f"--folder={tmp_path}"]
    )
    assert result.exit_code == 1
    assert "Address already in use" in result.output


def test_the_files_that_are_started_first_exist() -> None:
    assert [path for path in LONGEST if not path.is_file()] == []
