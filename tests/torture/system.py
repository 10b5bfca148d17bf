"""The whole system as processes: Kafka, Redis, the services, and what is between them.

It holds nothing that belongs to an event loop, so several tests can share one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import httpx
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from launch.local.embedded import LOOPBACK, free_port
from launch.local.supervisor import bound_to_this_process
from miningmap import settings as config
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.errors import BrokerError
from tests.servers import (
    ROOT,
    KafkaServer,
    RedisServer,
    UnavailableError,
    _spawner,
    kafka_at,
)
from tests.torture.clocks import Clock
from tests.torture.history import History
from tests.torture.network import Toxiproxy
from tests.torture.observed import read_cells, read_positions
from tests.torture.pools import SOURCES, Pools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from tests.torture.cluster import KafkaCluster

DEADLINE_S: Final = 120.0
"""How long anything may take that has to happen in the end; a machine may be busy."""
STOP_S: Final = 10.0
"""How long a service may take to stop, as docs/operating.md promises."""
GROUP: Final = "torture"
_LOG, _BACKUP = "appendonlydir", "backup"
POLL_S: Final = 1.0
LIVE_POOLS: Final = ("live-0", "live-1", "live-2")
ROWS_POOL: Final = "rows-0"


class ProxiedKafka(KafkaServer):
    """A broker with a second address, which clients reach through a proxy.

    Attributes:
        proxied: the port of the proxy.
        behind: where the proxy has to send connections.
    """

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.proxied = free_port()
        self._behind = free_port()
        self.behind = f"{LOOPBACK}:{self._behind}"

    def _settings(self) -> dict[str, str]:
        settings = super()._settings()
        return settings | {
            "listeners": f"{settings['listeners']},PROXIED://{self.behind}",
            "advertised.listeners": (
                f"{settings['advertised.listeners']},PROXIED://{LOOPBACK}:{self.proxied}"
            ),
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "PLAINTEXT",
        }


class LoggedRedis(RedisServer):
    """A Redis with an append-only file, which a fault can take away."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports, persistent=True)

    def lose_log(self) -> None:
        """Remove the append-only file of a Redis that does not run."""
        shutil.rmtree(self.folder / _LOG)

    def back_up(self) -> None:
        """Copy the append-only file as it is."""
        shutil.copytree(self.folder / _LOG, self.folder / _BACKUP)

    def restore(self) -> None:
        """Replace the append-only file of a Redis that does not run by the copy."""
        self.lose_log()
        (self.folder / _BACKUP).rename(self.folder / _LOG)


