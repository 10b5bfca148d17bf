"""What the benchmarks of the endpoint share: the service as a process, and cheap clients of it.

As a script it is that process: the endpoint, and beside it a bare aiohttp handler that returns the
bytes of ``/api/v1/shares`` as they were at the start. It has one core to itself; Redis and whoever
asks have the other.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from aiohttp import web
from pydantic import SecretStr

from benchmarks.fixtures import DAY, MINUTE, NOW, begins, network, pools, report, whole, write
from benchmarks.snapshot import BELIEFS
from endpoint.service import application
from launch.local.supervisor import bound_to_this_process
from miningmap import settings as config
from miningmap.http.server import allow_many_connections
from miningmap.redis_client import connect
from miningmap.times import rfc3339, utc_now
from streams.method.windows import ROLLING
from streams.queries.snapshot import AT, take_snapshot
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
SNAPSHOT: Final = "1h/country"  # that answers it
LOOPBACK: Final = "127.0.0.1"
END_S: Final = 10.0
PARALLEL: Final = 64


class World:
    """A Redis with a snapshot in it, in which all windows have shares."""

    def __init__(self, url: str, redis: Redis, made: Mapping[str, bytes]) -> None:
        self.url = url
        self._redis = redis
        self._store = Store(redis, KEPT)
        self._made = made

    @property
    def sizes(self) -> list[int]:
        """How many bytes each window's answer by country has; an event has them all."""
        return [len(self._made[f"{window}/country"]) for window in ROLLING]

    @property
    def size(self) -> int:
        """How many bytes ``/api/v1/shares`` answers."""
        return len(self._made[SNAPSHOT])

    async def tell(self) -> None:
        """Another snapshot: the same figures, as of now."""
        then, now = self._made[AT], rfc3339(utc_now()).encode()
        await self._store.write_snapshots(
            {name: value.replace(then, now, 1) for name, value in self._made.items()}
        )

    async def log_mib(self) -> float:
        """What the log of events takes in Redis."""
        return (await self._redis.memory_usage(keys.EVENTS, samples=0) or 0) / 2**20


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """20 pools of 9 places each; this process leaves a core to the service."""
    _take_core(last=True)
    allow_many_connections()
    server = RedisServer.launch()
    redis = connect(config.Redis(url=SecretStr(server.url)))
    try:
        store = Store(redis, KEPT)
        minute, day = whole(NOW, MINUTE), whole(NOW, DAY)
        some = pools(POOLS, PLACES)
        for step, starts in (
            (MINUTE, begins(minute - 60 * MINUTE, NOW, MINUTE)),
            (DAY, begins(day - 30 * DAY, day, DAY)),
        ):
            said = [report(pool, start, step) for pool in some for start in starts]
            await write(store, [*said, *(network(start, step) for start in starts)], KEPT)
        made = World(server.url, redis, await take_snapshot(store, BELIEFS, NOW))
        await made.tell()
        yield made
    finally:
        await redis.aclose()
        server.close()


class Service(NamedTuple):
    """The process, and where it listens."""

    pid: int
    endpoint: int
    bare: int

    def cpu_s(self) -> float:
        """Seconds that it has computed so far."""
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """What it has resident."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@asynccontextmanager
async def service(url: str) -> AsyncIterator[Service]:
    """The endpoint in a process of its own, over the Redis at a URL."""
    process = await asyncio.create_subprocess_exec(
        *bound_to_this_process([sys.executable, "-m", "benchmarks.http_load", url]),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said = process.stdout or asyncio.StreamReader()
        ports = (await said.readline()).split()
        yield Service(process.pid, *map(int, ports))
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), END_S)


class Connection(asyncio.Protocol):
    """A connection that sends a request again and again, and looks at no more than it must."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._answered: asyncio.Future[None] | None = None
        self._got = bytearray()
        self._wanted = 0

    @classmethod
    async def to(cls, port: int) -> Connection:
        """A connection to a port of this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, LOOPBACK, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As the event loop calls it."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """As the event loop calls it."""
        if self._answered and not self._answered.done():
            self._answered.set_exception(error or ConnectionError("closed"))

    def ask(self, request: bytes) -> asyncio.Future[None]:
        """Done once the answer is here, which has to be 200."""
        self._answered = answered = asyncio.get_running_loop().create_future()
        self._got.clear()
        self._wanted = 0
        self._transport.write(request)
        return answered

    def data_received(self, data: bytes) -> None:
        """As the event loop calls it."""
        self._got += data
        if not self._wanted:
            head, end, _ = self._got.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].split(maxsplit=1)
            self._wanted = len(head) + len(end) + (int(length[0]) if length else 0)
        if len(self._got) < self._wanted or self._answered is None:
            return
        if self._got.startswith(b"HTTP/1.1 200"):
            self._answered.set_result(None)
        else:
            self._answered.set_exception(ValueError(self._got[:200].decode(errors="replace")))

    def close(self) -> None:
        """The end of it."""
        self._transport.close()


async def latencies(port: int, request: bytes, a_second: int, for_s: float) -> list[float]:
    """Seconds to the whole answer of requests at fixed times, whoever is still waiting or not."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(PARALLEL):
        free.put_nowait(await Connection.to(port))

    async def timed(due: float) -> float:
        connection = await free.get()
        await connection.ask(request)
        took = perf_counter() - due
        free.put_nowait(connection)
        return took

    started = perf_counter()
    async with asyncio.TaskGroup() as asking:
        tasks = []
        for number in range(int(for_s * a_second)):
            due = started + number / a_second
            await asyncio.sleep(max(0.0, due - perf_counter()))
            tasks.append(asking.create_task(timed(due)))
    while not free.empty():
        free.get_nowait().close()
    return [task.result() for task in tasks]


def spread(seconds: Sequence[float]) -> list[str]:
    """Median, p99 and longest, in milliseconds."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98]
    return [f"{1000 * s:.1f}" for s in (median(seconds), p99, max(seconds))]


def get(path: str, port: int, **headers: str) -> bytes:
    """A request; ``Accept_Encoding`` stands for ``Accept-Encoding``."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _serve(url: str) -> None:
    _take_core(last=False)
    allow_many_connections()
    store = Store(connect(config.Redis(url=SecretStr(url)), patient=False), KEPT)
    body = await store.snapshot(SNAPSHOT)

    async def bare(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    peer = web.Application()
    peer.router.add_get(SHARES, bare)
    runners = [
        web.AppRunner(app, access_log=None)
        for app in (application(store, BELIEFS, config.Endpoint()), peer)
    ]
    ports = []
    for runner in runners:
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        ports.append(runner.addresses[0][1])
    print(*ports, flush=True)
    await asyncio.Event().wait()


def _take_core(*, last: bool) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1] if last else cores[0]})


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
