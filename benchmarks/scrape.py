"""The cost of a scrape of the endpoint: after a new snapshot, and while nothing has changed."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import click

from benchmarks.fixtures import print_table
from benchmarks.http_load import LOOPBACK, SHARES, Connection, get, service, snapshot_source, spread

if TYPE_CHECKING:
    from benchmarks.http_load import Service, SnapshotSource

POOLS: Final = 100
PLACES: Final = 250
METRICS: Final = "/metrics"
CACHED_S: Final = 10.0
HEAD: Final = ("what", "median", "p99", "longest", "CPU, mean")


class Scrapes(NamedTuple):
    """The seconds that each scrape took, and the service's CPU time for all of them."""

    took_s: list[float]
    cpu_s: float


@click.command()
@click.option("--rounds", default=50, show_default=True, help="Snapshots, each scraped 12 times.")
@click.option("--small", is_flag=True, help="Few figures, to check that it runs.")
def main(rounds: int, *, small: bool) -> None:
    """Print the table of docs/performance.md."""
    asyncio.run(_main(rounds, small=small))


async def _main(rounds: int, *, small: bool) -> None:
    places = 9 if small else PLACES
    async with (
        snapshot_source(POOLS, places, small=small) as source,
        service(source.url) as served,
        aiohttp.ClientSession(f"http://{LOOPBACK}:{served.endpoint}") as http,
    ):
        rows = []
        for coding in ("identity", "gzip"):
            request = get(METRICS, served.endpoint, Accept_Encoding=coding)
            connection = await Connection.to(served.endpoint)
            first, next_ = Scrapes([], 0.0), Scrapes([], 0.0)
            for _ in range(rounds):
                await _take_snapshot(source, http)
                first = await _scrape(connection, request, served, 1, first)
                next_ = await _scrape(connection, request, served, 5, next_)
            connection.close()
            for name, scrapes in (("new snapshot", first), ("nothing changed", next_)):
                cpu_ms = 1000 * scrapes.cpu_s / len(scrapes.took_s)
                rows.append((f"{name}, {coding}", *spread(scrapes.took_s), f"{cpu_ms:.0f}"))
        async with http.get(METRICS) as answer:
            text = await answer.text()
    series = sum(not line.startswith("#") for line in text.splitlines())
    print_table(f"{series:,} series, {len(text):,} bytes; a scrape, ms", HEAD, rows)


async def _take_snapshot(source: SnapshotSource, http: aiohttp.ClientSession) -> None:
    """Write another snapshot, and return when the service has it."""
    before = await _etag(http)
    await source.write()
    async with asyncio.timeout(CACHED_S):
        while await _etag(http) == before:  # noqa: ASYNC110 - the service is another process
            await asyncio.sleep(0.005)


async def _etag(http: aiohttp.ClientSession) -> str:
    async with http.head(SHARES) as answer:
        return answer.headers["ETag"]


async def _scrape(
    connection: Connection, request: bytes, served: Service, times: int, before: Scrapes
) -> Scrapes:
    """Scrape a number of times, and add the times to those measured before."""
    cpu, took_s = served.cpu_s(), []
    for _ in range(times):
        started = perf_counter()
        await connection.send(request)
        took_s.append(perf_counter() - started)
    return Scrapes(before.took_s + took_s, before.cpu_s + served.cpu_s() - cpu)


if __name__ == "__main__":
    main()
