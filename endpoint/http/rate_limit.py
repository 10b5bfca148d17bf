"""The rate limit for each client (draft-ietf-httpapi-ratelimit-headers).

Each client (:mod:`miningmap.http.clients`) has a token bucket that holds the requests of one minute
and is refilled evenly. A question that takes long to answer counts as several requests
(:mod:`streams.queries.cost`).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from aiohttp import hdrs
from prometheus_client import Counter

from miningmap.http.clients import FORWARDED
from miningmap.http.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web
    from prometheus_client import CollectorRegistry

    from miningmap.http.clients import Clients
    from streams.queries.cost import Cost

WINDOW_S: Final = 60
MAX_CLIENTS: Final = 20_000
"""The number of tracked clients, in about 5 MB; the least recently seen one is dropped first."""

_POLICY: Final = "client"
_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_EXCEEDED_TITLE: Final = "Request cannot be satisfied as assigned quota has been exceeded"
EXEMPT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths without a limit: monitoring must work at all times."""
_UNLIMITED: Final[tuple[dict[str, str], None]] = ({}, None)
_ROUNDING: Final = 0.01  # tolerance for floating-point error, as a fraction of a request
_REMEDY: Final = (
    "all clients behind a proxy share one limit until the proxy is listed in "
    "MININGMAP_ENDPOINT__TRUSTED_PROXIES"
)

_log = structlog.get_logger(__name__)


class Quota(NamedTuple):
    """A client's quota after a request.

    Attributes:
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
        return quota_exceeded(
            f"{limit} requests in {WINDOW_S} s are allowed to each client, and this one counts as "
            f"{client}{counts}; try again in {wait_s} s",
            wait_s,
            **{"violated-policies": [_POLICY]},
            limit=limit,
            window_s=WINDOW_S,
            client=client,
            **({} if more is None else {"cost": more}),
        )


def quota_exceeded(detail: str, wait_s: int, **members: object) -> web.Response:
    """Return the 429 of a client that has all that is allowed to it.

    Args:
        detail: what is allowed, who the client is, and what to do.
        wait_s: after how many seconds it may try again.
        members: of the problem document, in addition.
    """
    response = problem(
        HTTPStatus.TOO_MANY_REQUESTS, _EXCEEDED_TITLE, detail, type=_EXCEEDED, **members
    )
    response.headers[hdrs.RETRY_AFTER] = str(wait_s)
    return response
