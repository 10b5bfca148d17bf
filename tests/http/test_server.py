"""An HTTP server names the setting that is wrong if it cannot listen, and tells what is unready."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from miningmap.http.metrics import HttpMetrics
from miningmap.http.server import monitoring_app, serving
from miningmap.metrics import new_registry
from miningmap.settings import SettingsError
from tests.cases import all_cases


def error_of_listening(host: str, port: int = 0) -> str:
    async def listen() -> None:
        async with serving(web.Application(), host, port, "COLLECTOR__METRICS_PORT"):
            pass

    with pytest.raises(SettingsError) as caught:
        asyncio.run(listen())
    return str(caught.value)


@all_cases(
    "host",
    ["192.0.2.1", "2001:db8::1", "256.1.1.1", "127.0.0.1:80", "a..b", "x" * 70, "[::1]", "a\0"],
)
def test_an_address_that_the_machine_does_not_have_is_an_error_of_the_host(host: str) -> None:
    error = error_of_listening(host)
    assert error.startswith("MININGMAP_COLLECTOR__METRICS_HOST: cannot listen at ")
    assert error.endswith("expected one, such as 127.0.0.1, or 0.0.0.0 for all")


def test_a_port_in_use_is_an_error_of_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = error_of_listening("127.0.0.1", port)
    assert error.startswith(f"MININGMAP_COLLECTOR__METRICS_PORT: cannot listen at 127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("reasons", "notes", "status", "text"),
    [
        ([], [], 200, "ready\n"),
        ([], ["no swings can be evaluated"], 200, "ready\nno swings can be evaluated\n"),
        (["Redis is unavailable"], ["no swings"], 503, "Redis is unavailable; no swings"),
    ],
)
async def test_what_does_not_work_is_told_although_the_service_is_ready(
    reasons: list[str], notes: list[str], status: int, text: str
) -> None:
    registry = new_registry()
    app = monitoring_app(registry, HttpMetrics(registry), lambda: reasons, lambda: notes)
    async with TestClient(TestServer(app)) as client, client.get("/readyz") as response:
        assert response.status == status
        assert text in await response.text()
