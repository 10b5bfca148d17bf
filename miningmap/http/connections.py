"""The connections of an HTTP server: how many there may be, and how long each may take.

aiohttp waits without end for the head of a request, for its body and for a client that reads its
response, and takes every connection until no descriptor is left. Here each of these has a deadline,
and there are two limits: for the connections of one client and for all of a listener. At a limit a
connection that waits for a request gives way to the new one, or else one whose client does not read
its response. So those who open connections and send or read nothing shut nobody out; only if all
are at work is the new one refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, hdrs, web

from miningmap.dependencies import RepeatLimit
from miningmap.http.clients import Clients
from miningmap.http.problems import (
    SERVER_NAME,
    BodyTimeoutError,
    malformed,
    message_of,
    problem,
)

if TYPE_CHECKING:
    import asyncio

    from miningmap.http.metrics import ConnectionMetrics

MAX_HEAD: Final = 16 * 1024
"""The most bytes of an incomplete head: 4,000 clients with such heads take 120 MB."""
MAX_UNREAD: Final = 128 * 1024 * 1024
"""The most bytes of all responses of a listener that their clients have not read yet."""

# Why connections are refused or closed, in the metric and the log.
FULL: Final = "full"
CLIENT: Final = "client"
REPLACED: Final = "replaced"
HEAD: Final = "head"
BODY: Final = "body"
UNREAD: Final = "unread"
MALFORMED: Final = "malformed"
REASONS: Final = (FULL, CLIENT, REPLACED, HEAD, BODY, UNREAD, MALFORMED)

_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    # How long a body is read and thrown away that no handler wants. A connection that is closed
    # while its client still sends would take the response with it.
    "lingering_time": 2,
    # The handler that wants a body decompresses it, once it knows whose it is.
    "auto_decompress": False,
}
_HEAD_TIMEOUT: Final = message_of(
    HTTPStatus.REQUEST_TIMEOUT, "the head of the request did not arrive in time"
)
_HEAD_TOO_LARGE: Final = message_of(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of the request is over {MAX_HEAD} bytes"
)
_REFUSALS: Final = {
    FULL: message_of(
        HTTPStatus.SERVICE_UNAVAILABLE, "all connections are at work; try again later"
    ),
    CLIENT: message_of(
        HTTPStatus.TOO_MANY_REQUESTS,
        "your address has too many connections at work; wait for their responses",
    ),
}

_log = structlog.get_logger(__name__)


class Deadlines(NamedTuple):
    """How long the parts of a request may take, in seconds.

    Attributes:
        head_s: from the connection, or the first byte of a further request, to the end of the head.
        body_s: from the end of the head to the end of the body.
        idle_s: between two requests; longer than Prometheus waits between two scrapes.
        send_s: until the client has read a small response.
        least_rate: the bytes a second at which a client has to read a larger response.
    """

    head_s: float = 10
    body_s: float = 30
    idle_s: float = 75
    send_s: float = 30
    least_rate: float = 32 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many connections a listener has at a time.

    Attributes:
        connections: of all clients; fewer if the process may not open as many files.
        per_client: of each client.
        clients: tells whose a connection is. Those that it does not limit may have any number.
        deadlines: of each request.
    """

    connections: int
    per_client: int
    clients: Clients = field(default_factory=Clients)
    deadlines: Deadlines = field(default_factory=Deadlines)


MONITORING: Final = Limits(connections=64, per_client=32)
"""For listeners with metrics and health alone, which few ask."""


