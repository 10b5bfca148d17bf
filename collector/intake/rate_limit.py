"""Rate limits for tokens. Like CBECI's, they are counts within fixed windows."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable


class Rate(NamedTuple):
    """At most ``requests`` within ``seconds``, counted from the first request on."""

    requests: int
    seconds: int


@dataclass
class _Window:
    ends: float = -math.inf
    remaining: int = 0


class RateLimiter:
    """Counts requests by client, in memory: a few numbers for each."""

    def __init__(self, rates: Iterable[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        """Apply all of these rates at once; without any, nothing is limited."""
        self._rates = tuple(rates)
        self._clock = clock
        self._windows: defaultdict[Hashable, list[_Window]] = defaultdict(
            lambda: [_Window() for _ in self._rates]
        )

    def wait_s(self, client: Hashable) -> int:
        """Count a request and return 0, or reject it and return how long to wait.

        The wait is in whole seconds, rounded up.
        """
        now = self._clock()
        windows = self._windows[client]
        for window, rate in zip(windows, self._rates, strict=True):
            if now >= window.ends:
                window.ends, window.remaining = now + rate.seconds, rate.requests
        if full := [window.ends - now for window in windows if not window.remaining]:
            return math.ceil(max(full))
        for window in windows:
            window.remaining -= 1
        return 0
