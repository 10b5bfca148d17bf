"""What the endpoint adds to aiohttp: requests a second beside a bare handler, and latency."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

import click

from benchmarks.fixtures import print_table
from benchmarks.http_load import (
    SHARES,
    Connection,
    Service,
    World,
    get,
    latencies,
    service,
    spread,
    world,
)
from miningmap.settings import Streams

CONNECTIONS: Final = 16
RATE: Final = 500
TURNS: Final = 6
EVERY_S: Final = Streams().snapshot_s
BROWSER: Final = "gzip, deflate, br, zstd"


class Round(NamedTuple):
    """One round of one handler."""

    a_second: float
    cpu_us: float
    """What the service computed for one request."""


@click.command()
@click.option("--rounds", default=40, show_default=True, help="Of each handler, in turns.")
@click.option("--round-s", default=0.5, show_default=True)
@click.option("--latency-s", default=30.0, show_default=True)
def main(rounds: int, round_s: float, latency_s: float) -> None:
    """Print the tables of docs/performance.md."""
    asyncio.run(_main(rounds, round_s, latency_s))


async def _main(rounds: int, round_s: float, latency_s: float) -> None:
    async with world() as told, service(told.url) as served:
        telling = asyncio.create_task(_tell(told))
        await _throughput(told, served, rounds, round_s)
        await _latency(served, latency_s)
        telling.cancel()


async def _tell(told: World) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        await told.tell()


async def _throughput(told: World, served: Service, rounds: int, round_s: float) -> None:
    bare, ours = get(SHARES, served.bare), get(SHARES, served.endpoint)
    zipped = get(SHARES, served.endpoint, Accept_Encoding=BROWSER)
    handlers = {
        "bare handler": (served.bare, bare),
        SHARES: (served.endpoint, ours),
        f"{SHARES}, gzip": (served.endpoint, zipped),
    }
    measured: dict[str, list[Round]] = {name: [] for name in handlers}
    for number in range(rounds + 1):
        for name, (port, request) in handlers.items():
            made = await _round(served, port, request, round_s)
            if number:  # the first one warms up
                measured[name].append(made)
    first = measured["bare handler"]
    rows = []
    for name, all_made in measured.items():
        turns = zip(all_made, first, strict=True)
        ratio = median(one.a_second / peer.a_second for one, peer in turns)
        rate, cpu = median(r.a_second for r in all_made), median(r.cpu_us for r in all_made)
        rows.append((name, f"{rate:,.0f}", f"{cpu:.0f}", f"{ratio:.2f}"))
    title = f"One process, one core, {CONNECTIONS} connections; {told.size:,} bytes"
    print_table(title, ("what", "requests/s", "CPU, µs a request", "of the bare handler"), rows)


async def _round(served: Service, port: int, request: bytes, for_s: float) -> Round:
    """As many requests as go, one after the other on each connection."""
    connections = [await Connection.to(port) for _ in range(CONNECTIONS)]
    cpu, started = served.cpu_s(), perf_counter()
    asked = sum(await asyncio.gather(*(_repeat(c, request, started + for_s) for c in connections)))
    took, cpu = perf_counter() - started, served.cpu_s() - cpu
    for connection in connections:
        connection.close()
    return Round(asked / took, 1e6 * cpu / asked)


async def _repeat(connection: Connection, request: bytes, until: float) -> int:
    asked = 0
    while perf_counter() < until:
        await connection.ask(request)
        asked += 1
    return asked


async def _latency(served: Service, for_s: float) -> None:
    """Of both in turns: what the machine does meanwhile, both feel."""
    asked = {
        "bare handler": (served.bare, get(SHARES, served.bare)),
        f"{SHARES}, gzip": (
            served.endpoint,
            get(SHARES, served.endpoint, Accept_Encoding=BROWSER),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(TURNS):
        for name, (port, request) in asked.items():
            times[name] += await latencies(port, request, RATE, for_s / TURNS)
    title = f"{RATE} requests a second for {for_s:g} s, ms"
    head = ("what", "median", "p99", "longest")
    print_table(title, head, [(name, *spread(each)) for name, each in times.items()])


if __name__ == "__main__":
    main()
