"""How much one client may ask (draft-ietf-httpapi-ratelimit-headers).

A bucket a client, of as many requests as it may make in a minute, which fills evenly. A client is
an address; of IPv6 a network of 64 bits, which is what one customer gets.
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

Network: TypeAlias = IPv4Network | IPv6Network
_Address: TypeAlias = IPv4Address | IPv6Address

WINDOW_S: Final = 60
MOST_CLIENTS: Final = 20_000
"""So many are remembered, in some 5 MB; who was not seen for longest is forgotten first."""
FORWARDED: Final = "X-Forwarded-For"

_POLICY: Final = "client"
_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_TITLE: Final = "Request cannot be satisfied as assigned quota has been exceeded"
EXEMPT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths without a limit: who watches the service must see it at all times."""
_UNLIMITED: Final[tuple[dict[str, str], None]] = ({}, None)
_IPV6_BITS: Final = 64
_LOCAL: Final = "127.0.0.1"  # who comes by a socket that has no address
_ROUNDING: Final = 0.01  # of a request: what many small additions may be off
_REMEDY: Final = (
    "all that come through one are one client; name it in MININGMAP_ENDPOINT__TRUSTED_PROXIES"
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Quota:
    """What a client has left.

    Args:
        left: requests that it may make at once.
        full_s: seconds until it may make as many as ever.
        wait_s: seconds until it may make this one; 0 if it may now.
    """

    left: int
    full_s: int
    wait_s: int


class Limiter:
    """The buckets.

    Args:
        limit: requests a minute.
        most_clients: that are remembered.
        clock: seconds, from any zero.
    """

    def __init__(
        self,
        limit: int,
        *,
        most_clients: int = MOST_CLIENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self._interval_s = WINDOW_S / limit
        self._most_clients = most_clients
        self._clock = clock
        # When each bucket will be full; one that is full need not be here.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> Quota:
        """One request out of a client's bucket, if one is left."""
        now = self._clock()
        full_at = max(now, self._full_at.get(client, now))
        after = full_at + self._interval_s
        wait_s = after - now - WINDOW_S
        if wait_s > _ROUNDING * self._interval_s:
            return Quota(0, math.ceil(full_at - now), math.ceil(wait_s))
        self._full_at[client] = after
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._most_clients:
            self._full_at.popitem(last=False)
        return Quota(int(-wait_s / self._interval_s + _ROUNDING), math.ceil(after - now), 0)


class Clients:
    """Who asks.

    Args:
        trusted: proxies, of which ``X-Forwarded-For`` is believed; nobody else's is.
        loopback: whether this machine's own clients are limited too.
    """

    def __init__(self, trusted: Sequence[Network], *, loopback: bool) -> None:
        self._trusted = trusted
        self._loopback = loopback
        self._direct = lru_cache(maxsize=4096)(self._bucket)

    def bucket(self, remote: str, headers: MultiMapping[str]) -> str | None:
        """The bucket of whoever asks; ``None`` if there is no limit.

        Args:
            remote: the address that the connection comes from.
            headers: of the request.
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
        """The nearest address that is no trusted proxy: what is said behind it, anyone can say."""
        while hops and any(_address(remote) in network for network in self._trusted):
            hop = hops.pop().strip()
            try:
                _address(hop)
            except ValueError:
                break
            remote = hop
        return remote


class RateLimit:
    """What keeps clients within their limit.

    Args:
        limiter: the buckets.
        clients: whose they are.
        registry: for the metrics.
    """

    def __init__(self, limiter: Limiter, clients: Clients, registry: CollectorRegistry) -> None:
        self._limiter = limiter
        self._clients = clients
        self._policy = f'"{_POLICY}";q={limiter.limit};w={WINDOW_S}'
        self._told = False
        self._limited = Counter(
            "miningmap_rate_limited", "Requests beyond a client's limit: 429.", registry=registry
        )

    def check(self, request: web.Request) -> tuple[dict[str, str], web.Response | None]:
        """The headers that tell a client what it has left; 429 if that was nothing."""
        bucket = self._clients.bucket(request.remote or _LOCAL, request.headers)
        if bucket is None or request.path in EXEMPT:
            return _UNLIMITED
        quota = self._limiter.take(bucket)
        headers = {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{_POLICY}";r={quota.left};t={quota.full_s}',
        }
        if not quota.wait_s:
            return headers, None
        if FORWARDED in request.headers and not self._told:
            self._told = True
            _log.warning("rate limit reached by what may be a proxy", remedy=_REMEDY)
        return headers, self._refusal(quota)

    def _refusal(self, quota: Quota) -> web.Response:
        self._limited.inc()
        answer = problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            _TITLE,
            f"{self._limiter.limit} requests a minute are allowed; "
            f"the next one in {quota.wait_s} s",
            **{"type": _EXCEEDED, "violated-policies": [_POLICY]},
        )
        answer.headers[hdrs.RETRY_AFTER] = str(quota.wait_s)
        return answer


def _address(text: str) -> _Address:
    """An address; an IPv4 one too if it comes in IPv6's clothes.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
