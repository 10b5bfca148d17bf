"""Cells: the values of one source for one pool, by minute, hour and day (method.md 3). Pure.

Each message makes claims on buckets, and the claim with the highest rank becomes the bucket's cell.
A cell is a maximum, so it depends neither on the order of the messages nor on how often each one
arrives. Values are sums of H/s over minutes; a mean is a sum divided by its minutes.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from miningmap.messages import BASES, Kind, Message, Report
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, MINUTE_S, bucket, bucket_range
from streams.method.windows import TIER_MINUTES, Span, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from miningmap.settings import Retention

PlaceKind: TypeAlias = tuple[str, Kind]
"""The code of a place, and the kind of the hashrate there."""

Places: TypeAlias = dict[PlaceKind, float]
"""Hashrate by place and kind, in H/s; in a cell, in H/s x minutes."""

CellKey: TypeAlias = tuple[Tier, int]
"""Identifies a cell of a series: its tier and the number of its bucket."""

K = TypeVar("K")


class Series(NamedTuple):
    """One source for one pool, or for the network's hashrate if ``pool`` is ``None``."""

    pool: str | None
    source: str


class Rank(NamedTuple):
    """The rank of a claim: of two claims on one bucket, the one with the larger rank wins.

    ``first`` is 1 for a covered minute and 0 for a held one. For hours and days it is minus the
    report's length in seconds, so that a daily row wins over a monthly one.
    """

    first: float
    end: float
    fetched_at: float
    hashrate: float
    content: float
    """A checksum of the content. It decides between messages that are equal in all of the above and
    differ in their places, which only a faulty source sends."""


@dataclass(frozen=True)
class Cell:
    """Sums over ``minutes``: ``total`` and ``places`` in H/s x minutes.

    ``basis`` is the index in ``BASES`` of the worst basis of the values.
    """

    minutes: int = 0
    total: float = 0.0
    places: Places = field(default_factory=dict)
    simulated: bool = False
    basis: int = 0


class CellValues(Protocol[K]):
    """The values of a cell that are added up; ``K`` is the type that it names places by."""

    @property
    def minutes(self) -> int:
        """The number of minutes that have a value."""

    @property
    def total(self) -> float:
        """The sum of the hashrate over these minutes, in H/s x minutes."""

    @property
    def places(self) -> dict[K, float]:
        """The part of the total at each place, in H/s x minutes."""

    @property
    def simulated(self) -> bool:
        """Whether any of these values is simulated."""

    @property
    def basis(self) -> int:
        """The index in ``BASES`` of the worst basis of these values."""


def add_up(cells: Iterable[CellValues[K]], place_of: Callable[[K], PlaceKind]) -> Cell:
    """Return the sum of cells; without any, a cell of 0 minutes.

    Args:
        cells: in the order of time. Floating-point sums depend on the order, and every path to an
            answer has to give the same digits.
        place_of: returns the place and kind for a cell's name of it. It is called once for each
            name, on the sum, because a span has many cells with the same places.
    """
    minutes, total, simulated, basis = 0, 0.0, False, 0
    sums: dict[K, float] = {}
    for cell in cells:
        minutes += cell.minutes
        total += cell.total
        simulated |= cell.simulated
        basis = max(basis, cell.basis)
        for name, value in cell.places.items():
            sums[name] = sums.get(name, 0.0) + value
    places = sorted((place_of(name), value) for name, value in sums.items())
    return Cell(minutes, total, dict(places), simulated, basis)


def cell_keys(span: Span) -> list[CellKey]:
    """Return the keys of the cells that add up to a span, in the order of time.

    Whole days of hours are taken from the cells of the days. Answers from memory and from Redis use
    the same list, so both add the same numbers in the same order.
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
    """A claim: one value for each of ``buckets``."""

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


def horizon(retention: Retention, now: datetime) -> Horizon:
    """Return the oldest cells that are still kept at ``now`` (UTC).

    Minutes are never kept longer than hours, whatever the settings say: a claimed minute rolls up
    into its hour and day, and a day is rolled up from all of its hours. So no claim may touch a
    part of a day whose hours are no longer kept.
    """
    minutes_from_hour = bucket(now - timedelta(hours=retention.minutes_h), HOUR_S)
    hours_from_day = bucket(now - timedelta(days=retention.hours_d), DAY_S)
    return Horizon(max(minutes_from_hour, hours_from_day * DAY_H), hours_from_day)


class TooLateError(ValueError):
    """None of the cells that a message could claim is kept any more."""


def series_of(message: Message) -> Series:
    """Return the series whose cells a message claims."""
    return Series(message.pool if isinstance(message, Report) else None, message.source)


def claims_of(message: Message, horizon: Horizon | None = None) -> list[Claim]:
    """Return the claims of a message on cells that are still kept.

    Args:
        message: any.
        horizon: the oldest cells that are kept; without it, all are.

    Raises:
        TooLateError: none of the cells that the message could claim is kept any more.
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
    # A day whose hours are no longer kept is claimed directly, if the message covers all of it.
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
        content = (sorted(message.places), message.simulated, message.basis)
        if message.published:
            content = (*content, message.published)
    checksum = zlib.crc32(msgspec.json.encode(content))
    end, fetched_at = message.end.timestamp(), message.fetched_at.timestamp()
    return Rank(first, end, fetched_at, message.hashrate, checksum)


def _cell(message: Message, tier: Tier) -> Cell:
    minutes = TIER_MINUTES[tier]
    total = message.hashrate * minutes
    if not isinstance(message, Report):
        return Cell(minutes, total, simulated=message.simulated)
    places = {(p.code, p.kind): p.hashrate * minutes for p in message.places}
    return Cell(minutes, total, places, message.simulated, BASES.index(message.basis))


class MemoryCells:
    """The cells of a set of messages, in memory and kept for ever, for answers without Redis."""

    def __init__(self) -> None:
        self._claims: dict[Series, dict[Tier, dict[int, tuple[Rank, Cell]]]] = {}
        self._rolled_up: dict[tuple[Series, Tier, int], Cell] = {}

    def add(self, message: Message) -> None:
        """Apply the claims of one message."""
        self._rolled_up.clear()
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
        """Return the sum of a series' cells over a span; without any, a cell of 0 minutes."""
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
        return add_up(cells, place_of=_identity)

    def _cell(self, series: Series, tier: Tier, number: int) -> Cell | None:
        claim = self._claims[series][tier].get(number)
        if claim:
            return claim[1]
        if tier == "minute":
            return None
        key = (series, tier, number)
        if key not in self._rolled_up:
            self._rolled_up[key] = self._roll_up(series, tier, number)
        return self._rolled_up[key]

    def _roll_up(self, series: Series, tier: Tier, number: int) -> Cell:
        tier_below: Tier = "minute" if tier == "hour" else "hour"
        size = TIER_MINUTES[tier] // TIER_MINUTES[tier_below]
        return self._sum(series, [(tier_below, number * size + n) for n in range(size)])


def _identity(place: PlaceKind) -> PlaceKind:
    return place
