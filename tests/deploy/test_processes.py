"""The services start, become ready and stop with the commands of docker-compose.yml.

There is no container engine, so each service runs as a process: the entry point of the image with
``command`` and ``environment`` of the file, watched by the health check of the file. Only what a
container provides is replaced:

- ``kafka:9092`` and ``redis:6379`` become addresses on loopback; Redis is started with the command
  and configuration of the file, so it needs the password;
- ``/run/secrets`` becomes a folder with the same files;
- ports become free ones, because all services share one machine;
- the pools become a server on loopback that is always busy: tests send no requests to others.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from launch.local.embedded import free_port
from miningmap.cbeci.contribution import PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

Service = dict[str, Any]

READY_S = 60
PORTS = {  # the setting of each port in the file
    "8080": "MININGMAP_ENDPOINT__PORT",
    "8081": "MININGMAP_INTAKE__PORT",
    "9101": "MININGMAP_COLLECTOR__METRICS_PORT",
    "9102": "MININGMAP_STREAMS__METRICS_PORT",
    "9104": "MININGMAP_ENDPOINT__METRICS_PORT",
}
ROW = {
    "period_start_date": "2026-09-01",
    "period": "monthly",
    "country": "Norway",
    "province": None,
    "average_hashrate": 1.5,
    "unit": "eh/s",
}


class Broker(Protocol):
    """The part of the ``kafka`` fixture that is used here."""

    bootstrap_servers: str


class Containers:
    """Replaces what containers provide, and starts processes with it."""

    def __init__(self, folder: Path, services: dict[str, Service], root: Path) -> None:
        self.folder = folder
        self.services = services
        self.root = root
        self.ports = {port: str(free_port()) for port in (*PORTS, "6379")}
        self.addresses = {"redis:6379": f"127.0.0.1:{self.ports['6379']}"}
        self.extra = {PORTS[port]: self.ports[port] for port in PORTS}
        subprocess.run(
            ["/bin/sh", str(root / "deploy/secrets.sh"), str(folder / "created")],
            check=True,
            capture_output=True,
        )

    def secrets(self, name: str) -> Path:
        """Return the folder that replaces ``/run/secrets`` of a service."""
        folder = self.folder / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for secret in self.services[name].get("secrets", []):
            mount = secret if isinstance(secret, dict) else {"source": secret, "target": secret}
            shutil.copy(self.folder / "created" / mount["source"], folder / mount["target"])
        return folder

    def volume(self) -> Path:
        """Return the folder that replaces ``/var/lib/miningmap``, with the content of the image."""
        folder = self.folder / "volume"
        folder.mkdir(exist_ok=True)
        partners = folder / "partners.json"
        if not partners.exists():
            partners.write_text("[]")
        return folder

    def replaced(self, name: str, text: str) -> str:
        """Return a value of the file with the replacements."""
        folders = {
            "/run/secrets": str(self.secrets(name)),
            "/var/lib/miningmap": str(self.volume()),
        }
        for there, here in {**self.addresses, **folders}.items():
            text = text.replace(there, here)
        return text

    @asynccontextmanager
    async def process(
        self, name: str, command: Iterable[str], output: Path | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the process of a service; it is killed at the end if it still runs."""
        environment = self.services[name].get("environment", {})
        with (
            (self.folder / f"{name}.log").open("ab") as log,
            (output or self.folder / f"{name}.log").open("ab") as out,
        ):
            process = await asyncio.create_subprocess_exec(
                *command,
                env={
                    "PATH": os.environ["PATH"],
                    **{key: self.replaced(name, value) for key, value in environment.items()},
                    **(self.extra if "build" in self.services[name] else {}),
                },
                cwd=self.folder,
                stdout=out,
                stderr=log,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def log_of(self, name: str) -> str:
        """Return the end of the log of a service."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    async def until_healthy(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Wait until the health check of the service succeeds."""
        _, _, *arguments, port, path = self.services[name]["healthcheck"]["test"]
        while await _status(sys.executable, *arguments, self.ports[port], path) != 0:
            assert process.returncode is None, f"{name} ended: {self.log_of(name)}"
            await asyncio.sleep(0.2)

    async def stop(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Stop the service, which must end within its grace period and without an error."""
        process.send_signal(signal.SIGTERM)
        grace_s = int(self.services[name]["stop_grace_period"].removesuffix("s"))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await process.wait()
        assert process.returncode == 0, f"{name}, {grace_s} s after SIGTERM: {self.log_of(name)}"


@pytest.fixture
def containers(tmp_path: Path, services: dict[str, Service], root: Path) -> Containers:
    return Containers(tmp_path, services, root)


@pytest.fixture
async def busy() -> AsyncIterator[str]:
    """The address of a server whose every response is 503."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", refuse)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


@pytest.fixture
async def protected(containers: Containers, redis: object) -> AsyncIterator[str]:
    """The password of a running Redis that was started as in the file."""
    del redis  # requested to skip or fail on machines without a redis-server
    text = (containers.root / "deploy/redis/redis.conf").read_text()
    data = containers.folder / "data"
    data.mkdir()
    for there, here in {
        "bind * -::*": "bind 127.0.0.1",
        "port 6379": f"port {containers.ports['6379']}",
        "dir /data": f"dir {data}",
    }.items():
        assert there in text
        text = text.replace(there, here)
    configuration = containers.folder / "redis.conf"
    configuration.write_text(text)
    containers.addresses["/etc/miningmap/redis.conf"] = str(configuration)
    password = (containers.folder / "created/redis_password").read_text()

    words = containers.services["redis"]["command"]
    command = [containers.replaced("redis", word) for word in words]
    async with (
        containers.process("redis", command) as process,
        Redis(port=int(containers.ports["6379"]), password=password) as client,
    ):
        async with asyncio.timeout(READY_S):
            while not await _pongs(client):
                assert process.returncode is None, containers.log_of("redis")
                await asyncio.sleep(0.05)
        yield password
        await containers.stop("redis", process)


@pytest.mark.integration
async def test_redis_requires_the_password_persists_writes_and_evicts_nothing(
    containers: Containers, protected: str
) -> None:
    port = int(containers.ports["6379"])
    async with Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()
    async with Redis(port=port, password=protected, decode_responses=True) as client:
        settings = await client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
    }


