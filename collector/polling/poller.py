"""Polling: one task per source that asks, reads, and hands on what the source said.

One request of a source is in flight at a time. A source that fails is asked less and less often,
is told of once when lost and once when back, and says nothing meanwhile: absent, never 0.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING, Final

import structlog

from collector.polling.reports import IMPLAUSIBLE, Poll, read, sift
from collector.sources.base import PoolSource, SourceError, TransientError
from miningmap.messages import NETWORK_KEY, key
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.http.fetcher import Fetcher
    from collector.metrics import Metrics
    from collector.outbox import Outgoing
    from collector.polling.plausibility import Plausibility
    from collector.polling.reports import Sifted
    from collector.sources.base import Reason, Source
    from miningmap.kafka.dead_letters import DeadLetter
    from miningmap.settings import Collector

# Longest pause between attempts at a source that fails, unless it is polled less often anyway.
MAX_BACKOFF_S: Final = 900.0
# Doubled so often, every interval is past the cap.
MAX_DOUBLINGS: Final = 12
# Sources that start together would else meet at every poll, and so would collectors. It only adds:
# nobody is asked sooner than declared, or than Retry-After says.
JITTER: Final = 0.1
# So many sources start in a second, and the few of a usual configuration within three.
STARTS_PER_S: Final = 100
MIN_START_SPREAD_S: Final = 3.0

BREAKER: Final[Reason] = "breaker"

_log = structlog.get_logger(__name__)


def backoff_s(poll_s: float, failures: int, error: SourceError) -> float:
    """How long to wait after a failure, in seconds.

    A source that was not asked, because its host is left alone, comes back when the host may be
    asked again: that is the host's pause, and the source's own is not added to it.

    Args:
        poll_s: the source's interval.
        failures: how many polls have failed in a row, at least 1.
        error: the last of them. A transient one is soon over; the others need somebody to act.
    """
    longest = max(poll_s, MAX_BACKOFF_S)
    if not isinstance(error, TransientError):
        return longest
    if error.reason == BREAKER and error.retry_after_s is not None:
        return error.retry_after_s
    wait_s = min(math.ldexp(poll_s, min(failures - 1, MAX_DOUBLINGS)), longest)
    return max(wait_s, error.retry_after_s or 0.0)


def start_spread_s(sources: int) -> float:
    """Over how long the first polls of so many sources are spread, in seconds."""
    return max(MIN_START_SPREAD_S, sources / STARTS_PER_S)


class Poller:
    """Asks one source for as long as it runs."""

    def __init__(
        self,
        source: Source,
        *,
        fetcher: Fetcher,
        put: Callable[[Sequence[Outgoing]], None],
        plausibility: Plausibility,
        metrics: Metrics,
        settings: Collector,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Shows its pool as down until the source has answered; the fetcher knows it from now on.

        Args:
            source: which to poll.
            fetcher: how to ask it.
            put: takes its messages, and the readings that may not be believed.
            plausibility: what may be; one for all sources.
            metrics: where its state is shown.
            settings: the interval, if not the source's own; whether all is simulated.
            now: the wall clock.
        """
        self._source = source
        self._fetcher = fetcher
        self._put = put
        self._plausibility = plausibility
        self._metrics = metrics
        self._poll_s = settings.poll_s or source.poll_s
        self._simulated = settings.simulated
        self._now = now
        self._log = _log.bind(source=source.path)
        self._failures = 0
        self._lost = False
        self._up: dict[str, bool] = {}
        self._show({_declared_pool(source) or "": False})
        fetcher.expect(source)

    async def run(self, spread_s: float = MIN_START_SPREAD_S) -> None:
        """Poll until cancelled, for the first time within ``spread_s`` or the interval."""
        # Neither of these random numbers has to be hard to guess.
        await asyncio.sleep(random.uniform(0, min(spread_s, self._poll_s)))  # noqa: S311
        while True:
            pause_s = await self.poll()
            await asyncio.sleep(pause_s * random.uniform(1, 1 + JITTER))  # noqa: S311

    async def poll(self) -> float:
        """Ask once. What goes wrong is logged and counted, never raised.

        Returns:
            How long to wait before the next time, in seconds.
        """
        started = asyncio.get_running_loop().time()
        try:
            sifted = await self._ask()
        except SourceError as error:
            self._metrics.failures.labels(self._source.slug, error.reason).inc()
            self._show(dict.fromkeys(self._up, False))
            self._say_lost(error.reason, self._fetcher.masked(self._source, str(error)))
            return backoff_s(self._poll_s, self._failures, error)
        self._settle(sifted)
        return max(0.0, self._poll_s - (asyncio.get_running_loop().time() - started))

    async def _ask(self) -> Sifted:
        bodies = await self._fetcher.fetch(self._source)
        fetched_at = self._now()
        readings = read(self._source, bodies)
        poll = Poll(self._source, fetched_at, self._poll_s, self._simulated)
        sifted = sift(poll, readings, self._plausibility)
        if readings:
            self._put([*sifted.messages, *sifted.refused])
        return sifted

    def _settle(self, sifted: Sifted) -> None:
        """Show and tell what an answer means: an answer without a figure is a loss too."""
        for letter in sifted.refused:
            self._metrics.failures.labels(self._source.slug, IMPLAUSIBLE).inc()
            self._log.warning("reading refused", pool=_key(letter), error=letter.error)
        if not sifted.messages and sifted.refused:
            self._show({_key(letter): False for letter in sifted.refused})
            self._say_lost(IMPLAUSIBLE, sifted.refused[0].error)
            return
        if not sifted.messages:
            self._metrics.failures.labels(self._source.slug, "unknown_value").inc()
            self._show(dict.fromkeys(self._up, False))
            self._say_lost("unknown_value", "answered, but knows no figure")
            return
        if self._lost:
            self._log.info("source back", failures=self._failures)
        self._lost = False
        self._failures = 0
        # A pool that a source of many no longer lists is no pool that it lost.
        refused = {_key(letter): False for letter in sifted.refused}
        self._show(refused | {key(message).decode(): True for message in sifted.messages})

    def _say_lost(self, reason: Reason, error: str) -> None:
        if reason != BREAKER:
            self._failures += 1
        tell = self._log.debug if self._lost else self._log.warning
        tell("source lost", reason=reason, error=error)
        self._lost = True

    def _show(self, up: dict[str, bool]) -> None:
        slug = self._source.slug
        for gone in self._up.keys() - up.keys():
            self._metrics.pool_up.remove(gone, slug)
        for pool, is_up in up.items():
            self._metrics.pool_up.labels(pool, slug).set(is_up)
        self._up = up


def _key(letter: DeadLetter) -> str:
    return (letter.key or b"").decode()


def _declared_pool(source: Source) -> str | None:
    """The one pool that a source speaks of, if it is one; the whole network counts as one."""
    return source.pool if isinstance(source, PoolSource) else NETWORK_KEY
