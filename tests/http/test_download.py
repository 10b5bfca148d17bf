"""Downloads, from a server on loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from launch.local.embedded import free_port
from miningmap.http.download import DownloadError, download

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ENOUGH = 1000
BODY = b"date,country\n"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/export.csv"))


async def failed(address: str, within_s: float = 5) -> str:
    with pytest.raises(DownloadError) as caught:
        await download(address, max_bytes=ENOUGH, within=aiohttp.ClientTimeout(within_s))
    return str(caught.value)


async def test_the_body_is_returned_whatever_its_content_type() -> None:
    async def html(request: web.Request) -> web.Response:
        assert request.headers["User-Agent"].startswith("miningmap/")
        return web.Response(body=BODY, content_type="text/html")

    async with serving(html) as address:
        assert await download(address, max_bytes=len(BODY)) == BODY


async def test_redirects_are_followed() -> None:
    async def moved(request: web.Request) -> web.Response:
        if request.path == "/new":
            return web.Response(body=BODY)
        raise web.HTTPFound("/new")

    async with serving(moved) as address:
        assert await download(address, max_bytes=ENOUGH) == BODY


async def test_a_body_that_is_too_large_after_decompression_is_an_error() -> None:
    async def bomb(_: web.Request) -> web.Response:
        response = web.Response(body=bytes(ENOUGH + 1))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with serving(bomb) as address:
        assert await failed(address) == f"{address}: larger than {ENOUGH} bytes"


async def test_an_endless_body_is_an_error() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(ENOUGH))
        except ConnectionResetError:
            return response

    async with serving(endless) as address:
        assert await failed(address) == f"{address}: larger than {ENOUGH} bytes"


async def test_a_status_other_than_200_is_an_error() -> None:
    async def missing(_: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async with serving(missing) as address:
        assert await failed(address) == f"{address}: the server responded with HTTP 404"


async def test_a_silent_server_is_an_error_after_the_time_limit() -> None:
    over = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with serving(silent) as address:
        try:
            assert (
                await failed(address, within_s=0.1)
                == f"{address}: no response within the time limit"
            )
        finally:
            over.set()


async def test_an_invalid_or_unreachable_url_is_named() -> None:
    address = f"http://127.0.0.1:{free_port()}/export.csv"
    assert (await failed(address)).startswith(f"{address}: Cannot connect to host 127.0.0.1")
    assert (await failed("http://")).startswith("http://: not an address")
