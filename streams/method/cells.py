"""Cells: what one source gives for one pool in one minute, hour or day (method.md 3). Pure.

A message makes claims on buckets. Of all claims on one bucket the one of the highest rank is the
cell, so any order of messages, any number of times, gives the same cells. Values are kept as sums
of H/s over minutes; a mean is a sum divided by its minutes.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from miningmap.messages import Kind, Message, Report
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, MINUTE_S, bucket_range
from streams.method.windows import TIER_MINUTES, Span, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

Places: TypeAlias = dict[tuple[str, Kind], float]
"""Hashrate by place and kind; H/s, or H/s x minutes in a cell."""


Part: TypeAlias = tuple[Tier, int]
"""One bucket of a tier."""


class Series(NamedTuple):
    """One source of one pool; of the network where ``pool`` is ``None``."""

    pool: str | None
    source: str


class Rank(NamedTuple):
    """What decides between two claims on one bucket; the larger one wins.

    ``first`` is 1 for a covered minute and 0 for a held one; for hours and days it is minus the
    report's length in seconds, so that a daily row beats a monthly one.
    """

    first: float
    end: float
    fetched_at: float
    hashrate: float
    content: float
    """Decides between messages that differ in nothing else; only a faulty source sends such."""


@dataclass(frozen=True)
class Cell:
    """Sums over ``minutes``: ``total`` and ``places`` in H/s x minutes."""

    minutes: int = 0
    total: float = 0.0
    places: Places = field(default_factory=dict)
    simulated: bool = False


def add_up(cells: Iterable[Cell]) -> Cell:
    """All their minutes, in the order given; 0 minutes of none. Places come in order."""
    minutes, total, simulated = 0, 0.0, False
    places: Places = {}
    for cell in cells:
        minutes += cell.minutes
        total += cell.total
        simulated |= cell.simulated
        for key, value in cell.places.items():
            places[key] = places.get(key, 0.0) + value
    return Cell(minutes, total, dict(sorted(places.items())), simulated)


def parts_of(span: Span) -> list[Part]:
    """The cells that add up to a span; of hours, whole days are taken from the days' roll-ups.

    In Redis as in memory, so that both add the same numbers in the same order.
    """
    numbers = span.buckets
    days = range(-(-numbers.start // DAY_H), numbers.stop // DAY_H)
    if span.tier != "hour" or not days:
        return [(span.tier, n) for n in numbers]
    head = range(numbers.start, days.start * DAY_H)
    tail = range(days.stop * DAY_H, numbers.stop)
    return [
        *(("hour", n) for n in head),
        *(("day", n) for n in days),
        *(("hour", n) for n in tail),
    ]


@dataclass(frozen=True)
class Claim:
    """One value claimed for each of ``buckets``."""

    tier: Tier
    buckets: range
    rank: Rank
    cell: Cell


@dataclass(frozen=True)
class Horizon:
    """The oldest hour whose minutes are kept, and the oldest day whose hours are.

    Whole hours and whole days, so that what is rolled up is always rolled up from all there is.
    """

    minutes_from_hour: int
    hours_from_day: int


class TooLateError(ValueError):
    """A message is older than all that it would touch is kept for."""


def series_of(message: Message) -> Series:
    """Whose cells a message claims."""
    return Series(message.pool if isinstance(message, Report) else None, message.source)


def claims_of(message: Message, horizon: Horizon | None = None) -> list[Claim]:
    """What a message claims, of what is still kept (of everything without a ``horizon``).

    Raises:
        TooLateError: nothing that it would touch is kept any more.
    """
    short = message.length_s < HOUR_S
    claims = _minute_claims(message, horizon) if short else _long_claims(message, horizon)
    if not claims:
        kept = "minutes" if short else "hours"
        raise TooLateError(f"ends {message.end.isoformat()}, older than {kept} are kept")
    return claims


def _minute_claims(message: Message, horizon: Horizon | None) -> list[Claim]:
    covered = bucket_range(message.start, message.end, MINUTE_S)
    held_until = math.ceil((message.end.timestamp() + message.hold_s) / MINUTE_S)
    held = range(covered.stop, max(covered.stop, held_until))
    oldest = horizon.minutes_from_hour * HOUR_MIN if horizon else covered.start
    cell = _cell(message, "minute")
    both = ((1.0, covered), (0.0, held))
    return [
        Claim("minute", kept, _rank(message, first), cell)
        for first, minutes in both
        if (kept := range(max(minutes.start, oldest), minutes.stop))
    ]


def _long_claims(message: Message, horizon: Horizon | None) -> list[Claim]:
    hours = bucket_range(message.start, message.end, HOUR_S)
    oldest = horizon.hours_from_day if horizon else hours.start // DAY_H
    kept = range(max(hours.start, oldest * DAY_H), hours.stop)
    # Where hours are no longer kept, whole days are claimed as days.
    first_day = math.ceil(message.start.timestamp() / DAY_S)
    days = range(first_day, min(int(message.end.timestamp()) // DAY_S, oldest))
    rank = _rank(message, -message.length_s)
    claims = []
    if kept:
        claims.append(Claim("hour", kept, rank, _cell(message, "hour")))
    if days:
        claims.append(Claim("day", days, rank, _cell(message, "day")))
    return claims


def _rank(message: Message, first: float) -> Rank:
    said: tuple[object, ...] = ([], message.simulated)
    if isinstance(message, Report):
        said = (sorted(message.places), message.simulated)
        if message.published:
            said = (*said, message.published)
    content = zlib.crc32(msgspec.json.encode(said))
    end, fetched_at = message.end.timestamp(), message.fetched_at.timestamp()
    return Rank(first, end, fetched_at, message.hashrate, content)


def _cell(message: Message, tier: Tier) -> Cell:
    minutes = TIER_MINUTES[tier]
    places = message.places if isinstance(message, Report) else ()
    return Cell(
        minutes,
        message.hashrate * minutes,
        {(p.code, p.kind): p.hashrate * minutes for p in places},
        message.simulated,
    )


class Cells:
    """All cells of a set of messages, in memory and without retention: for offline answers."""

    def __init__(self) -> None:
        self._claims: dict[Series, dict[Tier, dict[int, tuple[Rank, Cell]]]] = {}
        self._rolled: dict[tuple[Series, Tier, int], Cell] = {}

    def take(self, message: Message) -> None:
        """Let one message claim its buckets."""
        self._rolled.clear()
        tiers = self._claims.setdefault(series_of(message), {"minute": {}, "hour": {}, "day": {}})
        for claim in claims_of(message):
            buckets = tiers[claim.tier]
            for number in claim.buckets:
                held = buckets.get(number)
                if held is None or claim.rank > held[0]:
                    buckets[number] = (claim.rank, claim.cell)

    def series(self) -> Iterable[Series]:
        """Every (pool, source) that was ever heard of."""
        return self._claims.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        """The sum of a series' cells over a span; 0 minutes where there is none."""
        parts = parts_of(span)
        return add_up(cell for tier, n in parts if (cell := self._cell(series, tier, n)))

    def first(self, series: Series, tier: Tier) -> int | None:
        """The first bucket of a tier in which the series has a value."""
        tiers = self._claims[series]
        minute = min(tiers["minute"], default=None)
        if tier == "minute":
            return minute
        hour = min([*tiers["hour"]] + ([minute // HOUR_MIN] if minute is not None else []))
        return hour if tier == "hour" else hour // DAY_H

    def _cell(self, series: Series, tier: Tier, number: int) -> Cell | None:
        claim = self._claims[series][tier].get(number)
        if claim:
            return claim[1]
        if tier == "minute":
            return None
        key = (series, tier, number)
        if key not in self._rolled:
            self._rolled[key] = self._roll_up(series, tier, number)
        return self._rolled[key]

    def _roll_up(self, series: Series, tier: Tier, number: int) -> Cell:
        below: Tier = "minute" if tier == "hour" else "hour"
        each = TIER_MINUTES[tier] // TIER_MINUTES[below]
        parts = range(number * each, (number + 1) * each)
        return add_up(cell for n in parts if (cell := self._cell(series, below, n)))
