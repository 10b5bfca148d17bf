"""A pool's list of miners to rows: how much hashrate is where, and no longer whose.

This runs at the pool. Addresses go into a database of the pool's own and come out as places; none
is in a row, a log or an error. Errors name the line and never quote it.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import maxminddb

from miningmap import places
from miningmap.cbeci.contribution import Row
from miningmap.partner.csv import Record, TableError, read_table
from miningmap.places import OTHER, OTHER_SUFFIX, UnknownPlaceError, country_of
from miningmap.units import HashrateError, parse_hashrate

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from pathlib import Path

UNIT: Final = "th/s"
_H_PER_UNIT: Final = 1e12
_DIGITS: Final = 12
_SITE_BITS: Final = 64

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Locate: TypeAlias = "Callable[[Address], str | None]"


class DatabaseError(Exception):
    """The database cannot be used; one line."""


@dataclass
class Tally:
    """Hashrate in H/s, and the miners that have it."""

    hashrate: float = 0.0
    rows: int = 0
    miners: set[Hashable] = field(default_factory=set)

    def add(self, other: Tally) -> None:
        """Take over what another one has."""
        self.hashrate += other.hashrate
        self.rows += other.rows
        self.miners |= other.miners


Places: TypeAlias = "dict[str, Tally]"


class Aggregate(NamedTuple):
    """What a list says by place, and what of it has none."""

    located: Places
    unlocated: Tally


# --- the list -------------------------------------------------------------------------------------


def aggregate(file: Iterable[str], locate: Locate | None, unit: str) -> Aggregate:
    """Add a list up by place.

    A miner is an address, or the half of an IPv6 address that is its site's; of a list by place, a
    line.

    Args:
        file: CSV with the columns ``hashrate``, and ``ip`` or ``place``.
        locate: the place of an address, if it has one.
        unit: of hashrates that name none.

    Raises:
        TableError: it is no such list, or a line is wrong.
    """
    found = Aggregate(defaultdict(Tally), Tally())
    errors: list[str] = []
    for record in read_table(file, ["hashrate"]):
        try:
            code, miner = _placed(record, locate)
            hashrate = _hashrate(record.fields["hashrate"], unit)
        except ValueError as error:
            errors.append(f"line {record.line}: {error}")
            continue
        tally = found.unlocated if code is None else found.located[code]
        tally.add(Tally(hashrate, 1, {miner}))
    if errors:
        raise TableError(errors)
    return Aggregate(dict(found.located), found.unlocated)


def _placed(record: Record, locate: Locate | None) -> tuple[str | None, Hashable]:
    fields = record.fields
    if ("ip" in fields) == ("place" in fields):
        raise TableError(["line 1: either a column ip or a column place is wanted"])
    if "place" in fields:
        return _place(fields["place"]), record.line
    if locate is None:
        raise TableError(["line 1: for a column ip a --database is wanted"])
    address = _address(fields["ip"])
    if isinstance(address, ipaddress.IPv4Address):
        return locate(address), address
    return locate(address), int(address) >> _SITE_BITS


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("ip: no IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _place(text: str) -> str:
    code = text.upper()
    if places.is_locatable(code):
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
        raise ValueError("hashrate: a number, 0 or more, is wanted")
    return hashrate


# --- where an address is --------------------------------------------------------------------------


class Locator:
    """A database in MaxMind's format (GeoLite2 City or Country, DB-IP, …), to be closed."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            DatabaseError: it cannot be read, or is no such database.
        """
        try:
            self._reader = maxminddb.open_database(path)
        except OSError as error:
            raise DatabaseError(f"{path}: {error.strerror}") from None
        except (maxminddb.InvalidDatabaseError, ValueError):  # ValueError: an empty file
            raise DatabaseError(f"{path}: no database in MaxMind's format") from None
        self._only_ipv4 = self._reader.metadata().ip_version == 4  # noqa: PLR2004 - IPv4

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __call__(self, address: Address) -> str | None:
        """The subdivision, or the country, or ``None``.

        Raises:
            DatabaseError: the database is damaged.
        """
        if self._only_ipv4 and isinstance(address, ipaddress.IPv6Address):
            return None
        try:
            return code_of(self._reader.get(address))
        except maxminddb.InvalidDatabaseError:
            raise DatabaseError("the database is damaged; get it anew") from None


def code_of(record: object) -> str | None:
    """The place that a record of such a database names: where the address is, not whose it is."""
    country = _iso_code(_get(record, "country"))
    if country is None or not places.is_country(country):
        return None
    subdivisions = _get(record, "subdivisions")
    for subdivision in subdivisions if isinstance(subdivisions, list) else []:  # the largest first
        code = f"{country}-{_iso_code(subdivision)}"
        if places.is_subdivision(code):
            return code
    return country


def _get(record: object, name: str) -> object:
    return record.get(name) if isinstance(record, dict) else None


def _iso_code(record: object) -> str | None:
    code = _get(record, "iso_code")
    return code if isinstance(code, str) else None


# --- so many that nobody can be told apart --------------------------------------------------------


def fold(located: Places, least: int) -> Places:
    """The same hashrate in places of which each has at least ``least`` miners.

    Subdivisions with fewer become ``XX-OTHER`` of their country, countries ``OTHER``. If what was
    put together is still less, the place with the fewest miners joins it: a rest of one miner would
    tell as much as the place itself. So what every place says is still true, only less exactly.

    Returns:
        Nothing, if there are fewer miners in all.
    """
    countries: dict[str, Places] = {}
    for code, tally in located.items():
        if code != OTHER:
            countries.setdefault(country_of(code), {})[code] = tally
    whole = {
        country: _absorb(_absorb(parts, country + OTHER_SUFFIX, least, but=country), country, least)
        for country, parts in countries.items()
    }
    sums = {country: _sum(parts.values()) for country, parts in whole.items()}
    if OTHER in located:
        sums[OTHER] = located[OTHER]
    kept = _absorb(sums, OTHER, least)
    folded = {OTHER: kept[OTHER]} if OTHER in kept else {}
    for country, parts in whole.items():
        if country in kept:
            folded |= parts
    if any(len(tally.miners) < least for tally in folded.values()):
        return {}
    return folded


def _absorb(parts: Places, rest: str, least: int, but: str | None = None) -> Places:
    """The parts, those with too few miners in ``rest``, which has enough as far as others help.

    ``but`` is a part that is left alone.
    """
    kept = dict(parts)
    absorbed = Tally()
    if rest in kept:
        absorbed.add(kept.pop(rest))
    by_size = sorted(kept.keys() - {but}, key=lambda code: (len(kept[code].miners), code))
    for code in by_size:
        few = len(kept[code].miners) < least
        if not few and (not absorbed.rows or len(absorbed.miners) >= least):
            break
        absorbed.add(kept.pop(code))
    return kept | {rest: absorbed} if absorbed.rows else kept


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


# --- rows -----------------------------------------------------------------------------------------


def rows_of(located: Places, start: str, period: str) -> Iterator[Row]:
    """Rows for an intake, by code. Places are given by their codes, which are never ambiguous."""
    for code, tally in sorted(located.items()):
        yield Row(
            period_start_date=start,
            period=period,
            country=country_of(code),
            province=code if "-" in code else None,
            average_hashrate=float(f"{tally.hashrate / _H_PER_UNIT:.{_DIGITS}g}"),
            unit=UNIT,
        )
