"""The cost of polling thousands of sources, each once a minute, in one process.

The pools' servers run in another process, behind the setting ``upstream``; the process of the
collector has one core. The measurement covers the collector's code as it runs in the service, up to
the delivery of its messages to Kafka. It does not include TLS.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from yarl import URL

from benchmarks.fixtures import print_table
from collector.http.fetcher import Fetcher
from collector.metrics import Metrics
from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller, start_spread_s
from collector.pools import antpool, foundry, mempool, ocean
from miningmap import logs
from miningmap.settings import Collector, Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from collector.outbox import Outgoing
    from collector.sources.base import PoolSource

SOURCES: Final = 5_000
POLL_S: Final = 60
WARM_S: Final = 60  # until every source has been polled once
MEASURED_S: Final = 60
ANSWER_S: Final = 0.2  # the response time of the servers
TICK_S: Final = 0.05
KINDS: Final = (antpool.SOURCE, foundry.SOURCE, mempool.SOURCE, ocean.SOURCE)
RECORDINGS: Final = Path(__file__).parents[1] / "tests" / "recordings"

HEAD: Final = (
    "sources",
    "of those hang",
    "polls in a minute",
    "CPU, s in a minute",
    "memory, MiB",
    "late, ms: median",
    "99 %",
    "most",
    "a scrape of `/metrics`, CPU ms",
)


class Figures(NamedTuple):
    """The result of one run, in the order of the table."""

    polls: int
    cpu_s: float
    memory_mib: float
    late_s: Sequence[float]
    scrape_s: float


def source(number: int) -> PoolSource:
    """One of the real adapters, at a separate host."""
    kind = KINDS[number % len(KINDS)]
    requests = [
        replace(request, url=str(URL(request.url).with_host(f"pool{number}.example")))
        for request in kind.requests
    ]
    return replace(kind, slug=f"{kind.slug}{number}", requests=tuple(requests), poll_s=POLL_S)


def serve(hang: int, port: Connection) -> None:
    """Serve the recordings of all hosts; the first ``hang`` hosts never respond."""
    asyncio.run(_serve(hang, port))


async def _serve(hang: int, port: Connection) -> None:
    bodies = {
        URL(kind.requests[0].url).path: (RECORDINGS / kind.path / "ok").read_bytes()
        for kind in KINDS
    }

    async def handle(request: web.Request) -> web.Response:
        host, _, path = request.path[1:].partition("/")
        hangs = int(host.removeprefix("pool").removesuffix(".example")) < hang
        await asyncio.sleep(3600 if hangs else ANSWER_S)
        response = web.Response(body=bodies[f"/{path}"])
        response.force_close()  # real hosts differ, so no poll reuses a connection
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    port.send(runner.addresses[0][1])
    await asyncio.Event().wait()


@contextmanager
def servers(hang: int) -> Iterator[str]:
    """Run the servers in a separate process, and yield their URL."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(hang, there))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def measure(sources: int, upstream: str) -> Figures:
    logs.configure(Log(level="error"), "collector")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return asyncio.run(_measure(sources, upstream))


async def _measure(sources: int, upstream: str) -> Figures:
    settings = Collector(upstream=upstream)
    metrics = Metrics(CollectorRegistry())
    plausibility = Plausibility()
    polls = 0

    def put(_messages: Sequence[Outgoing]) -> None:
        nonlocal polls
        polls += 1

    async with Fetcher(settings, metrics) as fetcher:
        pollers = [
            Poller(
                source(number),
                fetcher=fetcher,
                put=put,
                plausibility=plausibility,
                metrics=metrics,
                settings=settings,
            )
            for number in range(sources)
        ]
        spread_s = start_spread_s(sources)
        tasks = [asyncio.create_task(poller.run(spread_s)) for poller in pollers]
        await asyncio.sleep(WARM_S)
        polls, cpu_s = 0, time.process_time()
        late_s = await _lateness(MEASURED_S)
        figures = Figures(
            polls=polls,
            cpu_s=(time.process_time() - cpu_s) * 60 / MEASURED_S,
            memory_mib=_memory_mib(),
            late_s=late_s,
            scrape_s=_scrape_s(metrics),
        )
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return figures


async def _lateness(seconds: float) -> list[float]:
    """Return the delays of timers, in seconds, which are the delays of polls."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    late_s = []
    while (due := loop.time() + TICK_S) < end:
        await asyncio.sleep(TICK_S)
        late_s.append(loop.time() - due)
    return late_s


def _scrape_s(metrics: Metrics) -> float:
    started = time.process_time()
    generate_latest(metrics.registry)
    return time.process_time() - started


def _memory_mib() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    rows = []
    for hang in (0, SOURCES // 10):
        fresh = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with servers(hang) as upstream, fresh:
            figures = fresh.submit(measure, SOURCES, upstream).result()
        late_ms = [late_s * 1000 for late_s in figures.late_s]
        rows.append(
            (
                f"{SOURCES:,}",
                f"{hang:,}",
                f"{figures.polls:,}",
                f"{figures.cpu_s:.1f}",
                f"{figures.memory_mib:.0f}",
                f"{statistics.median(late_ms):.0f}",
                f"{statistics.quantiles(late_ms, n=100)[-1]:,.0f}",
                f"{max(late_ms):,.0f}",
                f"{figures.scrape_s * 1000:,.0f}",
            )
        )
    print_table(f"Polling: each source every {POLL_S} s, on one core", HEAD, rows)


if __name__ == "__main__":
    main()
