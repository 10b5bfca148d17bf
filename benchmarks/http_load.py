"""Load tools of the endpoint's benchmarks: the service as a process, and cheap clients of it.

As a script this module is that process: the endpoint, set up as the service sets it up, and for
comparison bare aiohttp handlers, which return the bytes of ``/api/v1/shares`` as they were at the
start. The process has one core to itself; Redis and the clients have the other.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import sys
from contextlib import asynccontextmanager
from http import HTTPStatus
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import structlog
from aiohttp import web
from pydantic import SecretStr

from benchmarks.fixtures import DAY, MINUTE, NOW, begins, network, pools, report, whole, write
from benchmarks.processes import cpu_s, memory_mib
from benchmarks.snapshot import BELIEFS
from endpoint.service import application, serving_endpoint
from launch.cli.common import collect_garbage_seldom
from launch.local.embedded import free_port
from launch.local.supervisor import bound_to_this_process
from miningmap import settings as config
from miningmap.http.server import allow_many_connections
from miningmap.redis_client import connect
from miningmap.times import rfc3339, utc_now
from streams.method.windows import ROLLING
from streams.queries.snapshot import TAKEN_AT, take_snapshot
from streams.redis import keys
from streams.redis.store import Store
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from redis.asyncio import Redis

POOLS: Final = 20
PLACES: Final = 9
KEPT: Final = config.Retention()
SHARES: Final = "/api/v1/shares"
BARE_GZIP: Final = "/gzip"
"""Where the bare server answers with compressed bytes."""
BARE_304: Final = "/304"
"""Where it answers that nothing has changed."""
SNAPSHOT: Final = "1h/country"  # the snapshot that answers SHARES by default
LOOPBACK: Final = "127.0.0.1"
END_S: Final = 10.0
PARALLEL: Final = 64
UNREACHED: Final = 10**9
"""Requests a minute, of which nobody sends so many."""


class SnapshotSource:
    """A Redis with a snapshot in which all windows have shares; it is written again on request."""

    def __init__(self, url: str, redis: Redis, snapshots: Mapping[str, bytes]) -> None:
        self.url = url
        self._redis = redis
        self._store = Store(redis, KEPT)
        self._snapshots = snapshots

    @property
    def sizes(self) -> list[int]:
        """The number of bytes of each window's shares by country; an event contains them all."""
        return [len(self._snapshots[f"{window}/country"]) for window in ROLLING]

    @property
    def size(self) -> int:
        """The number of bytes of a response of ``/api/v1/shares``."""
        return len(self._snapshots[SNAPSHOT])

    async def write(self) -> None:
        """Write another snapshot, with the same figures and the current time."""
        then, now = self._snapshots[TAKEN_AT], rfc3339(utc_now()).encode()
        await self._store.snapshots.write(
            {name: value.replace(then, now, 1) for name, value in self._snapshots.items()}
        )

    async def log_mib(self) -> float:
        """Return the memory of the event log in Redis, in MiB."""
        return (await self._redis.memory_usage(keys.EVENTS, samples=0) or 0) / 2**20


@asynccontextmanager
async def snapshot_source(
    number: int = POOLS, places: int = PLACES, *, small: bool = False
) -> AsyncIterator[SnapshotSource]:
    """Start a Redis with figures of pools, and leave a core of the machine to the service.

    Args:
        number: of pools.
        places: of each pool.
        small: two pools instead, for a quick check that a benchmark runs.
    """
    _take_core(last=True)
    allow_many_connections()
    server = RedisServer.launch()
    redis = connect(config.Redis(url=SecretStr(server.url)))
    try:
        store = Store(redis, KEPT)
        minute, day = whole(NOW, MINUTE), whole(NOW, DAY)
        some = pools(2 if small else number, places)
        for step, starts in (
            (MINUTE, begins(minute - 60 * MINUTE, NOW, MINUTE)),
            (DAY, begins(day - 30 * DAY, day, DAY)),
        ):
            reports = [report(pool, start, step) for pool in some for start in starts]
            await write(store, [*reports, *(network(start, step) for start in starts)], KEPT)
        source = SnapshotSource(server.url, redis, await take_snapshot(store.cells, BELIEFS, NOW))
        await source.write()
        yield source
    finally:
        await redis.aclose()
        server.close()


