"""Rate limits for tokens: like CBECI's, they count requests within fixed periods of time."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable


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
