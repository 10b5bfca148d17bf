"""Plausibility: which figures can be true. The one place for these rules, for every way in. Pure.

Polled readings, partners' rows, published files and imported tables are checked by the same rules:

- What ends in the future is no finding (:func:`future`), and nothing was fetched there.
- Nothing was mined before Bitcoin's first block, a total of 0 without a place says nothing, and
  neither does a network of 0 (:func:`impossible`).
- A message does not claim more than :mod:`miningmap.sizes` allows (:func:`impossible` too).
- No pool has much more than the network had at that time, or than its own blocks show
  (:class:`KnownFigures`).
- A figure for the network that most others differ from is in doubt (:func:`disagreement`). Polls
  have to confirm it; a published file with it is refused.

What a change between two polls means is judged in :mod:`collector.polling.plausibility`.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from statistics import fmean, median
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from miningmap import sizes
from miningmap.messages import Network, Report
from miningmap.times import DAY_S, FIRST_BLOCK, bucket_range
from miningmap.units import format_hashrate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from miningmap.messages import Message

Reason: TypeAlias = Literal["implausible", "future", "too_large"]
"""Why a figure is rejected, as in the header ``reason`` of dead letters."""

IMPLAUSIBLE: Final = "implausible"
FUTURE: Final = "future"
TOO_LARGE: Final = "too_large"

MAX_AHEAD: Final = timedelta(minutes=5)
"""How far the end of a message may be ahead of the clock (method.md 2)."""
MAX_FETCHED_AHEAD: Final = timedelta(days=1)
"""How far the time at which a message was fetched may be ahead of the clock (method.md 2)."""
MAX_HASHRATE: Final = 1e23
"""H/s, a hundred times the whole network of 2026. More than this is a wrong unit."""
MAX_OF_NETWORK: Final = 2.0
"""The largest plausible ratio of a pool to the network; estimates of the network err by less."""
MAX_OF_MINED: Final = 5.0
"""The largest plausible ratio of a pool to what its own blocks show."""
OFF_OTHERS: Final = 10.0
"""The largest factor between a figure for the network and others of its time, without doubt."""
MIN_BLOCKS: Final = 5
"""Fewer blocks show too little: a pool that should find 25 finds only 5 once in 700,000 times, but
one that should find 10 finds only 2 once in 360 times."""
NEAREST_DAYS: Final = 7
"""How many days before and after a period known figures are looked for, if it has none itself.
Neither the network nor a pool grows by these factors in a week."""


class Rejection(NamedTuple):
    """Why a figure is rejected: ``reason`` is one of a short list, ``error`` is for people."""

    reason: Reason
    error: str


ZERO: Final = Rejection(
    IMPLAUSIBLE, "a total of 0 H/s says nothing; a source that knows no figure should give none"
)
"""The rejection of a total of 0."""


class Limit(NamedTuple):
    """The largest plausible hashrate (H/s) of a pool, and what more than that would be."""

    hashrate: float
    excess: str


_MORE_THAN_ANYBODY: Final = (
    f"more than {format_hashrate(MAX_HASHRATE)}, a hundred times the network of 2026"
)


def is_future(end: datetime, now: datetime) -> bool:
    """Return whether what ends at ``end`` is from the future."""
    return end > now + MAX_AHEAD


def future(end: datetime, now: datetime) -> Rejection | None:
    """Reject what ends more than :data:`MAX_AHEAD` after the clock."""
    if not is_future(end, now):
        return None
    minutes = int(MAX_AHEAD.total_seconds()) // 60
    # Not converted to UTC: the last hours of the year 9999 in the west are out of range there.
    return Rejection(
        FUTURE,
        f"ends at {end.isoformat()}, which is more than {minutes} minutes after "
        f"{now.isoformat()}; is the sender's clock right?",
    )


def _fetched_too_late(message: Message, now: datetime) -> Rejection | None:
    """Reject what is said to be fetched on a later day.

    Of two messages on one time the one that was fetched later counts, so this one could never be
    corrected. A clock that is some hours ahead says nothing wrong about when the hashrate was.
    """
    if message.fetched_at <= now + MAX_FETCHED_AHEAD:
        return None
    return Rejection(
        FUTURE,
        f"was fetched at {message.fetched_at.isoformat()}, which is more than a day after "
        f"{now.isoformat()}; is the sender's clock right?",
    )


def _empty(message: Message) -> Rejection | None:
    """Reject a total of 0 that is no finding.

    A source whose server has lost its data answers 0. A report whose places are 0 is a finding:
    somebody looked at them.
    """
    if message.hashrate > 0 or (isinstance(message, Report) and message.places):
        return None
    return ZERO


def impossible(message: Message) -> Rejection | None:
    """Reject a message that becomes no cell at any time, whatever the clock."""
    # By its end: a month of 2009 may begin before the first block.
    if message.end <= FIRST_BLOCK:
        first = f"{FIRST_BLOCK:%Y-%m-%d}"
        error = f"ends at {message.end.isoformat()}, before Bitcoin's first block, {first}"
        return Rejection(IMPLAUSIBLE, error)
    return _empty(message) or _too_many_values(message)


def _too_many_values(message: Message) -> Rejection | None:
    """Reject a message that would take more of Redis than any honest one needs."""
    error = sizes.excess(message)
    return None if error is None else Rejection(TOO_LARGE, error)


def rejected(message: Message, now: datetime) -> Rejection | None:
    """Reject a message that can become no cell, whatever else is known.

    Args:
        message: valid by the rules of messages.
        now: the clock, UTC.
    """
    return future(message.end, now) or _fetched_too_late(message, now) or impossible(message)


def too_large(hashrate: float) -> Rejection | None:
    """Reject a hashrate (H/s) that nobody can have."""
    if hashrate <= MAX_HASHRATE:
        return None
    return Rejection(
        IMPLAUSIBLE, f"{format_hashrate(hashrate)} is {_MORE_THAN_ANYBODY}; is the unit right?"
    )


def disagreement(hashrate: float, figures: Collection[float]) -> float | None:
    """Return the median of the figures that differ by more than :data:`OFF_OTHERS`, if most do.

    They are counted, not averaged, so that one wrong figure of three does not put the two right
    ones in doubt.

    Args:
        hashrate: of the network, above 0, H/s.
        figures: for the network at that time, H/s, of other sources or other messages.
    """
    far = [figure for figure in figures if not is_near(hashrate, figure, OFF_OTHERS)]
    return median(far) if 2 * len(far) > len(figures) else None


def is_near(a: float, b: float, factor: float) -> bool:
    """Return whether two hashrates differ by at most a factor."""
    low, high = sorted((a, b))
    return high <= factor * low


class KnownFigures:
    """What is known of the network's hashrate, and of what pools mined, day by day.

    The past is compared with its own time: the network had 66 EH/s in 2019 and 950 EH/s in 2026.
    """

    def __init__(self, fallback: KnownFigures | None = None) -> None:
        """Know nothing yet.

        Args:
            fallback: less trusted figures. They count only for times of which nothing else is
                known, so they never outvote what is.
        """
        self._fallback = fallback
        self._network: _Sources = defaultdict(_Days)
        self._mined: dict[str, _Sources] = {}

    def add(self, message: Message) -> None:
        """Remember the figure of a message, if it is of the network or follows from blocks."""
        if isinstance(message, Network):
            self._network[message.source].add(message)
        elif (message.blocks or 0) >= MIN_BLOCKS:
            sources = self._mined.setdefault(message.pool, defaultdict(_Days))
            sources[message.source].add(message)

    def network(self, start: datetime, end: datetime) -> dict[str, float]:
        """Return each source's figure (H/s) for the network in ``[start, end)`` or near it."""
        found = _means(self._network, start, end)
        if found or self._fallback is None:
            return found
        return self._fallback.network(start, end)

    def other_networks(self, message: Network) -> list[float]:
        """Return the figures (H/s) of the other sources for the network at that time."""
        figures = self.network(message.start, message.end)
        return [figure for source, figure in figures.items() if source != message.source]

    def contradicted(self, message: Message) -> Rejection | None:
        """Reject a figure for the network that most others of its time differ from.

        It is for messages that are in the fallback: its figure of the same source may be this one,
        and says nothing. What else is known counts in full, the same source included.
        """
        if not isinstance(message, Network):
            return None
        figures = list(_means(self._network, message.start, message.end).values())
        if not figures and self._fallback:
            figures = self._fallback.other_networks(message)
        differing = disagreement(message.hashrate, figures)
        if differing is None:
            return None
        differs = f"differs by more than {OFF_OTHERS:g} times from"
        return Rejection(
            IMPLAUSIBLE,
            f"{format_hashrate(message.hashrate)} {differs} the {format_hashrate(differing)} known "
            "of that time; is the unit right?",
        )

    def exceeded(self, report: Report) -> Limit | None:
        """Return the limit that a report's total exceeds; ``None`` if it is plausible or unknown.

        Of several sources the median counts, so that one wrong source of three changes nothing. Of
        two it is at least half of the larger figure: one that is far too low does not reject a pool
        that the other lets pass as the whole network.
        """
        limits = [limit for limit in self._limits(report) if report.hashrate > limit.hashrate]
        return min(limits, default=None)

    def _limits(self, report: Report) -> Iterator[Limit]:
        yield Limit(MAX_HASHRATE, _MORE_THAN_ANYBODY)
        if networks := self.network(report.start, report.end):
            network = median(networks.values())
            excess = f"more than twice the network's {format_hashrate(network)} at that time"
            yield Limit(MAX_OF_NETWORK * network, excess)
        # A figure that follows from blocks is no measure of another one.
        counts = self._counts(report) if report.basis != "mined" else None
        if counts:
            mined = median(counts.values())
            excess = f"more than five times the {format_hashrate(mined)} that its blocks show"
            yield Limit(MAX_OF_MINED * mined, excess)

    def _counts(self, report: Report) -> dict[str, float]:
        """Return what the pool's blocks show at that time (H/s), by each source that counts."""
        sources = self._mined.get(report.pool)
        found = _means(sources, report.start, report.end) if sources else {}
        if found or self._fallback is None:
            return found
        return self._fallback._counts(report)  # noqa: SLF001 - the same class

    def rejected(self, message: Message) -> Rejection | None:
        """Reject a message with more hashrate than its subject can have had at that time."""
        if too_much := too_large(message.hashrate):
            return too_much
        limit = self.exceeded(message) if isinstance(message, Report) else None
        if limit is None:
            return None
        return Rejection(IMPLAUSIBLE, f"{format_hashrate(message.hashrate)} is {limit.excess}")


