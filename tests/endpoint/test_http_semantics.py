"""ETag, 304, HEAD, gzip, CORS and the methods there are, over HTTP."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    Client = TestClient[web.Request, web.Application]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("snapshots")]

SHARES = "/api/v1/shares"
CACHED = [SHARES, f"{SHARES}.csv", "/api/v1/pools", "/api/v1/places", "/", "/page/main.js"]
PLAIN = {"Accept-Encoding": "identity"}
ZIPPED = {"Accept-Encoding": "gzip"}


@pytest.fixture
async def raw(client: Client) -> AsyncIterator[ClientSession]:
    """A client that shows the bytes that were sent."""
    async with ClientSession(base_url=client.make_url("/"), auto_decompress=False) as session:
        yield session


@pytest.mark.parametrize("path", CACHED)
@pytest.mark.parametrize("coding", [PLAIN, ZIPPED])
async def test_the_etag_of_an_answer_gets_a_304_without_body(
    raw: ClientSession, path: str, coding: dict[str, str]
) -> None:
    async with raw.get(path, headers=coding) as first:
        await first.read()
    kept = {name: first.headers[name] for name in ("ETag", "Cache-Control", "Vary")}
    for known in (kept["ETag"], f"W/{kept['ETag']}", f'"other", {kept["ETag"]}', "*"):
        async with raw.get(path, headers={"If-None-Match": known, **coding}) as again:
            assert again.status == 304
            assert await again.read() == b""
            assert {name: again.headers[name] for name in kept} == kept
            assert "Content-Type" not in again.headers
    async with raw.get(path, headers={"If-None-Match": '"other"', **coding}) as other:
        assert other.status == 200


async def test_each_body_and_each_coding_has_an_etag_of_its_own(raw: ClientSession) -> None:
    tags = set()
    for path in (SHARES, f"{SHARES}?window=now", f"{SHARES}.csv"):
        for coding in (PLAIN, ZIPPED):
            async with raw.get(path, headers=coding) as answer:
                tags.add(answer.headers["ETag"])
    assert len(tags) == 6


@pytest.mark.parametrize("path", [*CACHED, "/metrics"])
async def test_gzip_is_the_same_body(raw: ClientSession, path: str) -> None:
    async with raw.get(path, headers=PLAIN) as plain:
        assert "Content-Encoding" not in plain.headers
        body = await plain.read()
    async with raw.get(path, headers=ZIPPED) as zipped:
        assert zipped.headers["Content-Encoding"] == "gzip"
        assert zipped.headers["Content-Type"] == plain.headers["Content-Type"]
        assert gzip.decompress(await zipped.read()) == body


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0, gzip", True),
        ("br, *;q=0", False),
        ("gzip-like", False),
    ],
)
async def test_gzip_is_sent_to_those_who_take_it(
    raw: ClientSession, accepted: str, *, expected: bool
) -> None:
    async with raw.get(SHARES, headers={"Accept-Encoding": accepted}) as answer:
        assert ("Content-Encoding" in answer.headers) is expected
        assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", [*CACHED, "/healthz", "/readyz", "/metrics"])
async def test_head_has_the_headers_of_get_and_no_body(raw: ClientSession, path: str) -> None:
    async with raw.get(path) as full:
        await full.read()
    async with raw.head(path) as head:
        assert head.status == 200
        assert await head.read() == b""
        for name in ("Content-Length", "Content-Type", "ETag"):
            assert head.headers.get(name) == full.headers.get(name)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SHARES, "public, max-age=5"),
        ("/api/v1/pools.csv", "public, max-age=5"),
        ("/api/v1/places", "public, max-age=3600"),
        ("/", "no-cache"),
        ("/metrics", "no-store"),
        ("/readyz", "no-store"),
        (f"{SHARES}?window=2h", "no-store"),
        ("/nothing", "no-store"),
    ],
)
async def test_an_answer_is_kept_as_long_as_it_holds(
    raw: ClientSession, path: str, expected: str
) -> None:
    async with raw.get(path) as answer:
        assert answer.headers["Cache-Control"] == expected


@pytest.mark.parametrize("path", [SHARES, f"{SHARES}?window=2h", "/nothing", "/", "/metrics"])
async def test_every_answer_is_open_to_all_pages_and_guarded(raw: ClientSession, path: str) -> None:
    async with raw.get(path, headers={"Origin": "https://example.org"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "aiohttp" not in answer.headers["Server"]


async def test_a_preflight_is_answered(raw: ClientSession) -> None:
    asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    async with raw.options(SHARES, headers=asks) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [SHARES, "/api/v1/places.csv", "/", "/metrics", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_methods_that_write_are_405_problems(
    raw: ClientSession, path: str, method: str
) -> None:
    async with raw.request(method, path, data=b"") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert answer.content_type == "application/problem+json"
        assert (await answer.json(content_type=None))["status"] == 405


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_an_unknown_path_is_a_404_problem(raw: ClientSession, method: str) -> None:
    async with raw.request(method, "/api/v1/nothing") as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"
        document = await answer.json(content_type=None)
    assert document["status"] == 404
    assert "/api/v1/nothing" in document["detail"]
