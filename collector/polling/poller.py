"""Polling: one task for each source, which fetches, parses, checks and publishes its figures.

A source has at most one request in flight. After a transient error the pause doubles up to 15
minutes; after an error that somebody must fix it is 15 minutes at once (collector/http/backoff.py).
A source is logged once when it is lost and once when it recovers. Meanwhile it publishes nothing: a
figure that is unknown is absent, never 0. An unexpected exception is an error of the source, too,
and is logged with its traceback each time.
"""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from typing import TYPE_CHECKING, Final, cast

import structlog

from collector.http.backoff import Backoff
from collector.polling.new_pools import NEW_POOL, NewPools
from collector.polling.reports import (
    UNEXPECTED,
    UNKNOWN_VALUE,
    Poll,
    check_readings,
    errors_of,
    parse_readings,
)
from collector.sources.base import PermanentError, PoolSource, SourceError
from miningmap.messages import NETWORK_KEY, key
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.http.fetcher import Fetcher
    from collector.metrics import Metrics
    from collector.outbox import Outgoing
    from collector.polling.plausibility import Plausibility
    from collector.polling.reports import CheckedReadings
    from collector.sources.base import NetworkReading, Reading, Source
    from miningmap.kafka.dead_letters import DeadLetter
    from miningmap.settings import Collector

# Without jitter, sources that start together would be polled together ever after, and so would
# collectors. It only lengthens a pause: a source is polled never sooner than its interval or
# Retry-After.
JITTER: Final = 0.1
# How many sources start in one second, and the shortest time over which the starts are spread.
STARTS_PER_S: Final = 100
MIN_START_SPREAD_S: Final = 3.0
# How long every source may be overdue before the collector is not ready, in seconds: a poll has
# ended by then, whatever the servers do.
LATE_S: Final = 120.0
# The label of a source of many pools that has not answered yet.
NO_POOL_YET: Final = ""
# An exception may quote the whole response, which may have a megabyte.
_LONGEST_LOGGED: Final = 10_000
# How many of the new pools that are refused the log names.
_POOLS_NAMED: Final = 5

_log = structlog.get_logger(__name__)


def start_spread_s(source_count: int) -> float:
    """Return the time over which the first polls of this many sources are spread, in seconds."""
    return max(MIN_START_SPREAD_S, source_count / STARTS_PER_S)