class Service:
    """One service as a process, which can be killed and started again."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.env = dict(env)
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; it ends with this one."""
        assert not self.running, f"{self.name} is running already"
        with self.log.open("ab") as log:
            command = bound_to_this_process(self._command)
            self._process = _spawner.submit(self._popen, command, log.fileno()).result()

    async def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[float, int]:
        """Send a signal, and return after how many seconds the process ended, with what code."""
        assert self._process is not None, f"{self.name} was never started"
        started = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, sign)
        code = await asyncio.to_thread(self._wait)
        return time.monotonic() - started, code

    async def ended(self) -> int:
        """Wait for the end of the process, and return its code."""
        return await asyncio.to_thread(self._wait)

    def kill(self) -> None:
        """Kill the process; blocks."""
        assert self._process is not None, f"{self.name} was never started"
        self._process.kill()
        self._process.wait()

    def _wait(self) -> int:
        assert self._process is not None
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.name} did not end within {DEADLINE_S:g} s") from None

    def _popen(self, command: list[str], log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=self.env
        )

    def last_lines(self) -> str:
        """The end of the log of the process."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n  ".join([f"the last lines of {self.name}:", *lines])


class System:
    """Servers and services, and the history of what was sent to them.

    Args:
        folder: for logs, the partners' file and the history.
        workers: how many processes of ``streams`` there are.
        module: which starts a service: ``launch``; ``tests.impatient``, which notices within a
            second what is unavailable; ``tests.torture.watched``, which counts tasks.
        pools: which have a partner.
        kafka: which has been started; without it, one broker behind the proxy.
        redis: which has been started; without it, a new one.
        spool: the folder for what is polled while Kafka is away; by default in ``folder``.
        more: settings of all services, as environment variables.
        set_clocks: whether each service has a clock of its own, in :attr:`clocks`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        module: str = "launch",
        pools: Sequence[str] = (*LIVE_POOLS, ROWS_POOL, "probe"),
        kafka: KafkaServer | KafkaCluster | None = None,
        redis: LoggedRedis | None = None,
        spool: Path | None = None,
        more: Mapping[str, str] | None = None,
        set_clocks: bool = False,
    ) -> None:
        self.folder = folder
        self.history = History(folder / "history.jsonl")
        self._module = module
        self._partners = pools
        self.group = GROUP
        self.kafka = kafka or ProxiedKafka.launch()
        self.redis = redis or LoggedRedis.launch()
        self.clocks: dict[str, Clock] = {}
        self.pools: Pools
        self.proxy: Toxiproxy | None = None
        self.ports = {
            name: free_port()
            for name in ("intake", "intake-proxied", "redis-proxied", "pools", "endpoint", "9101")
        }
        self._more = dict(more or {})
        self.has_spool = "spool" in config.Collector.model_fields
        self._workers = workers
        self._set_clocks = set_clocks
        self._spool_folder = spool or folder / "spool"
        self.services: dict[str, Service] = {}
        self.missing_polls = 0
        self._unready = ""

    # --- start and stop ---

    def launch(self) -> None:
        """Start what is between the servers and the services; blocks."""
        with suppress(UnavailableError):
            self.proxy = Toxiproxy.launch()
        if self.proxy and isinstance(self.kafka, ProxiedKafka):
            self.proxy.add("kafka", self.kafka.proxied, self.kafka.behind)
        if self.proxy:
            self.proxy.add(
                "redis", self.ports["redis-proxied"], f"{LOOPBACK}:{self.redis.ports[0]}"
            )
            self.proxy.add(
                "intake", self.ports["intake-proxied"], f"{LOOPBACK}:{self.ports['intake']}"
            )
        self._write_partners()
        self.pools = Pools(self.ports["pools"], self.history)
        self.services["collector"] = self._service("collector")
        self.services["endpoint"] = self._service("endpoint")
        for number in range(self._workers):
            self.services[worker(number)] = self._service(worker(number))

    async def start(self, replication: int = 1) -> None:
        """Start the services, and wait until all are ready."""
        await ensure_topics(kafka_at(self.kafka.bootstrap_servers), replication)
        for service in self.services.values():
            service.start()
        await self.until(self.is_ready, "all services are ready")

    def close(self) -> None:
        """Kill everything; blocks."""
        for service in self.services.values():
            if service.running:
                service.kill()
        self.pools.close()
        self.history.close()
        for server in (self.proxy, self.redis, self.kafka):
            if server is not None:
                server.close()

    @property
    def broker(self) -> KafkaServer:
        """The only broker."""
        assert isinstance(self.kafka, KafkaServer), "there are several brokers"
        return self.kafka

    # --- addresses ---

    @property
    def bootstrap_servers(self) -> str:
        """The broker as the services reach it."""
        if self.proxy and isinstance(self.kafka, ProxiedKafka):
            return f"{LOOPBACK}:{self.kafka.proxied}"
        return self.kafka.bootstrap_servers

    @property
    def redis_url(self) -> str:
        """Redis as the services reach it."""
        port = self.ports["redis-proxied"] if self.proxy else self.redis.ports[0]
        return f"redis://{LOOPBACK}:{port}/0"

    @property
    def intake(self) -> str:
        """The intake as partners reach it."""
        return f"http://{LOOPBACK}:{self.ports['intake-proxied' if self.proxy else 'intake']}"

    @property
    def api(self) -> str:
        """The API."""
        return f"http://{LOOPBACK}:{self.ports['endpoint']}"

    def settings(self) -> config.Settings:
        """Settings of a client that publishes by itself."""
        return config.Settings(
            kafka=config.Kafka(bootstrap_servers=self.bootstrap_servers, group=self.group),
            redis=config.Redis(url=SecretStr(self.redis_url)),
        )

    @staticmethod
    def token(pool: str) -> str:
        """The token of the partner of a pool."""
        return f"token-of-{pool}"

    # --- services ---

    def _service(self, name: str) -> Service:
        kind = name.partition("-")[0]
        command = [sys.executable, "-m", self._module, kind]
        environment = self._environment(name)
        if self._set_clocks:
            self.clocks[name] = Clock(self.folder / f"{name}.clock")
            environment |= self.clocks[name].environment
        return Service(name, command, environment, self.folder / f"{name}.log")

    def command(self, name: str) -> Service:
        """A command that uses the servers as the services do."""
        log = self.folder / f"{name}.log"
        return Service(name, [sys.executable, "-m", "launch", name], self._environment(name), log)

    def _environment(self, name: str) -> dict[str, str]:
        metrics = self.ports.setdefault(f"metrics of {name}", free_port())
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(config.PREFIX)}
        return {
            **inherited,
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "MININGMAP_KAFKA__GROUP": self.group,
            "MININGMAP_KAFKA__SESSION_TIMEOUT_S": "6",
            "MININGMAP_REDIS__URL": self.redis_url,
            "MININGMAP_COLLECTOR__SOURCES": json.dumps(SOURCES),
            "MININGMAP_COLLECTOR__UPSTREAM": f"http://{LOOPBACK}:{self.ports['pools']}",
            "MININGMAP_COLLECTOR__ALLOW_PRIVATE": "true",
            "MININGMAP_COLLECTOR__POLL_S": str(POLL_S),
            "MININGMAP_COLLECTOR__METRICS_PORT": str(metrics),
            "MININGMAP_STREAMS__METRICS_PORT": str(metrics),
            "MININGMAP_STREAMS__SNAPSHOT_S": "1",
            "MININGMAP_INTAKE__PORT": str(self.ports["intake"]),
            "MININGMAP_INTAKE__PARTNERS_FILE": str(self.folder / "partners.json"),
            "MININGMAP_INTAKE__RATES": "[]",
            "MININGMAP_ENDPOINT__PORT": str(self.ports["endpoint"]),
            "MININGMAP_ENDPOINT__RATE_LIMIT": "0",
            # The models know no beliefs.
            "MININGMAP_METHOD__SHIPPED_BELIEFS": "false",
            **self._spool(),
            "TORTURE_TASKS": str(self.folder / f"{name}.tasks"),
            **self._more,
        }

    def _spool(self) -> dict[str, str]:
        """A folder for what is polled while Kafka is away, if this version has it."""
        if not self.has_spool:
            return {}
        return {"MININGMAP_COLLECTOR__SPOOL": str(self._spool_folder)}

    def _write_partners(self) -> None:
        entries = [
            {
                "id": number,
                "partner": f"partner-{number}",
                "pool": pool,
                "token_sha256": hashlib.sha256(self.token(pool).encode()).hexdigest(),
            }
            for number, pool in enumerate(self._partners, start=1)
        ]
        file = self.folder / "partners.json"
        file.write_text(json.dumps(entries))
        file.chmod(0o600)

    def add_worker(self) -> Service:
        """Start one more process of ``streams``."""
        name = worker(sum(each.startswith("streams") for each in self.services))
        self.services[name] = self._service(name)
        self.services[name].start()
        return self.services[name]

    async def remove_worker(self, name: str, sign: signal.Signals) -> None:
        """End a process of ``streams`` for good."""
        await self.services.pop(name).end(sign)

    # --- waiting ---

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for a condition, up to the deadline."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not await condition():  # noqa: ASYNC110 - another process makes it true
                    await asyncio.sleep(0.1)
        except TimeoutError:
            logs = "\n".join(each.last_lines() for each in self.services.values())
            text = f"not within {DEADLINE_S:g} s: {what} ({self._unready})"
            raise AssertionError(f"{text}; the history is in {self.folder}\n{logs}") from None

    async def is_ready(self) -> bool:
        """Whether every service says that it is ready (the endpoint needs a snapshot)."""
        async with httpx.AsyncClient(timeout=5) as client:
            for name, service in self.services.items():
                assert service.running, service.last_lines()
                port = self.ports["endpoint" if name == "endpoint" else f"metrics of {name}"]
                try:
                    response = await client.get(f"http://{LOOPBACK}:{port}/readyz")
                except httpx.TransportError:  # not listening yet
                    self._unready = f"{name} does not listen"
                    return False
                if response.status_code != httpx.codes.OK:
                    self._unready = f"{name}: {response.text}"
                    return False
        return True

    async def has_cells(self) -> bool:
        """Whether there is something to lose."""
        return bool(await read_cells(self.redis.url))

    async def is_drained(self) -> bool:
        """Whether the group has committed all that is in Kafka."""
        try:
            log = await read_positions(self.kafka.bootstrap_servers, self.group)
        except (BrokerError, KafkaError):  # a broker that has just started has no coordinator yet
            return False
        return log.committed == log.ends


def worker(number: int) -> str:
    """The name of a process of ``streams``."""
    return f"streams-{number}"
