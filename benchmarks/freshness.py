"""Freshness: from the last byte of a pool's answer to its figure in the stream and in ``/shares``.

Kafka, Redis and the three services are real processes. The pools are one HTTP server in this
process. Each pool has a country to itself, and each answer is a hashrate that no other answer has,
so that a share tells which answer it is from. This process is also the two clients: one reads the
stream, and one asks for ``/api/v1/shares`` again and again.

With a backlog it measures twice: first without, and then while a worker works off that many reports
of other pools, which one partition has.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import click
import msgspec
from aiohttp import hdrs, web
from aiokafka.partitioner import DefaultPartitioner

from benchmarks.fixtures import MINUTE, begins, pools, print_table, report, whole
from benchmarks.http_load import spread
from benchmarks.pool_servers import collect, source, system
from benchmarks.processes import cpu_s
from collector.sources.base import Reading
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, record_of
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Located
from miningmap.places import OTHER, all_places
from miningmap.times import utc_now
from tests.servers import KafkaServer, RedisServer, kafka_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence

    from benchmarks.running import Service
    from collector.sources.base import PoolSource
    from miningmap.kafka.producer import Record

WINDOW: Final = "now"
ASKED_EVERY_S: Final = 0.02
BEHIND: Final = ", while a worker catches up"
LAST_S: Final = 15.0
"""How long the last figures may take to be seen, in seconds."""
BACKLOG_PLACES: Final = 20
BACKLOG_PARTITION: Final = 0
PARTITIONS: Final = 6
BACKLOG_POOLS: Final = 100
HEAD: Final = ("seen in", "figures", "after, ms: median", "99 %", "longest")

_COLLECTOR: Final = "--as-collector"
_LEAST: Final = 10**18
_STEP: Final = 10**12


class _Row(msgspec.Struct):
    code: str
    hashrate: float


class _Answer(msgspec.Struct):
    """As much of an answer as tells its figures."""

    shares: tuple[_Row, ...] = ()


_decode: Final = msgspec.json.Decoder(_Answer).decode


# --- the pools ------------------------------------------------------------------------------------


def _codes(number: int) -> list[str]:
    countries = [p.code for p in all_places() if p.parent is None and p.code != OTHER]
    return countries[:number]


def _sources(number: int, poll_s: int) -> list[PoolSource]:
    slugs = (slug for n in itertools.count() if not _is_behind(slug := f"pool{n:03}"))
    return [_source(slug, code, poll_s) for slug, code in zip(slugs, _codes(number), strict=False)]


def _is_behind(slug: str) -> bool:
    """Return whether the reports of a pool are in the partition that has the backlog."""
    partitions = list(range(PARTITIONS))
    return bool(DefaultPartitioner()(slug.encode(), partitions, partitions) == BACKLOG_PARTITION)


def _source(slug: str, code: str, poll_s: int) -> PoolSource:

    def parse(bodies: Sequence[bytes]) -> list[Reading]:
        hashrate = float(bodies[0])
        return [Reading(slug, hashrate, (Located(code, hashrate, "measured"),))]

    return source(slug, poll_s, parse)


class _Pools:
    """The servers of all pools, and when each figure was sent."""

    def __init__(self) -> None:
        self.sent_at: dict[float, float] = {}
        self._figures = itertools.count(_LEAST, _STEP)
        self._polled = asyncio.Condition()

    async def until_polled(self, times: int) -> None:
        """Wait until so many answers have been sent."""
        async with self._polled:
            await self._polled.wait_for(lambda: len(self.sent_at) >= times)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        figure = next(self._figures)
        response = web.Response(text=str(figure), content_type="application/json")
        await response.prepare(request)
        await response.write_eof()
        self.sent_at[float(figure)] = time.monotonic()
        async with self._polled:
            self._polled.notify_all()
        return response


class _Seen:
    """When each figure was seen first."""

    def __init__(self) -> None:
        self.at: dict[float, float] = {}

    def add(self, body: bytes) -> None:
        now = time.monotonic()
        for row in _decode(body).shares:
            self.at.setdefault(row.hashrate, now)


# --- the clients ----------------------------------------------------------------------------------


async def _listen(session: aiohttp.ClientSession, base: str, seen: _Seen) -> None:
    async with session.get(f"{base}/api/v1/stream", params={"window": WINDOW}) as response:
        response.raise_for_status()
        event = b""
        async for line in response.content:
            name, _, value = line.rstrip().partition(b": ")
            if name == b"event":
                event = value
            elif name == b"data" and event == b"shares":
                seen.add(value)
    raise RuntimeError("the stream has ended")


async def _ask(session: aiohttp.ClientSession, base: str, seen: _Seen) -> None:
    tag = ""
    while True:
        headers = {hdrs.IF_NONE_MATCH: tag} if tag else {}
        url = f"{base}/api/v1/shares"
        async with session.get(url, params={"window": WINDOW}, headers=headers) as response:
            response.raise_for_status()
            if response.status == web.HTTPOk.status_code:
                seen.add(await response.read())
                tag = response.headers[hdrs.ETAG]
        await asyncio.sleep(ASKED_EVERY_S)


# --- the backlog ----------------------------------------------------------------------------------


def _backlog(messages: int) -> Iterator[list[Record]]:
    """Yield the reports of other pools for some hours, in the order of time.

    They are in one partition, which has none of the measured pools: a report waits for those that
    are before it in its own. They end before the window, where the figures of the measured pools
    could not be told from theirs.
    """
    some = pools(BACKLOG_POOLS, BACKLOG_PLACES)
    end = whole(utc_now() - timedelta(hours=1), MINUTE)
    starts = begins(end - timedelta(minutes=max(1, messages // BACKLOG_POOLS)), end, MINUTE)
    for start in starts:
        reports = [report(pool._replace(slug=f"old{pool.slug}"), start, MINUTE) for pool in some]
        yield [replace(record_of(each), partition=BACKLOG_PARTITION) for each in reports]


# --- the measurement ------------------------------------------------------------------------------


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--pools", "number", default=50, show_default=True)
@click.option("--poll-s", default=10, show_default=True, help="Seconds between two polls.")
@click.option("--for-s", default=60.0, show_default=True)
@click.option(
    "--backlog",
    default=0,
    show_default=True,
    help="Reports of others, in one partition, while which are worked off it is measured again.",
)
@click.option("--set", "more", multiple=True, help="NAME=VALUE: a setting of all services.")
@click.option(_COLLECTOR, "is_collector", is_flag=True, hidden=True)
def main(
    *,
    number: int,
    poll_s: int,
    for_s: float,
    backlog: int,
    more: Sequence[str],
    is_collector: bool,
) -> None:
    """Print the tables of docs/performance.md."""
    if is_collector:
        collect(_sources(number, poll_s))
    settings = dict(each.split("=", 1) for each in more)
    asyncio.run(_main(_Run(number, poll_s, for_s, backlog, settings)))


class _Run(NamedTuple):
    """The options of the command."""

    pools: int
    poll_s: int
    for_s: float
    backlog: int
    settings: Mapping[str, str]


async def _main(run: _Run) -> None:
    kafka, redis = KafkaServer.launch(), RedisServer.launch()
    try:
        await _measure(kafka, redis, run)
    finally:
        redis.close()
        kafka.close()


async def _measure(kafka: KafkaServer, redis: RedisServer, run: _Run) -> None:
    await ensure_topics(kafka_at(kafka.bootstrap_servers), 1)
    sources = _Pools()
    options = [_COLLECTOR, f"--pools={run.pools}", f"--poll-s={run.poll_s}"]
    collecting = [sys.executable, "-m", "benchmarks.freshness", *options]
    more = {"MININGMAP_METHOD__SHIPPED_BELIEFS": "false", **run.settings}
    streamed, asked = _Seen(), _Seen()
    async with (
        system(kafka, redis, collecting, sources.answer, more) as (base, running),
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as tasks,
    ):
        clients = [
            tasks.create_task(_listen(session, base, streamed)),
            tasks.create_task(_ask(session, base, asked)),
        ]
        await sources.until_polled(run.pools)
        seen = {"the stream": streamed, "`/api/v1/shares`": asked}
        watched = _Watched(running, redis, sources, seen)
        rows, cpu = await watched.during("", asyncio.sleep(run.for_s))
        if run.backlog:
            more_rows, more_cpu = await watched.during(BEHIND, _worked_off(kafka, run.backlog))
            rows, cpu = [*rows, *more_rows], [*cpu, *more_cpu]
        for client in clients:
            client.cancel()
    print_table("From a pool's answer until its figure is visible", HEAD, rows)
    names = ["", *(each.name for each in running), "redis"]
    print_table("Share of a core meanwhile", names, cpu)


class _Watched(NamedTuple):
    """What is measured: the services, the pools, and the clients by their names."""

    running: Sequence[Service]
    redis: RedisServer
    sources: _Pools
    seen: Mapping[str, _Seen]

    async def during(
        self, when: str, time_passes: Awaitable[object]
    ) -> tuple[list[tuple[str, ...]], list[list[str]]]:
        """Return the rows of both tables for the figures that are sent in some time."""
        started, before = time.monotonic(), self._cpu_s()
        await time_passes
        ended, after = time.monotonic(), self._cpu_s()
        sent = {f: at for f, at in self.sources.sent_at.items() if started <= at < ended}
        await _all_seen(sent, self.seen.values())
        took = ended - started
        shares = [f"{100 * (b - a) / took:.1f} %" for a, b in zip(before, after, strict=True)]
        rows = [_row(f"{name}{when}", sent, each) for name, each in self.seen.items()]
        return rows, [[when.removeprefix(", "), *shares]]

    def _cpu_s(self) -> list[float]:
        return [*(each.cpu_s() for each in self.running), cpu_s(self.redis.pid or 0)]


async def _worked_off(kafka: KafkaServer, backlog: int) -> None:
    """Send a backlog, and wait until the group has committed it."""
    await asyncio.to_thread(_send_elsewhere, kafka, backlog)
    at = kafka_at(kafka.bootstrap_servers)
    async with lag_of(at, at.group, [REPORTS]) as read_lag:
        while (await read_lag())[REPORTS, BACKLOG_PARTITION].lag:  # noqa: ASYNC110 - another process commits
            await asyncio.sleep(ASKED_EVERY_S)


def _send_elsewhere(kafka: KafkaServer, backlog: int) -> None:
    """Send a backlog from a process of its own: this one has clocks to look at."""
    process = multiprocessing.get_context("spawn").Process(
        target=_send, args=(kafka.bootstrap_servers, backlog)
    )
    process.start()
    process.join()


def _send(servers: str, backlog: int) -> None:
    asyncio.run(_publish(servers, backlog))


async def _publish(servers: str, backlog: int) -> None:
    async with Publisher(kafka_at(servers), frozenset({REPORTS})) as publisher:
        await publisher.connected()
        for records in _backlog(backlog):
            await publisher.deliver(records)


async def _all_seen(sent: Mapping[float, float], clients: Iterable[_Seen]) -> None:
    deadline = time.monotonic() + LAST_S
    while time.monotonic() < deadline:
        if all(sent.keys() <= each.at.keys() for each in clients):
            return
        await asyncio.sleep(0.1)


def _row(name: str, sent: Mapping[float, float], seen: _Seen) -> tuple[str, ...]:
    after = [seen.at[figure] - at for figure, at in sent.items() if figure in seen.at]
    return (name, f"{len(after):,} of {len(sent):,}", *spread(after))


if __name__ == "__main__":
    main()
