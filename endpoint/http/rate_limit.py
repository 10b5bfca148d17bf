"""The rate limit for each client (draft-ietf-httpapi-ratelimit-headers).

Each client has a token bucket that holds the requests of one minute and is refilled evenly. A
question that takes long to answer counts as several requests (:mod:`streams.queries.cost`). A
client is an IPv4 address or an IPv6 network with a prefix of 64 bits, the smallest network that a
customer gets.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
from aiohttp import hdrs
from prometheus_client import Counter

from miningmap.http.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web
    from multidict import MultiMapping
    from prometheus_client import CollectorRegistry

    from streams.queries.cost import Cost

Network: TypeAlias = IPv4Network | IPv6Network
_Address: TypeAlias = IPv4Address | IPv6Address

WINDOW_S: Final = 60
MAX_CLIENTS: Final = 20_000
"""The number of tracked clients, in about 5 MB; the least recently seen one is dropped first."""
FORWARDED: Final = "X-Forwarded-For"

_POLICY: Final = "client"
EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
EXCEEDED_TITLE: Final = "Request cannot be satisfied as assigned quota has been exceeded"
EXEMPT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths without a limit: monitoring must work at all times."""
_UNLIMITED: Final[tuple[dict[str, str], None]] = ({}, None)
_IPV6_BITS: Final = 64
_LOCAL: Final = "127.0.0.1"  # for clients on a Unix socket, which have no address
_ROUNDING: Final = 0.01  # tolerance for floating-point error, as a fraction of a request
_REMEDY: Final = (
    "all clients behind a proxy share one limit until the proxy is listed in "
    "MININGMAP_ENDPOINT__TRUSTED_PROXIES"
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Quota:
    """A client's quota after a request.

    Args:
        remaining: further requests that are allowed now.
        full_s: seconds until the bucket is full again.
        wait_s: seconds until this request is allowed; 0 if it is allowed now.
    """

    remaining: int
    full_s: int
    wait_s: int


class Limiter:
    """The token buckets of all clients.

    Args:
        limit: requests per minute.
        max_clients: the number of clients that are tracked.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        limit: int,
        *,
        max_clients: int = MAX_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self._interval_s = WINDOW_S / limit
        self._max_clients = max_clients
        self._clock = clock
        # The time at which each bucket will be full; full buckets may be missing.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str, cost: Cost = 1) -> Quota:
        """Take requests from a client's bucket, if it has so many; return the client's quota.

        What costs more than a bucket can hold takes all of a full one.
        """
        now = self._clock()
        full_at = max(now, self._full_at.get(client, now))
        after = full_at + min(cost, self.limit) * self._interval_s
        wait_s = after - now - WINDOW_S
        if wait_s > _ROUNDING * self._interval_s:
            left = int((WINDOW_S - (full_at - now)) / self._interval_s + _ROUNDING)
            return Quota(left, math.ceil(full_at - now), math.ceil(wait_s))
        self._full_at[client] = after
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._max_clients:
            self._full_at.popitem(last=False)
        return Quota(int(-wait_s / self._interval_s + _ROUNDING), math.ceil(after - now), 0)


class Clients:
    """Identifies the client of a request.

    Args:
        trusted: the proxies whose ``X-Forwarded-For`` is used; anyone else could forge it.
        loopback: whether clients on this machine are limited too.
    """

    def __init__(self, trusted: Sequence[Network], *, loopback: bool) -> None:
        self._trusted = trusted
        self._loopback = loopback
        self._direct = lru_cache(maxsize=4096)(self._bucket)

    def of(self, request: web.Request) -> str | None:
        """Return the key of the bucket of a request's client, or ``None`` if it is not limited."""
        return self.bucket(request.remote or _LOCAL, request.headers)

    def bucket(self, remote: str, headers: MultiMapping[str]) -> str | None:
        """Return the key of the client's bucket, or ``None`` if the client is not limited.

        Args:
            remote: the address of the other end of the connection.
            headers: the headers of the request.
        """
        if self._trusted and FORWARDED in headers:
            hops = ",".join(headers.getall(FORWARDED)).split(",")
            return self._bucket(self._behind(remote, hops))
        return self._direct(remote)

    def _bucket(self, remote: str) -> str | None:
        address = _address(remote)
        if address.is_loopback and not self._loopback:
            return None
        if isinstance(address, IPv6Address):
            return str(IPv6Network((int(address), _IPV6_BITS), strict=False))
        return str(address)

    def _behind(self, remote: str, hops: list[str]) -> str:
        """Return the nearest address that is not a trusted proxy: those behind it can be forged."""
        while hops and any(_address(remote) in network for network in self._trusted):
            hop = hops.pop().strip()
            try:
                _address(hop)
            except ValueError:
                break
            remote = hop
        return remote


class RateLimit:
    """Applies the limit to requests.

    Args:
        limiter: the buckets.
        clients: identifies the client of a request.
        registry: for the metrics.
    """

    def __init__(self, limiter: Limiter, clients: Clients, registry: CollectorRegistry) -> None:
        self._limiter = limiter
        self._clients = clients
        self._policy = f'"{_POLICY}";q={limiter.limit};w={WINDOW_S}'
        self._proxy_logged = False
        self._limited = Counter(
            "miningmap_rate_limited",
            "Requests that were refused with 429 because the client exceeded its limit.",
            registry=registry,
        )

    def check_more(
        self, request: web.Request, more: Cost
    ) -> tuple[dict[str, str], web.Response | None]:
        """As :meth:`check`, for what an answer costs beyond the request, which was checked before.

        The answer to a request that finds a full bucket can cost any number.
        """
        return self.check(request, min(more, self._limiter.limit - 1), is_more=True)

    def check(
        self, request: web.Request, cost: Cost = 1, *, is_more: bool = False
    ) -> tuple[dict[str, str], web.Response | None]:
        """Return the ``RateLimit`` headers of the response, and a 429 if the limit is exceeded."""
        bucket = self._clients.of(request)
        if bucket is None or request.path in EXEMPT:
            return _UNLIMITED
        quota = self._limiter.take(bucket, cost)
        headers = {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{_POLICY}";r={quota.remaining};t={quota.full_s}',
        }
        if not quota.wait_s:
            return headers, None
        if FORWARDED in request.headers and not self._proxy_logged:
            self._proxy_logged = True
            _log.warning("proxy_rate_limited", remedy=_REMEDY)
        return headers, self._rejection(bucket, quota, cost if is_more else None)

    def _rejection(self, client: str, quota: Quota, more: Cost | None) -> web.Response:
        self._limited.inc()
        limit = self._limiter.limit
        counts = "" if more is None else f"; this question counts as {more} more"
        # The next request counts as one, too, before its answer does.
        wait_s = quota.wait_s if more is None else quota.wait_s + math.ceil(WINDOW_S / limit)
        response = problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            EXCEEDED_TITLE,
            f"{limit} requests in {WINDOW_S} s are allowed to each client, and this one counts as "
            f"{client}{counts}; try again in {wait_s} s",
            **{"type": EXCEEDED, "violated-policies": [_POLICY]},
            limit=limit,
            window_s=WINDOW_S,
            client=client,
            **({} if more is None else {"cost": more}),
        )
        response.headers[hdrs.RETRY_AFTER] = str(wait_s)
        return response


def _address(text: str) -> _Address:
    """Return the address; an IPv4 address that is mapped into IPv6 is returned as IPv4.

    Raises:
        ValueError: the text is not an address.
    """
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
