"""Tables: located hashrate as columns of numbers, so that thousands of figures are added at once.

Every code of a place has a number, and so has every pair of a code and a kind. They mean nothing
outside of the process. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from miningmap.messages import KINDS
from miningmap.places import OTHER_SUFFIX, all_places, country_of, outermost

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from miningmap.messages import Kind
    from streams.method.cells import PlaceKind, Places

Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.intp]"

_OFTEN_DIVIDED: Final = ("CN", "US")

NUMBER_OF_KIND: Final[Mapping[Kind, int]] = {kind: number for number, kind in enumerate(KINDS)}


class _Codes(dict[str, int]):
    """The number of each code, the same in every process.

    Sums over places are made in the order of their numbers. So this does not depend on what is
    asked for first, and every process gives the same digits. Countries and the subdivisions of
    China and of the United States come first: most reports name nothing else, and columns by
    number are only as long as the highest one needs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_number: list[str] = []
        self._countries: list[int] = []
        self._countries_array: Ints = np.empty(0, np.intp)
        self._lock = Lock()

    def __missing__(self, code: str) -> int:
        with self._lock:
            if not self:
                for known in _known_codes():
                    self._add(known)
            if code not in self:
                self._add(code)
        return self[code]

    def _add(self, code: str) -> None:
        country = country_of(code)
        if country != code and country not in self:
            self._add(country)
        number = len(self.by_number)
        self.by_number.append(code)
        self._countries.append(self.get(country, number))
        self[code] = number

    @property
    def countries(self) -> Ints:
        """The number of each code's country, by the number of the code."""
        if len(self._countries_array) < len(self._countries):
            self._countries_array = np.array(self._countries, np.intp)
        return self._countries_array


def _known_codes() -> list[str]:
    """Return every code at which a report or a belief can place hashrate, as they are numbered."""
    codes = [place.code for place in all_places() if outermost(place.code) == place.code]
    others = [code + OTHER_SUFFIX for code in codes if country_of(code) == code]
    return sorted([*codes, *others], key=_in_order)


def _in_order(code: str) -> tuple[bool, str]:
    country = country_of(code)
    return code != country and country not in _OFTEN_DIVIDED, code


CODES: Final = _Codes()
"""The numbers of codes."""


def place_number(code: str, kind: Kind) -> int:
    """Return the number of a place and kind."""
    return CODES[code] * len(KINDS) + NUMBER_OF_KIND[kind]


@lru_cache(maxsize=1024)
def code_numbers(codes: tuple[str, ...]) -> Ints:
    """Return the numbers of codes, in their order."""
    return np.array([CODES[code] for code in codes], np.intp)


def names_of(codes: Ints) -> list[str]:
    """Return the codes with these numbers."""
    return [CODES.by_number[number] for number in codes.tolist()]


def floats(figures: Iterable[float], number: int) -> Floats:
    """Return so many figures as a column."""
    return np.fromiter(figures, np.float64, number)


def sum_by(numbers: Ints, figures: Floats, size: int = 0) -> Floats:
    """Return the sums of figures by their numbers, added up in their order.

    Args:
        numbers: of each figure, not negative.
        figures: what is added up.
        size: the least length of the result, where 0 stands for what has no figure.
    """
    return np.asarray(np.bincount(numbers, figures, size), np.float64)


