"""ETag, 304, HEAD, gzip, CORS, common headers and allowed methods, over HTTP."""

from __future__ import annotations

import gzip
import itertools
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from endpoint.http.headers import COMMON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    Client = TestClient[web.Request, web.Application]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("snapshots")]

SHARES = "/api/v1/shares"
CACHED = [
    SHARES,
    f"{SHARES}.csv",
    "/api/v1/pools",
    "/api/v1/swings",
    "/api/v1/places",
    "/",
    "/page/main.js",
]
PLAIN = {"Accept-Encoding": "identity"}
ZIPPED = {"Accept-Encoding": "gzip"}


@pytest.fixture
async def raw(client: Client) -> AsyncIterator[ClientSession]:
    """A client that returns the bytes as they were sent."""
    async with ClientSession(base_url=client.make_url("/"), auto_decompress=False) as session:
        yield session


async def test_the_etag_of_a_response_gets_a_304_without_a_body(raw: ClientSession) -> None:
    for path, coding in itertools.product(CACHED, (PLAIN, ZIPPED)):
        async with raw.get(path, headers=coding) as first:
            await first.read()
        kept = {name: first.headers[name] for name in ("ETag", "Cache-Control", "Vary")}
        for known in (kept["ETag"], f"W/{kept['ETag']}", f'"other", {kept["ETag"]}', "*"):
            async with raw.get(path, headers={"If-None-Match": known, **coding}) as again:
                assert again.status == 304, (path, known)
                assert await again.read() == b""
                assert {name: again.headers[name] for name in kept} == kept, (path, known)
                assert "Content-Type" not in again.headers
        async with raw.get(path, headers={"If-None-Match": '"other"', **coding}) as other:
            assert other.status == 200, path


async def test_each_body_and_each_coding_has_a_different_etag(raw: ClientSession) -> None:
    tags = set()
    for path in (SHARES, f"{SHARES}?window=now", f"{SHARES}.csv"):
        for coding in (PLAIN, ZIPPED):
            async with raw.get(path, headers=coding) as answer:
                tags.add(answer.headers["ETag"])
    assert len(tags) == 6


async def test_gzip_is_the_same_body(raw: ClientSession) -> None:
    for path in CACHED:
        async with raw.get(path, headers=PLAIN) as plain:
            assert "Content-Encoding" not in plain.headers, path
            body = await plain.read()
        async with raw.get(path, headers=ZIPPED) as zipped:
            assert zipped.headers["Content-Encoding"] == "gzip", path
            assert zipped.headers["Content-Type"] == plain.headers["Content-Type"], path
            assert gzip.decompress(await zipped.read()) == body, path


async def test_gzip_is_sent_to_clients_that_accept_it(raw: ClientSession) -> None:
    expected = {
        "gzip": True,
        "br;q=1.0, GZIP;q=0.5": True,
        "*": True,
        "identity": False,
        "gzip;q=0": False,
        "gzip; q=0.000": False,
        "*;q=0, gzip": True,
        "br, *;q=0": False,
        "gzip-like": False,
    }
    found = {}
    for accepted in expected:
        async with raw.get(SHARES, headers={"Accept-Encoding": accepted}) as answer:
            found[accepted] = "Content-Encoding" in answer.headers
            assert answer.headers["Vary"] == "Accept-Encoding"
    assert found == expected


async def test_head_has_the_headers_of_get_and_no_body(raw: ClientSession) -> None:
    for path in (*CACHED, "/healthz", "/readyz"):
        async with raw.get(path) as full:
            await full.read()
        async with raw.head(path) as head:
            assert head.status == 200, path
            assert await head.read() == b""
            for name in ("Content-Length", "Content-Type", "ETag"):
                assert head.headers.get(name) == full.headers.get(name), path


async def test_responses_may_be_cached_while_they_are_current(raw: ClientSession) -> None:
    expected = {
        SHARES: "public, max-age=0",
        "/api/v1/pools.csv": "public, max-age=0",
        f"{SHARES}?adjust=none": "public, max-age=5",
        "/api/v1/places": "public, max-age=3600",
        "/": "no-cache",
        "/metrics": "no-store",
        "/readyz": "no-store",
        f"{SHARES}?window=2h": "no-store",
        "/nothing": "no-store",
    }
    found = {}
    for path in expected:
        async with raw.get(path) as answer:
            found[path] = answer.headers["Cache-Control"]
    assert found == expected


async def test_every_response_has_the_common_headers(raw: ClientSession) -> None:
    paths = (SHARES, f"{SHARES}?window=2h", "/nothing", "/", "/metrics", "/healthz")
    for method, path in itertools.product(("GET", "OPTIONS", "POST"), paths):
        headers = {"Origin": "https://example.org"}
        async with raw.request(method, path, headers=headers) as answer:
            found = {name: answer.headers[name] for name in COMMON}
            default = "no-store" if answer.status != 200 else answer.headers["Cache-Control"]
            assert found == {**COMMON, "Cache-Control": default}, (method, path)
            assert answer.headers["Server"] == "miningmap"


async def test_a_response_is_the_same_whether_the_connection_stays_or_not(
    raw: ClientSession,
) -> None:
    # Where it stays, the bytes of snapshots are made once for all; aiohttp makes the others.
    for path, coding in itertools.product(
        (SHARES, f"{SHARES}.csv", "/api/v1/pools"), (PLAIN, ZIPPED)
    ):
        tag = await _tag(raw, path, coding)
        for known in ({}, {"If-None-Match": tag}):
            found = []
            for connection in ({}, {"Connection": "close"}):
                async with raw.get(path, headers={**coding, **known, **connection}) as answer:
                    headers = {k.lower(): v for k, v in answer.headers.items()}
                    assert "date" in headers
                    ended = headers.pop("connection", None)
                    assert ended == connection.get("Connection")
                    del headers["date"]
                    found.append((answer.status, headers, await answer.read()))
            assert found[0] == found[1], (path, coding, known)


async def _tag(raw: ClientSession, path: str, coding: dict[str, str]) -> str:
    async with raw.get(path, headers=coding) as answer:
        return answer.headers["ETag"]


async def test_errors_outside_the_middlewares_have_the_common_headers(
    raw: ClientSession,
) -> None:
    async with raw.get(SHARES, headers={"Expect": "nonsense"}) as answer:
        assert answer.status == 417
        assert {name: answer.headers[name] for name in COMMON} == dict(COMMON)
        assert answer.headers["Server"] == "miningmap"


async def test_a_cors_preflight_is_answered(raw: ClientSession) -> None:
    asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    async with raw.options(SHARES, headers=asks) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"


async def test_methods_that_write_are_405_problems(raw: ClientSession) -> None:
    paths = (SHARES, "/api/v1/places.csv", "/", "/metrics", "/readyz", "/api/v1/stream")
    for method, path in itertools.product(("POST", "PUT", "PATCH", "DELETE"), paths):
        async with raw.request(method, path, data=b"") as answer:
            assert answer.status == 405, (method, path)
            assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
            assert answer.content_type == "application/problem+json"
            assert (await answer.json(content_type=None))["status"] == 405


async def test_an_unknown_path_is_a_404_problem(raw: ClientSession) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        async with raw.request(method, "/api/v1/nothing") as answer:
            assert answer.status == 404, method
            assert answer.content_type == "application/problem+json"
            document = await answer.json(content_type=None)
        assert document["status"] == 404
        assert "/api/v1/nothing" in document["detail"]
