"""One, two and four workers and endpoints: what each costs, and how long partitions stand still.

``python -m benchmarks.workers [backlog] [rebalance] [endpoints]``, all three by default.

*backlog*: the same reports are processed by one group of so many ``streams`` processes, which all
join before the first report is read. The cells have to be equal. *rebalance*: reports arrive all
the time in each partition while a process joins, is ended and is killed. *endpoints*: the same
snapshot is asked for; the bytes have to be equal.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import aiohttp
import click
from aiohttp import hdrs
from redis.asyncio import Redis

from benchmarks.fixtures import MINUTE, Pool, print_table, report
from benchmarks.http_load import LOOPBACK, SHARES, Connection, get, snapshot_source
from benchmarks.running import command, machine, services, started, until_ready
from benchmarks.throughput import OURS, PLACES, WORKERS, Bench
from launch.local.embedded import free_port
from miningmap.kafka.producer import Publisher, record_of
from miningmap.kafka.topics import REPORTS, TOPICS
from miningmap.times import utc_now
from streams.redis import keys
from tests.servers import KafkaServer, RedisServer, kafka_at, recreate_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from benchmarks.running import Service
    from benchmarks.throughput import Run

NUMBERS: Final = (1, 2, 4)
REPORTS_SENT: Final = 60_000
BATCH: Final = 500
"""Messages in a batch, a tenth of the default: what each worker has in hand when the first cell
starts the clock is not counted, and the more workers there are, the more that would be."""
SESSION_S: Final = 10
"""The session timeout while partitions are given to others; the default is 45 s."""
PARTITIONS: Final = next(topic.partitions for topic in TOPICS if topic.name == REPORTS)
SEND_S: Final = 0.1
LOOK_S: Final = 0.01
QUIET_S: Final = 3.0
"""For how long all partitions have to move on until a rebalance counts as over."""
CONNECTIONS: Final = 32
"""Connections for each endpoint process."""
PARTS: Final = ("backlog", "rebalance", "endpoints")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--rounds", default=3, show_default=True, help="Runs of each number, in turn.")
@click.option("--reports", default=REPORTS_SENT, show_default=True)
@click.option("--for-s", default=5.0, show_default=True, help="Seconds of requests in a run.")
def main(*, parts: Sequence[str], rounds: int, reports: int, for_s: float) -> None:
    """Print the tables of docs/performance.md."""
    if not parts or "backlog" in parts:
        asyncio.run(_backlog(rounds, reports))
    if not parts or "rebalance" in parts:
        asyncio.run(_rebalances(rounds))
    if not parts or "endpoints" in parts:
        asyncio.run(_endpoints(rounds, for_s))
    print(f"\n{machine()}")


# --- a backlog ------------------------------------------------------------------------------------


class _PatientKafka(KafkaServer):
    """Waits for more members before a new group begins, as Kafka does by default."""

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {"group.initial.rebalance.delay.ms": "3000"}


async def _backlog(rounds: int, reports: int) -> None:
    (ours,) = (each for each in WORKERS if each.name == OURS)
    batch = ("MININGMAP_STREAMS__BATCH", str(BATCH))
    worker = replace(ours, settings=(*ours.settings, batch))
    bench = Bench(reports, PLACES, _PatientKafka)
    runs: dict[int, list[Run]] = {number: [] for number in NUMBERS}
    digests: set[str] = set()
    try:
        await bench.publish()
        for _ in range(rounds):
            for number, of in runs.items():
                run, digest = await bench.run(worker, number)
                of.append(run)
                digests.add(digest)
                if len(digests) > 1:
                    sys.exit(f"the cells of {number} workers differ from those of others")
    finally:
        bench.close()
    title = (
        f"{reports:,} reports of {PLACES} places in {PARTITIONS} partitions, batches of {BATCH}; "
        f"medians of {rounds}; the cells were equal"
    )
    head = ("workers", "reports/s", "lowest", "highest", "of one", "CPU µs a report", "of Redis")
    print_table(title, head, [_row(number, of, runs[1]) for number, of in runs.items()])


def _row(number: int, runs: Sequence[Run], single: Sequence[Run]) -> tuple[str, ...]:
    rates = [run.rate for run in runs]
    return (
        str(number),
        *(f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))),
        f"{median(a.rate / b.rate for a, b in zip(runs, single, strict=True)):.2f}",
        f"{median(run.each_us(lambda sample: sample.worker_s) for run in runs):.0f}",
        f"{median(run.each_us(lambda sample: sample.redis_s) for run in runs):.0f}",
    )


# --- partitions that are given to others ----------------------------------------------------------


class _Partitions:
    """For how long each partition has not moved on, by what Redis has applied of it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._moved_at: dict[bytes, float] = {}
        self._longest_s = 0.0

    async def watch(self) -> None:
        """Look at the positions again and again."""
        before: dict[bytes, bytes] = {}
        while True:
            for name, position in (await self._positions()).items():
                if before.get(name) != position:
                    self._note(name, time.monotonic())
                before[name] = position
            await asyncio.sleep(LOOK_S)

    async def _positions(self) -> dict[bytes, bytes]:
        number = cast("bytes | None", await self._redis.hget(keys.POSITIONS, "generation"))
        if number is None:
            return {}
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.positions(int(number))))
        return {name: at for name, at in found.items() if name.startswith(REPORTS.encode())}

    def _note(self, name: bytes, now: float) -> None:
        self._longest_s = max(self._longest_s, now - self._moved_at.get(name, now))
        self._moved_at[name] = now

    async def all_move(self) -> None:
        """Return when all of them have moved on and on for a while."""
        since = time.monotonic()
        while time.monotonic() < since + QUIET_S:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            oldest = min(self._moved_at.values(), default=0.0)
            if len(self._moved_at) < PARTITIONS or now - oldest > 5 * SEND_S:
                since = now

    @asynccontextmanager
    async def longest(self) -> AsyncIterator[list[float]]:
        """Yield a list; after the block, and when all move again, it has the longest standstill."""
        self._longest_s = 0.0
        found: list[float] = []
        yield found
        await self.all_move()
        found.append(self._longest_s)