class _Group:
    """Some connections: those of a client, or all of a listener.

    Attributes:
        connections: how many there are.
        waiting: those that wait for a request, the longest first.
        stalled: those whose client does not read its response, the longest first.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.waiting: dict[Connection, None] = {}
        self.stalled: dict[Connection, None] = {}

    @property
    def first_to_go(self) -> Connection | None:
        """The connection that gives way to a new one; ``None`` if all are at work."""
        return next(iter(self.waiting or self.stalled), None)


class Connections:
    """The connections of one listener.

    Args:
        name: of the listener, for the metrics and the log.
        limits: how many there may be, and their deadlines.
        metrics: where they are counted.
    """

    def __init__(self, name: str, limits: Limits, metrics: ConnectionMetrics) -> None:
        self.name = name
        self.limits = limits
        self._open: set[Connection] = set()
        self._all = _Group()
        self._clients: dict[str, _Group] = {}
        self._dropped = {reason: metrics.dropped.labels(name, reason) for reason in REASONS}
        self._log_limit = RepeatLimit()
        metrics.open.labels(name).set_function(lambda: self._all.connections)

    def enter(self, server: web.Server, loop: asyncio.AbstractEventLoop, remote: str) -> Connection:
        """Return a new connection with a client, for which another one may have to give way.

        Args:
            server: handles its requests.
            loop: the event loop.
            remote: the address of the client.

        Raises:
            RefusedError: there are too many, and all are at work.
        """
        key = self.limits.clients.peer(remote)
        client = None if key is None else self._clients.get(key)
        if client is not None and client.connections >= self.limits.per_client:
            self._make_room(client, CLIENT, key)
        elif self._all.connections >= self.limits.connections:
            self._make_room(self._all, FULL, key)
        connection = Connection(server, self, loop, key)
        self._open.add(connection)
        connection.groups = (self._all,)
        if key is not None:
            connection.groups += (self._clients.setdefault(key, _Group()),)
        for group in connection.groups:
            group.connections += 1
        self.waits(connection)
        return connection

    def _make_room(self, group: _Group, reason: str, key: str | None) -> None:
        first = group.first_to_go
        if first is None:
            self.count(reason, key)
            raise RefusedError(_REFUSALS[reason])
        self.drop(first, REPLACED)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is closed; one that is forgotten already may leave again."""
        self.works(connection)
        self.reads(connection)
        for group in connection.groups:
            group.connections -= 1
        connection.groups = ()
        self._open.discard(connection)
        key = connection.client
        if key in self._clients and not self._clients[key].connections:
            del self._clients[key]

    def drop(self, connection: Connection, reason: str) -> None:
        """Close a connection at once, whatever its client has not read yet."""
        self.count(reason, connection.client)
        self.leave(connection)
        connection.abort()

    def count(self, reason: str, client: str | None) -> None:
        """Count a connection that is refused or closed; the log says each reason once a minute."""
        self._dropped[reason].inc()
        left_out = self._log_limit.left_out(reason)
        if left_out is not None:
            _log.warning(
                "connections_dropped",
                listener=self.name,
                reason=reason,
                client=client,
                count=left_out + 1,
            )

    def waits(self, connection: Connection) -> None:
        """Note that a connection waits for a request from now on."""
        for group in connection.groups:
            group.waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """Note that a connection waits no longer."""
        for group in connection.groups:
            group.waiting.pop(connection, None)

    def stalls(self, connection: Connection) -> None:
        """Note that a client does not read its response; drop the slowest if memory runs short."""
        for group in connection.groups:
            group.stalled[connection] = None
        unread = sum(other.unread for other in self._all.stalled)
        while unread > MAX_UNREAD:
            slowest = next(iter(self._all.stalled))
            unread -= slowest.unread
            self.drop(slowest, UNREAD)

    def reads(self, connection: Connection) -> None:
        """Note that a client reads again."""
        for group in connection.groups:
            group.stalled.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Close what is overdue; to be called each second.

        Args:
            now: the time of the event loop, in seconds.
        """
        for connection in list(self._open):
            connection.check(now)

    def abort(self) -> None:
        """Close all at once."""
        for connection in list(self._open):
            self.leave(connection)
            connection.abort()


class RefusedError(Exception):
    """A connection is refused; ``message`` is the response to its client, whatever it asks."""

    def __init__(self, message: bytes) -> None:
        super().__init__("refused")
        self.message = message


class Connection(web.RequestHandler):
    """One connection: aiohttp's protocol, with deadlines and problem documents.

    Of aiohttp it uses two attributes that are not public: how many requests were parsed
    (``_request_count``) and the one that is handled (``_current_request``), besides the queue
    between both (``_messages``); docs/adr/0011-connections.md says why.
    """

    def __init__(
        self,
        server: web.Server,
        connections: Connections,
        loop: asyncio.AbstractEventLoop,
        client: str | None,
    ) -> None:
        super().__init__(server, loop=loop, **_OPTIONS)
        self.client = client
        self.groups: tuple[_Group, ...] = ()  # that it is in; none before and after
        self._connections = connections
        self._deadlines = connections.limits.deadlines
        self._wire: asyncio.Transport | None = None
        self._aborted = False
        self._finished = 0
        self._since = loop.time()  # the beginning of what is waited for
        self._head = 0  # bytes of an incomplete head
        self._idle = False  # whether no byte of the next request has arrived
        self._body: StreamReader = EMPTY_PAYLOAD  # of the last request
        self._body_is_late = False
        self._read_by: float | None = None

    @property
    def unread(self) -> int:
        """The bytes of responses that the client has not read yet."""
        return 0 if self._wire is None else self._wire.get_write_buffer_size()

    @property
    def _is_at_work(self) -> bool:
        return self._request_count > self._finished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wire = self.transport
        if self._aborted:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and note when a request begins and when its head is complete."""
        parsed = self._request_count
        was_at_work = parsed > self._finished
        # The rest of a body that no handler wants is thrown away.
        is_head = not was_at_work and self._body.is_eof()
        super().data_received(data)
        if self._request_count > parsed:
            self._head = 0
            self._tell_of_invalid_bodies()
            if not was_at_work:
                self._since = self._loop.time()
                self._connections.works(self)
        elif is_head:
            if data and self._idle:
                self._idle, self._since = False, self._loop.time()
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(MALFORMED, _HEAD_TOO_LARGE)

    def _tell_of_invalid_bodies(self) -> None:
        """Tell the handler of a request whose body cannot be parsed.

        aiohttp only queues an error behind it, while the handler waits. Nothing else can come
        behind a request before its body has ended.
        """
        if self._current_request is None and len(self._messages) == 1:
            return  # the usual case: nothing is behind it
        current = [] if self._current_request is None else [self._current_request.content]
        for body in (current + [body for _, body in self._messages])[:-1]:
            if not body.is_eof() and body.exception() is None:
                body.set_exception(web.RequestPayloadError("it is not valid HTTP"))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response, and wait for the next request."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._finished += 1
            self._body = request.content
            self._since, self._body_is_late = self._loop.time(), False
            if self._request_count == self._finished:
                self._idle = True
                self._connections.waits(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a request that is no valid HTTP, or whose handler has failed."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another response was sent already")
        if status == HTTPStatus.BAD_REQUEST:
            self._connections.count(MALFORMED, self.client)
            response = malformed(exc, message)
        else:
            _log.error("request_failed", method=request.method, path=request.path, exc_info=exc)
            reply = HTTPStatus(status)
            response = problem(status, reply.phrase, "a fault of this service; its log says more")
        response.headers[hdrs.SERVER] = SERVER_NAME
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ANN401 - as aiohttp declares it
        """Log an error of the server, but not what clients send."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than it is sent."""
        super().pause_writing()
        self._read_by = self._deadline_of_reading()
        self._connections.stalls(self)

    def resume_writing(self) -> None:
        """Note that the client has read nearly all."""
        super().resume_writing()
        self._read_by = None
        self._connections.reads(self)

    def _deadline_of_reading(self) -> float:
        deadlines = self._deadlines
        return self._loop.time() + deadlines.send_s + self.unread / deadlines.least_rate

    def check(self, now: float) -> None:
        """Close the connection if it is overdue.

        Args:
            now: the time of the event loop, in seconds.
        """
        if self._wire is None:
            return
        if self._read_by is None and self._wire.is_closing():
            self._read_by = self._deadline_of_reading()  # it closes once all is read
        if self._read_by is not None:
            if now >= self._read_by:
                self._connections.drop(self, UNREAD)
        elif self._is_at_work:
            self._check_body(now)
        elif now >= self._since + (
            self._deadlines.idle_s if self._idle else self._deadlines.head_s
        ):
            self._end_waiting()

    def _check_body(self, now: float) -> None:
        """Tell a handler that waits for a body that it is late; the handler answers."""
        request = self._current_request
        if (
            request is not None
            and not self._body_is_late
            and now >= self._since + self._deadlines.body_s
            and not request.content.is_eof()
        ):
            self._body_is_late = True
            self._connections.count(BODY, self.client)
            request.content.set_exception(BodyTimeoutError(self._deadlines.body_s))

    def _end_waiting(self) -> None:
        if self.unread:
            self._connections.drop(self, UNREAD)
        elif self._head:
            self._refuse(HEAD, _HEAD_TIMEOUT)
        elif self._idle:
            self.force_close()
        else:
            self._connections.drop(self, HEAD)

    def _refuse(self, reason: str, message: bytes) -> None:
        """Answer a request that is not complete, and close the connection."""
        self._connections.count(reason, self.client)
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(message)
        self.force_close()

    def abort(self) -> None:
        """Close the connection at once, whatever its client has not read yet."""
        self._aborted = True
        if self._wire is not None:  # else once it is connected
            self.force_close()
            self._wire.abort()
