"""The cost of polling thousands of sources, each once a minute, in one process.

Beside the collector the same requests are sent by aiohttp alone: as often, with the same settings,
and the bodies are read and dropped. Both run in turn, in a process of their own on one core; the
pools' servers run in another process. The measurement covers the collector's code as it runs in the
service, up to the delivery of its messages to Kafka, and scrapes as often as Prometheus makes them.

With HTTPS each source has a host name, which is looked up in the system's way, and a connection of
its own. The servers close it after each poll, so that there is a handshake for each, or keep it, as
many real ones do for a minute. With HTTP the servers are behind the setting ``upstream``.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import resource
import socket
import ssl
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from unittest.mock import patch

import aiohttp
import click
from aiohttp import web
from aiohttp.abc import ResolveResult
from yarl import URL

from benchmarks.fixtures import print_table
from collector.http.fetcher import TIMEOUT, Fetcher
from collector.metrics import Metrics
from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller, start_spread_s
from collector.pools import antpool, foundry, mempool, ocean
from collector.service import long_lived
from launch.cli.common import collect_garbage_seldom
from launch.local.embedded import LOOPBACK, free_port
from miningmap import logs
from miningmap.http.server import monitoring_app, serving
from miningmap.metrics import new_registry
from miningmap.settings import Collector, Log
from tests.secure_servers import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
    from multiprocessing.connection import Connection

    from collector.outbox import Outgoing
    from collector.sources.base import PoolSource, Reading

MINUTE_S: Final = 60
ANSWER_S: Final = 0.2  # the response time of the servers
SCRAPE_S: Final = 15  # the interval of deploy/prometheus/prometheus.yml
SCRAPES: Final = 5  # how many of them their CPU time is the mean of
TICK_S: Final = 0.05
# By which servers are reached. They close a connection after each response, but not with KEPT.
HTTP: Final = "HTTP"
HTTPS: Final = "HTTPS"
KEPT: Final = "HTTPS, kept"
DOMAIN: Final = "pools.example"
KINDS: Final = (antpool.SOURCE, foundry.SOURCE, mempool.SOURCE, ocean.SOURCE)
RECORDINGS: Final = Path(__file__).parents[1] / "tests" / "recordings"

HEAD: Final = (
    "what",
    "by",
    "of the sources hang",
    "polls in a minute",
    "CPU, s in a minute",
    "CPU a poll, of aiohttp alone",
    "memory, MiB",
    "late, ms: median",
    "99 %",
    "most",
    "busy, ms: 99 %",
    "most",
    "a scrape: series",
    "kB, gzip",
    "CPU, ms",
)


class Scrape(NamedTuple):
    """What one scrape of ``/metrics`` costs."""

    series: int
    zipped: int
    cpu_s: float


class Tick(NamedTuple):
    """How late a timer was, and what CPU time the event loop took since the one before.

    On a machine that does nothing else hardly any timer is later than the loop was busy.
    """

    late_s: float
    busy_s: float


class Figures(NamedTuple):
    """The result of one run."""

    polls: float
    cpu_s: float
    memory_mib: float
    ticks: Sequence[Tick]
    scrape: Scrape | None


Runs: TypeAlias = "Sequence[Figures]"


class Load(NamedTuple):
    """How much is polled.

    Attributes:
        sources: how many there are.
        poll_s: how often each is polled, in seconds. A run warms up for as long: then every source
            has been polled once.
        for_s: how long a run is measured, in seconds.
    """

    sources: int
    poll_s: int
    for_s: float

    def a_minute(self, number: float) -> float:
        """Return how much of what a run counted there is in a minute."""
        return number * MINUTE_S / self.for_s


class Servers(NamedTuple):
    """How to reach the servers of all pools: at one port of this machine.

    Attributes:
        port: the port.
        authority: what signed their certificate, as a file; ``None`` without TLS.
    """

    port: int
    authority: str | None

    @property
    def upstream(self) -> str | None:
        """The setting of the collector."""
        return None if self.authority else f"http://{LOOPBACK}:{self.port}"

    @property
    def settings(self) -> Collector:
        """Settings of a collector that polls them."""
        return Collector(upstream=self.upstream, allow_private=True)

    def source(self, number: int, poll_s: int) -> PoolSource:
        """One of the real adapters, at a separate host and with a pool of its own if it has one."""
        kind = KINDS[number % len(KINDS)]
        requests = [replace(each, url=self._at(number, each.url)) for each in kind.requests]
        made = replace(kind, slug=f"{kind.slug}{number}", requests=tuple(requests), poll_s=poll_s)
        if kind.pool is None:
            return made
        return replace(made, pool=f"{kind.pool}{number}", parse=partial(_parse, kind, number))

    def _at(self, number: int, url: str) -> str:
        moved = URL(url).with_host(f"{number}.{DOMAIN}")
        return str(moved.with_port(self.port) if self.authority else moved)

    def address(self, number: int) -> str:
        """Return where the first request of a source is sent to."""
        url = URL(self.source(number, MINUTE_S).requests[0].url)
        return f"{self.upstream}/{url.host}{url.raw_path_qs}" if self.upstream else str(url)


class Resolver(aiohttp.ThreadedResolver):
    """Looks up this machine whatever the name is; that takes as long as for any name in a file."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the address of this machine as the one of the host."""
        found = await super().resolve("localhost", port, family)
        return [ResolveResult({**address, "hostname": host}) for address in found]


