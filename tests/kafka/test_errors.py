"""Errors of the Kafka package: one type, one line."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from miningmap.kafka.errors import BrokerError, broker_errors

REMEDY = "start the broker, or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS"


def test_the_text_is_one_line_with_servers_problem_and_remedy() -> None:
    error = BrokerError.at("a:1,b:2", "two\n  lines", "do this", retriable=False)
    assert str(error) == "Kafka at a:1,b:2: two lines; do this"
    assert not error.retriable


@pytest.mark.parametrize("raised", [KafkaConnectionError("refused"), OSError("refused")])
async def test_errors_of_aiokafka_become_broker_errors(raised: Exception) -> None:
    with pytest.raises(BrokerError, match=f"^Kafka at a:1: .*refused; {REMEDY}$") as caught:
        async with broker_errors("a:1"):
            raise raised
    assert caught.value.__cause__ is raised
    assert caught.value.retriable


async def test_a_block_that_exceeds_the_time_limit_is_an_error() -> None:
    with pytest.raises(BrokerError, match=f"^Kafka at a:1: no answer within 0.01 s; {REMEDY}$"):
        async with broker_errors("a:1", timeout_s=0.01):
            await asyncio.Event().wait()


async def test_other_errors_and_cancellation_are_not_changed() -> None:
    for other in (ValueError("other"), BrokerError("other"), asyncio.CancelledError()):
        with pytest.raises(type(other)) as caught:
            async with broker_errors("a:1"):
                raise other
        assert caught.value is other
