"""Messages as collectors publish them, from a function that tells what a source says at a time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from launch.simulation.noise import uniform
from miningmap.messages import Located, Network, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from miningmap.messages import Basis, Message

HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
HASHES: Final = 1e18
"""Hashes per second of an EH/s."""

UNLOCATED: Final = ""
"""Stands for a place where a source does not say where its hashrate is."""

# From the end of a claim to its message: the answer of a server, and the way to Kafka.
_FETCH_S: Final = (0.2, 3.0)
# A figure is the mean of some minutes of shares, so two polls differ a little even at a pool at
# which nothing changes.
_POLL_ERROR: Final = 0.01
# How long a figure counts if none follows: as collectors say it.
_HELD_S: Final = 300


@dataclass(frozen=True)
class Feed:
    """One source of one pool.

    Attributes:
        pool: its slug.
        source: its name.
        says: returns the hashrate by place at a time, in EH/s.
        poll: the time between two polls.
        since: when it begins.
        silent: ranges of time in which it does not answer.
        basis: of its reports.
    """

    pool: str
    source: str
    says: Callable[[datetime], Mapping[str, float]]
    poll: timedelta = MINUTE
    since: datetime | None = None
    silent: tuple[tuple[datetime, datetime], ...] = ()
    basis: Basis = "reported"

    def reports(self, start: datetime, fine: datetime, end: datetime) -> Iterator[Report]:
        """Yield its reports: of whole hours up to ``fine``, then one a poll."""
        if self.since is None:
            yield from self._every(HOUR, start, fine)
        yield from self._every(self.poll, max(fine, self.since or fine), end)

    def _every(self, step: timedelta, start: datetime, end: datetime) -> Iterator[Report]:
        while start + step <= end:
            if not any(begin <= start + step < until for begin, until in self.silent):
                yield self._report(start, start + step)
            start += step

    def _report(self, start: datetime, end: datetime) -> Report:
        name, second = f"{self.pool} {self.source}", int(end.timestamp())
        error = 1 + _POLL_ERROR * (2 * uniform(1, f"{name} figure", second) - 1)
        least, most = _FETCH_S
        delay = least + (most - least) * uniform(1, f"{name} delay", second)
        said = {code: h * HASHES * error for code, h in self.says(end - (end - start) / 2).items()}
        return Report(
            pool=self.pool,
            source=self.source,
            start=start,
            end=end,
            hold_s=0 if end - start >= HOUR else max(_HELD_S, 2 * int(self.poll.total_seconds())),
            # Not less than its places, which are rounded one by one.
            hashrate=sum(said.values()),
            places=tuple(
                Located(code, hashrate, "measured")
                for code, hashrate in said.items()
                if code != UNLOCATED
            ),
            fetched_at=end + timedelta(seconds=delay),
            simulated=True,
            basis=self.basis,
        )


def network(hashrate: float, start: datetime, end: datetime) -> Iterator[Network]:
    """Yield the network's hashrate (EH/s), as a source that counts blocks says it."""
    step = timedelta(minutes=10)
    while start + step <= end:
        yield Network(
            source="blocks_24h",
            start=start,
            end=start + step,
            hold_s=1800,
            hashrate=hashrate * HASHES,
            fetched_at=start + step,
            simulated=True,
        )
        start += step


def merged(feeds: Iterable[Iterable[Message]]) -> Iterator[Message]:
    """Yield the messages of several feeds as they arrive."""
    return heapq.merge(*feeds, key=attrgetter("fetched_at"))
