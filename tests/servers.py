"""Real servers for tests and development, on loopback: Apache Kafka (KRaft), Redis, Prometheus and
its Alertmanager.

The fixtures of ``conftest.py`` start them on free ports in temporary folders. As a script this
module runs one in the foreground for development: ``python -m tests.servers kafka`` (``make
kafka``).
"""

from __future__ import annotations

import abc
import asyncio
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

import click
import httpx
import redis
from aiokafka.errors import KafkaError

from launch.local.embedded import LOOPBACK, free_port
from launch.local.supervisor import bound_to_this_process
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.clients import admin_client
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.topics import TOPICS
from miningmap.settings import Kafka

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".cache"
KAFKA_POM: Final = ROOT / "tests/kafka-pom.xml"
CLASSES: Final = "classes.jsa"

JAVA: Final = 17
KAFKA_START_S: Final = 60.0
STOP_S: Final = 30.0
MVN_S: Final = 300.0
ATTEMPTS: Final = 3
POLL_S: Final = 0.02
TAIL_LINES: Final = 15

# A server ends with the thread that started it (see bound_to_this_process), and a test can call
# start() from a short-lived thread. So one thread that lives until the end starts all servers.
_spawner: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class UnavailableError(Exception):
    """This machine cannot run a server; the text is one line with the remedy."""


class ServerError(Exception):
    """A server did not start or stop; the text ends with the last lines of its log."""


class Server(abc.ABC):
    """A server process; its folder and ports stay the same when it is stopped and started."""

    name: ClassVar[str]

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.folder = folder
        self.ports = ports
        self._log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abc.abstractmethod
    def require(cls) -> None:
        """Check that this machine can run the server.

        Raises:
            UnavailableError: it cannot.
        """

    @classmethod
    def launch(cls) -> Self:
        """Start a new server on free ports in a temporary folder, which close() removes."""
        cls.require()
        attempts = ATTEMPTS
        while True:
            server = cls(Path(tempfile.mkdtemp(prefix=f"{cls.name}-")), [free_port(), free_port()])
            try:
                server.start()
            except BaseException as error:
                server.close()
                attempts -= 1  # another process may have taken a port since
                if not attempts or not isinstance(error, ServerError):
                    raise
            else:
                return server

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, within_s: float = KAFKA_START_S) -> None:
        """Start the server, also after a stop, and wait until it responds."""
        assert not self.running, f"{self.name} is running already"
        with self._log.open("ab") as log:
            command = bound_to_this_process(self._command())
            process = _spawner.submit(self._popen, command, log.fileno()).result()
        self._process = process
        deadline = time.monotonic() + within_s
        while not self._responds():
            if process.poll() is not None:
                raise ServerError(
                    self.with_last_lines(f"ended at its start with code {process.returncode}")
                )
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise ServerError(self.with_last_lines(f"did not respond within {within_s:g} s"))
            time.sleep(POLL_S)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server (SIGTERM: orderly, SIGKILL: as in a crash) and wait for its end."""
        assert self._process is not None, f"{self.name} was never started"
        if self.running:
            self._process.send_signal(sign)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ServerError(self.with_last_lines(f"did not end within {STOP_S:g} s")) from None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """During the block the server keeps its connections and answers nothing."""
        assert self._process is not None, f"{self.name} was never started"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its folder."""
        if self._process is not None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @abc.abstractmethod
    def _command(self) -> list[str]: ...

    @abc.abstractmethod
    def _responds(self) -> bool:
        """Whether this process responds, and not another one on its port."""

    def _popen(self, command: list[str], log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            start_new_session=True,
        )

    def with_last_lines(self, what: str) -> str:
        """The text, followed by the last lines of the server's log."""
        lines = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n  ".join([f"{self.name} {what}; its last lines:", *lines])


