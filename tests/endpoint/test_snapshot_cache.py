"""The snapshot cache: how current it is, for how long, and while Redis is unavailable."""

from __future__ import annotations

import asyncio
import zlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from endpoint.data.gateway import Gateway
from endpoint.data.snapshot_cache import CachedSnapshot, EventLog, SnapshotCache
from endpoint.http.representation import Representation
from miningmap.times import rfc3339
from streams.method.beliefs import Beliefs
from streams.queries.snapshot import TAKEN_AT
from streams.redis import keys
from streams.redis.event_log import Event, EventId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store
    from tests.endpoint.redis_proxy import RedisProxy

    Client = TestClient[web.Request, web.Application]
    Serve = Callable[..., Awaitable[Client]]
    StoreAt = Callable[[str], Store]

SHARES = "/api/v1/shares"
DEADLINE_S = 10.0
# The cache must be up to date by then; generous, for a busy machine.
SOON_S = 3.0
HOUR_MS = 3_600_000


class CountingGateway(Gateway):
    """Counts how often all parts of the snapshot are read."""

    reads = 0

    async def snapshot(self) -> dict[str, bytes]:
        self.reads += 1
        return await super().snapshot()


async def body(client: Client, path: str = SHARES) -> bytes:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def until_served(client: Client, wanted: bytes, within_s: float = SOON_S) -> None:
    async with asyncio.timeout(within_s):
        while await body(client) != wanted:  # noqa: ASYNC110 - polled over HTTP
            await asyncio.sleep(0.01)


# --- up to date -----------------------------------------------------------------------------------


@pytest.mark.integration
async def test_a_new_snapshot_is_served_as_soon_as_it_is_written(
    client: Client, store: Store, snapshots: dict[str, bytes]
) -> None:
    await until_served(client, snapshots["1h/country"])
    for number in range(20):
        newer = snapshots | {"1h/country": b'{"n":%d}' % number}
        await store.snapshots.write(newer)
        await until_served(client, newer["1h/country"], within_s=1)


@pytest.mark.integration
async def test_a_snapshot_without_an_event_is_found(
    client: Client, store: Store, snapshots: dict[str, bytes], now: datetime
) -> None:
    await until_served(client, snapshots["1h/country"])
    without_event = {
        "1h/country": b'{"n":1}',
        TAKEN_AT: rfc3339(now + timedelta(seconds=5)).encode(),
    }
    await store.generations.redis.hset(keys.SNAPSHOTS, mapping=without_event)  # type: ignore[arg-type]  # unchanged bytes
    await until_served(client, without_event["1h/country"])


@pytest.mark.integration
async def test_snapshots_that_redis_has_lost_are_no_longer_served(
    client: Client, store: Store, snapshots: dict[str, bytes]
) -> None:
    await until_served(client, snapshots["1h/country"])
    await store.generations.redis.flushall()

    async def status() -> int:
        async with client.get("/api/v1/shares") as answer:
            return answer.status

    async with asyncio.timeout(SOON_S):
        while await status() == 200:  # noqa: ASYNC110 - polled over HTTP
            await asyncio.sleep(0.01)
    for path in ("shares", "pools", "history?code=US&step=day", "shares?window=2026-10"):
        async with client.get(f"/api/v1/{path}") as answer:
            problem = await answer.json()
            assert (answer.status, problem["title"]) == (503, "Rebuilding"), path
            assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.integration
async def test_a_cache_whose_log_was_replaced_has_to_catch_up_again(
    store: Store, snapshots: dict[str, bytes], now: datetime
) -> None:
    cache = SnapshotCache(Gateway(store, Beliefs()), fresh_s=60, now=lambda: now)
    await cache._read_next()
    assert await cache.has_caught_up(0)
    await store.generations.redis.flushall()
    await cache._read_next()
    assert not await cache.has_caught_up(0)
    await store.snapshots.write(snapshots)
    await cache._read_next()
    assert await cache.has_caught_up(0)


