"""Aggregate a pool's list of miners into rows: how much hashrate is where, without any address.

This runs on the pool's own machine. Addresses are looked up in the pool's own database; none
appears in a row, a log or an error. Errors name the line and never quote it.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from miningmap import places
from miningmap.cbeci.contribution import Row
from miningmap.partner.csv import Record, TableError
from miningmap.partner.miners import read_miners
from miningmap.partner.records import Location, code_of
from miningmap.places import OTHER, OTHER_SUFFIX, UnknownPlaceError, country_of
from miningmap.units import HashrateError, parse_hashrate

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

UNIT: Final = "th/s"
_H_PER_UNIT: Final = 1e12
_DIGITS: Final = 12
_SITE_BITS: Final = 64  # an IPv6 customer has at least a /64

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Locate: TypeAlias = "Callable[[Address], Location | None]"


@dataclass
class Tally:
    """A hashrate in H/s, the number of rows that it is the sum of, and their miners."""

    hashrate: float = 0.0
    rows: int = 0
    miners: set[Hashable] = field(default_factory=set)

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.hashrate += other.hashrate
        self.rows += other.rows
        self.miners |= other.miners


Places: TypeAlias = "dict[str, Tally]"


class Aggregate(NamedTuple):
    """The tally of each place, and of the miners whose place is not or not fully known.

    Attributes:
        located: by the code of a place; of nested subdivisions by the outermost.
        unlocated: without a known country.
        not_understood: by what a database calls a subdivision that is not in ISO 3166-2. These
            miners are in ``located`` too, at their country.
    """

    located: Places
    unlocated: Tally
    not_understood: Places


# --- the list of miners ---------------------------------------------------------------------------


def aggregate(file: Iterable[str], locate: Locate | None, unit: str) -> Aggregate:
    """Sum a list of miners by place.

    A miner is an IPv4 address or the first half of an IPv6 address, which identifies a site. In a
    list by place each line is a miner.

    Args:
        file: CSV with the columns ``hashrate``, and ``ip`` or ``place``; or such objects of JSON,
            one a line.
        locate: returns an address's place, or ``None``.
        unit: of hashrates without a unit.

    Raises:
        TableError: the file is not such a list, or a line is invalid.
    """
    found = Aggregate(defaultdict(Tally), Tally(), defaultdict(Tally))
    errors: list[str] = []
    for record in read_miners(file):
        try:
            location, miner = _placed(record, locate)
            hashrate = _hashrate(record.fields["hashrate"], unit)
        except ValueError as error:
            errors.append(f"line {record.line}: {error}")
            continue
        for tally in _tallies(found, location):
            tally.add(Tally(hashrate, 1, {miner}))
    if errors:
        raise TableError(errors)
    return Aggregate(dict(found.located), found.unlocated, dict(found.not_understood))


def _tallies(found: Aggregate, location: Location | None) -> Iterator[Tally]:
    """Yield the tallies that a miner counts in."""
    if location is None:
        yield found.unlocated
        return
    yield found.located[location.code]
    if location.not_understood is not None:
        yield found.not_understood[location.not_understood]


def _placed(record: Record, locate: Locate | None) -> tuple[Location | None, Hashable]:
    """Return the place and the miner of a line."""
    fields = record.fields
    if "place" in fields:
        return Location(_place(fields["place"])), record.line
    if locate is None:
        raise TableError(["line 1: a column ip needs --database"])
    address = _address(fields["ip"])
    if isinstance(address, ipaddress.IPv4Address):
        return locate(address), address
    return locate(address), int(address) >> _SITE_BITS


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("ip: not an IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _place(text: str) -> str:
    country, dash, _ = text.upper().partition("-")
    if dash and (code := code_of(country, text)):
        return code
    try:
        return places.resolve(text)
    except UnknownPlaceError:
        raise ValueError(
            "place: neither a country nor the code of a subdivision (ISO 3166)"
        ) from None


def _hashrate(text: str, unit: str) -> float:
    try:
        hashrate = parse_hashrate(text, unit)
    except HashrateError:
        hashrate = None
    if hashrate is None:
        raise ValueError("hashrate: expected a number, 0 or more")
    return hashrate


# --- merging small places -------------------------------------------------------------------------


def fold(located: Places, least: int) -> Places:
    """Merge places until each has at least ``least`` miners; the sum of hashrates stays.

    Subdivisions with fewer miners become ``XX-OTHER`` of their country, countries ``OTHER``. If the
    merged place is still too small, the place with the fewest miners joins it: a remainder of one
    miner would reveal as much as the place itself. So every row stays true, only less precise.

    Returns:
        Nothing, if there are fewer than ``least`` miners in all.
    """
    countries: dict[str, Places] = {}
    for code, tally in located.items():
        if code != OTHER:
            countries.setdefault(country_of(code), {})[code] = tally
    merged = {
        country: _absorb(
            _absorb(parts, country + OTHER_SUFFIX, least, keep=country), country, least
        )
        for country, parts in countries.items()
    }
    sums = {country: _sum(parts.values()) for country, parts in merged.items()}
    if OTHER in located:
        sums[OTHER] = located[OTHER]
    kept = _absorb(sums, OTHER, least)
    folded = {OTHER: kept[OTHER]} if OTHER in kept else {}
    for country, parts in merged.items():
        if country in kept:
            folded |= parts
    if any(len(tally.miners) < least for tally in folded.values()):
        return {}
    return folded


def _absorb(parts: Places, remainder: str, least: int, keep: str | None = None) -> Places:
    """Move parts with too few miners into ``remainder``, and more until that has enough.

    ``keep`` is a part that is never moved.
    """
    kept = dict(parts)
    absorbed = Tally()
    if remainder in kept:
        absorbed.add(kept.pop(remainder))
    by_size = sorted(kept.keys() - {keep}, key=lambda code: (len(kept[code].miners), code))
    for code in by_size:
        too_few = len(kept[code].miners) < least
        if not too_few and (not absorbed.rows or len(absorbed.miners) >= least):
            break
        absorbed.add(kept.pop(code))
    return kept | {remainder: absorbed} if absorbed.rows else kept


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


# --- rows -----------------------------------------------------------------------------------------


def rows_of(located: Places, start: str, period: str) -> Iterator[Row]:
    """Yield rows for an intake in the order of their codes, which identify places without doubt."""
    for code, tally in sorted(located.items()):
        yield Row(
            period_start_date=start,
            period=period,
            country=country_of(code),
            province=code if "-" in code else None,
            average_hashrate=float(f"{tally.hashrate / _H_PER_UNIT:.{_DIGITS}g}"),
            unit=UNIT,
        )
