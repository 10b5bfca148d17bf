"""Cells: what one source reports of one pool in one minute, hour or day (method.md 3). Pure.

Each message makes claims on buckets, and the claim of the highest rank becomes the bucket's cell.
That is a maximum, so the cells depend neither on the order of the messages nor on how often each of
them arrives. Values are sums of H/s over minutes; a mean is a sum divided by its minutes.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from miningmap.messages import Kind, Message, Report
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, MINUTE_S, bucket_range
from streams.method.windows import TIER_MINUTES, Span, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PlaceKind: TypeAlias = tuple[str, Kind]
"""A place's code, and how the hashrate there is known."""

Places: TypeAlias = dict[PlaceKind, float]
"""Hashrate by place and kind; H/s, or H/s x minutes in a cell."""

CellKey: TypeAlias = tuple[Tier, int]
"""Which cell of a series: its tier and the number of its bucket."""

K = TypeVar("K")


class Series(NamedTuple):
    """One source of one pool; of the network where ``pool`` is ``None``."""

    pool: str | None
    source: str


class Rank(NamedTuple):
    """What decides between two claims on one bucket; the larger one wins.

    ``first`` is 1 for a covered minute and 0 for a held one. For hours and days it is minus the
    report's length in seconds, so that a daily row wins over a monthly one.
    """

    first: float
    end: float
    fetched_at: float
    hashrate: float
    content: float
    """A checksum. It decides between messages that differ in nothing else, which only a faulty
    source sends."""


@dataclass(frozen=True)
class Cell:
    """Sums over ``minutes``: ``total`` and ``places`` in H/s x minutes."""

    minutes: int = 0
    total: float = 0.0
    places: Places = field(default_factory=dict)
    simulated: bool = False


class CellValues(Protocol[K]):
    """What is added up of a cell, in whatever form it names its places."""

    @property
    def minutes(self) -> int:
        """How many minutes have a value."""

    @property
    def total(self) -> float:
        """H/s x minutes."""

    @property
    def places(self) -> dict[K, float]:
        """H/s x minutes by place."""

    @property
    def simulated(self) -> bool:
        """Whether any of it is simulated."""


def add_up(cells: Iterable[CellValues[K]], place_of: Callable[[K], PlaceKind]) -> Cell:
    """Return the sum of cells: 0 minutes if there are none.

    Args:
        cells: in the order of time. Floating-point sums depend on the order, and every path to an
            answer has to give the same digits.
        place_of: the place that a cell's name for it stands for. Called once for each name, on the
            sum, because a span has many cells with the same places.
    """
    minutes, total, simulated = 0, 0.0, False
    sums: dict[K, float] = {}
    for cell in cells:
        minutes += cell.minutes
        total += cell.total
        simulated |= cell.simulated
        for name, value in cell.places.items():
            sums[name] = sums.get(name, 0.0) + value
    places = sorted((place_of(name), value) for name, value in sums.items())
    return Cell(minutes, total, dict(places), simulated)


def cell_keys(span: Span) -> list[CellKey]:
    """Return the cells that add up to a span; whole days of hours come from the days' roll-ups.

    Answers from memory and from Redis use the same list, so both add the same numbers in the same
    order.
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
    """One value that is claimed for each of ``buckets``."""

    tier: Tier
    buckets: range
    rank: Rank
    cell: Cell


@dataclass(frozen=True)
class Horizon:
    """The oldest hour whose minutes are kept, and the oldest day whose hours are.

    Only whole hours and whole days, so that a roll-up is always made from all of its parts.
    """

    minutes_from_hour: int
    hours_from_day: int


class TooLateError(ValueError):
    """Nothing that a message could claim is kept any more."""


def series_of(message: Message) -> Series:
    """Return the series whose cells a message claims."""
    return Series(message.pool if isinstance(message, Report) else None, message.source)


def claims_of(message: Message, horizon: Horizon | None = None) -> list[Claim]:
    """Return the claims of a message on what is still kept; without a ``horizon`` all is.

    Raises:
        TooLateError: nothing that the message could claim is kept any more.
    """
    short = message.length_s < HOUR_S
    claims = _minute_claims(message, horizon) if short else _long_claims(message, horizon)
    if not claims:
        tier = "minutes" if short else "hours"
        raise TooLateError(f"ended at {message.end.isoformat()}; {tier} that old are not kept")
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
    # Days whose hours are no longer kept are claimed directly, if the message covers them whole.
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
    content: tuple[object, ...] = ([], message.simulated)
    if isinstance(message, Report):
        content = (sorted(message.places), message.simulated)
        if message.published:
            content = (*content, message.published)
    checksum = zlib.crc32(msgspec.json.encode(content))
    end, fetched_at = message.end.timestamp(), message.fetched_at.timestamp()
    return Rank(first, end, fetched_at, message.hashrate, checksum)


def _cell(message: Message, tier: Tier) -> Cell:
    minutes = TIER_MINUTES[tier]
    places = message.places if isinstance(message, Report) else ()
    return Cell(
        minutes,
        message.hashrate * minutes,
        {(p.code, p.kind): p.hashrate * minutes for p in places},
        message.simulated,
    )


class MemoryCells:
    """All cells of a set of messages, in memory and without retention: for offline answers."""

    def __init__(self) -> None:
        self._claims: dict[Series, dict[Tier, dict[int, tuple[Rank, Cell]]]] = {}
        self._rolled: dict[tuple[Series, Tier, int], Cell] = {}

    def add(self, message: Message) -> None:
        """Let one message claim its buckets."""
        self._rolled.clear()
        tiers = self._claims.setdefault(series_of(message), {"minute": {}, "hour": {}, "day": {}})
        for claim in claims_of(message):
            buckets = tiers[claim.tier]
            for number in claim.buckets:
                known = buckets.get(number)
                if known is None or claim.rank > known[0]:
                    buckets[number] = (claim.rank, claim.cell)

    def series(self) -> Iterable[Series]:
        """Return every series that has a cell."""
        return self._claims.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span; 0 minutes where it has none."""
        return self._sum(series, cell_keys(span))

    def first(self, series: Series, tier: Tier) -> int | None:
        """Return the first bucket of a tier in which the series has a value."""
        tiers = self._claims[series]
        minute = min(tiers["minute"], default=None)
        if tier == "minute":
            return minute
        hour = min([*tiers["hour"]] + ([minute // HOUR_MIN] if minute is not None else []))
        return hour if tier == "hour" else hour // DAY_H

    def _sum(self, series: Series, keys: Iterable[CellKey]) -> Cell:
        cells = (cell for tier, n in keys if (cell := self._cell(series, tier, n)))
        return add_up(cells, place_of=_same)

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
        return self._sum(series, [(below, number * each + n) for n in range(each)])


def _same(place: PlaceKind) -> PlaceKind:
    return place