@pytest.mark.integration
@pytest.mark.usefixtures("protected")
async def test_the_services_become_ready_and_stop_in_time(
    containers: Containers, kafka: Broker, busy: str
) -> None:
    containers.addresses["kafka:9092"] = kafka.bootstrap_servers
    containers.extra |= {
        "MININGMAP_COLLECTOR__UPSTREAM": busy,
        "MININGMAP_COLLECTOR__ALLOW_PRIVATE": "true",
    }
    entry_point = str(Path(sys.executable).with_name("miningmap"))

    async with AsyncExitStack() as stack, asyncio.timeout(3 * READY_S):

        async def start(name: str) -> asyncio.subprocess.Process:
            command = [entry_point, *containers.services[name]["command"]]
            return await stack.enter_async_context(containers.process(name, command))

        # Twice, because `docker compose up` runs it again when the topics exist.
        for _ in range(2):
            async with asyncio.timeout(READY_S):
                status = await (await start("topics")).wait()
            assert status == 0, containers.log_of("topics")

        running = {name: await start(name) for name in ("collector", "streams", "endpoint")}
        async with asyncio.timeout(READY_S):
            for name, process in running.items():
                await containers.until_healthy(name, process)
        async with ClientSession() as session:
            url = f"http://127.0.0.1:{containers.ports['8080']}/readyz"
            async with session.get(url) as response:
                assert response.status == 200, await response.text()

        # Like `docker compose exec collector miningmap partner add`.
        arguments = ("partner", "add", "partner-1", "--pool", "foundryusa")
        async with (
            asyncio.timeout(READY_S),
            containers.process(
                "collector", [entry_point, *arguments], output=containers.folder / "token"
            ) as adding,
        ):
            assert await adding.wait() == 0
        async with ClientSession() as session:
            url = f"http://127.0.0.1:{containers.ports['8081']}{PATH}"
            token = (containers.folder / "token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(url, json={"data": [ROW]}, headers=headers) as response:
                assert response.status == 200, await response.text()

        await asyncio.gather(*(containers.stop(name, ended) for name, ended in running.items()))


async def test_the_health_check_succeeds_only_for_the_status_200(own: dict[str, Service]) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    app = web.Application()
    app.router.add_get("/{status}", answer)
    checks = [s["healthcheck"]["test"][2:-2] for s in own.values() if "healthcheck" in s]
    assert checks[1:] == checks[:-1]
    async with TestServer(app) as server:
        port = str(server.port)
        assert await _status(sys.executable, *checks[0], port, "/200") == 0
        assert await _status(sys.executable, *checks[0], port, "/503") != 0
        await server.close()
        assert await _status(sys.executable, *checks[0], port, "/200") != 0


async def _status(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def _pongs(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False
