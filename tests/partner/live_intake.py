"""The real intake for live rows, with a token, a list in place of Kafka, and a port of its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.test_utils import unused_port as free_port
from prometheus_client import CollectorRegistry

from collector.intake.app import intake_app
from collector.intake.ledger import Ledger
from collector.intake.partners import Partner
from collector.intake.rate_limit import Rate, RateLimiter
from collector.metrics import Metrics
from miningmap.messages import Report
from miningmap.plausibility import KnownFigures
from miningmap.settings import Retention
from miningmap.times import HOUR_S, bucket, bucket_start, rfc3339, utc_now
from tests.streams.fixtures import network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from aiohttp.typedefs import Handler, Middleware
    from redis.asyncio import Redis

    from collector.outbox import ReportWithRows
    from miningmap.messages import Message

TOKEN: Final = "a-partners-token"
TOO_LARGE: Final = 3e21
"""More H/s than twice the network; only the intake knows the network."""


class LiveIntake:
    """An intake that can be started and stopped on the same port.

    Attributes:
        reports: what was published, in order.
        statuses: how many responses had which status.
        tokens: that are valid.
        acknowledges: while it is cleared, rows are published and their requests do not end.
    """

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        self.reports: list[Report] = []
        self.statuses: Counter[int] = Counter()
        self.tokens = {TOKEN}
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self._port = free_port()
        self._rates = rates

    @property
    def url(self) -> str:
        """The address of the intake, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve during the block."""
        known = KnownFigures()
        for day in (0, 1, 2):
            known.add(network(950e18, start=utc_now() - timedelta(days=day)))

        async def known_past() -> KnownFigures:
            await asyncio.sleep(0)
            return known

        app = intake_app(
            self._authenticate,
            self._publish,
            Ledger(cast("Redis", None)),  # live rows need none
            RateLimiter(self._rates),
            known=known_past,
            retention=Retention(),
            metrics=Metrics(CollectorRegistry()),
            simulated=True,
        )
        app.middlewares.append(self._counting())
        async with TestServer(app, port=self._port):
            yield

    async def until(self, reports: int) -> None:
        """Wait until so many reports were published."""
        await until(lambda: len(self.reports) >= reports)

    def hashrates(self) -> list[float]:
        """Return the hashrates of the reports, which the tests number."""
        return [report.hashrate for report in self.reports]

    def _authenticate(self, token: str) -> Partner | None:
        return Partner("partner-1", "foundryusa", 1) if token in self.tokens else None

    async def _publish(self, messages: Sequence[Message | ReportWithRows]) -> None:
        self.reports += [message for message in messages if isinstance(message, Report)]
        await self.acknowledges.wait()

    def _counting(self) -> Middleware:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            self.statuses[response.status] += 1
            return response

        return count


async def until(condition: Callable[[], object]) -> None:
    """Wait until this is true."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing says when it becomes true
            await asyncio.sleep(0.01)


def row(number: int, **changed: Any) -> dict[str, Any]:
    """Return a valid row with this hashrate, which ends so many minutes after 30 hours ago."""
    first = bucket_start(bucket(utc_now(), HOUR_S) - 30, HOUR_S)
    start, end = (first + timedelta(minutes=number + after) for after in (0, 1))
    fields = {
        "start": rfc3339(start),
        "end": rfc3339(end),
        "hashrate": float(number),
        "places": [{"code": "US-TX", "hashrate": 0.0}],
    }
    return fields | changed


def lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return rows as JSON lines."""
    return b"".join(json.dumps(fields).encode() + b"\n" for fields in rows)
