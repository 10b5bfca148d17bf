"""What the intake is tested with: one partner, a broker in memory, and a past that a test sets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from collector.outbox import ReportWithRows
from miningmap.plausibility import KnownFigures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.test_utils import TestClient

    from miningmap.messages import Message

NOW = datetime(2020, 3, 1, 12, tzinfo=UTC)
TOKEN = "the token of partner one"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
HEADER = f"Authorization: Bearer {TOKEN}"
PROBLEM = "application/problem+json"
DAILY_VALUES = 1_000_000


def daily_row(country: str, hashrate: float = 1, **changes: object) -> dict[str, object]:
    """A row of 1 November 2026, in EH/s."""
    return {
        "period_start_date": "2026-11-01",
        "period": "daily",
        "country": country,
        "province": None,
        "average_hashrate": hashrate,
        "unit": "eh/s",
    } | changes


class Kafka:
    """Holds what the intake published; the next ``failures`` attempts fail."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failures = 0
        self.acknowledge = asyncio.Event()
        self.acknowledge.set()

    async def publish(self, messages: Sequence[Message | ReportWithRows]) -> None:
        await self.acknowledge.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no broker")
        self.messages += [
            message.report if isinstance(message, ReportWithRows) else message
            for message in messages
        ]


class Past:
    """What is known of the network, once it is."""

    def __init__(self) -> None:
        self.known = KnownFigures()
        self.read = asyncio.Event()
        self.read.set()

    async def known_past(self) -> KnownFigures:
        await self.read.wait()
        return self.known


def head(path: str, *headers: str) -> bytes:
    """The head of a request whose body is not sent in full."""
    first = (f"POST {path} HTTP/1.1", "Host: intake", "Content-Type: application/json")
    return "\r\n".join([*first, *headers, "", ""]).encode()


async def status_of(client: TestClient[Any, Any], beginning: bytes) -> int:
    """The status of the response to a request of which only the beginning was sent."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(beginning)
    line = await asyncio.wait_for(reader.readline(), timeout=5)
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])