class RedisServer(Server):
    """A real Redis. Unless it is persistent, it is empty after a stop and a start."""

    name = "redis"

    def __init__(self, folder: Path, ports: list[int], *, persistent: bool = False) -> None:
        super().__init__(folder, ports)
        self._persistent = persistent
        self.url = f"redis://{LOOPBACK}:{ports[0]}/0"

    @classmethod
    def require(cls) -> None:
        _redis_server()

    def flush(self) -> None:
        """Delete all keys of all databases."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _command(self) -> list[str]:
        options = {
            "bind": LOOPBACK,
            "port": str(self.ports[0]),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self._persistent else "no",
            "appendfsync": "always",
        }
        return [
            _redis_server(),
            *(word for key, value in options.items() for word in (f"--{key}", value)),
        ]

    def _responds(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except redis.ConnectionError:  # not listening yet, or still loading
            return False


class KafkaServer(Server):
    """A real Apache Kafka: one node, KRaft, broker and controller in one process."""

    name = "kafka"

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.bootstrap_servers = f"{LOOPBACK}:{ports[0]}"
        self._data = folder / "data"
        self._properties = folder / "server.properties"

    @classmethod
    def require(cls) -> None:
        _java()
        kafka_jars()
        _archive_classes()

    @property
    def cluster_id(self) -> str:
        found = re.search(r"cluster\.id=(\S+)", (self._data / "meta.properties").read_text())
        assert found, "Kafka's data folder has no cluster id"
        return found[1]

    def log_bytes(self, topic: str) -> int:
        """The bytes of all messages of a topic as they are on the disk."""
        return sum(file.stat().st_size for file in self._data.glob(f"{topic}-[0-9]/*.log"))

    def start(self, within_s: float = KAFKA_START_S) -> None:
        self._properties.write_text(
            "".join(f"{key}={value}\n" for key, value in self._settings().items())
        )
        if not (self._data / "meta.properties").exists():
            self._format()
        super().start(within_s)

    def _settings(self) -> dict[str, str]:
        controller = f"{LOOPBACK}:{self.ports[1]}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "log.dirs": str(self._data),
            # As in production: a service that relies on topics created on first use fails.
            "auto.create.topics.enable": "false",
            # The time before a killed broker can be replaced.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # One node cannot have more replicas, and more partitions only cost time.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
        }

    def _format(self) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        subprocess.run(
            [
                *self._java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c"),
                *self._format_options(),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=KAFKA_START_S,
        )

    def _format_options(self) -> list[str]:
        """More arguments of the command that prepares the data folder."""
        return []

    def _command(self) -> list[str]:
        return self._java("kafka.Kafka")

    def _java(self, *main: str) -> list[str]:
        return [
            _java(),
            "-Xmx512m",
            # Starts faster with less memory: no optimising compiler, no garbage collector threads.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            self._archive(),
            "-Dlog4j2.level=WARN",
            "-cp",
            f"{kafka_jars()}/*",
            *main,
            str(self._properties),
        ]

    def _archive(self) -> str:
        """The JVM's option for the archive of classes; it ignores one that is missing."""
        return f"-XX:SharedArchiveFile={kafka_jars().parent / CLASSES}"

    def _responds(self) -> bool:
        """Ask for metadata (version 2): a broker that serves lists itself, and its cluster's id."""
        request = struct.pack(">hhihi", 3, 2, 1, -1, 0)  # key, version, id, no client, no topics
        try:
            with socket.create_connection((LOOPBACK, self.ports[0]), timeout=5) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                with connection.makefile("rb") as stream:
                    (length,) = struct.unpack(">i", stream.read(4))
                    response = stream.read(length)
        except (OSError, struct.error):  # not listening yet, or the connection was closed
            return False
        _, brokers = struct.unpack_from(">ii", response)
        return brokers > 0 and self.cluster_id.encode() in response


class _RecordedKafka(KafkaServer):
    """A broker that writes the classes that it has loaded into an archive when it ends."""

    def _archive(self) -> str:
        return f"-XX:ArchiveClassesAtExit={self.folder / CLASSES}"


