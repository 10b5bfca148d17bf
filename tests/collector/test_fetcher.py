from __future__ import annotations

import asyncio
import gzip
import socket
import traceback
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from collector.http import fetcher as fetcher_module
from collector.http.address_guard import PublicResolver
from collector.http.fetcher import MAX_BYTES, Fetcher
from collector.http.hosts import MAX_FAILURES
from collector.metrics import Metrics
from collector.sources.base import (
    Credential,
    CredentialsError,
    PermanentError,
    PoolSource,
    Rate,
    Request,
    Secrets,
    SourceError,
    TransientError,
)
from collector.sources.credentials import Credentials
from launch.local.embedded import free_port
from miningmap.settings import Collector, SettingsError
from tests.cases import all_cases

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from collector.sources.base import Source
    from tests.collector.conftest import Pools

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
MIB = 1 << 20


async def fetch(pools: Pools, *urls: str, total_s: float = 10) -> list[bytes]:
    async with pools.fetcher(total_s=total_s) as fetcher:
        return await fetcher.fetch(pools.source(*urls))


async def test_requests_to_the_upstream_have_host_and_path(pools: Pools) -> None:
    assert await fetch(pools) == [b"/pool.example/stats?key=SECRET"]


async def test_bodies_are_in_the_order_of_the_requests(pools: Pools) -> None:
    three = ["https://b.example/1", "https://a.example/2", "https://c.example/3"]
    assert await fetch(pools, *three) == [b"/b.example/1", b"/a.example/2", b"/c.example/3"]


@pytest.mark.parametrize("contact", ["", "mailto:ops@map.example"])
async def test_requests_name_the_project_and_the_contact(pools: Pools, contact: str) -> None:
    async with Fetcher(pools.settings(contact=contact), pools.metrics) as fetcher:
        await fetcher.fetch(pools.source())
    agent = pools.requests[0].headers["User-Agent"]
    assert agent.startswith("miningmap/")
    assert contact in agent
    assert ("contact" in agent) == bool(contact)


async def test_requests_are_counted_and_timed(pools: Pools) -> None:
    await fetch(pools, "https://a.example/", "https://b.example/")
    assert pools.metric("miningmap_source_requests_total", source="toy") == 2
    count = "miningmap_source_request_duration_seconds_count"
    assert pools.metric(count, source="toy") == 2


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (429, TransientError, "rate_limited"),
        (403, TransientError, "rate_limited"),
        (500, TransientError, "server_error"),
        (503, TransientError, "server_error"),
        (401, CredentialsError, "unauthorized"),
        (404, PermanentError, "client_error"),
        (410, PermanentError, "client_error"),
        (204, PermanentError, "client_error"),
        (304, PermanentError, "redirect"),
    ],
)
async def test_a_status_is_one_of_three_errors(
    pools: Pools, status: int, kind: type[SourceError], reason: str
) -> None:
    pools.answer(status=status)
    with pytest.raises(kind, match=f"pool.example: HTTP {status}") as caught:
        await fetch(pools)
    assert caught.value.reason == reason
    assert caught.value.source == "toy"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(pools: Pools, status: int) -> None:
    pools.answer(status=status, headers={"Location": "/elsewhere"})
    with pytest.raises(PermanentError, match=r"moved to another path of pool\.example;"):
        await fetch(pools)
    assert [request.path for request in pools.requests] == ["/pool.example/stats"]


@all_cases(
    ("location", "where"),
    [
        ("https://www.pool.example.net/stats?key=SECRET", "moved to www.pool.example.net; if"),
        ("//pool2.example:8443/", "moved to pool2.example:8443; if that is its new address, set"),
        ("https://pool.example/v2/stats?key=SECRET", "moved to another path of pool.example; redi"),
        (
            "v2/stats?key=SECRET",
            "moved to another path of pool.example; redirects are not followed",
        ),
        ("https://[", "moved to another path of pool.example"),
        ("https://" + "x" * 300 + ".example/", "moved to " + "x" * 100 + ";"),
        ("", "moved, without a new address; redirects are not followed"),
        (None, "moved, without a new address"),
    ],
)
def test_a_redirect_names_the_new_host_and_nothing_else(location: str | None, where: str) -> None:
    error = fetcher_module._moved(302, location, "https://pool.example/stats?key=SECRET")
    assert str(error).startswith(f"HTTP 302: {where}")
    assert "SECRET" not in str(error)
    assert error.reason == "redirect"


