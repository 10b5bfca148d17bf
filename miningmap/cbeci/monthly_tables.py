"""Convert CBECI's tables (CSV, every edition) to monthly reports: pure, all tables or none.

The header tells which kind of table a file is (:data:`FORMS`). Each month becomes one report of the
pool ``cbeci-sample`` of the kind ``measured``: the pools of the sample know where their miners are.

- **Hashrate.** CBECI publishes ``share x mean hashrate of the network``. The report's hashrate is
  the sum of a month's figures, and a place's is ``sum x share / sum of the shares``. So each share
  is reproduced as published, relative to the month's total (published shares are rounded and add up
  to 99.98 to 100.02 %). The published EH/s have two decimals, too few for this.
- **Basis.** Cambridge repeats what pools told it, so the reports are ``relayed``.
- **No network hashrate** is reported. CBECI never published the hashrate of the sample itself
  (about a third of the network). With the sum as the network's hashrate, coverage would be 1 and
  the bounds as narrow as if every pool had been seen; without it, both are null.
- **Subdivisions** are published as shares of their country only, so their table needs the table of
  countries beside it. In the report they replace their country.
- **Edition v1.1.0** has shares and no hashrates, so it is rejected. Later editions have both.
- **Zeros** are places with hashrate 0. CBECI writes ``0.0%`` for a measured zero, and ``0%`` for a
  zero or a missing figure, which cannot be told apart.
- **Published lines.** The report also keeps the lines of the table, because rounded figures cannot
  be computed from the hashrates: 109 of the 290 lines of v1.2.0 would differ.
- **Repeated imports.** The same tables make the same reports except for ``fetched_at``; by it the
  last import of a month replaces the earlier ones, as a revised edition should.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap import places
from miningmap.inputs import ENCODING
from miningmap.messages import FIGURE, MAX_FIGURE, Located, Published, Report
from miningmap.plausibility import is_future, too_large
from miningmap.pool_names import CBECI_SAMPLE
from miningmap.times import add_months
from miningmap.units import scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from miningmap.plausibility import KnownFigures

POOL: Final = CBECI_SAMPLE
SOURCE: Final = "cbeci"

SUM_TOLERANCE: Final = Decimal("0.1")
"""How far the sum of a month's shares may be from 100 %, in percentage points, by rounding."""

FIRST_MONTH: Final = datetime(2009, 1, 1, tzinfo=UTC)  # of Bitcoin's first block
_EHS: Final = scale("EH/s")
_WHOLE: Final = Decimal(100)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-01")
_PERCENT: Final = re.compile(rf"({FIGURE})\s*%?")
_HASHRATE: Final = re.compile(rf"({FIGURE})")
_LONGEST_QUOTE: Final = 64


@dataclass(frozen=True)
class Form:
    """One kind of table: month, place and one or two figures in a row, under a fixed header."""

    header: tuple[str, ...]
    share: int | None = None
    """The column of shares (percent)."""
    hashrate: int | None = None
    """The column of hashrates (EH/s)."""
    country: str | None = None
    """Whose subdivisions are listed, with shares of that country; ``None`` for the world."""


SHARES_ALONE: Final = ("Date", "Country", "Share of global hashrate")
"""The header of edition v1.1.0, which cannot be used."""

FORMS: Final = (
    Form(
        ("date", "country", "monthly_hashrate_%", "monthly_absolute_hashrate_EH/S"),
        share=2,
        hashrate=3,
    ),
    Form(("Date", "Country", "Estimated absolute hashrate"), hashrate=2),
    Form(("Date", "Province", "Share of Chinese hashrate"), share=2, country="CN"),
    Form(("Date", "State", "US hashrate by state"), share=2, country="US"),
)


class Fault(NamedTuple):
    """An error in a file; ``line`` is ``None`` if it concerns the whole file."""

    file: str
    line: int | None
    error: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}: line {self.line}"
        return f"{where}: {self.error}"


