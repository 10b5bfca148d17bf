"""An intake over real HTTP, with a real Redis."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from collector.intake.app import intake_app
from collector.intake.budget import Budget
from collector.intake.ledger import Ledger
from collector.intake.partners import Partner, Partners
from collector.intake.rate_limit import Rate, RateLimiter
from collector.metrics import Metrics
from miningmap import settings as config
from miningmap.redis_client import connect
from tests.collector.intake.fakes import DAILY_VALUES, NOW, TOKEN, Kafka, Past

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web
    from redis.asyncio import Redis


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)), patient=False)
    yield client
    await client.aclose()


@pytest.fixture
def app(kafka: Kafka, store: Redis, registry: CollectorRegistry, past: Past) -> web.Application:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return intake_app(
        Partners([(Partner("partner-1", "foundryusa", 7), digest)]).authenticate,
        kafka.publish,
        Ledger(store),
        RateLimiter([Rate(20, 3600)]),
        known=past.known_past,
        retention=config.Retention(),
        metrics=Metrics(registry),
        simulated=True,
        now=lambda: NOW,
        budget=Budget(DAILY_VALUES),
    )


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(app)) as started:
        yield started


@pytest.fixture
def counted(registry: CollectorRegistry) -> Any:
    def count(result: str) -> float | None:
        labels = {"partner": "partner-1", "result": result}
        return registry.get_sample_value("miningmap_intake_rows_total", labels)

    return count
