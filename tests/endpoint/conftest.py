"""A few pools in a real Redis, and the service over real HTTP in front of it.

At NOW ``alpha`` reports where its miners are, ``beta`` has only a prior, and ``gamma`` no longer
reports. Reports cover 12 days: too few for a cohort of 30 days, whose figures are unknown.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from endpoint.service import application
from miningmap import settings as config
from miningmap.messages import Located, Message, Network, Report
from miningmap.redis_client import connect
from streams.beliefs import BeliefsDocument
from streams.method.beliefs import Beliefs, Document, Entry, Rule
from streams.method.cells import claims_of
from streams.queries.snapshot import take_snapshot
from streams.redis.store import Store
from tests.beliefs.documents import claim
from tests.endpoint.redis_proxy import RedisProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web

    Client = TestClient[web.Request, web.Application]

NOW = datetime(2026, 11, 22, 15, 0, 30, tzinfo=UTC)
FRESH_S = 60.0
# Redis expires keys by its own clock, and these tests must pass on any day.
FOR_EVER = config.Retention(minutes_h=10_000_000, hours_d=400_000)
BELIEFS = Beliefs(
    pools=[Document("pools/beta", [Entry(0, {"US": 0.5, "CA": 0.5})], "beta")],
    rules=[Rule("cn-zhejiang", "CN-ZJ", None)],
)
# For the list of beliefs and the metric of their ends; figures follow from BELIEFS.
DOCUMENTS = msgspec.convert({"claims": [claim("claims/c", until="2027-01-01")]}, BeliefsDocument)
EH = 1e18


def report(
    pool: str,
    start: datetime,
    end: datetime,
    hashrate: float,
    places: tuple[Located, ...] = (),
    *,
    hold_s: int = 0,
) -> Report:
    return Report(
        pool=pool,
        source=f"{pool}-api",
        start=start,
        end=end,
        hold_s=hold_s,
        hashrate=hashrate,
        places=places,
        fetched_at=end,
        simulated=pool == "alpha",
    )


def messages() -> list[Message]:
    hour = timedelta(hours=1)
    places = (
        Located("US-TX", 60 * EH, "measured"),
        Located("CN-SC", 20 * EH, "measured"),
        Located("CN-ZJ", 10 * EH, "measured"),
        Located("DE", 5 * EH, "estimated"),
    )
    full = NOW.replace(minute=0, second=0)
    spans = [(NOW - timedelta(minutes=59), NOW), (full - 12 * 24 * hour, full - hour)]
    made: list[Message] = []
    for start, end in spans:
        hold_s = 300 if end == NOW else 0
        made.append(report("alpha", start, end, 100 * EH, places, hold_s=hold_s))
        made.append(report("beta", start, end, 50 * EH, hold_s=hold_s))
        made.append(
            Network(
                source="mempool",
                start=start,
                end=end,
                hold_s=hold_s,
                hashrate=300 * EH,
                fetched_at=end,
                simulated=False,
            )
        )
    made.append(report("gamma", NOW - timedelta(hours=4), NOW - timedelta(hours=3.5), 7 * EH))
    return made


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
async def store_at() -> AsyncIterator[Callable[[str], Store]]:
    """A function that returns a store over the Redis at a URL."""
    clients = []

    def at(url: str) -> Store:
        clients.append(connect(config.Redis(url=SecretStr(url)), patient=False))
        return Store(clients[-1], FOR_EVER)

    yield at
    for client in clients:
        await client.aclose()


@pytest.fixture
async def store(store_at: Callable[[str], Store], redis_url: str) -> Store:
    """A store that has all there is: nothing."""
    store = store_at(redis_url)
    await store.generations.begin({})
    return store


@pytest.fixture
async def redis_proxy(redis_url: str) -> AsyncIterator[RedisProxy]:
    """A proxy to the Redis, which the test can stop."""
    proxy = RedisProxy(redis_url)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def cells(store: Store) -> None:
    """The cells, without a snapshot."""
    await store.writer.write([(message, claims_of(message)) for message in messages()])


@pytest.fixture
async def snapshots(store: Store, cells: None) -> dict[str, bytes]:  # noqa: ARG001 - written first
    made = await take_snapshot(store.cells, BELIEFS, NOW)
    await store.snapshots.write(made)
    return made


@pytest.fixture
async def serve(
    store_at: Callable[[str], Store],  # noqa: ARG001 - closes its connections after these clients
) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """A function that serves a store over HTTP with a fixed clock and settings of the endpoint."""
    clients: list[Client] = []

    async def start(
        store: Store, now: datetime = NOW, *, snapshot_s: float | None = None, **section: Any
    ) -> Client:
        settings = config.Endpoint.model_validate({"fresh_s": FRESH_S, **section})
        app = application(
            store, BELIEFS, settings, documents=DOCUMENTS, snapshot_s=snapshot_s, now=lambda: now
        )
        client = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def client(serve: Callable[[Store], Awaitable[Client]], store: Store) -> Client:
    return await serve(store)
