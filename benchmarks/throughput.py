"""How many reports a second go from Kafka to Redis, beside what else one would use.

``python -m benchmarks.throughput [--reports N] [--rounds N] [--places N] [WORKER ...]``

All workers read the same messages and call the same modules (decode, claims, write), and commit
after Redis has acknowledged. They run in turn, each on an empty Redis with a group of its own. The
first cells that appear start the clock, and the last ones stop it, so start-up is not included.
Cells that differ are no comparison: then it ends with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, cast

import msgspec
from redis.asyncio import Redis

from benchmarks.fixtures import MINUTE, NOW, begins, pools, print_table, report, whole
from benchmarks.processes import cpu_s
from benchmarks.running import machine
from launch.local.supervisor import bound_to_this_process
from miningmap import settings as config
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, record_of
from miningmap.kafka.topics import REPORTS
from streams.method.cells import Series
from streams.redis import keys
from streams.redis.encoding import RANK
from streams.redis.keys import Generation
from tests.servers import CACHE, ROOT, KafkaServer, RedisServer, recreate_topics

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence

REPORTS_SENT: Final = 60_000
ROUNDS: Final = 3
POOLS: Final = 100
PLACES: Final = 20
LIMIT_S: Final = 180.0
"""How long a worker may take, in seconds."""
POLL_S: Final = 0.02
_AT_ONCE: Final = 1000
OURS: Final = "miningmap, cells alone"

_unpack: Final = msgspec.msgpack.Decoder().decode
_pack: Final = msgspec.msgpack.Encoder(order="sorted").encode


@dataclass(frozen=True)
class Worker:
    """A program that is measured.

    Attributes:
        name: in the table.
        arguments: of Python, to run it.
        packages: what an environment of its own needs beside this project's; none for this one's.
        settings: variables of its environment.
    """

    name: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    def python(self) -> str:
        """Return the interpreter that has the packages, in an environment that is made once."""
        if not self.packages:
            return sys.executable
        folder = CACHE / "rivals" / "-".join(self.packages).replace("[", "-").replace("]", "")
        python = folder / "bin/python"
        if not (folder / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            subprocess.run([*pip, *self.packages], check=True)
            # This project's packages come after those of the environment, which has its versions.
            (site,) = folder.glob("lib/python3*/site-packages")
            (site / "project.pth").write_text(f"{Path(msgspec.__file__).parents[1]}\n")
            (folder / "done").touch()
        return str(python)


_SERVICE: Final = ("-m", "launch", "streams")
WORKERS: Final = (
    # The others make no snapshots, and on a busy machine these take a share that depends on it.
    Worker(OURS, _SERVICE, settings=(("MININGMAP_STREAMS__SNAPSHOT_S", "3600"),)),
    Worker("miningmap with snapshots", _SERVICE),
    Worker("bare aiokafka loop", ("-m", "benchmarks.rivals.bare")),
    Worker("Quix Streams", ("-m", "benchmarks.rivals.quix"), ("quixstreams==3.28.1",)),
    Worker("FastStream", ("-m", "benchmarks.rivals.fast"), ("faststream[kafka]==0.7.8",)),
)


@dataclass(frozen=True)
class Sample:
    """How far a worker is at a moment, and the CPU seconds of it and of Redis until then."""

    at: float
    done: int
    worker_s: float
    redis_s: float


@dataclass(frozen=True)
class Run:
    """One worker's run; the first sample is the first with a cell, the last one has all of them."""

    started_at: float
    first: Sample
    last: Sample

    @property
    def rate(self) -> float:
        """Reports a second."""
        return (self.last.done - self.first.done) / (self.last.at - self.first.at)

    def each_us(self, of: Callable[[Sample], float]) -> float:
        """Return the CPU time of a report, in µs."""
        return (of(self.last) - of(self.first)) / (self.last.done - self.first.done) * 1e6