# --- hosts that the operator sets -----------------------------------------------------------------


async def test_a_set_host_is_asked_in_place_of_the_declared_one(pools: Pools) -> None:
    source = replace(pools.source("https://a.example/1?q=%20", "https://b.example/2"), more=follow)
    settings = pools.settings(hosts={"a.example": "new.example:8443"})
    async with Fetcher(settings, pools.metrics) as fetcher:
        await fetcher.fetch(source)
    assert [request.raw_path for request in pools.requests] == [
        "/new.example/1?q=%20",
        "/b.example/2",
        "/new.example/3",
    ]
    hosts = ["new.example:8443", "a.example"]
    found = [pools.metric("miningmap_source_host_open", host=host) for host in hosts]
    assert found == [0, None]


def follow(bodies: Sequence[bytes]) -> Sequence[Request]:
    """One more request to a.example."""
    return () if len(bodies) > 2 else (Request("https://a.example/3"),)


async def test_a_set_host_must_be_public(pools: Pools) -> None:
    settings = Collector(hosts={"pool.example": "127.0.0.1"})
    async with Fetcher(settings, pools.metrics) as fetcher:
        with pytest.raises(PermanentError) as caught:
            await fetcher.fetch(pools.source())
    assert caught.value.reason == "address"


# --- requests that depend on responses ------------------------------------------------------------


def numbered(pools: Pools, **statuses: int) -> None:
    """Respond with the path, or with a status for some paths."""

    async def handler(request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        return web.Response(text=name, status=statuses.get(name, 200))

    pools.handler = handler


async def fetch_source(pools: Pools, source: Source) -> list[bytes]:
    async with pools.fetcher() as fetcher:
        return await fetcher.fetch(source)


async def test_more_requests_follow_until_there_are_none(pools: Pools) -> None:
    numbered(pools)

    def more(bodies: Sequence[bytes]) -> Sequence[Request]:
        left = range(len(bodies), min(len(bodies) + 2, 5))
        return [Request(f"https://a.example/{n}") for n in left]

    source = replace(pools.source("https://a.example/0"), more=more)
    bodies = await fetch_source(pools, source)
    assert bodies == [b"0", b"1", b"2", b"3", b"4"]
    assert [r.url[-1] for r in source.requests_for(bodies)] == list("01234")
    assert len(source.requests_for([])) == 1
    assert len(source.requests_for(bodies[:2])) == 3


async def test_requests_without_an_end_are_an_error(pools: Pools) -> None:
    numbered(pools)
    source = replace(
        pools.source("https://a.example/0"),
        more=lambda _bodies: [Request("https://a.example/1")] * 30,
    )
    with pytest.raises(PermanentError, match="more than 100 requests"):
        await fetch_source(pools, source)
    assert len(pools.requests) == 91


async def test_more_requests_go_to_declared_hosts_only(pools: Pools) -> None:
    source = replace(
        pools.source("https://a.example/0"), more=lambda _: [Request("https://b.example/")]
    )
    async with pools.fetcher() as fetcher:
        fetcher.register(pools.source("https://b.example/"))  # of another source
        with pytest.raises(PermanentError, match="another host") as caught:
            await fetcher.fetch(source)
    assert (caught.value.reason, caught.value.source) == ("address", "toy")
    assert len(pools.requests) == 1


async def test_bodies_from_which_nothing_follows_are_an_error_of_the_source(pools: Pools) -> None:
    def more(_bodies: Sequence[bytes]) -> Sequence[Request]:
        raise PermanentError("no list", reason="unit")

    with pytest.raises(PermanentError) as caught:
        await fetch_source(pools, replace(pools.source(), more=more))
    assert (caught.value.reason, caught.value.source) == ("unit", "toy")


def optional(*names: str) -> tuple[Request, ...]:
    return tuple(Request(f"https://{name}.example/{name}", optional=True) for name in names)


async def test_an_optional_request_that_fails_has_an_empty_body(pools: Pools) -> None:
    numbered(pools, a=503, c=404)
    source = replace(pools.source(), requests=optional("a", "b", "c"))
    assert await fetch_source(pools, source) == [b"", b"b", b""]
    failed = "miningmap_source_request_failures_total"
    assert pools.metric(failed, source="toy", reason="server_error") == 1
    assert pools.metric(failed, source="toy", reason="client_error") == 1


async def test_if_all_optional_requests_fail_the_poll_fails(pools: Pools) -> None:
    numbered(pools, a=404, b=503)
    source = replace(pools.source(), requests=optional("a", "b"))
    with pytest.raises(PermanentError, match=r"a\.example: HTTP 404"):
        await fetch_source(pools, source)


async def test_a_request_may_follow_from_an_optional_one_that_failed(pools: Pools) -> None:
    numbered(pools, a=404)

    def more(bodies: Sequence[bytes]) -> Sequence[Request]:
        return [Request("https://a.example/second")] if bodies == [b""] else []

    source = replace(pools.source(), requests=optional("a"), more=more)
    assert await fetch_source(pools, source) == [b"", b"second"]


async def test_an_open_circuit_of_an_optional_host_hides_nothing(pools: Pools) -> None:
    numbered(pools, a=503)
    source = replace(pools.source(), requests=optional("a", "b"))
    async with pools.fetcher() as fetcher:
        for _ in range(MAX_FAILURES + 2):
            assert await fetcher.fetch(source) == [b"", b"b"]
    assert sum(request.path.endswith("/a") for request in pools.requests) == MAX_FAILURES


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120.0), ("1.5", 1.5), ("Sun, 22 Nov 2026 15:05:00 GMT", 300.0)]
)
async def test_the_error_has_the_servers_retry_after(
    pools: Pools, header: str, seconds: float
) -> None:
    pools.answer(status=429, headers={"Retry-After": header})
    with pytest.raises(TransientError) as caught:
        await fetch(pools)
    assert caught.value.retry_after_s == seconds


