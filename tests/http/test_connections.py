"""Deadlines and limits of connections, over real sockets, with deadlines below a second."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from launch.local.embedded import free_port
from miningmap.api.models import PROBLEM_CONTENT_TYPE
from miningmap.http import connections
from miningmap.http.clients import Clients
from miningmap.http.connections import Deadlines, Limits
from miningmap.http.metrics import ConnectionMetrics
from miningmap.http.problems import problem_middleware
from miningmap.http.server import serving
from tests.http.attackers import (
    HALF_A_HEAD,
    HERE,
    MANY,
    ask,
    attacking,
    reply_of,
    until_refused_or_closed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LARGE = 8 * 1024 * 1024
LONG = Deadlines()
SHORT = Deadlines(head_s=0.5, body_s=0.5, idle_s=0.5, send_s=0.5, least_rate=1e12)
CLOSING = b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GET_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


class Server:
    """A small service on a port, and the metrics of its connections."""

    def __init__(self) -> None:
        self.port = free_port()
        self.registry = CollectorRegistry()
        self.go_on = asyncio.Event()
        self.handling = 0

    async def ok(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def slow(self, _: web.Request) -> web.Response:
        self.handling += 1
        await self.go_on.wait()
        return web.Response(text="at last")

    async def read(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def large(self, _: web.Request) -> web.Response:
        return web.Response(body=b"x" * LARGE)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(30):
            await response.write(b".")
            await asyncio.sleep(0.1)
        return response

    @asynccontextmanager
    async def running(self, **changed: Any) -> AsyncIterator[Server]:
        app = web.Application(middlewares=[problem_middleware])
        for handler in (self.ok, self.slow, self.large, self.stream):
            app.router.add_get(f"/{handler.__name__}", handler)
        app.router.add_post("/read", self.read)
        limits: dict[str, Any] = {"connections": 50, "per_client": 50, "deadlines": LONG} | changed
        async with serving(
            app,
            HERE,
            self.port,
            "INTAKE__PORT",
            limits=Limits(**limits),
            metrics=ConnectionMetrics(self.registry),
        ):
            yield self

    def dropped(self, reason: str) -> float:
        labels = {"listener": "intake", "reason": reason}
        name = "miningmap_http_connections_dropped_total"
        return self.registry.get_sample_value(name, labels) or 0

    def accept_failures(self) -> float | None:
        name = "miningmap_http_accept_failures_total"
        return self.registry.get_sample_value(name, {"listener": "intake"})

    def open(self) -> float | None:
        labels = {"listener": "intake"}
        return self.registry.get_sample_value("miningmap_http_connections", labels)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing says when it becomes true
                await asyncio.sleep(0.01)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def server() -> Server:
    return Server()


# --- limits ---------------------------------------------------------------------------------------


async def test_connections_that_send_nothing_shut_nobody_out(server: Server) -> None:
    async with server.running(connections=20), attacking(server.port, MANY) as attackers:
        await attackers.connect(300, HALF_A_HEAD)
        assert (await ask(server.port, "/ok")).body == b"ok"
        assert server.dropped("replaced") == 281
        await server.until(lambda: server.open() == 19)  # all but the one that is served


async def test_a_client_at_its_limit_loses_only_connections_of_its_own(server: Server) -> None:
    async with (
        server.running(per_client=5),
        attacking(server.port) as attackers,
        attacking(server.port, ["127.0.0.2"]) as patient,
    ):
        await patient.connect(1, HALF_A_HEAD)
        await attackers.connect(100, HALF_A_HEAD)
        assert (await ask(server.port, "/ok")).status == 200
        await server.until(lambda: server.open() == 5)
        assert patient.open() == 1


async def test_the_longest_idle_connection_gives_way_first(server: Server) -> None:
    async with server.running(connections=2), attacking(server.port) as attackers:
        for _ in range(2):
            await attackers.connect(1, b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.get_running_loop().sock_recv(attackers.sockets[-1], 4096)
        attackers.drip(b"GET /slow")  # the first is heard again, and waits as long as before
        assert (await ask(server.port, "/ok")).status == 200
        await until_refused_or_closed(attackers.sockets[0])
        assert attackers.open() == 1


async def test_if_all_connections_are_at_work_a_new_one_is_503(server: Server) -> None:
    async with server.running(connections=3), attacking(server.port) as attackers:
        await attackers.connect(3, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.until(lambda: server.handling == 3)
        reply = await ask(server.port, "/ok")
        assert reply.status == 503
        assert "Retry-After: 5" in reply.head
        assert json.loads(reply.body)["detail"] == "all connections are at work; try again later"
        assert server.dropped("full") == 1
        server.go_on.set()
        await server.until(lambda: attackers.open() == 3)
        assert (await ask(server.port, "/ok")).status == 200


async def test_a_client_whose_connections_are_all_at_work_is_429_and_others_are_served(
    server: Server,
) -> None:
    async with server.running(per_client=3), attacking(server.port) as attackers:
        await attackers.connect(3, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.until(lambda: server.handling == 3)
        reply = await ask(server.port, "/ok")
        assert (reply.status, json.loads(reply.body)["status"]) == (429, 429)
        assert server.dropped("client") == 1
        assert (await ask(server.port, "/ok", source="127.0.0.2")).status == 200
        server.go_on.set()


async def test_clients_that_are_not_limited_have_any_number(server: Server) -> None:
    clients = Clients(loopback=False)
    async with server.running(per_client=1, clients=clients), attacking(server.port) as attackers:
        await attackers.connect(10, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.until(lambda: server.handling == 10)
        server.go_on.set()


async def test_the_log_says_each_reason_once_a_minute(server: Server) -> None:
    with capture_logs() as logs:
        async with server.running(connections=5), attacking(server.port, MANY) as attackers:
            await attackers.connect(100, HALF_A_HEAD)
            await ask(server.port, b"nonsense\r\n\r\n")
    told = [entry for entry in logs if entry["event"] == "connections_dropped"]
    assert [(entry["listener"], entry["reason"]) for entry in told] == [
        ("intake", "replaced"),
        ("intake", "malformed"),
    ]


async def test_all_connections_are_forgotten(server: Server) -> None:
    async with server.running() as running:
        async with attacking(running.port, MANY) as attackers:
            await attackers.connect(40, HALF_A_HEAD)
            await server.until(lambda: server.open() == 40)
        await server.until(lambda: server.open() == 0)


async def test_a_client_that_does_not_read_keeps_no_connection_beyond_the_service(
    server: Server,
) -> None:
    before = open_files()
    async with attacking(server.port) as attackers:
        async with server.running():
            await attackers.connect(5, GET_LARGE, receive=4096)
            await server.until(lambda: server.open() == 5)
        await server.until(lambda: open_files() == before + 5)


# --- deadlines ------------------------------------------------------------------------------------


async def test_a_head_that_drips_is_408_in_time(server: Server) -> None:
    async with server.running(deadlines=SHORT), attacking(server.port) as attackers:
        await attackers.connect(3, HALF_A_HEAD)
        waiting = asyncio.create_task(until_refused_or_closed(attackers.sockets[0]))
        while not waiting.done():
            attackers.drip()
            await asyncio.wait([waiting], timeout=0.05)
        reply = reply_of(await waiting)
        assert reply.status == 408
        assert f"Content-Type: {PROBLEM_CONTENT_TYPE}" in reply.head
        await server.until(lambda: server.open() == 0)
        assert server.dropped("head") == 3


async def test_a_connection_without_a_byte_is_closed(server: Server) -> None:
    async with server.running(deadlines=SHORT), attacking(server.port) as attackers:
        await attackers.connect(1)
        assert await until_refused_or_closed(attackers.sockets[0]) == b""
        assert server.dropped("head") == 1


async def test_a_connection_that_is_used_again_and_again_stays(server: Server) -> None:
    async with server.running(deadlines=SHORT), attacking(server.port) as attackers:
        await attackers.connect(1)
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await loop.sock_sendall(attackers.sockets[0], b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await loop.sock_recv(attackers.sockets[0], 4096)).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.1)
        assert await until_refused_or_closed(attackers.sockets[0]) == b""
        assert [server.dropped(reason) for reason in connections.REASONS] == [0] * 7


async def test_a_body_that_drips_is_408_in_time(server: Server) -> None:
    async with server.running(deadlines=SHORT), attacking(server.port) as attackers:
        await attackers.connect(
            1, b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"
        )
        waiting = asyncio.create_task(until_refused_or_closed(attackers.sockets[0]))
        while not waiting.done():
            attackers.drip()
            await asyncio.wait([waiting], timeout=0.05)
        reply = reply_of(await waiting)
        assert (reply.status, json.loads(reply.body)["title"]) == (408, "Request Timeout")
        assert server.dropped("body") == 1


async def test_a_client_that_never_reads_is_disconnected(server: Server) -> None:
    async with server.running(deadlines=SHORT), attacking(server.port) as attackers:
        await attackers.connect(5, 3 * GET_LARGE, receive=4096)
        await server.until(lambda: server.dropped("unread") == 5)
        assert server.open() == 0


async def test_a_client_that_closes_its_end_and_never_reads_is_disconnected(server: Server) -> None:
    close = GET_LARGE.replace(b"Host: x", b"Host: x\r\nConnection: close")
    async with server.running(deadlines=SHORT), attacking(server.port) as attackers:
        await attackers.connect(1, close, receive=4096)
        await server.until(lambda: server.dropped("unread") == 1)
        assert server.open() == 0


async def test_a_client_that_reads_slowly_gets_all(server: Server) -> None:
    deadlines = SHORT._replace(least_rate=LARGE / 60)
    async with server.running(deadlines=deadlines):
        reader, writer = await asyncio.open_connection(HERE, server.port, limit=1 << 16)
        writer.write(GET_LARGE)
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        async with asyncio.timeout(30):
            while received < LARGE:
                received += len(await reader.read(1 << 18))
                await asyncio.sleep(0.05)
        writer.close()
        assert server.dropped("unread") == 0


async def test_of_clients_that_do_not_read_the_slowest_are_dropped_before_memory_runs_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_UNREAD", 3 * LARGE)
    async with server.running(), attacking(server.port) as attackers:
        await attackers.connect(10, GET_LARGE, receive=4096)
        await server.until(lambda: server.dropped("unread") == 7)
        assert server.open() == 3


async def test_clients_that_never_read_shut_nobody_out(server: Server) -> None:
    async with server.running(connections=20), attacking(server.port, MANY) as attackers:
        await attackers.connect(60, GET_LARGE, receive=4096)
        assert (await ask(server.port, "/ok")).status == 200
        assert server.dropped("full") == 0


async def test_a_stream_may_last_as_long_as_it_likes(server: Server) -> None:
    async with server.running(deadlines=SHORT):
        reply = await ask(server.port, "/stream")
        assert reply.body.count(b"\r\n.\r\n") == 30


# --- what is no HTTP ------------------------------------------------------------------------------

MALFORMED = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "no request line": (b"nonsense\r\n\r\n", 400),
    "unknown method": (b"FETCH /ok HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "version 3.7": (b"GET /ok HTTP/3.7\r\nHost: x\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no host": (b"GET /ok HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /ok HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "header without a name": (b"GET /ok HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
    "zero byte": (b"GET /ok HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
    "length": (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
    "negative length": (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "huge length": (
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9%s\r\n\r\n" % (b"9" * 40),
        400,
    ),
    "two lengths": (
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "chunk": (
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "later chunk": (
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n",
        400,
    ),
    "long line": (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000), 431),
    "long header": (b"GET /ok HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n" % (b"a" * 9000), 431),
    "many headers": (b"GET /ok HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"A: b\r\n" * 200), 400),
    "endless head": (
        b"GET /ok HTTP/1.1\r\nHost: x\r\n%s" % (b"A: %s\r\n" % (b"a" * 700) * 60),
        431,
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_http_is_a_problem_that_names_no_version(
    server: Server, name: str
) -> None:
    request, status = MALFORMED[name]
    async with server.running():
        reply = await ask(server.port, request)
        assert (await ask(server.port, "/ok")).status == 200
    assert reply.status == status
    assert f"Content-Type: {PROBLEM_CONTENT_TYPE}" in reply.head
    assert "Server: miningmap\r\n" in f"{reply.head}\r\n"
    assert not {"aiohttp", "Python"} & set(reply.head.replace("/", " ").split())
    document = json.loads(reply.body)
    assert document["status"] == status
    assert len(document["detail"]) < 250


async def test_a_chunk_that_comes_later_is_told_to_the_handler_that_waits_for_it(
    server: Server,
) -> None:
    async with server.running(), attacking(server.port) as attackers:
        head = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        await attackers.connect(1, head)
        await server.until(lambda: server.open() == 1)
        attackers.drip(b"zz\r\n")
        reply = reply_of(await until_refused_or_closed(attackers.sockets[0]))
        assert (reply.status, json.loads(reply.body)["status"]) == (400, 400)


async def test_malformed_requests_are_counted_and_leave_no_traceback(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.running():
        for _ in range(20):
            await ask(server.port, b"nonsense\r\n\r\n")
        assert server.dropped("malformed") == 20
    assert caplog.records == []


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    async with server.running():
        first = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        reply = await ask(server.port, first + last)
        assert reply.body.count(b"HTTP/1.1 200 OK") == 49
        assert reply.body.count(b"HTTP/1.1 404 Not Found") == 1


# --- no files left --------------------------------------------------------------------------------


async def test_a_service_that_may_open_no_more_files_says_so_and_recovers(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    loop = asyncio.get_running_loop()
    with capture_logs() as logs, ExitStack() as stack:
        async with server.running():
            clients = [stack.enter_context(socket.socket()) for _ in range(3)]
            unused = os.dup(0)
            os.close(unused)
            resource.setrlimit(resource.RLIMIT_NOFILE, (unused, hard))
            try:
                for client in clients:
                    client.settimeout(0)
                    await loop.sock_connect(client, (HERE, server.port))
                    await loop.sock_sendall(client, CLOSING)
                await server.until(lambda: server.accept_failures() == 2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            replies = [reply_of(await until_refused_or_closed(client)) for client in clients]
            assert [reply.status for reply in replies] == [200] * 3
    assert [entry["event"] for entry in logs] == ["listening", *["accept_failed"] * 2]


async def test_a_service_keeps_files_for_itself(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capture_logs() as logs:
        async with server.running(connections=10**9):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    assert logs[0]["connections"] == hard - 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
