"""Connections to the sources' servers: kept from one poll to the next, though not for ever.

A new connection costs more than the rest of a poll: the look-up of the name, the handshake of TLS
and the check of the certificate. Many servers keep an idle connection for longer than a minute, so
one that is polled each minute needs no other.
"""

from __future__ import annotations

import asyncio.sslproto
import time
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client import IDEMPOTENT_METHODS

from miningmap.http.server import allow_many_connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

IDLE_S: Final = 75.0
"""How long a connection may be idle, in seconds: a poll each minute, with its jitter, finds it."""

OLDEST_S: Final = 3600.0
"""How old a connection may be, in seconds.

After it the name is looked up and the certificate is checked again, so that a server that has moved
and a certificate that has expired are noticed, however long the collector runs.
"""

FILES_PART: Final = 8
"""One in so many of the files that the process may open can be an idle connection."""

TLS_BUFFER: Final = 32 << 10
"""The receive buffer of a TLS connection, in bytes: two records of TLS."""


class Connector(aiohttp.TCPConnector):
    """Keeps connections for as long as they are safe to use again."""

    def __init__(
        self,
        resolver: AbstractResolver,
        *,
        most_kept: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without any connection.

        Args:
            resolver: looks names up.
            most_kept: how many connections may be kept; by default a part of the files that the
                process may open.
            clock: seconds that never go back.
        """
        # No limit of those in use: each source has at most one connection, and it must not wait
        # while hosts that do not answer occupy all of them.
        super().__init__(resolver=resolver, limit=0, keepalive_timeout=IDLE_S)
        # asyncio allocates and clears 256 KiB for each connection. That takes a twentieth of the
        # CPU time of a poll, and more than a gigabyte if thousands of connections are kept.
        asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER
        self._most_kept = allow_many_connections() // FILES_PART if most_kept is None else most_kept
        self._clock = clock
        self._made_at: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - as in aiohttp
    ) -> Connection:
        """Return a kept connection to the server of the request, or else a new one.

        The server may close a kept connection while a request is on its way. aiohttp then sends
        the request once more, but only if its method has no effects: others need a new connection.
        """
        is_repeatable = req.method in IDEMPOTENT_METHODS
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = cast("ResponseHandler", connection.protocol)  # None only once it is released
            made_at = self._made_at.get(protocol)
            if made_at is None:
                self._begin(protocol, may_be_kept=is_repeatable)
                return connection
            if is_repeatable and self._clock() - made_at <= OLDEST_S:
                return connection
            connection.close()

    def _begin(self, protocol: ResponseHandler, *, may_be_kept: bool) -> None:
        """Note when a connection was made, and whether it is closed after its first response."""
        if not may_be_kept or len(self._made_at) >= self._most_kept:
            protocol.force_close()
        self._made_at[protocol] = self._clock()