async def _rebalances(rounds: int) -> None:
    kafka, redis = KafkaServer.launch(), RedisServer.launch()
    found: dict[str, list[float]] = {"joins": [], "ends (SIGTERM)": [], "is killed": []}
    try:
        await recreate_topics(kafka.bootstrap_servers)
        env = {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "MININGMAP_KAFKA__GROUP": f"workers-{uuid.uuid4().hex}",
            "MININGMAP_KAFKA__SESSION_TIMEOUT_S": str(SESSION_S),
            "MININGMAP_REDIS__URL": redis.url,
        }
        with (
            TemporaryDirectory() as folder,
            services(env, Path(folder), {"streams": command("streams")}) as running,
        ):
            await until_ready(running, Path(folder))
            async with Redis.from_url(redis.url) as client:
                partitions = _Partitions(client)
                async with asyncio.TaskGroup() as tasks:
                    looking = tasks.create_task(partitions.watch())
                    sending = tasks.create_task(_send(kafka))
                    await partitions.all_move()
                    for _ in range(rounds):
                        await _round(partitions, env, Path(folder), found)
                    sending.cancel()
                    looking.cancel()
    finally:
        redis.close()
        kafka.close()
    title = f"Two workers, session timeout {SESSION_S} s: the longest standstill of a partition, s"
    rows = [
        (name, *(f"{each:.1f}" for each in (median(seconds), min(seconds), max(seconds))))
        for name, seconds in found.items()
    ]
    print_table(title, ("one of them", f"median of {rounds}", "shortest", "longest"), rows)


async def _send(kafka: KafkaServer) -> None:
    """Send a report to each partition several times a second."""
    settings = kafka_at(kafka.bootstrap_servers)
    async with Publisher(settings, frozenset({REPORTS})) as publisher:
        await publisher.connected()
        while True:
            start = utc_now() - MINUTE
            await publisher.publish(
                [
                    replace(record_of(report(Pool(f"pool{n}", ()), start, MINUTE)), partition=n)
                    for n in range(PARTITIONS)
                ]
            )
            await asyncio.sleep(SEND_S)


