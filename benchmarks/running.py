"""The services as processes of their own, and the machine that they run on."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx

from benchmarks.processes import cpu_s, memory_mib
from launch.local.embedded import LOOPBACK, free_port
from launch.local.supervisor import bound_to_this_process
from miningmap import settings as config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

READY_S: Final = 90.0
_LIBRARIES: Final = ("aiohttp", "aiokafka", "redis", "msgspec")


class Service(NamedTuple):
    """A running service.

    Attributes:
        name: its command, and a number if there are several: ``streams``, ``streams-2``.
        process: of this process.
        monitoring: the URL of its metrics and health.
    """

    name: str
    process: subprocess.Popen[bytes]
    monitoring: str

    def cpu_s(self) -> float:
        """Return the CPU time of the process so far, in seconds."""
        return cpu_s(self.process.pid)

    def memory_mib(self) -> float:
        """Return the resident memory of the process."""
        return memory_mib(self.process.pid)


def command(service: str) -> list[str]:
    """Return what runs a service by its name."""
    return [sys.executable, "-m", "launch", service]


@contextmanager
def services(
    env: Mapping[str, str], folder: Path, commands: Mapping[str, Sequence[str]]
) -> Iterator[list[Service]]:
    """Run services until the block ends.

    Args:
        env: the settings of all of them.
        folder: for their logs, ``NAME.log``.
        commands: of each service, by its name.
    """
    running: list[Service] = []
    try:
        for name, arguments in commands.items():
            running.append(started(name, arguments, env, folder))
        yield running
    finally:
        stop(running)


def stop(running: Sequence[Service]) -> None:
    """Stop services, and wait until they have ended."""
    for service in running:
        service.process.terminate()
    for service in running:
        service.process.wait()


def started(name: str, arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> Service:
    """Start one service; the caller has to :func:`stop` it."""
    port = str(free_port())
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(config.PREFIX)}
    variable = f"{config.PREFIX}{name.partition('-')[0].upper()}__METRICS_PORT"
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            bound_to_this_process(arguments), stderr=log, env={**inherited, **env, variable: port}
        )
    return Service(name, process, f"http://{LOOPBACK}:{port}")


async def until_ready(running: Sequence[Service], folder: Path, every_s: float = 0.1) -> None:
    """Wait until all services are ready.

    Args:
        running: the services.
        folder: of their logs.
        every_s: how often they are asked.

    Raises:
        RuntimeError: one is not, or has ended; the text has the end of its log.
    """
    deadline = time.monotonic() + READY_S
    async with httpx.AsyncClient(timeout=5) as client:
        for service in running:
            while True:
                with suppress(httpx.TransportError):
                    if (await client.get(f"{service.monitoring}/readyz")).is_success:
                        break
                if time.monotonic() > deadline or service.process.poll() is not None:
                    log = (folder / f"{service.name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{service.name} is not ready: {log[-2000:]}")
                await asyncio.sleep(every_s)


def machine() -> str:
    """Return one line about the machine, its load, and the versions that matter."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    cores = f"{len(models)} cores of {models[0] if models else platform.processor()}"
    return f"{cores}, load {load}; Python {platform.python_version()}, {libraries}"
