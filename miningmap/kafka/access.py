"""What the broker's access rules allow this client, asked before it is needed.

Without this, a missing permission shows only at the first message that cannot be written. The
request for metadata tells permissions from version 8 on, which aiokafka does not know.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import GroupAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from miningmap.kafka.errors import CONNECT_S, BrokerError, broker_errors
from miningmap.kafka.security import RefusedError, client_options, connecting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from miningmap.settings import Kafka

_READ: Final = ("Read", 3)
_WRITE: Final = ("Write", 4)
_RETRY_S: Final = 1.0

REFUSED_S: Final = 3.0
"""How long the broker may refuse this client at the start, in seconds: its password can be newer
than what the broker has read so far."""


@dataclass(frozen=True)
class Access:
    """What a service does with topics.

    Attributes:
        reads: names of topics.
        writes: names of topics.
        group: the consumer group that it belongs to, if any.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    group: str | None = None


async def require_access(kafka: Kafka, access: Access) -> None:
    """Return when the broker has said that all of it is allowed.

    A broker without users allows everything, and is not asked.

    Raises:
        RefusedError: something is not allowed, or the broker refuses this client for a while.
    """
    clock = asyncio.get_running_loop().time
    refused_since: float | None = None
    while kafka.security_protocol != "PLAINTEXT":
        try:
            missing = await _missing(kafka, access)
        except BrokerError as error:  # whoever needs the broker says that it is unavailable
            refused_since = (refused_since or clock()) if isinstance(error, RefusedError) else None
            if refused_since is not None and clock() - refused_since >= REFUSED_S:
                raise
            await asyncio.sleep(_RETRY_S)
            continue
        if missing:
            user = f"the user {kafka.username}" if kafka.username else "this client"
            text = (
                f"{user} lacks {', '.join(missing)}; docs/deploy.md lists what each service needs"
            )
            raise RefusedError("USERNAME", kafka.bootstrap_servers, text)
        return


async def _missing(kafka: Kafka, access: Access) -> list[str]:
    """Return what is not allowed.

    Raises:
        BrokerError: the broker did not answer.
    """
    client = AIOKafkaClient(**client_options(kafka))
    try:
        async with connecting(kafka):
            await client.bootstrap()
        async with broker_errors(kafka.bootstrap_servers, CONNECT_S):
            topics = sorted(access.reads | access.writes)
            answer = await client.send(client.get_random_node(), _TopicsRequest(topics))
            missing = sorted(_missing_on_topics(answer.topics, access))
            if access.group is not None and not await _may_read(client, access.group):
                missing.append(f"Read on the group {access.group}")
    finally:
        await client.close()
    return missing


def _missing_on_topics(topics: Iterable[tuple[Any, ...]], access: Access) -> Iterator[str]:
    for error, name, _, _, operations in topics:
        if error == UnknownTopicOrPartitionError.errno:  # whoever needs the topic says so
            continue
        for (what, bit), wanted in ((_READ, access.reads), (_WRITE, access.writes)):
            if name in wanted and not _has(operations, bit):
                yield f"{what} on the topic {name}"


async def _may_read(client: AIOKafkaClient, group: str) -> bool:
    try:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    except GroupAuthorizationFailedError:
        return False
    answer = await client.send(node, _GroupsRequest([group]))
    return all(_has(each[-1], _READ[1]) for each in answer.groups)


def _has(operations: int, bit: int) -> bool:
    # A client that may not even see a topic or group gets the smallest number: no operation.
    return operations > 0 and bool(operations >> bit & 1)


class _TopicsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY: ClassVar[int] = 3
    API_VERSION: ClassVar[int] = 8
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 3
    API_VERSION: ClassVar[int] = 8
    RESPONSE_TYPE: ClassVar[type[Response]] = _TopicsResponse
    SCHEMA: ClassVar[Schema] = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _TopicsRequest(Request[_TopicsStruct]):  # type: ignore[misc]
    """Ask for topics, with what this client may do with them."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_TopicsStruct]) -> _TopicsStruct:
        create_topics = of_cluster = False
        of_topics = True
        return request_struct_class(self._topics, create_topics, of_cluster, of_topics)


class _GroupsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 15
    API_VERSION: ClassVar[int] = 3
    # aiokafka's own request of this version reads the response of the version before, which lacks
    # the permissions.
    RESPONSE_TYPE: ClassVar[type[Response]] = DescribeGroupsResponse_v3
    SCHEMA: ClassVar[Schema] = Schema(
        ("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean)
    )


class _GroupsRequest(Request[_GroupsStruct]):  # type: ignore[misc]
    """Ask for consumer groups, with what this client may do with them."""

    API_KEY: ClassVar[int] = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[_GroupsStruct]) -> _GroupsStruct:
        with_permissions = True
        return request_struct_class(self._groups, with_permissions)