class _Days:
    """One source's figure of each UTC day: of the shortest message, then of the latest one."""

    def __init__(self) -> None:
        self._figures: dict[int, _Figure] = {}

    def add(self, message: Message) -> None:
        figure = _Figure(-message.length_s, message.end, message.fetched_at, message.hashrate)
        for day in bucket_range(message.start, message.end, DAY_S):
            self._figures[day] = max(figure, self._figures.get(day, figure))

    def mean(self, days: range) -> float | None:
        """Return the mean of the known days, else the figure of the nearest day, else ``None``."""
        if found := self._found(days):
            return fmean(found)
        for distance in range(1, NEAREST_DAYS + 1):
            if found := self._found((days[0] - distance, days[-1] + distance)):
                return max(found)
        return None

    def _found(self, days: Iterable[int]) -> list[float]:
        return [self._figures[day].hashrate for day in days if day in self._figures]


class _Figure(NamedTuple):
    """A figure (H/s), in the order in which one replaces another (method.md 3)."""

    minus_length_s: float
    end: datetime
    fetched_at: datetime
    hashrate: float


_Sources: TypeAlias = "defaultdict[str, _Days]"


def _means(sources: _Sources, start: datetime, end: datetime) -> dict[str, float]:
    days = bucket_range(start, end, DAY_S)
    means = {source: figures.mean(days) for source, figures in sources.items()}
    return {source: mean for source, mean in means.items() if mean is not None}
