"""What each service costs before it has much to do: its start, its idle CPU, its memory, its size.

Kafka, Redis and the services are real processes; the pools are the simulation of `miningmap demo`.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import aiohttp
import click

from benchmarks.fixtures import print_table
from benchmarks.processes import cpu_s, memory_mib
from launch.local.embedded import LOOPBACK, free_port
from launch.local.supervisor import bound_to_this_process
from miningmap import settings as config
from miningmap.kafka.admin import ensure_topics
from tests.servers import ROOT, KafkaServer, RedisServer, kafka_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# In the order of their start: the endpoint is ready once there is a snapshot.
SERVICES: Final = ("streams", "collector", "endpoint", "notify")
SETTLED_S: Final = 15.0
READY_S: Final = 60.0
LOOKED_EVERY_S: Final = 0.01
LISTED: Final = 12
HEAD: Final = (
    "service",
    "ready after, s",
    "CPU until then, s",
    "idle, % of a core",
    "RSS when ready, MiB",
    "RSS after that, MiB",
)

_LOCK: Final = ROOT / "requirements.lock"
_LOCKED: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", re.MULTILINE)


class Start(NamedTuple):
    """What it took until a service was ready."""

    wall_s: float
    cpu_s: float
    memory_mib: float


@click.command()
@click.option("--starts", default=5, show_default=True, help="Of each service.")
@click.option("--idle-s", default=30.0, show_default=True)
@click.option("--settled-s", default=SETTLED_S, show_default=True, help="Wait so long before that.")
def main(starts: int, idle_s: float, settled_s: float) -> None:
    """Print the tables of docs/performance.md."""
    print_help()
    asyncio.run(_main(starts, idle_s, settled_s))
    print_sizes()


def print_help() -> None:
    """Print what the help of the command line takes."""
    code = (
        "import atexit, sys, time\n"
        "atexit.register(lambda: print(time.process_time(), len(sys.modules), file=sys.stderr))\n"
        "from launch.cli import main\n"
        "main(['--help'])"
    )
    ran = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
        ).stderr.split()
        for _ in range(5)
    ]
    row = (f"{median(float(cpu) for cpu, _ in ran):.2f}", ran[0][1])
    print_table("`miningmap --help`", ("CPU, s", "modules"), [row])


async def _main(starts: int, idle_s: float, settled_s: float) -> None:
    kafka, redis = KafkaServer.launch(), RedisServer.launch()
    try:
        await ensure_topics(kafka_at(kafka.bootstrap_servers), 1)
        pools = f"http://{LOOPBACK}:{free_port()}"
        env = {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "MININGMAP_REDIS__URL": redis.url,
            "MININGMAP_COLLECTOR__UPSTREAM": pools,
            "MININGMAP_COLLECTOR__ALLOW_PRIVATE": "true",
            "MININGMAP_INTAKE__PORT": str(free_port()),
            "MININGMAP_ENDPOINT__PORT": str(free_port()),
            "MININGMAP_NOTIFY__WEBHOOK": pools,
        }
        with tempfile.TemporaryDirectory() as folder, _Processes(Path(folder), env) as processes:
            processes.start("simulation", "launch.simulation", "--port", pools.rpartition(":")[2])
            await _measure(processes, starts, idle_s, settled_s)
    finally:
        redis.close()
        kafka.close()


async def _measure(processes: _Processes, starts: int, idle_s: float, settled_s: float) -> None:
    measured = {name: await _starts(processes, name, starts) for name in SERVICES}
    await asyncio.sleep(settled_s)
    before, begun = {name: cpu_s(processes.pid(name)) for name in SERVICES}, perf_counter()
    await asyncio.sleep(idle_s)
    took = perf_counter() - begun
    rows = [
        (
            name,
            f"{median(start.wall_s for start in each):.2f}",
            f"{median(start.cpu_s for start in each):.2f}",
            f"{100 * (cpu_s(processes.pid(name)) - before[name]) / took:.1f}",
            f"{median(start.memory_mib for start in each):.0f}",
            f"{memory_mib(processes.pid(name)):.0f}",
        )
        for name, each in measured.items()
    ]
    print_table(f"{starts} starts of each service; then {idle_s:g} s of the simulation", HEAD, rows)


async def _starts(processes: _Processes, name: str, number: int) -> list[Start]:
    """Start a service several times, and let it run after the last time."""
    found = []
    for _ in range(number):
        processes.stop(name)
        port = free_port()
        begun = perf_counter()
        pid = processes.start(
            name, "launch", name, **{f"{config.PREFIX}{name.upper()}__METRICS_PORT": str(port)}
        )
        await _until_ready(processes, name, port)
        found.append(Start(perf_counter() - begun, cpu_s(pid), memory_mib(pid)))
    return found


async def _until_ready(processes: _Processes, name: str, port: int) -> None:
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as http:
        deadline = perf_counter() + READY_S
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with http.get("/readyz") as answer:
                    if answer.ok:
                        return
            if perf_counter() > deadline or not processes.runs(name):
                raise RuntimeError(f"{name} is not ready: {processes.log(name)}")
            await asyncio.sleep(LOOKED_EVERY_S)


class _Processes:
    """Processes by name, which end with the block; their logs are in a folder.

    Args:
        folder: of the logs.
        env: the settings of all processes.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(config.PREFIX)}
        self._env = {**inherited, **env}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *module: str, **env: str) -> int:
        """Start a module with its arguments, and return the number of its process."""
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                bound_to_this_process([sys.executable, "-m", *module]),
                stderr=log,
                env={**self._env, **env},
                cwd=ROOT,
            )
        return self.pid(name)

    def stop(self, name: str) -> None:
        """Stop a process, if it was started."""
        process = self._running.pop(name, None)
        if process is not None:
            process.terminate()
            process.wait()

    def pid(self, name: str) -> int:
        """Return the number of a process."""
        return self._running[name].pid

    def runs(self, name: str) -> bool:
        """Return whether a process has not ended."""
        return self._running[name].poll() is None

    def log(self, name: str) -> str:
        """Return the end of the log of a process."""
        return (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.stop(name)


def print_sizes() -> None:
    """Print how large the packages of the image are, as they are installed here."""
    sizes = dict(_sizes(_LOCKED.findall(_LOCK.read_text(encoding="utf-8"))))
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)
    rows = [(name, f"{sizes[name] / 2**20:.1f}") for name in largest[:LISTED]]
    rest = sum(sizes[name] for name in largest[LISTED:])
    rows.append((f"{len(largest) - LISTED} others", f"{rest / 2**20:.1f}"))
    rows.append(("all", f"{sum(sizes.values()) / 2**20:.1f}"))
    print_table("The packages of requirements.lock, installed", ("package", "MiB"), rows)


def _sizes(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the packages that are installed, with their bytes, compiled modules included."""
    for name in names:
        with suppress(PackageNotFoundError):
            files = Distribution.from_name(name).files or ()
            paths = {Path(str(file.locate())) for file in files}
            yield name, sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    main()
