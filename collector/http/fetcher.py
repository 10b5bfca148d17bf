"""How other people's servers are asked: the one place for manners, limits and self-defence.

Only the hosts that a source declares are asked, over HTTPS, at public addresses, without following
redirects; an answer is read up to a size and for a time. What goes wrong is one of the three errors
of :mod:`collector.sources.base`. No error and no log line carries more of a URL than its host.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

from collector.http.address_guard import PublicResolver, refuse_unsafe
from collector.http.conditional import Answer, Answers
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
from miningmap.settings import SettingsError
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from aiohttp.abc import AbstractResolver

    from collector.metrics import Metrics
    from collector.sources.base import Request, Source
    from miningmap.settings import Collector

MAX_BYTES: Final = 1 << 20
"""Of a body, decompressed."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5, sock_read=10)
MAX_RETRY_AFTER_S: Final = 86_400.0

_CHUNK: Final = 1 << 16
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN})


class Fetcher:
    """Asks sources; an async context manager. One for all sources, so that hosts are shared."""

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
        """Nothing is done before ``async with``.

        Args:
            settings: where to, and who asks.
            metrics: where requests and hosts are shown.
            credentials: for those sources that need some.
            timeout: of one request.
            now: the wall clock, for signatures and dates in headers.
            clock: seconds that never go back, for how long a host is left alone.

        Raises:
            SettingsError: ``upstream`` is no HTTP address.
        """
        self._upstream = _upstream(settings.upstream)
        # The upstream is the operator's own choice, wherever it is; nothing else is asked then.
        self._anywhere = settings.allow_private or self._upstream is not None
        self._user_agent = _user_agent(settings.contact)
        self._credentials = credentials
        self._metrics = metrics
        self._timeout = timeout
        self._now = now
        self._clock = clock
        self._hosts: dict[str, Host] = {}
        self._answers = Answers()
        self._open = AsyncExitStack()
        self._public: aiohttp.ClientSession
        self._unchecked: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        resolver = aiohttp.DefaultResolver()
        self._open.push_async_callback(resolver.close)
        self._unchecked = await self._open.enter_async_context(self._session(resolver))
        public = self._session(PublicResolver(resolver))
        self._public = await self._open.enter_async_context(public)
        return self

    def _session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # No limit: a source has one connection, and waits for none that hosts that hang hold.
            connector=aiohttp.TCPConnector(resolver=resolver, limit=0),
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
        await self._open.aclose()

    def expect(self, source: Source) -> None:
        """Know a source before it is asked: what it declares of its hosts binds the others too.

        Raises:
            PermanentError: it asks at what is no address.
        """
        for request in source.requests:
            self._host(request).limit(source.rate)

    async def fetch(self, source: Source) -> list[bytes]:
        """The bodies of all that the source asks, one after the other, in that order.

        Nothing is asked while one of its hosts is left alone.

        Raises:
            SourceError: one of the three kinds, with the source's slug.
        """
        bodies: list[bytes] = []
        try:
            self.expect(source)
            for request in source.requests:
                self._host(request).refuse_if_open()
            for request in source.requests:
                body = await self._get(source, request)
                bodies.append(body)
        except SourceError as error:
            error.source = source.slug
            if bodies and isinstance(error, TransientError) and error.reason == "breaker":
                # What has been asked already is not asked again before its time.
                error.retry_after_s = max(source.poll_s, error.retry_after_s or 0.0)
            raise
        return bodies

    def masked(self, source: Source, text: str) -> str:
        """The text without the source's credentials."""
        return self._credentials.masked(source, text)

    def _host(self, request: Request) -> Host:
        name = host_of(request.url)
        if name not in self._hosts:
            self._hosts[name] = Host(name, self._metrics, self._clock)
        return self._hosts[name]

    async def _get(self, source: Source, declared: Request) -> bytes:
        host = self._host(declared)
        await host.turn()
        try:
            return await self._get_now(source, declared, host)
        except SourceError as error:
            error.args = (f"{host.name}: {error}",)
            raise

    async def _get_now(self, source: Source, declared: Request, host: Host) -> bytes:
        request = self._authorised(source, declared)
        anywhere = self._anywhere or source.own_server
        if not source.own_server and host_of(request.url) != host.name:
            raise PermanentError("asks another host than it declares", reason="address")
        url = URL(request.url)
        if not anywhere:
            refuse_unsafe(url)
        session = self._unchecked if anywhere else self._public
        conditionally = source.authorise is None and request.method == "GET"
        known = self._answers.of(request) if conditionally else None
        with host.asked():
            self._metrics.requests.labels(source.slug).inc()
            with self._metrics.duration.labels(source.slug).time():
                answer = await self._send(session, request, url, known)
        if conditionally:
            self._answers.keep(request, answer)
        return answer.body

    def _authorised(self, source: Source, request: Request) -> Request:
        if source.authorise is None:
            return request
        try:
            return source.authorise(request, self._credentials.of(source), self._now())
        except SettingsError as error:
            raise CredentialsError(str(error), reason="unauthorized") from None
        except Exception as error:  # noqa: BLE001 - and it is one of the three errors, whatever it is
            # Its text could quote the secret that the adapter tripped over.
            text = f"the credentials cannot be used: {type(error).__name__}"
            raise CredentialsError(text, reason="unauthorized") from None

    async def _send(
        self, session: aiohttp.ClientSession, request: Request, url: URL, known: Answer | None
    ) -> Answer:
        """The answer, or ``known`` if the server says that it still is the one.

        Raises:
            SourceError: of the kind that says what went wrong, in no words of aiohttp's: they
                quote the URL, and there may be a key in it.
        """
        try:
            return await self._ask(session, request, self._address(url), known)
        except TimeoutError:
            raise TransientError("no answer in time", reason="timeout") from None
        except ValueError as error:  # of aiohttp: a line feed in a header, say
            text = f"the request cannot be sent: {type(error).__name__}"
            raise PermanentError(text, reason="client_error") from None
        except (aiohttp.ClientError, OSError) as error:
            said = error.strerror if isinstance(error, OSError) else None
            text = f"connection failed: {said or type(error).__name__}"
            raise TransientError(text, reason="connection") from None

    async def _ask(
        self, session: aiohttp.ClientSession, request: Request, url: URL, known: Answer | None
    ) -> Answer:
        conditions = known.conditions if known else {}
        asked = session.request(
            request.method,
            url,
            headers={**request.headers, **conditions},
            data=request.body,
            allow_redirects=False,
        )
        async with asked as response:
            if known and response.status == HTTPStatus.NOT_MODIFIED:
                return known
            if response.status != HTTPStatus.OK:
                retry_after = response.headers.get("Retry-After")
                raise status_error(response.status, retry_after, self._now())
            body = await _read(response)
        refuse_html(body)
        return Answer.made_of(body, response.headers)

    def _address(self, url: URL) -> URL:
        """Where the request goes: ``https://HOST/PATH`` as such, or as ``UPSTREAM/HOST/PATH``."""
        if self._upstream is None:
            return url
        return URL(f"{self._upstream}/{url.host}{url.raw_path_qs}", encoded=True)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise PermanentError(f"more than {MAX_BYTES} bytes", reason="too_large")
    return bytes(body)


