"""``/api/v1/stream``: the event log as server-sent events.

No events are queued for a client. Each client has a position in the cached event log and is sent
the next event when it has received the one before. A client that reconnects sends its position as
``Last-Event-ID``. A client that receives nothing for too long is disconnected.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter as Numbers
from contextlib import contextmanager, suppress
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from aiohttp import HttpVersion11, hdrs, web
from aiohttp_sse import EventSourceResponse
from msgspec import Meta
from prometheus_client import Counter, Gauge

from endpoint.http.headers import licence_link
from endpoint.http.rate_limit import quota_exceeded
from endpoint.http.representation import NO_STORE
from miningmap.http.problems import RETRY_AFTER_S, unavailable
from miningmap.licences import CC_BY
from streams.method.windows import ROLLING
from streams.queries.parameters import Format, Parameters, one_of
from streams.redis.event_log import EventId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry

    from endpoint.data.snapshot_cache import SnapshotCache
    from miningmap.http.clients import Clients
    from streams.redis.event_log import Event

HEARTBEAT_S: Final = 15.0
SEND_S: Final = 15.0
"""The time after which a client that receives nothing is disconnected."""
CATCH_UP_S: Final = 5.0
"""The longest wait of a client for a process that is still reading the event log."""
UNPACED: Final = 100
"""So many clients get every event at once."""
PAUSE_S: Final = 0.0001
"""The pause between two events of a client for each client above :data:`UNPACED`, in seconds; to
send an event takes about half of that."""
LAG_S: Final = 2.0
"""How much later than another process this one may read an event."""

_LAST_EVENT_ID: Final = "Last-Event-ID"
_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: NO_STORE,
    # Rolling windows are too recent for an imported table, which would be under another licence.
    hdrs.LINK: licence_link(CC_BY),
}
# Clients wait a random time in this range before they reconnect, so that they do not all reconnect
# at the same moment.
_RETRY_MS: Final = (2000, 5000)
# Limits the kernel's buffer for one client, which would otherwise grow to megabytes.
_SEND_BUFFER: Final = 128 * 1024
# The number of cached frames: the newest event for each window, and older events that many clients
# need at the same time after a restart.
_FRAMES: Final = 64

_SLOW: Final = "slow"
_FULL: Final = "full"
_ADDRESS: Final = "address"
_EXPIRED: Final = EventId(-1, -1)  # before all positions that a log can have
_GAP: Final = (
    b'event: gap\ndata: {"detail":"events are missing here: those after your Last-Event-ID are no '
    b'longer stored, or it is unknown; the newest follow"}\n\n'
)


class StreamParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/stream``."""

    window: Annotated[str, one_of(ROLLING), Meta(description="The window of the shares.")] = "1h"
    last_event_id: Annotated[
        str | None,
        Format(str, {"type": "string", "minLength": 1}),
        Meta(
            description="The same as the header `Last-Event-ID`, which takes precedence, for "
            "clients that cannot send it."
        ),
    ] = msgspec.field(name="lastEventId", default=None)