def _parse(kind: PoolSource, number: int, bodies: Sequence[bytes]) -> Sequence[Reading]:
    return [replace(read, pool=f"{read.pool}{number}") for read in kind.parse(bodies)]


def serve(hang: int, port: Connection, certificate: str | None, *, keep: bool) -> None:
    """Serve the recordings of all hosts; the first ``hang`` hosts never respond.

    Args:
        hang: how many do not.
        port: where to send the port.
        certificate: a file with it and its key; ``None`` without TLS.
        keep: whether connections are kept after a response.
    """
    asyncio.run(_serve(hang, port, certificate, keep=keep))


async def _serve(hang: int, port: Connection, certificate: str | None, *, keep: bool) -> None:
    bodies = {
        URL(kind.requests[0].url).path: (RECORDINGS / kind.path / "ok").read_bytes()
        for kind in KINDS
    }

    async def handle(request: web.Request) -> web.Response:
        # As the first part of the path it is the host of a request that was sent to the upstream.
        number = int(f"{request.host}{request.path}".partition(f".{DOMAIN}")[0].rpartition("/")[2])
        await asyncio.sleep(3600 if number < hang else ANSWER_S)
        response = web.Response(body=bodies[request.path.partition(DOMAIN)[2] or request.path])
        if not keep:
            response.force_close()
        return response

    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0, backlog=1024, ssl_context=context).start()
    port.send(runner.addresses[0][1])
    await asyncio.Event().wait()