def _archive_classes() -> None:
    """Make the archive of the classes of a broker, unless there is one.

    With it a broker needs half the CPU to start. It depends on the paths of the jars and on the
    version of Java. A broker starts without an archive that does not fit, so to fail is no error.
    """
    archive = kafka_jars().parent / CLASSES
    with _one_process("classes.lock"):
        if archive.exists():
            return
        folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=CACHE))
        server = _RecordedKafka(folder, [free_port(), free_port()])
        try:
            with suppress(ServerError):
                server.start()
                server.stop()
                (folder / CLASSES).replace(archive)
        finally:
            server.close()


class PrometheusServer(Server):
    """A real Prometheus, which scrapes nothing until it is configured."""

    name = "prometheus"

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.url = f"http://{LOOPBACK}:{ports[0]}"
        self._configuration = folder / "prometheus.yml"
        self._configuration.write_text("{}")

    @classmethod
    def require(cls) -> None:
        if shutil.which("prometheus") is None:
            raise UnavailableError(
                "there is no prometheus: install it (Debian: apt-get install prometheus)"
            )

    def configure(self, configuration: Mapping[str, object]) -> None:
        """Use the content of a configuration file from now on."""
        self._configuration.write_text(json.dumps(configuration))  # JSON is YAML too
        httpx.post(f"{self.url}/-/reload", timeout=STOP_S).raise_for_status()

    def _command(self) -> list[str]:
        return [
            "prometheus",
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.ports[0]}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]

    def _responds(self) -> bool:
        try:
            ready = httpx.get(f"{self.url}/-/ready", timeout=STOP_S).is_success
            about = httpx.get(f"{self.url}/api/v1/status/runtimeinfo", timeout=STOP_S)
        except httpx.TransportError:  # not listening yet
            return False
        return ready and bool(about.json()["data"]["CWD"] == str(self.folder))


class AlertmanagerServer(Server):
    """A real Alertmanager, which notifies nobody until it is configured."""

    name = "alertmanager"

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.url = f"http://{LOOPBACK}:{ports[0]}"
        self._configuration = folder / "alertmanager.yml"
        self._receiver = folder.name  # tells this one from another that has taken its port
        self._configuration.write_text(
            json.dumps(
                {"route": {"receiver": self._receiver}, "receivers": [{"name": self._receiver}]}
            )
        )

    @classmethod
    def require(cls) -> None:
        _alertmanager()

    def configure(self, configuration: Mapping[str, object]) -> None:
        """Use the content of a configuration file from now on."""
        self._configuration.write_text(json.dumps(configuration))  # JSON is YAML too
        httpx.post(f"{self.url}/-/reload", timeout=STOP_S).raise_for_status()

    def _command(self) -> list[str]:
        return [
            _alertmanager(),
            f"--config.file={self._configuration}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.ports[0]}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def _responds(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/api/v2/receivers", timeout=STOP_S)
        except httpx.TransportError:  # not listening yet
            return False
        return answer.is_success and [each["name"] for each in answer.json()] == [self._receiver]


def _alertmanager() -> str:
    for name in ("prometheus-alertmanager", "alertmanager"):  # Debian's name, and its own
        if found := shutil.which(name):
            return found
    raise UnavailableError(
        "there is no alertmanager: install it (Debian: apt-get install prometheus-alertmanager)"
    )


