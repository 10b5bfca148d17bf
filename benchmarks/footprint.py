"""What each service costs before it has much to do: its start, its idle CPU, its memory, its size.

Kafka, Redis and the services are real processes; the pools are the simulation of `miningmap demo`.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from benchmarks.fixtures import print_table
from benchmarks.running import command, services, started, stop, until_ready
from launch.local.embedded import LOOPBACK, free_port
from miningmap.kafka.admin import ensure_topics
from tests.servers import ROOT, KafkaServer, RedisServer, kafka_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.running import Service

# In the order of their start: the endpoint is ready once there is a snapshot.
SERVICES: Final = ("streams", "collector", "endpoint", "notify")
SETTLED_S: Final = 15.0
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
        simulation = [sys.executable, "-m", "launch.simulation", "--port", pools.rpartition(":")[2]]
        with (
            tempfile.TemporaryDirectory() as folder,
            services(env, Path(folder), {"simulation": simulation}) as running,
        ):
            await _measure(
                running, env, Path(folder), starts=starts, idle_s=idle_s, settled_s=settled_s
            )
    finally:
        redis.close()
        kafka.close()


async def _measure(
    running: list[Service],
    env: Mapping[str, str],
    folder: Path,
    *,
    starts: int,
    idle_s: float,
    settled_s: float,
) -> None:
    """Start the services one after the other, and add them to what is running."""
    measured = {}
    for name in SERVICES:
        measured[name] = [await _start(running, env, folder, name) for _ in range(starts)]
    by_name = {service.name: service for service in running}
    await asyncio.sleep(settled_s)
    before, begun = {name: by_name[name].cpu_s() for name in SERVICES}, perf_counter()
    await asyncio.sleep(idle_s)
    took = perf_counter() - begun
    rows = [
        (
            name,
            f"{median(start.wall_s for start in each):.2f}",
            f"{median(start.cpu_s for start in each):.2f}",
            f"{100 * (by_name[name].cpu_s() - before[name]) / took:.1f}",
            f"{median(start.memory_mib for start in each):.0f}",
            f"{by_name[name].memory_mib():.0f}",
        )
        for name, each in measured.items()
    ]
    print_table(f"{starts} starts of each service; then {idle_s:g} s of the simulation", HEAD, rows)


async def _start(running: list[Service], env: Mapping[str, str], folder: Path, name: str) -> Start:
    """Start a service in place of the one of the same name, if that is running."""
    earlier = [service for service in running if service.name == name]
    stop(earlier)
    for service in earlier:
        running.remove(service)
    begun = perf_counter()
    service = started(name, command(name), env, folder)
    running.append(service)
    await until_ready([service], folder, LOOKED_EVERY_S)
    return Start(perf_counter() - begun, service.cpu_s(), service.memory_mib())


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
