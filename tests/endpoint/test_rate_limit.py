"""The rate limit: its buckets, how clients are identified, and the responses that they get."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from endpoint.http.rate_limit import Limiter, Quota
from miningmap.http.clients import FORWARDED, Clients
from tests.clock import Clock
from tests.endpoint.sse_client import STREAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]
    Serve = Callable[..., Awaitable[Client]]

PLACES = "/api/v1/places"


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


def test_exactly_the_limit_is_allowed(clock: Clock) -> None:
    for limit in (1, 7, 600, 99_991):
        limiter = Limiter(limit, clock=clock)
        allowed = [not limiter.take("a").wait_s for _ in range(limit + 1)]
        assert allowed == [True] * limit + [False], limit


def test_each_client_has_a_bucket_and_the_least_recent_is_dropped(clock: Clock) -> None:
    limiter = Limiter(1, max_clients=2, clock=clock)
    assert [limiter.take(client).wait_s for client in "abab"] == [0, 0, 60, 60]
    assert limiter.take("c").wait_s == 0  # replaces a, which was admitted before b
    assert [limiter.take(client).wait_s for client in "bca"] == [60, 60, 0]
    assert len(limiter._full_at) == 2


# --- clients --------------------------------------------------------------------------------------


def test_a_client_is_the_nearest_address_that_is_not_a_trusted_proxy() -> None:
    cases: list[tuple[str, list[str], str | None]] = [
        ("203.0.113.5", [], "203.0.113.5"),
        ("::ffff:203.0.113.5", [], "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("127.0.0.1", [], None),
        ("127.8.8.8", [], None),
        ("::1", [], None),
        ("::ffff:127.0.0.1", [], None),
        # X-Forwarded-For counts only from a trusted proxy, up to the first untrusted address.
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
        # Some proxies add the port of the client.
        ("10.0.0.1", ["198.51.100.1:567"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9:1, 198.51.100.1:567, 10.0.0.2:80"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:99"], "2001:db8::/64"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::/64"),
        ("10.0.0.1", ["[::ffff:198.51.100.1]:99"], "198.51.100.1"),
        *(
            ("10.0.0.1", [f"192.0.2.9, {malformed}"], "10.0.0.1")
            for malformed in (
                "198.51.100.1:",
                "198.51.100.1:123456",
                "198.51.100.1:x",
                "198.51.100.1:1:2",
                "[2001:db8::1",
                "2001:db8::1]:1",
                "[]:1",
                ":1",
                "unknown",
                "_hidden",
                "",
            )
        ),
    ]
    clients = Clients([ip_network("10.0.0.0/8")], loopback=False)
    found = [
        (remote, forwarded, clients.bucket(remote, CIMultiDict((FORWARDED, f) for f in forwarded)))
        for remote, forwarded, _ in cases
    ]
    assert found == cases


def test_without_trusted_proxies_forwarded_addresses_are_ignored() -> None:
    clients = Clients([], loopback=False)
    headers = CIMultiDict({FORWARDED: "198.51.100.1"})
    assert clients.bucket("10.0.0.1", headers) == "10.0.0.1"
    assert clients.bucket("127.0.0.1", headers) is None


def test_a_trusted_proxy_has_the_connections_of_all_its_clients() -> None:
    clients = Clients([ip_network("10.0.0.0/8")], loopback=False)
    peers = {address: clients.peer(address) for address in ("10.0.0.1", "127.0.0.1", "192.0.2.9")}
    assert peers == {"10.0.0.1": None, "127.0.0.1": None, "192.0.2.9": "192.0.2.9"}


def test_loopback_can_be_limited() -> None:
    assert Clients([], loopback=True).bucket("127.0.0.1", CIMultiDict()) == "127.0.0.1"


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.mark.integration
async def test_every_response_has_the_remaining_quota_and_the_excess_is_refused(
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
    assert (document["limit"], document["window_s"]) == (3, 60)
    assert document["client"] == "127.0.0.1"
    assert "3 requests in 60 s" in document["detail"]
    assert "this one counts as 127.0.0.1; " in document["detail"]


@pytest.mark.integration
async def test_errors_and_streams_count_and_have_the_headers(serve: Serve, store: Store) -> None:
    client = await serve(store, rate_limit=3, limit_loopback=True)
    for path, left in ((STREAM, 2), ("/api/v1/shares?window=2h", 1), ("/nothing", 0)):
        async with client.get(path) as answer:
            assert answer.headers["RateLimit"].startswith(f'"client";r={left};')


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_snapshots_have_the_quota_of_each_client(serve: Serve, store: Store) -> None:
    client = await serve(store, trusted_proxies=["127.0.0.1"], rate_limit=100)
    found = []
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"):
        async with client.get("/api/v1/shares", headers={"X-Forwarded-For": address}) as answer:
            found.append(answer.headers["RateLimit"].partition(";t=")[0])
            assert answer.headers["RateLimit-Policy"] == '"client";q=100;w=60'
            assert (await answer.json())["window"] == "1h"
    async with client.get("/api/v1/shares") as answer:
        assert "RateLimit" not in answer.headers
    assert found == [f'"client";r={left}' for left in (99, 98, 99, 97)]


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_monitoring_paths_are_never_limited(serve: Serve, store: Store) -> None:
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
async def test_by_default_loopback_is_not_limited_and_a_limit_of_0_disables_the_limit(
    serve: Serve, store: Store
) -> None:
    for section in ({"rate_limit": 1}, {"rate_limit": 0, "limit_loopback": True}):
        client = await serve(store, **section)
        for _ in range(5):
            async with client.get(PLACES) as answer:
                assert answer.status == 200, section
                assert "RateLimit" not in answer.headers, section


@pytest.mark.integration
async def test_clients_behind_a_trusted_proxy_are_limited_one_by_one(
    serve: Serve, store: Store
) -> None:
    client = await serve(store, rate_limit=1, trusted_proxies=["127.0.0.1"])
    for address, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429)):
        async with client.get(PLACES, headers={FORWARDED: address}) as answer:
            assert answer.status == status


@pytest.mark.integration
async def test_a_limited_proxy_that_is_not_trusted_is_logged_once(
    serve: Serve, store: Store
) -> None:
    client = await serve(store, rate_limit=1, limit_loopback=True)
    with capture_logs() as logs:
        for number in range(4):
            forwarded = {FORWARDED: f"192.0.2.{number}"}
            async with client.get(PLACES, headers=forwarded) as answer:
                assert answer.status == (429 if number else 200)
    (remedy,) = [log["remedy"] for log in logs if log["event"] == "proxy_rate_limited"]
    assert "MININGMAP_ENDPOINT__TRUSTED_PROXIES" in remedy
