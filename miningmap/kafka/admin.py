"""Create the topics that a broker lacks, and compare the existing ones with ``TOPICS``.

Existing topics are never changed: more partitions would move keys, another retention would delete
messages.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from miningmap.kafka.clients import admin_client, partitions_of_topics
from miningmap.kafka.errors import BrokerError, broker_errors
from miningmap.kafka.topics import TOPICS, Topic

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

    from miningmap.settings import Kafka

OK: Final = "ok"
CREATED: Final = "created"
MISSING: Final = "missing"
DIFFERS: Final = "differs: "

_POLL_S: Final = 0.05


class TopicState(NamedTuple):
    """A topic's state: ``ok``, ``created``, ``missing``, or ``differs: `` and the differences."""

    topic: str
    state: str


async def check_topics(kafka: Kafka) -> list[TopicState]:
    """Compare the broker's topics with ``TOPICS``, in their order. Changes nothing.

    Raises:
        BrokerError: the broker cannot be reached, or refuses the request.
    """
    async with admin_client(kafka) as admin, broker_errors(kafka.bootstrap_servers):
        return await _compare(admin)


async def ensure_topics(kafka: Kafka, replication_factor: int = 1) -> list[TopicState]:
    """Create the missing topics, and compare the others as :func:`check_topics` does.

    On return the broker lists all of them to its clients.

    Raises:
        BrokerError: the broker cannot be reached, or refuses the request.
    """
    async with admin_client(kafka) as admin, broker_errors(kafka.bootstrap_servers):
        created: set[str] = set()
        while missing := _missing(states := await _compare(admin)):
            created |= await _create(admin, kafka.bootstrap_servers, missing, replication_factor)
            await asyncio.sleep(_POLL_S)  # a new topic is not listed at once
        return [
            TopicState(name, CREATED if name in created and state == OK else state)
            for name, state in states
        ]


async def _create(
    admin: AIOKafkaAdminClient, servers: str, topics: list[Topic], replication_factor: int
) -> set[str]:
    """The names of the topics that were created; not of those that another process just created.

    Raises:
        BrokerError: the broker refuses.
    """
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=topic.config)
            for topic in topics
        ]
    )
    created: set[str] = set()
    for name, code, message in response.topic_errors:
        error = for_code(code)
        if not code:
            created.add(name)
        elif error is not TopicAlreadyExistsError:
            problem = f"cannot create {name}: {message or error.description}"
            remedy = "change what the broker refuses, and run `miningmap topics` again"
            raise BrokerError.at(servers, problem, remedy, retriable=False)
    return created


def _missing(states: list[TopicState]) -> list[Topic]:
    missing = {topic for topic, state in states if state == MISSING}
    return [topic for topic in TOPICS if topic.name in missing]


async def _compare(admin: AIOKafkaAdminClient) -> list[TopicState]:
    numbers = await partitions_of_topics(admin)
    partitions = {name: len(of_topic) for name, of_topic in numbers.items()}
    present = [topic for topic in TOPICS if topic.name in partitions]
    configs = await _configs(admin, present)
    return [
        TopicState(topic.name, _state(topic, partitions[topic.name], configs.get(topic.name, {})))
        if topic.name in partitions
        else TopicState(topic.name, MISSING)
        for topic in TOPICS
    ]


def _state(topic: Topic, partitions: int, config: dict[str, str]) -> str:
    differences = [
        f"{name} is {config.get(name, 'not set')} instead of {expected}"
        for name, expected in topic.config.items()
        if config.get(name) != expected
    ]
    if partitions != topic.partitions:
        differences.insert(0, f"{partitions} partitions instead of {topic.partitions}")
    return DIFFERS + ", ".join(differences) if differences else OK


async def _configs(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    """All settings of each topic."""
    if not topics:
        return {}
    # All settings: the embedded broker closes the connection if single ones are requested.
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    )
    return {
        name: {key: value for key, value, *_ in entries}
        for response in responses
        for _, _, _, name, entries in response.resources
    }
