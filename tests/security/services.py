"""The services as processes with settings of their own, and all that they write."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import httpx

from launch.local.embedded import free_port
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.secure_servers import SecureKafka, SecureRedis

DEADLINE_S: Final = 120.0  # of a machine that is busy with other tests
PORTS: Final = {
    "collector": "MININGMAP_COLLECTOR__METRICS_PORT",
    "streams": "MININGMAP_STREAMS__METRICS_PORT",
    "endpoint": "MININGMAP_ENDPOINT__PORT",
    "notify": "MININGMAP_NOTIFY__METRICS_PORT",
}


class Service:
    """A service that runs, or has ended."""

    def __init__(self, name: str, env: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._env = env
        self.url = f"http://127.0.0.1:{env[PORTS[name]]}"
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "launch", self.name),
                cwd=ROOT,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        """Wait until the service is ready."""
        try:
            async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient() as client:
                while not await self._is_ready(client):
                    assert self.process.returncode is None, self.output()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready: {self.output()}") from None

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/readyz")).is_success
        except httpx.TransportError:
            return False

    async def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} does not end: {self.output()}") from None

    def output(self) -> str:
        return self.log.read_text(errors="replace")


@asynccontextmanager
async def running(name: str, env: dict[str, str], folder: Path) -> AsyncIterator[Service]:
    """Run a service during the block; it is asked to stop at its end."""
    service = Service(name, env, folder / f"{name}.log")
    await service.start()
    try:
        yield service
    finally:
        if service.process.returncode is None:
            service.process.send_signal(signal.SIGTERM)
            await service.ended()


def environment(
    name: str, broker: SecureKafka, store: SecureRedis, **changes: str
) -> dict[str, str]:
    """The settings of a service, with a user of its own at each server."""
    env = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.users,
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__USERNAME": name,
        "KAFKA__PASSWORD": f"{name}-secret",
        "KAFKA__CA_FILE": str(broker.authority.file),
        "REDIS__URL": store.url,
        "REDIS__USERNAME": name,
        "REDIS__PASSWORD": f"{name}-secret",
        "REDIS__CA_FILE": str(store.authority.file),
        "COLLECTOR__SOURCES": "[]",
        "INTAKE__PORT": str(free_port()),
        "LOG__FORMAT": "json",
        "NOTIFY__WEBHOOK": "http://127.0.0.1:9/swings",
    } | changes
    settings = {f"MININGMAP_{key}": value for key, value in env.items()}
    ports = {setting: str(free_port()) for setting in PORTS.values()}
    return {"PATH": os.environ["PATH"], **ports, **settings}