class TablesError(ValueError):
    """Tables are invalid and none was used; ``faults`` has every error of every file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(str(faults[0]))
        self.faults = tuple(faults)


@dataclass
class _Month:
    """The rows of one month in one file; ``line`` is the line of the first."""

    line: int
    rows: list[Published] = field(default_factory=list)

    @property
    def weight(self) -> Decimal:
        return sum(_weights(self.rows).values(), Decimal(0))

    @property
    def hashrate(self) -> Decimal:
        return _hashrates(self.rows)


@dataclass(frozen=True)
class _Table:
    name: str
    form: Form
    months: dict[datetime, _Month]


def reports(
    files: Mapping[str, bytes], *, fetched_at: datetime, known: KnownFigures | None = None
) -> list[Report]:
    """Convert tables to one report a month, the earliest first.

    Args:
        files: content by name (the names are for errors): one table of countries with hashrates,
            and any tables of subdivisions that go with it.
        fetched_at: when they were read; no month may end in the future.
        known: the network's hashrate, if anything is known of it.

    Raises:
        TablesError: a table is invalid, the tables do not belong together, or a month has more
            hashrate than the network can have had.
    """
    tables: list[_Table] = []
    faults: list[Fault] = []
    for name, body in files.items():
        try:
            tables.append(_Reading(name, fetched_at).read(body))
        except TablesError as error:
            faults += error.faults
    if faults:
        raise TablesError(faults)
    base, splits = _by_country(tables)
    if faults := [fault for split in splits.items() for fault in _mismatches(*split, base)]:
        raise TablesError(faults)
    found = [_report(start, base, splits, fetched_at) for start in sorted(base.months)]
    if known and (faults := list(_excesses(found, base, known))):
        raise TablesError(faults)
    return found


# --- one file -------------------------------------------------------------------------------------


class _Reading:
    """Reads one file, and collects its errors."""

    def __init__(self, name: str, now: datetime) -> None:
        self._name = name
        self._now = now
        self._faults: list[Fault] = []
        self._months: dict[datetime, _Month] = {}
        self._first: dict[tuple[datetime, str], int] = {}
        # Months with a rejected row (None for a row without a valid month), whose sums are useless.
        self._incomplete: set[datetime | None] = set()

    def read(self, body: bytes) -> _Table:
        """Read the table.

        Raises:
            TablesError: the file is invalid; has all its errors.
        """
        rows = _rows(body)
        line = 1
        try:
            line, header = next(rows, (1, []))
            form = _form_of(header)
            for line, cells in rows:
                self._take(line, cells, form)
        except _UnreadableError as error:
            self._reject(error.line, str(error))
        except ValueError as error:
            self._reject(line, str(error))
        else:
            self._check_months(form)
        if self._faults:
            raise TablesError(sorted(self._faults, key=lambda fault: fault.line or 0))
        return _Table(self._name, form, self._months)

    def _take(self, line: int, cells: Sequence[str], form: Form) -> None:
        start: datetime | None = None
        try:
            if len(cells) != len(form.header):
                raise ValueError(f"{len(cells)} columns instead of {len(form.header)}")
            start = _month(cells[0], self._now)
            row = _row(cells, form)
            first = self._first.setdefault((start, row.code), line)
            if first != line:
                raise ValueError(f"{row.code} in {start:%Y-%m} is already in line {first}")
        except ValueError as error:
            self._incomplete.add(start)
            self._reject(line, str(error))
        else:
            self._months.setdefault(start, _Month(line)).rows.append(row)

    def _check_months(self, form: Form) -> None:
        """Check what depends on all rows."""
        if not self._months and not self._faults:
            self._reject(None, "has no rows")
        if None in self._incomplete:
            return
        for start, month in self._months.items():
            if start not in self._incomplete and (error := _sum_error(month, form)):
                self._reject(month.line, f"{start:%Y-%m}: {error}")

    def _reject(self, line: int | None, error: str) -> None:
        self._faults.append(Fault(self._name, line, error))


class _UnreadableError(ValueError):
    """The file is not CSV from ``line`` on."""

    def __init__(self, line: int, error: str) -> None:
        super().__init__(error)
        self.line = line


def _rows(body: bytes) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line on which it ends."""
    try:
        text = body.decode(ENCODING)
    except UnicodeDecodeError as error:
        raise _UnreadableError(body.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from ((reader.line_num, cells) for cells in reader if any(map(str.strip, cells)))
    except csv.Error as error:
        raise _UnreadableError(reader.line_num, f"is not CSV: {error}") from None


def _form_of(header: Sequence[str]) -> Form:
    plain = _plain(header)
    for form in FORMS:
        if plain == _plain(form.header):
            return form
    if plain == _plain(SHARES_ALONE):
        raise ValueError(
            "has shares and no hashrates (CBECI's v1.1.0); take mining_countries of v1.1.1 or later"
        )
    quoted = repr(",".join(header)[:_LONGEST_QUOTE])
    known = " | ".join(",".join(form.header) for form in FORMS)
    raise ValueError(f"{quoted} is not a header of CBECI's; expected one of: {known}")


def _plain(header: Sequence[str]) -> list[str]:
    return [cell.strip().casefold() for cell in header]


def _row(cells: Sequence[str], form: Form) -> Published:
    place = cells[1]
    return Published(
        places.resolve(form.country, place) if form.country else places.resolve(place),
        None if form.share is None else _percent(cells[form.share]),
        None if form.hashrate is None else _hashrate(cells[form.hashrate]),
    )


def _month(text: str, now: datetime) -> datetime:
    try:
        if not _DATE.fullmatch(text.strip()):
            raise ValueError
        start = datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(
            f"{text[:_LONGEST_QUOTE]!r} is not the first day of a month, such as 2019-09-01"
        ) from None
    if start < FIRST_MONTH:
        raise ValueError(f"{text} is before Bitcoin's first block, {FIRST_MONTH:%Y-%m}")
    # The start is checked first, because there is no month after December 9999.
    if start > now or is_future(add_months(start, 1), now):
        raise ValueError(f"the month {start:%Y-%m} has not ended yet (UTC)")
    return start


def _percent(text: str) -> str:
    match = _PERCENT.fullmatch(text.strip())
    if match is None or len(match[1]) > MAX_FIGURE or Decimal(match[1]) > _WHOLE:
        raise ValueError(f"{text[:_LONGEST_QUOTE]!r} is not a share in percent, such as 75.53%")
    return match[1]


def _hashrate(text: str) -> str:
    match = _HASHRATE.fullmatch(text.strip())
    if match is None or len(match[1]) > MAX_FIGURE:
        raise ValueError(f"{text[:_LONGEST_QUOTE]!r} is not a hashrate in EH/s, such as 66.76")
    if rejection := too_large(float(Decimal(match[1]) * _EHS)):
        raise ValueError(rejection.error)
    return match[1]


def _sum_error(month: _Month, form: Form) -> str | None:
    """The error in the sums of a month, or ``None``."""
    # A country without hashrate has no shares either: all are published as 0.
    nothing = form.country is not None and not month.weight
    if form.share is not None and not nothing and abs(month.weight - _WHOLE) > SUM_TOLERANCE:
        return f"the shares add up to {month.weight:f} %, not 100 %"
    if form.hashrate is not None and not month.hashrate:
        return "the hashrates add up to 0"
    return None


# --- several files together -----------------------------------------------------------------------


def _by_country(tables: Iterable[_Table]) -> tuple[_Table, dict[str, _Table]]:
    """The table of countries, and the tables of subdivisions by country.

    Raises:
        TablesError: two tables are of the same places, or there is no table of countries.
    """
    by_country: dict[str | None, _Table] = {}
    for table in tables:
        other = by_country.setdefault(table.form.country, table)
        if other is not table:
            error = f"has the same places as {other.name}; give one of them"
            raise TablesError([Fault(table.name, None, error)])
    base = by_country.pop(None, None)
    splits = {country: table for country, table in by_country.items() if country is not None}
    if base is None:
        raise TablesError([_without_countries(*split) for split in splits.items()])
    return base, splits


def _without_countries(country: str, split: _Table) -> Fault:
    return Fault(
        split.name,
        None,
        f"has only shares of {places.name_of(country)}; give CBECI's table of countries "
        "(mining_countries of v1.1.1 or later) too",
    )


def _mismatches(country: str, split: _Table, base: _Table) -> Iterator[Fault]:
    """Errors of months in which a country's shares and its hashrate do not go together."""
    name = places.name_of(country)
    for start, month in split.months.items():
        whole = _weights(base.months[start].rows).get(country) if start in base.months else None
        if whole is None:
            error = f"{base.name} has no hashrate of {name}"
        elif whole and not month.weight:
            error = f"all shares are 0, but {base.name} has a hashrate of {name}"
        else:
            continue
        yield Fault(split.name, month.line, f"{start:%Y-%m}: {error}")


def _excesses(found: Iterable[Report], base: _Table, known: KnownFigures) -> Iterator[Fault]:
    for report in found:
        if rejection := known.rejected(report):
            error = f"{report.start:%Y-%m}: {rejection.error}"
            yield Fault(base.name, base.months[report.start].line, error)


def _report(
    start: datetime, base: _Table, splits: Mapping[str, _Table], fetched_at: datetime
) -> Report:
    months = [table.months.get(start) for table in (base, *splits.values())]
    published = tuple(row for month in months if month for row in month.rows)
    return Report(
        pool=POOL,
        source=SOURCE,
        start=start,
        end=add_months(start, 1),
        hold_s=0,
        hashrate=float(base.months[start].hashrate * _EHS),
        places=tuple(
            Located(code, hashrate, "measured")
            for code, hashrate in sorted(located(published).items())
        ),
        basis="relayed",
        published=published,
        fetched_at=fetched_at,
        simulated=False,
    )


# --- hashrates of a month -------------------------------------------------------------------------


def located(published: Iterable[Published]) -> dict[str, float]:
    """The hashrate (H/s) by place from the lines of a month: subdivisions replace their country."""
    countries: list[Published] = []
    inside: dict[str, list[Published]] = {}
    for row in published:
        country = places.country_of(row.code)
        rows = countries if row.code == country else inside.setdefault(country, [])
        rows.append(row)
    found = _spread(_hashrates(countries), countries)
    for country, rows in inside.items():
        found |= _spread(found.pop(country, Decimal(0)), rows)
    return {code: float(hashrate * _EHS) for code, hashrate in found.items()}


def _spread(whole: Decimal, rows: Iterable[Published]) -> dict[str, Decimal]:
    """Divide a hashrate among the places of the rows in proportion to their weights."""
    weights = _weights(rows)
    weight = sum(weights.values(), Decimal(0)) or _WHOLE
    return {code: whole * share / weight for code, share in weights.items()}


def _weights(rows: Iterable[Published]) -> dict[str, Decimal]:
    """The share by place, or the hashrate if the table has no shares."""
    return {row.code: Decimal(row.share or row.hashrate or 0) for row in rows}


def _hashrates(rows: Iterable[Published]) -> Decimal:
    """The sum of the hashrates in EH/s; 0 if the table has none."""
    return sum((Decimal(row.hashrate or 0) for row in rows), Decimal(0))
