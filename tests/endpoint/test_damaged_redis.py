"""Damage in Redis: no answer is a 500, and what is not damaged is answered as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from structlog.testing import capture_logs

from streams.method.cells import Series
from streams.redis import keys
from tests.endpoint.conftest import NOW
from tests.endpoint.swings import place_swing, write_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Service = TestClient[web.Request, web.Application]
    Serve = Callable[[Store], Awaitable[Service]]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("numbered", "snapshots")]


@pytest.fixture
async def numbered(store: Store) -> None:
    """The generation of keys has a number that the tests know."""
    await store.generations.redis.hset(keys.POSITIONS, "generation", str(G.number))


METRICS: Final = "/metrics"
PATHS: Final = (
    "/api/v1/shares",
    "/api/v1/shares?window=24h",
    "/api/v1/shares?window=2026-11-21",
    "/api/v1/shares.csv?window=1h",
    "/api/v1/shares?window=1h&level=subdivision&country=US",
    "/api/v1/shares?window=1h&as_of=2026-11-22T14:50:00Z",
    "/api/v1/history?code=*&step=hour",
    "/api/v1/history?code=US&step=month",
    "/api/v1/contributions?code=US&window=1h",
    "/api/v1/pools",
    "/api/v1/pools.csv",
    "/api/v1/swings",
    "/api/v1/places",
    "/cbeci/api/charts/mining_countries",
    "/cbeci/api/v1.5.0/download/mining_countries",
    METRICS,
    "/readyz",
    "/healthz",
)
VICTIM = Series("gamma", "gamma-api")
G = keys.Generation(7)
OF_VICTIM = (G.meta(VICTIM), G.days(VICTIM), G.published(VICTIM), G.stamps(VICTIM))
CELLS = (G.series, G.damaged, *OF_VICTIM)
POSITIONS = (keys.POSITIONS, keys.positions(G.number), keys.targets(G.number))
OTHERS = (
    keys.SNAPSHOTS,
    keys.EVENTS,
    G.rejected,
    keys.SWINGS,
    keys.SWING_HOURS,
    keys.SWING_LIST,
    keys.SWING_TIMES,
)
GARBAGE = (b"", b"\xff\xfe", b"nan", b"[]", b"{}", b"null", b"9" * 400, b"\x91" * 5000, b"[" * 5000)


async def answers(client: Service) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in PATHS:
        with capture_logs():
            response = await client.get(path)
        found[path] = (response.status, await response.read())
    return found


def are_no_faults(found: dict[str, tuple[int, bytes]]) -> None:
    assert {path: answer for path, answer in found.items() if answer[0] not in {200, 503}} == {}


@pytest.mark.parametrize("key", [*CELLS, *POSITIONS, *OTHERS])
async def test_a_key_of_another_type_is_no_fault_of_the_service(
    store: Store, serve: Serve, key: str
) -> None:
    redis = store.generations.redis
    await write_events(store.swings, place_swing())
    await redis.delete(key)
    await redis.set(key, b"x")
    are_no_faults(await answers(await serve(store)))


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value[:9]))
async def test_damaged_values_are_no_fault_of_the_service(
    store: Store, serve: Serve, value: bytes
) -> None:
    redis = store.generations.redis
    await write_events(store.swings, place_swing())
    for key in (*CELLS[1:], *OTHERS):
        if await redis.type(key) in {b"hash", b"none"}:
            fields = await redis.hkeys(key)
            await redis.hset(key, mapping=dict.fromkeys([*fields, value, b"x"], value))
    await redis.sadd(G.series, value)
    await redis.xadd(keys.EVENTS, {value: value})
    await redis.zadd(keys.SWING_TIMES, {value: float(NOW.timestamp())})
    are_no_faults(await answers(await serve(store)))


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value[:9]))
async def test_a_damaged_generation_is_as_if_there_was_none(
    store: Store, client: Service, value: bytes
) -> None:
    async def found() -> dict[str, tuple[int, bytes]]:
        return {path: answer for path, answer in (await answers(client)).items() if path != METRICS}

    redis = store.generations.redis
    await redis.hset(keys.targets(G.number), "miningmap.reports/0", value)
    damaged = await found()
    await redis.hset(keys.POSITIONS, "generation", value)
    assert await found() == damaged
    await redis.hdel(keys.POSITIONS, "generation")
    assert await found() == damaged
    assert damaged["/api/v1/history?code=*&step=hour"][0] == 503


async def test_a_damaged_pool_changes_no_answer_but_the_list_of_pools(
    store: Store, client: Service
) -> None:
    computed = [path for path in PATHS if "history" in path or "as_of" in path or "cbeci" in path]
    redis = store.generations.redis
    await redis.hset(G.meta(VICTIM), "end", b"253402300800.0")  # the year 10000
    damaged = await answers(client)
    await redis.srem(G.series, "gamma/gamma-api")
    without = await answers(client)
    assert {p: damaged[p] for p in computed} == {p: without[p] for p in computed}