def status_error(status: int, retry_after: str | None, now: datetime) -> SourceError:
    """The error that an HTTP status other than 200 means.

    Args:
        status: of the answer.
        retry_after: the header, in either of its forms, if there was one.
        now: what a date in it is compared with.
    """
    text = f"HTTP {status}"
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(
            text,
            reason="rate_limited" if status in _BUSY else "server_error",
            retry_after_s=retry_after_s(retry_after, now),
        )
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsError(f"{text}: the key is missing or wrong", reason="unauthorized")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return PermanentError(f"{text}: moved, and redirects are not followed", reason="redirect")
    return PermanentError(text, reason="client_error")


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """How long to wait, in seconds, by a ``Retry-After`` header; ``None`` if it does not say.

    A day at most: a wrong header must not end a source for good.
    """
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return min(float(header), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # "-0000": UTC from a server that does not know its zone
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), MAX_RETRY_AFTER_S)


def _upstream(setting: str | None) -> str | None:
    if setting is None:
        return None
    url = URL(setting)
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsError("MININGMAP_COLLECTOR__UPSTREAM: must be like http://127.0.0.1:9000")
    return setting.rstrip("/")


def _user_agent(contact: str) -> str:
    about = f"live map of Bitcoin mining; contact: {contact}" if contact else "live map of mining"
    return f"miningmap/{__version__} ({about})"
