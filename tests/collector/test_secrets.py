"""No key of any source leaks, however a server responds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from prometheus_client import generate_latest
from pydantic import SecretStr
from structlog.testing import capture_logs

from collector.catalogue import try_source
from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller
from collector.sources.base import Rate, SourceError
from collector.sources.credentials import Credentials
from miningmap.settings import load
from tests.collector.recordings import sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.sources.base import Source
    from tests.collector.conftest import Handler, Pools

KEYED = [source for source in sources() if source.credentials]
SECRET = "ENIGMATIC/KEY"  # the slash has to be escaped in a URL


def secrets(source: Source) -> Iterator[tuple[str, SecretStr]]:
    for name in (credential.name for credential in source.credentials):
        if name == "url":
            yield name, SecretStr("https://node.example/")
        elif name not in {
            "sites",
            "cookie",
        }:  # no secrets, and alternatives to the other credentials
            yield name, SecretStr(SECRET)


async def silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def garbage(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    request.transport.close()
    return web.Response()


def response(status: int, body: str | None = None) -> Handler:
    """Respond with this body, or with the requested path, which can contain a key."""

    async def respond(request: web.Request) -> web.StreamResponse:
        headers = {"Location": str(request.url), "Retry-After": "60"}
        return web.Response(text=body or request.path_qs, status=status, headers=headers)

    respond.__name__ = body or str(status)
    return respond


async def echo(request: web.Request) -> web.StreamResponse:
    text = f"{request.path_qs} {SECRET} {dict(request.headers)}"
    return web.json_response({"error": text, "message": text, "msg": text, "code": text})


STATUSES = [response(status) for status in (302, 400, 401, 403, 404, 429, 500, 502)]
BODIES = [response(200, body) for body in ("<html>", "{", "[[]]", '{"error": "no"}')]
CASES = [
    pytest.param(source, respond, id=f"{source.path}-{respond.__name__}")
    for source in KEYED
    # Own servers have two requests a second apart, of which the second is sent after a status 200.
    for respond in (
        silent,
        hang_up,
        garbage,
        echo,
        *STATUSES,
        *(() if source.own_server else BODIES),
    )
]


@pytest.mark.parametrize(("source", "respond"), CASES)
async def test_no_log_metric_or_error_contains_a_key(
    pools: Pools, source: Source, respond: Handler
) -> None:
    pools.handler = respond
    given = {source.slug: dict(secrets(source))}
    credentials = Credentials(given)
    with capture_logs() as logs:
        # A short timeout for the server that never answers, and a long one for all others.
        total_s = 0.1 if respond is silent else 10
        async with pools.fetcher(total_s=total_s, credentials=credentials) as fetcher:
            poller = Poller(
                replace(credentials.configured(source), rate=Rate(1000, 1)),
                fetcher=fetcher,
                put=lambda _messages: None,
                plausibility=Plausibility(),
                metrics=pools.metrics,
                settings=pools.settings(),
            )
            await poller.poll()
    assert pools.requests
    assert [log["event"] for log in logs] == ["source_lost"]
    assert "ENIGMATIC" not in repr(logs)
    assert b"ENIGMATIC" not in generate_latest(pools.all_metrics)

    if respond is silent:  # try_source() would wait for its timeout of 20 s
        return
    settings = load()
    settings.collector = pools.settings()
    settings.credentials = given
    with pytest.raises(SourceError) as caught:
        await try_source(source.path, None, settings)
    assert "ENIGMATIC" not in str(caught.value) + repr(caught.value)
    assert caught.value.source == source.slug
