"""``/api/v1/stream``: events as they happen, by server-sent events.

Nothing is queued for a client: it has a place in the log of events that the feed holds, and is sent
the next one when it has taken the one before. One that was cut off says by ``Last-Event-ID`` where
it was; one that takes nothing for too long is dropped.
"""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse
from prometheus_client import Counter, Gauge

from endpoint.http.errors import parameters, unavailable
from endpoint.http.middleware import complete_early
from endpoint.http.representation import NO_STORE
from streams.method.windows import ROLLING
from streams.queries.parameters import QuestionError, check_known
from streams.redis.event_log import EventId

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from endpoint.data.snapshot_cache import Feed
    from streams.redis.event_log import Event

HEARTBEAT_S: Final = 15.0
SEND_S: Final = 15.0
"""So long a client may take nothing."""
CATCH_UP_S: Final = 5.0
"""How long a client waits for a process that has just started."""
LAG_S: Final = 2.0
"""So much later than others a process may know of an event."""

_DEFAULT_WINDOW: Final = "1h"
_LAST_EVENT_ID: Final = "Last-Event-ID"
_TYPE: Final = "text/event-stream"
# How soon to come back, in ms: not all at once.
_RETRY_MS: Final = (2000, 5000)
# What the kernel may hold for one client: by itself it would go up to megabytes.
_SEND_BUFFER: Final = 128 * 1024
# The newest event in each window, and some that are told again to many at once.
_FRAMES: Final = 64

_SLOW: Final = "slow"
_FULL: Final = "full"
_NOWHERE: Final = EventId(-1, -1)
_GAP: Final = (
    b'event: gap\ndata: {"detail":"events are missing here: those after your Last-Event-ID are no '
    b'longer kept, or it is not from here; the newest follow"}\n\n'
)


class Stream:
    """Handler of the path.

    Args:
        feed: the log of events.
        most_clients: at a time.
        registry: for the metrics.
        send_s: so long a client may take nothing.
        heartbeat_s: between two signs of life.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        most_clients: int,
        registry: CollectorRegistry,
        send_s: float = SEND_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._feed = feed
        self._most_clients = most_clients
        self._send_s = send_s
        self._heartbeat_s = heartbeat_s
        self._frame = lru_cache(maxsize=_FRAMES)(_frame)
        Gauge(
            "miningmap_stream_clients",
            "Clients that listen to this process' stream.",
            registry=registry,
        ).set_function(lambda: feed.listeners)
        self._dropped = Counter(
            "miningmap_stream_dropped",
            "Clients that were not served on, by reason: slow, or full (refused at once).",
            ["reason"],
            registry=registry,
        )
        for reason in (_SLOW, _FULL):
            self._dropped.labels(reason)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Events until the client goes, or this service does."""
        window = _window(request)
        refusal = await self._refusal()
        if refusal is not None:
            return refusal
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers={hdrs.CONTENT_TYPE: _TYPE, hdrs.CACHE_CONTROL: NO_STORE})
        response = EventSourceResponse(ping_interval=self._heartbeat_s, sep="\n")
        response.headers[hdrs.CACHE_CONTROL] = NO_STORE
        with self._feed.listening() as news:
            complete_early(request, response)
            _bound_buffer(request)
            await response.prepare(request)
            async with response:
                try:
                    await self._tell(response, news, window, _place(request))
                except TimeoutError:
                    self._dropped.labels(_SLOW).inc()
                    if request.transport is not None:
                        request.transport.abort()  # a close would wait for what it does not take
                except ConnectionError:
                    pass  # it has gone
        return response

    async def _refusal(self) -> web.Response | None:
        """What to say instead if there can be no stream now."""
        if not await self._feed.has_caught_up(CATCH_UP_S) or self._feed.newest() is None:
            return unavailable("Redis, which has all events, does not answer; try again later")
        if self._feed.listeners >= self._most_clients:
            self._dropped.labels(_FULL).inc()
            return unavailable(
                f"{self._most_clients} clients listen already, and no more may; "
                "try again later, or ask /api/v1/shares from time to time"
            )
        return None

    async def _tell(
        self,
        response: EventSourceResponse,
        news: asyncio.Event,
        window: str,
        place: EventId | None,
    ) -> None:
        """Every event after a place in the log; from the newest one on without a place.

        Raises:
            TimeoutError: the client takes nothing.
            ConnectionError: it has gone.
        """
        await self._send(response, _retry())
        while not self._feed.closed and response.is_connected():
            news.clear()
            log = self._feed.log
            if place is not None and not log.reaches(place):
                if place > log.last and await self._arrives_at(place, news):
                    continue
                await self._send(response, _GAP)
                place = None
            if place is None:
                place = log.start()
            event = None if place is None else log.next(place)
            if event is None:
                await self._until(news)
                continue
            place = event.id
            frame = self._frame(event, window)
            if frame is not None:
                await self._send(response, frame)
                await asyncio.sleep(0)  # an hour told again must not keep others waiting

    async def _arrives_at(self, place: EventId, news: asyncio.Event) -> bool:
        """Whether the log is here soon where that of another process was already."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAG_S):
                while self._feed.log.last < place and not self._feed.closed:
                    await news.wait()
                    news.clear()
        return self._feed.log.last >= place

    async def _until(self, news: asyncio.Event) -> None:
        """Until there is news, or it is time to see whether the client is still there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat_s):
                await news.wait()

    async def _send(self, response: EventSourceResponse, frame: bytes) -> None:
        async with asyncio.timeout(self._send_s):
            await response.write(frame)


def _window(request: web.Request) -> str:
    """The window that is asked for.

    Raises:
        QuestionError: a parameter is unknown or wrong.
    """
    asked = parameters(request)
    check_known(asked, ("window",))
    window = asked.get("window", _DEFAULT_WINDOW)
    if window not in ROLLING:
        raise QuestionError(
            "window", f"no stream of {window[:32]!r}; there are {', '.join(ROLLING)}"
        )
    return window


def _place(request: web.Request) -> EventId | None:
    """Where the client was; what is no place in any log leads nowhere, as one that is lost does."""
    last = request.headers.get(_LAST_EVENT_ID)
    if not last:
        return None
    try:
        return EventId.parse(last)
    except ValueError:
        return _NOWHERE


def _frame(event: Event, window: str) -> bytes | None:
    """An event as it is sent; JSON has no line breaks that would need care."""
    body = event.body(window)
    if body is None:
        return None
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(event.id).encode(), event.name.encode(), body)


def _retry() -> bytes:
    return b"retry: %d\n\n" % random.randint(*_RETRY_MS)  # noqa: S311 - no secret


def _bound_buffer(request: web.Request) -> None:
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
