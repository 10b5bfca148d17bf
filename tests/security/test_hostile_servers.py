"""Hostile servers: nothing that they do costs more than the time and memory of one poll.

More of the same, as redirects by status and bombs, is in tests/collector/test_fetcher.py.
"""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from prometheus_client import CollectorRegistry

from collector import registry
from collector.http.fetcher import Fetcher
from collector.metrics import Metrics
from collector.sources.base import PermanentError, Rate, SourceError, TransientError
from miningmap.settings import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

TOTAL_S: Final = 1.0
LATE_S: Final = 5.0
"""Longer than the time limit of a request, on a machine that is busy."""
MOST_MEMORY_KB: Final = 40_000
SOURCE: Final = replace(registry.load("pools/foundry"), rate=Rate(1_000, 1))
PUBLIC: Final = "8.8.8.8"
PRIVATE: Final = "127.0.0.1"


@asynccontextmanager
async def server(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The address of a server that answers in its own way, and the requests that it got."""
    requests: list[bytes] = []
    responding: set[asyncio.Task[None]] = set()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        responding.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
        writer.close()
        responding.discard(task)

    listening = await asyncio.start_server(respond, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*listening.sockets[0].getsockname()), requests
    finally:
        listening.close()
        left = list(responding)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@asynccontextmanager
async def fetching(**settings: object) -> AsyncIterator[Fetcher]:
    async with Fetcher(
        Collector.model_validate(settings),
        Metrics(CollectorRegistry()),
        timeout=aiohttp.ClientTimeout(total=TOTAL_S),
    ) as fetcher:
        yield fetcher


async def refused(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> tuple[SourceError, list[bytes]]:
    """The error that a poll of such a server ends with, in bounded time and memory."""
    async with server(answer) as (upstream, requests), fetching(upstream=upstream) as fetcher:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        with pytest.raises(SourceError) as caught:
            await fetcher.fetch(SOURCE)
        assert time.monotonic() - began < LATE_S
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        assert grown < MOST_MEMORY_KB
    assert len(str(caught.value)) < 500
    return caught.value, requests


async def endlessly(writer: asyncio.StreamWriter, chunk: bytes, pause_s: float = 0.0) -> None:
    while True:
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(pause_s)


async def test_a_header_of_10_mb_is_not_kept() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Large: ")
        for _ in range(160):
            writer.write(b"x" * 65_536)
            await writer.drain()
        writer.write(b"\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    error, _ = await refused(answer)
    assert isinstance(error, TransientError)


async def test_headers_without_an_end_are_not_kept() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await endlessly(writer, b"X-Other: value\r\n" * 1_000)

    await refused(answer)


async def test_dripping_headers_end_with_the_time_limit() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await endlessly(writer, b"X", 0.05)

    error, _ = await refused(answer)
    assert isinstance(error, TransientError)
    assert error.reason == "timeout"


async def test_a_dripping_body_ends_with_the_time_limit() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        await endlessly(writer, b" ", 0.05)

    error, _ = await refused(answer)
    assert isinstance(error, TransientError)
    assert error.reason == "timeout"


async def test_an_endless_body_in_chunks_is_cut() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await endlessly(writer, b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    error, _ = await refused(answer)
    assert isinstance(error, PermanentError)
    assert error.reason == "too_large"


async def test_a_bomb_is_cut_before_it_fills_the_memory() -> None:
    bomb = gzip.compress(bytes(200_000_000))

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(bomb) + bomb)
        await writer.drain()

    error, _ = await refused(answer)
    assert error.reason == "too_large"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_this_machine_sends_nothing_there(status: int) -> None:
    async def inside(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with server(inside) as (address, requests):

        async def answer(writer: asyncio.StreamWriter) -> None:
            location = f"{address}/latest/meta-data".encode()
            writer.write(b"HTTP/1.1 %d Moved\r\nLocation: %s\r\n\r\n" % (status, location))

        error, _ = await refused(answer)
        assert isinstance(error, PermanentError)
        assert error.reason == "redirect"
        assert requests == []


class Rebinding(AbstractResolver):
    """A name that is public when it is looked up first, and at this machine afterwards."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        self.asked += 1
        assert family in {socket.AF_INET, socket.AF_UNSPEC}
        address = PUBLIC if self.asked == 1 else PRIVATE
        return [ResolveResult(hostname=host, host=address, port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Rebinding()
    connected: list[str] = []
    loop = asyncio.get_running_loop()

    async def connect(_socket: object, address: tuple[str, int]) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(aiohttp, "DefaultResolver", lambda: resolver)
    monkeypatch.setattr(loop, "sock_connect", connect)
    async with fetching() as fetcher:
        with pytest.raises(TransientError):
            await fetcher.fetch(SOURCE)
        assert (resolver.asked, set(connected)) == (1, {PUBLIC})

    connected.clear()
    async with fetching() as fetcher:  # another connection looks the name up again
        with pytest.raises(PermanentError, match="not a public address"):
            await fetcher.fetch(SOURCE)
    assert connected == []