async def test_a_body_of_exactly_the_limit_is_read(pools: Pools) -> None:
    pools.answer(b"x" * MAX_BYTES)
    assert await fetch(pools) == [b"x" * MAX_BYTES]


async def test_an_endless_body_is_aborted_while_it_streams(pools: Pools) -> None:
    sent = 0

    async def stream(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 256 * MIB:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    pools.handler = stream
    with pytest.raises(PermanentError, match=f"more than {MAX_BYTES} bytes") as caught:
        await fetch(pools)
    assert caught.value.reason == "too_large"
    assert sent < 64 * MIB


async def test_a_gzip_bomb_is_aborted_before_it_fills_the_memory(pools: Pools) -> None:
    pools.answer(gzip.compress(bytes(100 * MIB), 1), headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        with pytest.raises(PermanentError) as caught:
            await fetch(pools)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "too_large"
    assert peak < 16 * MIB


async def test_compressed_bodies_are_read(pools: Pools) -> None:
    pools.answer(gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    assert await fetch(pools) == [b"{}"]


async def test_a_server_that_does_not_respond_times_out(pools: Pools) -> None:
    never = asyncio.Event()

    async def silent(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    pools.handler = silent
    with pytest.raises(TransientError, match="no answer in time") as caught:
        await fetch(pools, total_s=0.05)
    assert caught.value.reason == "timeout"
    never.set()


async def test_a_truncated_response_is_a_connection_error(pools: Pools) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    pools.handler = cut
    with pytest.raises(TransientError) as caught:
        await fetch(pools)
    assert caught.value.reason == "connection"


async def test_an_unreachable_server_is_a_connection_error(pools: Pools) -> None:
    settings = Collector(upstream=f"http://127.0.0.1:{free_port()}")
    async with Fetcher(settings, pools.metrics) as fetcher:
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(pools.source())
    assert caught.value.reason == "connection"


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond with something that is not HTTP; aiohttp's error for it quotes the URL."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()
    writer.close()


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("serve", "text"), [(garbage, "ClientResponseError"), (hang_up, "connection failed")]
)
async def test_connection_errors_do_not_quote_the_url(
    pools: Pools,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    text: str,
) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Fetcher(Collector(allow_private=True), pools.metrics) as fetcher:
            with pytest.raises(TransientError, match=text) as caught:
                await fetcher.fetch(pools.source(f"http://127.0.0.1:{port}/SECRET?key=SECRET"))
    assert caught.value.reason == "connection"
    assert_keeps_secrets(caught.value)


async def test_timeouts_and_refused_connections_do_not_quote_the_url(pools: Pools) -> None:
    never = asyncio.Event()

    async def silent(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    pools.handler = silent
    with pytest.raises(TransientError, match=r"^pool\.example: no answer in time$") as late:
        await fetch(pools, "https://pool.example/SECRET?key=SECRET", total_s=0.05)
    never.set()
    assert_keeps_secrets(late.value)
    async with Fetcher(Collector(allow_private=True), pools.metrics) as fetcher:
        with pytest.raises(TransientError, match="connection failed") as refused:
            await fetcher.fetch(pools.source(f"https://127.0.0.1:{free_port()}/SECRET"))
    assert_keeps_secrets(refused.value)


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (Request("https://[SECRET/"), PermanentError, "an address like"),
        (Request("http://user:SEC/RET@pool.example/"), PermanentError, "an address like"),
        (Request("SECRET"), PermanentError, "an address like"),
        (Request("https:///SECRET"), PermanentError, "an address like"),
        (Request("https://pool.example/", headers={"Key": "SECRET\n"}), PermanentError, "be sent"),
    ],
)
async def test_a_request_that_cannot_be_sent_is_an_error_without_the_key(
    pools: Pools, request_: Request, error: type[SourceError], text: str
) -> None:
    source = replace(pools.source(), requests=(request_,))
    async with pools.fetcher() as fetcher:
        with pytest.raises(error, match=text) as caught:
            await fetcher.fetch(source)
    assert caught.value.source == "toy"
    assert_keeps_secrets(caught.value)


def assert_keeps_secrets(error: SourceError) -> None:
    text = "".join(traceback.format_exception(error))
    lines = [line for line in text.splitlines() if not line.startswith("    ")]  # without code
    assert "SEC" not in "\n".join(lines)


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_errors_name_the_host_and_nothing_else_of_the_url(pools: Pools, status: int) -> None:
    pools.answer(status=status)
    with pytest.raises(SourceError, match=r"^pool\.example: HTTP") as caught:
        await fetch(pools)
    assert "SECRET" not in str(caught.value)
    assert "stats" not in str(caught.value)


async def test_a_rate_limits_its_own_host_only(pools: Pools) -> None:
    at: list[tuple[str, float]] = []

    async def clock(request: web.Request) -> web.StreamResponse:
        at.append((request.path, asyncio.get_running_loop().time()))
        return web.Response()

    pools.handler = clock
    slow = Rate(5, 1)
    twice = replace(pools.source("https://a.example/1", "https://a.example/2"), rate=slow)
    async with pools.fetcher() as fetcher:
        await asyncio.gather(
            fetcher.fetch(twice),
            fetcher.fetch(replace(pools.source("https://b.example/1"), rate=slow)),
        )
    times = dict(at)
    assert times["/a.example/2"] - times["/a.example/1"] > 0.15
    assert times["/b.example/1"] < times["/a.example/2"]


async def test_the_strictest_rate_of_a_hosts_sources_applies(pools: Pools) -> None:
    at: list[float] = []

    async def clock(_request: web.Request) -> web.StreamResponse:
        at.append(asyncio.get_running_loop().time())
        return web.Response()

    pools.handler = clock
    async with pools.fetcher() as fetcher:
        fetcher.register(pools.source("https://pool.example/own"))
        fetcher.register(replace(pools.source("https://pool.example/slow"), rate=Rate(1, 0.2)))
        await fetcher.fetch(pools.source("https://pool.example/1", "https://pool.example/2"))
    assert at[1] - at[0] > 0.15


async def test_requests_are_spread_evenly(pools: Pools) -> None:
    at: list[float] = []

    async def clock(_request: web.Request) -> web.StreamResponse:
        at.append(asyncio.get_running_loop().time())
        return web.Response()

    pools.handler = clock
    twice = pools.source("https://pool.example/1", "https://pool.example/2")
    async with pools.fetcher() as fetcher:
        await fetcher.fetch(replace(twice, rate=Rate(600, 120)))
    assert at[1] - at[0] > 0.15


@pytest.mark.parametrize(
    "host",
    [
        "localhost",  # a name, which is rejected when it is resolved
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - not listened at
        "224.0.0.1",
        "[::1]",
        "[fd00::1]",
        "[fe80::1]",
        "2130706433",  # aiohttp and the system take it for an address
        "127.1",
        "0x7f000001",
        "[::ffff:127.0.0.1]",
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::1]",
        "[::127.0.0.1]",  # IPv4-compatible
        "[::10.0.0.1]",
        "[::ffff:0:127.0.0.1]",  # translated
        "[64:ff9b::127.0.0.1]",  # NAT64
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b::224.0.0.1]",
        "[64:ff9b:1::8.8.8.8]",  # NAT64 of a network's own
        "[64:ff9b:1:7f00:0:100::]",
        "[2001:0:7f00:1::8.8.8.8]",  # Teredo
        "[2001:0:808:808::80ff:fffe]",
    ],
)
async def test_private_addresses_are_rejected(pools: Pools, host: str) -> None:
    async with Fetcher(Collector(), pools.metrics) as fetcher:
        with pytest.raises(PermanentError, match=r"ALLOW_PRIVATE|neither a name nor") as caught:
            await fetcher.fetch(pools.source(f"https://{host}/"))
    assert caught.value.reason == "address"