@contextmanager
def servers(hang: int, *, tls: bool, keep: bool) -> Iterator[Servers]:
    """Run the servers in a separate process, and yield how to reach them."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "authority") if tls else None
        signed = authority.signed("pools", at=f"*.{DOMAIN}") if authority else None
        certificate = str(signed.both) if signed else None
        process = context.Process(
            target=serve, args=(hang, there, certificate), kwargs={"keep": keep}
        )
        process.start()
        there.close()  # so that a process that ends at once is an error here
        try:
            yield Servers(here.recv(), str(authority.file) if authority else None)
        finally:
            process.terminate()
            process.join()


def alone(load: Load, at: Servers) -> Figures:
    """Measure aiohttp alone."""
    return _on_one_core(_alone(load, at), at)


def collector(load: Load, at: Servers) -> Figures:
    """Measure the collector."""
    return _on_one_core(_collector(load, at), at)


def _on_one_core(run: Coroutine[None, None, Figures], at: Servers) -> Figures:
    if at.authority:  # then the collector and aiohttp alone look names up in the same way
        aiohttp.DefaultResolver = Resolver
    logs.configure(Log(level="error"), "collector")
    collect_garbage_seldom()  # as the service does
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return asyncio.run(run)


async def _alone(load: Load, at: Servers) -> Figures:
    polls = count()
    spread_s = start_spread_s(load.sources)

    async def poll(session: aiohttp.ClientSession, url: str) -> None:
        await asyncio.sleep(random.uniform(0, spread_s))  # noqa: S311 - as in the collector
        while True:
            started = time.monotonic()
            async with session.get(url, allow_redirects=False) as response:
                await response.read()
            next(polls)
            await asyncio.sleep(load.poll_s - (time.monotonic() - started))

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=aiohttp.DefaultResolver(), limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=TIMEOUT,
    ) as session:
        urls = map(at.address, range(load.sources))
        tasks = [asyncio.create_task(poll(session, url)) for url in urls]
        return await _measure(tasks, load, lambda: next(polls), None)


async def _collector(load: Load, at: Servers) -> Figures:
    settings = at.settings
    metrics = Metrics(new_registry())
    plausibility = Plausibility()
    polls = count()

    def put(_messages: Sequence[Outgoing]) -> None:
        next(polls)

    async with Fetcher(settings, metrics) as fetcher, _scraped(metrics) as scrape:
        pollers = [
            Poller(
                at.source(number, load.poll_s),
                fetcher=fetcher,
                put=put,
                plausibility=plausibility,
                metrics=metrics,
                settings=settings,
            )
            for number in range(load.sources)
        ]
        spread_s = start_spread_s(load.sources)
        tasks = [asyncio.create_task(poller.run(spread_s)) for poller in pollers]
        with long_lived():
            return await _measure(tasks, load, lambda: next(polls), scrape)


@asynccontextmanager
async def _scraped(
    metrics: Metrics,
) -> AsyncIterator[Callable[[], Coroutine[None, None, bytes]]]:
    """Serve the metrics, and yield what scrapes them as Prometheus does."""
    port = free_port()
    app = monitoring_app(metrics.registry, metrics.http, list, series=metrics.series)
    async with (
        serving(app, LOOPBACK, port, "COLLECTOR__METRICS_PORT"),
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):

        async def scrape(coding: str = "gzip") -> bytes:
            headers = {"Accept-Encoding": coding}
            async with session.get(
                f"http://{LOOPBACK}:{port}/metrics", headers=headers
            ) as response:
                return await response.read()

        yield scrape


async def _measure(
    tasks: Sequence[asyncio.Task[None]],
    load: Load,
    polled: Callable[[], int],
    scrape: Callable[..., Coroutine[None, None, bytes]] | None,
) -> Figures:
    await asyncio.sleep(load.poll_s)
    if scrape:
        scraping = asyncio.create_task(_every(SCRAPE_S, scrape))
    polls, cpu_s = polled(), time.process_time()
    ticks = await _ticks(load.for_s)
    cpu_s = time.process_time() - cpu_s
    polls = polled() - polls - 1
    memory_mib = _memory_mib()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    cost = None
    if scrape:
        scraping.cancel()
        cost = await _cost(scrape)
    return Figures(load.a_minute(polls), load.a_minute(cpu_s), memory_mib, ticks, cost)


async def _every(seconds: float, scrape: Callable[[], Coroutine[None, None, bytes]]) -> None:
    while True:
        await scrape()
        await asyncio.sleep(seconds)


async def _cost(scrape: Callable[..., Coroutine[None, None, bytes]]) -> Scrape:
    text = await scrape("identity")
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    started = time.process_time()
    for _ in range(SCRAPES):
        zipped = await scrape()
    return Scrape(series, len(zipped), (time.process_time() - started) / SCRAPES)


async def _ticks(seconds: float) -> list[Tick]:
    """Return what timers say that go off one after the other; polls are as late as they are."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    ticks = []
    busy_s = time.thread_time()
    while (due := loop.time() + TICK_S) < end:
        await asyncio.sleep(TICK_S)
        before_s, busy_s = busy_s, time.thread_time()
        ticks.append(Tick(loop.time() - due, busy_s - before_s))
    return ticks


