"""Connections that are kept between polls, to a real server that counts them."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from collector.http.connector import IDLE_S, OLDEST_S, TLS_BUFFER, Connector
from tests.clock import Clock
from tests.secure_servers import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

A_MINUTE_S = 66.0  # with the jitter of polls
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Notes by which connection, counted from 0, each request comes."""

    def __init__(self) -> None:
        self.port = 0
        self.by: list[int] = []
        self.connections = 0
        self.open = 0
        self.hangs_up_on: set[int] = set()
        """Requests, counted from 0, to which it closes the connection instead of responding."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        self.open += 1
        try:
            while await self._reads_request(reader):
                self.by.append(number)
                if len(self.by) - 1 in self.hangs_up_on:
                    break
                writer.write(RESPONSE)
        finally:
            self.open -= 1
            writer.close()

    @staticmethod
    async def _reads_request(reader: asyncio.StreamReader) -> bool:
        try:
            return bool(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That of the connector, and the one by which aiohttp measures how long it was idle."""
    made = Clock()
    monkeypatch.setattr("aiohttp.connector.monotonic", made)
    return made


@asynccontextmanager
async def session(clock: Clock, most_kept: int = 10) -> AsyncIterator[aiohttp.ClientSession]:
    connector = Connector(aiohttp.DefaultResolver(), most_kept=most_kept, clock=clock)
    async with aiohttp.ClientSession(connector=connector) as made:
        yield made


async def ask(
    client: aiohttp.ClientSession, server: Server, method: str = "GET", host: str = "127.0.0.1"
) -> str:
    async with client.request(method, f"http://{host}:{server.port}/") as response:
        return await response.text()


async def until_open(server: Server, number: int) -> None:
    async with asyncio.timeout(10):
        while server.open != number:  # noqa: ASYNC110 - another task counts
            await asyncio.sleep(0.001)


async def test_a_connection_is_kept_until_the_next_poll(server: Server, clock: Clock) -> None:
    async with session(clock) as client:
        for _ in range(3):
            await ask(client, server)
            clock.now += A_MINUTE_S
    assert server.by == [0, 0, 0]


async def test_a_connection_that_was_idle_for_longer_is_not_used(
    server: Server, clock: Clock
) -> None:
    async with session(clock) as client:
        await ask(client, server)
        clock.now += IDLE_S + 1
        await ask(client, server)
        await until_open(server, 1)
    assert server.by == [0, 1]


async def test_an_old_connection_is_replaced(server: Server, clock: Clock) -> None:
    end = clock.now + OLDEST_S + A_MINUTE_S
    async with session(clock) as client:
        while clock.now <= end:
            await ask(client, server)
            clock.now += A_MINUTE_S
        await until_open(server, 1)
    assert server.by[0] == server.by[-3] == 0
    assert server.by[-1] == 1


async def test_a_connection_that_the_server_closed_is_replaced(
    server: Server, clock: Clock
) -> None:
    server.hangs_up_on = {1}
    async with session(clock) as client:
        await ask(client, server)
        assert await ask(client, server) == "ok"
    assert server.by == [0, 0, 1]


async def test_a_request_that_must_not_be_sent_twice_gets_a_new_connection(
    server: Server, clock: Clock
) -> None:
    async with session(clock) as client:
        for method in ("GET", "POST", "POST"):
            await ask(client, server, method)
        await until_open(server, 0)
    assert server.by == [0, 1, 2]


async def test_no_more_connections_are_kept_than_allowed(server: Server, clock: Clock) -> None:
    async with session(clock, most_kept=1) as client:
        for _ in range(2):
            for host in ("127.0.0.1", "localhost"):
                assert await ask(client, server, host=host) == "ok"
        await until_open(server, 1)
    assert server.by == [0, 1, 0, 2]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@asynccontextmanager
async def tls_server(authority: Authority, host: str = "localhost") -> AsyncIterator[Server]:
    """Run a server whose certificate is for a host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.signed("server", at=host).both)
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    async with listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


async def ask_by_tls(server: Server, trusted: ssl.SSLContext, times: int = 1) -> int:
    """Ask ``localhost`` so many times at once; return the memory that is in use then."""
    connector = Connector(aiohttp.DefaultResolver())
    async with aiohttp.ClientSession(connector=connector) as client:

        async def ask_once() -> None:
            async with client.get(f"https://localhost:{server.port}/", ssl=trusted) as response:
                await response.read()

        await asyncio.gather(*(ask_once() for _ in range(times)))
        return tracemalloc.get_traced_memory()[0]


async def test_certificates_are_checked(authority: Authority) -> None:
    trusted = ssl.create_default_context(cafile=authority.file)
    async with tls_server(authority) as server:
        await ask_by_tls(server, trusted)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask_by_tls(server, ssl.create_default_context())
    async with tls_server(authority, "other.example") as server:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask_by_tls(server, trusted)


async def test_a_kept_tls_connection_takes_little_memory(authority: Authority) -> None:
    number = 20
    trusted = ssl.create_default_context(cafile=authority.file)
    async with tls_server(authority) as server:
        await ask_by_tls(server, trusted)  # what is made once
        tracemalloc.start()
        try:
            kept = await ask_by_tls(server, trusted, number)
        finally:
            tracemalloc.stop()
    both_ends = 2  # which are in this process
    assert kept < number * both_ends * 2 * TLS_BUFFER
