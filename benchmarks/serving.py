"""The cost of the endpoint over a bare aiohttp handler: requests per second, CPU and latency."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import click

from benchmarks.fixtures import print_table
from benchmarks.http_load import (
    BARE_304,
    BARE_GZIP,
    LOOPBACK,
    SHARES,
    Connection,
    Service,
    SnapshotSource,
    get,
    latencies,
    service,
    snapshot_source,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS: Final = 16
RATE: Final = 500
TURNS: Final = 6
EVERY_S: Final = 5.0
CLIENT: Final = "192.0.2.1"
BROWSER: Final = "gzip, deflate, br, zstd"


class Round(NamedTuple):
    """The result of one round of one handler."""

    a_second: float
    cpu_us: float
    """The service's CPU time per request."""


@click.command()
@click.option("--rounds", default=40, show_default=True, help="Rounds of each handler, in turns.")
@click.option("--round-s", default=0.5, show_default=True)
@click.option("--latency-s", default=30.0, show_default=True)
@click.option("--small", is_flag=True, help="Few figures, to check that it runs.")
def main(rounds: int, round_s: float, latency_s: float, *, small: bool) -> None:
    """Print the tables of docs/performance.md."""
    asyncio.run(_main(rounds, round_s, latency_s, small=small))


async def _main(rounds: int, round_s: float, latency_s: float, *, small: bool) -> None:
    async with snapshot_source(small=small) as source, service(source.url) as served:
        await _throughput(source, served, rounds, round_s)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(_write_snapshots(source))
            await _latency(served, latency_s)
            writing.cancel()


async def _write_snapshots(source: SnapshotSource) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        await source.write()


class Pair(NamedTuple):
    """Two handlers that send the same bytes, each with a request that it answers."""

    bare: bytes
    ours: bytes


async def _throughput(source: SnapshotSource, served: Service, rounds: int, round_s: float) -> None:
    measured: dict[str, list[tuple[Round, Round]]] = {}
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{served.endpoint}") as http:
        tag = await _tag_after(http, "")
        for number in range(rounds + 1):
            await source.write()
            tag = await _tag_after(http, tag)
            for name, pair in _pairs(served, tag).items():
                bare = await _round(served, served.bare, pair.bare, round_s)
                ours = await _round(served, served.endpoint, pair.ours, round_s)
                if number:  # the first round warms up
                    measured.setdefault(name, []).append((bare, ours))
    title = f"One process, one core, {CONNECTIONS} connections; {source.size:,} bytes"
    head = ("what", "requests/s", "CPU, µs a request", "of bare: requests", "CPU of bare, of ours")
    print_table(
        title, head, [row for name, turns in measured.items() for row in _rows(name, turns)]
    )


async def _tag_after(http: aiohttp.ClientSession, old: str) -> str:
    """Return the ETag of the newest snapshot, which replaces the one with another ETag."""
    while True:
        async with http.get(SHARES, headers={"Accept-Encoding": "identity"}) as answer:
            tag = answer.headers["ETag"]
        if tag != old:
            return tag
        await asyncio.sleep(0.01)


def _pairs(served: Service, tag: str) -> dict[str, Pair]:
    def both(path: str, **headers: str) -> Pair:
        return Pair(get(path, served.bare, **headers), get(SHARES, served.endpoint, **headers))

    return {
        "200": both(SHARES),
        "200, gzip": both(BARE_GZIP, Accept_Encoding=BROWSER),
        "200, gzip, quota": both(BARE_GZIP, Accept_Encoding=BROWSER, X_Forwarded_For=CLIENT),
        "304": both(BARE_304, If_None_Match=tag),
    }


def _rows(name: str, turns: list[tuple[Round, Round]]) -> list[tuple[str, ...]]:
    rate = median(ours.a_second / bare.a_second for bare, ours in turns)
    cpu = median(bare.cpu_us / ours.cpu_us for bare, ours in turns)
    bares, all_ours = zip(*turns, strict=True)
    return [
        (f"{name}: bare handler", *_medians(bares), "1.00", "1.00"),
        (f"{name}: {SHARES}", *_medians(all_ours), f"{rate:.2f}", f"{cpu:.2f}"),
    ]


def _medians(results: Sequence[Round]) -> tuple[str, str]:
    rate, cpu = median(r.a_second for r in results), median(r.cpu_us for r in results)
    return f"{rate:,.0f}", f"{cpu:.0f}"


async def _round(served: Service, port: int, request: bytes, for_s: float) -> Round:
    """Send requests one after the other on each connection, as fast as they are answered."""
    connections = [await Connection.to(port) for _ in range(CONNECTIONS)]
    cpu, started = served.cpu_s(), perf_counter()
    async with asyncio.TaskGroup() as group:
        counts = [
            group.create_task(_repeat(connection, request, started + for_s))
            for connection in connections
        ]
    sent = sum(count.result() for count in counts)
    took, cpu = perf_counter() - started, served.cpu_s() - cpu
    for connection in connections:
        connection.close()
    return Round(sent / took, 1e6 * cpu / sent)


async def _repeat(connection: Connection, request: bytes, until: float) -> int:
    sent = 0
    while perf_counter() < until:
        await connection.send(request)
        sent += 1
    return sent


async def _latency(served: Service, for_s: float) -> None:
    """Measure both handlers in turns, so that other load on the machine affects both."""
    handlers = {
        "bare handler": (served.bare, get(SHARES, served.bare)),
        f"{SHARES}, gzip": (
            served.endpoint,
            get(SHARES, served.endpoint, Accept_Encoding=BROWSER),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in handlers}
    for _ in range(TURNS):
        for name, (port, request) in handlers.items():
            times[name] += await latencies(port, request, RATE, for_s / TURNS)
    title = f"{RATE} requests a second for {for_s:g} s, ms"
    head = ("what", "median", "p99", "longest")
    print_table(title, head, [(name, *spread(each)) for name, each in times.items()])


if __name__ == "__main__":
    main()
