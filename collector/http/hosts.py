"""Hosts: the request rate and the back-off that all sources of one host share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from aiolimiter import AsyncLimiter

from collector.http.backoff import CIRCUIT_OPEN, Backoff
from collector.sources.base import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.metrics import Metrics
    from collector.sources.base import Rate

MAX_FAILURES: Final = 5
"""Failures in a row, of all sources of a host together, that open its circuit."""
FIRST_OPEN_S: Final = 60.0
"""How long a circuit is open the first time, in seconds; this doubles up to ``LONGEST_S``."""

_log: Final = structlog.get_logger(__name__)


class Host:
    """One host, identified by its name and, unless it is the default one, its port."""

    def __init__(self, name: str, rate: Rate, metrics: Metrics, clock: Callable[[], float]) -> None:
        """Start with a closed circuit."""
        self.name = name
        self._backoff = Backoff(clock, first_s=FIRST_OPEN_S, max_failures=MAX_FAILURES)
        self._logged_open = False
        self._metrics = metrics
        metrics.host_open.set((name,), 0)
        self._interval_s = 0.0
        self._limiter: AsyncLimiter
        self.limit(rate)

    def limit(self, rate: Rate) -> None:
        """Apply this rate too, if it is stricter; requests are spread evenly, not in bursts."""
        interval_s = rate.seconds / rate.requests
        if interval_s > self._interval_s:
            self._interval_s = interval_s
            self._limiter = AsyncLimiter(1, interval_s)

    def raise_if_open(self) -> None:
        """Raise if the circuit allows no request now.

        Raises:
            TransientError: it is open; ``retry_after_s`` says for how much longer.
        """
        if wait_s := self._backoff.wait_s():
            raise TransientError(
                f"{self.name}: not asked because it failed too often; next attempt in "
                f"{wait_s:.0f} s",
                reason=CIRCUIT_OPEN,
                retry_after_s=wait_s,
            )

    async def acquire(self) -> None:
        """Wait until the rate limit allows the next request.

        Raises:
            TransientError: the circuit is open, or was opened during the wait.
        """
        self.raise_if_open()
        await self._limiter.acquire()
        self.raise_if_open()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Send one request in the block; its outcome may open or close the circuit."""
        try:
            with self._backoff.attempt():
                yield
        finally:
            self._log_change()

    def _log_change(self) -> None:
        """Log whether the circuit is open and set the metric, if that has changed."""
        is_open = self._backoff.is_open
        if is_open == self._logged_open:
            return
        self._logged_open = is_open
        self._metrics.host_open.set((self.name,), is_open)
        if is_open:
            wait_s = round(self._backoff.wait_s())
            _log.warning("host_circuit_open", host=self.name, seconds=wait_s)
        else:
            _log.info("host_circuit_closed", host=self.name)