@contextmanager
def _one_process(name: str) -> Iterator[None]:
    """Only one process at a time is in such a block."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kafka_jars() -> Path:
    """The folder of Kafka's jars, which Maven fetches at the first use.

    Raises:
        UnavailableError: the jars cannot be fetched.
    """
    pom = KAFKA_POM.read_text()
    version = re.search(r"<kafka.version>(.+)</kafka.version>", pom)
    assert version, f"{KAFKA_POM} has no kafka.version"
    folder = CACHE / f"kafka-{version[1]}"
    # Of several processes that run tests, one fetches them.
    with _one_process("kafka.lock"):
        if not (folder / "pom.xml").is_file() or (folder / "pom.xml").read_text() != pom:
            _fetch_jars(folder)
    return folder / "libs"


def _fetch_jars(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise UnavailableError(
            f"Apache Kafka's jars are not in {folder.relative_to(ROOT)} and there is no mvn to "
            "fetch them: install Maven (Debian: apt-get install maven)"
        )
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        fetched = Path(temporary, folder.name)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fetched / 'libs'}"]
        run = subprocess.run(
            [maven, "--quiet", "--batch-mode", "--file", str(KAFKA_POM), *goal],
            check=False,
            capture_output=True,
            text=True,
            timeout=MVN_S,
        )
        if run.returncode:
            lines = (run.stdout + run.stderr).strip().splitlines() or ["no output"]
            raise UnavailableError(f"Maven cannot fetch Apache Kafka's jars: {lines[0]}")
        shutil.copy(KAFKA_POM, fetched / "pom.xml")
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        raise UnavailableError(
            f"Apache Kafka needs Java {JAVA} or newer: install it "
            "(Debian: apt-get install default-jre-headless)"
        )
    output = subprocess.run([java, "-version"], check=False, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', output)
    if version is None or int(version[1]) < JAVA:
        raise UnavailableError(
            f"Apache Kafka needs Java {JAVA} or newer, and {java} is not: set JAVA_HOME"
        )
    return java


def _redis_server() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    raise UnavailableError(
        "there is no redis-server: install it (Debian: apt-get install redis-server)"
    )


def kafka_at(bootstrap_servers: str) -> Kafka:
    """The settings of a client of a broker without users and TLS."""
    return Kafka(bootstrap_servers=bootstrap_servers)


async def recreate_topics(bootstrap_servers: str) -> None:
    """Delete the project's topics and create them again."""
    await delete_topics(bootstrap_servers, *(topic.name for topic in TOPICS))
    await ensure_topics(kafka_at(bootstrap_servers))


async def delete_topics(bootstrap_servers: str, *names: str) -> None:
    """Delete the topics that exist, and wait until the broker no longer lists them.

    A broker that was frozen takes a while until its own controller admits it again.
    """
    async with asyncio.timeout(STOP_S):
        while True:
            with suppress(BrokerError, KafkaError):
                async with admin_client(kafka_at(bootstrap_servers)) as admin:
                    while existing := set(names).intersection(await admin.list_topics()):
                        await admin.delete_topics(sorted(existing))
                        await asyncio.sleep(POLL_S)
                    return
            await asyncio.sleep(POLL_S)


@click.group()
def main() -> None:
    """Run a server for development, in the foreground."""


_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE / "dev",
    help="folder for its data",
)


@main.command("prepare")
def _prepare() -> None:
    """Fetch Kafka and prepare its start, once; what is missing is printed and no error."""
    try:
        KafkaServer.require()
    except UnavailableError as error:
        click.echo(str(error), err=True)


@main.command("kafka")
@click.option("--port", default=9092, show_default=True)
@click.option("--controller-port", default=9093, show_default=True)
@_folder
def _kafka(port: int, controller_port: int, folder: Path) -> None:
    """Apache Kafka."""
    address = f"MININGMAP_KAFKA__BOOTSTRAP_SERVERS={LOOPBACK}:{port}"
    _serve(KafkaServer(_created(folder / "kafka"), [port, controller_port]), address)


@main.command("redis")
@click.option("--port", default=6379, show_default=True)
@_folder
def _redis(port: int, folder: Path) -> None:
    """Redis, with an append-only file."""
    address = f"MININGMAP_REDIS__URL=redis://{LOOPBACK}:{port}/0"
    _serve(RedisServer(_created(folder / "redis"), [port], persistent=True), address)


def _created(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _serve(server: Server, address: str) -> None:
    stopped = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stopped.set())
    try:
        server.require()
        server.start()
        click.echo(f"{server.name} is running (process {server.pid}).")
        click.echo(f"  setting: {address}")
        click.echo(f"  to stop: Ctrl-C, or kill {os.getpid()}")
        click.echo(f"  data:    {server.folder} (delete it to start empty)")
        while server.running and not stopped.wait(0.5):
            pass
        if not stopped.is_set():
            raise ServerError(server.with_last_lines("ended"))
        server.stop()
    except (UnavailableError, ServerError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
