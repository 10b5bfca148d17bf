"""Figures that others have published, read from a table (docs/compare.md). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, TypeVar

from miningmap import places
from miningmap.messages import FIGURE, MAX_FIGURE
from miningmap.partner.csv import Record, TableError, read_table
from miningmap.units import parse_hashrate
from streams.method.windows import parse_window
from streams.queries.parameters import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.method.beliefs import Hashrate, Ratio

T = TypeVar("T")

Whole: TypeAlias = Literal["world", "country"]

REQUIRED: Final = ("code", "window", "source")
VALUES: Final = (("share",), ("share_low", "share_high"), ("hashrate",))
"""The columns that state a figure; a line has one of these forms."""
OPTIONAL: Final = ("of", "note")
COLUMNS: Final = (*REQUIRED, *(column for form in VALUES for column in form), *OPTIONAL)

_SHARE: Final = re.compile(rf"({FIGURE})\s*(%?)")
_ANY_TIME: Final = datetime.fromtimestamp(0, UTC)


class Range(NamedTuple):
    """All ratios from ``low`` to ``high``, both included."""

    low: Ratio
    high: Ratio


class Figure(NamedTuple):
    """A figure that somebody has published.

    Attributes:
        line: of the table, from 1.
        code: the country or subdivision that it is about.
        window: the name of a window of ``/api/v1/shares``.
        of: what a share is a share of: the world, or the country of the subdivision.
        share: a single value is a range whose ends are equal; ``None`` for a hashrate.
        hashrate: in H/s; ``None`` for a share.
        source: who says so.
        note: anything else.
    """

    line: int
    code: str
    window: str
    of: Whole
    share: Range | None
    hashrate: Hashrate | None
    source: str
    note: str


def read_figures(file: Iterable[str]) -> list[Figure]:
    """Read a table of figures: CSV with the columns :data:`COLUMNS` in any order.

    Raises:
        TableError: the table is invalid; has all errors of all lines.
    """
    found: list[Figure] = []
    errors: list[str] = []
    try:
        for record in read_table(file, REQUIRED, errors):
            if unknown := [name for name in record.fields if name not in COLUMNS]:
                expected = ", ".join(COLUMNS)
                raise TableError(
                    [f"line 1: unknown column {quoted(unknown[0])}; expected some of: {expected}"]
                )
            line = _Line(record)
            found += line.figures()
            errors += line.errors
    except TableError as error:
        errors += error.errors
    if not found and not errors:
        errors.append("has no figures")
    if errors:
        raise TableError(errors)
    return found


def parse_share(text: str) -> Ratio:
    """Return a ratio from 0 to 1 that is written as such, or in percent: ``0.54``, ``54%``.

    Raises:
        ValueError: it is none.
    """
    match = _SHARE.fullmatch(text)
    if match and len(match[1]) <= MAX_FIGURE:
        number = Decimal(match[1]) / (100 if match[2] else 1)
        if number <= 1:
            return float(number)
    raise ValueError(f"{quoted(text)} is not a share; expected a ratio such as 0.54, or 54%")


class _Line:
    """Reads one line, and collects its errors."""

    def __init__(self, record: Record) -> None:
        self._line = record.line
        self._fields = record.fields
        self.errors: list[str] = []

    def figures(self) -> list[Figure]:
        """Return the figure of the line; nothing if there are errors."""
        code = self._read("code", _place)
        window = self._read("window", _window)
        source = self._read("source", _source)
        of = self._read("of", _whole)
        form = self._form()
        shares = [self._read(column, parse_share) for column in form if column != "hashrate"]
        hashrate = self._read("hashrate", _hashrate) if form == ("hashrate",) else None
        if of == "country" and hashrate is not None:
            self._reject("of", "a hashrate is no share; leave it empty")
        elif of == "country" and code is not None and places.country_of(code) == code:
            self._reject("of", f"{code} is no subdivision, so it has no share of its country")
        known = [share for share in shares if share is not None]
        if known and known[0] > known[-1]:
            self._reject(form[0], f"is above {form[-1]}")
        if self.errors or code is None or window is None or source is None or of is None:
            return []
        share = Range(known[0], known[-1]) if known else None
        note = self._fields.get("note", "")
        return [Figure(self._line, code, window, of, share, hashrate, source, note)]

    def _form(self) -> tuple[str, ...]:
        given = tuple(name for form in VALUES for name in form if self._fields.get(name))
        if given in VALUES:
            return given
        forms = "; ".join(" and ".join(form) for form in VALUES)
        found = ", ".join(given) or "none"
        self.errors.append(f"line {self._line}: expected one of: {forms}; found {found}")
        return ()

    def _read(self, column: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(self._fields.get(column, ""))
        except ValueError as error:
            self._reject(column, str(error))
            return None

    def _reject(self, column: str, error: str) -> None:
        self.errors.append(f"line {self._line}: {column}: {error}")


def _place(text: str) -> str:
    code = text.upper()
    if not places.is_locatable(code):
        return _named(text)
    outer = places.outermost(code)
    if outer != code:
        raise ValueError(f"{code} is inside {outer}, at which hashrate counts; give a figure of it")
    return code


def _named(text: str) -> str:
    try:
        return places.resolve(text)
    except places.UnknownPlaceError:
        if places.is_country(places.country_of(text.upper())):  # then it looks like a code
            raise ValueError(f"unknown place {quoted(text)}: {places.hint(text)}") from None
        raise


def _window(text: str) -> str:
    # Whether a name is valid does not depend on the time, so any time will do.
    return parse_window(text, _ANY_TIME).name


def _source(text: str) -> str:
    if not text:
        raise ValueError("is empty; name who published the figure")
    return text


def _whole(text: str) -> Whole:
    match text:
        case "" | "world":
            return "world"
        case "country":
            return "country"
        case _:
            raise ValueError(f"{quoted(text)} is not allowed; expected world or country")


def _hashrate(text: str) -> Hashrate:
    hashrate = parse_hashrate(text) if text[-1:].isalpha() else None
    if hashrate is None:
        raise ValueError(f"{quoted(text)} is no hashrate with a unit, such as 50 EH/s")
    return hashrate