@pytest.mark.integration
async def test_the_snapshot_is_read_once_for_all_pages_of_events(
    store: Store, snapshots: dict[str, bytes], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.data.snapshot_cache._PAGE", 2)
    for number in range(4):
        await store.snapshots.write(snapshots | {"1h/country": b'{"n":%d}' % number})
    gateway = CountingGateway(store, Beliefs())
    cache = SnapshotCache(gateway, fresh_s=60, now=lambda: now)
    while not await cache.has_caught_up(0):
        await cache._read_next()
    # Once at the start and, as the fifth event may announce another one, once at the end.
    assert gateway.reads == 2


# --- caching --------------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_a_response_may_be_cached_until_there_can_be_another_snapshot(
    serve: Serve, store: Store, now: datetime
) -> None:
    paths = (SHARES, f"{SHARES}.csv", "/api/v1/pools", "/api/v1/pools.csv")
    for age_s, kept_s in ((0, 5), (1.9, 3), (2.2, 2), (4.5, 0), (5, 0), (3600, 0), (-1, 6)):
        client = await serve(store, now + timedelta(seconds=age_s), snapshot_s=5)
        async with asyncio.timeout(DEADLINE_S):
            found: list[str] = []
            while found != [f"public, max-age={kept_s}"] * len(paths):
                # The first responses may come from Redis, before the cache has the snapshots.
                found = [await cache_control(client, path) for path in paths]
                await asyncio.sleep(0.01)


async def cache_control(client: Client, path: str) -> str:
    async with client.get(path) as answer:
        return answer.headers["Cache-Control"]


# --- Redis unavailable ----------------------------------------------------------------------------