class Service(NamedTuple):
    """The process and its ports."""

    pid: int
    endpoint: int
    bare: int

    def cpu_s(self) -> float:
        """Return the CPU time of the process so far, in seconds."""
        return cpu_s(self.pid)

    def memory_mib(self) -> float:
        """Return the resident memory of the process."""
        return memory_mib(self.pid)


@asynccontextmanager
async def service(url: str) -> AsyncIterator[Service]:
    """Run the endpoint in its own process, with the Redis at a URL."""
    process = await asyncio.create_subprocess_exec(
        *bound_to_this_process([sys.executable, "-m", "benchmarks.http_load", url]),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output = process.stdout or asyncio.StreamReader()
        ports = (await output.readline()).split()
        yield Service(process.pid, *map(int, ports))
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), END_S)


class Connection(asyncio.Protocol):
    """A connection that repeats a request, and parses as little of the responses as possible."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._response: asyncio.Future[None] | None = None
        self._received = bytearray()
        self._length = 0

    @classmethod
    async def to(cls, port: int) -> Connection:
        """Connect to a port of this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, LOOPBACK, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Handle the event loop's callback."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Handle the event loop's callback."""
        if self._response and not self._response.done():
            self._response.set_exception(error or ConnectionError("closed"))

    def send(self, request: bytes) -> asyncio.Future[None]:
        """Send a request; the future is done when the response, a 200 or 304, is complete."""
        self._response = response = asyncio.get_running_loop().create_future()
        self._received.clear()
        self._length = 0
        self._transport.write(request)
        return response

    def data_received(self, data: bytes) -> None:
        """Handle the event loop's callback."""
        self._received += data
        if not self._length:
            head, end, _ = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].split(maxsplit=1)
            self._length = len(head) + len(end) + (int(length[0]) if length else 0)
        if len(self._received) < self._length or self._response is None:
            return
        if self._received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")):
            self._response.set_result(None)
        else:
            self._response.set_exception(ValueError(self._received[:200].decode(errors="replace")))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


async def latencies(port: int, request: bytes, a_second: int, for_s: float) -> list[float]:
    """Send requests at a fixed rate, and return the seconds until each response was complete."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(PARALLEL):
        free.put_nowait(await Connection.to(port))

    async def timed(due: float) -> float:
        connection = await free.get()
        await connection.send(request)
        took = perf_counter() - due
        free.put_nowait(connection)
        return took

    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(int(for_s * a_second)):
            due = started + number / a_second
            await asyncio.sleep(max(0.0, due - perf_counter()))
            tasks.append(group.create_task(timed(due)))
    while not free.empty():
        free.get_nowait().close()
    return [task.result() for task in tasks]


def spread(seconds: Sequence[float]) -> list[str]:
    """Return the median, the 99th percentile and the maximum, in milliseconds."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98]
    return [f"{1000 * s:.1f}" for s in (median(seconds), p99, max(seconds))]


def get(path: str, port: int, **headers: str) -> bytes:
    """Return a request; a header ``Accept-Encoding`` is given as ``Accept_Encoding``."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _serve(url: str) -> None:
    _take_core(last=False)
    # Only the ports are printed.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    store = Store(connect(config.Redis(url=SecretStr(url)), patient=False), KEPT)
    body = await store.snapshots.part(SNAPSHOT) or b""
    # A client behind the proxy, which is named in X-Forwarded-For, has a quota.
    settings = config.Endpoint.model_validate(
        {
            "host": LOOPBACK,
            "port": free_port(),
            "trusted_proxies": [LOOPBACK],
            "rate_limit": UNREACHED,
        }
    )
    runner = web.AppRunner(_bare(body), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    async with serving_endpoint(application(store, BELIEFS, settings), settings):
        collect_garbage_seldom()
        print(settings.port, runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


def _bare(body: bytes) -> web.Application:
    zipped = gzip.compress(body, compresslevel=6, mtime=0)

    async def plain(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def compressed(_request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=zipped, content_type="application/json", headers=headers)

    async def unchanged(_request: web.Request) -> web.Response:
        return web.Response(status=HTTPStatus.NOT_MODIFIED)

    app = web.Application()
    app.router.add_get(SHARES, plain)
    app.router.add_get(BARE_GZIP, compressed)
    app.router.add_get(BARE_304, unchanged)
    return app


def _take_core(*, last: bool) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1] if last else cores[0]})


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