class Poller:
    """Polls one source."""

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Register the source with the fetcher, and show its pool as down until the first response.

        Args:
            source: the source to poll.
            fetcher: sends the source's requests; all pollers share one.
            put: takes the source's messages, and its rejected readings as dead letters.
            plausibility: checks readings; all pollers share one.
            metrics: where the source's state is shown.
            settings: the interval that replaces the source's own, and whether it is simulated.
            now: the wall clock.
            clock: seconds that never go back, for intervals and back-off.
        """
        self._source = source
        self._fetcher = fetcher
        self._put = put
        self._plausibility = plausibility
        self._metrics = metrics
        self._interval_s = settings.poll_s or source.poll_s
        self._simulated = settings.simulated
        self._now = now
        self._clock = clock
        self._backoff = Backoff(clock, first_s=self._interval_s)
        self._due_at = clock() + self._interval_s  # when the next poll starts at the latest
        self._lost_at: float | None = None  # by the clock; None while the source gives figures
        self._new_pools = NewPools(settings.new_pools)
        self._up: dict[str, bool] = {}  # by label of the pool, as shown in the metrics
        self._log = _log.bind(source=source.path)
        pool = _declared_pool(source)
        pool = NO_POOL_YET if pool is None else pool
        metrics.pools.know(pool)
        self._set_pool_up({pool: False})
        fetcher.register(source)

    async def run(self, spread_s: float = MIN_START_SPREAD_S) -> None:
        """Poll until cancelled.

        The first poll comes after a random delay of at most ``spread_s`` or the interval, whichever
        is shorter.
        """
        # The pauses need not be hard to predict, so S311 does not apply.
        await asyncio.sleep(random.uniform(0, min(spread_s, self._interval_s)))  # noqa: S311
        while True:
            pause_s = await self.poll() * random.uniform(1, 1 + JITTER)  # noqa: S311
            self._due_at = self._clock() + pause_s
            await asyncio.sleep(pause_s)

    def overdue_s(self) -> float:
        """Return how long ago the next poll should have started, in seconds."""
        return self._clock() - self._due_at

    async def poll(self) -> float:
        """Poll once, and return how long to wait before the next poll, in seconds.

        Errors of the source are logged and counted, not raised.
        """
        started = self._clock()
        try:
            with self._backoff.attempt(), errors_of(self._source):
                await self._poll()
        except SourceError as error:
            self._record_error(error)
            return self._backoff.retry_s(error)
        return max(0.0, self._interval_s - (self._clock() - started))

    async def _poll(self) -> None:
        bodies = await self._fetcher.fetch(self._source)
        poll = Poll(self._source, self._now(), self._interval_s, self._simulated)
        readings = self._of_pools(parse_readings(self._source, bodies, poll.fetched_at), poll)
        checked = check_readings(poll, readings, self._plausibility)
        if readings:
            self._put([*checked.messages, *checked.rejected])
        self._record_readings(checked)

    def _of_pools(
        self, readings: Sequence[Reading | NetworkReading], poll: Poll
    ) -> Sequence[Reading | NetworkReading]:
        """Return the readings without those of too many new pools, which are counted and logged.

        Raises:
            PermanentError: these were all.
        """
        if not isinstance(self._source, PoolSource) or self._source.pool is not None:
            return readings
        found = self._new_pools.sort(cast("Sequence[Reading]", readings), poll.fetched_at)
        if not found.refused:
            return readings
        number, named = len(found.refused), ", ".join(found.refused[:_POOLS_NAMED])
        self._metrics.failures.add((self._source.slug, NEW_POOL), number)
        if found.is_first:
            self._log.warning("new_pools_refused", refused=number, pools=named)
        if not found.admitted:
            error = f"all {number} pools are new, such as {named}: too many for a day"
            raise PermanentError(error, reason=NEW_POOL)
        return found.admitted

    def _record_error(self, error: SourceError) -> None:
        self._metrics.failures.add((self._source.slug, error.reason))
        self._set_pool_up(dict.fromkeys(self._up, False))
        if error.reason == UNEXPECTED:
            # As text, because an exception of a library may quote a URL with a key.
            trace = self._masked("".join(traceback.format_exception(error.__cause__)))
            self._log.error("poll_failed", exception=trace[:_LONGEST_LOGGED])
        self._record_loss(error.reason, self._masked(str(error))[:_LONGEST_LOGGED])

    def _masked(self, text: str) -> str:
        return self._fetcher.masked(self._source, text)

    def _record_readings(self, checked: CheckedReadings) -> None:
        """Show and log the readings of one poll; without an accepted one the source is lost."""
        for letter in checked.rejected:
            self._metrics.failures.add((self._source.slug, letter.reason))
            self._log.warning("reading_rejected", pool=_pool_of(letter), error=letter.error)
        accepted = {key(message).decode(): True for message in checked.messages}
        rejected = {_pool_of(letter): False for letter in checked.rejected}
        if accepted:
            self._set_pool_up(rejected | accepted)
            self._record_recovery()
        elif rejected:
            self._set_pool_up(rejected)
            self._record_loss(checked.rejected[0].reason, checked.rejected[0].error)
        else:
            self._metrics.failures.add((self._source.slug, UNKNOWN_VALUE))
            self._set_pool_up(dict.fromkeys(self._up, False))
            self._record_loss(UNKNOWN_VALUE, "the response has no figure")

    def _record_loss(self, reason: str, error: str) -> None:
        if self._lost_at is None:
            self._lost_at = self._clock()
            self._log.warning("source_lost", reason=reason, error=error)
        else:
            self._log.debug("source_still_lost", reason=reason, error=error)

    def _record_recovery(self) -> None:
        if self._lost_at is not None:
            self._log.info("source_recovered", seconds=round(self._clock() - self._lost_at))
            self._lost_at = None

    def _set_pool_up(self, up: dict[str, bool]) -> None:
        """Show whether each pool is up, and remove the labels of all other pools.

        A pool that a source of many pools no longer lists is not down: it may have stopped mining.
        The pools that have no series of their own are up if one of them is.
        """
        slug = self._source.slug
        by_label: dict[str, bool] = {}
        for pool, is_up in up.items():
            label = self._metrics.pools.label(pool)
            by_label[label] = is_up or by_label.get(label, False)
        for removed in self._up.keys() - by_label.keys():
            self._metrics.pool_up.remove((removed, slug))
        for label, is_up in by_label.items():
            self._metrics.pool_up.set((label, slug), is_up)
        self._up = by_label


def idle_reasons(pollers: Sequence[Poller]) -> list[str]:
    """Return why the collector is not ready: the last poll of every source is too long ago.

    Sources that are polled and give no figure do not make it unready: that is their fault, and
    ``miningmap_pool_up`` shows it.
    """
    overdue_s = min((poller.overdue_s() for poller in pollers), default=0.0)
    return [f"no source was polled, for {overdue_s:.0f} s too long"] if overdue_s > LATE_S else []


def _pool_of(letter: DeadLetter) -> str:
    return (letter.key or b"").decode()


def _declared_pool(source: Source) -> str | None:
    """Return the source's only pool, NETWORK_KEY for a network source, None for many pools."""
    return source.pool if isinstance(source, PoolSource) else NETWORK_KEY
