"""The network's past is read from Kafka as soon as that can be reached."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from collector.polling import network_history
from collector.polling.network_history import NetworkHistory
from miningmap.kafka.producer import Publisher, Record, record_of
from miningmap.kafka.topics import NETWORK
from miningmap.settings import Kafka
from miningmap.times import utc_now
from tests.streams.fixtures import NOON, network

if TYPE_CHECKING:
    import pytest

    from tests.servers import KafkaServer

DEADLINE_S = 30
NO_BROKER = "127.0.0.1:1"


async def test_it_waits_for_kafka_and_skips_dead_letters(
    clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_history, "RETRY_S", 0.01)
    there = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    async with Publisher(there, frozenset({NETWORK})) as publisher:
        poison = Record(NETWORK, b"bitcoin", b"poison")
        tomorrow = utc_now() + timedelta(days=1)
        before_bitcoin = datetime(1970, 1, 1, tzinfo=UTC)
        wrong = [
            network(0, source="zero"),
            network(2e23, source="huge"),
            network(8e20, source="future", start=tomorrow),
            network(8e20, source="early", start=before_bitcoin),
        ]
        messages = [network(9e20), *wrong]
        await publisher.publish([*map(record_of, messages), poison])
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
    sources = {*(await known).network(NOON, NOON), *(await known).network(tomorrow, tomorrow)}
    assert sources == {"mempool"}
    assert (await known).network(NOON, NOON) == {"mempool": 9e20}
    assert (await known).network(before_bitcoin, NOON - timedelta(days=365)) == {}
    assert [log["event"] for log in logs] == ["network_history_unavailable", "network_history_read"]
    assert logs[-1]["messages"] == 1