class Names(AbstractResolver):
    """A resolver that returns these addresses for any name."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


async def test_a_name_with_public_addresses_is_resolved() -> None:
    # The last are 8.8.8.8: by NAT64, which a network without IPv4 uses, by 6to4, and mapped.
    public = ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "2002:808:808::1"]
    public.append("::ffff:8.8.8.8")
    found = await PublicResolver(Names(*public)).resolve("pool.example")
    assert [address["host"] for address in found] == public


async def test_a_name_with_a_private_address_is_rejected() -> None:
    with pytest.raises(PermanentError, match=r"is at 10\.0\.0\.1"):
        await PublicResolver(Names("8.8.8.8", "10.0.0.1")).resolve("pool.example")


async def test_plain_http_is_rejected(pools: Pools) -> None:
    async with Fetcher(Collector(), pools.metrics) as fetcher:
        with pytest.raises(PermanentError, match="is not HTTPS"):
            await fetcher.fetch(pools.source("http://pool.example/"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_private_addresses_are_requested_if_the_settings_allow_it(
    pools: Pools, host: str
) -> None:
    async with Fetcher(Collector(allow_private=True), pools.metrics) as fetcher:
        own = pools.source(f"http://{host}:{pools.server.port}/own/node")
        assert await fetcher.fetch(own) == [b"/own/node"]


async def test_only_an_own_server_may_have_a_private_address(pools: Pools) -> None:
    node = pools.source(f"http://localhost:{pools.server.port}/own/node")
    async with Fetcher(Collector(), pools.metrics) as fetcher:
        assert await fetcher.fetch(replace(node, own_server=True)) == [b"/own/node"]
        with pytest.raises(PermanentError, match="ALLOW_PRIVATE"):
            await fetcher.fetch(pools.source(f"https://localhost:{pools.server.port}/own/node"))
    assert len(pools.requests) == 1


async def test_proxies_of_the_environment_are_not_used(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve names itself, without the check of addresses."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{pools.server.port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{pools.server.port}")
    async with Fetcher(Collector(), pools.metrics) as fetcher:
        with pytest.raises(PermanentError, match="ALLOW_PRIVATE"):
            await fetcher.fetch(pools.source("https://localhost/"))
        own = pools.source(f"http://127.0.0.1:{free_port()}/")
        with pytest.raises(TransientError, match="connection failed"):
            await fetcher.fetch(replace(own, own_server=True))
    assert pools.requests == []


def signed(source: PoolSource, sign: Callable[[Request, Secrets, datetime], Request]) -> PoolSource:
    return replace(source, authorise=sign, credentials=(Credential("key", "a key"),))


KEYS = Credentials({"toy": {"key": SecretStr("SECRET")}})


async def test_a_request_is_signed_when_it_is_sent(pools: Pools) -> None:
    def sign(request: Request, secrets: Secrets, now: datetime) -> Request:
        headers = {"Key": secrets["key"], "At": now.isoformat()}
        return replace(request, method="POST", headers=headers, body=b"{}")

    bodies = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    pools.handler = handler
    async with pools.fetcher(credentials=KEYS) as fetcher:
        await fetcher.fetch(signed(pools.source(), sign))
    (request,) = pools.requests
    assert (request.method, bodies) == ("POST", [b"{}"])
    assert request.headers["Key"] == "SECRET"
    assert request.headers["At"] == "2026-11-22T15:00:00+00:00"


async def test_an_invalid_url_of_an_own_server_is_an_error(pools: Pools) -> None:
    def sign(request: Request, _secrets: Secrets, _now: datetime) -> Request:
        return replace(request, url="https://[SECRET/")

    source = replace(signed(pools.source(), sign), own_server=True)
    async with pools.fetcher(credentials=KEYS) as fetcher:
        with pytest.raises(PermanentError, match="cannot be sent") as caught:
            await fetcher.fetch(source)
    assert_keeps_secrets(caught.value)


async def test_only_a_declared_host_receives_a_key(pools: Pools) -> None:
    def astray(request: Request, secrets: Secrets, _now: datetime) -> Request:
        return replace(request, url=f"https://elsewhere.example/{secrets['key']}")

    source = signed(pools.source(), astray)
    async with pools.fetcher(credentials=KEYS) as fetcher:
        with pytest.raises(PermanentError, match="another host than the source declares") as caught:
            await fetcher.fetch(source)
        assert caught.value.reason == "address"
        assert pools.requests == []
        await fetcher.fetch(replace(source, own_server=True))
    assert [request.path for request in pools.requests] == ["/elsewhere.example/SECRET"]


async def test_credentials_that_cannot_be_used_are_not_quoted(pools: Pools) -> None:
    def fail(request: Request, secrets: Secrets, _now: datetime) -> Request:
        return replace(request, body=bytes.fromhex(f"no hex: {secrets['key']}"))

    def lack(_request: Request, secrets: Secrets, _now: datetime) -> Request:
        raise KeyError(secrets["key"])

    for sign, name in ((fail, "ValueError"), (lack, "KeyError")):
        async with pools.fetcher(credentials=KEYS) as fetcher:
            with pytest.raises(CredentialsError, match=f"cannot be used: {name}") as caught:
                await fetcher.fetch(signed(pools.source(), sign))
        assert caught.value.reason == "unauthorized"
        assert_keeps_secrets(caught.value)


async def test_an_unreadable_file_of_a_key_is_named(pools: Pools, tmp_path: Path) -> None:
    gone = Credentials({"toy": {"key_file": SecretStr(str(tmp_path / "key"))}})
    async with pools.fetcher(credentials=gone) as fetcher:
        with pytest.raises(CredentialsError, match="MININGMAP_CREDENTIALS__TOY__KEY_FILE: cannot"):
            await fetcher.fetch(signed(pools.source(), lambda request, _secrets, _now: request))
    assert pools.requests == []


class Document:
    """A server's document with an ETag; 304 for a client that has it."""

    def __init__(self, pools: Pools) -> None:
        self.body, self.tag = b"one", '"1"'
        self.sent = 0
        pools.handler = self.handle

    async def handle(self, request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304)
        self.sent += 1
        return web.Response(body=self.body, headers={"ETag": self.tag})


