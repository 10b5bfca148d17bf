"""Send the requests that sources declare: the one place for requests to third-party servers.

Requests go only to the hosts that a source declares, over HTTPS, at public addresses, without
following redirects. Response bodies are limited in size and time. Every failure is raised as one of
the three errors of :mod:`collector.sources.base`. URLs may contain keys, so errors and log lines
show only the host of a URL.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from collector.http.address_guard import PublicResolver, reject_unsafe
from collector.http.backoff import CIRCUIT_OPEN
from collector.http.conditional import CachedResponse, ResponseCache
from collector.http.connector import Connector
from collector.http.hosts import Host
from collector.sources.base import (
    CredentialsError,
    PermanentError,
    SourceError,
    TransientError,
    host_of,
)
from collector.sources.credentials import NONE, Credentials
from collector.sources.decoding import refuse_html
from miningmap import __version__
from miningmap.settings import HOSTS_SETTING, SettingsError
from miningmap.times import retry_after_s, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from types import TracebackType

    from aiohttp.abc import AbstractResolver

    from collector.metrics import Metrics
    from collector.sources.base import Request, Source
    from miningmap.settings import Collector

MAX_BYTES: Final = 1 << 20
"""The largest accepted body, decompressed."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5, sock_read=10)

MAX_REQUESTS: Final = 100
"""The most requests of one poll; more of them would hardly be done before the next."""

_CHUNK: Final = 1 << 16
_LONGEST_HOST: Final = 100  # characters of an error
_REDIRECTS: Final = range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST)
_RATE_LIMITED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN})


