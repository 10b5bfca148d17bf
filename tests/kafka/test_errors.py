"""Errors of the Kafka package: one type, one line."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import errors

from miningmap.kafka.errors import (
    CHECK_ADDRESS,
    CHECK_REPLICAS,
    CREATE_TOPICS,
    START_BROKER,
    BrokerError,
    broker_errors,
)
from tests.cases import all_cases


def test_the_text_is_one_line_with_servers_problem_and_remedy() -> None:
    error = BrokerError.at("a:1,b:2", "two\n  lines", "do this", retriable=False)
    assert str(error) == "Kafka at a:1,b:2: two lines; do this"
    assert not error.retriable


@all_cases(
    ("raised", "remedy"),
    [
        (errors.KafkaConnectionError("refused"), START_BROKER),
        (ConnectionRefusedError("refused"), START_BROKER),
        (errors.TopicAuthorizationFailedError(), "allow it in the broker's access rules"),
        (errors.ClusterAuthorizationFailedError(), "allow it in the broker's access rules"),
        (errors.UnknownTopicOrPartitionError(), CREATE_TOPICS),
        (errors.NotEnoughReplicasError(), CHECK_REPLICAS),
        (errors.GroupCoordinatorNotAvailableError(), "try again in a few seconds"),
        (errors.UnsupportedVersionError(), "Apache Kafka 2.1 or newer"),
        (errors.CorrelationIdError(), "Apache Kafka 2.1 or newer"),
        (errors.PolicyViolationError(), "its log has the details"),
        (errors.InvalidTimestampError(), "its log has the details"),
        (errors.KafkaError("other"), CHECK_ADDRESS),
    ],
)
def test_the_remedy_fits_the_problem(raised: Exception, remedy: str) -> None:
    text = str(BrokerError.at("a:1", raised))
    assert remedy in text.rpartition("; ")[2]
    assert (remedy == START_BROKER) == text.endswith(START_BROKER)


@pytest.mark.parametrize("raised", [errors.KafkaConnectionError("refused"), OSError("refused")])
async def test_errors_of_aiokafka_become_broker_errors(raised: Exception) -> None:
    with pytest.raises(BrokerError, match=f"^Kafka at a:1: .*refused; {START_BROKER}$") as caught:
        async with broker_errors("a:1"):
            raise raised
    assert caught.value.__cause__ is raised
    assert caught.value.retriable


async def test_a_block_that_exceeds_the_time_limit_is_an_error() -> None:
    with pytest.raises(
        BrokerError, match=f"^Kafka at a:1: no answer within 0.01 s; {CHECK_ADDRESS}$"
    ):
        async with broker_errors("a:1", timeout_s=0.01):
            await asyncio.Event().wait()


async def test_other_errors_and_cancellation_are_not_changed() -> None:
    for other in (ValueError("other"), BrokerError("other"), asyncio.CancelledError()):
        with pytest.raises(type(other)) as caught:
            async with broker_errors("a:1"):
                raise other
        assert caught.value is other
