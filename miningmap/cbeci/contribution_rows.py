"""Convert a partner's rows to reports: pure, and either all rows are used or none.

A row has CBECI's format: the average hashrate of a pool in one country or province over one period.
All rows of a pool with the same start and period form one :class:`Report` of the kind
``measured``, because the partner knows where its miners are.

Rows are parts, and add up, as at CBECI. A row without a province is a whole country, or, beside
rows for provinces of that country, the rest of it; never the total of the provinces.

A row replaces the pool's earlier row for the same place and period, with 0 too, and no other
(:func:`merged`). So the same rows form the same report again, except for ``fetched_at``, and
sending them twice is harmless: a cell is the highest-ranking claim on it, never a sum of claims
(method.md 3).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from miningmap import places
from miningmap.cbeci.contribution import FIELDS, HOURLY, LENGTHS, MONTHLY, PERIODS, UNITS
from miningmap.messages import SUM_TOLERANCE, Located, Report
from miningmap.plausibility import is_future, too_large
from miningmap.retention import kept_buckets
from miningmap.rows import SOURCE, Fields, InvalidRowsError, RowError
from miningmap.times import FIRST_BLOCK, add_months, rfc3339
from miningmap.units import HashrateError, format_hashrate, parse_hashrate, scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from miningmap.plausibility import Limit
    from miningmap.retention import Horizon

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOUR: Final = re.compile(rf"({_DATE.pattern}T(?:[01][0-9]|2[0-3]))(?::00:00Z)?")


class Period(NamedTuple):
    """The period of a row; ``name`` is one of ``PERIODS``."""

    start: datetime
    name: str

    @property
    def end(self) -> datetime:
        """The end of the period."""
        return period_end(self.start, self.name)

    @property
    def start_date(self) -> str:
        """The start as the ``period_start_date`` of a row."""
        return rfc3339(self.start) if self.name == HOURLY else f"{self.start:%Y-%m-%d}"


Rows: TypeAlias = "dict[str, float]"
"""The rows of a pool and one period: H/s by place. A place is its code. Several names share the
code ``OTHER``; they are ``OTHER/name``, so that their rows stay apart. ``UNKNOWN`` is what a report
does not locate; no row is about it."""

ROWS_HEADER: Final = "rows"
"""The header of a record in Kafka whose report does not tell all rows: several share a code."""


@dataclass(frozen=True)
class _Row:
    """A row without errors of its own: the hashrate in H/s, and the unit that it was sent in."""

    index: int
    period: Period
    place: str
    hashrate: float
    unit: str


def read(rows: Sequence[object], now: datetime, kept: Horizon | None = None) -> dict[Period, Rows]:
    """Check the rows and sort them by period, the earliest first.

    Args:
        rows: the array ``data`` of the request, decoded but not checked.
        now: the clock; no period may end in the future.
        kept: the oldest cells that are kept; without it, all are. A row that could change none is
            an error.

    Raises:
        InvalidRowsError: a row is invalid, or two rows of one period have the same place.
    """
    errors: list[RowError] = []
    by_period: defaultdict[Period, list[_Row]] = defaultdict(list)
    for index, row in enumerate(rows):
        fields = Fields(index, row, FIELDS)
        if found := _read(fields, now, kept):
            by_period[found.period].append(found)
        errors += fields.errors
    for members in by_period.values():
        errors += _duplicates(members)
    if errors:
        raise InvalidRowsError(sorted(errors, key=lambda error: error.index))
    return {
        period: {row.place: row.hashrate for row in by_period[period]}
        for period in sorted(by_period)
    }


class Excess(NamedTuple):
    """A total (H/s) of all rows of a period, and the limit that it exceeds."""

    total: float
    limit: Limit


def excess_error(
    rows: Sequence[object], now: datetime, excesses: Mapping[Period, Excess]
) -> InvalidRowsError:
    """Return the error of valid rows that make a pool larger than it can have been.

    It names each row that alone exceeds the limit of its period. If none does, it names the largest
    one, because all rows of a period count together, also those of earlier requests.

    Args:
        rows: as :func:`read` has accepted them.
        now: the same as there.
        excesses: by period; at least one of a period that has rows.
    """
    by_period: defaultdict[Period, list[_Row]] = defaultdict(list)
    for index, row in enumerate(rows):
        found = _read(Fields(index, row, FIELDS), now, None)
        if found is not None and found.period in excesses:
            by_period[found.period].append(found)
    errors = []
    for period, members in by_period.items():
        excess = excesses[period]
        alone = [row for row in members if row.hashrate > excess.limit.hashrate]
        together = [max(members, key=lambda row: row.hashrate)] if not alone else []
        errors += [_excess_of(row, excess) for row in alone or together]
    return InvalidRowsError(sorted(errors, key=lambda error: error.index))


def _excess_of(row: _Row, excess: Excess) -> RowError:
    figure = f"{row.hashrate / float(scale(row.unit)):.15g} {row.unit}"
    error = f"{figure} is {excess.limit.excess}"
    if row.hashrate <= excess.limit.hashrate:
        error = (
            f"with this row of {figure} and those sent before, the pool has "
            f"{format_hashrate(excess.total)} in this period, {excess.limit.excess}"
        )
    if fitting := _fitting_unit(row.unit, excess):
        error += f"; is the unit {fitting}?"
    return RowError(row.index, "average_hashrate", error)


def _fitting_unit(unit: str, excess: Excess) -> str | None:
    """Return the largest unit in which the same numbers would be plausible, if there is one."""
    for smaller in reversed(UNITS[: UNITS.index(unit)]):
        if excess.total * float(scale(smaller) / scale(unit)) <= excess.limit.hashrate:
            return smaller
    return None


def merged(before: Rows, after: Rows) -> Rows:
    """The rows of a period after more were sent: the newest row of each place."""
    return before | after


def period_of(report: Report) -> Period | None:
    """Return the period of rows that a report is about; ``None`` if rows have no such period."""
    start, end = report.start, report.end
    if end - start == LENGTHS[HOURLY]:
        return Period(start, HOURLY)
    if start.time() != time() or end.time() != time():
        return None
    days = (name for name in PERIODS if name != HOURLY)
    return next((Period(start, name) for name in days if period_end(start, name) == end), None)


def rows_header(rows: Rows) -> tuple[tuple[str, bytes], ...]:
    """Return the header with the rows of a report, if the report itself does not tell them."""
    if not any("/" in place for place in rows):
        return ()
    return ((ROWS_HEADER, msgspec.json.encode(rows)),)


def rows_of(report: Report, headers: Iterable[tuple[str, bytes]] = ()) -> Rows:
    """Return the rows that a report was made from.

    A report without the header has one row for each code. What several names sent that share the
    code ``OTHER`` is then one row of the name "Other".
    """
    located: defaultdict[str, list[float]] = defaultdict(list)
    for place in report.places:
        located[_named(place.code)].append(place.hashrate)
    rows = {name: math.fsum(hashrates) for name, hashrates in located.items()}
    unlocated = report.hashrate - math.fsum(rows.values())
    if unlocated > SUM_TOLERANCE * report.hashrate:
        rows[places.UNKNOWN] = unlocated
    return _told(dict(headers), rows) or rows


def _named(code: str) -> str:
    return f"{code}/{places.plain_name(code)}" if code == places.OTHER else code


def _told(headers: Mapping[str, bytes], rows: Rows) -> Rows | None:
    """Return the rows of the header, if they add up to those of the report."""
    try:
        told = msgspec.json.decode(headers.get(ROWS_HEADER, b""), type=dict[str, float])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return told if _by_code(told) == _by_code(rows) else None


def _by_code(rows: Rows) -> dict[str, float]:
    """Return H/s by code, in the order of the codes."""
    by_code: defaultdict[str, list[float]] = defaultdict(list)
    for place, hashrate in rows.items():
        by_code[place.partition("/")[0]].append(hashrate)
    # fsum rounds once, so the order of the rows does not matter.
    return {code: math.fsum(hashrates) for code, hashrates in sorted(by_code.items())}


def report(
    period: Period, rows: Rows, pool: str, *, fetched_at: datetime, simulated: bool
) -> Report:
    """The report of a pool that all rows of one period form.

    Args:
        period: the period of the rows.
        rows: of the partner.
        pool: its slug.
        fetched_at: when the rows arrived.
        simulated: whether the partner is simulated.
    """
    return Report(
        pool=pool,
        source=SOURCE,
        start=period.start,
        end=period.end,
        hold_s=0,
        hashrate=math.fsum(rows.values()),
        places=tuple(
            Located(code, hashrate, "measured")
            for code, hashrate in _by_code(rows).items()
            if code != places.UNKNOWN
        ),
        fetched_at=fetched_at,
        simulated=simulated,
    )


def period_end(start: datetime, period: str) -> datetime:
    """The end of the period that begins at ``start``; ``period`` is one of ``PERIODS``."""
    return add_months(start, 1) if period == MONTHLY else start + LENGTHS[period]


def parse_start(value: object, period: str | None) -> datetime:
    """Return the start of a period from the text of a row.

    Args:
        value: a day such as ``2026-11-22``; if the period is an hour, ``2026-11-22T15:00:00Z`` or
            ``2026-11-22T15``.
        period: one of ``PERIODS``; ``None`` if it is not known.

    Raises:
        ValueError: it has another form, or does not exist.
    """
    text = value if isinstance(value, str) else ""
    if period == HOURLY:
        match = _HOUR.fullmatch(text)
        if match is None:
            raise ValueError('hour should be in "YYYY-MM-DDTHH:00:00Z" format')
        return _existing(match[1], f"the hour {value}")
    if not _DATE.fullmatch(text):
        raise ValueError('date should be in "YYYY-MM-DD" format')
    return _existing(text, f"the day {value}")


def _existing(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{name} does not exist") from None


def _duplicates(rows: Iterable[_Row]) -> Iterator[RowError]:
    """Errors of rows of one period with the same place; only the partner knows which is right."""
    first: dict[str, _Row] = {}
    for row in rows:
        before = first.setdefault(row.place, row)
        if before is not row:
            yield RowError(
                row.index,
                "country",
                f"data[{before.index}] and data[{row.index}] are the same place, "
                f"{row.place.partition('/')[0]}, in the same period",
            )


def _read(fields: Fields, now: datetime, kept: Horizon | None) -> _Row | None:
    """The row, or ``None`` if it has errors."""
    period = fields.read("period", _period)
    start = fields.read("period_start_date", partial(_start, period=period, now=now, kept=kept))
    country = fields.read("country", _country)
    code = fields.read("province", partial(_place, country=country))
    unit = fields.read("unit", _unit)
    hashrate = fields.read("average_hashrate", partial(_hashrate, unit=unit))
    if (
        fields.errors
        or start is None
        or period is None
        or country is None
        or code is None
        or unit is None
        or hashrate is None
    ):
        return None
    place = f"{code}/{places.plain_name(country)}" if code == places.OTHER else code
    return _Row(fields.index, Period(start, period), place, hashrate, unit)


def _period(value: object) -> str:
    return _one_of(PERIODS, "period", value)


def _start(value: object, *, period: str | None, now: datetime, kept: Horizon | None) -> datetime:
    start = parse_start(value, period)
    if start < FIRST_BLOCK:
        raise ValueError(f"{value} is before Bitcoin's first block, {FIRST_BLOCK:%Y-%m-%d}")
    # The start is checked first, because there is no month after December 9999.
    if start > now or (period is not None and is_future(period_end(start, period), now)):
        raise ValueError(f"the period that starts on {value} has not ended yet (UTC)")
    if period is not None:
        kept_buckets(start, period_end(start, period), 0, kept)
    return start


def _country(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("country should be a string")  # noqa: TRY004 - errors of fields are values
    places.resolve(value)
    return value


def _place(value: object, *, country: str | None) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError("province should be a string, or null for the whole country")  # noqa: TRY004 - as above
    return None if country is None else places.resolve(country, value)


def _unit(value: object) -> str:
    return _one_of(UNITS, "unit", value)


def _one_of(known: Sequence[str], field: str, value: object) -> str:
    """Return the value in lower case, as it is listed; people and tables write EH/s and Daily."""
    if not isinstance(value, str) or value.lower() not in known:
        raise ValueError(f"{field} should be one of {', '.join(known)}")
    return value.lower()


def _hashrate(value: object, *, unit: str | None) -> float:
    """In H/s. Without a unit, which is an error of its own, only the number is checked."""
    wrong = "average_hashrate should be a finite number, 0 or more"
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(wrong)
    try:
        hashrate = parse_hashrate(value, unit or UNITS[0])
    except HashrateError:
        raise ValueError(wrong) from None
    if hashrate is None:  # pragma: no cover - only a negative number means unknown
        raise ValueError(wrong)
    if rejection := too_large(hashrate):
        raise ValueError(rejection.error)
    return hashrate
