"""The network's past is read from Kafka as soon as that can be reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from collector.polling import network_history
from collector.polling.network_history import NetworkHistory
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.topics import NETWORK
from miningmap.settings import Kafka
from tests.streams.fixtures import NOON, network

if TYPE_CHECKING:
    import pytest

    from tests.servers import KafkaServer

DEADLINE_S = 30
NO_BROKER = "127.0.0.1:1"


async def test_it_waits_for_kafka_and_skips_invalid_messages(
    clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_history, "RETRY_S", 0.01)
    there = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    async with Publisher(there, frozenset({NETWORK})) as publisher:
        poison = Record(NETWORK, b"bitcoin", b"poison")
        await publisher.publish([record_of(network(9e20)), poison])
    settings = Kafka(bootstrap_servers=NO_BROKER)
    history = NetworkHistory(settings)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        with capture_logs() as logs:
            running = tasks.create_task(history.run())
            while not logs:  # noqa: ASYNC110 - a log line sets no event
                await asyncio.sleep(0.01)
            known = tasks.create_task(history.known_past())
            await asyncio.wait({known}, timeout=0.1)
            assert not known.done()
            settings.bootstrap_servers = clean_kafka.bootstrap_servers
            await running
    assert (await known).network(NOON, NOON) == {"mempool": 9e20}
    assert [log["event"] for log in logs] == ["network_history_unavailable", "network_history_read"]
    assert logs[-1]["messages"] == 1
