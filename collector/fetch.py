"""How other people's servers are asked: the one place for manners, limits and self-defence.

Only the hosts that a source declares are asked, over HTTPS, at public addresses, without following
redirects; an answer is read up to a size and for a time. What goes wrong is one of the three errors
of :mod:`collector.source`. No error and no log line carries more of a URL than its host.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import defaultdict
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiolimiter import AsyncLimiter
from yarl import URL

from collector.credentials import NONE, Credentials
from collector.source import CredentialsError, PermanentError, SourceError, TransientError
from miningmap import __version__
from miningmap.settings import SettingsError
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from aiohttp.abc import ResolveResult

    from collector.metrics import Metrics
    from collector.source import Request, Source
    from miningmap.settings import Collector

MAX_BYTES: Final = 1 << 20
"""Of a body, decompressed."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5, sock_read=10)
RATE_PER_HOST: Final = (1.0, 1.0)
"""Requests, and the seconds in which they may be sent: once a second hurts nobody."""

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
        rate_per_host: tuple[float, float] = RATE_PER_HOST,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Nothing is done before ``async with``.

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
        self._limiters = defaultdict[str | None, AsyncLimiter](lambda: AsyncLimiter(*rate_per_host))
        self._resolver: AbstractResolver
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        resolver = aiohttp.DefaultResolver()
        self._resolver = resolver if self._anywhere else PublicResolver(resolver)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept": "application/json, text/plain"},
            timeout=self._timeout,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    async def fetch(self, source: Source) -> list[bytes]:
        """The bodies of all that the source asks, one after the other, in that order.

        Raises:
            SourceError: one of the three kinds, with the source's slug.
        """
        bodies = []
        for request in source.requests:
            try:
                bodies.append(await self._get(source, request))
            except SourceError as error:
                error.source = source.slug
                error.args = (f"{URL(request.url).host}: {error}",)
                raise
        return bodies

    async def _get(self, source: Source, request: Request) -> bytes:
        request = self._authorised(source, request)
        url = URL(request.url)
        if not (self._anywhere or source.own_server):
            _refuse_unsafe(url)
        await self._limiters[url.host].acquire()
        self._metrics.requests.labels(source.slug).inc()
        try:
            with self._metrics.duration.labels(source.slug).time():
                return await self._ask(request, self._address(url))
        except TimeoutError as error:
            raise TransientError("no answer in time", reason="timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransientError(str(error) or repr(error), reason="connection") from error

    def _authorised(self, source: Source, request: Request) -> Request:
        if source.authorise is None:
            return request
        try:
            return source.authorise(request, self._credentials.of(source), self._now())
        except SettingsError as error:
            raise CredentialsError(str(error), reason="unauthorized") from None

    def _address(self, url: URL) -> URL:
        """Where the request goes: ``https://HOST/PATH`` as such, or as ``UPSTREAM/HOST/PATH``."""
        if self._upstream is None:
            return url
        return URL(f"{self._upstream}/{url.host}{url.raw_path_qs}", encoded=True)

    async def _ask(self, request: Request, url: URL) -> bytes:
        asked = self._session.request(
            request.method, url, headers=request.headers, data=request.body, allow_redirects=False
        )
        async with asked as response:
            if response.status != HTTPStatus.OK:
                raise status_error(
                    response.status, response.headers.get("Retry-After"), self._now()
                )
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise PermanentError(f"more than {MAX_BYTES} bytes", reason="too_large")
            return bytes(body)


class PublicResolver(AbstractResolver):
    """Resolves names, but not to addresses inside: the connection goes to what was checked here."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            PermanentError: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        for address in found:
            _refuse_private(address["host"])
        return found

    async def close(self) -> None:
        """Close the resolver behind this one."""
        await self._resolver.close()


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
    """How long to wait, in seconds, by a ``Retry-After`` header; ``None`` if it does not say."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # "-0000": UTC from a server that does not know its zone
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


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


def _refuse_unsafe(url: URL) -> None:
    """Refuse what never comes to the resolver: plain HTTP, and addresses in place of names."""
    if url.scheme != "https":
        raise PermanentError("is not HTTPS", reason="address")
    host = url.host or ""
    if _is_address(host):
        _refuse_private(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refuse_private(address: str) -> None:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        # 6to4 and mapped addresses lead to the IPv4 address that they carry.
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    if not ip.is_global or ip.is_multicast:
        raise PermanentError(
            f"is at {address}, not a public address; MININGMAP_COLLECTOR__ALLOW_PRIVATE=true allows"
            " it",
            reason="address",
        )