class Stream:
    """Handler of the path.

    Args:
        cache: the cached event log.
        max_clients: the number of clients at a time.
        max_of_address: the number of them from one address; 0 for no limit.
        clients: tells the address of a client.
        registry: for the metrics.
        send_s: seconds after which a client that receives nothing is disconnected.
        heartbeat_s: seconds between two comments on a stream without events.
    """

    def __init__(
        self,
        cache: SnapshotCache,
        *,
        max_clients: int,
        max_of_address: int,
        clients: Clients,
        registry: CollectorRegistry,
        send_s: float = SEND_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._cache = cache
        self._max_clients = max_clients
        self._max_of_address = max_of_address
        self._clients = clients
        self._open = Numbers[str]()  # streams by address
        self._send_s = send_s
        self._heartbeat_s = heartbeat_s
        self._frame = lru_cache(maxsize=_FRAMES)(_frame)
        Gauge(
            "miningmap_stream_clients",
            "Clients that are connected to this process' stream.",
            registry=registry,
        ).set_function(lambda: cache.listeners)
        self._dropped = Counter(
            "miningmap_stream_dropped",
            "Stream clients that were disconnected (slow) or refused at once: no place was left "
            "(full), or the address had its number of them (address).",
            ["reason"],
            registry=registry,
        )
        for reason in (_SLOW, _FULL, _ADDRESS):
            self._dropped.labels(reason)

    async def follow(self) -> None:
        """Let all clients look now and then whether they are connected, until the cache is closed.

        One timer for all of them costs less than one for each event and client.
        """
        while not self._cache.closed:
            await asyncio.sleep(self._heartbeat_s)
            await self._cache.wake()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send events until the client disconnects or the service stops."""
        parameters = StreamParameters.parse(request.query)
        address = self._clients.of(request)
        rejection = await self._rejection(address)
        if rejection is not None:
            return rejection
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=_HEADERS)
        response = EventSourceResponse(ping_interval=self._heartbeat_s, sep="\n")
        response.headers.update(_HEADERS)
        with self._counted(address), self._cache.listening() as wake_up:
            _limit_send_buffer(request)
            await response.prepare(request)
            async with response:
                try:
                    # EventSource repeats the parameters of its URL whenever it reconnects.
                    last = request.headers.get(_LAST_EVENT_ID) or parameters.last_event_id
                    position = _resume_position(last)
                    client = _Client(request, response, self._send_s)
                    await self._send_events(client, wake_up, parameters.window, position)
                except TimeoutError:
                    self._dropped.labels(_SLOW).inc()
                    if request.transport is not None:
                        request.transport.abort()  # closing would wait for unsent data
                except ConnectionError:
                    pass  # the client has disconnected
        return response

    async def _rejection(self, address: str | None) -> web.Response | None:
        """Return the 503 if no stream is possible now, or the 429 if none is for this address."""
        if not await self._cache.has_caught_up(CATCH_UP_S) or self._cache.newest() is None:
            return unavailable("Redis, which stores all events, is unavailable; try again later")
        if self._cache.listeners >= self._max_clients:
            self._dropped.labels(_FULL).inc()
            return unavailable(
                f"the limit of {self._max_clients} stream clients is reached; "
                "try again later, or poll /api/v1/shares"
            )
        if address is not None and 0 < self._max_of_address <= self._open[address]:
            self._dropped.labels(_ADDRESS).inc()
            return self._too_many(address)
        return None

    def _too_many(self, address: str) -> web.Response:
        limit = self._max_of_address
        return quota_exceeded(
            f"{limit} streams are allowed to each client at a time, and this one counts as "
            f"{address}; close one, or poll /api/v1/shares",
            RETRY_AFTER_S,
            limit=limit,
            client=address,
        )

    @contextmanager
    def _counted(self, address: str | None) -> Iterator[None]:
        """Count a stream of an address while the block runs."""
        if address is None:
            yield
            return
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _send_events(
        self,
        client: _Client,
        wake_up: asyncio.Event,
        window: str,
        position: EventId | None,
    ) -> None:
        """Send all events after a position; without a position, from the newest shares on.

        Raises:
            TimeoutError: the client receives nothing.
            ConnectionError: the client has disconnected.
        """
        await client.send(client.framed(_retry()))
        next_at, is_behind = monotonic(), True
        while not self._cache.closed and client.is_connected():
            wake_up.clear()
            log = self._cache.log
            if position is not None and not log.reaches(position):
                if position > log.last and await self._arrives_at(position, wake_up):
                    continue
                await client.send(client.framed(_GAP))
                position = None
            if position is None:
                position = log.start(window)
            if position is None or position >= log.last:
                await wake_up.wait()
                is_behind = False
                continue
            pause_s = next_at - monotonic()
            if is_behind or pause_s > 0:  # others get a turn while a client catches up
                await asyncio.sleep(max(0.0, pause_s))
            event = self._next(position, window)
            if event is None:  # the log was replaced meanwhile
                continue
            position, is_behind = event.id, True
            frame = self._frame(event, window, client.framed)
            if frame is not None:
                await client.send(frame)
                next_at = monotonic() + self._pause_s()

    def _next(self, position: EventId, window: str) -> Event | None:
        log = self._cache.log
        return log.next_newest(position, window) if self._pause_s() else log.next(position)

    def _pause_s(self) -> float:
        """Return how long each client waits between two events.

        Shares can change several times a second. With many clients this bounds the part of the
        process that goes into sending them: a client that has waited gets the newest.
        """
        return max(0, self._cache.listeners - UNPACED) * PAUSE_S

    async def _arrives_at(self, position: EventId, wake_up: asyncio.Event) -> bool:
        """Return whether the log reaches a position within :data:`LAG_S` seconds.

        The client can have received it from another process that has read newer events.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LAG_S):
                while self._cache.log.last < position and not self._cache.closed:
                    await wake_up.wait()
                    wake_up.clear()
        return self._cache.log.last >= position


class _Client:
    """A client that receives events.

    What all of them are sent is framed once, and the same bytes are given to each connection:
    aiohttp would frame and copy them for each.

    Args:
        request: of the client.
        response: has sent its headers.
        send_s: seconds after which a client that receives nothing is given up.
    """

    def __init__(self, request: web.Request, response: EventSourceResponse, send_s: float) -> None:
        self._request = request
        self._response = response
        self._send_s = send_s
        self.framed = _chunk if request.version >= HttpVersion11 else _unframed

    def is_connected(self) -> bool:
        """Return whether the client is still connected, as far as that is known."""
        return self._response.is_connected()

    async def send(self, framed: bytes) -> None:
        """Send bytes that :attr:`framed` has returned, and wait while too many are unread.

        Raises:
            TimeoutError: the client receives nothing.
            ConnectionError: the client has disconnected.
        """
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has disconnected")
        transport.write(framed)
        if transport.get_write_buffer_size():
            async with asyncio.timeout(self._send_s):
                await self._request.writer.drain()


def _chunk(data: bytes) -> bytes:
    """Return data as a chunk of HTTP/1.1."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _unframed(data: bytes) -> bytes:
    """Return data as it is, for HTTP/1.0, which has no chunks."""
    return data


def _resume_position(last: str | None) -> EventId | None:
    """Return the client's resume position, or ``None`` for a new client.

    A malformed Last-Event-ID is handled like an expired one: the client gets a ``gap`` event.
    """
    if not last:
        return None
    try:
        return EventId.parse(last)
    except ValueError:
        return _EXPIRED


def _frame(event: Event, window: str, framed: Callable[[bytes], bytes]) -> bytes | None:
    """Return an event as ``framed`` frames it, or ``None`` if it has no body for the window.

    The body is one line of JSON, so no line break has to be escaped.
    """
    body = event.body(window)
    if body is None:
        return None
    head = f"id: {event.id}\nevent: {event.name}\ndata: ".encode()
    return framed(b"%s%s\n\n" % (head, body))


def _retry() -> bytes:
    return b"retry: %d\n\n" % random.randint(*_RETRY_MS)  # noqa: S311 - no secret


def _limit_send_buffer(request: web.Request) -> None:
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