async def _round(
    partitions: _Partitions, env: Mapping[str, str], folder: Path, found: dict[str, list[float]]
) -> None:
    """Let a second worker join and end, and join and be killed."""
    for name in ("ends (SIGTERM)", "is killed"):
        async with partitions.longest() as longest:
            second = started("streams-2", command("streams"), env, folder)
            await until_ready([second], folder)
        found["joins"] += longest
        async with partitions.longest() as longest:
            if name == "is killed":
                second.process.kill()
            else:
                second.process.terminate()
            await asyncio.to_thread(second.process.wait)
        found[name] += longest


# --- endpoints ------------------------------------------------------------------------------------


class _Load(NamedTuple):
    """Requests in a run, and the CPU time of all endpoint processes."""

    a_second: float
    cpu_s: float
    """The CPU time of a request, in seconds."""


async def _endpoints(rounds: int, for_s: float) -> None:
    cores = os.sched_getaffinity(0)
    loads: dict[int, list[_Load]] = {number: [] for number in NUMBERS}
    answers: set[tuple[str, bytes]] = set()
    async with snapshot_source() as source:
        os.sched_setaffinity(0, cores)  # which the source has left to one process
        for _ in range(rounds):
            for number, of in loads.items():
                async with _sharing_a_port(source.url, number) as (port, running):
                    answers |= await _answers(port, number)
                    if len(answers) > 1:
                        sys.exit(f"{number} endpoints gave answers that differ")
                    of.append(await _load(port, running, for_s))
        size = source.size
    title = f"Endpoints on one port, {CONNECTIONS} connections each; {size:,} bytes, equal from all"
    head = ("endpoints", "requests/s", "CPU µs a request", "requests per CPU second", "of one")
    rows = []
    for number, of in loads.items():
        each_s = median(load.cpu_s for load in of)
        ratio = median(b.cpu_s / a.cpu_s for a, b in zip(of, loads[1], strict=True))
        rate = median(load.a_second for load in of)
        row = (number, f"{rate:,.0f}", f"{1e6 * each_s:.0f}", f"{1 / each_s:,.0f}", f"{ratio:.2f}")
        rows.append(row)
    print_table(title, head, rows)


@asynccontextmanager
async def _sharing_a_port(url: str, number: int) -> AsyncIterator[tuple[int, list[Service]]]:
    port = free_port()
    env = {
        "MININGMAP_REDIS__URL": url,
        "MININGMAP_ENDPOINT__PORT": str(port),
        "MININGMAP_ENDPOINT__REUSE_PORT": "true",
        "MININGMAP_ENDPOINT__FRESH_S": "3600",  # nobody takes a newer snapshot
    }
    commands = {f"endpoint-{n}": command("endpoint") for n in range(number)}
    with TemporaryDirectory() as folder, services(env, Path(folder), commands) as running:
        await until_ready(running, Path(folder))
        yield port, running


async def _answers(port: int, number: int) -> set[tuple[str, bytes]]:
    """Return the different answers on many connections, which the system gives to all processes."""
    found = set()
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(CONNECTIONS * number):
            async with session.get(f"http://{LOOPBACK}:{port}{SHARES}") as response:
                response.raise_for_status()
                found.add((response.headers[hdrs.ETAG], await response.read()))
    return found


async def _load(port: int, running: Sequence[Service], for_s: float) -> _Load:
    """Send requests one after the other on each connection, as fast as they are answered."""
    request = get(SHARES, port)
    connections = [await Connection.to(port) for _ in range(CONNECTIONS * len(running))]
    cpu_s, began = sum(each.cpu_s() for each in running), time.monotonic()
    sent = await asyncio.gather(*(_repeat(c, request, began + for_s) for c in connections))
    took, cpu_s = time.monotonic() - began, sum(each.cpu_s() for each in running) - cpu_s
    for connection in connections:
        connection.close()
    return _Load(sum(sent) / took, cpu_s / sum(sent))


async def _repeat(connection: Connection, request: bytes, until: float) -> int:
    sent = 0
    while time.monotonic() < until:
        await connection.send(request)
        sent += 1
    return sent


if __name__ == "__main__":
    main()
