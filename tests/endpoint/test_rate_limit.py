"""How much one client may ask, who that is, and how it is told."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from endpoint.http.rate_limit import FORWARDED, Clients, Limiter, Quota
from tests.endpoint.sse_client import STREAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]
    Serve = Callable[..., Awaitable[Client]]

PLACES = "/api/v1/places"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- buckets --------------------------------------------------------------------------------------


def test_a_full_bucket_holds_a_minutes_requests(clock: Clock) -> None:
    limiter = Limiter(4, clock=clock)
    assert [limiter.take("a") for _ in range(5)] == [
        Quota(3, 15, 0),
        Quota(2, 30, 0),
        Quota(1, 45, 0),
        Quota(0, 60, 0),
        Quota(0, 60, 15),
    ]


def test_a_bucket_fills_evenly_and_not_over(clock: Clock) -> None:
    limiter = Limiter(4, clock=clock)
    for _ in range(4):
        limiter.take("a")
    clock.now += 14
    assert limiter.take("a").wait_s == 1
    clock.now += 1
    assert limiter.take("a") == Quota(0, 60, 0)
    assert limiter.take("a").wait_s == 15
    clock.now += 10_000
    assert limiter.take("a") == Quota(3, 15, 0)


@pytest.mark.parametrize("limit", [1, 7, 600, 99_991])
def test_exactly_the_limit_is_allowed(clock: Clock, limit: int) -> None:
    limiter = Limiter(limit, clock=clock)
    allowed = [not limiter.take("a").wait_s for _ in range(limit + 1)]
    assert allowed == [True] * limit + [False]


def test_clients_have_buckets_of_their_own_and_so_many_are_remembered(clock: Clock) -> None:
    limiter = Limiter(1, most_clients=2, clock=clock)
    assert [limiter.take(client).wait_s for client in "abab"] == [0, 0, 60, 60]
    assert limiter.take("c").wait_s == 0  # in the place of a, who was let in before b
    assert [limiter.take(client).wait_s for client in "bca"] == [60, 60, 0]
    assert len(limiter._full_at) == 2


# --- who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "forwarded", "bucket"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("::ffff:203.0.113.5", [], "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("127.0.0.1", [], None),
        ("127.8.8.8", [], None),
        ("::1", [], None),
        ("::ffff:127.0.0.1", [], None),
        # Only what a trusted proxy says counts, and only up to the first who is none.
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::/64"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_a_client_is_the_nearest_address_that_no_trusted_proxy_has(
    remote: str, forwarded: list[str], bucket: str | None
) -> None:
    clients = Clients([ip_network("10.0.0.0/8")], loopback=False)
    headers = CIMultiDict((FORWARDED, value) for value in forwarded)
    assert clients.bucket(remote, headers) == bucket


def test_without_trusted_proxies_nobody_is_believed() -> None:
    clients = Clients([], loopback=False)
    headers = CIMultiDict({FORWARDED: "198.51.100.1"})
    assert clients.bucket("10.0.0.1", headers) == "10.0.0.1"
    assert clients.bucket("127.0.0.1", headers) is None


def test_loopback_can_be_limited_too() -> None:
    assert Clients([], loopback=True).bucket("127.0.0.1", CIMultiDict()) == "127.0.0.1"


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.mark.integration
async def test_every_answer_tells_what_is_left_and_too_many_are_refused(
    serve: Serve, store: Store
) -> None:
    client = await serve(store, rate_limit=3, limit_loopback=True)
    for left in (2, 1, 0):
        async with client.get(PLACES) as answer:
            assert answer.status == 200
            assert answer.headers["RateLimit-Policy"] == '"client";q=3;w=60'
            assert answer.headers["RateLimit"] == f'"client";r={left};t={60 - 20 * left}'
    async with client.get("/nothing") as answer:
        assert answer.status == 429
        assert answer.content_type == "application/problem+json"
        assert answer.headers["RateLimit"] == '"client";r=0;t=60'
        assert 0 < int(answer.headers["Retry-After"]) <= 20
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "no-store"
        document = await answer.json(content_type=None)
    assert document["status"] == 429
    assert document["type"].endswith("#quota-exceeded")
    assert document["violated-policies"] == ["client"]
    assert "3 requests per minute" in document["detail"]


@pytest.mark.integration
async def test_errors_and_streams_count_and_tell(serve: Serve, store: Store) -> None:
    client = await serve(store, rate_limit=3, limit_loopback=True)
    for path, left in ((STREAM, 2), ("/api/v1/shares?window=2h", 1), ("/nothing", 0)):
        async with client.get(path) as answer:
            assert answer.headers["RateLimit"].startswith(f'"client";r={left};')


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_whoever_watches_the_service_is_never_refused(serve: Serve, store: Store) -> None:
    client = await serve(store, rate_limit=1, limit_loopback=True)
    for path in ("/healthz", "/readyz", "/metrics"):
        for _ in range(3):
            async with client.get(path) as answer:
                assert answer.status == 200
                assert "RateLimit" not in answer.headers
    async with client.get(PLACES) as answer:
        assert answer.status == 200
    async with client.get(PLACES) as answer:
        assert answer.status == 429
    async with client.get("/metrics") as answer:
        assert "miningmap_rate_limited_total 1.0" in await answer.text()


@pytest.mark.integration
@pytest.mark.parametrize("served", [{"rate_limit": 1}, {"rate_limit": 0, "limit_loopback": True}])
async def test_there_is_no_limit_on_loopback_by_default_and_none_where_it_is_zero(
    serve: Serve, store: Store, served: dict[str, object]
) -> None:
    client = await serve(store, **served)
    for _ in range(5):
        async with client.get(PLACES) as answer:
            assert answer.status == 200
            assert "RateLimit" not in answer.headers


@pytest.mark.integration
async def test_clients_behind_a_trusted_proxy_are_limited_one_by_one(
    serve: Serve, store: Store
) -> None:
    client = await serve(store, rate_limit=1, trusted_proxies=["127.0.0.1"])
    for address, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429)):
        async with client.get(PLACES, headers={FORWARDED: address}) as answer:
            assert answer.status == status


@pytest.mark.integration
async def test_a_proxy_that_nobody_named_is_told_of_once(serve: Serve, store: Store) -> None:
    client = await serve(store, rate_limit=1, limit_loopback=True)
    with capture_logs() as logs:
        for number in range(4):
            forwarded = {FORWARDED: f"192.0.2.{number}"}
            async with client.get(PLACES, headers=forwarded) as answer:
                assert answer.status == (429 if number else 200)
    (remedy,) = [log["remedy"] for log in logs if "proxy" in log["event"]]
    assert "MININGMAP_ENDPOINT__TRUSTED_PROXIES" in remedy
