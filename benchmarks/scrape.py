"""The cost of scrapes of the endpoint while snapshots come as usual."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import click

from benchmarks.fixtures import print_table
from benchmarks.http_load import LOOPBACK, Connection, get, service, snapshot_source, spread

if TYPE_CHECKING:
    from benchmarks.http_load import Service, SnapshotSource

POOLS: Final = 100
PLACES: Final = 250
METRICS: Final = "/metrics"
SNAPSHOT_S: Final = 5.0
EVERY_S: Final = 0.2
HEAD: Final = ("what", "median", "p99", "longest", "CPU of the service, % of a core")


class Scrapes(NamedTuple):
    """The seconds that each scrape took, and the part of a core that the service took meanwhile."""

    took_s: list[float]
    cpu: float


@click.command()
@click.option("--seconds", default=30.0, show_default=True, help="For each row of the table.")
@click.option("--small", is_flag=True, help="Few figures, to check that it runs.")
def main(seconds: float, *, small: bool) -> None:
    """Print the table of docs/performance.md."""
    asyncio.run(_main(seconds, small=small))


async def _main(seconds: float, *, small: bool) -> None:
    places = 9 if small else PLACES
    async with (
        snapshot_source(POOLS, places, small=small) as source,
        service(source.url) as served,
        aiohttp.ClientSession(f"http://{LOOPBACK}:{served.endpoint}") as http,
    ):
        async with http.get(METRICS) as answer:  # from now on the text is made for the next one
            text = await answer.text()
        rows = []
        for coding in ("identity", "gzip"):
            scrapes = await _scraped(source, served, coding, seconds)
            rows.append((coding, *spread(scrapes.took_s), f"{100 * scrapes.cpu:.1f}"))
    series = sum(not line.startswith("#") for line in text.splitlines())
    print_table(f"{series:,} series, {len(text):,} bytes; a scrape, ms", HEAD, rows)


async def _scraped(source: SnapshotSource, served: Service, coding: str, seconds: float) -> Scrapes:
    """Scrape several times a second, while there is a new snapshot every few seconds."""
    request = get(METRICS, served.endpoint, Accept_Encoding=coding)
    connection = await Connection.to(served.endpoint)
    started, cpu_s = perf_counter(), served.cpu_s()
    written, took_s = -SNAPSHOT_S, list[float]()
    while (at := perf_counter() - started) < seconds:
        if at - written >= SNAPSHOT_S:
            await source.write()
            written = at
        begun = perf_counter()
        await connection.send(request)
        took_s.append(perf_counter() - begun)
        await asyncio.sleep(EVERY_S)
    connection.close()
    return Scrapes(took_s, (served.cpu_s() - cpu_s) / (perf_counter() - started))


if __name__ == "__main__":
    main()
