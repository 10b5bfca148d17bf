"""Rate limits for tokens: like CBECI's, they count requests within fixed periods of time.

Another one is for addresses that send wrong tokens.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from miningmap.dependencies import RepeatLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from aiohttp import web

    from miningmap.http.clients import Clients

_MOST_CLIENTS: Final = 10_000

_log = structlog.get_logger(__name__)


class Rate(NamedTuple):
    """At most ``requests`` within ``seconds``; the period begins with the first request."""

    requests: int
    seconds: int


@dataclass
class _Quota:
    """How many requests remain until a time of the clock."""

    ends: float = -math.inf
    remaining: int = 0


class RateLimiter:
    """Counts the requests of each client, in memory."""

    def __init__(self, rates: Iterable[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        """Apply all of these rates together; without any, nothing is limited."""
        self._rates = tuple(rates)
        self._clock = clock
        self._quotas: defaultdict[Hashable, list[_Quota]] = defaultdict(
            lambda: [_Quota() for _ in self._rates]
        )

    @property
    def described(self) -> str:
        """The rates, as a partner reads them."""
        return ", ".join(f"{rate.requests} requests in {rate.seconds} s" for rate in self._rates)

    def wait_s(self, client: Hashable) -> int:
        """Count a request and return 0, or reject it and return how long to wait.

        The wait is in whole seconds, rounded up.
        """
        now = self._clock()
        quotas = self._quotas[client]
        for quota, rate in zip(quotas, self._rates, strict=True):
            if now >= quota.ends:
                quota.ends, quota.remaining = now + rate.seconds, rate.requests
        if full := [quota.ends - now for quota in quotas if not quota.remaining]:
            return math.ceil(max(full))
        for quota in quotas:
            quota.remaining -= 1
        return 0


FAILURES: Final = Rate(30, 60)
"""How many requests without a valid token an address may send."""


class FailedLogins:
    """Counts the requests without a valid token by address, in memory, and logs them.

    Args:
        clients: identifies the address.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clients: Clients, clock: Callable[[], float] = time.monotonic) -> None:
        self._clients = clients
        self._clock = clock
        self._log_limit = RepeatLimit(clock)
        self._quotas: OrderedDict[str | None, _Quota] = OrderedDict()

    def wait_s(self, request: web.Request) -> int:
        """Count a request and return 0, or how many seconds its address has to wait."""
        now = self._clock()
        client = self._clients.of(request)
        quota = self._quotas.setdefault(client, _Quota())
        self._quotas.move_to_end(client)
        if len(self._quotas) > _MOST_CLIENTS:
            self._quotas.popitem(last=False)
        if now >= quota.ends:
            quota.ends, quota.remaining = now + FAILURES.seconds, FAILURES.requests
        left_out = self._log_limit.left_out("")
        if left_out is not None:
            _log.warning("intake_login_failed", client=client, count=left_out + 1)
        if not quota.remaining:
            return math.ceil(quota.ends - now)
        quota.remaining -= 1
        return 0
