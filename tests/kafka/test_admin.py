"""Topic administration on a real Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from launch.local.embedded import free_port
from miningmap.kafka.admin import check_topics, ensure_topics
from miningmap.kafka.clients import admin_client
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import REPORTS, SHARES, TOPICS
from tests.servers import delete_topics, kafka_at

if TYPE_CHECKING:
    from tests.servers import KafkaServer

ALL = [topic.name for topic in TOPICS]


async def replace(kafka: KafkaServer, *topics: NewTopic) -> None:
    await delete_topics(kafka.bootstrap_servers, *(topic.name for topic in topics))
    async with admin_client(kafka_at(kafka.bootstrap_servers)) as admin:
        response = await admin.create_topics(list(topics))
        assert not any(code for _, code, _ in response.topic_errors)


async def test_expected_topics_are_ok(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    assert await check_topics(kafka_at(servers)) == [(name, "ok") for name in ALL]
    assert await ensure_topics(kafka_at(servers)) == [(name, "ok") for name in ALL]


async def test_missing_topics_are_reported_and_created(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, REPORTS, SHARES)
    checked, ensured = (
        dict(await check_topics(kafka_at(servers))),
        dict(await ensure_topics(kafka_at(servers))),
    )
    gone = {REPORTS, SHARES}
    assert checked == {name: "missing" if name in gone else "ok" for name in ALL}
    assert ensured == {name: "created" if name in gone else "ok" for name in ALL}
    assert await check_topics(kafka_at(servers)) == [(name, "ok") for name in ALL]


async def test_checking_creates_nothing(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, *ALL)
    assert await check_topics(kafka_at(servers)) == [(name, "missing") for name in ALL]
    async with admin_client(kafka_at(clean_kafka.bootstrap_servers)) as admin:
        assert not set(ALL).intersection(await admin.list_topics())


async def test_created_topics_have_the_declared_partitions_and_settings(
    clean_kafka: KafkaServer,
) -> None:
    async with admin_client(kafka_at(clean_kafka.bootstrap_servers)) as admin:
        described = {topic["topic"]: topic for topic in await admin.describe_topics()}
        for topic in TOPICS:
            assert len(described[topic.name]["partitions"]) == topic.partitions
            (response,) = await admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic.name)]
            )
            config = {key: value for key, value, *_ in response.resources[0][4]}
            assert {name: config[name] for name in topic.config} == topic.config


async def test_differences_are_reported_and_not_changed(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await replace(
        clean_kafka,
        NewTopic(REPORTS, 2, 1, topic_configs={"retention.ms": "1000"}),
        NewTopic(SHARES, 1, 1),
    )
    for states in (await ensure_topics(kafka_at(servers)), await check_topics(kafka_at(servers))):
        assert dict(states) == dict.fromkeys(ALL, "ok") | {
            REPORTS: "differs: 2 partitions instead of 6, retention.ms is 1000 instead of -1",
            SHARES: "differs: cleanup.policy is delete instead of compact",
        }


async def test_two_processes_at_once_create_every_topic_once(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, *ALL)
    both = await asyncio.gather(ensure_topics(kafka_at(servers)), ensure_topics(kafka_at(servers)))
    for name in ALL:
        assert sorted(dict(states)[name] for states in both) == ["created", "ok"]


async def test_a_rejection_by_the_broker_is_an_error_with_the_reason(
    clean_kafka: KafkaServer,
) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, *ALL)
    refusal = rf"^Kafka at {servers}: cannot create miningmap\.\S+: .*replicat"
    with pytest.raises(BrokerError, match=refusal) as caught:
        await ensure_topics(kafka_at(servers), replication_factor=3)
    assert not caught.value.retriable


async def test_an_unavailable_broker_is_an_error_with_the_remedy() -> None:
    servers = f"127.0.0.1:{free_port()}"
    for ask in (check_topics, ensure_topics):
        with pytest.raises(BrokerError) as caught:
            await ask(kafka_at(servers))
        assert str(caught.value).startswith(f"Kafka at {servers}: ")
        assert str(caught.value).endswith(
            "; start the broker, or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
        )
        assert caught.value.retriable
