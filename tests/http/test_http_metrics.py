"""Every HTTP server counts its requests by route, and answers scrapes whatever the client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from miningmap.http.metrics import HttpMetrics
from miningmap.http.problems import problem_middleware
from miningmap.http.server import monitoring_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Client = TestClient[Any, Any]

COUNT = "miningmap_http_requests_total"
TIMED = "miningmap_http_request_duration_seconds_count"


async def place(_: web.Request) -> web.Response:
    return web.Response(text="found")


async def moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/places/CN")


async def broken(_: web.Request) -> web.Response:
    raise RuntimeError


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"an event")
    return response


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def client(registry: CollectorRegistry) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[HttpMetrics(registry).middleware, problem_middleware])
    app.router.add_get("/places/{code}", place)
    for handler in (moved, broken, stream):
        app.router.add_get(f"/{handler.__name__}", handler)
    async with TestClient(TestServer(app)) as started:
        yield started


def counted(registry: CollectorRegistry, name: str) -> dict[tuple[str, str, str], float]:
    """Return the samples of a name by route, method and status."""
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


async def ask(client: Client, method: str, path: str) -> None:
    async with client.request(method, path, allow_redirects=False) as answer:
        await answer.read()


async def test_requests_are_counted_and_timed_by_the_pattern_of_their_route(
    client: Client, registry: CollectorRegistry
) -> None:
    for path in ("/places/CN", "/places/US?window=now", "/moved", "/broken"):
        await ask(client, "GET", path)
    await ask(client, "HEAD", "/places/CN")
    expected = {
        ("/places/{code}", "GET", "200"): 2,
        ("/places/{code}", "HEAD", "200"): 1,
        ("/moved", "GET", "302"): 1,
        ("/broken", "GET", "500"): 1,
    }
    assert counted(registry, COUNT) == expected
    assert counted(registry, TIMED) == expected


async def test_no_path_and_no_method_of_a_client_makes_a_series(
    client: Client, registry: CollectorRegistry
) -> None:
    for method in ("PROPFIND", "MKCOL", "PURGE"):
        await ask(client, "GET", f"/wp-admin/{method}")
        await ask(client, method, "/places/CN")
        await ask(client, "POST", f"/places/{method}")
    assert counted(registry, COUNT) == {
        ("other", "GET", "404"): 3,
        ("other", "other", "405"): 3,
        ("other", "POST", "405"): 3,
    }


async def test_a_stream_is_counted_but_its_life_is_no_latency(
    client: Client, registry: CollectorRegistry
) -> None:
    await ask(client, "GET", "/stream")
    assert counted(registry, COUNT) == {("/stream", "GET", "200"): 1}
    assert counted(registry, TIMED) == {}


@pytest.fixture
async def monitored(registry: CollectorRegistry) -> AsyncIterator[Client]:
    app = monitoring_app(registry, HttpMetrics(registry), list)
    async with TestClient(TestServer(app)) as started:
        yield started


async def test_scrapes_and_probes_are_counted_too(monitored: Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        await ask(monitored, "GET", path)
    async with monitored.get("/metrics") as answer:
        text = await answer.text()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert f'{COUNT}{{method="GET",route="{path}",status="200"}} 1.0' in text


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=x.y", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text; version=abc",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "Application/OpenMetrics-Text;version=9.9.9;q=0.5,text/plain;version=0.0.4;q=0.2",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
async def test_a_scraper_gets_a_format_that_it_accepts(
    monitored: Client, accept: str, content_type: str
) -> None:
    async with monitored.get("/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == content_type
        text = await answer.text()
    assert text.endswith("# EOF\n") == content_type.startswith("application")