class Fetcher:
    """An HTTP client for all sources; an async context manager.

    All sources share one, because rate limits and back-off are kept by host.
    """

    def __init__(
        self,
        settings: Collector,
        metrics: Metrics,
        *,
        credentials: Credentials = NONE,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a client; it opens its sessions inside ``async with``.

        Args:
            settings: the upstream, the contact, and whether private addresses are allowed.
            metrics: where requests and the state of hosts are recorded.
            credentials: of the sources that need some.
            timeout: of one request.
            now: the wall clock, for signatures and for dates in headers.
            clock: seconds that never go back, for back-off and the age of connections.

        Raises:
            SettingsError: ``upstream`` is not an HTTP address.
        """
        self._upstream = _upstream(settings.upstream)
        # The operator has chosen the upstream, so it may have a private address. All requests go
        # to it and none to another server.
        self._set_hosts = settings.hosts
        self._allow_private = settings.allow_private or self._upstream is not None
        self._user_agent = _user_agent(settings.contact)
        self._credentials = credentials
        self._metrics = metrics
        self._timeout = timeout
        self._now = now
        self._clock = clock
        self._hosts: dict[str, Host] = {}
        self._cache = ResponseCache()
        self._resources: AsyncExitStack
        self._public: aiohttp.ClientSession
        self._unchecked: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as resources:
            resolver = aiohttp.DefaultResolver()
            resources.push_async_callback(resolver.close)
            self._unchecked = await resources.enter_async_context(self._session(resolver))
            public = self._session(PublicResolver(resolver))
            self._public = await resources.enter_async_context(public)
            self._resources = resources.pop_all()
        return self

    def _session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=Connector(resolver, clock=self._clock),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept": "application/json, text/plain"},
            timeout=self._timeout,
            # A proxy from the environment would resolve names itself, unchecked.
            trust_env=False,
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    def register(self, source: Source) -> None:
        """Apply a source's rate limit to its hosts before the source is fetched.

        Sources that share a host are then bound by the strictest rate from the first request on.

        Raises:
            PermanentError: the source declares a URL without a host.
        """
        for request in self._relocated(source, source.requests):
            name = request.host
            if name in self._hosts:
                self._hosts[name].limit(source.rate)
            else:
                self._hosts[name] = Host(name, source.rate, self._metrics, self._clock)

    async def fetch(self, source: Source) -> list[bytes]:
        """Send a source's requests one after the other and return their bodies in that order.

        The body of an optional request that failed is empty. No request is sent while the circuit
        of a host is open that the source cannot do without.

        Raises:
            SourceError: one of the three kinds, with the source's slug.
        """
        bodies: list[bytes] = []
        try:
            self.register(source)
            for request in self._relocated(source, source.requests):
                if not request.optional:
                    self._host(request).raise_if_open()
            await self._fetch_bodies(source, bodies)
        except SourceError as error:
            error.source = source.slug
            if bodies and isinstance(error, TransientError) and error.reason == CIRCUIT_OPEN:
                # The hosts that have responded must get no request before the next poll is due.
                error.retry_after_s = max(source.poll_s, error.retry_after_s or 0.0)
            raise
        return bodies

    def masked(self, source: Source, text: str) -> str:
        """Return the text without the source's credentials."""
        return self._credentials.masked(source, text)

    async def _fetch_bodies(self, source: Source, bodies: list[bytes]) -> None:
        """Append the bodies of all requests, and of those that follow from them."""
        failures: list[SourceError] = []
        pending: Sequence[Request] = source.requests
        while pending:
            if len(bodies) + len(pending) > MAX_REQUESTS:
                text = f"one poll would take more than {MAX_REQUESTS} requests"
                raise PermanentError(text, reason="too_large")
            for request in self._relocated(source, pending):
                body = await self._fetch_or_skip(source, request, failures)
                bodies.append(body)
            pending = _further(source, bodies)
        if failures and not any(bodies):
            raise failures[0]
        for failure in failures:
            self._metrics.failures.add((source.slug, failure.reason))

    async def _fetch_or_skip(
        self, source: Source, request: Request, failures: list[SourceError]
    ) -> bytes:
        """Return the body; for an optional request that fails, note the error and return none."""
        try:
            return await self._fetch_body(source, request)
        except SourceError as error:
            if not request.optional:
                raise
            failures.append(error)
            return b""

    def _relocated(self, source: Source, requests: Sequence[Request]) -> Sequence[Request]:
        """Return the requests, to the hosts that the operator set in place of declared ones."""
        if source.own_server or not self._set_hosts:
            return requests
        return [self._with_set_host(request) for request in requests]

    def _with_set_host(self, request: Request) -> Request:
        host = self._set_hosts.get(request.host)
        if host is None:
            return request
        return replace(request, url=urlsplit(request.url)._replace(netloc=host).geturl())

    def _host(self, request: Request) -> Host:
        return self._hosts[request.host]

    async def _fetch_body(self, source: Source, declared: Request) -> bytes:
        host = self._host(declared)
        await host.acquire()
        try:
            # Authorised just before sending, because a signature may contain the time.
            request = self._authorised(source, declared)
            session = self._session_for(source, request, host)
            return await self._fetch_cached(source, request, host, session)
        except SourceError as error:
            error.args = (f"{host.name}: {error}",)
            raise

    def _session_for(self, source: Source, request: Request, host: Host) -> aiohttp.ClientSession:
        """Return the session that may send the request.

        Raises:
            PermanentError: none may, because the URL is unsafe or its host is not the declared one.
        """
        if not source.own_server and request.host != host.name:
            raise PermanentError("requests another host than the source declares", reason="address")
        if self._allow_private or source.own_server:
            return self._unchecked
        reject_unsafe(URL(request.url))
        return self._public

    async def _fetch_cached(
        self, source: Source, request: Request, host: Host, session: aiohttp.ClientSession
    ) -> bytes:
        """Send the request, conditionally where possible, and return the current body."""
        is_cacheable = source.authorise is None and request.method == "GET"
        cached = self._cache.get(request) if is_cacheable else None
        with host.attempt(), self._metrics.request(source.slug):
            response = await self._send(session, request, cached)
        if is_cacheable:
            self._cache.store(request, response)
        return response.body

    def _authorised(self, source: Source, request: Request) -> Request:
        if source.authorise is None:
            return request
        try:
            return source.authorise(request, self._credentials.of(source), self._now())
        except SettingsError as error:
            raise CredentialsError(str(error), reason="unauthorized") from None
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything at a wrong key
            # The error's own text could quote the key.
            text = f"the credentials cannot be used: {type(error).__name__}"
            raise CredentialsError(text, reason="unauthorized") from None

    async def _send(
        self, session: aiohttp.ClientSession, request: Request, cached: CachedResponse | None
    ) -> CachedResponse:
        """Return the response, or ``cached`` if the server says that it is still current.

        Raises:
            SourceError: the fitting subclass. Its text is never aiohttp's, which quotes the URL.
        """
        try:
            return await self._receive(session, request, cached)
        except TimeoutError:
            raise TransientError("no answer in time", reason="timeout") from None
        except ValueError as error:  # aiohttp rejects it, for example a line feed in a header
            text = f"the request cannot be sent: {type(error).__name__}"
            raise PermanentError(text, reason="client_error") from None
        except (aiohttp.ClientError, OSError) as error:
            cause = error.strerror if isinstance(error, OSError) else None
            text = f"connection failed: {cause or type(error).__name__}"
            raise TransientError(text, reason="connection") from None

    async def _receive(
        self, session: aiohttp.ClientSession, request: Request, cached: CachedResponse | None
    ) -> CachedResponse:
        conditions = cached.conditions if cached else {}
        sending = session.request(
            request.method,
            self._address(URL(request.url)),
            headers={**request.headers, **conditions},
            data=request.body,
            allow_redirects=False,
        )
        async with sending as response:
            if cached and response.status == HTTPStatus.NOT_MODIFIED:
                return cached
            if response.status != HTTPStatus.OK:
                if response.status in _REDIRECTS:
                    raise _moved(response.status, response.headers.get("Location"), request.url)
                retry_after = response.headers.get("Retry-After")
                raise _status_error(response.status, retry_after, self._now())
            body = await _read(response)
        refuse_html(body)
        return CachedResponse.of(body, response.headers)

    def _address(self, url: URL) -> URL:
        """Return the URL to send to: ``url`` itself, or ``UPSTREAM/HOST/PATH`` in its place."""
        if self._upstream is None:
            return url
        return URL(f"{self._upstream}/{url.raw_host}{url.raw_path_qs}", encoded=True)


def _further(source: Source, bodies: Sequence[bytes]) -> Sequence[Request]:
    """Return the requests that follow from the bodies so far.

    Raises:
        SourceError: nothing follows from them, or a request to a host that is not declared.
    """
    requests = source.further_requests(bodies)
    if not requests:
        return ()
    declared = {request.host for request in source.requests}
    if any(request.host not in declared for request in requests):
        raise PermanentError("requests another host than the source declares", reason="address")
    return requests


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise PermanentError(f"more than {MAX_BYTES} bytes", reason="too_large")
    return bytes(body)


def _status_error(status: int, retry_after: str | None, now: datetime) -> SourceError:
    """Return the error that an HTTP status other than 200 means.

    Args:
        status: of the response.
        retry_after: the header of this name, in either of its forms, if there was one.
        now: the time that a date in the header is compared with.
    """
    text = f"HTTP {status}"
    if status in _RATE_LIMITED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(
            text,
            reason="rate_limited" if status in _RATE_LIMITED else "server_error",
            retry_after_s=retry_after_s(retry_after, now),
        )
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsError(f"{text}: the key is missing or wrong", reason="unauthorized")
    return PermanentError(text, reason="client_error")


def _moved(status: int, location: str | None, url: str) -> SourceError:
    """Return the error that a redirect means.

    It names the host of the new address, and no more: a path or query may contain a key.

    Args:
        status: of the response.
        location: the header of this name, if there was one.
        url: of the request.
    """
    try:
        host = URL(location or "").host_port_subcomponent
    except ValueError:
        host = None
    if host is not None and host != host_of(url):
        where = f"moved to {host[:_LONGEST_HOST]}; if that is its new address, set {HOSTS_SETTING}"
    elif location:
        where = f"moved to another path of {host_of(url)}"
    else:
        where = "moved, without a new address"
    return PermanentError(f"HTTP {status}: {where}; redirects are not followed", reason="redirect")


def _upstream(setting: str | None) -> str | None:
    if setting is None:
        return None
    url = URL(setting)
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsError(
            "MININGMAP_COLLECTOR__UPSTREAM: expected an HTTP address such as http://127.0.0.1:9000"
        )
    return setting.rstrip("/")


def _user_agent(contact: str) -> str:
    about = f"live map of Bitcoin mining; contact: {contact}" if contact else "live map of mining"
    return f"miningmap/{__version__} ({about})"