async def test_an_unchanged_document_is_not_sent_again(pools: Pools) -> None:
    document = Document(pools)
    async with pools.fetcher() as fetcher:
        assert [await fetcher.fetch(pools.source()) for _ in range(3)] == [[b"one"]] * 3
        assert document.sent == 1
        document.body, document.tag = b"two", '"2"'
        assert [await fetcher.fetch(pools.source()) for _ in range(2)] == [[b"two"]] * 2
    assert document.sent == 2


async def test_without_a_validator_requests_are_not_conditional(pools: Pools) -> None:
    pools.answer(b"one")
    async with pools.fetcher() as fetcher:
        for _ in range(2):
            await fetcher.fetch(pools.source())
    assert not {"If-None-Match", "If-Modified-Since"} & set(pools.requests[1].headers)


async def test_signed_requests_and_posts_are_not_conditional(pools: Pools) -> None:
    document = Document(pools)
    own = signed(pools.source(), lambda request, _secrets, _now: request)
    post = replace(pools.source(), requests=(Request("https://pool.example/", "POST"),))
    async with pools.fetcher(credentials=KEYS) as fetcher:
        for source in (own, own, post, post):
            assert await fetcher.fetch(source) == [b"one"]
    assert document.sent == 4


async def test_an_html_page_is_not_cached(pools: Pools) -> None:
    pools.answer(b"<html>", headers={"ETag": '"1"'})
    async with pools.fetcher() as fetcher:
        for _ in range(2):
            with pytest.raises(TransientError, match="HTML"):
                await fetcher.fetch(pools.source())
    assert "If-None-Match" not in pools.requests[1].headers


@all_cases("upstream", ["", "127.0.0.1:9000", "ftp://pools", "http://"])
def test_an_invalid_upstream_is_named(upstream: str) -> None:
    with pytest.raises(SettingsError, match="MININGMAP_COLLECTOR__UPSTREAM"):
        Fetcher(Collector(upstream=upstream), Metrics(CollectorRegistry()))
