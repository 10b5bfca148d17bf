"""Topic administration on a real Kafka."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from launch.local.embedded import free_port
from miningmap.kafka.admin import AdminError, check_topics, ensure_topics
from miningmap.kafka.topics import REPORTS, SHARES, TOPICS
from tests.servers import delete_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import KafkaServer

ALL = [topic.name for topic in TOPICS]


@asynccontextmanager
async def client(kafka: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def replace(kafka: KafkaServer, *topics: NewTopic) -> None:
    await delete_topics(kafka.bootstrap_servers, *(topic.name for topic in topics))
    async with client(kafka) as admin:
        response = await admin.create_topics(list(topics))
        assert not any(code for _, code, _ in response.topic_errors)


async def test_topics_that_exist_as_they_should_are_ok(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    assert await check_topics(servers) == [(name, "ok") for name in ALL]
    assert await ensure_topics(servers) == [(name, "ok") for name in ALL]


async def test_what_is_missing_is_said_and_then_created(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, REPORTS, SHARES)
    checked, ensured = dict(await check_topics(servers)), dict(await ensure_topics(servers))
    gone = {REPORTS, SHARES}
    assert checked == {name: "missing" if name in gone else "ok" for name in ALL}
    assert ensured == {name: "created" if name in gone else "ok" for name in ALL}
    assert await check_topics(servers) == [(name, "ok") for name in ALL]


async def test_checking_creates_nothing(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, *ALL)
    assert await check_topics(servers) == [(name, "missing") for name in ALL]
    async with client(clean_kafka) as admin:
        assert not set(ALL).intersection(await admin.list_topics())


async def test_created_topics_have_the_declared_partitions_and_settings(
    clean_kafka: KafkaServer,
) -> None:
    async with client(clean_kafka) as admin:
        described = {topic["topic"]: topic for topic in await admin.describe_topics()}
        for topic in TOPICS:
            assert len(described[topic.name]["partitions"]) == topic.partitions
            (response,) = await admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic.name)]
            )
            config = {key: value for key, value, *_ in response.resources[0][4]}
            assert {name: config[name] for name in topic.config} == topic.config


async def test_differences_are_said_and_left_as_they_are(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await replace(
        clean_kafka,
        NewTopic(REPORTS, 2, 1, topic_configs={"retention.ms": "1000"}),
        NewTopic(SHARES, 1, 1),
    )
    for states in (await ensure_topics(servers), await check_topics(servers)):
        assert dict(states) == dict.fromkeys(ALL, "ok") | {
            REPORTS: "differs: 2 partitions instead of 6, retention.ms is 1000 instead of -1",
            SHARES: "differs: cleanup.policy is delete instead of compact",
        }


async def test_two_at_once_create_every_topic_once(clean_kafka: KafkaServer) -> None:
    servers = clean_kafka.bootstrap_servers
    await delete_topics(servers, *ALL)
    both = await asyncio.gather(ensure_topics(servers), ensure_topics(servers))
    for name in ALL:
        assert sorted(dict(states)[name] for states in both) == ["created", "ok"]


async def test_what_the_broker_refuses_is_an_error_with_its_reason(
    clean_kafka: KafkaServer,
) -> None:
    await delete_topics(clean_kafka.bootstrap_servers, *ALL)
    with pytest.raises(AdminError, match=r"does not create miningmap\.\S+: .*replicat"):
        await ensure_topics(clean_kafka.bootstrap_servers, replication_factor=3)


async def test_a_broker_that_is_not_there_is_an_error_that_names_the_setting() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(AdminError, match=f"{address}.*MININGMAP_KAFKA__BOOTSTRAP_SERVERS"):
        await check_topics(address)
