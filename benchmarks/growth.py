"""What each process costs at 1, 10 and 100 times the normal load: CPU, memory, and Redis' memory.

``python -m benchmarks.growth [--svg FILE]``

Kafka, Redis and the three services are real processes, on an empty Kafka and Redis at each step.
The normal load are 50 pools, each polled once a minute, which list 20 places; each answer has other
figures. One client reads the stream. What is measured begins when all pools have been polled.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections import defaultdict
from functools import partial
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import click
import msgspec
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from benchmarks.fixtures import MINUTE, network, pools, print_table
from benchmarks.plot import Panel, log_log
from benchmarks.pool_servers import collect, source, system
from benchmarks.processes import cpu_s, memory_mib
from benchmarks.running import machine
from collector.sources.base import Reading
from miningmap.kafka.producer import Publisher, record_of
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Located
from miningmap.times import utc_now
from streams.redis import keys
from tests.servers import KafkaServer, RedisServer, kafka_at, recreate_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.running import Service
    from collector.sources.base import PoolSource

NORMAL: Final = 50
"""The pools of the normal load."""
PLACES: Final = 20
POLL_S: Final = 60
STEPS: Final = (1, 10, 100)
SETTLED_S: Final = 10.0
"""How long the system goes on after the first poll of all pools, before it is measured."""
POLLED_WITHIN_S: Final = 180.0
PROCESSES: Final = ("collector", "streams", "endpoint", "Redis", "Kafka")
WINDOW: Final = "now"

_COLLECTOR: Final = "--as-collector"
_LEAST: Final = 0.01  # the axes are logarithmic
_ALL_POOLS: Final = 1e20  # H/s, a tenth of the network
_decode: Final = msgspec.json.Decoder(dict[str, float]).decode
_random: Final = random.Random(3)  # noqa: S311 - not a secret: the same figures in every run


class Step(NamedTuple):
    """What was measured at one load.

    Attributes:
        polls: that were answered in a minute.
        cpu: of each process, parts of a core.
        memory: of each process, MiB.
        redis_keys: how many there are at the end.
        redis_mib: what Redis says that it uses.
        events_mib: the part of that which is the log of events.
        snapshots: that were taken in a minute.
        snapshot_s: how long one took.
        swings_s: how long the evaluation of a minute's swings took.
        lag: messages that ``streams`` had not processed at the end.
    """

    polls: float
    cpu: Mapping[str, float]
    memory: Mapping[str, float]
    redis_keys: int
    redis_mib: float
    events_mib: float
    snapshots: float
    snapshot_s: float
    swings_s: float
    lag: float


# --- the pools ------------------------------------------------------------------------------------


def _sources(number: int) -> list[PoolSource]:
    slugs = [pool.slug for pool in pools(number, PLACES)]
    return [source(slug, POLL_S, partial(_parse, slug)) for slug in slugs]


def _parse(slug: str, bodies: Sequence[bytes]) -> list[Reading]:
    places = [Located(code, value, "measured") for code, value in _decode(bodies[0]).items()]
    return [Reading(slug, sum(each.hashrate for each in places), tuple(places))]


class _Pools:
    """The servers of all pools."""

    def __init__(self, number: int) -> None:
        self._codes = {pool.slug: pool.codes for pool in pools(number, PLACES)}
        self._most = _ALL_POOLS / number / PLACES
        self._not_polled = set(self._codes)
        self.all_polled = asyncio.Event()
        self.polls = 0

    async def answer(self, request: web.Request) -> web.Response:
        slug = request.path[1:].partition(".")[0]  # the host, as requests to an upstream have it
        self.polls += 1
        self._not_polled.discard(slug)
        if not self._not_polled:
            self.all_polled.set()
        figures = {code: _random.random() * self._most for code in self._codes[slug]}
        return web.Response(body=msgspec.json.encode(figures), content_type="application/json")


# --- the measurement ------------------------------------------------------------------------------


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--for-s", default=60.0, show_default=True, help="How long each step is measured.")
@click.option("--step", "steps", multiple=True, type=int, default=STEPS, show_default=True)
@click.option("--svg", type=click.Path(path_type=Path), help="Also write the plot to this file.")
@click.option(_COLLECTOR, "collected", default=0, hidden=True)
def main(*, for_s: float, steps: Sequence[int], svg: Path | None, collected: int) -> None:
    """Print the tables of docs/performance.md."""
    if collected:
        # As if the sources had not all been started at once.
        collect(_sources(collected), over_s=POLL_S)
    measured = asyncio.run(_main(steps, for_s))
    _print(measured)
    if svg is not None and len(measured) > 1:
        svg.write_text(_plot(measured), encoding="utf-8")


async def _main(steps: Sequence[int], for_s: float) -> dict[int, Step]:
    kafka, redis = KafkaServer.launch(), RedisServer.launch()
    measured = {}
    try:
        for step in steps:
            await recreate_topics(kafka.bootstrap_servers)
            redis.flush()
            measured[step] = await _measured(kafka, redis, step * NORMAL, for_s)
            print(f"  {step}: {measured[step]}", file=sys.stderr, flush=True)
    finally:
        redis.close()
        kafka.close()
    return measured


async def _measured(kafka: KafkaServer, redis: RedisServer, number: int, for_s: float) -> Step:
    async with Publisher(kafka_at(kafka.bootstrap_servers), frozenset({NETWORK})) as publisher:
        await publisher.publish([record_of(network(utc_now() - MINUTE, MINUTE))])
    served = _Pools(number)
    collecting = [sys.executable, "-m", "benchmarks.growth", f"{_COLLECTOR}={number}"]
    more = {"MININGMAP_KAFKA__GROUP": f"growth-{uuid.uuid4().hex}"}
    async with (
        system(kafka, redis, collecting, served.answer, more) as (base, running),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session,
        Redis.from_url(redis.url) as client,
    ):
        listening = asyncio.create_task(_listen(session, base))
        async with asyncio.timeout(POLLED_WITHIN_S):
            await served.all_polled.wait()
        await asyncio.sleep(SETTLED_S)
        pids = {each.name: each.process.pid for each in running}
        pids |= {"Redis": redis.pid or 0, "Kafka": kafka.pid or 0}
        before, used, polls = await _figures(session, running), _cpu(pids), served.polls
        started = time.monotonic()
        await asyncio.sleep(for_s)
        took, polls = time.monotonic() - started, served.polls - polls
        cpu = {name: (s - used[name]) / took for name, s in _cpu(pids).items()}
        figures = (await _figures(session, running)).since(before)
        listening.cancel()
        info = await client.info("memory")
        return Step(
            polls=polls * 60 / took,
            cpu={name: cpu[name] for name in PROCESSES},
            memory={name: memory_mib(pids[name]) for name in PROCESSES},
            redis_keys=await client.dbsize(),
            redis_mib=info["used_memory"] / 2**20,
            events_mib=(await client.memory_usage(keys.EVENTS, samples=0) or 0) / 2**20,
            snapshots=figures.snapshots * 60 / took,
            snapshot_s=figures.snapshots_s / max(1, figures.snapshots),
            swings_s=figures.swings_s / max(1, figures.swings),
            lag=figures.lag,
        )


async def _listen(session: aiohttp.ClientSession, base: str) -> None:
    """Be a client of the stream."""
    async with session.get(f"{base}/api/v1/stream", params={"window": WINDOW}) as response:
        response.raise_for_status()
        async for _ in response.content.iter_any():
            pass


def _cpu(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu_s(pid) for name, pid in pids.items()}


class _Figures(NamedTuple):
    """What ``streams`` counts, and its lag."""

    snapshots: float
    snapshots_s: float
    swings: float
    swings_s: float
    lag: float

    def since(self, before: _Figures) -> _Figures:
        """Return what was counted since then, with the lag of now."""
        return _Figures(
            self.snapshots - before.snapshots,
            self.snapshots_s - before.snapshots_s,
            self.swings - before.swings,
            self.swings_s - before.swings_s,
            self.lag,
        )


async def _figures(session: aiohttp.ClientSession, running: Sequence[Service]) -> _Figures:
    (streams,) = (each for each in running if each.name == "streams")
    async with session.get(f"{streams.monitoring}/metrics") as response:
        text = await response.text()
    sums: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("topic", REPORTS) == REPORTS:
                sums[sample.name] += sample.value
    snapshot = "miningmap_snapshot_duration_seconds"
    swing = "miningmap_swing_evaluation_duration_seconds"
    return _Figures(
        sums[f"{snapshot}_count"],
        sums[f"{snapshot}_sum"],
        sums[f"{swing}_count"],
        sums[f"{swing}_sum"],
        sums["miningmap_consumer_lag"],
    )


# --- the tables and the plot ----------------------------------------------------------------------


def _print(measured: Mapping[int, Step]) -> None:
    first, last = min(measured), max(measured)
    loads = [f"{step * NORMAL:,} pools" for step in measured]
    for title, of in (
        ("CPU, % of a core", lambda step: {k: 100 * v for k, v in step.cpu.items()}),
        ("Memory, MiB", _memory),
    ):
        rows = []
        for name in of(measured[first]):
            values = [of(step)[name] for step in measured.values()]
            rows.append((name, *map(_short, values), _exponent(values[0], values[-1], first, last)))
        print_table(title, ("process", *loads, "exponent"), rows)
    head = (
        *("pools", "polls a minute", "snapshots a minute", "a snapshot, ms"),
        *("swings of a minute, ms", "lag, messages", "keys in Redis"),
    )
    rows = [
        (
            f"{step * NORMAL:,}",
            f"{each.polls:,.0f}",
            f"{each.snapshots:,.0f}",
            f"{1000 * each.snapshot_s:,.0f}",
            f"{1000 * each.swings_s:,.0f}",
            f"{each.lag:,.0f}",
            f"{each.redis_keys:,}",
        )
        for step, each in measured.items()
    ]
    print_table("What the services did meanwhile", head, rows)
    print(f"\n{machine()}")


def _memory(step: Step) -> dict[str, float]:
    return {
        **step.memory,
        "in Redis, all": step.redis_mib,
        "in Redis, the log of events": step.events_mib,
    }


def _short(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _exponent(first: float, last: float, low: int, high: int) -> str:
    """Return by which power of the load a figure grows: 1 is in proportion, 0 not at all."""
    if low == high or not first or not last:
        return ""
    return f"{log10(last / first) / log10(high / low):.2f}"


def _plot(measured: Mapping[int, Step]) -> str:
    return log_log(
        "CPU and memory of each process at 1, 10 and 100 times the normal load",
        "; ".join(_described(step, each) for step, each in measured.items()),
        [
            Panel("CPU, % of a core", "reports a minute", _lines(measured, lambda s: s.cpu, 100)),
            Panel("resident memory, MiB", "reports a minute", _lines(measured, lambda s: s.memory)),
        ],
    )


def _lines(
    measured: Mapping[int, Step], of: Callable[[Step], Mapping[str, float]], scale: float = 1
) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [
            (step * NORMAL, max(_LEAST, scale * of(each)[name])) for step, each in measured.items()
        ]
        for name in PROCESSES
    }


def _described(step: int, measured: Step) -> str:
    each = (
        f"{name} {_short(100 * measured.cpu[name])} % and {_short(measured.memory[name])} MiB"
        for name in PROCESSES
    )
    return f"{step * NORMAL:,} reports a minute: {', '.join(each)}"


if __name__ == "__main__":
    main()
