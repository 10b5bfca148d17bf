"""Tables: located hashrate as columns of numbers, so that thousands of figures are added at once.

Every code of a place has a number, and so has every pair of a code and a kind. They mean nothing
outside of the process. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from miningmap.messages import KINDS
from miningmap.places import OTHER_SUFFIX, all_places, country_of, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from miningmap.messages import Kind
    from streams.method.cells import PlaceKind, Places

Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.intp]"

NUMBER_OF_KIND: Final[Mapping[Kind, int]] = {kind: number for number, kind in enumerate(KINDS)}


class _Codes(dict[str, int]):
    """The number of each code, in the order of the codes.

    Sums over places are made in the order of their numbers. So this does not depend on what is
    asked for first, and every process gives the same digits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_number: list[str] = []
        self.places: list[PlaceKind] = []  # by the number of place and kind
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
        self.places += [(code, kind) for kind in KINDS]
        self._countries.append(self.get(country, number))
        self[code] = number

    @property
    def countries(self) -> Ints:
        """The number of each code's country, by the number of the code."""
        if len(self._countries_array) < len(self._countries):
            self._countries_array = np.array(self._countries, np.intp)
        return self._countries_array


def _known_codes() -> list[str]:
    """Return every code at which a report or a belief can place hashrate, in alphabetical order."""
    codes = [place.code for place in all_places() if outermost(place.code) == place.code]
    others = [code + OTHER_SUFFIX for code in codes if country_of(code) == code]
    return sorted([*codes, *others])


CODES: Final = _Codes()
"""The numbers of codes."""


def place_number(code: str, kind: Kind) -> int:
    """Return the number of a place and kind."""
    return CODES[code] * len(KINDS) + NUMBER_OF_KIND[kind]


@lru_cache(maxsize=4096)  # a pool lists the same places again and again
def place_numbers(places: tuple[PlaceKind, ...]) -> Ints:
    """Return the numbers of places and kinds, in their order."""
    return np.array([place_number(*place) for place in places], np.intp)


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
        """Return places as rows, in their order."""
        return cls(place_numbers(tuple(places)), floats(places.values(), len(places)))

    @property
    def total(self) -> float:
        """All of it, in H/s."""
        return float(self.hashrates.sum())

    def of_kind(self, kind: Kind) -> Rows:
        """Return the rows of one kind."""
        rows = self.places % len(KINDS) == NUMBER_OF_KIND[kind]
        return Rows(self.places[rows], self.hashrates[rows])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.by_place() == other.by_place()

    def __hash__(self) -> int:
        raise TypeError("arrays have no hash")

    def by_place(self) -> Places:
        """Return the hashrate by place and kind, rows with the same place added up."""
        places = list(map(CODES.places.__getitem__, self.places.tolist()))
        hashrates = self.hashrates.tolist()
        found = dict(zip(places, hashrates, strict=True))
        if len(found) < len(places):  # some come in several rows
            found = dict.fromkeys(found, 0.0)
            for place, hashrate in zip(places, hashrates, strict=True):
                found[place] += hashrate
        return found


NO_ROWS: Final = Rows(np.empty(0, np.intp), np.empty(0))


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

    def by_pool(self, number: int) -> list[Rows]:
        """Return the rows of each of so many pools."""
        order = np.argsort(self.pools, kind="stable")
        places, hashrates = self.places[order], self.hashrates[order]
        ends = np.cumsum(np.bincount(self.pools, minlength=number)).tolist()
        return [
            Rows(places[start:end], hashrates[start:end]) for start, end in pairwise([0, *ends])
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
