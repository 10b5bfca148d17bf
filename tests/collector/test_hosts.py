"""What happens to one source of a host concerns the others: the breaker, as the fetcher uses it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from collector.http.circuit_breaker import FAILURES, OPEN_S, TRY_S
from collector.sources.base import PermanentError, SourceError, TransientError

if TYPE_CHECKING:
    from collector.http.fetcher import Fetcher
    from tests.collector.conftest import Pools


async def fail(pools: Pools, fetcher: Fetcher, times: int = FAILURES) -> None:
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
async def test_a_host_that_fails_again_and_again_is_left_alone(
    pools: Pools, content: bytes, status: int
) -> None:
    pools.answer(content, status)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.clock += 10
        with pytest.raises(TransientError, match=r"^pool\.example: left alone .* 50 s") as caught:
            await fetcher.fetch(pools.source("https://pool.example/other"))
    assert (caught.value.reason, caught.value.retry_after_s) == ("breaker", OPEN_S - 10)
    assert caught.value.source == "toy"
    assert len(pools.requests) == FAILURES
    assert is_open(pools) == 1


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 404), (b"", 401), (b"", 301), (b"[]", 200), (b"{", 200)]
)
async def test_a_host_that_answers_in_good_order_is_well(
    pools: Pools, content: bytes, status: int
) -> None:
    async with pools.fetcher() as fetcher:
        for _ in range(2):
            pools.answer(status=503)
            await fail(pools, fetcher, FAILURES - 1)
            pools.answer(content, status)
            await fail(pools, fetcher, 1)
    assert is_open(pools) == 0


async def test_hosts_that_cannot_be_reached_are_left_alone(pools: Pools) -> None:
    async with pools.fetcher() as fetcher:
        await pools.server.close()
        await fail(pools, fetcher)
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(pools.source())
    assert caught.value.reason == "breaker"


async def test_other_hosts_are_asked_meanwhile(pools: Pools) -> None:
    pools.answer(status=503)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.answer(b"{}")
        assert await fetcher.fetch(pools.source("https://other.example/")) == [b"{}"]
    assert (is_open(pools), is_open(pools, "other.example")) == (1, 0)


async def test_nothing_is_asked_of_a_source_one_of_whose_hosts_is_left_alone(pools: Pools) -> None:
    pools.answer(status=503)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.requests.clear()
        two = pools.source("https://other.example/", "https://pool.example/stats")
        with pytest.raises(TransientError, match=r"^pool\.example: left alone"):
            await fetcher.fetch(two)
    assert pools.requests == []


async def test_a_host_lost_midway_does_not_have_the_others_asked_before_their_time(
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


async def test_one_try_decides_while_the_others_wait(pools: Pools) -> None:
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
            pools.clock += OPEN_S
            await fail(pools, fetcher, 1)
            pools.clock += 2 * OPEN_S - 1
            with pytest.raises(TransientError, match="left alone"):
                await fetcher.fetch(pools.source())
            pools.clock += 1
            pools.requests.clear()
            pools.handler = handler
            await fetcher.fetch(pools.source())
            assert len(pools.requests) == 1
            assert [(other.reason, other.retry_after_s) for other in others] == [("breaker", TRY_S)]
            pools.answer(b"{}")
            await fetcher.fetch(pools.source())
    assert is_open(pools) == 0
    host = {"host": "pool.example"}
    assert logs == [
        {"event": "host fails: left alone", "log_level": "warning", "seconds": 60} | host,
        {"event": "host back", "log_level": "info"} | host,
    ]


async def test_a_try_that_never_left_lets_another_one_try(pools: Pools) -> None:
    pools.answer(status=503)
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        pools.clock += OPEN_S

        def lost() -> None:
            raise PermanentError("is at 10.0.0.1", reason="address")

        with pytest.raises(PermanentError), fetcher._host(pools.source().requests[0]).asked():
            lost()
        assert is_open(pools) == 1
        pools.answer(b"{}")
        await fetcher.fetch(pools.source())
    assert is_open(pools) == 0


async def test_a_host_is_left_alone_for_as_long_as_it_asks(pools: Pools) -> None:
    pools.answer(status=429, headers={"Retry-After": "7200"})
    async with pools.fetcher() as fetcher:
        await fail(pools, fetcher)
        with pytest.raises(TransientError) as caught:
            await fetcher.fetch(pools.source())
    assert caught.value.retry_after_s == 7200


async def test_ports_are_hosts_of_their_own_and_users_no_part_of_them(pools: Pools) -> None:
    async with pools.fetcher() as fetcher:
        for url in ("https://me:SECRET@pool.example/", "https://pool.example:8443/"):
            fetcher.expect(pools.source(url))
    assert (is_open(pools), is_open(pools, "pool.example:8443")) == (0, 0)
