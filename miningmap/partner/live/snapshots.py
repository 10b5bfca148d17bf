"""Read a pool's list of miners as it is now: from a file that changes, or from a socket.

A socket is connected to anew for each snapshot; nothing is sent, and what arrives until the other
side closes the connection is the list. No error quotes what was read.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTLE_S: Final = 1.0
"""A file that has not changed for so long is taken to be complete."""
TIMEOUT_S: Final = 15.0
"""How long a snapshot may take, in seconds."""
MAX_BYTES: Final = 1 << 28
"""About five million miners."""
_CHUNK: Final = 1 << 16


class SnapshotError(Exception):
    """There is no snapshot now; the text is one line.

    Attributes:
        kind: groups errors that are the same although their texts differ.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Snapshot(NamedTuple):
    """A list of miners as bytes, and for how long it has not changed, in seconds."""

    content: bytes
    age_s: float


class Source(Protocol):
    """Where a pool's list of miners is read from; ``str()`` names it for people."""

    async def read(self) -> Snapshot:
        """Return the list as it is now.

        Raises:
            SnapshotError: there is none.
        """


class MinersFile:
    """A file that the pool writes again and again, in place or by renaming a complete one."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        """Read this file.

        Args:
            path: of the file, which need not exist yet.
            now: the clock of the file's time of change, in seconds.
        """
        self._path = path
        self._now = now

    def __str__(self) -> str:
        """Return the path."""
        return str(self._path)

    async def read(self) -> Snapshot:
        """Return the content once nobody writes to the file.

        Raises:
            SnapshotError: it cannot be read, or somebody writes to it all the time.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    if snapshot := await self._read_complete():
                        return snapshot
        except OSError as error:  # TimeoutError is one
            if isinstance(error, TimeoutError):
                text = "is written to all the time; write to another file and rename it"
            else:
                text = error.strerror or type(error).__name__
            raise SnapshotError("unreadable", f"{self}: {text}") from None

    async def _read_complete(self) -> Snapshot | None:
        """Read the file, and return ``None`` if that may be a half-written list.

        A file that is replaced by another one is still complete under its descriptor.
        """
        if self._path.exists() and not self._path.is_file():  # such as a pipe, which would wait
            raise SnapshotError("unreadable", f"{self}: not a regular file")
        with self._path.open("rb") as file:
            before = os.fstat(file.fileno())
            content = await asyncio.to_thread(file.read, MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise _too_large(str(self))
            if self._now() < before.st_mtime + SETTLE_S:  # also if that is in the future
                await asyncio.sleep(SETTLE_S)
            after = os.fstat(file.fileno())
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            return None
        return Snapshot(content, max(0.0, self._now() - after.st_mtime))


class UnixSocket:
    """A Unix socket that writes the list to everybody who connects."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __str__(self) -> str:
        """Return the path, as it is given on the command line."""
        return f"unix:{self._path}"

    async def read(self) -> Snapshot:
        """Return what the socket writes until it closes.

        Raises:
            SnapshotError: it cannot be connected to, or does not close in time.
        """
        return await _read_stream(str(self), lambda: asyncio.open_unix_connection(self._path))


class TcpSocket:
    """A TCP port that writes the list to everybody who connects."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def __str__(self) -> str:
        """Return the address, as it is given on the command line."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"tcp:{host}:{self._port}"

    async def read(self) -> Snapshot:
        """Return what the port writes until it closes.

        Raises:
            SnapshotError: it cannot be connected to, or does not close in time.
        """
        return await _read_stream(
            str(self), lambda: asyncio.open_connection(self._host, self._port)
        )


class _Connect(Protocol):
    async def __call__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


async def _read_stream(name: str, connect: _Connect) -> Snapshot:
    content = bytearray()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await connect()
            try:
                while chunk := await reader.read(_CHUNK):
                    content += chunk
                    if len(content) > MAX_BYTES:
                        raise _too_large(name)
            finally:
                writer.close()
    except TimeoutError:
        text = f"{name}: did not send a list and close within {TIMEOUT_S:g} s"
        raise SnapshotError("unreadable", text) from None
    except UnicodeError:  # of the encoding of international domain names
        raise SnapshotError("unreadable", f"{name}: not the name of a host") from None
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise SnapshotError("unreadable", f"{name}: {reason}") from None
    return Snapshot(bytes(content), 0.0)


def _too_large(name: str) -> SnapshotError:
    return SnapshotError("unreadable", f"{name}: larger than {MAX_BYTES} bytes")
