"""The circuit of a host, which its sources share, as the fetcher uses it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from collector.http.backoff import PROBE_S
from collector.http.hosts import FIRST_OPEN_S, MAX_FAILURES
from collector.sources.base import PermanentError, SourceError, TransientError

if TYPE_CHECKING:
    from collector.http.fetcher import Fetcher
    from tests.collector.conftest import Pools


async def fail(pools: Pools, fetcher: Fetcher, times: int = MAX_FAILURES) -> None:
    for _ in range(times):
        with suppress(SourceError):
            await fetcher.fetch(pools.source())


def is_open(pools: Pools, host: str = "pool.example") -> float | None:
    return pools.metric("miningmap_source_host_open", host=host)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 500),
        (b"", 503),
        (b"", 429),
        (b"", 403),
        (b"<!doctype html>", 200),
        (b"\n <html>", 200),
    ],
)
async def test_a_host_that_fails_too_often_in_a_row_gets_no_request(
    pools: Pools, content: bytes, status: int
) -> None:
    pools.answer(content, status)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.clock += 10
        with pytest.raises(TransientError, match=r"^pool\.example: not asked .* 50 s") as caught:
            await fetcher.fetch(pools.source("https://pool.example/other"))
    assert (caught.value.reason, caught.value.retry_after_s) == ("breaker", FIRST_OPEN_S - 10)
    assert caught.value.source == "toy"
    assert len(pools.requests) == MAX_FAILURES
    assert is_open(pools) == 1


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 404), (b"", 401), (b"", 301), (b"[]", 200), (b"{", 200)]
)
async def test_well_formed_responses_do_not_count_as_failures(
    pools: Pools, content: bytes, status: int
) -> None:
    async with pools.fetcher() as fetcher:
        for _ in range(2):
            pools.answer(status=503)
            await fail(pools, fetcher, MAX_FAILURES - 1)
            pools.answer(content, status)
            await fail(pools, fetcher, 1)
    assert is_open(pools) == 0


async def test_unreachable_hosts_get_no_request(pools: Pools) -> None:
    async with pools.fetcher() as fetcher:
        await pools.server.close()
        await fail(pools, fetcher)
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(pools.source())
    assert caught.value.reason == "breaker"


async def test_the_circuits_of_other_hosts_stay_closed(pools: Pools) -> None:
    pools.answer(status=503)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.answer(b"{}")
        assert await fetcher.fetch(pools.source("https://other.example/")) == [b"{}"]
    assert (is_open(pools), is_open(pools, "other.example")) == (1, 0)


async def test_a_source_sends_no_request_while_the_circuit_of_one_of_its_hosts_is_open(
    pools: Pools,
) -> None:
    pools.answer(status=503)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.requests.clear()
        two = pools.source("https://other.example/", "https://pool.example/stats")
        with pytest.raises(TransientError, match=r"^pool\.example: not asked"):
            await fetcher.fetch(two)
    assert pools.requests == []


async def test_a_circuit_that_opens_midway_does_not_shorten_the_interval_of_the_other_hosts(
    pools: Pools,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/other.example/":
            await fail(pools, fetcher)
            return web.Response()
        raise web.HTTPServiceUnavailable

    pools.handler = handler
    two = pools.source("https://other.example/", "https://pool.example/stats", poll_s=300)
    async with pools.fetcher() as fetcher:
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(two)
    assert (caught.value.reason, caught.value.retry_after_s) == ("breaker", 300)


async def test_one_probe_decides_while_other_sources_wait(pools: Pools) -> None:
    others: list[TransientError] = []

    async def handler(_request: web.Request) -> web.Response:
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(pools.source())
        others.append(caught.value)
        return web.json_response({})

    pools.answer(status=503)
    with capture_logs() as logs:
        async with pools.fetcher() as fetcher:
            await fail(pools, fetcher)
            pools.clock += FIRST_OPEN_S
            await fail(pools, fetcher, 1)
            pools.clock += 2 * FIRST_OPEN_S - 1
            with pytest.raises(TransientError, match="not asked"):
                await fetcher.fetch(pools.source())
            pools.clock += 1
            pools.requests.clear()
            pools.handler = handler
            await fetcher.fetch(pools.source())
            assert len(pools.requests) == 1
            assert [(other.reason, other.retry_after_s) for other in others] == [
                ("breaker", PROBE_S)
            ]
            pools.answer(b"{}")
            await fetcher.fetch(pools.source())
    assert is_open(pools) == 0
    host = {"host": "pool.example"}
    assert logs == [
        {"event": "host_circuit_open", "log_level": "warning", "seconds": 60} | host,
        {"event": "host_circuit_closed", "log_level": "info"} | host,
    ]


async def test_after_a_probe_that_was_not_sent_the_next_request_is_the_probe(pools: Pools) -> None:
    pools.answer(status=503)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.clock += FIRST_OPEN_S

        def not_sent() -> None:
            raise PermanentError("is at 10.0.0.1", reason="address")

        with pytest.raises(PermanentError), fetcher._host(pools.source().requests[0]).attempt():
            not_sent()
        assert is_open(pools) == 1
        pools.answer(b"{}")
        await fetcher.fetch(pools.source())
    assert is_open(pools) == 0


async def test_a_circuit_stays_open_for_the_seconds_of_retry_after(pools: Pools) -> None:
    pools.answer(status=429, headers={"Retry-After": "7200"})
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(pools.source())
    assert caught.value.retry_after_s == 7200


async def test_a_host_is_identified_by_name_and_port_without_the_user(pools: Pools) -> None:
    async with pools.fetcher() as fetcher:
        for url in ("https://me:SECRET@pool.example/", "https://pool.example:8443/"):
            fetcher.register(pools.source(url))
    assert (is_open(pools), is_open(pools, "pool.example:8443")) == (0, 0)
