"""Clients that keep a server busy: half-open, dripping and never-reading connections."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import random
import socket
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.http.server import allow_many_connections
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

HERE = "127.0.0.1"
MANY = tuple(f"127.0.{part}.{number}" for part in (1, 2) for number in range(1, 255))
"""Addresses of this machine, each of which is another client."""

_TURN_S: Final = 0.1

HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "


class Reply(NamedTuple):
    """A response as it came."""

    status: int
    head: str
    body: bytes


class Attackers:
    """Connections to a port, each from one of some addresses in turn.

    Args:
        port: on this machine.
        sources: the addresses that they connect from.
    """

    def __init__(self, port: int, sources: Sequence[str] = (HERE,)) -> None:
        self._port = port
        self._sources = itertools.cycle(sources)
        self.sockets: list[socket.socket] = []

    async def connect(self, number: int, first: bytes = b"", *, receive: int = 0) -> None:
        """Open connections and send the first bytes on each.

        Args:
            number: of connections.
            first: what is sent at once.
            receive: the size of the buffer for what is received, in bytes; 0 for the usual one.
        """
        for _ in range(number):
            self.sockets.append(await self._connected(first, receive))

    async def replace_closed(self, first: bytes, *, receive: int, most: int) -> None:
        """Open new connections, as in :meth:`connect`, for some that the server has closed."""
        closed = [index for index, attacker in enumerate(self.sockets) if not _is_open(attacker)]
        for index in random.sample(closed, min(most, len(closed))):
            self.sockets[index].close()
            self.sockets[index] = await self._connected(first, receive)

    async def _connected(self, first: bytes, receive: int) -> socket.socket:
        loop = asyncio.get_running_loop()
        attacker = socket.socket()
        attacker.settimeout(0)
        if receive:
            attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        with suppress(OSError):
            attacker.bind((next(self._sources), 0))
            await loop.sock_connect(attacker, (HERE, self._port))
            if first:
                # Not to its end: the server may read none of it.
                attacker.send(first)
        return attacker

    def drip(self, drop: bytes = b"a") -> None:
        """Send a little more on each connection that is still open."""
        for attacker in self.sockets:
            with suppress(OSError):
                attacker.send(drop)

    def open(self) -> int:
        """Return how many connections the server has not closed; those that read nothing."""
        return sum(map(_is_open, self.sockets))

    def close(self) -> None:
        """Close all of them."""
        for attacker in self.sockets:
            attacker.close()


def _is_open(attacker: socket.socket) -> bool:
    try:
        return bool(attacker.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


@asynccontextmanager
async def attacking(port: int, sources: Sequence[str] = (HERE,)) -> AsyncIterator[Attackers]:
    """Yield attackers, and close their connections at the end."""
    attackers = Attackers(port, sources)
    try:
        yield attackers
    finally:
        attackers.close()


async def ask(
    port: int, request: bytes | str, *, source: str = HERE, within_s: float = 10
) -> Reply:
    """Send a request on a new connection and return the response.

    Args:
        port: on this machine.
        request: as it is sent, or the path of a GET.
        source: the address to connect from.
        within_s: how long all of it may take.

    Raises:
        TimeoutError: it took longer.
        ConnectionError: the connection was closed without a response.
    """
    if isinstance(request, str):
        request = f"GET {request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection(HERE, port, local_addr=(source, 0))
        try:
            writer.write(request)
            return reply_of(await reader.read())
        finally:
            writer.close()


def reply_of(raw: bytes) -> Reply:
    """Return a response that has arrived in full."""
    if not raw:
        raise ConnectionResetError("the connection was closed without a response")
    head, _, body = raw.partition(b"\r\n\r\n")
    return Reply(int(head.split()[1]), head.decode(), body)


async def until_refused_or_closed(attacker: socket.socket, within_s: float = 10) -> bytes:
    """Return what the server sends on a connection until it closes it."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(within_s):
        with suppress(ConnectionError):
            while chunk := await loop.sock_recv(attacker, 1 << 16):
                received += chunk
    return received


class Attack(NamedTuple):
    """What attackers send.

    Attributes:
        first: at once.
        drop: again and again.
        receive: the size of the buffer for what is received, in bytes; 0 for the usual one.
    """

    first: bytes
    drop: bytes = b""
    receive: int = 0


class Plan(NamedTuple):
    """An attack, where to and by how many; new connections a second in place of closed ones."""

    attack: Attack
    port: int
    sources: tuple[str, ...]
    attackers: int
    renewed: int


@asynccontextmanager
async def attack_by(plan: Plan) -> AsyncIterator[None]:
    """Attack during the block, from another process, so that the block can measure times."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.http.attackers"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pickle.dumps(plan))
        process.stdin.write_eof()
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"all are connected\n"
        yield
        assert process.returncode is None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _carry_out(plan: Plan) -> None:
    allow_many_connections()
    attackers = Attackers(plan.port, plan.sources)
    attack = plan.attack
    await attackers.connect(plan.attackers, attack.first, receive=attack.receive)
    print("all are connected", flush=True)  # noqa: T201 - for the process that waits for it
    while True:
        if attack.drop:
            attackers.drip(attack.drop)
        await attackers.replace_closed(
            attack.first, receive=attack.receive, most=round(plan.renewed * _TURN_S)
        )
        await asyncio.sleep(_TURN_S)


if __name__ == "__main__":
    asyncio.run(_carry_out(pickle.loads(sys.stdin.buffer.read())))  # noqa: S301 - of attack_by()
