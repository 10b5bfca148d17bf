"""Problem documents, of a small application."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from miningmap.api.models import PROBLEM_CONTENT_TYPE
from miningmap.http.problems import problem, problem_middleware, problem_middleware_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def found(_: web.Request) -> web.Response:
    return web.json_response({"found": True})


async def moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/found")


async def gone(_: web.Request) -> web.Response:
    raise web.HTTPGone(text="it was here in 2021")


async def refused(_: web.Request) -> web.Response:
    return problem(400, "Bad parameter", "no window 2h", parameter="window", allowed=["now", "1h"])


async def broken(_: web.Request) -> web.Response:
    raise RuntimeError("the password is hunter2")


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application(middlewares=[problem_middleware])
    for handler in (found, moved, gone, refused, broken):
        app.router.add_get(f"/{handler.__name__}", handler)
    async with TestClient(TestServer(app)) as started:
        yield started


async def ask(client: TestClient[Any, Any], method: str, path: str) -> Any:
    answer = await client.request(method, path)
    document = await answer.json(content_type=PROBLEM_CONTENT_TYPE)
    assert document["status"] == answer.status
    return document


async def test_a_problem_has_its_extra_members(
    client: TestClient[Any, Any],
) -> None:
    assert await ask(client, "GET", "/refused") == {
        "type": "about:blank",
        "title": "Bad parameter",
        "status": 400,
        "detail": "no window 2h",
        "parameter": "window",
        "allowed": ["now", "1h"],
    }


async def test_an_unknown_path_is_a_problem(client: TestClient[Any, Any]) -> None:
    document = await ask(client, "GET", "/nothing")
    assert (document["status"], document["title"]) == (404, "Not Found")
    assert document["detail"] == "there is nothing at /nothing"


async def test_a_target_without_a_path_is_named_as_it_was_sent(
    client: TestClient[Any, Any],
) -> None:
    for target in ("pool.example:443", "*"):
        reader, writer = await asyncio.open_connection(client.host, client.port)
        method = "OPTIONS" if target == "*" else "CONNECT"
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404 ")
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert document["detail"] == f"there is nothing at {target}"


async def test_a_405_has_the_allowed_methods(client: TestClient[Any, Any]) -> None:
    answer = await client.delete("/found")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    document = await answer.json(content_type=PROBLEM_CONTENT_TYPE)
    assert document["detail"] == "DELETE is not allowed at /found; allowed: GET, HEAD"


async def test_other_errors_keep_their_text(client: TestClient[Any, Any]) -> None:
    document = await ask(client, "GET", "/gone")
    assert (document["status"], document["detail"]) == (410, "it was here in 2021")


async def test_an_unexpected_error_is_logged_and_not_in_the_response(
    client: TestClient[Any, Any],
) -> None:
    with capture_logs() as logs:
        document = await ask(client, "GET", "/broken")
    assert document["status"] == 500
    assert "hunter2" not in str(document)
    assert [(entry["event"], entry["path"]) for entry in logs] == [("request_failed", "/broken")]


async def test_responses_and_redirects_pass(client: TestClient[Any, Any]) -> None:
    assert (await client.get("/found")).status == 200
    assert (await client.get("/moved", allow_redirects=False)).status == 302


async def test_a_service_can_translate_its_own_errors_and_no_others() -> None:
    def translate(error: Exception) -> web.Response | None:
        known = isinstance(error, RuntimeError)
        return problem(503, "Unavailable", "try again later") if known else None

    app = web.Application(middlewares=[problem_middleware_for(translate)])
    for handler in (found, moved, gone, broken):
        app.router.add_get(f"/{handler.__name__}", handler)
    async with TestClient(TestServer(app)) as client:
        with capture_logs() as logs:
            assert (await ask(client, "GET", "/broken"))["title"] == "Unavailable"
        assert logs == []
        assert (await ask(client, "GET", "/gone"))["status"] == 410
        assert (await ask(client, "GET", "/nothing"))["status"] == 404
        assert (await client.get("/found")).status == 200
        assert (await client.get("/moved", allow_redirects=False)).status == 302
