"""Cells: the values of one source for one pool, by minute, hour and day (method.md 3). Pure.

Each message makes claims on buckets, and the claim with the highest rank becomes the bucket's cell.
A cell is a maximum, so it depends neither on the order of the messages nor on how often each one
arrives. Values are sums of H/s over minutes; a mean is a sum divided by its minutes.
"""

from __future__ import annotations

import zlib
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from miningmap.messages import BASES, Kind, Located, Message, Report
from miningmap.retention import kept_buckets
from miningmap.times import DAY_H, HOUR_MIN
from streams.method.tables import NO_ROWS, Rows, added, running_rows
from streams.method.windows import PROFILE_DAYS, TIER_MINUTES, Span, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from miningmap.retention import Buckets, Horizon

PlaceKind: TypeAlias = tuple[str, Kind]
"""The code of a place, and the kind of the hashrate there."""

Places: TypeAlias = dict[PlaceKind, float]
"""Hashrate by place and kind, in H/s."""

CellKey: TypeAlias = tuple[Tier, int]
"""Identifies a cell of a series: its tier and the number of its bucket."""

_encode = msgspec.json.Encoder().encode
_code_of = attrgetter("code")


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


class Cell(msgspec.Struct, frozen=True):
    """Sums over ``minutes``, in H/s x minutes.

    Attributes:
        minutes: the number of minutes that have a value.
        total: the sum of the hashrate over these minutes.
        places: the part of the total at each place: one row for each, in the order of their numbers
            (:mod:`streams.method.tables`).
        simulated: whether any of these values is simulated.
        basis: the index in ``BASES`` of the worst basis of these values.
    """

    minutes: int = 0
    total: float = 0.0
    places: Rows = NO_ROWS
    simulated: bool = False
    basis: int = 0


NOTHING: Final = Cell()
"""The sums of no cells."""


def add_up(cells: Iterable[Cell | None], begun: Cell = NOTHING) -> Cell:
    """Return the sums of cells.

    Args:
        cells: in the order of time, ``None`` where there is none. Floating-point sums depend on the
            order, and every path to an answer has to give the same digits.
        begun: the sums of the cells before these.
    """
    minutes, total, simulated, basis = begun.minutes, begun.total, begun.simulated, begun.basis
    places = [begun.places]
    for cell in cells:
        if cell is not None:
            minutes += cell.minutes
            total += cell.total
            places.append(cell.places)
            simulated |= cell.simulated
            basis = max(basis, cell.basis)
    return Cell(minutes, total, added(places), simulated, basis)