@pytest.mark.integration
async def test_without_redis_a_fresh_snapshot_is_served_but_nothing_is_ready(
    serve: Serve,
    store_at: StoreAt,
    redis_proxy: RedisProxy,
    snapshots: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("endpoint.data.snapshot_cache.CONFIRMED_S", 0.0)
    client = await serve(store_at(redis_proxy.url))
    await until_cached(client)
    await redis_proxy.stop()
    for path, status in (
        (SHARES, 200),
        (f"{SHARES}.csv?window=24h", 200),
        (f"{SHARES}?window=now&level=subdivision&country=CN", 200),
        ("/api/v1/pools", 200),
        ("/readyz", 503),
        ("/metrics", 200),
        (f"{SHARES}?as_of=2026-11-22T12:00:00Z", 503),
        (f"{SHARES}?window=now&level=subdivision&country=FR", 503),
    ):
        async with client.get(path) as answer:
            assert answer.status == status, path
    assert await body(client) == snapshots["1h/country"]
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    assert [line for line in lines if line.startswith("miningmap_share_ratio{")]
    assert 'miningmap_dependency_up{dependency="redis"} 0.0' in lines


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_without_redis_an_old_snapshot_is_not_served(
    serve: Serve,
    store_at: StoreAt,
    redis_proxy: RedisProxy,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("endpoint.data.snapshot_cache.CONFIRMED_S", 0.0)
    monkeypatch.setattr("endpoint.routes.stream.CATCH_UP_S", 0.1)
    client = await serve(store_at(redis_proxy.url), now + timedelta(seconds=61))
    await body(client)
    await redis_proxy.stop()
    for path in (SHARES, "/api/v1/pools", "/api/v1/stream"):
        async with client.get(path) as answer:
            assert answer.status == 503, path
            assert int(answer.headers["Retry-After"]) > 0
    await redis_proxy.start()
    await body(client)


async def until_cached(client: Client) -> None:
    """Wait until the snapshots are cached: before that there is no stream."""
    async with client.get("/api/v1/stream") as answer:
        assert answer.status == 200


# --- the log --------------------------------------------------------------------------------------


def event(at_ms: int, number: int = 0, name: str = "shares", windows: str = "1h") -> Event:
    fields = {field.encode(): zlib.compress(b"{}") for field in windows.split()}
    return Event(EventId(at_ms, number), name, fields)


def swing(at_ms: int) -> Event:
    return event(at_ms, name="swing", windows="all")


def test_a_log_returns_the_event_after_a_position() -> None:
    log = EventLog()
    assert (log.next(EventId(0, 0)), log.start("1h")) == (None, None)
    events = [event(5), event(5, 1), event(9)]
    log.add(events[:2])
    log.add(events[2:])
    assert log.next(EventId(0, 0)) is events[0]
    assert log.next(EventId(5, 0)) is events[1]
    assert log.next(EventId(7, 3)) is events[2]
    assert log.next(EventId(9, 0)) is None


def test_a_log_begins_right_before_the_newest_shares_in_a_window() -> None:
    log = EventLog()
    log.add([swing(5)])
    assert log.start("1h") is None
    log.add([newest := event(6), swing(7), event(8, windows="now 24h")])
    start = log.start("1h")
    assert start is not None
    assert log.next(start) is newest
    assert log.start("7d") is None


def test_a_client_that_has_waited_gets_what_is_newest() -> None:
    log = EventLog()
    assert log.next_newest(EventId(0, 0), "now") is None
    events = [event(5), event(6, windows="now 1h"), event(7, windows="now"), event(8)]
    log.add(events)
    assert log.next_newest(EventId(0, 0), "now") is events[2]
    assert log.next_newest(EventId(7, 0), "now") is None
    assert log.next_newest(EventId(0, 0), "1h") is events[3]
    log.add([alarm := swing(9), event(10)])
    assert log.next_newest(EventId(0, 0), "1h") is alarm
    assert log.next_newest(EventId(0, 0), "now") is events[2]


def test_a_log_leaves_out_what_later_events_tell_anew() -> None:
    """As Redis does, so that a process has the same events whether it has just started or not."""
    log = EventLog()
    events = [
        event(1_000, windows="now"),  # told anew at 1.5 s
        event(1_500, windows="now 1h"),
        swing(1_600),
        event(4_999, windows="now"),
        event(5_000, windows="1h"),  # in the next five seconds
        event(9_000, windows="now"),
        event(9_999, windows="now 1h"),
    ]
    log.add(events)
    assert _logged(log) == events
    log.add([later := event(15_000)])
    assert _logged(log) == [*events[1:], later]
    log.add([last := event(20_000)])
    assert _logged(log) == [*events[1:4], events[6], later, last]
    assert log.reaches(EventId(1_000, 0))


def _logged(log: EventLog) -> list[Event]:
    found = []
    position = EventId(0, 0)
    while (each := log.next(position)) is not None:
        found.append(each)
        position = each.id
    return found


def test_what_was_rendered_of_a_part_is_kept_while_it_is_the_same() -> None:
    rendered = []

    def render(body: bytes) -> Representation:
        rendered.append(body)
        return Representation(body, "text/plain", "no-store")

    first = CachedSnapshot({"a": b"1", "b": b"2"})
    for name in "ab":
        assert first.representation(name, render)
    second = CachedSnapshot({"a": b"1", "b": b"3"}, first)
    for name in "ab":
        assert second.representation(name, render)
    assert rendered == [b"1", b"2", b"3"]
    third = CachedSnapshot({"b": b"3"}, second)
    assert third.representation("a", render) is None


def test_a_log_reaches_from_its_first_event_to_its_last() -> None:
    log = EventLog()
    assert not log.reaches(EventId(5, 0))
    log.add([event(5, 2), event(9)])
    places = [EventId(5, 0), EventId(5, 1), EventId(5, 2), EventId(9, 0), EventId(9, 1)]
    assert [log.reaches(place) for place in places] == [False, True, True, True, False]


def test_a_log_keeps_an_hour_and_its_first_position() -> None:
    log = EventLog()
    log.add([event(1), event(2), event(3), event(HOUR_MS + 2)])
    assert not log.reaches(EventId(1, 0))
    assert log.reaches(EventId(2, 0))  # removed itself, but no event after it is
    after = log.next(EventId(2, 0))
    assert after is not None
    assert after.id == EventId(3, 0)
