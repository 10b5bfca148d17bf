from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from collector.http.fetcher import Fetcher
from collector.metrics import Metrics
from collector.sources import decoding
from collector.sources.base import PoolSource, Rate, Reading, Request
from collector.sources.credentials import NONE, Credentials
from miningmap.settings import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


class Pools:
    """A server that is the ``upstream`` of all hosts; ``handler`` makes its responses."""

    def __init__(self) -> None:
        self.now = NOW
        self.clock = 0.0
        self.requests: list[web.Request] = []
        self.handler: Handler = self._echo
        self.metrics = Metrics(CollectorRegistry())
        self.all_metrics = CollectorRegistry()
        self.all_metrics.register(self.metrics.registry)
        for series in self.metrics.series:
            self.all_metrics.register(series)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.handler(request)

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=request.path_qs)

    def answer(
        self, content: bytes = b"", status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Give every request this response from now on."""

        async def handler(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=content, status=status, headers=headers)

        self.handler = handler

    def settings(self, **changed: object) -> Collector:
        url = str(self.server.make_url("/"))
        return Collector.model_validate({"upstream": url} | changed)

    def fetcher(self, *, total_s: float = 10, credentials: Credentials = NONE) -> Fetcher:
        return Fetcher(
            self.settings(),
            self.metrics,
            credentials=credentials,
            timeout=aiohttp.ClientTimeout(total=total_s),
            now=lambda: self.now,
            clock=lambda: self.clock,
        )

    def metric(self, name: str, **labels: str) -> float | None:
        return self.all_metrics.get_sample_value(name, labels)

    @staticmethod
    def source(*urls: str, pool: str | None = "toy", poll_s: int = 60) -> PoolSource:
        """A source whose response is ``{"POOL": "HASHRATE", ...}``."""
        return PoolSource(
            slug="toy",
            name="Toy",
            home="https://pool.example",
            docs=None,
            terms="none",
            requests=tuple(map(Request, urls or ["https://pool.example/stats?key=SECRET"])),
            rate=Rate(1000, 1),
            poll_s=poll_s,
            poll_reason="a toy",
            averaging_s=60,
            hold_s=300,
            least=0,
            confidence="low",
            default=True,
            pool=pool,
            parse=_parse,
        )


def _parse(bodies: Sequence[bytes]) -> list[Reading]:
    hashrates = decoding.decode(bodies[0], dict[str, str])
    figures = {pool: decoding.hashrate(text) for pool, text in hashrates.items()}
    return [Reading(pool, figure) for pool, figure in figures.items() if figure is not None]


@pytest.fixture
async def pools() -> AsyncIterator[Pools]:
    pools = Pools()
    async with pools.server:
        yield pools