def divided(days: range) -> tuple[range, range]:
    """Divide days where a block of 30 days begins inside them.

    The first part is added up from its end, the second one from its start, and then both together,
    on every path to an answer. So the profiles of days in a row need few additions
    (:class:`DaySums`), and have the same digits as one by itself.
    """
    start = (days.start // PROFILE_DAYS + 1) * PROFILE_DAYS
    if start >= days.stop:
        return range(0), days
    return range(days.start, start), range(start, days.stop)


def sum_of_days(days: range, cell_of: Callable[[int], Cell | None]) -> Cell:
    """Return the sums of days, in the one order of additions that there is for them.

    Args:
        days: their numbers.
        cell_of: returns the cell of a day, ``None`` if there is none.
    """
    before, after = divided(days)
    return add_up([add_up(map(cell_of, reversed(before))), add_up(map(cell_of, after))])


def running_sums(cells: Iterable[Cell | None]) -> list[Cell]:
    """Return the sums of no cell, of the first cell, of the first two and so on.

    They have the digits that :func:`add_up` gives.
    """
    listed = list(cells)
    tables = running_rows([NO_ROWS if cell is None else cell.places for cell in listed])
    minutes, total, simulated, basis = 0, 0.0, False, 0
    sums = [NOTHING]
    for cell, places in zip(listed, tables, strict=True):
        if cell is not None:
            minutes += cell.minutes
            total += cell.total
            simulated |= cell.simulated
            basis = max(basis, cell.basis)
        sums.append(Cell(minutes, total, places, simulated, basis))
    return sums


class DaySums:
    """The sums of days that slide on: each costs little more than one addition of two cells.

    Args:
        cell_of: returns the cell of a day, ``None`` if there is none.
    """

    def __init__(self, cell_of: Callable[[int], Cell | None]) -> None:
        self._cell_of = cell_of
        # By the direction, the start of a block and the sums from there on.
        self._running: dict[int, tuple[int, list[Cell]]] = {}

    def sum(self, days: range) -> Cell:
        """Return what :func:`sum_of_days` returns."""
        before, after = divided(days)
        if not before:
            return self._sum(after.start, 1, len(after))
        return add_up(
            [self._sum(before.stop, -1, len(before)), self._sum(after.start, 1, len(after))]
        )

    def _sum(self, start: int, direction: int, number: int) -> Cell:
        """Return the sum of so many days after the start of a block (1) or before it (-1)."""
        known, sums = self._running.get(direction, (start, []))
        if known != start or number >= len(sums):
            first = start if direction > 0 else start - 1
            last = first + direction * max(number, PROFILE_DAYS)
            sums = running_sums(map(self._cell_of, range(first, last, direction)))
            self._running[direction] = start, sums
        return sums[number]


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


class Claim(NamedTuple):
    """A claim of a message on each of ``buckets``, for what :func:`claimed_cell` returns."""

    tier: Tier
    buckets: range
    rank: Rank


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
    kept = kept_buckets(message.start, message.end, message.hold_s, horizon)
    if kept.covered or kept.held:
        return _minute_claims(message, kept)
    return _long_claims(message, kept)


def _minute_claims(message: Message, kept: Buckets) -> list[Claim]:
    rank = _rank(message, 1.0)
    claims = [Claim("minute", kept.covered, rank)] if kept.covered else []
    if kept.held:
        claims.append(Claim("minute", kept.held, rank._replace(first=0.0)))
    return claims


def _long_claims(message: Message, kept: Buckets) -> list[Claim]:
    rank = _rank(message, -message.length_s)
    both: tuple[tuple[Tier, range], ...] = (("hour", kept.hours), ("day", kept.days))
    return [Claim(tier, buckets, rank) for tier, buckets in both if buckets]


def _rank(message: Message, first: float) -> Rank:
    content: tuple[object, ...] = ((), message.simulated)
    if isinstance(message, Report):
        content = (_in_order(message.places), message.simulated, message.basis)
        if message.published:
            content = (*content, message.published)
    end, fetched_at = message.end.timestamp(), message.fetched_at.timestamp()
    return Rank(first, end, fetched_at, message.hashrate, zlib.crc32(_encode(content)))


def _in_order(places: tuple[Located, ...]) -> list[Located]:
    """Return places in their order, which nearly always follows from their codes alone."""
    if len({place.code for place in places}) == len(places):
        return sorted(places, key=_code_of)
    return sorted(places)


def claimed_cell(message: Message, tier: Tier) -> Cell:
    """Return the cell that a message claims for each bucket of a tier."""
    minutes = TIER_MINUTES[tier]
    total = message.hashrate * minutes
    if not isinstance(message, Report):
        return Cell(minutes, total, simulated=message.simulated)
    places = Rows.of({(p.code, p.kind): p.hashrate * minutes for p in message.places})
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
            buckets, cell = tiers[claim.tier], claimed_cell(message, claim.tier)
            for number in claim.buckets:
                known = buckets.get(number)
                if known is None or claim.rank > known[0]:
                    buckets[number] = (claim.rank, cell)

    def series(self) -> Iterable[Series]:
        """Return every series that has a cell."""
        return self._claims.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        """Return the sum of a series' cells over a span; without any, a cell of 0 minutes."""
        if span.tier == "day":
            cell_of = partial(self._cell, series, "day")
            return sum_of_days(span.buckets, cell_of)
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
        return add_up(self._cell(series, tier, n) for tier, n in keys)

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
