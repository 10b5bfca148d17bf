"""A listener accepts the connections of an HTTP server, as far as their limits allow.

It takes the place of asyncio's server, which makes a protocol of every connection before anybody
can refuse it, and which asks a hundred times at once for a connection that cannot be had because
too many files are open.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

from miningmap.http.connections import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from miningmap.http.connections import Connections
    from miningmap.http.metrics import ConnectionMetrics

RETRY_S: Final = 1.0
"""How long a listener waits if the operating system cannot give it a connection, in seconds."""

_BACKLOG: Final = 1024
_SWEEP_S: Final = 1.0
# After so many connections the others have a turn. It takes four turns until the request of a new
# one is read, in which a flood must not use up the share of a client.
_AT_ONCE: Final = 8
# Limits the kernel's buffer for each client, which would otherwise grow to megabytes.
_SEND_BUFFER: Final = 256 * 1024
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_PASSIVE: Final = socket.AI_PASSIVE

_Found: TypeAlias = "tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]"

_log = structlog.get_logger(__name__)


async def bind(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Return the sockets that listen at all addresses of a host, on the same port.

    Args:
        host: an address or a name of this machine; empty for all addresses.
        port: 0 for any free one.
        reuse_port: share the port with other processes that set this too.

    Raises:
        OSError: the host is not of this machine, or the port is in use.
        ValueError: the host is a name that none can have.
    """
    found = await _addresses_of(host, port)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sockets.append(socket.socket(family, kind, protocol))
            _listen(sockets[-1], (address[0], port, *address[2:]), reuse_port=reuse_port)
            port = sockets[-1].getsockname()[1]
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


async def _addresses_of(host: str, port: int) -> Sequence[_Found]:
    try:  # what is an address already needs no thread
        return socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=_PASSIVE | socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_PASSIVE)


def _listen(listening: socket.socket, address: tuple[object, ...], *, reuse_port: bool) -> None:
    listening.settimeout(0)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listening.family == socket.AF_INET6:  # IPv4 has a socket of its own
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.bind(address)
    listening.listen(_BACKLOG)


class Listener:
    """Accepts connections on some sockets.

    Args:
        sockets: those of :func:`bind`; closed with the listener.
        server: handles the requests.
        connections: admits the connections.
        metrics: where failures are counted.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        server: web.Server,
        connections: Connections,
        metrics: ConnectionMetrics,
    ) -> None:
        self._sockets = sockets
        self._server = server
        self._connections = connections
        self._failures = metrics.accept_failures.labels(connections.name)
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._retries: dict[socket.socket, asyncio.TimerHandle] = {}
        self._sweep = self._loop.call_later(_SWEEP_S, self._swept)
        for each in sockets:
            self._loop.add_reader(each, self._accept, each)

    async def close(self) -> None:
        """Accept no more connections; those that are open stay."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        for handle in self._retries.values():
            handle.cancel()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def abort(self) -> None:
        """Close all connections at once."""
        self._sweep.cancel()
        self._connections.abort()

    def _swept(self) -> None:
        self._connections.sweep(self._loop.time())
        self._sweep = self._loop.call_later(_SWEEP_S, self._swept)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait(listening, error)
                    return
                continue  # the client has disconnected already
            accepted.settimeout(0)
            self._admit(accepted, address[0])

    def _wait(self, listening: socket.socket, error: OSError) -> None:
        """Leave a socket alone for a while: it stays ready, so the loop would do nothing else."""
        self._failures.inc()
        _log.error("accept_failed", listener=self._connections.name, error=str(error))
        self._loop.remove_reader(listening)
        self._retries[listening] = self._loop.call_later(
            RETRY_S, self._loop.add_reader, listening, self._accept, listening
        )

    def _admit(self, accepted: socket.socket, remote: str) -> None:
        try:
            connection = self._connections.enter(self._server, self._loop, remote)
        except RefusedError as refusal:
            _answer(accepted, refusal.message)
            return
        task = self._loop.create_task(self._connect(accepted, connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, accepted: socket.socket, connection: web.RequestHandler) -> None:
        try:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:  # the client has disconnected already
            connection.connection_lost(None)
            accepted.close()


def _answer(accepted: socket.socket, message: bytes) -> None:
    """Send a response that needs no request, as far as that is possible at once."""
    with suppress(OSError), accepted:
        accepted.send(message)
        # Closing with bytes that nobody has read would take the response back.
        accepted.recv(1 << 16)