class Bench:
    """A Kafka with the reports, and a Redis."""

    def __init__(self, reports: int, places: int, kafka: type[KafkaServer] = KafkaServer) -> None:
        self._kafka = kafka.launch()
        self._redis = RedisServer.launch()
        self._pools = pools(POOLS, places)
        self._reports = reports
        minute = whole(NOW, MINUTE)
        self._times = begins(minute - reports // POOLS * MINUTE, minute, MINUTE)

    def close(self) -> None:
        """Stop both servers."""
        self._redis.close()
        self._kafka.close()

    async def publish(self) -> None:
        """Put the reports into Kafka."""
        await recreate_topics(self._kafka.bootstrap_servers)
        kafka = config.Kafka(bootstrap_servers=self._kafka.bootstrap_servers)
        records = [record_of(report(p, at, MINUTE)) for at in self._times for p in self._pools]
        async with Publisher(kafka, frozenset({REPORTS})) as publisher:
            for start in range(0, len(records), _AT_ONCE):
                await publisher.publish(records[start : start + _AT_ONCE])

    async def run(self, worker: Worker, number: int = 1) -> tuple[Run, str]:
        """Run a worker, or several of it in one group; return the run and the digest of the cells.

        Raises:
            RuntimeError: one ended by itself.
        """
        self._redis.flush()
        group = f"bench-{uuid.uuid4().hex}"
        started_at = time.perf_counter()
        processes = [await self._started(worker, group) for _ in range(number)]
        try:
            async with Redis.from_url(self._redis.url) as redis, asyncio.timeout(LIMIT_S):
                first, last = await self._watch(redis, processes)
                await self._committed(group)
                return Run(started_at, first, last), await _digest(redis)
        finally:
            await asyncio.gather(*map(_ended, processes))

    async def _started(self, worker: Worker, group: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *bound_to_this_process([worker.python(), *worker.arguments]),
            cwd=ROOT,
            env=self._environment(group) | dict(worker.settings),
            stderr=asyncio.subprocess.DEVNULL,
        )

    def _environment(self, group: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": self._kafka.bootstrap_servers,
            "MININGMAP_KAFKA__GROUP": group,
            "MININGMAP_REDIS__URL": self._redis.url,
            "MININGMAP_STREAMS__METRICS_PORT": "0",
        }

    async def _watch(self, redis: Redis, processes: Sequence[Process]) -> tuple[Sample, Sample]:
        first: Sample | None = None
        while True:
            for process in processes:
                if process.returncode is not None:
                    raise RuntimeError(f"the worker ended with code {process.returncode}")
            done = await self._done(redis)
            used_s = sum(cpu_s(process.pid) for process in processes)
            sample = Sample(time.perf_counter(), done, used_s, cpu_s(self._redis.pid or 0))
            if done and first is None:
                first = sample
            if first is not None and done == self._reports:
                return first, sample
            await asyncio.sleep(POLL_S)

    async def _done(self, redis: Redis) -> int:
        """Return how many reports are in cells, by the last one of each pool."""
        number = cast("bytes | None", await redis.hget(keys.POSITIONS, "generation"))
        if number is None:
            return 0
        async with redis.pipeline(transaction=False) as pipe:
            for pool in self._pools:
                pipe.hget(Generation(int(number)).meta(Series(pool.slug, "own")), "end")
            ends = await pipe.execute()
        before = self._times[0].timestamp()
        return sum(round((float(end) - before) / 60) for end in ends if end)

    async def _committed(self, group: str) -> None:
        kafka = config.Kafka(bootstrap_servers=self._kafka.bootstrap_servers)
        async with lag_of(kafka, group, [REPORTS]) as read_lag:
            while any(progress.lag for progress in (await read_lag()).values()):  # noqa: ASYNC110 - another process commits
                await asyncio.sleep(POLL_S)


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _digest(redis: Redis) -> str:
    """Return a digest of all cells: what was claimed, its ranks, and the sums."""
    number = cast("bytes", await redis.hget(keys.POSITIONS, "generation"))
    prefix = b"mm:%s:" % number
    digest = hashlib.sha256()
    for key in sorted([k async for k in redis.scan_iter(prefix + b"*", count=1000, _type="hash")]):
        if key.endswith((b":meta", b":stamps")):
            continue  # stamps depend on how messages were batched
        fields = cast("dict[bytes, bytes]", await redis.hgetall(key))
        for field in sorted(fields):
            digest.update(
                key.removeprefix(prefix) + b" " + field + _canonical(field, fields[field])
            )
    return digest.hexdigest()


def _canonical(field: bytes, raw: bytes) -> bytes:
    """Return a value with its places in order: Lua packs them in any."""
    if field.startswith(b"q"):
        return raw
    rank = 0 if field.startswith(b"r") else RANK.size
    return raw[:rank] + _pack(_unpack(raw[rank:]))


async def main(reports: int, rounds: int, places: int, names: Sequence[str]) -> None:
    """Measure, compare and print."""
    workers = [worker for worker in WORKERS if not names or worker.name in names]
    for worker in workers:
        worker.python()
    bench = Bench(reports, places)
    runs: dict[str, list[Run]] = {worker.name: [] for worker in workers}
    digests: dict[str, str] = {}
    try:
        await bench.publish()
        for number in range(rounds):
            turn = number % len(workers)
            for worker in [*workers[turn:], *workers[:turn]]:
                run, digests[worker.name] = await bench.run(worker)
                runs[worker.name].append(run)
                print(f"  {worker.name}: {run.rate:,.0f} reports/s", file=sys.stderr, flush=True)
                if len(set(digests.values())) > 1:
                    sys.exit(f"the cells differ, so there is nothing to compare: {digests}")
    finally:
        bench.close()
    _print(reports, rounds, places, runs)


def _print(reports: int, rounds: int, places: int, runs: dict[str, list[Run]]) -> None:
    head = (
        *("worker", "reports/s", "lowest", "highest", "ours to it"),
        *("CPU of it, µs a report", "of Redis", "start, s"),
    )
    print_table(
        f"From Kafka to Redis: {reports:,} reports of {places} places, {POOLS} pools, "
        f"6 partitions; medians of {rounds}",
        head,
        (_row(name, of, runs.get(OURS, of)) for name, of in runs.items()),
    )
    print(f"\n{machine()}; the cells were equal.")


def _row(name: str, runs: Sequence[Run], ours: Sequence[Run]) -> list[str]:
    rates = [run.rate for run in runs]
    return [
        name,
        *(f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))),
        f"{median(a.rate / b.rate for a, b in zip(ours, runs, strict=True)):.2f}",
        f"{median(run.each_us(lambda sample: sample.worker_s) for run in runs):.0f}",
        f"{median(run.each_us(lambda sample: sample.redis_s) for run in runs):.0f}",
        f"{median(run.first.at - run.started_at for run in runs):.1f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=REPORTS_SENT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--places", type=int, default=PLACES)
    parser.add_argument("workers", nargs="*")
    given = parser.parse_args()
    asyncio.run(main(given.reports, given.rounds, given.places, given.workers))