class Rows(NamedTuple):
    """Where hashrate is.

    Attributes:
        places: the number of a place and kind in each row; it can come in several rows.
        hashrates: in H/s.
    """

    places: Ints
    hashrates: Floats

    @classmethod
    def of(cls, places: Places) -> Rows:
        """Return places as rows, in the order of their numbers."""
        return ordered(tuple(places)).rows(places.values())

    def alone(self) -> Rows:
        """Return a copy, for those who keep it longer than the table that it is a part of."""
        return Rows(self.places.copy(), self.hashrates.copy())

    @property
    def total(self) -> float:
        """All of it, in H/s."""
        return float(self.hashrates.sum())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rows):
            return False
        return all(map(np.array_equal, self, other)) or self.by_place() == other.by_place()

    def __hash__(self) -> int:
        raise TypeError("arrays have no hash")

    def by_place(self) -> Places:
        """Return the hashrate by place and kind, rows with the same place added up."""
        codes = names_of(self.places // len(KINDS))
        kinds = map(KINDS.__getitem__, (self.places % len(KINDS)).tolist())
        places = list(zip(codes, kinds, strict=True))
        hashrates = self.hashrates.tolist()
        found = dict(zip(places, hashrates, strict=True))
        if len(found) < len(places):  # some come in several rows
            found = dict.fromkeys(found, 0.0)
            for place, hashrate in zip(places, hashrates, strict=True):
                found[place] += hashrate
        return found


NO_ROWS: Final = Rows(np.empty(0, np.intp), np.empty(0))


class Order(NamedTuple):
    """How rows of some places are put into the order of the numbers.

    Attributes:
        positions: of the places, in the order of the numbers.
        places: the numbers.
    """

    positions: Ints
    places: Ints

    def rows(self, hashrates: Collection[float]) -> Rows:
        """Return rows with these hashrates, which are given in the order of the places."""
        return Rows(self.places, floats(hashrates, len(hashrates))[self.positions])


@lru_cache(maxsize=4096)  # a pool lists the same places again and again
def ordered(places: tuple[PlaceKind, ...]) -> Order:
    """Return how rows of these places are put into the order of the numbers."""
    numbers = [place_number(*place) for place in places]
    return Order(np.argsort(numbers, kind="stable"), _numbers(tuple(sorted(numbers))))


@lru_cache(maxsize=4096)  # so that the same places in another order are the same array
def _numbers(places: tuple[int, ...]) -> Ints:
    return np.array(places, np.intp)


def added(tables: Sequence[Rows]) -> Rows:
    """Return the sums of rows by place: one row for each, in the order of their numbers.

    Args:
        tables: each with one row for a place, in that order. They are added up in their order, so
            that the result has the same digits however it came about.
    """
    some = [each for each in tables if len(each.places)]
    if not some:
        return NO_ROWS
    first, *others = some
    if not others:
        return first
    if all(each.places is first.places for each in others):  # as those of a pool mostly are
        sums = first.hashrates.copy()
        for each in others:
            sums += each.hashrates
        return Rows(first.places, sums)
    places, hashrates = map(np.concatenate, zip(*some, strict=True))
    listed = np.flatnonzero(np.bincount(places))
    return Rows(listed, sum_by(places, hashrates)[listed])


def running_rows(tables: Iterable[Rows]) -> list[Rows]:
    """Return the sums of the first rows, of the first two and so on, as :func:`added` adds."""
    listed = list(tables)
    some = [each for each in listed if len(each.places)]
    if len({id(each.places) for each in some}) > 1:
        return list(accumulate(listed, lambda sums, each: added([sums, each])))
    sums = iter(np.add.accumulate(np.array([each.hashrates for each in some])))
    found, newest = list[Rows](), NO_ROWS
    for each in listed:
        if len(each.places):
            newest = Rows(each.places, next(sums))
        found.append(newest)
    return found


class Table(NamedTuple):
    """Where the hashrate of some pools is.

    Attributes:
        pools: the number of the pool in each row.
        places: the number of a place and kind; it can come in several rows of a pool.
        hashrates: in H/s.
    """

    pools: Ints
    places: Ints
    hashrates: Floats

    @property
    def codes(self) -> Ints:
        """The number of the code in each row."""
        return self.places // len(KINDS)

    @property
    def kinds(self) -> Ints:
        """The number of the kind in each row."""
        return self.places % len(KINDS)

    def where(self, rows: NDArray[np.bool_]) -> Table:
        """Return some of the rows."""
        return Table(self.pools[rows], self.places[rows], self.hashrates[rows])

    def in_order(self) -> Table:
        """Return the rows by pool, those of a pool in their order."""
        order = np.argsort(self.pools, kind="stable")
        return Table(self.pools[order], self.places[order], self.hashrates[order])

    def by_pool(self, number: int) -> list[Rows]:
        """Return the rows of each of so many pools, from a table that is in order."""
        ends = np.cumsum(np.bincount(self.pools, minlength=number)).tolist()
        return [
            Rows(self.places[start:end], self.hashrates[start:end])
            for start, end in pairwise([0, *ends])
        ]


def table_of(pools: Sequence[Rows]) -> Table:
    """Return what is located of pools as one table; their numbers are their positions."""
    if not pools:
        return Table(np.empty(0, np.intp), *NO_ROWS)
    places, hashrates = zip(*pools, strict=True)
    numbers = np.repeat(np.arange(len(pools)), np.fromiter(map(len, places), np.intp, len(pools)))
    return Table(numbers, np.concatenate(places), np.concatenate(hashrates))


def joined(tables: Sequence[Table]) -> Table:
    """Return the rows of all tables, of which there is at least one."""
    return Table(*map(np.concatenate, zip(*tables, strict=True)))