def _memory_mib() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _run(
    measure: Callable[[Load, Servers], Figures],
    load: Load,
    hang: int,
    *,
    by: str,
) -> Figures:
    with servers(hang, tls=by != HTTP, keep=by == KEPT) as at:
        # What a new process trusts.
        trusted = {"SSL_CERT_FILE": at.authority} if at.authority else {}
        context = multiprocessing.get_context("spawn")
        with patch.dict(os.environ, trusted), ProcessPoolExecutor(1, context) as fresh:
            return fresh.submit(measure, load, at).result()


def _row(what: str, by: str, hang: int, runs: Runs, alone_s: float) -> tuple[str, ...]:
    """Return the medians of several runs as a row of the table."""
    late_ms = [tick.late_s * 1000 for figures in runs for tick in figures.ticks]
    busy_ms = [tick.busy_s * 1000 for figures in runs for tick in figures.ticks]
    scrapes = [figures.scrape for figures in runs if figures.scrape]
    return (
        what,
        by,
        f"{hang:,}",
        f"{statistics.median(figures.polls for figures in runs):,.0f}",
        f"{statistics.median(figures.cpu_s for figures in runs):.1f}",
        f"{_poll_s(runs) / alone_s:.2f}",
        f"{statistics.median(figures.memory_mib for figures in runs):.0f}",
        f"{statistics.median(late_ms):.0f}",
        f"{statistics.quantiles(late_ms, n=100)[-1]:,.0f}",
        f"{max(late_ms):,.0f}",
        f"{statistics.quantiles(busy_ms, n=100)[-1]:,.0f}",
        f"{max(busy_ms):,.0f}",
        f"{scrapes[0].series:,}" if scrapes else "",
        f"{scrapes[0].zipped / 1000:,.0f}" if scrapes else "",
        f"{1000 * statistics.median(s.cpu_s for s in scrapes):,.0f}" if scrapes else "",
    )


def _poll_s(runs: Runs) -> float:
    """Return the CPU time of a poll, in seconds."""
    return statistics.median(figures.cpu_s / figures.polls for figures in runs)


@click.command()
@click.option("--sources", default=5_000, show_default=True)
@click.option("--poll-s", default=60, show_default=True, help="Seconds between two polls of one.")
@click.option("--for-s", default=60.0, show_default=True, help="How long a run is measured.")
@click.option("--rounds", default=1, show_default=True, help="Runs of each, in turn.")
def main(sources: int, poll_s: int, for_s: float, rounds: int) -> None:
    """Print the table of docs/performance.md."""
    load, hang = Load(sources, poll_s, for_s), sources // 10
    variants: dict[tuple[str, str, int], list[Figures]] = {
        ("aiohttp alone", HTTP, 0): [],
        ("collector", HTTP, 0): [],
        ("aiohttp alone", HTTPS, 0): [],
        ("collector", HTTPS, 0): [],
        ("collector", HTTPS, hang): [],
        ("aiohttp alone", KEPT, 0): [],
        ("collector", KEPT, 0): [],
    }
    for _ in range(rounds):
        for (what, by, hanging), runs in variants.items():
            measure = alone if what == "aiohttp alone" else collector
            runs.append(_run(measure, load, hanging, by=by))
    rows = [
        _row(what, by, hanging, runs, _poll_s(variants["aiohttp alone", by, 0]))
        for (what, by, hanging), runs in variants.items()
    ]
    title = f"Polling: {sources:,} sources, each every {poll_s} s, on one core"
    print_table(title, HEAD, rows)


if __name__ == "__main__":
    main()
