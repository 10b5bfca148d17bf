"""How often a token may be used: CBECI's limits, which are counts within fixed windows."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable


class Rate(NamedTuple):
    """At most so many requests within so many seconds, counted from the first of them."""

    requests: int
    seconds: int


@dataclass
class _Window:
    ends: float = -math.inf
    left: int = 0


class RateLimiter:
    """Counts by whoever asks, in memory: a few numbers for each."""

    def __init__(self, rates: Iterable[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        """Rates that hold all at once; without any all may pass."""
        self._rates = tuple(rates)
        self._clock = clock
        self._windows: defaultdict[Hashable, list[_Window]] = defaultdict(
            lambda: [_Window() for _ in self._rates]
        )

    def wait_s(self, who: Hashable) -> int:
        """Let a request pass and count it: 0. Or do not: the whole seconds until one may."""
        now = self._clock()
        windows = self._windows[who]
        for window, rate in zip(windows, self._rates, strict=True):
            if now >= window.ends:
                window.ends, window.left = now + rate.seconds, rate.requests
        if full := [window.ends - now for window in windows if not window.left]:
            return math.ceil(max(full))
        for window in windows:
            window.left -= 1
        return 0
