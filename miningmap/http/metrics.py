"""Metrics and HTTP: every server counts its requests here and answers scrapes in these formats."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from aiohttp import hdrs, web
from prometheus_client import Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from miningmap.metrics import OTHER, Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client import CollectorRegistry, Metric

    from miningmap.series import Series

# What is in memory is answered within a millisecond, what is computed from cells within 5 s or, for
# a year of them, 30 s; a partner's rows wait up to 25 s for Kafka.
_BUCKETS_S: Final = (0.001, 0.0025, 0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30)
_LABELS: Final = ("route", "method", "status")
_OPENMETRICS: Final = "application/openmetrics-text"
_END: Final = b"# EOF\n"  # of OpenMetrics

_Values: TypeAlias = tuple[str, str, int]
"""The values of the labels of a request: route, method and status."""


class Format(NamedTuple):
    """A format of metrics as text.

    Attributes:
        content_type: its media type.
        encode: returns the text of the metrics of a collector.
    """

    content_type: str
    encode: Callable[[Collector], bytes]

    def encode_all(self, registry: CollectorRegistry, series: Iterable[Series]) -> bytes:
        """Return the text of the metrics of a registry, and of others that have many series."""
        parts: list[bytes] = []
        for each in series:
            heading = self.encode(each.without_series())
            parts += (heading.removesuffix(_END), each.lines().encode())
        return b"".join([*parts, self.encode(registry)])


TEXT: Final = Format(CONTENT_TYPE_PLAIN_0_0_4, generate_latest)
OPENMETRICS: Final = Format(openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest)


def accepted_format(request: web.Request) -> Format:
    """Return OpenMetrics if the scraper accepts it, else the text format.

    The library's own choice fails on some headers, and repeats a part of the header in the
    response; no scraper needs any other version.
    """
    return OPENMETRICS if _OPENMETRICS in request.headers.get(hdrs.ACCEPT, "").lower() else TEXT


class ConnectionMetrics:
    """Counts the connections of all HTTP servers of a process, by listener."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge(
            "miningmap_http_connections",
            "Open connections of the listener.",
            ["listener"],
            registry=registry,
        )
        self.dropped = Counter(
            "miningmap_http_connections_dropped_total",
            "Connections that were refused because all others were at work (full) or their client "
            "has too many at work (client), that waited for a request, or for their client to "
            "read, and gave way to a new one (replaced), or that were closed because the head "
            "(head) or body (body) of a request did not arrive in time, the client did not read "
            "its responses (unread) or did not send valid HTTP (malformed).",
            ["listener", "reason"],
            registry=registry,
        )
        self.accept_failures = Counter(
            "miningmap_http_accept_failures_total",
            "Times that the operating system had no connection for the listener, for instance "
            "because too many files are open; it is tried again after a second.",
            ["listener"],
            registry=registry,
        )


class HttpMetrics(Collector):
    """Counts the requests of all HTTP servers of a process, and times them.

    A request is identified by the pattern of its route, never by its path, which clients choose.
    The figures are kept here, not in the library, whose locks and checks take as long as all
    other middlewares together.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections: Final = ConnectionMetrics(registry)
        """For :func:`miningmap.http.server.serving`."""
        self._requests = defaultdict[_Values, int](int)
        self._durations = defaultdict[_Values, Distribution](lambda: Distribution(_BUCKETS_S))
        registry.register(self)

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            started = perf_counter()
            try:
                response = await handler(request)
            except web.HTTPException as error:
                self._count(request, error, started)
                raise
            self._count(request, response, started)
            return response

        self.middleware: Middleware = middleware
        """The outermost middleware of each server, which sees the responses as they are sent."""

    def _count(self, request: web.Request, response: web.StreamResponse, started: float) -> None:
        values = (_route(request), _method(request), response.status)
        self._requests[values] += 1
        if not response.prepared:  # else it is a stream, which lasted as long as its client wanted
            self._durations[values].add(perf_counter() - started)

    def collect(self) -> Iterator[Metric]:
        """Yield both metrics."""
        requests = CounterMetricFamily(
            "miningmap_http_requests_total",
            "HTTP requests, by the pattern of their route ('other' if there is none), method and "
            "status of the response. A stream is counted when it ends.",
            labels=_LABELS,
        )
        for values, number in self._requests.items():
            requests.add_metric([*map(str, values)], number)
        yield requests
        durations = HistogramMetricFamily(
            "miningmap_http_request_duration_seconds",
            "Time from the head of an HTTP request until its response is made; streams are left "
            "out.",
            labels=_LABELS,
        )
        for values, taken in self._durations.items():
            durations.add_metric([*map(str, values)], taken.buckets(), taken.sum)
        yield durations


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return OTHER if resource is None else resource.canonical


def _method(request: web.Request) -> str:
    """Return the method; clients may invent some."""
    return request.method if request.method in hdrs.METH_ALL else OTHER
