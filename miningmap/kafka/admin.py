"""Create the topics that a broker lacks, and compare those that it has with the expected ones.

Nothing that exists is changed: more partitions would move keys, another retention would delete.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from miningmap.kafka.topics import TOPICS, Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK: Final = "ok"
CREATED: Final = "created"
MISSING: Final = "missing"
DIFFERS: Final = "differs: "

_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


class AdminError(Exception):
    """The broker cannot be reached or refuses; the text is one line and says what to do."""


class TopicState(NamedTuple):
    """One topic: ``ok``, ``created``, ``missing``, or ``differs: ...`` with what is different."""

    topic: str
    state: str


async def check_topics(bootstrap_servers: str) -> list[TopicState]:
    """What is missing or different on the broker, in the order of ``TOPICS``. Changes nothing.

    Raises:
        AdminError: the broker cannot be reached or refuses.
    """
    async with _admin(bootstrap_servers) as admin:
        return await _compare(admin)


async def ensure_topics(bootstrap_servers: str, replication_factor: int = 1) -> list[TopicState]:
    """Create what is missing and compare what exists, as :func:`check_topics` does.

    When it returns, the broker tells clients of all of them.

    Raises:
        AdminError: the broker cannot be reached or refuses.
    """
    async with _admin(bootstrap_servers) as admin:
        created: set[str] = set()
        while missing := _missing(states := await _compare(admin)):
            created |= await _create(admin, missing, replication_factor)
            await asyncio.sleep(_POLL_S)  # made, but the broker may not tell of it yet
        return [
            TopicState(name, CREATED if name in created and state == OK else state)
            for name, state in states
        ]


@asynccontextmanager
async def _admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    advice = "start it, or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await admin.start()
            yield admin
    except TimeoutError:
        raise AdminError(f"Kafka at {servers} did not answer in {_TIMEOUT_S:g} s") from None
    except (KafkaError, OSError) as error:
        raise AdminError(f"cannot reach Kafka at {servers} ({error}); {advice}") from None
    finally:
        with suppress(KafkaError, OSError):
            await admin.close()


async def _create(
    admin: AIOKafkaAdminClient, topics: list[Topic], replication_factor: int
) -> set[str]:
    """Returns the names of those that were created here, and not by somebody else meanwhile."""
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
            raise AdminError(f"Kafka does not create {name}: {message or error.description}")
    return created


def _missing(states: list[TopicState]) -> list[Topic]:
    missing = {topic for topic, state in states if state == MISSING}
    return [topic for topic in TOPICS if topic.name in missing]


async def _compare(admin: AIOKafkaAdminClient) -> list[TopicState]:
    partitions = await _partitions(admin)
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
        f"{name} is {config.get(name, 'not set')} instead of {wanted}"
        for name, wanted in topic.config.items()
        if config.get(name) != wanted
    ]
    if partitions != topic.partitions:
        differences.insert(0, f"{partitions} partitions instead of {topic.partitions}")
    return DIFFERS + ", ".join(differences) if differences else OK


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Of all topics: asking for one by name would make brokers that do so create it."""
    topics: list[dict[str, Any]] = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in topics}


async def _configs(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    """All settings of each: the embedded broker breaks off when asked for some by name."""
    if not topics:
        return {}
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    )
    return {
        name: {key: value for key, value, *_ in entries}
        for response in responses
        for _, _, _, name, entries in response.resources
    }
